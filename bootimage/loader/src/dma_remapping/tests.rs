use super::*;
use abi::boot::{DEVICE_REGIONS_MAX, IOMMUS_MAX};
use proptest::prelude::*;

/// The DMAR of QEMU 7.2 (`-M q35 -device intel-iommu,intremap=on`).
const QEMU_DMAR: [u8; 112] = [
    0x44, 0x4d, 0x41, 0x52, 0x70, 0x00, 0x00, 0x00, 0x01, 0x28, 0x42, 0x4f, 0x43, 0x48, 0x53, 0x20, //
    0x42, 0x58, 0x50, 0x43, 0x20, 0x20, 0x20, 0x20, 0x01, 0x00, 0x00, 0x00, 0x42, 0x58, 0x50, 0x43, //
    0x01, 0x00, 0x00, 0x00, 0x26, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, //
    0x00, 0x00, 0x40, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xd9, 0xfe, 0x00, 0x00, 0x00, 0x00, //
    0x03, 0x08, 0x00, 0x00, 0x00, 0xff, 0x00, 0x00, 0x01, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, //
    0x01, 0x08, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x01, 0x08, 0x00, 0x00, 0x00, 0x00, 0x1f, 0x00, //
    0x01, 0x08, 0x00, 0x00, 0x00, 0x00, 0x1f, 0x02, 0x01, 0x08, 0x00, 0x00, 0x00, 0x00, 0x1f, 0x03, //
];

/// The IVRS of QEMU 7.2 (`-M q35 -device amd-iommu,intremap=on`).
const QEMU_IVRS: [u8; 104] = [
    0x49, 0x56, 0x52, 0x53, 0x68, 0x00, 0x00, 0x00, 0x01, 0x43, 0x42, 0x4f, 0x43, 0x48, 0x53, 0x20, //
    0x42, 0x58, 0x50, 0x43, 0x20, 0x20, 0x20, 0x20, 0x01, 0x00, 0x00, 0x00, 0x42, 0x58, 0x50, 0x43, //
    0x01, 0x00, 0x00, 0x00, 0x00, 0x28, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, //
    0x10, 0xd1, 0x38, 0x00, 0x10, 0x00, 0x40, 0x00, 0x00, 0x00, 0xd8, 0xfe, 0x00, 0x00, 0x00, 0x00, //
    0x00, 0x00, 0x00, 0x00, 0x44, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x02, 0x08, 0x00, 0x00, //
    0x02, 0x10, 0x00, 0x00, 0x02, 0xf8, 0x00, 0x00, 0x02, 0xfa, 0x00, 0x00, 0x02, 0xfb, 0x00, 0x00, //
    0x48, 0x00, 0x00, 0x00, 0x00, 0xa0, 0x00, 0x01, //
];

type Read = fn(&[u8], &mut Machine) -> Result<(), Contradiction>;

/// A machine with the I/O APICs 0 and 4 and the HPET 0.
fn machine() -> Machine {
    let mut machine = Machine::new(0, 0);
    machine.add_io_apic(0, 0xfec0_0000, 0);
    machine.add_io_apic(4, 0xfec0_1000, 24);
    machine.set_hpet(0, 0xfed0_0000);
    machine
}

/// A table with `flags` in the byte that the DMAR has there, and a right length and checksum.
fn table(flags: u8, entries: &[&[u8]]) -> Vec<u8> {
    let mut table = vec![0; ENTRIES];
    table[37] = flags;
    table.extend(entries.concat());
    seal(&mut table);
    table
}

fn seal(table: &mut [u8]) {
    let len = table.len() as u32;
    table[4..8].copy_from_slice(&len.to_le_bytes());
    table[9] = 0;
    table[9] = table.iter().fold(0u8, |sum, &byte| sum.wrapping_sub(byte));
}

fn read(read: Read, entries: &[&[u8]]) -> Result<Machine, Contradiction> {
    let mut machine = machine();
    read(&table(1, entries), &mut machine)?;
    Ok(machine)
}

/// What was found: kind, source, address and pages of each IOMMU.
fn units(machine: &Machine) -> Vec<(IommuKind, SourceId, u64, u32)> {
    let units = machine.platform().iommus.as_slice().iter();
    units.map(|unit| (unit.kind, unit.source, unit.registers.phys, unit.pages)).collect()
}

