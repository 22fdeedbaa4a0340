//! The program `injector`: takes orders from the host through a serial line of its own, has the supervisor change the code of
//! running domains, watches what becomes of it, and tells.
//!
//! Each order has a number before it. Answers are lines; the last one of each is `done` with that number, or `refused` with the
//! number and the reason: so nobody takes the answer to an order that they have given up for that to another one.
//!
//! | line | what it tells |
//! | --- | --- |
//! | `order N…` | of each change, the how-manieth it was to be executed; 0 if it was not |
//! | `hung` | the workload came no further while the changes were there |
//! | `met ERRORS` | how many errors the workload was told of until the target was started anew, which may be an error for it, too |
//! | `died COUNT STORY` | how often the target died, and of what it died last |
//! | `recovered NANOSECONDS` | from the first death to the end of the first round after it |
//! | `well NANOSECONDS`, `unwell` | whether the workload came through without an error once the target was started anew |
//! | `work ROUNDS OPERATIONS ERRORS WRONG` | what the workload has done since it began |
//! | `story NAME STORY` | of what a domain that was started again died last |
//! | `log TEXT` | a line of the log |
//! | `domain NAME STATE RESTARTS MEMORY` | each domain |
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::fmt::Write;
use faults::order::Order;
use faults::tally::{Progress, TallyClient};
use interfaces::console::ConsoleClient;
use interfaces::mutation::{self, MUTATIONS_MAX, Mutation};
use interfaces::supervision::{DomainState, SupervisionClient};
use userlib::status::{self, Phase};
use userlib::time::{Deadline, Duration, Instant};

/// How often the target is looked at.
const LOOK: Duration = Duration::from_millis(2);
/// How long a domain that does not answer may take to be found out, by heartbeats or by its clients.
const HANG: Duration = Duration::from_secs(10);
/// How long everything may take to be well again.
const RECOVERY: Duration = Duration::from_secs(30);
/// Rounds without an error that show that everything is well.
const WELL: u64 = 2;
/// Lines of the log that are told.
const LOG: usize = 100;
/// Bytes of a line from the host.
const LINE: usize = 128 << 10;

userlib::entry!(|environment| {
    let injector = Injector {
        line: ConsoleClient::new(environment.connection("console")).with_deadline(Deadline::NEVER),
        supervision: SupervisionClient::new(environment.connection("supervision")),
        tally: TallyClient::new(environment.connection("tally")),
    };
    status::set_phase(Phase::Ready);
    injector.say("ready\n");
    injector.run()
});

struct Injector {
    line: ConsoleClient,
    supervision: SupervisionClient,
    tally: TallyClient,
}

/// Why an order was not carried out, for people.
type Refusal = String;

