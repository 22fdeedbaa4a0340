//! What a guest's processor says of itself (AMD64 manual volume 3, appendix E): what the machine's says, without what a guest
//! does not get.

/// eax, ebx, ecx and edx.
pub type Identification = [u32; 4];

/// What the machine's processor says.
pub type Host = fn(leaf: u32, part: u32) -> Identification;

/// Who a monitor is.
const VENDOR: &[u8; 12] = b"Bulkhead VMM";
/// Who spares guests exits as this monitor does, and by what: the time is told, for all processors alike, and interrupts end by a
/// bit in memory (Linux, Documentation/virt/kvm/x86/cpuid.rst).
const HELPER: &[u8; 12] = b"KVMKVMKVM\0\0\0";
const HELP: u32 = 1 << 3 | 1 << 6 | 1 << 24;

/// Leaf 1, ecx: MONITOR, x2APIC, PCID, and the extended state with all that needs it (XSAVE, OSXSAVE, AVX,
/// FMA, F16C): the processor does not tell the monitor when a guest switches components on.
const HIDDEN_1_C: u32 = 1 << 3 | 1 << 12 | 1 << 17 | 1 << 21 | 1 << 26 | 1 << 27 | 1 << 28 | 1 << 29;
/// That the processor is a guest's, and that timers interrupt by the TSC: that is the monitor's, whatever the machine has.
const SHOWN_1_C: u32 = 1 << 31 | 1 << 24;
/// Leaf 1, edx: machine checks (of which none would ever be told) and memory types by range.
const HIDDEN_1_D: u32 = 1 << 7 | 1 << 12 | 1 << 14;
/// Several logical processors.
const SEVERAL: u32 = 1 << 28;
/// Leaf 7, ebx: adjusting the TSC, AVX2, invalidating by PCID, and all of AVX-512.
const HIDDEN_7_B: u32 = 1 << 1 | 1 << 5 | 1 << 10 | 0xdc23_0000;
/// Leaf 7, ecx: protection keys, tables of five levels, RDPID, vectors.
const HIDDEN_7_C: u32 = 1 << 1 | 0x5f << 3 | 0xf << 9 | 1 << 14 | 1 << 16 | 1 << 22;
/// Leaf 0x80000001, ecx: virtual machines, extended APIC registers, sampling, XOP, watchdog, FMA4, nodes, counters, MONITORX.
const HIDDEN_EXTENDED_C: u32 = 1 << 2 | 1 << 3 | 0b11 << 10 | 1 << 13 | 1 << 15 | 1 << 16 | 1 << 19 | 0xff << 22;
/// The last leaf of the second range that a guest is shown: what lies behind tells of the machine.
const LAST_EXTENDED: u32 = 0x8000_0008;
/// The same, edx: RDTSCP, whose register is not switched; and what leaf 1 hides.
const HIDDEN_EXTENDED_D: u32 = 1 << 27 | HIDDEN_1_D;
/// How processors are counted.
const TOPOLOGY: u32 = 0xb;

/// Four of twelve letters.
fn word(letters: &[u8; 12], at: usize) -> u32 {
    u32::from_le_bytes([letters[at], letters[at + 1], letters[at + 2], letters[at + 3]])
}

