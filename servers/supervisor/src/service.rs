//! What people and programs may ask of the supervisor.

use crate::death::Death;
use crate::state::Supervisor;
use crate::{heartbeat, lifecycle, log_reader, power};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::rc::Rc;
use core::cell::RefCell;
use interfaces::supervision::{
    Bound, CapabilityInfo, Crash, DeathCause, DomainInfo, DomainState, MemoryUse, NAME_MAX, SupervisionError,
    SupervisionServer, TextPart,
};
use manifest::DomainIndex;
use userlib::abi::PAGE_SIZE;
use userlib::ipc::{Caller, ReadLease, Text, WriteLease};
use userlib::mishap::{FAULT_BIT, HANG_BIT, PANIC_BIT};
use userlib::time::{Duration, Instant};
use userlib::{Environment, executor, log};

/// How much one client can have planned for later.
const PLANNED_MAX: u32 = 16;

/// Answers requests.
pub(crate) struct Requests {
    supervisor: Rc<Supervisor>,
    /// How much each client has planned for later, if anything.
    planned: Rc<RefCell<BTreeMap<u64, u32>>>,
}

impl Requests {
    pub(crate) fn new(supervisor: Rc<Supervisor>) -> Self {
        Requests { supervisor, planned: Rc::default() }
    }

    fn find(&self, name: &ReadLease) -> Result<DomainIndex, SupervisionError> {
        let name = name.to_text(NAME_MAX)?;
        self.supervisor.system.domain_named(&name).ok_or(SupervisionError::NoSuchDomain)
    }

    /// A domain that may be stopped by request: any but the supervisor.
    fn find_mortal(&self, name: &ReadLease) -> Result<DomainIndex, SupervisionError> {
        match self.find(name)? {
            DomainIndex::SUPERVISOR => Err(SupervisionError::Protected),
            index => Ok(index),
        }
    }

    /// Counts one more thing that a client has planned.
    fn plan(&self, client: u64) -> Result<(), SupervisionError> {
        let mut planned = self.planned.borrow_mut();
        let count = planned.entry(client).or_default();
        if *count == PLANNED_MAX {
            return Err(SupervisionError::TooMuchPlanned);
        }
        *count += 1;
        Ok(())
    }

    /// Does something to a running domain for a client, now or after `delay` microseconds.
    fn break_later(
        &self,
        client: u64,
        index: DomainIndex,
        delay: u64,
        act: impl FnOnce(&Rc<Supervisor>, DomainIndex) -> Result<(), SupervisionError> + 'static,
    ) -> Result<(), SupervisionError> {
        if delay == 0 {
            if self.supervisor.watched_domain(index).instance.is_none() {
                return Err(SupervisionError::NotRunning);
            }
            return act(&self.supervisor, index);
        }
        self.plan(client)?;
        let (supervisor, planned) = (self.supervisor.clone(), self.planned.clone());
        executor::spawn(async move {
            executor::sleep(Duration::from_micros(delay)).await;
            let is_last = planned.borrow_mut().get_mut(&client).is_some_and(|count| {
                *count -= 1;
                *count == 0
            });
            if is_last {
                planned.borrow_mut().remove(&client);
            }
            if act(&supervisor, index).is_err() {
                log::warn!("{}: was not running any more when it was to break", supervisor.name(index));
            }
        });
        Ok(())
    }

    fn describe(&self, index: DomainIndex) -> DomainInfo {
        let supervisor = &self.supervisor;
        heartbeat::note_readiness(supervisor, index);
        let domain = &supervisor.system[index];
        let own = index == DomainIndex::SUPERVISOR;
        let mut watched = supervisor.watched_mut(index);
        // One that runs on another processor at this moment cannot be read: what was read before has to do.
        if let Some(Ok(registers)) = watched.instance.as_ref().map(|instance| instance.thread().registers()) {
            watched.runtime = registers.runtime;
        }
        let resources = supervisor.resources(index);
        let pages = resources.private.pages + resources.control.pages + resources.vault.pages + resources.dma.pages;
        DomainInfo {
            name: Text::new(&domain.name),
            state: if own { DomainState::Running } else { watched.state },
            restarts: watched.restarts(),
            last_cause: watched.last_death.as_ref().map_or(DeathCause::None, |death| death.cause),
            memory: pages * PAGE_SIZE,
            priority: domain.priority,
            level: domain.level,
            processor: watched.processor,
            bound: domain.bound.map(|bound| Bound {
                slice: u64::from(bound.slice_us) * 1_000,
                period: u64::from(bound.period_us) * 1_000,
            }),
            runtime: (!own).then_some(watched.runtime),
            started: watched.started.nanoseconds(),
        }
    }
}

