//! Functions of the PCI bus.
//!
//! Anybody may look; a driver may use only the function that the system's manifest gives it, which the server knows by
//! the badge of the driver's capability.

use crate::sentences;
use userlib::cap::{Interrupt, Memory, Owned};
use userlib::{Value, cap::Cap, interface};

/// Why the server refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
pub enum PciError {
    /// The machine has no PCI Express configuration space.
    NoBus,
    /// The machine does not have the function that the manifest gives to this client.
    NoDevice,
    /// The manifest gives no function to this client.
    NotAllowed,
    /// The function has no such base address register, or it is one of I/O ports.
    NoBar,
    /// The function has no message-signalled interrupts (MSI-X or MSI), or not that many.
    NoMessage,
    /// The register cannot be read or written by drivers, or is not aligned.
    BadRegister,
    /// The function did not come to rest in time.
    NotQuiet,
    /// The interrupt's capability does not let the server read its message.
    BadInterrupt,
    /// The kernel refused something that the server needs, such as a free slot or mapping.
    Exhausted,
    /// The function must be claimed first.
    NotClaimed,
    /// The firmware has given the registers no address at which they can be used.
    NotPlaced,
    /// The registers share a page with others that the driver must not have.
    SharedPage,
}

sentences!(PciError {
    NoBus => "the machine has no PCI Express configuration space",
    NoDevice => "the machine has no such device",
    NotAllowed => "the manifest gives no device to this client",
    NoBar => "the device has no such memory register",
    NoMessage => "the device has no such message-signalled interrupt",
    BadRegister => "drivers may not use that configuration register",
    NotQuiet => "the device did not come to rest in time",
    BadInterrupt => "the interrupt cannot be raised by a message",
    Exhausted => "the PCI server has used up what it was given",
    NotClaimed => "the device must be claimed first",
    NotPlaced => "the firmware has given the device's registers no usable address",
    SharedPage => "the device's registers share a page with others that its driver must not have",
});

/// Where a function is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Value)]
pub struct FunctionAddress {
    /// Segment group.
    pub segment: u16,
    /// Bus.
    pub bus: u8,
    /// Device, 0 to 31.
    pub device: u8,
    /// Function, 0 to 7.
    pub function: u8,
}

impl core::fmt::Display for FunctionAddress {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:04x}:{:02x}:{:02x}.{}", self.segment, self.bus, self.device, self.function)
    }
}

/// What a function is (PCI Local Bus 3.0, 6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
pub struct FunctionInfo {
    /// Where it is.
    pub address: FunctionAddress,
    /// Vendor.
    pub vendor: u16,
    /// Device, as its vendor numbers it.
    pub device: u16,
    /// Subsystem vendor.
    pub subsystem_vendor: u16,
    /// Subsystem.
    pub subsystem: u16,
    /// Base class.
    pub class: u8,
    /// Sub-class.
    pub subclass: u8,
    /// Programming interface.
    pub programming_interface: u8,
    /// Revision.
    pub revision: u8,
    /// Message-signalled interrupts: entries of its MSI-X table, or 1 if it has MSI only; 0 if it has neither.
    pub messages: u16,
    /// Whether the manifest gives it to a driver.
    pub assigned: bool,
}

/// Where the registers behind a base address register lie in the memory that comes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
pub struct BarInfo {
    /// Offset of the first byte in the first page.
    pub offset: u64,
    /// Which byte behind the base address register that is: 0 unless pages before it are left out.
    pub start: u64,
    /// Bytes.
    pub length: u64,
    /// Whether reading has no side effects.
    pub prefetchable: bool,
}

/// The PCI bus.
#[interface(name = "pci", version = 1)]
pub trait Pci {
    /// The function with this number, counted from 0 in the order of addresses; `None` behind the last one.
    #[idempotent]
    fn function(index: u16) -> Result<Option<FunctionInfo>, PciError>;

    /// The caller's function. Memory access is enabled, bus mastering is off.
    #[idempotent]
    fn claim() -> Result<FunctionInfo, PciError>;

    /// The memory behind base address register `index` of the caller's function: all of it, or the longest part that
    /// has no page in common with the MSI-X table.
    #[idempotent]
    fn bar(index: u8) -> Result<(BarInfo, Owned<Memory>), PciError>;

    /// Reads `width` (1, 2 or 4) bytes of the configuration space of the caller's function.
    #[idempotent]
    fn read_config(offset: u16, width: u8) -> Result<u32, PciError>;

    /// Writes a register of the caller's function that a driver may write: none that moves or enables anything.
    #[idempotent]
    fn write_config(offset: u16, width: u8, value: u32) -> Result<(), PciError>;

    /// Lets the function raise its message-signalled interrupt `entry`: an entry of its MSI-X table, or 0 if it has MSI
    /// only. The interrupt's capability has the right to read the message.
    #[idempotent]
    fn enable_message(entry: u16, interrupt: Cap<Interrupt>) -> Result<(), PciError>;

    /// Stops the function from raising message-signalled interrupt `entry`.
    #[idempotent]
    fn disable_message(entry: u16) -> Result<(), PciError>;

    /// Lets the function access memory by itself, or stops it and answers when what was under way is done.
    #[idempotent]
    fn set_bus_mastering(on: bool) -> Result<(), PciError>;
}
