//! What one domain is given.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::{DMA_BYTES, EndpointIndex, Guest, RingIndex};

/// A protection domain as it is to be created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    /// Unique name: lowercase letters, digits and dashes.
    pub name: String,
    /// Name of its ELF file in the boot archive.
    pub binary: String,
    /// What it is for.
    pub kind: Kind,
    /// One more than the highest level among its providers; the supervisor is at 0.
    pub level: u8,
    /// Scheduling priority; a higher number runs first.
    pub priority: u8,
    /// Processor on which its first thread runs, counted from 0; on a machine that does not have it, processor 0.
    pub cpu: u8,
    /// Longest run before the next thread of the same priority gets its turn, in microseconds; without meaning for a
    /// domain whose use is bounded.
    pub time_slice_us: u32,
    /// The most of its processor that it uses on its own behalf. What it does for a caller is the caller's time. A bounded
    /// domain has one thread: each has a budget of its own.
    pub bound: Option<Bound>,
    /// Private memory for image, stacks and heap, in bytes; a multiple of the page size.
    pub memory: u64,
    /// Memory that outlives the domain's instances, in bytes; a multiple of the page size, 0 for none.
    pub vault: u64,
    /// Slots of the capability table; a power of two from [`MIN_CAPABILITIES`](crate::MIN_CAPABILITIES) to
    /// [`MAX_CAPABILITIES`](crate::MAX_CAPABILITIES).
    pub capabilities: u32,
    /// Most threads it may have at once, its first included.
    pub threads: u16,
    /// What happens after its death.
    pub restart: Restart,
    /// Longest silence before the domain counts as hung, in milliseconds; 0 for no heartbeat. The supervisor asks and
    /// the domain answers through its status page, so that a heartbeat takes no capability.
    pub heartbeat_ms: u32,
    /// Endpoints that it serves.
    pub provides: Vec<EndpointIndex>,
    /// Endpoints that it may call.
    pub uses: Vec<Use>,
    /// The device that it drives.
    pub device: Option<Device>,
    /// Arguments of its program.
    pub args: Vec<String>,
    /// Authority beyond memory, endpoints and its device; sorted, without repeats.
    pub grants: Vec<Grant>,
    /// The machine that it shows its guest; of [`Kind::Guest`] and of no other.
    pub guest: Option<Guest>,
    /// Bytes for its guest, a multiple of the page size: the guest's memory and what the kernel and the monitor need beside it;
    /// 0 without a guest.
    pub guest_memory: u64,
}

impl Domain {
    /// Whether the domain holds `grant`.
    pub fn holds(&self, grant: Grant) -> bool {
        self.grants.contains(&grant)
    }

    /// The use that the domain knows under `name`.
    pub fn use_named(&self, name: &str) -> Option<&Use> {
        self.uses.iter().find(|usage| usage.name == name)
    }

    /// Bytes of memory that it is given to share with its device, see [`Device::dma_bytes`].
    /// They come on top of [`Domain::memory`], since a device must not reach a driver's stacks and heap.
    pub fn dma_bytes(&self) -> u64 {
        self.device.as_ref().map_or(0, Device::dma_bytes)
    }

    /// Whether the domain is left out, and the system goes on, if its device is not in the machine.
    pub fn is_optional(&self) -> bool {
        self.device.as_ref().is_some_and(|device| !device.required)
    }
}

/// A part of a processor's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Bound {
    /// Longest use within any period, in microseconds; not more than the period.
    pub slice_us: u32,
    /// The period, in microseconds.
    pub period_us: u32,
}

impl Bound {
    /// Shortest slice and period, in microseconds.
    pub const MIN_US: u32 = 10;
    /// Longest slice and period, in microseconds: an hour.
    pub const MAX_US: u32 = 3_600_000_000;
    /// A whole processor, as [`Bound::share`] counts.
    pub const WHOLE: u64 = 1_000_000_000;

