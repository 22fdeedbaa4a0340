//! Looks after the slots while the server runs: has drivers let go of devices that are to be taken out, finds devices that are put
//! in, and tells the supervisor of both.
//!
//! A slot is looked at four times a second, and its interrupt is not used: nobody waits for less than that with a device in the
//! hand, and a machine without such slots does nothing.

use crate::bus::Bus;
use crate::config::ConfigSpace;
use crate::slot::{Port, Slot, Task};
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use interfaces::supervision::{SupervisionClient, SupervisionError};
use userlib::ipc::RetriedError;
use userlib::log;
use userlib::time::{Duration, Instant};

/// Who has to know of devices that come and go.
pub trait Drivers {
    /// What can become of saying so.
    type Error: core::fmt::Display;

    /// Has whoever drives a device on the buses behind a port let go of it; tells whether nobody drives one any more.
    ///
    /// # Errors
    /// If it cannot be said now. It is said again.
    fn release(&self, port: &Port) -> Result<bool, Self::Error>;

    /// Says that devices on the buses behind a port have gone or come.
    ///
    /// # Errors
    /// As [`Drivers::release`].
    fn look(&self, port: &Port) -> Result<(), Self::Error>;
}

impl Drivers for SupervisionClient {
    type Error = RetriedError<SupervisionError>;

    fn release(&self, port: &Port) -> Result<bool, Self::Error> {
        self.release_devices(*port.buses().start(), *port.buses().end())
    }

    fn look(&self, port: &Port) -> Result<(), Self::Error> {
        self.look_for_devices(*port.buses().start(), *port.buses().end())
    }
}

/// A slot, and what is still to be said of it.
#[derive(Clone, Copy, Debug)]
struct Attended {
    slot: Slot,
    /// Devices have gone or come, and nobody was told yet.
    is_news: bool,
    /// Nobody could be told: that stands in the log.
    has_complained: bool,
    due: Instant,
}

/// The slots of a bus.
#[derive(Debug)]
pub struct Slots<C, D> {
    bus: Rc<RefCell<Bus<C>>>,
    drivers: D,
    slots: Vec<Attended>,
}

impl<C: ConfigSpace, D: Drivers> Slots<C, D> {
    /// The slots of a bus whose devices can come and go, as they are found; `is_first` as [`Slot::find`] has it.
    pub fn find(bus: Rc<RefCell<Bus<C>>>, drivers: D, is_first: bool) -> Self {
        let slots = {
            let bus = bus.borrow();
            let ports = bus.functions().iter().filter_map(|function| Port::of(bus.config(), function));
            let attended = |port| Attended {
                slot: Slot::find(bus.config(), port, is_first),
                // What the server before has not come to say.
                is_news: !is_first,
                has_complained: false,
                due: Instant(0),
            };
            ports.map(attended).collect()
        };
        Slots { bus, drivers, slots }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Finds what is in the slots that are in use: the server before may have died before it had given that addresses.
    pub fn take_in(&mut self) {
        let ports: Vec<Port> = self
            .slots
            .iter()
            .filter(|attended| attended.slot.is_in_use())
            .map(|attended| *attended.slot.port())
            .collect();
        ports.iter().for_each(|port| take_in(&self.bus, port));
    }

    /// Looks at those slots that are due, does what is to be done, and says how long to wait until the next look, and whether the
    /// bus has changed.
    pub fn advance(&mut self, now: Instant) -> (Duration, bool) {
        let mut has_changed = false;
        let mut wait = Duration::MAX;
        for attended in &mut self.slots {
            if attended.due <= now {
                has_changed |= attend(&self.bus, &self.drivers, attended, now);
                attended.due = now + attended.slot.pause();
            }
            wait = wait.min(attended.due.since(now));
        }
        (wait, has_changed)
    }

    /// Tells of what has come and gone, now that nothing of that is forgotten if the server dies.
    pub fn announce(&mut self) {
        for attended in self.slots.iter_mut().filter(|attended| attended.is_news && attended.slot.is_settled()) {
            let port = *attended.slot.port();
            if note(attended, self.drivers.look(&port)).is_some() {
                attended.is_news = false;
            }
        }
    }
}

/// Looks at one slot; tells whether the bus has changed by that.
fn attend<C: ConfigSpace, D: Drivers>(
    bus: &RefCell<Bus<C>>,
    drivers: &D,
    attended: &mut Attended,
    now: Instant,
) -> bool {
    let port = *attended.slot.port();
    let place = port.address;
    let task = attended.slot.advance(bus.borrow().config(), now);
    match task {
        Task::Nothing => return false,
        Task::TakeIn => {
            log::info!("a device was put in behind {place}");
            take_in(bus, &port);
        }
        Task::Release => {
            if note(attended, drivers.release(&port)) != Some(true) {
                return false;
            }
            log::info!("the device behind {place} may be taken out: it has no power any more");
            attended.slot.release(bus.borrow().config());
            bus.borrow_mut().take_out(&port);
            return true;
        }
        Task::Lost => {
            log::warn!("the device behind {place} is gone: nobody was asked before");
            bus.borrow_mut().take_out(&port);
        }
        Task::Dead => {
            log::error!("what was put in behind {place} does not come to life: it has no power any more");
            return false;
        }
    }
    attended.is_news = true;
    true
}

fn take_in<C: ConfigSpace>(bus: &RefCell<Bus<C>>, port: &Port) {
    for unusable in bus.borrow_mut().take_in(port) {
        log::error!("{unusable}");
    }
}

/// Says in the log, once, that drivers cannot be told; they are told again.
fn note<T, E: core::fmt::Display>(attended: &mut Attended, result: Result<T, E>) -> Option<T> {
    match result {
        Ok(value) => {
            attended.has_complained = false;
            Some(value)
        }
        Err(error) => {
            if !core::mem::replace(&mut attended.has_complained, true) {
                let place = attended.slot.port().address;
                log::error!("the supervisor cannot be told of the device behind {place}, and is told again: {error}");
            }
            None
        }
    }
}
