//! Tables of a few slots.

use kernel_core::{
    Account, Budget, CapSlot, Cpu, Domain, Endpoint, FrameEntry, Interrupt, Mapping, Notification, Slot, Space, Tables,
    Thread, ThreadId,
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
    };
}

/// Tables of a machine that is made on the host.
pub trait SmallTables: Tables<Frames = Vec<FrameEntry>> {}

impl<T: Tables<Frames = Vec<FrameEntry>>> SmallTables for T {}

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