    /// Whether slice and period are in range and the slice fits into the period.
    pub const fn is_valid(self) -> bool {
        self.slice_us >= Self::MIN_US && self.slice_us <= self.period_us && self.period_us <= Self::MAX_US
    }

    /// What it is of a processor, in billionths, rounded down: three thirds are one processor.
    pub const fn share(self) -> u64 {
        match (self.slice_us as u64 * Self::WHOLE).checked_div(self.period_us as u64) {
            Some(share) => share,
            None => Self::WHOLE,
        }
    }
}

/// What a domain is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// Serves others and touches no hardware.
    Server,
    /// Drives a device or a bus.
    Driver,
    /// Serves a person.
    App,
    /// Shows a guest a machine.
    Guest,
}

impl Kind {
    /// Every kind, in the order of the manifest's documentation.
    pub const ALL: [Self; 4] = [Self::Server, Self::Driver, Self::App, Self::Guest];

    /// The word for the kind in `system.toml`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Driver => "driver",
            Self::App => "app",
            Self::Guest => "guest",
        }
    }
}

/// What happens after a domain's death.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Restart {
    /// It stays dead.
    Never,
    /// It is started again, later after each death, until it has died too often.
    OnDeath {
        /// Most restarts within the window; one more death is its group's to deal with, or without a group, the domain stays
        /// dead.
        limit: u32,
        /// The window over which restarts are counted, in milliseconds.
        window_ms: u32,
        /// The first wait of a series, in milliseconds.
        backoff_ms: u32,
        /// The longest such wait, in milliseconds; not less than `backoff_ms`.
        max_backoff_ms: u32,
    },
}

impl Restart {
    /// A life that lasts so many times as long as the wait before it makes up for that wait.
    const WORTH: u64 = 10;

    /// Wait before the next restart, in milliseconds, after `deaths` deaths (this one included) within the window,
    /// or `None` if the domain stays dead. The life that is over lasted `lived_ms` milliseconds, and before it the domain had
    /// waited for `waited_ms`.
    ///
    /// Waiting keeps a domain that dies again and again from using up the processor by its starts. One that had lived as long as
    /// it can ever be made to wait is not of that kind: it is started again at once. One that had lived for ten times as
    /// long as it had waited waits for `backoff`, so that it waits for a tenth of the time at most; any other twice as long as
    /// before.
    pub const fn backoff_after(self, deaths: u32, lived_ms: u64, waited_ms: u32) -> Option<u32> {
        match self {
            Self::OnDeath { limit, backoff_ms, max_backoff_ms, .. } if deaths <= limit => {
                if lived_ms >= max_backoff_ms as u64 {
                    return Some(0);
                }
                if lived_ms >= waited_ms as u64 * Self::WORTH {
                    return Some(backoff_ms);
                }
                let wait = waited_ms.saturating_mul(2);
                Some(if wait > max_backoff_ms { max_backoff_ms } else { wait })
            }
            _ => None,
        }
    }

    /// Wait before the restart with a group that is its `count`th within the group's window, in milliseconds: `backoff` before
    /// the first, twice as long before each that follows.
    pub const fn wait_with_group(self, count: u32) -> u32 {
        match self {
            Self::OnDeath { backoff_ms, max_backoff_ms, .. } => {
                // 31 doublings overflow any wait: the shift is bounded so that a long series stays at the maximum.
                let doublings = count.saturating_sub(1);
                let wait = if doublings > 31 { u64::MAX } else { (backoff_ms as u64) << doublings };
                if wait > max_backoff_ms as u64 { max_backoff_ms } else { wait as u32 }
            }
            Self::Never => 0,
        }
    }
}

/// One endpoint that a domain may call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    /// The endpoint.
    pub endpoint: EndpointIndex,
    /// The client's own name for it, unique among its uses; the interface's name unless the manifest says otherwise.
    pub name: String,
    /// Badge of the client's capability: the client's domain index, so a server knows each client by one small
    /// number, whichever of its endpoints the client calls.
    pub badge: u64,
    /// Shared memory that goes with the use.
    pub ring: Option<RingIndex>,
    /// What the client sees when the provider dies under a call of it.
    pub on_death: OnDeath,
}

