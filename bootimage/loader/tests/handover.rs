//! A whole boot on a machine made of a vector: what the kernel would find, and what stops the boot.

use abi::boot::{
    BootInfo, DEVICE_BASE, DIRECT_MAP_BASE, Extent, IOMMUS_MAX, Iommu, IommuKind, KERNEL_BASE, PT_TABLES, RegionKind,
    Registers, TABLE_SHARES,
};
use abi::device::SourceId;
use archive::{ArchiveError, Builder};
use loader::error::LoadError;
use loader::executable::ExecutableError;
use loader::handover::{Handover, Own, prepare};
use loader::memory::{PhysicalMemory, read_u64};
use loader::platform::Machine;

const MIB: u64 = 1 << 20;
const PAGE: u64 = 4096;
const START_INFO: u64 = 0x1000;
const COMMAND_LINE: u64 = 0x2000;
const MODULES: u64 = 0x3000;
const MEMORY_MAP: u64 = 0x4000;
const RSDP: u64 = 0xf_0000;
const ARCHIVE: u64 = 8 * MIB;
const LOADER: Extent = Extent { start: MIB, len: 0x2_0000 };
const OWN: Own = Own { image: LOADER, jump_page: MIB + PAGE, embedded: None, entry_tsc: 77 };

/// RAM from address 0, filled with garbage, so that what is not cleared shows.
struct FakeMachine {
    bytes: Vec<u8>,
    info: Option<(u64, BootInfo)>,
}

impl PhysicalMemory for FakeMachine {
    fn limit(&self) -> u64 {
        4 << 30
    }

    fn bytes(&self, extent: Extent) -> Option<&[u8]> {
        let reachable = !extent.overlaps(&LOADER);
        self.bytes.get(extent.start as usize..extent.end() as usize).filter(|_| reachable)
    }

    fn bytes_mut(&mut self, extent: Extent) -> Option<&mut [u8]> {
        let reachable = !extent.overlaps(&LOADER);
        self.bytes.get_mut(extent.start as usize..extent.end() as usize).filter(|_| reachable)
    }

    fn copy(&mut self, from: Extent, to: u64) -> Option<()> {
        let source = self.bytes(from)?.to_vec();
        self.bytes_mut(Extent { start: to, len: from.len })?.copy_from_slice(&source);
        Some(())
    }

    fn store(&mut self, at: u64, info: &BootInfo) -> Option<()> {
        self.info = Some((at, *info));
        Some(())
    }
}

impl FakeMachine {
    /// 31.5 MiB of RAM, ACPI tables after it, firmware below 1 MiB, and the archive as a module.
    fn new(archive: &[u8]) -> Self {
        let mut machine = Self { bytes: vec![0xa5; 32 << 20], info: None };
        machine.start_info(1, COMMAND_LINE);
        machine.write(COMMAND_LINE, b"quiet\0");
        machine.module(ARCHIVE, archive.len() as u64);
        machine.write(ARCHIVE, archive);
        machine
    }

    fn start_info(&mut self, modules: u32, command_line: u64) {
        let map = [
            (0, 0x9_fc00, 1u32),
            (0x9_fc00, 0x400, 2),
            (RSDP, 0x1_0000, 2),
            (MIB, 31 * MIB - MIB / 2, 1),
            (32 * MIB - MIB / 2, MIB / 2, 2),
            (0xfffc_0000, 0x4_0000, 2),
        ];
        for (index, (start, len, kind)) in map.into_iter().enumerate() {
            let at = MEMORY_MAP + index as u64 * 24;
            self.write(at, &u64::to_le_bytes(start));
            self.write(at + 8, &u64::to_le_bytes(len));
            self.write(at + 16, &u64::from(kind).to_le_bytes());
        }
        for (at, value) in [(0, 0x336e_c578u32), (4, 1), (8, 0), (12, modules), (48, map.len() as u32), (52, 0)] {
            self.write(START_INFO + at, &value.to_le_bytes());
        }
        for (at, value) in [(16, MODULES), (24, command_line), (32, RSDP), (40, MEMORY_MAP)] {
            self.write(START_INFO + at, &value.to_le_bytes());
        }
    }

    fn module(&mut self, start: u64, len: u64) {
        self.write(MODULES, &start.to_le_bytes());
        self.write(MODULES + 8, &len.to_le_bytes());
    }

    fn write(&mut self, at: u64, bytes: &[u8]) {
        self.bytes[at as usize..][..bytes.len()].copy_from_slice(bytes);
    }

