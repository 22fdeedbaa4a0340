use proptest::prelude::*;
use std::collections::BTreeMap;
use vmm::instruction::{Mode, PortTarget, Refusal, Registers, STRING_LIMIT, Target, emulate, emulate_port_string};

/// A register of a device, and what was done with it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Device {
    value: u64,
    accesses: Vec<(char, u64, usize, u64)>,
}

impl Target for Device {
    fn read(&mut self, address: u64, size: usize) -> u64 {
        let value = self.value & (u64::MAX >> (64 - 8 * size));
        self.accesses.push(('r', address, size, value));
        value
    }

    fn write(&mut self, address: u64, size: usize, value: u64) {
        self.accesses.push(('w', address, size, value));
        self.value = value;
    }
}

const APIC: u64 = 0xfee0_0000;
const RAX: usize = 0;
const RCX: usize = 1;
const RDX: usize = 2;
const RBX: usize = 3;
const RSI: usize = 6;
const RDI: usize = 7;
const CARRY: u64 = 1;
const ZERO: u64 = 1 << 6;

/// Carries out an instruction in 64-bit mode with rdi at the device and rax with a pattern.
fn run(bytes: &[u8], value: u64) -> (Registers, Device) {
    let mut registers = Registers { instruction: 0x1000, flags: 2, ..Registers::default() };
    registers.general[RDI] = APIC;
    registers.general[RAX] = 0x1122_3344_5566_7788;
    let mut device = Device { value, ..Device::default() };
    emulate(bytes, Mode::Bits64, &mut registers, &mut device).unwrap();
    assert_eq!(registers.instruction, 0x1000 + bytes.len() as u64);
    (registers, device)
}

#[test]
fn a_register_is_stored_in_every_size() {
    for (bytes, expected) in [
        (&[0x88, 0x07][..], (1, 0x88)),
        (&[0x88, 0x27], (1, 0x77)),
        (&[0x66, 0x89, 0x07], (2, 0x7788)),
        (&[0x89, 0x07], (4, 0x5566_7788)),
        (&[0x48, 0x89, 0x07], (8, 0x1122_3344_5566_7788)),
    ] {
        let (_, device) = run(bytes, 0);
        assert_eq!(device.accesses, [('w', APIC, expected.0, expected.1)], "{bytes:x?}");
    }
}

#[test]
fn loads_keep_extend_or_clear_what_is_above() {
    for (bytes, expected) in [
        (&[0x8a, 0x07][..], 0x1122_3344_5566_77f1_u64),
        (&[0x8a, 0x27], 0x1122_3344_5566_f188),
        (&[0x66, 0x8b, 0x07], 0x1122_3344_5566_f0f1),
        (&[0x8b, 0x07], 0xf4f3_f0f1),
        (&[0x0f, 0xb6, 0x07], 0xf1),
        (&[0x0f, 0xb7, 0x07], 0xf0f1),
        (&[0x0f, 0xbe, 0x07], 0xffff_fff1),
        (&[0x48, 0x0f, 0xbe, 0x07], 0xffff_ffff_ffff_fff1),
        (&[0x48, 0x0f, 0xbf, 0x07], 0xffff_ffff_ffff_f0f1),
        (&[0x48, 0x63, 0x07], 0xffff_ffff_f4f3_f0f1),
        (&[0x48, 0x8b, 0x07], 0x5_f4f3_f0f1),
    ] {
        let (registers, _) = run(bytes, 0x5_f4f3_f0f1);
        assert_eq!(registers.general[RAX], expected, "{bytes:x?}");
    }
}

#[test]
fn linux_writes_its_apic() {
    // native_apic_mem_write: movl, or xchgl on processors with an erratum; and an immediate for the end of an interrupt.
    let (_, device) = run(&[0xc7, 0x87, 0xb0, 0, 0, 0, 0, 0, 0, 0], 0);
    assert_eq!(device.accesses, [('w', APIC + 0xb0, 4, 0)]);
    let (registers, device) = run(&[0x87, 0x87, 0xb0, 0, 0, 0], 5);
    assert_eq!(device.accesses, [('r', APIC + 0xb0, 4, 5), ('w', APIC + 0xb0, 4, 0x5566_7788)]);
    assert_eq!(registers.general[RAX], 5);
}