impl Injector {
    fn run(&self) -> ! {
        let mut typed = Vec::new();
        let mut buffer = vec![0; 256];
        let mut position = 0;
        loop {
            match self.line.read(position, &mut buffer) {
                Ok(read) => {
                    typed.extend(buffer.iter().take(read.length as usize));
                    position = read.next;
                }
                // The line's driver comes back.
                Err(_) => userlib::time::sleep_thread(Deadline::from_call(LOOK)),
            }
            while let Some(end) = typed.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = typed.drain(..=end).collect();
                let (number, outcome) = match core::str::from_utf8(&line).ok().and_then(Order::parse) {
                    Some((number, order)) => (number, self.carry_out(&order)),
                    None => (0, Err(String::from("that is no order"))),
                };
                let answer = match outcome {
                    Ok(answer) => format!("{answer}done {number}\n"),
                    Err(refusal) => format!("refused {number} {refusal}\n"),
                };
                self.say(&answer);
            }
            if typed.len() > LINE {
                typed.clear();
            }
        }
    }

    fn say(&self, text: &str) {
        // Nobody could be told of a line that does not work.
        let _ = self.line.write(text.as_bytes());
    }

    fn carry_out(&self, order: &Order) -> Result<String, Refusal> {
        let mut answer = String::new();
        match order {
            Order::Batch { target, time, mutations, clients } => {
                self.inject(target, *time, mutations, clients, &mut answer)?;
            }
            Order::Log => self.log(&mut answer)?,
            Order::Look => {}
        }
        self.describe(&mut answer)?;
        Ok(answer)
    }

    /// Changes code and says what came of it.
    fn inject(
        &self,
        target: &str,
        time: Duration,
        mutations: &[Mutation],
        clients: &[String],
        answer: &mut String,
    ) -> Result<(), Refusal> {
        let before = self.restarts(target)?;
        let started = self.progress()?;
        self.supervision.mutate(target, &mutation::encode(mutations)).map_err(|error| error.to_string())?;
        for client in clients {
            self.supervision.renew(client).map_err(|error| error.to_string())?;
        }
        let begun = Instant::now();
        let (mut died, mut recovered) = (None, None);
        loop {
            userlib::time::sleep_thread(Deadline::from_call(LOOK));
            let progress = self.progress()?;
            match died {
                None if self.restarts(target)? != before || !self.is_alive(target)? => {
                    died = Some((Instant::now(), progress.rounds));
                }
                None if begun.elapsed() < time => {}
                // Whoever does not answer is waited for until that is found out.
                None if progress.rounds > started.rounds || begun.elapsed() > HANG => break,
                None => {}
                Some((when, rounds)) if progress.rounds > rounds + 1 => {
                    recovered = Some(when.elapsed());
                    break;
                }
                Some((when, _)) if when.elapsed() > RECOVERY => break,
                Some(_) => {}
            }
        }
        let deaths = self.restarts(target)? - before;
        let mut orders = vec![0; 2 * MUTATIONS_MAX];
        let count = self.supervision.mutated(target, &mut orders).map_err(|error| error.to_string())?;
        answer.push_str("order");
        for pair in orders[..count].as_chunks::<2>().0 {
            let _ = write!(answer, " {}", u16::from_le_bytes(*pair));
        }
        answer.push('\n');
        let progress = self.progress()?;
        if died.is_none() && progress.rounds == started.rounds {
            answer.push_str("hung\n");
        }
        let _ = writeln!(answer, "met {}", progress.errors - started.errors);
        if died.is_some() {
            let _ = write!(answer, "died {deaths} {}", self.story(target)?);
        }
        if let Some(recovered) = recovered {
            let _ = writeln!(answer, "recovered {}", recovered.as_nanos());
        }
        self.renew(target, answer)
    }

    /// Starts the target from its unchanged program and sees whether everything is well.
    fn renew(&self, target: &str, answer: &mut String) -> Result<(), Refusal> {
        self.supervision.renew(target).map_err(|error| error.to_string())?;
        let begun = Instant::now();
        let mut from = self.progress()?;
        while begun.elapsed() < RECOVERY {
            userlib::time::sleep_thread(Deadline::from_call(LOOK));
            let progress = self.progress()?;
            if progress.errors != from.errors {
                from = progress;
            }
            // The round that was under way then does not count.
            if progress.rounds > from.rounds + WELL {
                let _ = writeln!(answer, "well {}", begun.elapsed().as_nanos());
                return Ok(());
            }
        }
        answer.push_str("unwell\n");
        Ok(())
    }

    /// The last lines of the log.
    fn log(&self, answer: &mut String) -> Result<(), Refusal> {
        let mut bytes = vec![0; 4096];
        let (mut lines, mut position) = (Vec::<String>::new(), 0);
        loop {
            let part = self.supervision.log(position, &mut bytes).map_err(|error| error.to_string())?;
            lines.extend(String::from_utf8_lossy(&bytes[..part.bytes]).lines().map(String::from));
            if !part.more || part.next == position {
                break;
            }
            position = part.next;
        }
        for line in &lines[lines.len().saturating_sub(LOG)..] {
            let _ = writeln!(answer, "log {line}");
        }
        Ok(())
    }

    fn describe(&self, answer: &mut String) -> Result<(), Refusal> {
        let Progress { rounds, operations, errors, wrong } = self.progress()?;
        let _ = writeln!(answer, "work {rounds} {operations} {errors} {wrong}");
        for index in 0.. {
            let Some(domain) = self.supervision.domain(index).map_err(|error| error.to_string())? else { break };
            let (name, state) = (domain.name.as_str(), domain.state.as_str());
            let _ = writeln!(answer, "domain {name} {state} {} {}", domain.restarts, domain.memory);
            if domain.restarts > 0 {
                let _ = write!(answer, "story {name} {}", self.story(name)?);
            }
        }
        Ok(())
    }

    fn progress(&self) -> Result<Progress, Refusal> {
        self.tally.read().map_err(|error| error.to_string())
    }

    fn restarts(&self, name: &str) -> Result<u32, Refusal> {
        Ok(self.supervision.find(name).map_err(|error| error.to_string())?.restarts)
    }

    fn is_alive(&self, name: &str) -> Result<bool, Refusal> {
        let state = self.supervision.find(name).map_err(|error| error.to_string())?.state;
        Ok(matches!(state, DomainState::Starting | DomainState::Running))
    }

    /// Of what a domain died last: a line.
    fn story(&self, name: &str) -> Result<String, Refusal> {
        let mut bytes = vec![0; 512];
        let count = self.supervision.last_death(name, &mut bytes).map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&bytes[..count]).trim().replace('\n', " ");
        Ok(text + "\n")
    }
}
