//! Slots into which devices are put, and out of which they are taken, while the machine runs (PCI Express Base Specification
//! 4.0, 6.7; registers: 7.5.3).
//!
//! What a slot is about stands in its registers, so that a restarted server goes on where the one before stood: a slot that
//! has power is in use, and a power indicator that blinks says that its device was asked for.

use crate::capability::{CapabilityList, EXPRESS};
use crate::config::{ConfigSpace, FunctionAddress, Width, read8, read16, register};
use crate::enumeration::Header;
use crate::function::Function;
use core::ops::RangeInclusive;
use userlib::time::{Duration, Instant};

/// Offsets in the PCI Express capability.
const FLAGS: u16 = 0x02;
const LINK_CAPABILITIES: u16 = 0x0c;
const LINK_STATUS: u16 = 0x12;
const SLOT_CAPABILITIES: u16 = 0x14;
const SLOT_CONTROL: u16 = 0x18;
const SLOT_STATUS: u16 = 0x1a;
/// The capability ends behind the slot's registers; it lies in the first 256 bytes.
const SLOT_END: u16 = 0x1c;
const CAPABILITIES_END: u16 = 0x100;

/// Bits of the flags: the kind of port in bits 4 to 7, and whether it has a slot.
const ROOT_PORT: u16 = 4;
const DOWNSTREAM_PORT: u16 = 6;
const HAS_SLOT: u16 = 1 << 8;
/// Bit of the link's capabilities: its status tells whether it is up.
const REPORTS_LINK: u32 = 1 << 20;
/// Bit of the link's status: it is up.
const LINK_UP: u16 = 1 << 13;
/// Bits of the slot's capabilities.
const POWER_CONTROLLER: u32 = 1 << 1;
const HOT_PLUG: u32 = 1 << 6;
/// Bits of the slot's control.
const ATTENTION_INDICATOR: u16 = 0b11 << 6;
const ATTENTION_ON: u16 = 0b01 << 6;
const ATTENTION_OFF: u16 = 0b11 << 6;
const POWER_INDICATOR: u16 = 0b11 << 8;
const INDICATOR_ON: u16 = 0b01 << 8;
const INDICATOR_BLINKS: u16 = 0b10 << 8;
const INDICATOR_OFF: u16 = 0b11 << 8;
const POWER_OFF: u16 = 1 << 10;
/// A write of 1 moves the lock: it is never written.
const LOCK: u16 = 1 << 11;
/// Bits of the slot's status. The first five are cleared by writing them.
const BUTTON_PRESSED: u16 = 1 << 0;
const PRESENCE_CHANGED: u16 = 1 << 3;
const EVENTS: u16 = 0b1_1111 | LINK_CHANGED;
const PRESENT: u16 = 1 << 6;
const LINK_CHANGED: u16 = 1 << 8;
/// What all registers read as if the port itself is gone.
const NOBODY: u16 = u16::MAX;

/// How long a device may take from power to a link.
const POWER_UP_PATIENCE: Duration = Duration::from_millis(1000);
/// How long a device is left alone after its link is up (6.6.1).
const SETTLING: Duration = Duration::from_millis(100);
/// How long power stays away after it went without being asked for (6.7.1.8).
const POWER_PAUSE: Duration = Duration::from_millis(1000);

/// How often a slot is looked at in which nothing happens: somebody who presses a button waits as long at most.
const CALM: Duration = Duration::from_millis(250);
/// How often while something does.
const BUSY: Duration = Duration::from_millis(20);

/// A port with a slot for one device, which can come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// Where its registers are.
    pub address: FunctionAddress,
    /// Offset of its PCI Express capability.
    express: u16,
    has_power_controller: bool,
    reports_link: bool,
    secondary: u8,
    subordinate: u8,
}

/// What a port's registers say, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reading {
    control: u16,
    status: u16,
    /// Whether a device is there and can be talked to.
    is_usable: bool,
}

