//! The program around the server.

use echo::Echo;
use interfaces::echo::{EchoService, Misbehaviour};
use userlib::{Environment, executor, log, thread};

/// Does what ends or stops the domain.
fn break_down(kind: Misbehaviour) {
    log::warn!("asked to misbehave: {kind:?}");
    match kind {
        Misbehaviour::Panic => panic!("asked to panic"),
        Misbehaviour::WildPointer => userlib::mishap::wild_pointer(),
        Misbehaviour::Hang => userlib::mishap::hang(),
        Misbehaviour::Exit => thread::exit(7),
        Misbehaviour::Silence | Misbehaviour::BlameCaller => {}
    }
}

/// The program.
pub(crate) fn main(environment: &'static Environment) -> ! {
    match environment.provides("echo") {
        Ok(endpoint) => {
            let service = EchoService::new(Echo::new(break_down));
            if let Err(error) = executor::serve(endpoint, service) {
                log::error!("{error}");
            }
        }
        Err(missing) => log::error!("{missing}"),
    }
    executor::run_forever()
}