    fn boot(&mut self) -> Result<Handover, LoadError> {
        prepare(self, START_INFO, &OWN, |_, rsdp| {
            let mut machine = Machine::new(0, rsdp);
            machine.add_table(Extent { start: 32 * MIB - MIB / 2 + 0x100, len: 0x80 });
            machine.set_local_apic(0xfee0_0000);
            machine.add_io_apic(0, 0xfec0_0000, 0);
            machine.set_hpet(0, 0xfed0_0040);
            Ok(machine)
        })
    }

    /// Boots on a machine of which this is known beside its CPU.
    fn boot_with(&mut self, describe: impl FnOnce(&mut Machine)) -> Result<Handover, LoadError> {
        prepare(self, START_INFO, &OWN, |_, rsdp| {
            let mut machine = Machine::new(0, rsdp);
            describe(&mut machine);
            Ok(machine)
        })
    }

    fn info(&self) -> &BootInfo {
        &self.info.as_ref().expect("the boot information was stored").1
    }

    /// What the page tables say about an address, as a CPU would find it: physical address, writable, executable,
    /// cached.
    fn translate(&self, root: u64, virt: u64) -> Option<(u64, bool, bool, bool)> {
        let mut table = root;
        for level in (0..4).rev() {
            let entry = read_u64(self, table + (virt >> (12 + 9 * level) & 0x1ff) * 8).unwrap();
            if entry & 1 == 0 {
                return None;
            }
            let target = entry & 0x000f_ffff_ffff_f000;
            if level == 0 || entry & 0x80 != 0 {
                let offset = virt & ((1 << (12 + 9 * level)) - 1);
                return Some((target + offset, entry & 2 != 0, entry >> 63 == 0, entry & 0x10 == 0));
            }
            assert_eq!(entry & 7, 3, "tables above a page allow everything but user access");
            table = target;
        }
        None
    }
}

fn program(entry: u64, segments: &[(u32, u64, &[u8], u64)]) -> Vec<u8> {
    let mut file = vec![0; 0x1000 + segments.len() * 0x1000];
    file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    file[16..18].copy_from_slice(&2u16.to_le_bytes());
    file[18..20].copy_from_slice(&62u16.to_le_bytes());
    file[20..24].copy_from_slice(&1u32.to_le_bytes());
    file[24..32].copy_from_slice(&entry.to_le_bytes());
    file[32..40].copy_from_slice(&64u64.to_le_bytes());
    file[52..54].copy_from_slice(&64u16.to_le_bytes());
    file[54..56].copy_from_slice(&56u16.to_le_bytes());
    file[56..58].copy_from_slice(&(segments.len() as u16).to_le_bytes());
    for (index, (flags, virt, contents, len)) in segments.iter().enumerate() {
        let header = 64 + index * 56;
        let offset = 0x1000 * (index as u64 + 1) + virt % PAGE;
        file[header..header + 4].copy_from_slice(&1u32.to_le_bytes());
        file[header + 4..header + 8].copy_from_slice(&flags.to_le_bytes());
        for (field, value) in [offset, *virt, *virt, contents.len() as u64, *len, PAGE].into_iter().enumerate() {
            file[header + 8 + field * 8..][..8].copy_from_slice(&value.to_le_bytes());
        }
        file[offset as usize..][..contents.len()].copy_from_slice(contents);
    }
    file
}

const TEXT: u64 = KERNEL_BASE;
const CONSTANTS: u64 = KERNEL_BASE + 0x2000;
const DATA: u64 = KERNEL_BASE + 0x5000;

fn kernel() -> Vec<u8> {
    let text: (u32, u64, &[u8], u64) = (5, TEXT, b"code", 4);
    program(TEXT, &[text, (4, CONSTANTS + 8, b"constant", 8), (6, DATA, b"data", 0x2800)])
}

fn init() -> Vec<u8> {
    let text: (u32, u64, &[u8], u64) = (5, 0x40_0000, b"init code", 9);
    program(0x40_0000, &[text, (6, 0x40_1010, b"init data", 0x1000)])
}

fn archive_of(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut builder = Builder::new();
    for (name, contents) in files {
        builder.add(name, contents.clone()).unwrap();
    }
    builder.finish().unwrap()
}

fn archive() -> Vec<u8> {
    archive_of(&[("kernel", kernel()), ("init", init())])
}

fn booted() -> (FakeMachine, Handover) {
    let mut machine = FakeMachine::new(&archive());
    let handover = machine.boot().unwrap();
    (machine, handover)
}

