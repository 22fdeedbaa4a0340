//! Devices at fixed I/O ports and interrupt lines.

use crate::{AttachError, Given, Interrupt, RegisterBlock, Window};
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use userlib::cap::Cap;
use userlib::environment::InterruptEvents;
use userlib::start::EntryKind;
use userlib::{Environment, log};

/// A device at I/O ports and interrupt lines, as `device = { legacy = … }` in the manifest gives it. Copies name the same
/// device.
#[derive(Clone, Debug)]
pub struct LegacyDevice(Rc<State>);

#[derive(Debug)]
struct State {
    environment: &'static Environment,
    interrupts: RefCell<Vec<(usize, Interrupt)>>,
}

impl LegacyDevice {
    /// The registers at the ports' range `number`, counted from 0 as the manifest lists them.
    ///
    /// # Errors
    /// [`AttachError::TooFew`] if there is no such range, [`AttachError::TooShort`] if it has too few ports.
    pub fn registers<B: RegisterBlock>(&self, number: usize) -> Result<B, AttachError> {
        let ports = || self.0.environment.page().entries_of(EntryKind::Ports);
        let missing = AttachError::TooFew { what: "range of I/O ports", number, given: ports().count() };
        let entry = ports().nth(number).ok_or(missing)?;
        let (first, count) = (entry.memory.address as u16, entry.memory.length as u32);
        Ok(Window::of_ports(Cap::from_handle(entry.handle()), first, count).block()?)
    }

    /// The interrupt `number`, counted from 0 as the manifest lists them. From here on it may come.
    ///
    /// # Errors
    /// [`AttachError::TooFew`] if there is none, [`AttachError::Interrupt`].
    pub fn interrupt(&self, number: usize) -> Result<Interrupt, AttachError> {
        if let Some((_, known)) = self.0.interrupts.borrow().iter().find(|(known, _)| *known == number) {
            return Ok(known.clone());
        }
        let interrupt = Interrupt::of_line(bind(self.0.environment, number)?);
        self.0.interrupts.borrow_mut().push((number, interrupt.clone()));
        Ok(interrupt)
    }
}

/// Binds interrupt `number` of those that the domain was given.
pub(crate) fn bind(environment: &'static Environment, number: usize) -> Result<InterruptEvents, AttachError> {
    let interrupts = || environment.page().entries_of(EntryKind::Interrupt);
    let missing = AttachError::TooFew { what: "interrupt", number, given: interrupts().count() };
    let entry = interrupts().nth(number).ok_or(missing)?;
    Ok(environment.bind_interrupt(Cap::from_handle(entry.handle()), entry.bits)?)
}

impl Given for LegacyDevice {
    fn given(environment: &'static Environment) -> Result<Self, AttachError> {
        Ok(Self(Rc::new(State { environment, interrupts: RefCell::new(Vec::new()) })))
    }

    fn quiesce(&self) {
        for (number, interrupt) in self.0.interrupts.borrow().iter() {
            if let Err(error) = interrupt.mask() {
                log::warn!("interrupt {number} cannot be masked: {error}");
            }
        }
    }
}
