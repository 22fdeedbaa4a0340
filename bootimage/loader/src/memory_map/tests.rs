use super::*;
use proptest::prelude::*;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

fn region(start: u64, len: u64, kind: FirmwareKind) -> FirmwareRegion {
    FirmwareRegion { extent: Extent { start, len }, kind }
}

fn map_of(regions: &[FirmwareRegion]) -> Result<MemoryMap, LoadError> {
    MemoryMap::from_firmware(regions.iter().copied())
}

fn parts(map: &MemoryMap) -> Vec<(u64, u64, RegionKind)> {
    map.regions().iter().map(|region| (region.extent.start, region.extent.end(), region.kind)).collect()
}

#[test]
fn a_pc_of_128_mib_is_described_in_order() {
    let map = map_of(&[
        region(0, 0x9fc00, FirmwareKind::Ram),
        region(0x9fc00, 0x400, FirmwareKind::Reserved),
        region(0xf0000, 0x10000, FirmwareKind::Reserved),
        region(MIB, 0x7fe0000 - MIB, FirmwareKind::Ram),
        region(0x7fe0000, 0x20000, FirmwareKind::Reserved),
        region(0xfffc0000, 0x40000, FirmwareKind::Reserved),
    ])
    .unwrap();
    assert_eq!(
        parts(&map),
        [
            (0, 0x9f000, RegionKind::LowMemory),
            (0x9f000, 0xa0000, RegionKind::Reserved),
            (0xf0000, 0x100000, RegionKind::Reserved),
            (MIB, 0x7fe0000, RegionKind::Free),
            (0x7fe0000, 0x8000000, RegionKind::Reserved),
            (0xfffc0000, 0x1_0000_0000, RegionKind::Reserved),
        ]
    );
    assert_eq!(map.ram_end(), 0x7fe0000);
}

#[test]
fn what_is_not_ram_wins_where_the_firmware_contradicts_itself() {
    let map = map_of(&[
        region(3 * MIB + 1, 1, FirmwareKind::Reserved),
        region(MIB, 8 * MIB, FirmwareKind::Ram),
        region(2 * MIB, 4096, FirmwareKind::AcpiReclaim),
    ])
    .unwrap();
    assert_eq!(
        parts(&map),
        [
            (MIB, 2 * MIB, RegionKind::Free),
            (2 * MIB, 2 * MIB + 4096, RegionKind::AcpiReclaim),
            (2 * MIB + 4096, 3 * MIB, RegionKind::Free),
            (3 * MIB, 3 * MIB + 4096, RegionKind::Reserved),
            (3 * MIB + 4096, 9 * MIB, RegionKind::Free),
        ]
    );
}

#[test]
fn ram_above_the_limit_is_not_used() {
    let map = map_of(&[region(MIB, 100 * GIB, FirmwareKind::Ram)]).unwrap();
    assert_eq!(map.ram_end(), 64 * GIB);
    assert_eq!(map.regions().last().unwrap().kind, RegionKind::Reserved);
}

#[test]
fn a_machine_without_ram_above_1_mib_is_refused() {
    assert_eq!(map_of(&[]).unwrap_err(), LoadError::NoMemory);
    let low = region(0, MIB, FirmwareKind::Ram);
    assert_eq!(map_of(&[low]).unwrap_err(), LoadError::NoMemory);
}

#[test]
fn a_map_of_too_many_regions_is_refused() {
    let regions: Vec<_> = (1..200).map(|index| region(index * 2 * MIB, MIB, FirmwareKind::Ram)).collect();
    assert_eq!(map_of(&regions).unwrap_err(), LoadError::TooManyRegions);
}

#[test]
fn memory_is_taken_from_the_top_below_the_limit_and_marked() {
    let mut map = map_of(&[region(MIB, 15 * MIB, FirmwareKind::Ram), region(4 * GIB, GIB, FirmwareKind::Ram)]).unwrap();
    let limit = 4 * GIB;
    let first = map.allocate("a test", 5000, RegionKind::PageTables, limit).unwrap();
    assert_eq!(first, Extent::between(16 * MIB - 8192, 16 * MIB));
    let second = map.allocate("a test", 1, RegionKind::PageTables, limit).unwrap();
    assert_eq!(second.end(), first.start);
    assert!(!map.is_free(second));
    assert_eq!(
        map.allocate("a test", 15 * MIB, RegionKind::PageTables, limit),
        Err(LoadError::OutOfMemory { what: "a test", len: 15 * MIB })
    );
}