fn io_apic_sources(machine: &Machine) -> Vec<Option<SourceId>> {
    machine.platform().io_apics.as_slice().iter().map(|io_apic| io_apic.source()).collect()
}

/// First and last device, start and end of each piece of memory.
fn regions(machine: &Machine) -> Vec<(u16, u16, u64, u64)> {
    let regions = machine.platform().device_regions.as_slice().iter();
    regions.map(|region| (region.source.0, region.last.0, region.extent.start, region.extent.end())).collect()
}

fn structure(kind: u16, contents: &[&[u8]]) -> Vec<u8> {
    let contents = contents.concat();
    let len = contents.len() as u16 + 4;
    [&kind.to_le_bytes()[..], &len.to_le_bytes(), &contents].concat()
}

/// A DRHD.
fn unit(segment: u8, base: u64, scopes: &[&[u8]]) -> Vec<u8> {
    structure(0, &[&[1, 0, segment, 0], &base.to_le_bytes(), &scopes.concat()])
}

/// An RMRR.
fn memory(segment: u8, first: u64, last: u64, scopes: &[&[u8]]) -> Vec<u8> {
    structure(1, &[&[0, 0, segment, 0], &first.to_le_bytes(), &last.to_le_bytes(), &scopes.concat()])
}

fn scope(kind: u8, id: u8, bus: u8, path: &[u8]) -> Vec<u8> {
    [&[kind, 6 + path.len() as u8, 0, 0, id, bus], path].concat()
}

/// An IVHD block of type 10h or, longer, of another.
fn block(kind: u8, device: u8, segment: u8, base: u64, entries: &[&[u8]]) -> Vec<u8> {
    let entries = entries.concat();
    let header = if kind == 0x10 { 24 } else { 40 };
    let mut block = vec![0; header];
    block[..8].copy_from_slice(&[kind, 0xd1, (header + entries.len()) as u8, 0, device, 0, 0x40, 0]);
    block[8..16].copy_from_slice(&base.to_le_bytes());
    block[16] = segment;
    block.extend(entries);
    block
}

/// An IVMD block.
fn memory_block(kind: u8, first: u8, last: u8, segment: u8, start: u64, len: u64) -> Vec<u8> {
    let mut block = vec![kind, 0, 32, 0, first, 0, last, 0, segment, 0, 0, 0, 0, 0, 0, 0];
    block.extend(start.to_le_bytes());
    block.extend(len.to_le_bytes());
    block
}

fn special(number: u8, source: u16, variety: u8) -> [u8; 8] {
    let [low, high] = source.to_le_bytes();
    [0x48, 0, 0, 0, number, low, high, variety]
}

#[test]
fn qemus_intel_iommu_and_the_source_of_its_interrupts_are_found() {
    let mut machine = machine();
    read_dmar(&QEMU_DMAR, &mut machine).unwrap();
    assert_eq!(units(&machine), [(IommuKind::IntelVtd, SourceId(0), 0xfed9_0000, 2)]);
    assert_eq!(io_apic_sources(&machine), [Some(SourceId::new(0xff, 0, 0)), None]);
    assert_eq!(machine.platform().hpet_source(), None);
    assert_eq!(machine.platform().interrupt_remapping, 1);
    assert_eq!((regions(&machine), machine.left_out()), (vec![], 0));
}

#[test]
fn qemus_amd_iommu_and_the_source_of_its_interrupts_are_found() {
    let mut machine = machine();
    read_ivrs(&QEMU_IVRS, &mut machine).unwrap();
    assert_eq!(units(&machine), [(IommuKind::AmdVi, SourceId::new(0, 2, 0), 0xfed8_0000, 4)]);
    let unit = machine.platform().iommus.as_slice()[0];
    assert_eq!((unit.capability_offset, unit.flags), (0x40, 0xd1));
    assert_eq!(io_apic_sources(&machine), [Some(SourceId::new(0, 0x14, 0)), None]);
    assert_eq!(machine.platform().interrupt_remapping, 1);
    assert_eq!((regions(&machine), machine.left_out()), (vec![], 0));
}

