//! What a monitor learns of the processor that it runs on: instructions that any program may execute.

/// What the instruction CPUID leaves in eax, ebx, ecx and edx.
pub type Identification = [u32; 4];

/// What the processor says of itself (AMD64 manual volume 3, appendix E). A leaf that there is not is zeroes.
#[cfg(target_arch = "x86_64")]
pub fn identification(leaf: u32, part: u32) -> Identification {
    use core::arch::x86_64::__cpuid_count;
    let highest = __cpuid_count(leaf & 0xf000_0000, 0).eax;
    if leaf > highest {
        return [0; 4];
    }
    let found = __cpuid_count(leaf, part);
    [found.eax, found.ebx, found.ecx, found.edx]
}

/// The processor's time-stamp counter.
#[cfg(target_arch = "x86_64")]
pub fn timestamp() -> u64 {
    // SAFETY: the instruction reads a register; the kernel lets everybody do that.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// 64 bits that nobody can guess, from the processor's own source; `None` if it has none, or none at this moment.
#[cfg(target_arch = "x86_64")]
pub fn random_word() -> Option<u64> {
    const RDRAND: u32 = 1 << 30;
    /// A source that works gives something after fewer attempts (Intel SDM volume 1, section 7.3.17).
    const ATTEMPTS: u32 = 10;
    if identification(1, 0)[2] & RDRAND == 0 {
        return None;
    }
    for _ in 0..ATTEMPTS {
        let (word, done): (u64, u8);
        // SAFETY: the processor has the instruction, which writes one register and the carry flag.
        unsafe {
            core::arch::asm!("rdrand {}", "setc {}", out(reg) word, out(reg_byte) done, options(nomem, nostack));
        }
        if done != 0 {
            return Some(word);
        }
    }
    None
}

/// There are no guests on other processors.
#[cfg(not(target_arch = "x86_64"))]
pub fn identification(_: u32, _: u32) -> Identification {
    [0; 4]
}

/// There are no guests on other processors.
#[cfg(not(target_arch = "x86_64"))]
pub fn timestamp() -> u64 {
    0
}

/// There are no guests on other processors.
#[cfg(not(target_arch = "x86_64"))]
pub fn random_word() -> Option<u64> {
    None
}