impl Port {
    /// Reads what a function says of itself; `None` if it has no such slot, or answers nonsense.
    pub fn of(config: &impl ConfigSpace, function: &Function) -> Option<Self> {
        if function.header != Header::Bridge {
            return None;
        }
        let address = function.address;
        let express = CapabilityList::read(config, address).find(EXPRESS)?;
        if express.checked_add(SLOT_END)? > CAPABILITIES_END {
            return None;
        }
        let flags = read16(config, address, express + FLAGS);
        let has_slot = matches!(flags >> 4 & 0xf, ROOT_PORT | DOWNSTREAM_PORT) && flags & HAS_SLOT != 0;
        let slot = config.read(address, express + SLOT_CAPABILITIES, Width::Long);
        let link = config.read(address, express + LINK_CAPABILITIES, Width::Long);
        let (secondary, subordinate) = bus_numbers(config, address)?;
        let can_change = has_slot && slot != u32::MAX && slot & HOT_PLUG != 0;
        can_change.then_some(Port {
            address,
            express,
            has_power_controller: slot & POWER_CONTROLLER != 0,
            reports_link: link & REPORTS_LINK != 0,
            secondary,
            subordinate,
        })
    }

    /// The buses behind it.
    pub fn buses(&self) -> RangeInclusive<u8> {
        self.secondary..=self.subordinate
    }

    /// The bus on which the device in the slot is.
    pub fn bus(&self) -> u8 {
        self.secondary
    }

    fn read(&self, config: &impl ConfigSpace) -> Option<Reading> {
        let word = |offset| read16(config, self.address, self.express + offset);
        let (control, status, link) = (word(SLOT_CONTROL), word(SLOT_STATUS), word(LINK_STATUS));
        let has_power = !self.has_power_controller || control & POWER_OFF == 0;
        let has_link = !self.reports_link || link & LINK_UP != 0;
        let is_usable = status & PRESENT != 0 && has_power && has_link;
        (status != NOBODY && control != NOBODY).then_some(Reading { control, status, is_usable })
    }

    /// Clears the events that were read, and no others: those that come meanwhile must not be lost.
    fn clear(&self, config: &impl ConfigSpace, events: u16) {
        if events & EVENTS != 0 {
            config.write(self.address, self.express + SLOT_STATUS, Width::Word, (events & EVENTS).into());
        }
    }

    fn change(&self, config: &impl ConfigSpace, control: u16, clear: u16, set: u16) {
        let value = control & !(clear | LOCK) | set;
        config.write(self.address, self.express + SLOT_CONTROL, Width::Word, value.into());
    }

    fn power_on(&self, config: &impl ConfigSpace, control: u16) {
        let clear = POWER_OFF | POWER_INDICATOR | ATTENTION_INDICATOR;
        self.change(config, control, clear, INDICATOR_ON | ATTENTION_OFF);
    }

    fn power_off(&self, config: &impl ConfigSpace, control: u16, attention: u16) {
        let clear = POWER_INDICATOR | ATTENTION_INDICATOR;
        self.change(config, control, clear, POWER_OFF | INDICATOR_OFF | attention);
    }

    fn blink(&self, config: &impl ConfigSpace, control: u16) {
        self.change(config, control, POWER_INDICATOR, INDICATOR_BLINKS);
    }
}

/// The bus behind a bridge and the last one behind that, if they make sense.
fn bus_numbers(config: &impl ConfigSpace, bridge: FunctionAddress) -> Option<(u8, u8)> {
    let secondary = read8(config, bridge, register::SECONDARY_BUS);
    let subordinate = read8(config, bridge, register::SUBORDINATE_BUS);
    (secondary > bridge.bus && subordinate >= secondary).then_some((secondary, subordinate))
}

/// What a slot is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nobody is there, or nobody that has power.
    Off {
        /// When whoever is there gets power without a further word; `None` if somebody has to press a button.
        power_at: Option<Instant>,
    },
    /// It has power and no link yet, until this moment at most.
    PoweringUp(Instant),
    /// It has a link, and is left alone until this moment.
    Settling(Instant),
    /// Its device is known and may be used.
    InUse,
    /// Its device is to be taken out, when its driver has come to rest.
    Leaving,
}

/// What is to be done because of what has happened in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Nothing.
    Nothing,
    /// A device is there: it is to be looked at and announced.
    TakeIn,
    /// Somebody wants to take the device out: whoever uses it is to be asked to let go of it. When nobody does any more,
    /// [`Slot::release`] is called, else [`Slot::advance`] asks again.
    Release,
    /// The device has gone, and nobody was asked before.
    Lost,
    /// What was put in does not come to life.
    Dead,
}

/// A slot and what it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    port: Port,
    state: State,
}