#[test]
fn addresses_may_be_absolute_or_relative_or_indexed() {
    let (_, device) = run(&[0x89, 0x04, 0x25, 0, 0xd0, 0x5f, 0xff], 0);
    assert_eq!(device.accesses[0].1, 0xffff_ffff_ff5f_d000, "Linux' fixed mapping of the APIC");
    let (_, device) = run(&[0x89, 0x05, 0, 1, 0, 0], 0);
    assert_eq!(device.accesses[0].1, 0x1006 + 0x100);
    let (_, device) = run(&[0x8b, 0x44, 0xbf, 0x10], 0);
    assert_eq!(device.accesses[0].1, APIC + 4 * APIC + 0x10);
    let (_, device) = run(&[0x67, 0x8b, 0x07], 0);
    assert_eq!(device.accesses[0].1, APIC, "an address of 32 bits");
}

#[test]
fn arithmetic_on_a_device_changes_it_and_the_flags() {
    let (registers, device) = run(&[0x83, 0x27, 0xf0], 0x1f);
    assert_eq!((device.value, device.accesses.len(), registers.flags & ZERO), (0x10, 2, 0));
    let (_, device) = run(&[0x81, 0x0f, 0, 1, 0, 0], 0x1f);
    assert_eq!(device.value, 0x11f);
    let (registers, device) = run(&[0x80, 0x37, 0x1f], 0x1f);
    assert_eq!((device.value, registers.flags & ZERO), (0, ZERO));
    let (registers, device) = run(&[0xf7, 0x07, 0, 0x10, 0, 0], 0x1000);
    assert_eq!((device.accesses.len(), registers.flags & ZERO), (1, 0), "a test only reads");
    let (registers, device) = run(&[0x3b, 0x07], 0x5566_7789);
    assert_eq!((device.accesses.len(), registers.flags & CARRY), (1, CARRY), "a comparison only reads");
    let (registers, device) = run(&[0x03, 0x07], 0x10);
    assert_eq!((device.accesses.len(), registers.general[RAX]), (1, 0x5566_7798));
    let (_, device) = run(&[0xff, 0x07], 0xffff_ffff);
    assert_eq!(device.value, 0);
    let (_, device) = run(&[0xf6, 0x17], 0x0f);
    assert_eq!(device.value, 0xf0);
    let (registers, device) = run(&[0xf0, 0x0f, 0xba, 0x2f, 16], 1 << 16);
    assert_eq!((device.value, registers.flags & CARRY), (1 << 16, CARRY), "a locked bit set");
}

#[test]
fn a_repeated_store_goes_element_by_element() {
    let mut registers = Registers { instruction: 0x1000, ..Registers::default() };
    registers.general[RDI] = APIC;
    registers.general[RCX] = 2;
    registers.general[RAX] = 0xabcd;
    let mut device = Device::default();
    for pointer in [0x1000, 0x1002] {
        emulate(&[0xf3, 0xab], Mode::Bits64, &mut registers, &mut device).unwrap();
        assert_eq!(registers.instruction, pointer);
    }
    assert_eq!(device.accesses, [('w', APIC, 4, 0xabcd), ('w', APIC + 4, 4, 0xabcd)]);
    assert_eq!((registers.general[RCX], registers.general[RDI]), (0, APIC + 8));
    registers.instruction = 0x1000;
    emulate(&[0xf3, 0xab], Mode::Bits64, &mut registers, &mut device).unwrap();
    assert_eq!((device.accesses.len(), registers.instruction), (2, 0x1002), "none are left");
}

