//! The command `witness`: a client of every server of the default system, which breaks domains and looks at what becomes of the
//! connections and of the open file that it had before.
//!
//! `witness break DOMAIN WAY COUNT` breaks a domain so many times in one way (`kill`, `panic`, `fault`, `hang`), waits each time
//! until it is back, and uses what it held. If that is the shell, which types the command, or the supervisor, which takes longer than
//! the shell waits for an answer, it is done when the shell is not looking; `witness report` tells of the last series. What it says:
//!
//! | line | meaning |
//! | --- | --- |
//! | `restarts N` | how often the domain was started again |
//! | `others nobody`, or `others NAMES` | who else was |
//! | `served N` | how often each of its endpoints served this client, which was connected before the first death |
//! | `seen WORDS` | what became of calls that were under way and of what was held, if it was the same each time |
//! | `remains same`, or `remains WORDS` | whether as many pages are in use, and as many kernel objects of each kind, as after the first death |
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

extern crate alloc;

mod held;
mod series;

use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::RefCell;
use interfaces::command::{ARGUMENTS_MAX, CommandError, CommandServer, CommandService};
use interfaces::supervision::Crash;
use userlib::executor;
use userlib::ipc::{Caller, ReadLease, WriteLease};
use userlib::sync::Event;

use held::Connections;
use series::{Series, Way};

/// Whose series nobody waits for: that of who asks, and the one that takes longer than a call may.
const UNATTENDED: [&str; 2] = ["shell", "supervisor"];

userlib::entry!(|environment| {
    let witness = Witness {
        connections: Rc::new(Connections::of(environment)),
        told: Rc::new(RefCell::new(None)),
        ended: Rc::new(Event::new()),
    };
    environment.serve("command", CommandService::new(witness))
});

struct Witness {
    connections: Rc<Connections>,
    /// What there is to say of the last series; nothing while it lasts.
    told: Rc<RefCell<Option<Result<String, CommandError>>>>,
    ended: Rc<Event>,
}

impl Witness {
    /// Begins a series, which goes on whatever becomes of whoever asked for it.
    fn begin(&self, series: Series) {
        let (connections, told, ended) = (self.connections.clone(), self.told.clone(), self.ended.clone());
        told.replace(None);
        executor::spawn(async move {
            let said = series.carry_out(&connections).await;
            told.replace(Some(said));
            ended.signal();
        });
    }

    async fn report(&self) -> Result<String, CommandError> {
        loop {
            let ended = self.ended.next();
            if let Some(said) = self.told.borrow().clone() {
                return said;
            }
            ended.await;
        }
    }
}

fn usage() -> CommandError {
    CommandError::usage("break DOMAIN kill|panic|fault|hang COUNT | report")
}

fn way(word: &str) -> Option<Way> {
    Some(match word {
        "kill" => Way::Kill,
        "panic" => Way::Crash(Crash::Panic),
        "fault" => Way::Crash(Crash::Fault),
        "hang" => Way::Crash(Crash::Hang),
        _ => return None,
    })
}

impl CommandServer for Witness {
    async fn run(&self, _: &Caller, arguments: ReadLease, output: WriteLease) -> Result<usize, CommandError> {
        let arguments = arguments.to_text(ARGUMENTS_MAX)?;
        let words: Vec<&str> = arguments.split(' ').collect();
        let said = match words[..] {
            ["break", domain, how, count] => {
                let (way, count) = (way(how).ok_or_else(usage)?, count.parse().map_err(|_| usage())?);
                self.begin(Series { domain: domain.into(), way, count });
                if UNATTENDED.contains(&domain) { String::from("begun\n") } else { self.report().await? }
            }
            ["report"] => self.report().await?,
            _ => return Err(usage()),
        };
        output.write(0, said.as_bytes())?;
        Ok(said.len())
    }
}
