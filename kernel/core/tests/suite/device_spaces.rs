//! What devices see, which interrupts they may raise, and what they were refused.

use crate::scene::{ALL, M, SPARE, boot, by, grant, notification, peer, refused, stale};
use abi::device::{SourceId, SourceRange, Stray, StrayKind};
use abi::rights::{DeviceControlRights, InterruptRights, MemoryRights, SpaceRights};
use abi::syscall::{DEVICE_INTERRUPTS, InterruptSource, MapAccess};
use abi::time::NOW;
use abi::{Error, Handle, PAGE_SIZE, Syscall, root};
use kernel_core::IommuInfo;
use model::machine::{DATA, own};

const DISK: SourceId = SourceId::new(0, 2, 0);
const READ_WRITE: u64 = MapAccess::ReadWrite as u64;
/// Where nothing is mapped, 1 MiB.
const PLACE: u64 = 0x10_0000;

/// A space for one function, with enough pages for tables.
fn space_for(m: &mut M, sources: SourceRange, page: u64) -> Handle {
    let arguments = [own::ACCOUNT.0, m.ram.0, page, root::DEVICES.0, sources.to_register()];
    let space = m.make(Syscall::DeviceSpaceCreate, &arguments);
    m.sys(Syscall::SpaceDonate, &[space.0, m.ram.0, page + 1, 3]).unwrap();
    space
}

fn disk_space(m: &mut M) -> Handle {
    space_for(m, SourceRange::one(DISK), SPARE)
}

/// A page that may be mapped for devices, and what is there for them.
fn shared_page(m: &mut M) -> Handle {
    m.make(Syscall::MemorySplit, &[m.ram.0, SPARE + 8, 1, ALL])
}

/// The frames that the disk sees, by address.
fn seen(m: &M) -> Vec<u64> {
    let tree = m.world.devices.get(&SourceRange::one(DISK).to_register());
    let tables = tree.and_then(|tree| m.world.spaces.get(&tree.root));
    tables.map_or_else(Vec::new, |tables| tables.leaves.keys().map(|page| page * PAGE_SIZE).collect())
}

#[test]
fn a_device_sees_what_is_mapped_for_it_and_nothing_else() {
    let mut m = boot();
    let space = disk_space(&mut m);
    assert_eq!(seen(&m), []);
    let page = shared_page(&mut m);
    let mapping = m.sys(Syscall::Map, &[space.0, page.0, PLACE, 0, 1, READ_WRITE]).unwrap()[0];
    assert_eq!(seen(&m), [PLACE]);
    m.sys(Syscall::Unmap, &[space.0, mapping]).unwrap();
    assert_eq!(seen(&m), []);
}

#[test]
fn a_device_sees_memory_as_long_as_its_capability_lives() {
    let mut m = boot();
    let space = disk_space(&mut m);
    let page = shared_page(&mut m);
    m.sys(Syscall::Map, &[space.0, page.0, PLACE, 0, 1, READ_WRITE]).unwrap();
    m.sys(Syscall::CapRevoke, &[m.ram.0]).unwrap();
    assert_eq!(seen(&m), []);
    m.sys(Syscall::SpaceDonate, &[own::SPACE.0, m.ram.0, SPARE + 8, 1]).unwrap();
}

#[test]
fn memory_that_a_device_sees_is_not_given_to_the_kernel() {
    let mut m = boot();
    let space = disk_space(&mut m);
    let page = shared_page(&mut m);
    m.sys(Syscall::Map, &[space.0, page.0, PLACE, 0, 1, READ_WRITE]).unwrap();
    let root = m.root.thread;
    refused(&mut m, root, Syscall::SpaceDonate, &[own::SPACE.0, page.0, 0, 1], Error::NotSoleOwner);
}

#[test]
fn with_its_space_a_device_loses_sight_of_everything_before_the_tables_go() {
    let mut m = boot();
    let space = disk_space(&mut m);
    let page = shared_page(&mut m);
    m.sys(Syscall::Map, &[space.0, page.0, PLACE, 0, 1, READ_WRITE]).unwrap();
    m.enter(Syscall::Destroy as u64, [space.0, 0, 0, 0, 0, 0]).unwrap();
    let root = m.root.thread;
    // After each piece the machine's check compares what devices see with what the core says; tables that went too
    // early would be the kernel's no more.
    while m.context(root).again {
        m.repeat();
        m.check().unwrap();
    }
    assert!(m.world.devices.is_empty());
    let other = space_for(&mut m, SourceRange::one(DISK), SPARE);
    m.sys(Syscall::Map, &[other.0, page.0, PLACE, 0, 1, READ_WRITE]).unwrap();
}