#[test]
fn a_table_of_a_wrong_length_or_checksum_is_refused() {
    for (good, read) in [(&QEMU_DMAR[..], read_dmar as Read), (&QEMU_IVRS, read_ivrs)] {
        for len in 0..good.len() {
            assert_eq!(read(&good[..len], &mut machine()), Err(Contradiction), "cut to {len} bytes");
        }
        for at in 0..good.len() {
            let mut bad = good.to_vec();
            bad[at] ^= 0x10;
            assert_eq!(read(&bad, &mut machine()), Err(Contradiction), "changed at {at}");
        }
        let longer = [good, &[0]].concat();
        assert_eq!(read(&longer, &mut machine()), Err(Contradiction));
    }
}

#[test]
fn a_table_that_ends_within_an_entry_is_refused_even_if_it_says_that_it_ends_there() {
    let dmar = table(0, &[&unit(0, 0xfed9_0000, &[&scope(3, 0, 0xf0, &[0x1f, 0])]), &memory(0, 0, 0xfff, &[])]);
    let definition = block(0x11, 0x10, 0, 0xfed8_0000, &[&[2, 0, 0, 0], &special(0, 0xa0, 1)]);
    let ivrs = table(0, &[&definition, &memory_block(0x21, 8, 0, 0, 0x10_0000, 0x1000)]);
    for (whole, ends, read) in [
        (dmar, [ENTRIES, ENTRIES + 24, ENTRIES + 48], read_dmar as Read),
        (ivrs, [ENTRIES, ENTRIES + 52, ENTRIES + 84], read_ivrs),
    ] {
        for len in 10..=whole.len() {
            let mut cut = whole[..len].to_vec();
            seal(&mut cut);
            assert_eq!(read(&cut, &mut machine()).is_ok(), ends.contains(&len), "cut to {len} bytes");
        }
    }
}

#[test]
fn lengths_too_short_for_what_they_measure_are_refused() {
    let scoped = scope(1, 0, 0, &[2, 0]);
    for (kind, least) in [(0, 16), (1, 24), (2, 4), (9, 4)] {
        let whole = if kind == 1 { memory(0, 0, 0xfff, &[&scoped]) } else { unit(0, 0xfed9_0000, &[&scoped]) };
        for len in 0..least {
            let mut short = whole.clone();
            (short[0], short[2]) = (kind, len);
            assert_eq!(read(read_dmar, &[&short]).err(), Some(Contradiction), "type {kind} of {len} bytes");
        }
    }
    for (kind, least) in [(1, 8), (2, 8), (3, 8), (4, 8), (5, 8), (77, 2)] {
        for len in (0..least).chain([9, 255]) {
            let mut short = scope(kind, 0, 0, &[2, 0]);
            short[1] = len;
            assert_eq!(read(read_dmar, &[&unit(0, 0xfed9_0000, &[&short])]).err(), Some(Contradiction));
        }
    }
    for (kind, least) in [(0x10, 24), (0x11, 40), (0x40, 40), (0x20, 32), (0x21, 32), (0x22, 32), (0x77, 4)] {
        let whole = if kind & 0xf0 == 0x20 {
            memory_block(kind, 8, 9, 0, 0x10_0000, 0x1000)
        } else {
            block(kind, 0x10, 0, 0xfed8_0000, &[])
        };
        for len in 0..least {
            let mut short = whole.clone();
            short[2] = len;
            assert_eq!(read(read_ivrs, &[&short]).err(), Some(Contradiction), "type {kind:#x} of {len} bytes");
        }
    }
}

#[test]
fn entries_of_unknown_types_are_passed_over() {
    let strange = [99, 2];
    let known = unit(0, 0xfed9_0000, &[&strange, &scope(3, 4, 0, &[0x1e, 7])]);
    let machine = read(read_dmar, &[&structure(2, &[&[0; 20]]), &structure(0xffff, &[]), &known]).unwrap();
    assert_eq!(units(&machine).len(), 1);
    assert_eq!(io_apic_sources(&machine), [None, Some(SourceId::new(0, 0x1e, 7))]);

    let named = [&[0xf0][..], &[0; 20], &[3, 1, 2, 3]].concat();
    let known: [&[u8]; 5] = [&[0; 4], &named, &[0x80; 16], &[0xc0; 32], &special(4, 0xa1, 1)];
    let known = block(0x40, 0x10, 0, 0xfed8_0000, &known);
    let machine = read(read_ivrs, &[&[0x33, 0, 5, 0, 0], &known]).unwrap();
    assert_eq!(units(&machine).len(), 1);
    assert_eq!(io_apic_sources(&machine), [None, Some(SourceId(0xa1))]);
    // Where an entry of unknown length is, nothing more can be found in this block, but in the next.
    let unmeasured = block(0x10, 0x10, 0, 0xfed8_0000, &[&[0xf1, 0], &special(4, 0xa1, 1)]);
    let machine = read(read_ivrs, &[&unmeasured, &block(0x11, 0x10, 0, 0xfed8_0000, &[&special(0, 1, 1)])]).unwrap();
    assert_eq!(io_apic_sources(&machine), [Some(SourceId(1)), None]);
}

