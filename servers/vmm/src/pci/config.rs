//! The 256 bytes by which a function is found and set up.

/// Base address registers of a function.
pub const BAR_COUNT: usize = 6;

/// Offsets (PCI 3.0, figure 6-1).
const COMMAND: usize = 0x04;
const STATUS: usize = 0x06;
const BARS: usize = 0x10;
const CAPABILITIES: usize = 0x34;
const INTERRUPT_LINE: usize = 0x3c;
const INTERRUPT_PIN: usize = 0x3d;
/// The first byte behind the header.
const BEHIND_HEADER: usize = 0x40;

const MEMORY_ENABLED: u16 = 1 << 1;
const BUS_MASTER: u16 = 1 << 2;
const INTERRUPT_DISABLED: u16 = 1 << 10;
const HAS_CAPABILITIES: u8 = 1 << 4;

/// Who a function is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Who made it.
    pub vendor: u16,
    /// What it is to that vendor.
    pub device: u16,
    /// Base class, subclass and programming interface.
    pub class: [u8; 3],
    /// Revision.
    pub revision: u8,
    /// The vendor and device of what it is built into.
    pub subsystem: [u16; 2],
}

/// The configuration space of a function: what it says, and which of its bits can be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigSpace {
    bytes: [u8; 256],
    writable: [u8; 256],
    /// Sizes of the memory behind the base address registers; 0 for none.
    bar_sizes: [u32; BAR_COUNT],
    /// Where the next capability goes, and the byte that is to point at it.
    next_capability: usize,
    last_pointer: usize,
}

impl ConfigSpace {
    /// A function without memory, capabilities and interrupt.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        let mut space = Self {
            bytes: [0; 256],
            writable: [0; 256],
            bar_sizes: [0; BAR_COUNT],
            next_capability: BEHIND_HEADER,
            last_pointer: CAPABILITIES,
        };
        space.put(0x00, &identity.vendor.to_le_bytes());
        space.put(0x02, &identity.device.to_le_bytes());
        space.put(0x08, &[identity.revision, identity.class[2], identity.class[1], identity.class[0]]);
        space.put(0x2c, &identity.subsystem[0].to_le_bytes());
        space.put(0x2e, &identity.subsystem[1].to_le_bytes());
        space.allow(COMMAND, &(MEMORY_ENABLED | BUS_MASTER | INTERRUPT_DISABLED).to_le_bytes());
        space.allow(INTERRUPT_LINE, &[0xff]);
        space
    }

    /// Gives the function memory of `size` bytes, a power of two of at least 16, at `address`, a multiple of it. The guest
    /// may move it.
    ///
    /// # Panics
    /// If size or address is another one, or there is no register `index`: these are not the guest's choice.
    pub fn add_memory(&mut self, index: usize, address: u32, size: u32) {
        assert!(size.is_power_of_two() && size >= 16 && address.is_multiple_of(size), "{size:#x} at {address:#x}");
        self.bar_sizes[index] = size;
        self.put(BARS + 4 * index, &address.to_le_bytes());
        self.allow(BARS + 4 * index, &(!(size - 1)).to_le_bytes());
    }

    /// Appends a capability: its id, its body behind the two bytes of the header, and which bits of that can be written.
    /// Returns its offset.
    ///
    /// # Panics
    /// If there is no room left.
    pub fn add_capability(&mut self, id: u8, body: &[u8], writable: &[u8]) -> usize {
        let at = self.next_capability;
        self.put(at, &[id, 0]);
        self.put(at + 2, body);
        self.allow(at + 2, writable);
        self.bytes[self.last_pointer] = at as u8;
        self.bytes[STATUS] |= HAS_CAPABILITIES;
        self.last_pointer = at + 1;
        self.next_capability = (at + 2 + body.len()).next_multiple_of(4);
        at
    }

    /// Names the pin by which the function interrupts (1 is INTA), and the line that it arrives at.
    pub fn set_interrupt(&mut self, pin: u8, line: u8) {
        self.put(INTERRUPT_PIN, &[pin]);
        self.put(INTERRUPT_LINE, &[line]);
    }

    /// Fills `into` from `offset`. What lies behind the end reads as ones.
    pub fn read(&self, offset: usize, into: &mut [u8]) {
        for (index, byte) in into.iter_mut().enumerate() {
            *byte = self.bytes.get(offset.saturating_add(index)).copied().unwrap_or(0xff);
        }
    }

    /// The guest writes at `offset`. Bits that are not for writing keep what they are.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        for (index, byte) in bytes.iter().enumerate() {
            let at = offset.saturating_add(index);
            if let (Some(old), Some(mask)) = (self.bytes.get_mut(at), self.writable.get(at)) {
                *old = *old & !mask | byte & mask;
            }
        }
    }

    /// The two bytes at `offset`, which is below 255.
    #[must_use]
    pub fn word(&self, offset: usize) -> u16 {
        let mut bytes = [0; 2];
        self.read(offset, &mut bytes);
        u16::from_le_bytes(bytes)
    }

    /// The four bytes at `offset`.
    #[must_use]
    pub fn double_word(&self, offset: usize) -> u32 {
        let mut bytes = [0; 4];
        self.read(offset, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    /// Which memory of the function lies at a guest-physical address, and how far inside. None while the guest has not
    /// enabled it.
    #[must_use]
    pub fn memory_at(&self, address: u64) -> Option<(usize, u64)> {
        if self.word(COMMAND) & MEMORY_ENABLED == 0 {
            return None;
        }
        self.bar_sizes.iter().enumerate().filter(|(_, size)| **size != 0).find_map(|(index, size)| {
            let base = u64::from(self.double_word(BARS + 4 * index) & !(size - 1));
            let offset = address.checked_sub(base)?;
            (offset < u64::from(*size)).then_some((index, offset))
        })
    }

    /// Whether the function may access memory and send messages.
    #[must_use]
    pub fn is_bus_master(&self) -> bool {
        self.word(COMMAND) & BUS_MASTER != 0
    }

    /// Whether the function may assert its pin.
    #[must_use]
    pub fn may_assert(&self) -> bool {
        self.word(COMMAND) & INTERRUPT_DISABLED == 0
    }

    fn put(&mut self, offset: usize, bytes: &[u8]) {
        self.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    fn allow(&mut self, offset: usize, bits: &[u8]) {
        self.writable[offset..offset + bits.len()].copy_from_slice(bits);
    }
}
