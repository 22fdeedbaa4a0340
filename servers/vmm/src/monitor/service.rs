//! What others may ask of a guest.

use super::machine::Machine;
use super::power;
use alloc::rc::Rc;
use interfaces::guest::{GuestError, GuestInfo, GuestServer, GuestState};
use interfaces::stream::{Received, StreamError, StreamServer};
use userlib::ipc::{Caller, ReadLease, WriteLease};
use userlib::time::Instant;

/// The service.
#[derive(Debug)]
pub(super) struct Service(Rc<Machine>);

impl Service {
    pub(super) fn new(machine: Rc<Machine>) -> Self {
        Self(machine)
    }

    fn check_on(&self) -> Result<(), GuestError> {
        if self.0.is_on() { Ok(()) } else { Err(GuestError::Off) }
    }
}

impl GuestServer for Service {
    async fn info(&self, _: &Caller) -> GuestInfo {
        let machine = &self.0;
        let settings = &machine.resources.settings;
        let uptime = Instant::now().nanoseconds().saturating_sub(machine.since.get());
        GuestInfo {
            state: machine.state.get(),
            memory: settings.memory,
            touched: machine.ram.touched(),
            processors: settings.processors,
            started: if machine.is_on() { machine.started() } else { 0 },
            disks: machine.disks.borrow().len() as u8,
            exits: machine.exits.get(),
            uptime: if machine.is_on() { uptime } else { 0 },
            resets: machine.resets.get(),
            network: machine.uplink.borrow().as_ref().map(|uplink| uplink.info()),
        }
    }

    async fn start(&self, _: &Caller) -> Result<(), GuestError> {
        power::start(&self.0).await?;
        // Nobody is to take a former guest's prompt for this one's. (A guest that resets its machine is the same one.)
        self.0.serial.forget();
        self.0.stream.forget();
        Ok(())
    }

    async fn stop(&self, _: &Caller) -> Result<(), GuestError> {
        self.check_on()?;
        self.0.state.set(GuestState::Stopping);
        if let Some(board) = self.0.board.borrow_mut().as_mut() {
            board.press_power_button();
        }
        self.0.tell();
        Ok(())
    }

    async fn kill(&self, _: &Caller) -> Result<(), GuestError> {
        self.check_on()?;
        power::kill(&self.0).await;
        Ok(())
    }

    async fn output(&self, _: &Caller, from: u64, bytes: WriteLease) -> Result<Received, GuestError> {
        let machine = &self.0;
        Ok(machine.serial.read(from, &bytes, || machine.work_on_serial()).await?)
    }

    async fn input(&self, _: &Caller, bytes: ReadLease) -> Result<u32, GuestError> {
        self.check_on()?;
        let taken = self.0.serial.type_in(&bytes)?;
        self.0.work_on_serial();
        Ok(taken as u32)
    }
}

/// The stream to the terminal beside the serial port.
#[derive(Debug)]
pub(super) struct Stream(Rc<Machine>);

impl Stream {
    pub(super) fn new(machine: Rc<Machine>) -> Self {
        Self(machine)
    }
}

impl StreamServer for Stream {
    async fn send(&self, _: &Caller, bytes: ReadLease) -> Result<u32, StreamError> {
        if !self.0.is_on() {
            return Err(StreamError::Closed);
        }
        let taken = self.0.stream.type_in(&bytes)?;
        self.0.stir_stream();
        Ok(taken as u32)
    }

    async fn receive(&self, _: &Caller, from: u64, bytes: WriteLease) -> Result<Received, StreamError> {
        let machine = &self.0;
        Ok(machine.stream.read(from, &bytes, || machine.stir_stream()).await?)
    }
}
