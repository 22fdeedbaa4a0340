//! Configuration space: the registers by which functions are found and set up.

pub use interfaces::pci::FunctionAddress;

/// Bytes of configuration space that every function has in ECAM.
pub const FUNCTION_BYTES: u16 = 4096;
/// Devices of a bus.
pub const DEVICES: u8 = 32;
/// Functions of a device.
pub const FUNCTIONS: u8 = 8;

/// Registers that every function has (PCI 3.0, 6.1).
pub mod register {
    /// Vendor; all ones if there is no such function.
    pub const VENDOR: u16 = 0x00;
    /// Device, as the vendor numbers it.
    pub const DEVICE: u16 = 0x02;
    /// Command.
    pub const COMMAND: u16 = 0x04;
    /// Status; bits of errors are cleared by writing them.
    pub const STATUS: u16 = 0x06;
    /// Revision, programming interface, sub-class and class, one byte each.
    pub const CLASS: u16 = 0x08;
    /// Cache line size, which software may use as it likes.
    pub const CACHE_LINE: u16 = 0x0c;
    /// Layout of the rest, and whether the device has several functions.
    pub const HEADER_TYPE: u16 = 0x0e;
    /// The first base address register.
    pub const BAR: u16 = 0x10;
    /// Bridge: the bus behind it.
    pub const SECONDARY_BUS: u16 = 0x19;
    /// Bridge: the last bus behind it.
    pub const SUBORDINATE_BUS: u16 = 0x1a;
    /// Subsystem vendor.
    pub const SUBSYSTEM_VENDOR: u16 = 0x2c;
    /// Subsystem.
    pub const SUBSYSTEM: u16 = 0x2e;
    /// Address of the expansion ROM; bit 0 enables it.
    pub const ROM: u16 = 0x30;
    /// Offset of the first capability.
    pub const CAPABILITIES: u16 = 0x34;
    /// Interrupt line, which only software reads.
    pub const INTERRUPT_LINE: u16 = 0x3c;
}

/// Bits of the command register.
pub mod command {
    /// Accesses to memory are answered.
    pub const MEMORY: u32 = 1 << 1;
    /// The function may access memory by itself.
    pub const BUS_MASTER: u32 = 1 << 2;
    /// The function does not use its interrupt line.
    pub const NO_LINE_INTERRUPT: u32 = 1 << 10;
}

/// Bit of the status register: there is a capability list.
pub const STATUS_CAPABILITIES: u32 = 1 << 4;

/// Width of an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    /// 8 bits.
    Byte,
    /// 16 bits.
    Word,
    /// 32 bits.
    Long,
}

impl Width {
    /// The width of so many bytes.
    pub const fn from_bytes(bytes: u8) -> Option<Self> {
        match bytes {
            1 => Some(Width::Byte),
            2 => Some(Width::Word),
            4 => Some(Width::Long),
            _ => None,
        }
    }

    /// Bytes.
    pub const fn bytes(self) -> u16 {
        match self {
            Width::Byte => 1,
            Width::Word => 2,
            Width::Long => 4,
        }
    }

    /// All bits.
    pub const fn mask(self) -> u32 {
        match self {
            Width::Byte => 0xff,
            Width::Word => 0xffff,
            Width::Long => 0xffff_ffff,
        }
    }

    /// Whether an access of this width at `offset` is aligned and within a function's space.
    pub const fn fits(self, offset: u16) -> bool {
        offset.is_multiple_of(self.bytes()) && offset < FUNCTION_BYTES
    }
}

/// Access to configuration space.
pub trait ConfigSpace {
    /// How many buses there are, from bus 0 on.
    fn buses(&self) -> u16;

    /// Reads a register; all ones if there is nothing. `offset` is a multiple of the width.
    fn read(&self, function: FunctionAddress, offset: u16, width: Width) -> u32;

    /// Writes a register. `offset` is a multiple of the width.
    fn write(&self, function: FunctionAddress, offset: u16, width: Width, value: u32);
}

/// A register's two bytes.
pub fn read16(config: &impl ConfigSpace, function: FunctionAddress, offset: u16) -> u16 {
    config.read(function, offset, Width::Word) as u16
}

/// A register's byte.
pub fn read8(config: &impl ConfigSpace, function: FunctionAddress, offset: u16) -> u8 {
    config.read(function, offset, Width::Byte) as u8
}

/// Changes bits of the command register, and returns what it reads as afterwards. The status register beside it, whose
/// bits are cleared by writing them, is not touched.
pub fn change_command(config: &impl ConfigSpace, function: FunctionAddress, clear: u32, set: u32) -> u32 {
    let before = config.read(function, register::COMMAND, Width::Word);
    let after = before & !clear | set;
    if after != before {
        config.write(function, register::COMMAND, Width::Word, after);
    }
    config.read(function, register::COMMAND, Width::Word)
}