impl Slot {
    /// The slot of a port as it is found. What happened there before the machine's first server does not matter, which
    /// `is_first` says; what happened while a server was dead does.
    pub fn find(config: &impl ConfigSpace, port: Port, is_first: bool) -> Self {
        let state = match port.read(config) {
            Some(reading) if reading.is_usable => {
                if is_first {
                    port.clear(config, reading.status & !BUTTON_PRESSED);
                }
                // Nothing but a device that was asked for has its indicator blink.
                let is_leaving = reading.control & POWER_INDICATOR == INDICATOR_BLINKS && !is_first;
                if is_leaving { State::Leaving } else { State::InUse }
            }
            _ => State::Off { power_at: None },
        };
        Slot { port, state }
    }

    /// Its port.
    pub fn port(&self) -> &Port {
        &self.port
    }

    /// Whether its device may be used.
    pub fn is_in_use(&self) -> bool {
        self.state == State::InUse
    }

    /// Whether what is in it is known: nothing, or a device that may be used. Of one that is to be taken out nothing is said to
    /// whoever has let go of it already.
    pub fn is_settled(&self) -> bool {
        matches!(self.state, State::InUse | State::Off { .. })
    }

    /// How long until it is to be looked at next.
    pub fn pause(&self) -> Duration {
        match self.state {
            State::InUse | State::Off { power_at: None } => CALM,
            State::Off { .. } | State::PoweringUp(_) | State::Settling(_) | State::Leaving => BUSY,
        }
    }

    /// Looks at the slot, and says what is to be done because of what has happened there.
    pub fn advance(&mut self, config: &impl ConfigSpace, now: Instant) -> Task {
        // A port that is gone itself says nothing: it is behind another one, which will.
        let Some(reading) = self.port.read(config) else { return Task::Nothing };
        self.port.clear(config, reading.status);
        let is_present = reading.status & PRESENT != 0;
        let has_changed = reading.status & PRESENCE_CHANGED != 0;
        let is_pressed = reading.status & BUTTON_PRESSED != 0;
        match self.state {
            State::InUse | State::Leaving if !reading.is_usable || has_changed => {
                self.port.power_off(config, reading.control, ATTENTION_OFF);
                // Who is there now has come in the meantime, and wants power.
                self.state = State::Off { power_at: is_present.then(|| now + POWER_PAUSE) };
                Task::Lost
            }
            State::InUse if is_pressed => {
                self.port.blink(config, reading.control);
                self.state = State::Leaving;
                Task::Release
            }
            State::InUse => Task::Nothing,
            State::Leaving => Task::Release,
            State::Off { .. } if reading.is_usable && (self.port.has_power_controller || has_changed || is_pressed) => {
                // Somebody else has given it power. Where nobody can take that away, one that was let go of still has it.
                self.state = State::Settling(now + SETTLING);
                Task::Nothing
            }
            State::Off { .. } if !is_present => {
                self.state = State::Off { power_at: None };
                Task::Nothing
            }
            State::Off { power_at } => {
                let is_due = power_at.map_or(has_changed || is_pressed, |moment| moment <= now);
                if is_due {
                    self.port.power_on(config, reading.control);
                    self.state = State::PoweringUp(now + POWER_UP_PATIENCE);
                }
                Task::Nothing
            }
            State::PoweringUp(_) if reading.is_usable => {
                self.state = State::Settling(now + SETTLING);
                Task::Nothing
            }
            State::PoweringUp(until) if is_present && now < until => Task::Nothing,
            State::PoweringUp(_) => {
                let attention = if is_present { ATTENTION_ON } else { ATTENTION_OFF };
                self.port.power_off(config, reading.control, attention);
                self.state = State::Off { power_at: None };
                if is_present { Task::Dead } else { Task::Nothing }
            }
            State::Settling(_) if !reading.is_usable => {
                self.port.power_off(config, reading.control, ATTENTION_OFF);
                self.state = State::Off { power_at: None };
                Task::Nothing
            }
            State::Settling(until) if now < until => Task::Nothing,
            State::Settling(_) => {
                self.port.power_on(config, reading.control);
                self.state = State::InUse;
                Task::TakeIn
            }
        }
    }

    /// Nobody uses its device any more: it loses its power and can be taken out.
    pub fn release(&mut self, config: &impl ConfigSpace) {
        if self.state != State::Leaving {
            return;
        }
        if let Some(reading) = self.port.read(config) {
            self.port.power_off(config, reading.control, ATTENTION_OFF);
        }
        self.state = State::Off { power_at: None };
    }
}
