//! Waits for the supervisor's death and builds the next one, which takes over what the dead one has left.

use crate::assembly::Assembly;
use crate::serial_line;
use core::fmt;
use spawn::{Obituary, Rate};
use userlib::abi::fault::{FaultKind, FaultWord};
use userlib::abi::message::REGISTER_WORDS;
use userlib::status;
use userlib::sys::{self, Received};
use userlib::time::{Deadline, Duration, Instant};

/// Deaths of supervisors are counted within so long.
const WINDOW: Duration = Duration::from_secs(10);
/// After so many deaths within the window what they leave is the likely cause: the next one begins anew.
const PATIENCE: u32 = 32;
/// After so many nobody supervises any more. Domains that live then go on.
const LIMIT: u32 = 48;

/// How often the supervisor is asked for a sign of life.
const ASK: Duration = Duration::from_secs(2);
/// So many questions in a row without an answer are a hang. One alone may be a machine that stood still: init runs before
/// the supervisor.
const UNANSWERED: u32 = 3;

/// Starts the supervisor and watches it, for ever.
pub(crate) fn run(assembly: &Assembly) -> ! {
    let mut deaths = Rate::default();
    for instance in 0.. {
        let supervisor = match assembly.build_supervisor(instance) {
            Ok(supervisor) => supervisor,
            Err(failure) => serial_line::stop(format_args!("{failure}")),
        };
        let obituary = wait_for_death(assembly);
        assembly.keeping.bury_supervisor(assembly.supervisor_status, &obituary);
        if let Err(error) = supervisor.destroy() {
            serial_line::stop(format_args!("the dead supervisor cannot be taken apart: {error}"));
        }
        let count = deaths.note(Instant::now().nanoseconds(), WINDOW.as_nanos() as u64);
        // One death is the next one's to tell of. Here somebody who types would not be able to read what they type.
        let cause = Cause(&obituary);
        if count == PATIENCE {
            serial_line::say(format_args!(
                "{count} supervisors died in a row ({cause}); now every domain is started anew"
            ));
            assembly.keeping.let_go_of_all();
        }
        if count > LIMIT {
            assembly.close_supervision();
            serial_line::stop(format_args!(
                "{count} supervisors died in a row ({cause}); from here on the domains live without one, and who dies stays \
                 dead: start the machine again"
            ));
        }
    }
    serial_line::stop(format_args!("supervisors cannot be counted any further"))
}

/// Waits until the supervisor has died, or gives no sign of life.
fn wait_for_death(assembly: &Assembly) -> Obituary {
    let mut words = [0; REGISTER_WORDS];
    let mut beats = None;
    let mut unanswered = 0;
    let mut due = Instant::now() + ASK;
    loop {
        match sys::receive(assembly.faults.handle(), 0, Deadline::at(due).to_register(), &mut words) {
            Ok(Received::Message { info, .. }) => return Obituary { label: Some(info.label()), words },
            Ok(Received::Bits(_)) => assembly.keeping.tidy(),
            Err(_) => {}
        }
        // A supervisor that asks for nothing but tidying, again and again, has to give signs of life as well.
        if Instant::now() < due {
            continue;
        }
        let now = status::Reader::new(assembly.supervisor_status).map(status::Reader::heartbeats);
        unanswered = if beats == now { unanswered + 1 } else { 0 };
        if unanswered == UNANSWERED {
            return Obituary { label: None, words: [0; REGISTER_WORDS] };
        }
        beats = now;
        assembly.ask_supervisor();
        due = Instant::now() + ASK;
    }
}

/// What a supervisor died of, for people.
struct Cause<'a>(&'a Obituary);

impl fmt::Display for Cause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(label) = self.0.label else { return f.write_str("no sign of life") };
        let address = self.0.words[FaultWord::Address as usize];
        let at = self.0.words[FaultWord::InstructionPointer as usize];
        match FaultKind::from_label(label) {
            Some(kind) => write!(f, "{kind:?}, address {address:#x}, at {at:#x}"),
            None => write!(f, "fault {label}, at {at:#x}"),
        }
    }
}
