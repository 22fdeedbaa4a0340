//! Tables of a few slots.

use kernel_core::{
    Account, Budget, CapSlot, Cpu, Domain, Endpoint, FrameEntry, Interrupt, Mapping, Notification, Slot, Space,
    Storage, Tables, Thread, ThreadId,
};

macro_rules! sizes {
    ($(#[doc = $doc:expr])* $name:ident {
        accounts $accounts:literal, caps $caps:literal, spaces $spaces:literal, domains $domains:literal,
        threads $threads:literal, cpus $cpus:literal, budgets $budgets:literal, endpoints $endpoints:literal,
        notifications $notifications:literal, mappings $mappings:literal, interrupts $interrupts:literal,
    }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name;

        impl Tables for $name {
            type Accounts = [Slot<Account>; $accounts];
            type Caps = [CapSlot; $caps];
            type Spaces = [Slot<Space>; $spaces];
            type Domains = [Slot<Domain>; $domains];
            type Threads = [Slot<Thread>; $threads];
            type Timers = [Option<ThreadId>; $threads];
            type Cpus = [Cpu<Self::Timers>; $cpus];
            type Budgets = [Slot<Budget>; $budgets];
            type Endpoints = [Slot<Endpoint>; $endpoints];
            type Notifications = [Slot<Notification>; $notifications];
            type Mappings = [Slot<Mapping>; $mappings];
            type Interrupts = [Slot<Interrupt>; $interrupts];
            type Frames = Vec<FrameEntry>;
        }

        impl SmallTables for $name {
            fn storage(frames: usize) -> Storage<Self> {
                Storage {
                    accounts: [Slot::empty(Account::EMPTY); _],
                    caps: [CapSlot::EMPTY; _],
                    spaces: [Slot::empty(Space::EMPTY); _],
                    domains: [Slot::empty(Domain::EMPTY); _],
                    threads: [Slot::empty(Thread::EMPTY); _],
                    cpus: [const { Cpu::new([None; $threads]) }; _],
                    budgets: [Slot::empty(Budget::EMPTY); _],
                    endpoints: [Slot::empty(Endpoint::EMPTY); _],
                    notifications: [Slot::empty(Notification::EMPTY); _],
                    mappings: [Slot::empty(Mapping::EMPTY); _],
                    interrupts: [Slot::empty(Interrupt::EMPTY); _],
                    frames: vec![FrameEntry::default(); frames],
                }
            }
        }
    };
}

/// Tables that can be made empty.
pub trait SmallTables: Tables {
    /// Empty tables, with a frame table of this length.
    fn storage(frames: usize) -> Storage<Self>
    where
        Self: Sized;
}

sizes! {
    /// Room enough for tests that are written by hand.
    Small {
        accounts 16, caps 1024, spaces 8, domains 8, threads 32, cpus 4, budgets 32, endpoints 16,
        notifications 16, mappings 64, interrupts 8,
    }
}

sizes! {
    /// As little as a few domains need, for the exhaustive search.
    Tiny {
        accounts 4, caps 64, spaces 8, domains 4, threads 4, cpus 2, budgets 4, endpoints 4,
        notifications 4, mappings 16, interrupts 4,
    }
}