#[test]
fn the_firmware_must_say_that_intel_units_can_remap_interrupts() {
    for (flags, remapping) in [(0, 0), (1, 1), (6, 0), (7, 1)] {
        let mut machine = machine();
        read_dmar(&table(flags, &[]), &mut machine).unwrap();
        assert_eq!(machine.platform().interrupt_remapping, remapping);
    }
}

#[test]
fn a_unit_that_says_its_size_is_mapped_as_far_as_there_is_room() {
    for (size, pages) in [(0, 2), (1, 2), (2, 4), (3, 8), (4, 8), (15, 8), (0xf2, 4)] {
        let mut sized = unit(0, 0xfed9_0000, &[]);
        sized[5] = size;
        assert_eq!(units(&read(read_dmar, &[&sized]).unwrap())[0].3, pages);
    }
}

#[test]
fn an_iommu_without_registers_or_at_a_place_where_none_can_be_is_refused() {
    for base in [0, 0xfed9_0800, 1 << 52, (1 << 52) - 0x1000, u64::MAX - 0xfff] {
        for segment in [0, 1] {
            assert_eq!(read(read_dmar, &[&unit(segment, base, &[])]).err(), Some(Contradiction), "{base:#x}");
            assert_eq!(read(read_ivrs, &[&block(0x10, 8, segment, base, &[])]).err(), Some(Contradiction), "{base:#x}");
        }
    }
}

#[test]
fn two_iommus_cannot_be_the_same() {
    let one = unit(0, 0xfed9_0000, &[]);
    assert_eq!(read(read_dmar, &[&one, &one]).err(), Some(Contradiction));
    let one = block(0x10, 8, 0, 0xfed8_0000, &[]);
    let elsewhere = block(0x11, 8, 0, 0xfed9_0000, &[]);
    let other = block(0x10, 16, 0, 0xfed8_0000, &[]);
    let mut other_capability = one.clone();
    other_capability[6] = 0x50;
    for second in [elsewhere, other, other_capability] {
        assert_eq!(read(read_ivrs, &[&one, &second]).err(), Some(Contradiction));
    }
}

#[test]
fn an_amd_iommu_that_is_described_three_times_is_one() {
    let blocks = [0x10, 0x11, 0x40].map(|kind| block(kind, 8, 0, 0xfed8_0000, &[&special(0, 0xa0, 1)]));
    let other = block(0x40, 16, 0, 0xfed9_0000, &[&special(4, 0xa1, 1)]);
    let machine = read(read_ivrs, &[&blocks[0], &blocks[1], &other, &blocks[2]]).unwrap();
    let expected = [(IommuKind::AmdVi, SourceId(8), 0xfed8_0000, 4), (IommuKind::AmdVi, SourceId(16), 0xfed9_0000, 4)];
    assert_eq!((units(&machine), machine.left_out()), (expected.to_vec(), 0));
    assert_eq!(io_apic_sources(&machine), [Some(SourceId(0xa0)), Some(SourceId(0xa1))]);
}

