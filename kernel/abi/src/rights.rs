//! What a capability lets its holder do: one type of rights for each kind of object, so that a right of one kind cannot
//! be asked of another.

use bitflags::bitflags;

/// The kinds of object that a capability can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A limit on kernel objects, and the authority to create them within it.
    Account = 1,
    /// An extent of physical memory: RAM or device registers.
    Memory = 2,
    /// An address space.
    Space = 3,
    /// A protection domain.
    Domain = 4,
    /// A thread.
    Thread = 5,
    /// A scheduling context.
    Budget = 6,
    /// A typed rendezvous for calls.
    Endpoint = 7,
    /// A word of sticky event bits.
    Notification = 8,
    /// Authority over one interrupt line or message-signalled vector.
    Interrupt = 9,
    /// Authority over a range of I/O ports.
    Ports = 10,
    /// Authority to create interrupt objects.
    InterruptControl = 11,
    /// Authority to read the kernel's log and its statistics.
    System = 12,
    /// Authority over what devices can reach by themselves.
    DeviceControl = 13,
}

impl Kind {
    /// Number of kinds, plus one for the value 0 that is none.
    pub const COUNT: usize = 14;

    /// Every kind.
    pub const ALL: [Kind; 13] = [
        Kind::Account,
        Kind::Memory,
        Kind::Space,
        Kind::Domain,
        Kind::Thread,
        Kind::Budget,
        Kind::Endpoint,
        Kind::Notification,
        Kind::Interrupt,
        Kind::Ports,
        Kind::InterruptControl,
        Kind::System,
        Kind::DeviceControl,
    ];

    /// The kind with this number.
    pub const fn from_number(number: u8) -> Option<Kind> {
        if number >= 1 && number <= 13 { Some(Self::ALL[number as usize - 1]) } else { None }
    }
}

/// Rights as they travel in registers, whatever the kind: a capability's kind says which type reads them.
pub type RawRights = u16;

macro_rules! rights {
    ($($(#[doc = $doc:expr])* $name:ident { $($(#[doc = $rdoc:expr])* $flag:ident = $bit:expr;)* })*) => {
        $(bitflags! {
            $(#[doc = $doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
            #[repr(transparent)]
            pub struct $name: RawRights {
                $($(#[doc = $rdoc])* const $flag = 1 << $bit;)*
            }
        })*
    };
}

rights! {
    /// Rights on an account.
    AccountRights {
        /// Create objects and sub-accounts charged to it.
        CREATE = 0;
        /// Read its limits and use.
        INSPECT = 1;
        /// Destroy it, when nothing is charged to it any more.
        DESTROY = 2;
    }
    /// Rights on an extent of memory.
    MemoryRights {
        /// Map it readable.
        READ = 0;
        /// Map it writable.
        WRITE = 1;
        /// Map it executable.
        EXECUTE = 2;
        /// Give pages of it to the kernel (page tables).
        DONATE = 3;
        /// Learn its physical address, to tell a device; map it into a device's space.
        DMA = 4;
        /// Make capabilities for parts of it.
        SPLIT = 5;
    }
    /// Rights on an address space.
    SpaceRights {
        /// Map and unmap, donate page-table pages.
        MAP = 0;
        /// Destroy it.
        DESTROY = 1;
    }
    /// Rights on a domain.
    DomainRights {
        /// Put capabilities into its table.
        GRANT = 0;
        /// Create threads in it.
        SPAWN = 1;
        /// Read its table, its threads' registers and state.
        INSPECT = 2;
        /// Destroy it.
        DESTROY = 3;
    }
    /// Rights on a thread.
    ThreadRights {
        /// Start, stop, configure.
        CONTROL = 0;
        /// Read its registers.
        INSPECT = 1;
        /// Destroy it.
        DESTROY = 2;
    }
    /// Rights on a budget.
    BudgetRights {
        /// Bind it to a thread.
        BIND = 0;
        /// Destroy it.
        DESTROY = 1;
        /// Move it to another processor.
        MOVE = 2;
    }
    /// Rights on an endpoint.
    EndpointRights {
        /// Call it.
        CALL = 0;
        /// Receive from it.
        RECEIVE = 1;
        /// Make badged copies.
        MINT = 2;
        /// Send capabilities along with a call.
        GRANT = 3;
        /// Use it as a domain's fault handler.
        FAULT = 4;
        /// Destroy it.
        DESTROY = 5;
    }
    /// Rights on a notification.
    NotificationRights {
        /// Set bits; the capability's badge, unless 0, limits which.
        NOTIFY = 0;
        /// Wait for bits.
        WAIT = 1;
        /// Make copies that can set only the bits of a badge.
        MINT = 2;
        /// Destroy it.
        DESTROY = 3;
    }
    /// Rights on an interrupt.
    InterruptRights {
        /// Bind it to a notification and acknowledge it.
        HANDLE = 0;
        /// Read the message (address and data) that raises it.
        MESSAGE = 1;
        /// Destroy it.
        DESTROY = 2;
    }
    /// Rights on a range of I/O ports.
    PortsRights {
        /// Read from them.
        IN = 0;
        /// Write to them.
        OUT = 1;
        /// Make capabilities for parts of the range.
        SPLIT = 2;
    }
    /// Rights on the interrupt control.
    InterruptControlRights {
        /// Create interrupt objects.
        CREATE = 0;
    }
    /// Rights on the device control.
    DeviceControlRights {
        /// Make device spaces, and say which device may raise which interrupt.
        CREATE = 0;
        /// Hear of what devices were refused.
        WATCH = 1;
    }
    /// Rights on the system object.
    SystemRights {
        /// Read the kernel's log.
        LOG = 0;
        /// Read statistics of the whole machine.
        INSPECT = 1;
    }
}
