//! What the root begins with.

use abi::syscall::{Charge, MapAccess};
use abi::{Error, Handle, PAGE_SIZE, Syscall};
use kernel_core::{
    Account, Budget, CapSlot, Domain, Endpoint, Frame, FrameState, Interrupt, Kernel, Mapping, Notification, Root,
    RootPlan, Slot, Slots, Space, Tables, Thread,
};
use model::machine::{BUFFER, DATA, Machine, Plan, own};
use model::sizes::Small;
use model::world::FakeWorld;

use crate::scene::{INTERFACE, M, SPARE, boot, endpoint, info, usage};

/// Where nothing is mapped and no table is missing.
const PLACE: u64 = 0x41_0000;
/// Where nothing is mapped, and three tables are missing.
const FAR: u64 = 0x7000_0000_0000;
/// Where the next window of 2 MiB begins.
const WINDOW: u64 = 0x60_0000;

#[test]
fn the_root_may_use_every_slot_of_every_table_but_those_that_are_set_aside() {
    let mut m = boot();
    let lengths = [
        (Charge::Accounts, <<Small as Tables>::Accounts as Slots<Slot<Account>>>::LENGTH),
        (Charge::Spaces, <<Small as Tables>::Spaces as Slots<Slot<Space>>>::LENGTH),
        (Charge::Domains, <<Small as Tables>::Domains as Slots<Slot<Domain>>>::LENGTH),
        (Charge::Threads, <<Small as Tables>::Threads as Slots<Slot<Thread>>>::LENGTH),
        (Charge::Budgets, <<Small as Tables>::Budgets as Slots<Slot<Budget>>>::LENGTH),
        (Charge::Endpoints, <<Small as Tables>::Endpoints as Slots<Slot<Endpoint>>>::LENGTH),
        (Charge::Notifications, <<Small as Tables>::Notifications as Slots<Slot<Notification>>>::LENGTH),
        (Charge::Interrupts, <<Small as Tables>::Interrupts as Slots<Slot<Interrupt>>>::LENGTH),
    ];
    for (charge, length) in lengths {
        assert_eq!(usage(&mut m, charge).0 as usize, length - 1, "{charge:?}: the first slot names nothing");
    }
    let mappings = <<Small as Tables>::Mappings as Slots<Slot<Mapping>>>::LENGTH;
    let threads = <<Small as Tables>::Threads as Slots<Slot<Thread>>>::LENGTH;
    assert_eq!(usage(&mut m, Charge::Mappings).0 as usize, mappings - threads, "each thread may have a buffer");
}

#[test]
fn what_the_root_may_use_is_there() {
    for (syscall, charge) in [
        (Syscall::EndpointCreate, Charge::Endpoints),
        (Syscall::NotificationCreate, Charge::Notifications),
        (Syscall::BudgetCreate, Charge::Budgets),
    ] {
        let mut m = boot();
        let arguments = match syscall {
            Syscall::BudgetCreate => [own::ACCOUNT.0, 1, 1_000_000, 1_000_000, 0],
            _ => [own::ACCOUNT.0, INTERFACE, 1, 0, 0],
        };
        let (limit, used) = usage(&mut m, charge);
        for _ in used..limit {
            m.make(syscall, &arguments);
        }
        assert_eq!(m.sys(syscall, &arguments), Err(Error::QuotaExceeded), "{syscall:?}");
    }
}

/// Whether a part of the root's RAM can be mapped at an address when the system starts.
fn can_map(m: &M, address: u64, first: u64, pages: u64) -> bool {
    let (mut kernel, world) = (m.kernel.clone(), &m.world);
    kernel.root_map(world, m.root, m.ram, address, first, pages, MapAccess::Read).is_some()
}

#[test]
fn the_roots_image_is_mapped_only_where_there_is_room_for_it() {
    let m = boot();
    assert!(can_map(&m, PLACE, SPARE, 3));
    assert!(!can_map(&m, DATA, SPARE, 1), "something is there");
    assert!(!can_map(&m, DATA - PAGE_SIZE, SPARE, 2), "something is there");
    assert!(!can_map(&m, PLACE, 139, 2), "the extent has 140 pages");
    assert!(can_map(&m, WINDOW - PAGE_SIZE, SPARE, 1));
    assert!(!can_map(&m, WINDOW - PAGE_SIZE, SPARE, 2), "the second page is in another window");
}

#[test]
fn the_roots_image_is_mapped_only_if_its_pool_has_the_tables() {
    // Of so many tables one is the root's own and three lead to what is mapped already.
    for (tables, possible) in [(4, false), (6, false), (7, true), (8, true)] {
        let m: M = Machine::boot(Plan { frames: 160, tables, table_length: 128 });
        assert_eq!(can_map(&m, FAR, SPARE, 1), possible, "{tables} tables");
    }
}

#[test]
fn the_root_has_its_message_buffer_from_the_start() {
    let mut m = boot();
    let buffer = m.kernel.windows().find(|window| window.place == Err(m.root.thread)).expect("its buffer is known");
    assert_eq!((buffer.address, buffer.pages, buffer.access), (BUFFER, 1, MapAccess::ReadWrite));
    let endpoint = endpoint(&mut m, 1, 0);
    let outcome = m.sys(Syscall::Call, &[endpoint.0, info(0, 7), 0, INTERFACE]);
    assert_eq!(outcome, Err(Error::WouldBlock), "nobody receives, but seven words could be sent");
}

/// A kernel with RAM on both sides of a hole, and a capability for all of it.
fn with_a_hole() -> (Kernel<Small>, Root, Handle) {
    let mut kernel = Kernel::<Small>::EMPTY;
    kernel.attach_frames(vec![kernel_core::FrameEntry::default(); 64]);
    for frame in (0..40).chain(44..64) {
        kernel.declare_ram(Frame(frame), if frame < 16 { FrameState::Kernel } else { FrameState::User });
    }
    let plan = RootPlan { tables: Frame(16), table_count: 8, table_length: 128 };
    let (root, _) = kernel.create_root(plan).expect("the plan fits");
    let all = kernel.root_extent(root, Frame(0), 64);
    (kernel, root, all)
}

#[test]
fn no_mapping_is_ram_in_one_part_and_a_device_in_another() {
    for (first, pages, possible) in [(30, 10, true), (40, 4, true), (44, 20, true), (39, 2, false), (43, 2, false)] {
        let (mut kernel, root, all) = with_a_hole();
        let effect = kernel.root_map(&FakeWorld::default(), root, all, PLACE, first, pages, MapAccess::Read);
        assert_eq!(effect.is_some(), possible, "{pages} pages from {first} on");
    }
}

#[test]
fn the_roots_table_may_be_as_long_as_all_of_them_together_and_no_longer() {
    let all = u16::try_from(<<Small as Tables>::Caps as Slots<CapSlot>>::LENGTH).expect("it fits");
    for (table_length, possible) in [(all, true), (all + 1, false), (u16::MAX, false)] {
        let mut kernel = Kernel::<Small>::EMPTY;
        kernel.attach_frames(vec![kernel_core::FrameEntry::default(); 64]);
        for frame in 0..64 {
            kernel.declare_ram(Frame(frame), FrameState::User);
        }
        let plan = RootPlan { tables: Frame(16), table_count: 8, table_length };
        assert_eq!(kernel.create_root(plan).is_some(), possible, "{table_length} slots");
    }
}