#[test]
fn what_is_reserved_for_a_device_is_no_ram_any_more_and_nothing_else_changes() {
    let mut map = map_of(&[region(0, 0x9f000, FirmwareKind::Ram), region(MIB, 15 * MIB, FirmwareKind::Ram)]).unwrap();
    map.assign(Extent::between(2 * MIB, 3 * MIB), RegionKind::Loader).unwrap();
    map.reserve(Extent::between(0x8_0001, 3 * MIB + 1)).unwrap();
    map.reserve(Extent::between(15 * MIB, 20 * MIB)).unwrap();
    assert_eq!(
        parts(&map),
        [
            (0, 0x8_0000, RegionKind::LowMemory),
            (0x8_0000, 0x9_f000, RegionKind::Reserved),
            (MIB, 2 * MIB, RegionKind::Reserved),
            (2 * MIB, 3 * MIB, RegionKind::Loader),
            (3 * MIB, 3 * MIB + 4096, RegionKind::Reserved),
            (3 * MIB + 4096, 15 * MIB, RegionKind::Free),
            (15 * MIB, 16 * MIB, RegionKind::Reserved),
        ]
    );
}

#[test]
fn an_extent_is_free_only_as_a_whole() {
    let mut map = map_of(&[region(MIB, 15 * MIB, FirmwareKind::Ram)]).unwrap();
    let archive = Extent::between(4 * MIB, 8 * MIB);
    assert!(map.is_free(archive));
    map.assign(Extent::between(5 * MIB, 5 * MIB + 4096), RegionKind::Loader).unwrap();
    assert!(!map.is_free(archive));
    assert!(!map.is_free(Extent::between(15 * MIB, 17 * MIB)));
}

fn any_kind() -> impl Strategy<Value = FirmwareKind> {
    prop_oneof![
        4 => Just(FirmwareKind::Ram),
        1 => Just(FirmwareKind::AcpiReclaim),
        1 => Just(FirmwareKind::AcpiNvs),
        1 => Just(FirmwareKind::Reserved),
    ]
}

/// What the kind of a byte must be by the definition: reserved over NVS over reclaimable over RAM.
fn expected(regions: &[FirmwareRegion], page: u64) -> Option<FirmwareKind> {
    let touches = |region: &&FirmwareRegion| region.extent.overlaps(&Extent { start: page, len: 4096 });
    let covers = |region: &&FirmwareRegion| region.extent.contains(&Extent { start: page, len: 4096 });
    let is = |kind| move |region: &&FirmwareRegion| region.kind == kind;
    for kind in [FirmwareKind::Reserved, FirmwareKind::AcpiNvs, FirmwareKind::AcpiReclaim] {
        if regions.iter().filter(is(kind)).any(|region| touches(&region)) {
            return Some(kind);
        }
    }
    regions.iter().filter(is(FirmwareKind::Ram)).any(|region| covers(&region)).then_some(FirmwareKind::Ram)
}

proptest! {
    #[test]
    fn any_firmware_map_becomes_sorted_disjoint_aligned_and_true(
        regions in prop::collection::vec((0u64..0x40_0000, 0u64..0x8_0000, any_kind()), 1..12)
    ) {
        let regions: Vec<_> = regions
            .into_iter()
            .map(|(start, len, kind)| region(start, len, kind))
            .collect();
        let Ok(map) = map_of(&regions) else {
            return Ok(());
        };
        let mut end = 0;
        for region in map.regions() {
            prop_assert!(region.extent.start >= end && region.extent.len > 0);
            prop_assert_eq!(region.extent.start % 4096, 0);
            prop_assert_eq!(region.extent.len % 4096, 0);
            end = region.extent.end();
        }
        for page in (0..0x50_0000).step_by(4096) {
            let seen = map
                .regions()
                .iter()
                .find(|region| region.extent.start <= page && page < region.extent.end())
                .map(|region| match region.kind {
                    RegionKind::Free | RegionKind::LowMemory => FirmwareKind::Ram,
                    RegionKind::AcpiReclaim => FirmwareKind::AcpiReclaim,
                    RegionKind::AcpiNvs => FirmwareKind::AcpiNvs,
                    _ => FirmwareKind::Reserved,
                });
            prop_assert_eq!(seen, expected(&regions, page), "page {:#x}", page);
        }
    }

    #[test]
    fn extreme_firmware_maps_never_panic(
        regions in prop::collection::vec((any::<u64>(), any::<u64>(), any_kind()), 0..12)
    ) {
        let regions: Vec<_> = regions
            .into_iter()
            .map(|(start, len, kind)| region(start, len, kind))
            .collect();
        let _ = map_of(&regions);
    }
}
