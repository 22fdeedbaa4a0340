//! Quieting PCI functions without the help of any driver.
//!
//! The supervisor holds the configuration space itself, so that a dead driver's device can be silenced although nobody
//! else is alive. It looks for functions and clears one bit; everything else is the `pci` server's.

use manifest::Bus as BusKind;
use spawn::MemoryRef;
use userlib::abi::PAGE_SIZE;
use userlib::abi::device::SourceId;
use userlib::device::DeviceRegisters;
use userlib::log;
use userlib::memory::AddressSpace;

/// Pages of configuration space of one bus (PCI Express 4.0, 7.2.2: 4 KiB a function, 256 functions).
const PAGES_PER_BUS: u64 = 256;
/// Devices on a bus and functions of a device.
const DEVICES: u64 = 32;
const FUNCTIONS: u64 = 8;

/// Offsets in a function's configuration space (PCI Local Bus 3.0, 6.1 and 6.2).
const VENDOR_DEVICE: usize = 0x00;
const COMMAND: usize = 0x04;
const CAPABILITIES: usize = 0x34;
const HEADER_TYPE: usize = 0x0e;
const SECONDARY_BUS: usize = 0x19;
const STATUS: usize = 0x06;

const BUS_MASTER: u16 = 1 << 2;
const HAS_CAPABILITIES: u16 = 1 << 4;
const MULTI_FUNCTION: u8 = 1 << 7;
const BRIDGE: u8 = 1;
/// The id of the PCI Express capability, in which the device tells of transactions under way (PCI Express 4.0, 7.5.3.5).
const PCI_EXPRESS: u8 = 0x10;
const DEVICE_STATUS: usize = 0x0a;
const TRANSACTIONS_PENDING: u16 = 1 << 5;
/// Capabilities that are followed at most: a function whose list is a loop must not hang the supervisor.
const MAX_CAPABILITIES: usize = 48;
/// How often pending transactions are looked at before they are given up.
const PATIENCE: u32 = 10_000;

/// A function's place: its page of the configuration space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Function {
    page: u64,
}

impl Function {
    /// Who it is to the IOMMU: configuration space has a page for each function, in this order.
    pub(crate) fn source(self) -> SourceId {
        SourceId(self.page as u16)
    }
}

/// Pages of the configuration space, mapped.
struct ConfigPages(DeviceRegisters);

impl ConfigPages {
    fn map(bus: &Bus, first: u64, pages: u64) -> Option<Self> {
        let ecam = bus.ecam?;
        DeviceRegisters::map(&bus.space, ecam.cap(), first, pages).map(ConfigPages).ok()
    }

    // Reading where nothing is gives all ones, on the bus as here.
    fn byte(&self, offset: usize) -> u8 {
        self.0.read(offset).unwrap_or(u8::MAX)
    }

    fn word(&self, offset: usize) -> u16 {
        self.0.read(offset).unwrap_or(u16::MAX)
    }

    fn long(&self, offset: usize) -> u32 {
        self.0.read(offset).unwrap_or(u32::MAX)
    }
}

/// The configuration space.
pub(crate) struct Bus {
    space: AddressSpace,
    ecam: Option<MemoryRef>,
}

impl Bus {
    pub(crate) fn open(space: &AddressSpace, ecam: MemoryRef) -> Self {
        Bus { space: space.clone(), ecam: (ecam.pages > 0).then_some(ecam) }
    }

    pub(crate) fn is_present(&self) -> bool {
        self.ecam.is_some()
    }

    /// The function that the manifest means.
    pub(crate) fn find(&self, kind: &BusKind) -> Option<Function> {
        let BusKind::Pci { vendor, devices, index, .. } = kind else { return None };
        let mut left = *index;
        let mut found = None;
        self.each_function(|function, identity| {
            let (its_vendor, its_device) = (identity as u16, (identity >> 16) as u16);
            if found.is_none() && its_vendor == *vendor && devices.contains(&its_device) {
                if left == 0 {
                    found = Some(function);
                } else {
                    left -= 1;
                }
            }
        });
        found
    }

    /// Visits every function of every bus that bridges lead to, in the order of addresses.
    fn each_function(&self, mut visit: impl FnMut(Function, u32)) {
        let Some(ecam) = self.ecam else { return };
        let buses = ecam.pages / PAGES_PER_BUS;
        let mut reachable = [0_u64; 4];
        reachable[0] = 1;
        for bus in 0..buses.min(256) {
            if reachable[(bus / 64) as usize] & (1 << (bus % 64)) == 0 {
                continue;
            }
            let Some(pages) = ConfigPages::map(self, bus * PAGES_PER_BUS, PAGES_PER_BUS) else { return };
            for device in 0..DEVICES {
                for function in 0..FUNCTIONS {
                    let page = device * FUNCTIONS + function;
                    let at = (page * PAGE_SIZE) as usize;
                    let identity = pages.long(at + VENDOR_DEVICE);
                    if identity as u16 == u16::MAX {
                        if function == 0 {
                            break;
                        }
                        continue;
                    }
                    visit(Function { page: bus * PAGES_PER_BUS + page }, identity);
                    let header = pages.byte(at + HEADER_TYPE);
                    if header & !MULTI_FUNCTION == BRIDGE {
                        let secondary = u64::from(pages.byte(at + SECONDARY_BUS));
                        reachable[(secondary / 64) as usize] |= 1 << (secondary % 64);
                    }
                    if function == 0 && header & MULTI_FUNCTION == 0 {
                        break;
                    }
                }
            }
        }
    }

    /// Stops a function's own accesses to memory and waits until those under way are done: afterwards its memory can be
    /// given to others.
    pub(crate) fn silence(&self, function: Function) {
        let Some(registers) = ConfigPages::map(self, function.page, 1) else { return };
        let command = registers.word(COMMAND);
        // Reading back makes sure that the write has arrived.
        let written = registers.0.write(COMMAND, command & !BUS_MASTER);
        if written.is_err() || registers.word(COMMAND) & BUS_MASTER != 0 {
            log::error!("a device goes on as bus master although it was told to stop");
        }
        let Some(express) = express_capability(&registers) else { return };
        for _ in 0..PATIENCE {
            if registers.word(express + DEVICE_STATUS) & TRANSACTIONS_PENDING == 0 {
                return;
            }
        }
        log::warn!("a device still has transactions under way after it was told to stop");
    }
}

fn express_capability(registers: &ConfigPages) -> Option<usize> {
    if registers.word(STATUS) & HAS_CAPABILITIES == 0 {
        return None;
    }
    let mut at = usize::from(registers.byte(CAPABILITIES) & !3);
    for _ in 0..MAX_CAPABILITIES {
        if at < 0x40 {
            return None;
        }
        if registers.byte(at) == PCI_EXPRESS && at + DEVICE_STATUS + 2 <= PAGE_SIZE as usize {
            return Some(at);
        }
        at = usize::from(registers.byte(at + 1) & !3);
    }
    None
}