#[test]
fn only_memory_for_devices_is_mapped_for_them_and_never_to_be_executed() {
    let mut m = boot();
    let root = m.root.thread;
    let space = disk_space(&mut m);
    let page = shared_page(&mut m);
    let not_for_devices = (MemoryRights::all() - MemoryRights::DMA).bits();
    let weak = m.make(Syscall::CapCopy, &[page.0, u64::from(not_for_devices), 0]);
    refused(&mut m, root, Syscall::Map, &[space.0, weak.0, PLACE, 0, 1, READ_WRITE], Error::MissingRight);
    let code = MapAccess::ReadExecute as u64;
    refused(&mut m, root, Syscall::Map, &[space.0, page.0, PLACE, 0, 1, code], Error::BadArgument);
    m.sys(Syscall::Map, &[own::SPACE.0, weak.0, DATA + 16 * PAGE_SIZE, 0, 1, READ_WRITE]).unwrap();
}

#[test]
fn addresses_that_are_interrupts_or_too_long_are_not_mapped() {
    let mut m = boot();
    let root = m.root.thread;
    let space = disk_space(&mut m);
    let pages = m.make(Syscall::MemorySplit, &[m.ram.0, SPARE + 8, 2, ALL]);
    let last = (1_u64 << 39) - PAGE_SIZE;
    let (first, end) = (DEVICE_INTERRUPTS.start, DEVICE_INTERRUPTS.end);
    for address in [first, first - PAGE_SIZE, end - PAGE_SIZE, last, last + PAGE_SIZE, u64::MAX - PAGE_SIZE + 1, 0] {
        refused(&mut m, root, Syscall::Map, &[space.0, pages.0, address, 0, 2, READ_WRITE], Error::BadAddress);
    }
    // The first of these takes all the tables that there are; the others need more, but are not refused for their place.
    for address in [last - PAGE_SIZE, first - 2 * PAGE_SIZE, end] {
        let outcome = m.sys(Syscall::Map, &[space.0, pages.0, address, 0, 2, READ_WRITE]);
        assert!(matches!(outcome, Ok(_) | Err(Error::NeedTables)), "{address:#x}: {outcome:?}");
    }
}

#[test]
fn no_function_sees_two_spaces() {
    let mut m = boot();
    let root = m.root.thread;
    let range = |first, last| SourceRange::new(SourceId(first), SourceId(last)).expect("one bus");
    space_for(&mut m, range(8, 15), SPARE);
    for sources in [range(8, 8), range(15, 15), range(0, 8), range(15, 200), range(0, 255), range(8, 15)] {
        let arguments = [own::ACCOUNT.0, m.ram.0, SPARE + 4, root::DEVICES.0, sources.to_register()];
        refused(&mut m, root, Syscall::DeviceSpaceCreate, &arguments, Error::InUse);
    }
    space_for(&mut m, range(0, 7), SPARE + 4);
    space_for(&mut m, range(16, 255), SPARE + 8);
    space_for(&mut m, range(256, 511), SPARE + 12);
}

#[test]
fn a_space_for_devices_needs_authority_over_devices_and_an_iommu() {
    let mut m = boot();
    let root = m.root.thread;
    let sources = SourceRange::one(DISK).to_register();
    let weak = m.make(Syscall::CapCopy, &[root::DEVICES.0, u64::from(DeviceControlRights::WATCH.bits()), 0]);
    for (control, error) in
        [(weak.0, Error::MissingRight), (root::SYSTEM.0, Error::WrongKind), (stale(root::DEVICES), Error::StaleHandle)]
    {
        let arguments = [own::ACCOUNT.0, m.ram.0, SPARE, control, sources];
        refused(&mut m, root, Syscall::DeviceSpaceCreate, &arguments, error);
    }
    let arguments = [own::ACCOUNT.0, m.ram.0, SPARE, root::DEVICES.0, sources];
    let two_buses = [own::ACCOUNT.0, m.ram.0, SPARE, root::DEVICES.0, 0x0100_00ff];
    refused(&mut m, root, Syscall::DeviceSpaceCreate, &two_buses, Error::BadArgument);
    assert_eq!(m.sys(Syscall::DeviceInfo, &[root::DEVICES.0]).unwrap()[..3], [39, 1, 1]);
    m.world.unknown = vec![DISK];
    refused(&mut m, root, Syscall::DeviceSpaceCreate, &arguments, Error::KernelTableFull);
    m.world.iommu = None;
    refused(&mut m, root, Syscall::DeviceSpaceCreate, &arguments, Error::NoHardware);
    assert_eq!(m.sys(Syscall::DeviceInfo, &[root::DEVICES.0]).unwrap()[..3], [0, 0, 0]);
}

#[test]
fn nobody_runs_in_a_space_for_devices() {
    let mut m = boot();
    let root = m.root.thread;
    let space = disk_space(&mut m);
    refused(&mut m, root, Syscall::DomainCreate, &[own::ACCOUNT.0, space.0, 1, 16, 0, 0], Error::WrongState);
}

