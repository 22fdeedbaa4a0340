//! What others may ask of a guest.

use super::machine::Machine;
use super::power;
use alloc::rc::Rc;
use interfaces::guest::{GuestError, GuestInfo, GuestServer, GuestState, Output};
use userlib::executor;
use userlib::ipc::{Caller, ReadLease, WriteLease};
use userlib::sync::either;
use userlib::time::{Duration, Instant};

/// How long somebody waits for output.
const WAIT: Duration = Duration::from_millis(500);
/// Bytes that are moved at once.
const PIECE: usize = 512;

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
        self.0.transcript.borrow_mut().forget();
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

    async fn output(&self, _: &Caller, from: u64, bytes: WriteLease) -> Result<Output, GuestError> {
        let machine = &self.0;
        let room = bytes.length()?;
        let until = Instant::now() + WAIT;
        loop {
            let written = machine.written.next();
            machine.reader.set(Some((from, Instant::now())));
            machine.drain_serial();
            machine.tell();
            let (mut done, mut next, mut lost) = (0, from, None);
            while done < room {
                let mut piece = [0; PIECE];
                let part = machine.transcript.borrow().read(next, &mut piece[..PIECE.min(room - done)]);
                lost.get_or_insert(part.lost);
                next = part.next;
                if part.length == 0 {
                    break;
                }
                bytes.write(done, &piece[..part.length])?;
                done += part.length;
            }
            machine.reader.set(Some((next, Instant::now())));
            if done > 0 || room == 0 || Instant::now() >= until {
                return Ok(Output { length: done as u32, next, lost: lost.unwrap_or(0) });
            }
            either(written, executor::sleep_until(until)).await;
        }
    }

    async fn input(&self, _: &Caller, bytes: ReadLease) -> Result<u32, GuestError> {
        self.check_on()?;
        let length = bytes.length()?;
        let (mut done, mut piece) = (0, [0; PIECE]);
        while done < length {
            let count = PIECE.min(length - done);
            bytes.read(done, &mut piece[..count])?;
            let taken = self.0.type_in(&piece[..count]);
            done += taken;
            if taken < count {
                break;
            }
        }
        Ok(done as u32)
    }
}
