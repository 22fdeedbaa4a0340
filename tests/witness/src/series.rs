//! A series of deaths of one domain.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use interfaces::command::CommandError;
use interfaces::supervision::{Crash, DomainState, SupervisionClient};
use userlib::abi::syscall::{Charge, Statistics};
use userlib::cap::{Cap, System};
use userlib::executor;
use userlib::time::{Duration, Instant};

use crate::held::Connections;

/// How often it is looked whether a domain is back.
const LOOK: Duration = Duration::from_millis(2);
/// How long it may take, only so that there is an end.
const PATIENCE: Duration = Duration::from_secs(20);
/// Before the first death, so that what was typed is out of the console's queue.
const PAUSE: Duration = Duration::from_millis(200);
/// `init` counts the deaths of supervisors within ten seconds, and lets go of every domain after 32: so long each lives at least.
const LIFE_OF_A_SUPERVISOR: Duration = Duration::from_millis(450);

/// Who is not watched like the others: `init` does.
const SUPERVISOR: &str = "supervisor";

/// A way to break a domain.
#[derive(Clone, Copy)]
pub(crate) enum Way {
    Kill,
    Crash(Crash),
}

/// A domain that is broken so many times in one way.
pub(crate) struct Series {
    pub(crate) domain: String,
    pub(crate) way: Way,
    pub(crate) count: u64,
}

/// How often each domain was started again.
type Restarts = BTreeMap<String, u32>;

fn restarts(supervisor: &SupervisionClient) -> Result<Restarts, CommandError> {
    let mut found = Restarts::new();
    for index in 0.. {
        let Some(info) = supervisor.domain(index).map_err(CommandError::failed)? else { break };
        found.insert(info.name.as_str().to_string(), info.restarts);
    }
    Ok(found)
}

/// What the whole machine has in use.
#[derive(Clone, Copy, PartialEq, Eq)]
struct InUse {
    kernel_frames: u64,
    mapped_frames: u64,
    /// Live objects, by what accounts charge them as ([`Charge`]).
    objects: [u64; Charge::COUNT],
}

impl InUse {
    fn now(system: Cap<System>) -> Result<Self, CommandError> {
        let Statistics { kernel_frames, mapped_frames, objects, .. } =
            system.statistics().map_err(CommandError::failed)?;
        Ok(Self { kernel_frames, mapped_frames, objects })
    }
}

impl fmt::Display for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kernel_frames, mapped_frames, objects } = self;
        write!(f, "{mapped_frames} pages mapped, {kernel_frames} of the kernel's, objects {objects:?}")
    }
}

impl Series {
    /// Carries it out, and says what has become of the domain, of others, and of what this client held.
    pub(crate) async fn carry_out(&self, connections: &Connections) -> Result<String, CommandError> {
        let supervisor = &connections.supervisor;
        executor::sleep(PAUSE).await;
        let before = restarts(supervisor)?;
        let first = *before.get(&self.domain).ok_or_else(|| CommandError::failed("there is no such domain"))?;
        let (mut served, mut seen, mut used) = (0, None, None);
        for number in 0..self.count {
            if self.domain == SUPERVISOR {
                executor::sleep(LIFE_OF_A_SUPERVISOR).await;
            }
            let held = connections.hold(&self.domain, number)?;
            self.befall(supervisor)?;
            come_back(supervisor, &self.domain, first + number as u32 + 1).await?;
            let words = connections.use_held(held);
            // What differs is told as it was the first time that it did.
            if seen.as_ref().is_none_or(|seen| *seen == words) {
                seen = Some(words);
            } else {
                seen = Some(format!("different each time, such as: {words}"));
                break;
            }
            connections.call(&self.domain)?;
            served += 1;
            if number == 0 {
                used = Some(InUse::now(connections.system)?);
            }
        }
        let mut seen = seen.unwrap_or_default();
        let remains = match used {
            Some(used) => settled(connections.system, used).await?,
            None => String::from("not looked at"),
        };
        let after = restarts(supervisor)?;
        let own = after.get(&self.domain).map_or(0, |after| after - first);
        let others = after.iter().filter(|(name, after)| **name != self.domain && before.get(*name) != Some(*after));
        let others: Vec<&str> = others.map(|(name, _)| name.as_str()).collect();
        let others = if others.is_empty() { String::from("nobody") } else { others.join(", ") };
        if self.domain == "echo" && self.count > 1 {
            seen = connections.die_under_way()?;
        }
        if self.domain == SUPERVISOR && self.count > 1 {
            seen = connections.die_under_restart()?;
            come_back(supervisor, "echo", after.get("echo").map_or(0, |restarts| restarts + 1)).await?;
        }
        Ok(format!("restarts {own}\nothers {others}\nserved {served}\nseen {seen}\nremains {remains}\n"))
    }

    fn befall(&self, supervisor: &SupervisionClient) -> Result<(), CommandError> {
        match self.way {
            Way::Kill => supervisor.kill(&self.domain, 0).map_err(CommandError::failed),
            Way::Crash(how) => supervisor.crash(&self.domain, how, 0).map_err(CommandError::failed),
        }
    }
}

/// Waits until a domain runs and was started again so many times.
async fn come_back(supervisor: &SupervisionClient, domain: &str, times: u32) -> Result<(), CommandError> {
    let until = Instant::now() + PATIENCE;
    loop {
        let info = supervisor.find(domain).map_err(CommandError::failed)?;
        if info.restarts >= times && info.state == DomainState::Running {
            return Ok(());
        }
        if Instant::now() > until {
            let (restarts, state) = (info.restarts, info.state.as_str());
            return Err(CommandError::failed(format_args!("it does not come back: {state}, restart {restarts}")));
        }
        executor::sleep(LOOK).await;
    }
}

/// Whether as much is in use as before. The last instance may still be at what it does at its start.
async fn settled(system: Cap<System>, used: InUse) -> Result<String, CommandError> {
    let until = Instant::now() + PATIENCE;
    loop {
        let now = InUse::now(system)?;
        if now == used {
            return Ok(String::from("same"));
        }
        if Instant::now() > until {
            return Ok(format!("{now}; before {used}"));
        }
        executor::sleep(LOOK).await;
    }
}