/// What a client sees when a provider dies, and is back soon after. This is what the manifest declares, for people and for
/// tests; the machine does nothing about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OnDeath {
    /// A pause: what was under way is done.
    Transparent,
    /// An error, or nothing. What is asked again succeeds as soon as the provider is back.
    Retry,
    /// An error, and what the provider kept for the client is lost.
    Error,
}

impl OnDeath {
    /// Every word, in the order of the manifest's documentation.
    pub const ALL: [Self; 3] = [Self::Transparent, Self::Retry, Self::Error];

    /// The word in `system.toml`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Transparent => "transparent",
            Self::Retry => "retry",
            Self::Error => "error",
        }
    }
}

/// A device and whether the domain makes sense without it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// How to find it.
    pub bus: Bus,
    /// `false`: if the device is absent, the domain is not started, the system says so and goes on.
    pub required: bool,
    /// On a machine that cannot confine the device to what its driver shares with it, the domain is not started.
    pub needs_iommu: bool,
}

impl Device {
    /// Bytes of memory that its driver is given to share with it: [`DMA_BYTES`] if it is on the PCI bus, else 0.
    pub fn dma_bytes(&self) -> u64 {
        match self.bus {
            Bus::Pci { .. } => DMA_BYTES,
            Bus::Legacy { .. } => 0,
        }
    }
}

/// How a device is found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bus {
    /// At fixed I/O ports and interrupt lines.
    Legacy {
        /// I/O ports.
        ports: Vec<PortRange>,
        /// ISA interrupt lines, 0 to 15.
        irqs: Vec<u8>,
    },
    /// By identity among the PCI functions.
    Pci {
        /// Vendor id.
        vendor: u16,
        /// Device ids, any of which matches.
        devices: Vec<u16>,
        /// Which of the matching functions, in order of bus, device and function, counted from 0.
        index: u8,
        /// Message-signalled interrupt vectors to set up.
        interrupts: u8,
    },
}

/// A range of I/O ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PortRange {
    /// First port.
    pub base: u16,
    /// Number of ports, at least 1; the range ends at or below port 0xffff.
    pub count: u16,
}

impl PortRange {
    /// Whether the two ranges have a port in common.
    pub const fn overlaps(self, other: Self) -> bool {
        let (start, other_start) = (self.base as u32, other.base as u32);
        start < other_start + other.count as u32 && other_start < start + self.count as u32
    }

    /// Whether the range is not empty and ends at or below port 0xffff.
    pub const fn is_valid(self) -> bool {
        self.count > 0 && self.base as u32 + self.count as u32 <= 0x1_0000
    }
}

/// Authority that is neither memory nor an endpoint nor a device of the domain's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Grant {
    /// The PCI configuration space and the physical windows in which PCI devices have their memory.
    Ecam,
    /// Switching the machine off.
    Power,
    /// Reading the kernel's log.
    KernelLog,
    /// Creating, watching and destroying domains; the supervisor's, and nobody else's.
    Supervision,
    /// Changing the code of running domains, to see what becomes of it: each then runs a copy of its own of its program.
    Debug,
}

impl Grant {
    /// Every grant, in order.
    pub const ALL: [Self; 5] = [Self::Ecam, Self::Power, Self::KernelLog, Self::Supervision, Self::Debug];

    /// The word for the grant in `system.toml`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ecam => "ecam",
            Self::Power => "power",
            Self::KernelLog => "kernel-log",
            Self::Supervision => "supervision",
            Self::Debug => "debug",
        }
    }

    /// Whether two domains that both held the grant could disturb each other through it.
    pub const fn is_exclusive(self) -> bool {
        matches!(self, Self::Ecam | Self::Supervision | Self::Debug)
    }
}
