//! Guests, and their monitors.

use interfaces::guest::{GuestError, GuestInfo, GuestState, NetworkInfo};
use interfaces::stream::Received;
use shell::services::{GuestResult, Guests, PlainResult};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;
use userlib::ipc::CallError;

/// A guest that writes what it is told to write, and says back what is typed if it is asked to.
pub(crate) struct Machine {
    pub(crate) state: Cell<GuestState>,
    /// All that it has written.
    written: RefCell<Vec<u8>>,
    /// Where what its monitor keeps of that begins.
    pub(crate) kept_from: Cell<u64>,
    /// All that it was sent.
    pub(crate) typed: RefCell<Vec<u8>>,
    /// How many bytes it takes at once.
    pub(crate) takes: Cell<usize>,
    /// After how many more calls its monitor dies, if it does.
    pub(crate) dies_after: Cell<Option<u32>>,
    /// Its network card, if it has one.
    pub(crate) network: Cell<Option<NetworkInfo>>,
    /// How long each call has waited for what it writes.
    pub(crate) waits: RefCell<Vec<Duration>>,
    /// What it does when a line is finished, if it is to switch itself off.
    pub(crate) ends_as: Cell<Option<GuestState>>,
}

impl Machine {
    pub(crate) fn write(&self, bytes: &[u8]) {
        self.written.borrow_mut().extend_from_slice(bytes);
    }
}

/// All guests.
#[derive(Default)]
pub(crate) struct Machines(RefCell<BTreeMap<&'static str, &'static Machine>>);

impl Machines {
    /// Adds a guest that is on.
    pub(crate) fn put(&self, name: &'static str) -> &'static Machine {
        let machine = Machine {
            state: Cell::new(GuestState::Running),
            written: RefCell::default(),
            kept_from: Cell::new(0),
            typed: RefCell::default(),
            takes: Cell::new(usize::MAX),
            dies_after: Cell::new(None),
            network: Cell::new(None),
            waits: RefCell::default(),
            ends_as: Cell::new(None),
        };
        let machine = Box::leak(Box::new(machine));
        self.0.borrow_mut().insert(name, machine);
        machine
    }

    /// The machine whose monitor is called; `None` if it dies of that.
    fn call(&self, name: &str) -> Option<&'static Machine> {
        let machine = *self.0.borrow().get(name).expect("the shell calls what it was given");
        let left = machine.dies_after.get();
        machine.dies_after.set(left.map(|left| left.saturating_sub(1)));
        (left != Some(0)).then_some(machine)
    }

    fn switch(&self, name: &str, from: &[GuestState], to: GuestState, error: GuestError) -> GuestResult<()> {
        let machine = self.call(name).ok_or(CallError::ServerDied)?;
        if !from.contains(&machine.state.get()) {
            return Err(CallError::Failed(error));
        }
        machine.state.set(to);
        Ok(())
    }
}

impl Guests for Machines {
    fn names(&self) -> Vec<&str> {
        self.0.borrow().keys().copied().collect()
    }

    fn info(&self, name: &str) -> PlainResult<GuestInfo> {
        let machine = self.call(name).ok_or(CallError::ServerDied)?;
        let state = machine.state.get();
        let is_on = matches!(state, GuestState::Running | GuestState::Stopping);
        Ok(GuestInfo {
            state,
            memory: 128 << 20,
            touched: 40 << 20,
            processors: 2,
            started: 1,
            disks: 3,
            exits: 123_456,
            uptime: if is_on { 90_000_000_000 } else { 0 },
            resets: 4,
            network: machine.network.get(),
        })
    }

    fn start(&self, name: &str) -> GuestResult<()> {
        let off = [GuestState::Off, GuestState::PoweredOff, GuestState::Crashed, GuestState::Failed];
        self.switch(name, &off, GuestState::Running, GuestError::On)
    }

    fn stop(&self, name: &str) -> GuestResult<()> {
        self.switch(name, &[GuestState::Running], GuestState::Stopping, GuestError::Off)
    }

    fn kill(&self, name: &str) -> GuestResult<()> {
        let on = [GuestState::Running, GuestState::Stopping];
        self.switch(name, &on, GuestState::Off, GuestError::Off)
    }

    fn output(&self, name: &str, from: u64, bytes: &mut [u8], patience: Duration) -> GuestResult<Option<Received>> {
        let Some(machine) = self.call(name) else {
            // The client's library asks the next instance, which has heard nothing yet.
            return Ok(Some(Received { length: 0, next: 0, lost: 0 }));
        };
        machine.waits.borrow_mut().push(patience);
        let written = machine.written.borrow();
        let start = from.max(machine.kept_from.get()).min(written.len() as u64);
        let rest = &written[start as usize..];
        let length = rest.len().min(bytes.len());
        if length == 0 && from <= start {
            return Ok(None);
        }
        bytes[..length].copy_from_slice(&rest[..length]);
        Ok(Some(Received { length: length as u32, next: start + length as u64, lost: start.saturating_sub(from) }))
    }

    fn input(&self, name: &str, bytes: &[u8]) -> GuestResult<u32> {
        let machine = self.call(name).ok_or(CallError::ServerDied)?;
        if machine.state.get() != GuestState::Running {
            return Err(CallError::Failed(GuestError::Off));
        }
        let taken = bytes.len().min(machine.takes.get());
        machine.typed.borrow_mut().extend_from_slice(&bytes[..taken]);
        machine.write(&bytes[..taken]);
        if let Some(end) = machine.ends_as.get().filter(|_| bytes[..taken].contains(&b'\r')) {
            machine.write(b"\nbye\r\n");
            machine.state.set(end);
        }
        Ok(taken as u32)
    }
}