#[test]
fn a_driver_maps_for_its_device_only_what_it_holds() {
    let mut m = boot();
    let driver = peer(&mut m, 1, 0);
    let space = disk_space(&mut m);
    let page = shared_page(&mut m);
    let its_space = grant(&mut m, &driver, space, SpaceRights::MAP.bits(), 0);
    let its_page = grant(&mut m, &driver, page, MemoryRights::all().bits(), 0);
    m.switch_to(driver.id);
    by(&mut m, driver.id, Syscall::Map, &[its_space.0, its_page.0, PLACE, 0, 1, READ_WRITE]).unwrap();
    refused(&mut m, driver.id, Syscall::Destroy, &[its_space.0], Error::MissingRight);
    assert_eq!(seen(&m), [PLACE]);
    let root = m.root.thread;
    by(&mut m, root, Syscall::CapRevoke, &[page.0]).unwrap();
    assert_eq!(seen(&m), [], "what the driver has mapped goes with what it was given");
}

#[test]
fn an_interrupt_is_routed_by_whoever_has_authority_over_devices() {
    let mut m = boot();
    let root = m.root.thread;
    let interrupt = m.make(Syscall::InterruptCreate, &[root::INTERRUPTS.0, InterruptSource::Message.to_register()]);
    m.sys(Syscall::DeviceRoute, &[root::DEVICES.0, interrupt.0, u64::from(DISK.0)]).unwrap();
    let line = m.make(Syscall::InterruptCreate, &[root::INTERRUPTS.0, 4]);
    let handles = m.make(Syscall::CapCopy, &[interrupt.0, u64::from(InterruptRights::HANDLE.bits()), 0]);
    for (arguments, error) in [
        ([root::DEVICES.0, line.0, 16], Error::WrongState),
        ([root::DEVICES.0, handles.0, 16], Error::MissingRight),
        ([root::DEVICES.0, interrupt.0, 1 << 16], Error::BadArgument),
        ([root::INTERRUPTS.0, interrupt.0, 16], Error::WrongKind),
    ] {
        refused(&mut m, root, Syscall::DeviceRoute, &arguments, error);
    }
    m.world.unknown = vec![SourceId(24)];
    refused(&mut m, root, Syscall::DeviceRoute, &[root::DEVICES.0, interrupt.0, 24], Error::KernelTableFull);
    m.sys(Syscall::DeviceRoute, &[root::DEVICES.0, interrupt.0, 16]).unwrap();
    m.world.iommu = Some(IommuInfo { address_bits: 48, remaps_interrupts: false, reports_refusals: false });
    refused(&mut m, root, Syscall::DeviceRoute, &[root::DEVICES.0, interrupt.0, 16], Error::NoHardware);
}

fn stray(address: u64) -> Stray {
    Stray { source: DISK, kind: StrayKind::Write, reason: 5, address }
}

#[test]
fn whoever_watches_hears_of_each_refused_access_in_its_order() {
    let mut m = boot();
    let root = m.root.thread;
    let bits = notification(&mut m);
    refused(&mut m, root, Syscall::DeviceStray, &[root::DEVICES.0], Error::WouldBlock);
    m.sys(Syscall::DeviceWatch, &[root::DEVICES.0, bits.0, 4]).unwrap();
    for address in [0x1000, 0x2000] {
        m.stray(stray(address));
    }
    assert_eq!(m.sys(Syscall::Wait, &[bits.0, NOW]).unwrap()[0], 4);
    for address in [0x1000, 0x2000] {
        let told = m.sys(Syscall::DeviceStray, &[root::DEVICES.0]).unwrap();
        assert_eq!(Stray::from_registers(told[2], told[1]), Some(stray(address)));
        assert_eq!(told[3], 0, "nothing was lost");
    }
    refused(&mut m, root, Syscall::DeviceStray, &[root::DEVICES.0], Error::WouldBlock);
    m.sys(Syscall::DeviceWatch, &[root::DEVICES.0, 0, 0]).unwrap();
    m.stray(stray(0x3000));
    assert_eq!(m.sys(Syscall::Wait, &[bits.0, NOW]), Err(Error::WouldBlock));
    m.sys(Syscall::DeviceWatch, &[root::DEVICES.0, bits.0, 2]).unwrap();
    assert_eq!(m.sys(Syscall::Wait, &[bits.0, NOW]).unwrap()[0], 2, "what came before is not forgotten");
}

#[test]
fn of_too_many_refused_accesses_the_earliest_are_told_and_the_others_counted() {
    let mut m = boot();
    for address in 1..=11 {
        m.stray(stray(address * PAGE_SIZE));
    }
    let told: Vec<_> = (0..8).map(|_| m.sys(Syscall::DeviceStray, &[root::DEVICES.0]).unwrap()).collect();
    assert_eq!(told[0][3], 3, "three are lost");
    assert!(told[1..].iter().all(|told| told[3] == 0), "which is told once");
    assert!(told.iter().zip(1..).all(|(told, number)| told[1] == number * PAGE_SIZE));
    let root = m.root.thread;
    let blind = m.make(Syscall::CapCopy, &[root::DEVICES.0, u64::from(DeviceControlRights::CREATE.bits()), 0]);
    refused(&mut m, root, Syscall::DeviceStray, &[blind.0], Error::MissingRight);
    refused(&mut m, root, Syscall::DeviceWatch, &[blind.0, 0, 0], Error::MissingRight);
}
