//! The program around the server.

use interfaces::echo::Misbehaviour;
use userlib::{log, thread};

/// Does what ends or stops the domain.
pub(crate) fn break_down(kind: Misbehaviour) {
    log::warn!("asked to misbehave: {kind:?}");
    match kind {
        Misbehaviour::Panic => panic!("asked to panic"),
        Misbehaviour::WildPointer => userlib::mishap::wild_pointer(),
        Misbehaviour::Hang => userlib::mishap::hang(),
        Misbehaviour::Exit => thread::exit(7),
        Misbehaviour::Silence | Misbehaviour::BlameCaller => {}
    }
}