fn refusal(archive: &[u8]) -> LoadError {
    FakeMachine::new(archive).boot().expect_err("the boot should be refused")
}

#[test]
fn the_kernel_finds_its_code_constants_and_data_with_fitting_access() {
    let (machine, handover) = booted();
    let root = handover.page_tables;
    assert_eq!(handover.entry, TEXT);
    let bytes = |phys: u64, len| machine.bytes(Extent { start: phys, len }).unwrap();

    let (text, writable, executable, _) = machine.translate(root, TEXT).unwrap();
    assert_eq!((writable, executable), (false, true));
    assert_eq!(bytes(text, 6), b"code\0\0");
    let (constants, writable, executable, _) = machine.translate(root, CONSTANTS + 8).unwrap();
    assert_eq!((writable, executable), (false, false));
    assert_eq!(bytes(constants - 8, 18), b"\0\0\0\0\0\0\0\0constant\0\0");
    let (data, writable, executable, _) = machine.translate(root, DATA).unwrap();
    assert_eq!((writable, executable), (true, false));
    assert_eq!(bytes(data, 4), b"data");
    let (rest, ..) = machine.translate(root, DATA + 0x2000).unwrap();
    assert!(bytes(data + 4, PAGE - 4).iter().chain(bytes(rest, PAGE)).all(|&byte| byte == 0));

    assert_eq!(machine.translate(root, TEXT + PAGE), None, "the gap between segments");
    assert_eq!(machine.translate(root, DATA + 0x3000), None, "after the last segment");
}

#[test]
fn nothing_is_writable_and_executable_and_code_is_not_writable_through_the_direct_map() {
    let (machine, handover) = booted();
    let root = handover.page_tables;
    for page in (0..32 * MIB).step_by(PAGE as usize) {
        if let Some((phys, _, executable, cached)) = machine.translate(root, DIRECT_MAP_BASE + page) {
            assert_eq!(phys, page);
            assert!(!executable && cached);
        }
    }
    for (virt, writable) in [(TEXT, false), (CONSTANTS, false), (DATA, true)] {
        let (phys, ..) = machine.translate(root, virt).unwrap();
        let (_, seen, ..) = machine.translate(root, DIRECT_MAP_BASE + phys).unwrap();
        assert_eq!(seen, writable);
    }
}

#[test]
fn the_direct_map_shows_all_ram_and_of_the_rest_only_the_tables_and_those_read_only() {
    let (machine, handover) = booted();
    let root = handover.page_tables;
    let writable = |phys| machine.translate(root, DIRECT_MAP_BASE + phys).map(|(_, writable, ..)| writable);
    assert_eq!(writable(0), Some(true));
    assert_eq!(writable(ARCHIVE), Some(true));
    assert_eq!(writable(MIB), Some(true));
    assert_eq!(writable(RSDP), Some(false));
    assert_eq!(writable(32 * MIB - PAGE), Some(false));
    assert_eq!(writable(0x9_f000), None);
    assert_eq!(writable(0xfffc_0000), None);
    assert_eq!(machine.info().direct_map_len, 32 * MIB);
}

#[test]
fn devices_are_mapped_uncached_where_the_boot_information_says() {
    let (machine, handover) = booted();
    let platform = &machine.info().platform;
    let registers = [platform.local_apic, platform.io_apics.as_slice()[0].registers, platform.hpet];
    for registers in registers {
        assert!(registers.virt >= DEVICE_BASE);
        let seen = machine.translate(handover.page_tables, registers.virt);
        assert_eq!(seen, Some((registers.phys, true, false, false)));
    }
}

/// An IOMMU with its registers at `phys`.
fn iommu(phys: u64, pages: u32) -> Iommu {
    Iommu { kind: IommuKind::IntelVtd, registers: Registers { phys, virt: 0 }, pages, ..Iommu::NONE }
}

