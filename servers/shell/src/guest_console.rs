//! The terminal in the hands of a guest: what the guest writes to its serial port is shown, and what is typed goes there.

use crate::commands::guests::failure;
use crate::failure::{Failure, Outcome};
use crate::session::Session;
use alloc::collections::VecDeque;
use alloc::vec;
use core::time::Duration;
use interfaces::guest::{GuestError, GuestState};
use interfaces::stream::Received;
use interfaces::supervision::DomainState;
use userlib::ipc::CallError;

/// What Ctrl-] sends, which leaves.
const LEAVE: u8 = 0x1d;
/// What a terminal rings its bell at.
const BELL: &str = "\x07";
/// Bytes that are fetched at once.
const PIECE: usize = 4096;
/// Bytes of what was written before that are shown.
const BEFORE: usize = 512;
/// How many pieces of what was written before are looked through for those.
const PIECES_BEFORE: u32 = 1024;
/// How long one side is waited for while the other one may have something, too.
const TURN: Duration = Duration::from_millis(10);
/// The same when neither has had anything for a while: each turn takes time from a guest that only computes.
const LONG_TURN: Duration = Duration::from_millis(40);
/// The same while much is shown.
const GLANCE: Duration = Duration::from_millis(1);
/// How often it is looked whether the guest and its monitor live.
const LOOK: Duration = Duration::from_millis(500);
/// Bytes that are kept of what a guest does not take.
const TYPED_MAX: usize = 64 * 1024;

/// Leaves the terminal to a guest until Ctrl-] is typed, or the guest is off.
///
/// # Errors
/// If the guest's monitor does not answer, or dies.
pub fn attach(session: &mut Session<'_>, name: &str) -> Outcome {
    let mut console = GuestConsole::open(session, name)?;
    session.out.line(format_args!("Ctrl-] leaves {name}."));
    console.show_before(session)?;
    let outcome = console.run(session);
    session.out.fresh_line();
    outcome
}

struct GuestConsole<'n> {
    name: &'n str,
    /// Where the next byte lies in all that the guest has written.
    position: u64,
    /// What was typed and is not the guest's yet.
    typed: VecDeque<u8>,
    /// How often its monitor was restarted, if the supervisor says so.
    restarts: Option<u32>,
    next_look: Duration,
    turn: Duration,
}

impl<'n> GuestConsole<'n> {
    fn open(session: &Session<'_>, name: &'n str) -> Result<Self, Failure> {
        let services = session.services;
        let info = services.guests.info(name);
        // What cannot be known of it cannot be shown of it either.
        info.map_err(|error| failure("show the console of", name, error.map(|never| match never {})))?;
        let restarts = services.domains.find(name).ok().map(|info| info.restarts);
        Ok(Self {
            name,
            position: 0,
            typed: VecDeque::new(),
            restarts,
            next_look: services.life.now() + LOOK,
            turn: TURN,
        })
    }

    /// Shows the last of what was written before.
    fn show_before(&mut self, session: &mut Session<'_>) -> Outcome {
        let mut last = VecDeque::new();
        let mut bytes = vec![0; PIECE];
        for _ in 0..PIECES_BEFORE {
            let Some(output) = self.fetch(session, &mut bytes)? else { break };
            let written = bytes.get(..output.length as usize).unwrap_or(&bytes);
            last.extend(written);
            last.drain(..last.len().saturating_sub(BEFORE));
            if written.len() < bytes.len() {
                break;
            }
        }
        session.out.raw_bytes(last.make_contiguous());
        session.out.flush();
        Ok(())
    }

    /// The next bytes that the guest has written, if there are any.
    fn fetch(&mut self, session: &Session<'_>, bytes: &mut [u8]) -> Result<Option<Received>, Failure> {
        match session.services.guests.output(self.name, self.position, bytes, self.turn) {
            Ok(Some(output)) if output.next < self.position => Err(self.died()),
            Ok(Some(output)) => {
                self.position = output.next;
                Ok(Some(output))
            }
            Ok(None) => Ok(None),
            Err(error) => Err(self.failure(error)),
        }
    }