#[test]
fn real_and_protected_mode_have_their_own_sizes_and_segments() {
    let mut registers = Registers { instruction: 0xffff, ..Registers::default() };
    registers.general[RBX] = 0x10;
    registers.general[RAX] = 0x1234_5678;
    registers.segments[3] = 0xb_8000;
    let mut device = Device::default();
    emulate(&[0x89, 0x07], Mode::Bits16, &mut registers, &mut device).unwrap();
    assert_eq!((device.accesses[0], registers.instruction), (('w', 0xb_8010, 2, 0x5678), 1));
    emulate(&[0x66, 0x89, 0x07], Mode::Bits16, &mut registers, &mut device).unwrap();
    assert_eq!(device.accesses[1], ('w', 0xb_8010, 4, 0x1234_5678));
    emulate(&[0x89, 0x03], Mode::Bits32, &mut registers, &mut device).unwrap();
    assert_eq!(device.accesses[2], ('w', 0xb_8010, 4, 0x1234_5678));
    emulate(&[0x26, 0x66, 0x89, 0x03], Mode::Bits32, &mut registers, &mut device).unwrap();
    assert_eq!(device.accesses[3], ('w', 0x10, 2, 0x5678), "another segment");
}

#[test]
fn what_is_not_emulated_is_refused_and_changes_nothing() {
    for (bytes, refusal) in [
        (&[0x0f, 0x58, 0x07][..], None),
        (&[0xff, 0x17], None),
        (&[0xff, 0x37], None),
        (&[0xa4], None),
        (&[0x0f, 0xab, 0x07], None),
        (&[0x90], None),
        (&[0x89], Some(Refusal::NoInstruction)),
        (&[], Some(Refusal::NoInstruction)),
        (&[0x48, 0x89, 0x87, 0xfc, 0x0f, 0, 0], Some(Refusal::CrossesPage { address: APIC + 0xffc })),
    ] {
        let mut registers = Registers::default();
        registers.general[RDI] = APIC;
        let (before, mut device) = (registers, Device::default());
        let refused = emulate(bytes, Mode::Bits64, &mut registers, &mut device).unwrap_err();
        match refusal {
            Some(refusal) => assert_eq!(refused, refusal),
            None => assert!(matches!(refused, Refusal::Unsupported { .. }), "{bytes:x?}: {refused}"),
        }
        assert_eq!((registers, device), (before, Device::default()));
    }
}

/// A port, and memory that is there below 0x2000.
#[derive(Debug, Default)]
struct Ports {
    memory: BTreeMap<u64, u8>,
    next: u32,
    written: Vec<(u16, usize, u32)>,
}

impl PortTarget for Ports {
    fn input(&mut self, _port: u16, _size: usize) -> u32 {
        self.next += 1;
        self.next
    }

    fn output(&mut self, port: u16, size: usize, value: u32) {
        self.written.push((port, size, value));
    }

    fn load(&mut self, address: u64, into: &mut [u8]) -> bool {
        for (at, byte) in (address..).zip(into) {
            *byte = self.memory.get(&at).copied().unwrap_or(0);
        }
        address < 0x2000
    }

    fn can_store(&mut self, address: u64, _size: usize) -> bool {
        address < 0x2000
    }

    fn store(&mut self, address: u64, bytes: &[u8]) -> bool {
        self.memory.extend((address..).zip(bytes.iter().copied()));
        address < 0x2000
    }
}

#[test]
fn strings_go_out_of_memory_and_into_it() {
    let mut ports = Ports::default();
    ports.memory.extend((0x100..).zip(*b"boot"));
    let mut registers = Registers::default();
    registers.general[RDX] = 0x3f8;
    registers.general[RSI] = 0x100;
    registers.general[RCX] = 4;
    emulate_port_string(&[0xf3, 0x6e], Mode::Bits64, &mut registers, &mut ports).unwrap();
    assert_eq!(ports.written, b"boot".map(|byte| (0x3f8, 1, u32::from(byte))));
    assert_eq!((registers.general[RCX], registers.general[RSI], registers.instruction), (0, 0x104, 2));
    registers.general[RDI] = 0x200;
    registers.flags = 1 << 10;
    emulate_port_string(&[0x66, 0x6d], Mode::Bits64, &mut registers, &mut ports).unwrap();
    assert_eq!((ports.memory[&0x200], registers.general[RDI]), (1, 0x1fe), "downwards");
}

