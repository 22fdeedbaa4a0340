use vmm::boot::acpi::{Devices, RSDP, write};
use vmm::memory::{FlatMemory, GuestMemory};

const DEVICES: Devices = Devices { processors: 3, pci_memory: (0xc000_0000, 0xfebf_ffff) };

fn written() -> FlatMemory {
    let mut memory = FlatMemory::new(1 << 20);
    assert_eq!(write(DEVICES, &mut memory), Ok(RSDP));
    memory
}

/// A table whose sum is right, by its address.
fn table(memory: &FlatMemory, at: u64, signature: &[u8; 4]) -> Vec<u8> {
    let length = memory.read_u32(at + 4).unwrap() as usize;
    let bytes = &memory.bytes()[at as usize..][..length];
    assert_eq!(&bytes[..4], signature);
    assert_eq!(bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)), 0, "the checksum");
    bytes.to_vec()
}

fn listed(memory: &FlatMemory) -> [u64; 2] {
    let xsdt = memory.read_u64(RSDP + 24).unwrap();
    assert_eq!(table(memory, xsdt, b"XSDT").len(), 36 + 16);
    [36, 44].map(|offset| memory.read_u64(xsdt + offset).unwrap())
}

#[test]
fn a_system_finds_the_tables_by_their_signature_and_sum() {
    let memory = written();
    let root = &memory.bytes()[RSDP as usize..][..36];
    assert_eq!(&root[..8], b"RSD PTR ");
    for length in [20, 36] {
        assert_eq!(root[..length].iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)), 0);
    }
    listed(&memory);
}

#[test]
fn every_processor_and_interrupt_controller_is_told_of() {
    let memory = written();
    let madt = table(&memory, listed(&memory)[1], b"APIC");
    assert_eq!(madt[36..40], 0xfee0_0000_u32.to_le_bytes());
    let mut at = 44;
    let mut found = Vec::new();
    while at < madt.len() {
        found.push((madt[at], madt[at + 3]));
        at += usize::from(madt[at + 1]);
    }
    assert_eq!(at, madt.len());
    assert_eq!(found, [(0, 0), (0, 1), (0, 2), (1, 0), (2, 0), (2, 9), (4, 0)]);
}

#[test]
fn the_registers_are_where_the_models_have_them() {
    let memory = written();
    let fadt = table(&memory, listed(&memory)[0], b"FACP");
    assert_eq!(fadt.len(), 276);
    let word = |at: usize| u32::from_le_bytes(fadt[at..at + 4].try_into().unwrap());
    assert_eq!((word(56), word(64), word(76)), (0x600, 0x604, 0x608));
    assert_eq!((word(48), fadt[46]), (0, 9), "no SMI: ACPI is on");
    assert_eq!((fadt[116], word(120), fadt[128]), (1, 0x64, 0xfe), "reset");
    assert_eq!(word(112) & 1 << 20, 0, "not hardware-reduced");
    let dsdt = u64::from(word(40));
    let code = table(&memory, dsdt, b"DSDT");
    let has = |bytes: &[u8]| code.windows(bytes.len()).any(|window| window == bytes);
    assert!(has(b"\x08_S5_\x12\x08\x04\x0a\x05\x0a\x05\x00\x00"), "{code:x?}");
    assert!(has(&[0x0c, 0x41, 0xd0, 0x0a, 0x03]), "PNP0A03");
    assert!(has(b"PCI0"));
}

#[test]
fn tables_need_memory() {
    assert!(write(DEVICES, &mut FlatMemory::new(0xe_0100)).is_err());
}

#[test]
fn the_most_processors_fit_below_a_megabyte() {
    let devices = Devices { processors: 254, ..DEVICES };
    assert_eq!(write(devices, &mut FlatMemory::new(1 << 20)), Ok(RSDP));
}
