//! An I/O APIC with 24 pins (Intel 82093AA data sheet): lines of devices become messages to local APICs.
//!
//! A pin is asserted or not; which voltage means which is between the firmware's tables and the guest, so that the
//! polarity bit is kept and changes nothing.

use super::message::{Delivery, Destination, Message, Trigger};

/// Pins.
pub const PINS: usize = 24;

/// Offsets in the page (section 3.1): which register, and its content.
const SELECT: u16 = 0x00;
const WINDOW: u16 = 0x10;
/// Numbers of registers (section 3.2).
const ID: u8 = 0;
const VERSION: u8 = 1;
const ARBITRATION: u8 = 2;
const REDIRECTION: u8 = 0x10;
/// Version 0x11 and the number of the last pin.
const VERSION_VALUE: u32 = (PINS as u32 - 1) << 16 | 0x11;

/// Bits of a redirection entry (section 3.2.4).
const LOGICAL: u64 = 1 << 11;
const REMOTE: u64 = 1 << 14;
const LEVEL: u64 = 1 << 15;
const MASKED: u64 = 1 << 16;
/// What a guest can write: all but delivery status, remote IRR and what is reserved.
const WRITABLE: u64 = 0xff00_0000_0001_afff;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pin {
    entry: u64,
    asserted: bool,
}

impl Pin {
    fn is_level(self) -> bool {
        self.entry & LEVEL != 0
    }

    fn message(self) -> Message {
        let id = (self.entry >> 56) as u8;
        Message {
            vector: self.entry as u8,
            delivery: Delivery::from_bits((self.entry >> 8) as u32),
            trigger: if self.is_level() { Trigger::Level } else { Trigger::Edge },
            destination: if self.entry & LOGICAL == 0 { Destination::Physical(id) } else { Destination::Logical(id) },
        }
    }

    /// The message of a state that holds and was not yet sent.
    fn due(self) -> Option<Message> {
        let due = self.asserted && self.is_level() && self.entry & (MASKED | REMOTE) == 0;
        due.then(|| self.message())
    }
}

/// An I/O APIC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IoApic {
    id: u8,
    selected: u8,
    pins: [Pin; PINS],
}

impl IoApic {
    /// After reset, every pin masked.
    #[must_use]
    pub fn new(id: u8) -> Self {
        Self { id: id & 0x0f, selected: 0, pins: [Pin { entry: MASKED, asserted: false }; PINS] }
    }

    /// What the guest reads at `offset` in the page.
    #[must_use]
    pub fn read(&self, offset: u16) -> u32 {
        match offset {
            SELECT => u32::from(self.selected),
            WINDOW => match self.selected {
                ID | ARBITRATION => u32::from(self.id) << 24,
                VERSION => VERSION_VALUE,
                _ => self.place().map_or(0, |(pin, shift)| (self.pins[pin].entry >> shift) as u32),
            },
            _ => 0,
        }
    }

    /// The guest writes at `offset` in the page. What is due by that, [`IoApic::due`] says.
    pub fn write(&mut self, offset: u16, value: u32) {
        match (offset, self.selected) {
            (SELECT, _) => self.selected = value as u8,
            (WINDOW, ID) => self.id = (value >> 24) as u8 & 0x0f,
            (WINDOW, _) => {
                let Some((pin, shift)) = self.place() else { return };
                let entry = &mut self.pins[pin].entry;
                let half = 0xffff_ffff << shift;
                let written = u64::from(value) << shift & WRITABLE & half;
                *entry = *entry & !(WRITABLE & half) | written;
                // What is no state cannot be in a processor's service as one.
                if *entry & LEVEL == 0 {
                    *entry &= !REMOTE;
                }
            }
            _ => {}
        }
    }

    /// A device changes the state of a pin. Returns the message of an event; states come from [`IoApic::due`]. An event
    /// at a masked pin is lost. A pin that does not exist has no device.
    #[must_use]
    pub fn set(&mut self, pin: usize, asserted: bool) -> Option<Message> {
        let pin = self.pins.get_mut(pin)?;
        let rises = asserted && !pin.asserted;
        pin.asserted = asserted;
        (rises && !pin.is_level() && pin.entry & MASKED == 0).then(|| pin.message())
    }

    /// The first pin at or above `from` whose state has to be told, and its message.
    #[must_use]
    pub fn due(&self, from: usize) -> Option<(usize, Message)> {
        let mut pins = self.pins.iter().enumerate().skip(from);
        pins.find_map(|(index, pin)| Some((index, pin.due()?)))
    }

    /// A processor has taken the state of this pin: it is told again only after its end.
    pub fn taken(&mut self, pin: usize) {
        if let Some(pin) = self.pins.get_mut(pin) {
            pin.entry |= REMOTE;
        }
    }

    /// A processor has ended the work on this vector.
    pub fn end_of_interrupt(&mut self, vector: u8) {
        for pin in self.pins.iter_mut().filter(|pin| pin.is_level() && pin.entry as u8 == vector) {
            pin.entry &= !REMOTE;
        }
    }

    /// Which half of which pin's entry is selected.
    fn place(&self) -> Option<(usize, u32)> {
        let index = self.selected.checked_sub(REDIRECTION)?;
        let pin = usize::from(index / 2);
        (pin < PINS).then_some((pin, u32::from(index % 2) * 32))
    }
}