    fn failure(&self, error: CallError<GuestError>) -> Failure {
        match error {
            CallError::ServerDied => self.died(),
            error => failure("show the console of", self.name, error),
        }
    }

    fn died(&self) -> Failure {
        let name = self.name;
        Failure::new(format_args!(
            "the monitor of {name} died, and the guest with it; `log {name}` tells why, and `guest list` what it does now"
        ))
    }

    fn run(&mut self, session: &mut Session<'_>) -> Outcome {
        let mut bytes = vec![0; PIECE];
        let mut patience = TURN;
        loop {
            let leaves = self.take_typed(session, patience);
            let is_used = !self.typed.is_empty();
            self.type_on(session)?;
            if leaves {
                return Ok(());
            }
            let shown = self.show_next(session, &mut bytes)?;
            self.turn = if shown || is_used { TURN } else { (2 * self.turn).min(LONG_TURN) };
            patience = if shown { GLANCE } else { self.turn };
            let now = session.services.life.now();
            // Its last words come first.
            if now >= self.next_look && !shown {
                self.next_look = now + LOOK;
                if self.is_over(session)? {
                    return Ok(());
                }
            }
            // Meanwhile the shell does what its supervisor asks of it.
            session.services.life.pause(Duration::ZERO);
        }
    }

    /// Takes what was typed. Tells whether Ctrl-] is in it; what comes behind that is the shell's.
    fn take_typed(&mut self, session: &mut Session<'_>, patience: Duration) -> bool {
        session.look(patience);
        while let Some(byte) = session.take_typed() {
            if byte == LEAVE {
                return true;
            }
            if self.typed.len() < TYPED_MAX {
                self.typed.push_back(byte);
            } else {
                session.out.raw(BELL);
            }
        }
        false
    }

    /// Types as much of it as the guest takes; the rest it is offered at the next turn.
    fn type_on(&mut self, session: &mut Session<'_>) -> Outcome {
        if self.typed.is_empty() {
            return Ok(());
        }
        match session.services.guests.input(self.name, self.typed.make_contiguous()) {
            Ok(taken) => {
                let taken = (taken as usize).min(self.typed.len());
                self.typed.drain(..taken);
                Ok(())
            }
            // Whoever is off listens to nothing. Why it is off is seen at the next look.
            Err(CallError::Failed(GuestError::Off)) => {
                self.typed.clear();
                self.next_look = Duration::ZERO;
                Ok(())
            }
            Err(error) => Err(self.failure(error)),
        }
    }

    /// Shows what the guest has written since. Tells whether that was anything.
    fn show_next(&mut self, session: &mut Session<'_>, bytes: &mut [u8]) -> Result<bool, Failure> {
        let Some(output) = self.fetch(session, bytes)? else { return Ok(false) };
        if output.lost > 0 {
            session.out.fresh_line();
            session.out.line(format_args!("({} bytes before this are lost.)", output.lost));
        }
        let written = bytes.get(..output.length as usize).unwrap_or(bytes);
        session.out.raw_bytes(written);
        session.out.flush();
        Ok(!written.is_empty())
    }

    /// Whether the guest is off, which is said then.
    fn is_over(&self, session: &mut Session<'_>) -> Result<bool, Failure> {
        let (name, services) = (self.name, session.services);
        if let (Some(restarts), Ok(info)) = (self.restarts, services.domains.find(name))
            && (info.restarts != restarts || !matches!(info.state, DomainState::Starting | DomainState::Running))
        {
            return Err(self.died());
        }
        // A monitor that is busy is asked again.
        let Ok(info) = services.guests.info(name) else { return Ok(false) };
        let how = match info.state {
            GuestState::Running | GuestState::Stopping => return Ok(false),
            GuestState::Off => "is off",
            GuestState::PoweredOff => "has switched itself off",
            GuestState::Crashed => "has crashed, and stands still",
            GuestState::Failed => "could not go on, `log` tells why",
        };
        session.out.fresh_line();
        session.out.line(format_args!("{name} {how}; `guest start {name}` switches it on."));
        Ok(true)
    }
}