#[test]
fn every_page_of_every_iommus_registers_is_mapped_uncached_and_at_one_place_only() {
    let mut machine = FakeMachine::new(&archive());
    let handover = machine.boot_with(|described| {
        described.set_hpet(0, 0xfed0_0000);
        for index in 0..IOMMUS_MAX as u64 {
            // Runs that overlap, as those of neighbours with one page each do.
            described.add_iommu(iommu(0xfed9_0000 + index * PAGE, if index == 3 { 8 } else { 2 })).unwrap();
        }
    });
    let root = handover.unwrap().page_tables;
    let platform = &machine.info().platform;
    assert_eq!(platform.iommus.as_slice().len(), IOMMUS_MAX);
    let mut places = vec![platform.hpet.virt];
    for unit in platform.iommus.as_slice() {
        for page in 0..u64::from(unit.pages) {
            let virt = unit.registers.virt + page * PAGE;
            assert!(virt >= DEVICE_BASE && !places.contains(&virt));
            assert_eq!(machine.translate(root, virt), Some((unit.registers.phys + page * PAGE, true, false, false)));
            places.push(virt);
        }
    }
}

#[test]
fn an_iommu_in_ram_is_refused() {
    for phys in [16 * MIB, 16 * MIB - PAGE, MIB] {
        let mut machine = FakeMachine::new(&archive());
        let refused = machine.boot_with(|described| described.add_iommu(iommu(phys, 2)).unwrap()).unwrap_err();
        let extent = Extent { start: phys, len: 2 * PAGE };
        assert_eq!(refused, LoadError::Overlap { what: "the registers of an IOMMU", extent, with: "RAM" });
        assert!(refused.to_string().contains("puts the registers of an IOMMU (8192 bytes) at 0x"));
    }
}

#[test]
fn memory_that_the_firmware_keeps_for_a_device_is_no_ram() {
    let mut machine = FakeMachine::new(&archive());
    let kept = Extent { start: 16 * MIB, len: 3 * PAGE };
    let others = Extent { start: 40 * MIB, len: PAGE };
    let handover = machine.boot_with(|described| {
        described.reserve_memory(kept).unwrap();
        described.reserve_memory(others).unwrap();
        described.add_device_region(SourceId::new(0, 2, 0), SourceId::new(0, 2, 0), kept);
    });
    let root = handover.unwrap().page_tables;
    let info = machine.info();
    let overlapping = |extent: Extent| {
        info.memory.as_slice().iter().filter(|region| region.extent.overlaps(&extent)).collect::<Vec<_>>()
    };
    let seen: Vec<_> = overlapping(kept).iter().map(|region| (region.extent, region.kind)).collect();
    assert_eq!(seen, [(kept, RegionKind::Reserved)]);
    assert!(overlapping(others).is_empty(), "what the memory map does not mention stays unmentioned");
    assert_eq!(machine.translate(root, DIRECT_MAP_BASE + kept.start), None);
    let region = info.platform.device_regions.as_slice()[0];
    assert_eq!((region.source, region.last, region.extent), (SourceId(0x10), SourceId(0x10), kept));
}

#[test]
fn memory_that_the_firmware_keeps_for_a_device_must_be_nobodys() {
    let mut machine = FakeMachine::new(&archive());
    let extent = Extent { start: LOADER.end() - PAGE, len: PAGE };
    let refused = machine.boot_with(|described| described.reserve_memory(extent).unwrap());
    assert_eq!(refused, Err(LoadError::Overlap { what: "memory of a device", extent, with: "the loader" }));
    let extent = Extent { start: ARCHIVE, len: PAGE };
    let refused = machine.boot_with(|described| described.reserve_memory(extent).unwrap());
    assert!(matches!(refused, Err(LoadError::ArchiveOutsideRam { .. })));
}

#[test]
fn one_page_of_the_loader_stays_for_the_jump_and_its_tables_are_the_loaders() {
    let (machine, handover) = booted();
    let root = handover.page_tables;
    assert_eq!(machine.translate(root, OWN.jump_page), Some((OWN.jump_page, false, true, true)));
    assert_eq!(machine.translate(root, OWN.jump_page + PAGE), None);
    let below = read_u64(&machine, root).unwrap() & !(PAGE - 1);
    let kind = |at| machine.info().memory.as_slice().iter().find(|region| region.extent.contains(&at)).unwrap().kind;
    assert_eq!(kind(Extent { start: below, len: PAGE }), RegionKind::Loader);
    assert_eq!(kind(Extent { start: root, len: PAGE }), RegionKind::PageTables);
}

