//! Configuration mechanism #1 (PCI Local Bus specification 3.0, section 3.2.2.3.2), on the only bus there is.

use super::config::{ConfigSpace, Identity};

/// The port of 32 bits that names a register.
pub const ADDRESS_PORT: u16 = 0xcf8;
/// The first of four ports by which the register is accessed.
pub const DATA_PORT: u16 = 0xcfc;
const ENABLED: u32 = 1 << 31;

/// What a slot of the bus holds.
pub trait Function {
    /// Fills `into` from the configuration space; never across a multiple of four.
    fn read_config(&mut self, offset: usize, into: &mut [u8]);

    /// The guest writes to the configuration space; never across a multiple of four.
    fn write_config(&mut self, offset: usize, bytes: &[u8]);
}

/// The ports, and the address that was written to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigPorts {
    address: u32,
}

impl ConfigPorts {
    /// Ports that no address was written to.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What the guest reads from a port, if it is one of these. `slots` are the functions of the bus, by device number;
    /// what is not there reads as ones.
    pub fn read(&self, port: u16, into: &mut [u8], slots: &mut [&mut dyn Function]) -> bool {
        if port == ADDRESS_PORT && into.len() == 4 {
            into.copy_from_slice(&self.address.to_le_bytes());
            return true;
        }
        let Some(offset) = Self::data_offset(port, into.len()) else { return false };
        into.fill(0xff);
        if let Some((slot, register)) = self.target()
            && let Some(function) = slots.get_mut(slot)
        {
            function.read_config(register + offset, into);
        }
        true
    }

    /// The guest writes to a port. Returns whether it is one of these.
    pub fn write(&mut self, port: u16, bytes: &[u8], slots: &mut [&mut dyn Function]) -> bool {
        if port == ADDRESS_PORT
            && let Ok(address) = bytes.try_into()
        {
            self.address = u32::from_le_bytes(address) & 0x80ff_fffc;
            return true;
        }
        let Some(offset) = Self::data_offset(port, bytes.len()) else { return false };
        if let Some((slot, register)) = self.target()
            && let Some(function) = slots.get_mut(slot)
        {
            function.write_config(register + offset, bytes);
        }
        true
    }

    /// Where in the four bytes an access of this size begins.
    fn data_offset(port: u16, size: usize) -> Option<usize> {
        let offset = usize::from(port.checked_sub(DATA_PORT)?);
        (offset < 4 && matches!(size, 1 | 2 | 4) && offset + size <= 4).then_some(offset)
    }

    /// The device number and the register that the address names: bus 0, function 0.
    fn target(&self) -> Option<(usize, usize)> {
        let elsewhere = self.address & 0x00ff_0700 != 0;
        (self.address & ENABLED != 0 && !elsewhere)
            .then_some(((self.address >> 11 & 0x1f) as usize, (self.address & 0xfc) as usize))
    }
}

/// What connects the bus to the processors: it has no registers of its own, but guests look for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostBridge(ConfigSpace);

impl Default for HostBridge {
    fn default() -> Self {
        Self::new()
    }
}

impl HostBridge {
    /// One with the numbers that QEMU gives its generic host bridge (QEMU, docs/specs/pci-ids.rst).
    #[must_use]
    pub fn new() -> Self {
        let class = [0x06, 0x00, 0x00];
        Self(ConfigSpace::new(Identity { vendor: 0x1b36, device: 0x0008, class, revision: 0, subsystem: [0; 2] }))
    }
}

impl Function for HostBridge {
    fn read_config(&mut self, offset: usize, into: &mut [u8]) {
        self.0.read(offset, into);
    }

    fn write_config(&mut self, offset: usize, bytes: &[u8]) {
        self.0.write(offset, bytes);
    }
}
