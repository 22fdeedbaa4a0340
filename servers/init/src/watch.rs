//! Waits for the supervisor's death and builds the next one.

use crate::assembly::Assembly;
use crate::serial_line;
use spawn::Instance;
use userlib::abi::fault::{FaultKind, FaultWord};
use userlib::abi::message::REGISTER_WORDS;
use userlib::abi::time::NEVER;
use userlib::sys::{self, Received};

/// How often a supervisor is built again. One that dies this often has a mistake that another instance will not mend.
const LIMIT: u32 = 16;

/// Starts the supervisor and watches it, for ever.
pub(crate) fn run(assembly: &Assembly) -> ! {
    for instance in 0..=LIMIT {
        let supervisor = match assembly.build_supervisor(instance) {
            Ok(supervisor) => supervisor,
            Err(failure) => serial_line::stop(format_args!("{failure}")),
        };
        wait_for_death(assembly, &supervisor);
        // The domains that it had built die with it: it alone held them.
        if let Err(error) = supervisor.destroy() {
            serial_line::stop(format_args!("the dead supervisor cannot be taken apart: {error}"));
        }
    }
    serial_line::stop(format_args!("the supervisor has died {LIMIT} times; the system stops here"))
}

fn wait_for_death(assembly: &Assembly, _supervisor: &Instance) {
    let mut words = [0; REGISTER_WORDS];
    loop {
        match sys::receive(assembly.faults.handle(), 0, NEVER, &mut words) {
            Ok(Received::Message { info, .. }) => {
                let address = words[FaultWord::Address as usize];
                let at = words[FaultWord::InstructionPointer as usize];
                match FaultKind::from_label(info.label()) {
                    Some(kind) => serial_line::say(format_args!(
                        "the supervisor died ({kind:?}, address {address:#x}, at {at:#x}); it is built again"
                    )),
                    None => serial_line::say(format_args!("the supervisor died; it is built again")),
                }
                return;
            }
            Ok(Received::Bits(_)) | Err(_) => {}
        }
    }
}