/// What a guest finds by CPUID on its processor with this number, of so many.
#[must_use]
pub(super) fn identify(host: Host, leaf: u32, part: u32, processor: u8, processors: u8) -> Identification {
    let [a, b, c, d] = host(leaf, part);
    let (number, count) = (u32::from(processor), u32::from(processors));
    match leaf {
        1 => {
            let several = if count > 1 { SEVERAL } else { 0 };
            let b = b & 0x0000_ffff | count << 16 | number << 24;
            [a, b, c & !HIDDEN_1_C | SHOWN_1_C, d & !(HIDDEN_1_D | SEVERAL) | several]
        }
        // Monitor leaf, thermal and power, direct cache access, performance counters, extended state, and what lies behind.
        5 | 6 | 9 | 0xa | 0xd..=0xf | 0x10 | 0x12 | 0x14 => [0; 4],
        7 if part == 0 => [0, b & !HIDDEN_7_B, c & !HIDDEN_7_C, 0],
        7 => [0; 4],
        // Each processor is a package's core of its own, with one thread.
        TOPOLOGY => {
            let bits = u32::BITS - count.saturating_sub(1).leading_zeros();
            match part {
                0 => [0, 1, 0x100, number],
                1 => [bits, count, 0x201, number],
                _ => [0, 0, part, number],
            }
        }
        4 => {
            // One core has each cache, and the package has all cores.
            [a & 0x3fff | count.saturating_sub(1) << 26, b, c, d]
        }
        0x4000_0000 => [0x4000_0000, word(VENDOR, 0), word(VENDOR, 4), word(VENDOR, 8)],
        // How KVM says what it helps guests by. Linux looks for that at every multiple of 0x100.
        0x4000_0100 => [0x4000_0101, word(HELPER, 0), word(HELPER, 4), word(HELPER, 8)],
        0x4000_0101 => [HELP, 0, 0, 0],
        0x4000_0001..=0x4fff_ffff => [0; 4],
        0x8000_0001 => [a, b, c & !HIDDEN_EXTENDED_C, d & !HIDDEN_EXTENDED_D],
        0x8000_0007 => [0, 0, 0, 0],
        0x8000_0008 => [a, 0, count.saturating_sub(1), 0],
        0x8000_0000 => [a.min(LAST_EXTENDED), b, c, d],
        _ if leaf > LAST_EXTENDED => [0; 4],
        _ => [a, b, c, d],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_ones(_: u32, _: u32) -> Identification {
        [u32::MAX; 4]
    }

    #[test]
    fn each_processor_has_its_own_number() {
        for (processor, count) in [(0, 1), (1, 2), (3, 4)] {
            let [_, b, _, d] = identify(all_ones, 1, 0, processor, count);
            assert_eq!((b >> 24, b >> 16 & 0xff), (u32::from(processor), u32::from(count)));
            assert_eq!(d & SEVERAL != 0, count > 1);
            assert_eq!(identify(all_ones, TOPOLOGY, 1, processor, count)[3], u32::from(processor));
        }
        assert_eq!(identify(all_ones, TOPOLOGY, 1, 0, 4)[..2], [2, 4]);
    }

    #[test]
    fn a_guest_is_not_told_of_what_it_does_not_get() {
        let [_, _, c, _] = identify(all_ones, 1, 0, 0, 1);
        assert_eq!(c & (1 << 21 | 1 << 26), 0, "no x2APIC, no XSAVE");
        assert_eq!(c & SHOWN_1_C, SHOWN_1_C);
        let [_, _, c, _] = identify(all_ones, 0x8000_0001, 0, 0, 1);
        assert_eq!(c & 1 << 2, 0, "no guests of its own");
        assert_eq!(c & 1 << 29, 0, "no MONITORX");
        assert_eq!(identify(all_ones, 0x8000_000a, 0, 0, 1), [0; 4]);
        assert_eq!(identify(all_ones, 0x8000_0026, 0, 0, 1), [0; 4], "nothing of the machine's own topology");
        assert_eq!(identify(all_ones, 0x8000_0000, 0, 0, 1)[0], LAST_EXTENDED);
        assert_eq!(identify(all_ones, 0xd, 1, 0, 1), [0; 4]);
    }

    #[test]
    fn a_guest_finds_out_that_it_is_one() {
        let [highest, b, c, d] = identify(all_ones, 0x4000_0000, 0, 0, 1);
        assert_eq!(highest, 0x4000_0000);
        let name: Vec<u8> = [b, c, d].iter().flat_map(|word| word.to_le_bytes()).collect();
        assert_eq!(&name, VENDOR);
    }
}