impl SupervisionServer for Requests {
    async fn domain(&self, _: &Caller, index: u32) -> Option<DomainInfo> {
        let index = u16::try_from(index).ok()?;
        (usize::from(index) < self.supervisor.system.domains.len()).then(|| self.describe(DomainIndex(index)))
    }

    async fn find(&self, _: &Caller, name: ReadLease) -> Result<DomainInfo, SupervisionError> {
        Ok(self.describe(Requests::find(self, &name)?))
    }

    async fn kill(&self, caller: &Caller, name: ReadLease, delay: u64) -> Result<(), SupervisionError> {
        let index = self.find_mortal(&name)?;
        self.break_later(caller.badge(), index, delay, |supervisor, index| {
            lifecycle::bury(supervisor, index, Death::new(DeathCause::Killed, "was killed by request"));
            Ok(())
        })
    }

    async fn restart(&self, _: &Caller, name: ReadLease) -> Result<(), SupervisionError> {
        let index = self.find_mortal(&name)?;
        lifecycle::restart(&self.supervisor, index).await
    }

    async fn crash(&self, caller: &Caller, name: ReadLease, how: Crash, delay: u64) -> Result<(), SupervisionError> {
        let index = self.find_mortal(&name)?;
        let bit = match how {
            Crash::Panic => PANIC_BIT,
            Crash::Fault => FAULT_BIT,
            Crash::Hang => HANG_BIT,
        };
        self.break_later(caller.badge(), index, delay, move |supervisor, index| {
            let sent = supervisor.resources(index).notification().notify(1 << bit);
            sent.map_err(|_| SupervisionError::NotRunning)
        })
    }

    async fn capability(
        &self,
        _: &Caller,
        name: ReadLease,
        from: u16,
    ) -> Result<Option<CapabilityInfo>, SupervisionError> {
        let index = self.find(&name)?;
        let watched = self.supervisor.watched_domain(index);
        let domain = match index {
            DomainIndex::SUPERVISOR => Environment::current().and_then(Environment::domain),
            _ => watched.instance.as_ref().map(|instance| instance.domain()),
        };
        let domain = domain.ok_or(SupervisionError::NotRunning)?;
        let length = u16::try_from(self.supervisor.system[index].capabilities).unwrap_or(u16::MAX);
        for slot in from..length {
            if let Ok(Some(found)) = domain.inspect(slot) {
                return Ok(Some(CapabilityInfo {
                    index: slot,
                    kind: found.kind as u8,
                    rights: found.info.rights,
                    badge: found.info.badge,
                }));
            }
        }
        Ok(None)
    }

    async fn last_death(&self, _: &Caller, name: ReadLease, output: WriteLease) -> Result<usize, SupervisionError> {
        let index = self.find(&name)?;
        let story = match &self.supervisor.watched_domain(index).last_death {
            Some(death) => format!("{}\n", death.story),
            None => return Ok(0),
        };
        let count = story.len().min(output.length()?);
        output.write(0, &story.as_bytes()[..count])?;
        Ok(count)
    }

    async fn memory(&self, _: &Caller) -> MemoryUse {
        let inventory = &self.supervisor.inventory;
        let statistics = inventory.system().statistics().unwrap_or_default();
        MemoryUse {
            total: statistics.frames * PAGE_SIZE,
            free: inventory.spare_pages * PAGE_SIZE,
            kernel: statistics.kernel_frames * PAGE_SIZE,
            mapped: statistics.mapped_frames * PAGE_SIZE,
        }
    }

    async fn log(&self, _: &Caller, position: u64, output: WriteLease) -> Result<TextPart, SupervisionError> {
        let room = output.length()?;
        let lines = log_reader::lines(&self.supervisor);
        let mut bytes = 0;
        let mut next = position;
        let mut more = false;
        for line in lines.iter().filter(|line| line.time >= position) {
            if bytes + line.text.len() > room {
                more = true;
                break;
            }
            output.write(bytes, line.text.as_bytes())?;
            bytes += line.text.len();
            next = line.time + 1;
        }
        Ok(TextPart { bytes, next, more })
    }

    async fn uptime(&self, _: &Caller) -> u64 {
        Instant::now().nanoseconds()
    }

    async fn shutdown(&self, _: &Caller) -> Result<(), SupervisionError> {
        log::info!("switching off");
        power::shutdown(&self.supervisor).await
    }

    async fn reboot(&self, _: &Caller) -> Result<(), SupervisionError> {
        log::info!("starting again");
        power::reboot(&self.supervisor).await
    }
}