#[test]
fn the_root_domain_is_placed_in_memory_of_its_own() {
    let (machine, _) = booted();
    let root = &machine.info().root;
    assert_eq!(root.entry, 0x40_0000);
    let segments = root.segments.as_slice();
    let seen: Vec<_> = segments.iter().map(|segment| (segment.address, segment.extent.len, segment.access)).collect();
    assert_eq!(seen, [(0x40_0000, PAGE, 5), (0x40_1000, 2 * PAGE, 3)]);
    assert!(segments.iter().all(|segment| root.extent.contains(&segment.extent)));
    let data = machine.bytes(segments[1].extent).unwrap();
    assert_eq!(&data[..0x1a], b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0init data\0");
    assert!(data[0x1a..].iter().all(|&byte| byte == 0));
}

#[test]
fn the_memory_map_accounts_for_every_page_once() {
    let (machine, handover) = booted();
    let info = machine.info();
    assert!(info.is_compatible());
    assert_eq!(info.command_line(), "quiet");
    assert_eq!(info.entry_tsc, 77);
    let regions = info.memory.as_slice();
    assert!(regions.windows(2).all(|pair| pair[0].extent.end() <= pair[1].extent.start));
    let of = |kind| regions.iter().filter(move |region| region.kind == kind).map(|region| region.extent);
    let len = |kind| of(kind).map(|extent| extent.len).sum::<u64>();
    let kinds = [
        RegionKind::Free,
        RegionKind::Loader,
        RegionKind::KernelImage,
        RegionKind::RootImage,
        RegionKind::FrameTable,
        RegionKind::Archive,
        RegionKind::BootInfo,
        RegionKind::PageTables,
    ];
    assert_eq!(kinds.into_iter().map(len).sum::<u64>(), 31 * MIB - MIB / 2);
    assert_eq!(of(RegionKind::KernelImage).collect::<Vec<_>>(), [info.kernel_image]);
    assert_eq!(of(RegionKind::FrameTable).collect::<Vec<_>>(), [info.frame_table]);
    assert_eq!(of(RegionKind::Archive).collect::<Vec<_>>(), [info.archive]);
    assert_eq!(len(RegionKind::Loader), LOADER.len + 3 * PAGE);
    let place = machine.info.as_ref().unwrap().0;
    assert_eq!(handover.boot_info, DIRECT_MAP_BASE + place);
    assert!(of(RegionKind::BootInfo).any(|extent| extent.start == place));
}

/// A kernel with a table of 6 MiB, of which it lists where it lies.
fn kernel_with_a_table() -> Vec<u8> {
    let list: Vec<u8> = [TABLE, TABLE_LEN, 0].into_iter().flat_map(u64::to_le_bytes).collect();
    let text: (u32, u64, &[u8], u64) = (5, TEXT, b"code", 4);
    let mut file = program(TEXT, &[text, (6, TABLE, b"", TABLE_LEN), (4, CONSTANTS, &list, list.len() as u64)]);
    let header = 64 + 2 * 56;
    file[header..header + 4].copy_from_slice(&PT_TABLES.to_le_bytes());
    file
}

const TABLE: u64 = KERNEL_BASE + (2 * MIB - PAGE);
const TABLE_LEN: u64 = 6 * MIB;

#[test]
fn behind_the_part_of_a_table_for_which_there_is_memory_lie_zeros_that_cannot_be_written() {
    let mut machine = FakeMachine::new(&archive_of(&[("kernel", kernel_with_a_table()), ("init", init())]));
    let handover = machine.boot().unwrap();
    let info = machine.info();
    assert_eq!(info.table_shares, 1);
    assert!(info.kernel_image.len < MIB);
    let at = |virt| machine.translate(handover.page_tables, virt).unwrap();
    let present = TABLE_LEN / TABLE_SHARES as u64;
    let mut frames = std::collections::BTreeSet::new();
    for virt in (TABLE..TABLE + present).step_by(PAGE as usize) {
        let (frame, writable, executable, _) = at(virt);
        assert!(
            writable
                && !executable
                && frames.insert(frame)
                && info.kernel_image.contains(&Extent { start: frame, len: PAGE })
        );
    }
    let (zeros, ..) = at(TABLE + present);
    for virt in (TABLE + present..TABLE + TABLE_LEN).step_by(PAGE as usize) {
        assert_eq!(at(virt), (zeros, false, false, true));
    }
    assert!(machine.bytes(Extent { start: zeros, len: PAGE }).unwrap().iter().all(|&byte| byte == 0));
    assert_eq!(machine.translate(handover.page_tables, TABLE + TABLE_LEN), None);
}

#[test]
fn the_frame_table_has_room_for_all_ram_and_is_zero() {
    let (machine, _) = booted();
    let info = machine.info();
    assert_eq!(info.frames, (32 * MIB - MIB / 2) / PAGE);
    assert!(info.frame_table.len >= info.frames * 16);
    assert!(machine.bytes(info.frame_table).unwrap().iter().all(|&byte| byte == 0));
}

#[test]
fn an_embedded_archive_is_used_when_there_is_no_module() {
    let archive = archive();
    let mut machine = FakeMachine::new(&archive);
    machine.start_info(0, 0);
    let discover = |_: &FakeMachine, rsdp| Ok(Machine::new(0, rsdp));
    assert_eq!(prepare(&mut machine, START_INFO, &OWN, discover), Err(LoadError::NoArchive));
    let embedded = Some(Extent { start: ARCHIVE, len: archive.len() as u64 });
    prepare(&mut machine, START_INFO, &Own { embedded, ..OWN }, discover).unwrap();
    assert_eq!(machine.info().archive.start, ARCHIVE);
    assert_eq!(machine.info().command_line(), "");
}

#[test]
fn a_damaged_archive_is_refused_with_the_reason() {
    let archive = archive();
    let mut corrupt = archive.clone();
    corrupt[5000] ^= 1;
    let error = refusal(&corrupt);
    assert!(matches!(error, LoadError::BadArchive { error: ArchiveError::BadChecksum { .. }, .. }));
    assert!(error.to_string().starts_with("the boot archive at 0x800000 cannot be used: it is corrupt"));
    let truncated = &archive[..archive.len() - 4096];
    assert!(matches!(refusal(truncated), LoadError::BadArchive { error: ArchiveError::Truncated { .. }, .. }));
    assert!(matches!(refusal(&[]), LoadError::BadArchive { error: ArchiveError::Truncated { have: 0, .. }, .. }));
}

#[test]
fn an_archive_that_is_not_in_free_ram_is_refused() {
    let archive = archive();
    let len = archive.len() as u64;
    for start in [32 * MIB - MIB / 2 - PAGE, LOADER.start, 64 << 30, 0x8000, !(PAGE - 1)] {
        let mut machine = FakeMachine::new(&archive);
        machine.module(start, len);
        let refused = machine.boot().unwrap_err();
        let extent = Extent { start, len };
        assert_eq!(refused, LoadError::ArchiveOutsideRam { extent, ram_end: 32 * MIB - MIB / 2 });
    }
    let mut machine = FakeMachine::new(&archive);
    machine.module(ARCHIVE + 1, len);
    assert_eq!(machine.boot(), Err(LoadError::ArchiveMisaligned { start: ARCHIVE + 1 }));
    machine.module(ARCHIVE, u64::MAX);
    assert!(matches!(machine.boot(), Err(LoadError::ArchiveOutsideRam { .. })));
}

#[test]
fn missing_and_malformed_programs_are_named() {
    assert_eq!(refusal(&archive_of(&[("init", init())])), LoadError::NoFile { name: "kernel" });
    assert_eq!(refusal(&archive_of(&[("kernel", kernel())])), LoadError::NoFile { name: "init" });
    let swapped = archive_of(&[("kernel", kernel()), ("init", kernel())]);
    assert!(matches!(
        refusal(&swapped),
        LoadError::BadFile { name: "init", error: ExecutableError::SegmentOutsideWindow { .. } }
    ));
    let text = archive_of(&[("kernel", b"hello".to_vec()), ("init", init())]);
    assert_eq!(refusal(&text), LoadError::BadFile { name: "kernel", error: ExecutableError::NotElf });
}

#[test]
fn a_program_larger_than_the_memory_is_refused() {
    let large = program(KERNEL_BASE, &[(5, KERNEL_BASE, b"x", 40 * MIB)]);
    assert_eq!(
        refusal(&archive_of(&[("kernel", large), ("init", init())])),
        LoadError::OutOfMemory { what: "the kernel", len: 40 * MIB }
    );
}

#[test]
fn start_information_that_is_absent_or_out_of_reach_is_refused() {
    let mut machine = FakeMachine::new(&archive());
    machine.write(START_INFO, b"none");
    assert_eq!(machine.boot(), Err(LoadError::NotPvh { at: START_INFO }));
    let mut machine = FakeMachine::new(&archive());
    machine.write(START_INFO + 40, &(1u64 << 40).to_le_bytes());
    assert!(matches!(machine.boot(), Err(LoadError::Unreadable { what: "the memory map", .. })));
    let mut machine = FakeMachine::new(&archive());
    machine.write(COMMAND_LINE, &[b'x'; 300]);
    assert_eq!(machine.boot(), Err(LoadError::BadCommandLine));
}