#[test]
fn what_is_too_much_or_of_another_segment_is_left_out_and_counted() {
    let many: Vec<_> = (1..=IOMMUS_MAX as u64 + 2).map(|index| unit(0, index << 20, &[])).collect();
    let machine = read(read_dmar, &[&many.concat()]).unwrap();
    assert_eq!((units(&machine).len(), machine.left_out()), (IOMMUS_MAX, 2));

    let many: Vec<_> = (0..DEVICE_REGIONS_MAX + 3).map(|_| scope(1, 0, 0, &[2, 0])).collect();
    let many: Vec<_> = many.iter().map(|scope| &scope[..]).collect();
    let machine = read(read_dmar, &[&memory(0, 0, 0xfff, &many)]).unwrap();
    assert_eq!((regions(&machine).len(), machine.left_out()), (DEVICE_REGIONS_MAX, 3));

    let elsewhere = unit(1, 0xfed9_0000, &[&scope(3, 0, 0, &[1, 0]), &scope(4, 0, 0, &[1, 0])]);
    let its_memory = memory(1, 0x10_0000, 0x10_0fff, &[&scope(1, 0, 0, &[2, 0])]);
    let machine = read(read_dmar, &[&elsewhere, &its_memory]).unwrap();
    assert_eq!((units(&machine), regions(&machine), machine.left_out()), (vec![], vec![], 2));
    assert_eq!((io_apic_sources(&machine), machine.platform().hpet_source()), (vec![None, None], None));
    assert_eq!(machine.reserved_memory(), [Extent { start: 0x10_0000, len: 0x1000 }]);

    let elsewhere = block(0x10, 8, 1, 0xfed8_0000, &[&special(0, 0xa0, 1)]);
    let its_memory = memory_block(0x20, 0, 0, 1, 0x10_0000, 0x1000);
    let machine = read(read_ivrs, &[&elsewhere, &its_memory]).unwrap();
    assert_eq!((units(&machine), regions(&machine), machine.left_out()), (vec![], vec![], 2));
    assert_eq!(io_apic_sources(&machine), [None, None]);
    assert_eq!(machine.reserved_memory(), [Extent { start: 0x10_0000, len: 0x1000 }]);
}

#[test]
fn memory_is_reserved_for_each_device_that_is_named() {
    let scopes = [scope(1, 0, 0, &[2, 0]), scope(1, 0, 3, &[0, 1]), scope(5, 0, 0, &[0x15, 2])];
    let [first, second, named] = &scopes;
    let machine = read(read_dmar, &[&memory(0, 0x7b80_0000, 0x7fff_ffff, &[first, second, named])]).unwrap();
    let (start, end) = (0x7b80_0000, 0x8000_0000);
    assert_eq!(regions(&machine), [(0x10, 0x10, start, end), (0x301, 0x301, start, end), (0xaa, 0xaa, start, end)]);
    assert_eq!(machine.reserved_memory(), [Extent::between(start, end)]);
    assert_eq!(machine.left_out(), 0);
}

#[test]
fn memory_for_devices_behind_bridges_is_reserved_but_for_nobody() {
    let scopes = [scope(1, 0, 0, &[0x1c, 0, 0, 0]), scope(2, 0, 0, &[0x1d, 0]), scope(2, 0, 0, &[1, 0, 2, 0])];
    let [behind, bridge, far_bridge] = &scopes;
    let machine = read(read_dmar, &[&memory(0, 0x10_0000, 0x10_0fff, &[behind, bridge, far_bridge])]).unwrap();
    assert_eq!((regions(&machine), machine.left_out()), (vec![], 3));
    assert_eq!(machine.reserved_memory(), [Extent { start: 0x10_0000, len: 0x1000 }]);
}

#[test]
fn an_amd_table_reserves_memory_for_one_device_for_a_range_and_for_all() {
    let blocks = [(0x20, 3), (0x21, 4), (0x22, 5)].map(|(kind, at)| memory_block(kind, 8, 15, 0, at << 20, 1));
    let machine = read(read_ivrs, &[&blocks.concat()]).unwrap();
    let page = |at: u64| (at << 20, (at << 20) + 0x1000);
    let expected = [(0, 0xffff, page(3).0, page(3).1), (8, 8, page(4).0, page(4).1), (8, 15, page(5).0, page(5).1)];
    assert_eq!(regions(&machine), expected);
    assert_eq!(machine.reserved_memory().len(), 3);
}

#[test]
fn reserved_memory_is_widened_to_whole_pages_and_must_be_somewhere() {
    let function = scope(1, 0, 0, &[2, 0]);
    let ends = |first, last| {
        let machine = read(read_dmar, &[&memory(0, first, last, &[&function])])?;
        Ok((regions(&machine)[0].2, regions(&machine)[0].3))
    };
    assert_eq!(ends(0x1fff, 0x2000), Ok((0x1000, 0x3000)));
    assert_eq!(ends(0, 0), Ok((0, 0x1000)));
    assert_eq!(ends((1 << 52) - 1, (1 << 52) - 1), Ok(((1 << 52) - 0x1000, 1 << 52)));
    for (first, last) in [(1, 0), (0x2000, 0x1fff), (0, 1 << 52), (u64::MAX, u64::MAX)] {
        assert_eq!(ends(first, last), Err(Contradiction));
    }
    for (start, len) in [(0x1000, 0), (0, (1 << 52) + 1), (u64::MAX, 2), (1, u64::MAX), (u64::MAX, u64::MAX)] {
        assert_eq!(read(read_ivrs, &[&memory_block(0x20, 0, 0, 0, start, len)]).err(), Some(Contradiction));
    }
    let backwards = memory_block(0x22, 9, 8, 0, 0x1000, 0x1000);
    assert_eq!(read(read_ivrs, &[&backwards]).err(), Some(Contradiction));
}