#[test]
fn a_long_string_is_done_in_pieces_and_stops_where_memory_ends() {
    let mut ports = Ports::default();
    let mut registers = Registers::default();
    registers.general[RDI] = 0x2000 - 300;
    registers.general[RCX] = 1000;
    emulate_port_string(&[0xf3, 0x6c], Mode::Bits64, &mut registers, &mut ports).unwrap();
    assert_eq!((registers.general[RCX], registers.instruction), (1000 - STRING_LIMIT as u64, 0));
    let refused = emulate_port_string(&[0xf3, 0x6c], Mode::Bits64, &mut registers, &mut ports);
    assert_eq!(refused, Err(Refusal::NoMemory { address: 0x2000 }));
    assert_eq!(ports.next, 300, "nothing was read from the port that could not be written");
    assert_eq!((registers.general[RCX], registers.general[RDI]), (700, 0x2000));
}

/// What the flags are to be, computed by the definition with wide numbers.
fn expected_flags(a: u64, b: u64, subtract: bool) -> (u32, u64) {
    let (a, b) = (a as u32, b as u32);
    let wide = if subtract { i64::from(a) - i64::from(b) } else { i64::from(a) + i64::from(b) };
    let (sa, sb) = (i64::from(a as i32), i64::from(b as i32));
    let signed = if subtract { sa - sb } else { sa + sb };
    let nibbles = if subtract { i64::from(a & 15) - i64::from(b & 15) } else { i64::from(a & 15) + i64::from(b & 15) };
    let result = wide as u32;
    let flags = [
        (0, !(0..1 << 32).contains(&wide)),
        (2, (result & 0xff).count_ones().is_multiple_of(2)),
        (4, !(0..16).contains(&nibbles)),
        (6, result == 0),
        (7, (result as i32) < 0),
        (11, signed != i64::from(signed as i32)),
    ];
    (result, flags.iter().map(|(bit, set)| u64::from(*set) << bit).sum())
}

proptest! {
    #[test]
    fn sums_and_differences_have_the_flags_of_their_definition(a in any::<u64>(), b in any::<u64>(), near in any::<bool>()) {
        let b = if near { a } else { b };
        for (opcode, subtract) in [(0x01, false), (0x29, true)] {
            let mut registers = Registers { flags: !(1 << 16), ..Registers::default() };
            registers.general[RAX] = b;
            let mut device = Device { value: a, ..Device::default() };
            emulate(&[opcode, 0x07], Mode::Bits64, &mut registers, &mut device).unwrap();
            let (result, flags) = expected_flags(a, b, subtract);
            prop_assert_eq!(device.value, u64::from(result));
            prop_assert_eq!(registers.flags & 0x8d5, flags);
            prop_assert_eq!(registers.flags | 0x8d5, !(1 << 16), "the others stay");
        }
    }

    #[test]
    fn any_bytes_are_carried_out_or_refused_without_a_trace(
        bytes in prop::collection::vec(any::<u8>(), 0..16),
        general in any::<[u64; 16]>(),
        flags in any::<u64>(),
        mode in prop_oneof![Just(Mode::Bits16), Just(Mode::Bits32), Just(Mode::Bits64)],
    ) {
        let before = Registers { general, instruction: 0x1000, flags, segments: [0; 6] };
        let (mut registers, mut device) = (before, Device::default());
        match emulate(&bytes, mode, &mut registers, &mut device) {
            Ok(()) => prop_assert!(device.accesses.iter().all(|(_, _, size, value)| *size == 8 || value >> (8 * size) == 0)),
            Err(_) => {
                prop_assert_eq!(registers, before);
                prop_assert!(device.accesses.is_empty());
            }
        }
        let _refusal = emulate_port_string(&bytes, mode, &mut registers, &mut Ports::default());
    }
}
