mod acpi;
mod bz_image;
mod pvh;

use vmm::boot::{Boot, MemoryMap, ProcessorState, RangeKind};

const MEGABYTE: u64 = 1 << 20;

fn boot<'a>(image: &'a [u8], initrd: Option<&'a [u8]>, megabytes: u64) -> Boot<'a> {
    let map = MemoryMap::new(megabytes * MEGABYTE);
    Boot { image, initrd, command_line: "console=ttyS0", map, rsdp: 0xe_0000 }
}

#[test]
fn memory_has_a_hole_for_devices_below_four_gigabytes() {
    let usable = |bytes| -> Vec<(u64, u64)> {
        let ranges = MemoryMap::new(bytes).ranges();
        assert!(ranges.windows(2).all(|pair| pair[0].start + pair[0].length <= pair[1].start));
        let usable = ranges.iter().filter(|range| range.kind == RangeKind::Usable);
        usable.map(|range| (range.start, range.length)).collect()
    };
    assert_eq!(usable(64 * MEGABYTE), [(0, 0x9_fc00), (MEGABYTE, 63 * MEGABYTE)]);
    assert_eq!(usable(4096 * MEGABYTE)[1..], [(MEGABYTE, 3071 * MEGABYTE), (4096 * MEGABYTE, 1024 * MEGABYTE)]);
    assert_eq!(usable(0)[1], (MEGABYTE, MEGABYTE));
}

#[test]
fn a_second_processor_starts_in_real_mode_at_its_page() {
    let state = ProcessorState::starting_at(0x9a);
    assert_eq!((state.segments[1].base, state.segments[1].selector, state.instruction), (0x9_a000, 0x9a00, 0));
    assert_eq!((state.cr0 & 1, state.efer), (0, 0));
}