#[test]
fn more_reserved_memory_than_any_machine_has_is_refused() {
    let mut pieces: Vec<_> = (0..64).map(|at| memory(0, at << 20, at << 20, &[])).collect();
    pieces.push(pieces[0].clone());
    assert_eq!(read(read_dmar, &[&pieces.concat()]).unwrap().reserved_memory().len(), 64);
    pieces.push(memory(0, 64 << 20, 64 << 20, &[]));
    assert_eq!(read(read_dmar, &[&pieces.concat()]).err(), Some(Contradiction));
}

#[test]
fn sources_are_known_only_without_a_bridge_and_only_of_what_the_machine_has() {
    let scopes = [
        scope(3, 0, 0, &[0x1e, 0, 1, 0]),
        scope(3, 9, 0, &[0x1e, 1]),
        scope(4, 1, 0, &[0x1e, 2]),
        scope(4, 0, 0, &[0x1e, 3]),
    ];
    let machine = read(read_dmar, &[&unit(0, 0xfed9_0000, &[&scopes.concat()])]).unwrap();
    assert_eq!(io_apic_sources(&machine), [None, None]);
    assert_eq!(machine.platform().hpet_source(), Some(SourceId::new(0, 0x1e, 3)));

    let entries = [special(9, 1, 1), special(1, 2, 2), special(0, 3, 2), special(0, 4, 3)];
    let machine = read(read_ivrs, &[&block(0x10, 8, 0, 0xfed8_0000, &[&entries.concat()])]).unwrap();
    assert_eq!(io_apic_sources(&machine), [None, None]);
    assert_eq!(machine.platform().hpet_source(), Some(SourceId(3)));

    let mut without = Machine::new(0, 0);
    read_ivrs(&table(0, &[&block(0x10, 8, 0, 0xfed8_0000, &[&special(0, 3, 2)])]), &mut without).unwrap();
    assert_eq!(without.platform().hpet_source(), None);
}

#[test]
fn nothing_sends_its_interrupts_from_two_places() {
    for kind in [3, 4] {
        let scopes = [scope(kind, 0, 0, &[1, 0]), scope(kind, 0, 0, &[1, 1])];
        let [one, other] = &scopes;
        assert!(read(read_dmar, &[&unit(0, 0xfed9_0000, &[one, one])]).is_ok());
        assert_eq!(read(read_dmar, &[&unit(0, 0xfed9_0000, &[one, other])]).err(), Some(Contradiction));
    }
    for path in [[0x20, 0], [0, 8]] {
        let nowhere = scope(3, 0, 0, &path);
        assert_eq!(read(read_dmar, &[&unit(0, 0xfed9_0000, &[&nowhere])]).err(), Some(Contradiction));
    }
}

proptest! {
    #[test]
    fn no_table_however_wrong_makes_the_loader_panic(
        entries in prop::collection::vec(any::<u8>(), 0..200),
        changes in prop::collection::vec((0usize..200, any::<u8>()), 0..4),
    ) {
        for (good, read) in [(&QEMU_DMAR[..], read_dmar as Read), (&QEMU_IVRS, read_ivrs)] {
            let _ = read(&entries, &mut machine());
            let _ = read(&table(1, &[&entries]), &mut machine());
            let mut changed = good.to_vec();
            for &(at, value) in &changes {
                let len = changed.len();
                changed[ENTRIES + at % (len - ENTRIES)] = value;
            }
            seal(&mut changed);
            let mut machine = machine();
            let _ = read(&changed, &mut machine);
            let units = machine.platform().iommus.as_slice();
            prop_assert!(units.iter().all(|unit| unit.extent().start != 0 && (1..=IOMMU_PAGES_MAX).contains(&unit.pages)));
        }
    }
}
