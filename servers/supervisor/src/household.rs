//! The domains as they are on the machine, for whoever asks.

use crate::death::Death;
use crate::state::Supervisor;
use crate::{code, heartbeat, lifecycle, log_reader, power, removal};
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::RangeInclusive;
use interfaces::crash::CrashRecord;
use interfaces::mutation::Mutation;
use interfaces::supervision::{
    Bound, CapabilityInfo, Confinement, Crash, DeathCause, DomainInfo, DomainState, MemoryUse, SupervisionError,
};
use manifest::{DomainIndex, Grant};
use supervisor::{Household, Line};
use userlib::Environment;
use userlib::abi::PAGE_SIZE;
use userlib::ipc::Text;
use userlib::mishap::{FAULT_BIT, HANG_BIT, PANIC_BIT};

/// Everybody whom the supervisor watches.
#[derive(Clone)]
pub(crate) struct Everybody(pub(crate) Rc<Supervisor>);

impl Everybody {
    /// Whether the manifest grants something to the client with this badge.
    fn holds(&self, client: u64, grant: Grant) -> bool {
        let client = usize::try_from(client).ok().and_then(|client| self.0.system.domains.get(client));
        client.is_some_and(|client| client.holds(grant))
    }
}

impl Household for Everybody {
    fn domains(&self) -> usize {
        self.0.system.domains.len()
    }

    fn named(&self, name: &str) -> Option<DomainIndex> {
        let index = self.0.system.domain_named(name)?;
        lifecycle::begin_now(&self.0, index);
        Some(index)
    }

    fn describe(&self, index: DomainIndex) -> DomainInfo {
        let supervisor = &self.0;
        heartbeat::note_readiness(supervisor, index);
        let domain = &supervisor.system[index];
        let own = index == DomainIndex::SUPERVISOR;
        let mut watched = supervisor.watched_mut(index);
        watched.used();
        let resources = supervisor.resources(index);
        let own_pages = resources.private.pages + resources.control.pages + resources.vault.pages;
        let pages = own_pages + resources.dma.pages + resources.guest.pages;
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
            strays: watched.strays,
        }
    }

    fn is_running(&self, index: DomainIndex) -> bool {
        index == DomainIndex::SUPERVISOR || self.0.watched_domain(index).instance.is_some()
    }

    fn kill(&self, index: DomainIndex) {
        lifecycle::bury(&self.0, index, Death::new(DeathCause::Killed, "was killed by request"));
    }

    fn crash(&self, index: DomainIndex, how: Crash) -> Result<(), SupervisionError> {
        let bit = match how {
            Crash::Panic => PANIC_BIT,
            Crash::Fault => FAULT_BIT,
            Crash::Hang => HANG_BIT,
        };
        let sent = self.0.resources(index).notification().notify(1 << bit);
        sent.map_err(|_| SupervisionError::NotRunning)
    }

    async fn restart(&self, index: DomainIndex) -> Result<(), SupervisionError> {
        lifecycle::restart(&self.0, index).await
    }

    fn capability(&self, index: DomainIndex, from: u16) -> Result<Option<CapabilityInfo>, SupervisionError> {
        let watched = self.0.watched_domain(index);
        let domain = match index {
            DomainIndex::SUPERVISOR => Environment::current().and_then(Environment::domain),
            _ => watched.instance.as_ref().map(|instance| instance.domain()),
        };
        let domain = domain.ok_or(SupervisionError::NotRunning)?;
        let length = u16::try_from(self.0.system[index].capabilities).unwrap_or(u16::MAX);
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

    fn may_debug(&self, client: u64) -> bool {
        self.holds(client, Grant::Debug)
    }

    fn holds_bus(&self, client: u64) -> bool {
        self.holds(client, Grant::Ecam)
    }

    fn release_devices(&self, buses: RangeInclusive<u8>) -> bool {
        removal::release(&self.0, &buses)
    }

    fn look_for_devices(&self, buses: RangeInclusive<u8>) {
        removal::look(&self.0, &buses);
    }

    fn mutate(&self, index: DomainIndex, list: Vec<Mutation>) -> Result<(), SupervisionError> {
        code::mutate(&self.0, index, list)
    }

    fn mutated(&self, index: DomainIndex) -> Vec<u16> {
        self.0.watched_domain(index).mutations.orders()
    }

    fn renew(&self, index: DomainIndex) -> Result<(), SupervisionError> {
        lifecycle::renew(&self.0, index)
    }

    fn last_death(&self, index: DomainIndex) -> Option<String> {
        self.0.watched_domain(index).last_death.as_ref().map(|death| death.story.clone())
    }

    fn crash_record(&self, number: u64) -> Option<CrashRecord> {
        self.0.crashes.borrow().from(number).cloned()
    }

    fn confinement(&self) -> Confinement {
        self.0.confinement()
    }

    fn memory(&self) -> MemoryUse {
        let inventory = &self.0.inventory;
        let statistics = inventory.system().statistics().unwrap_or_default();
        MemoryUse {
            total: statistics.frames * PAGE_SIZE,
            free: inventory.spare_pages * PAGE_SIZE,
            kernel: statistics.kernel_frames * PAGE_SIZE,
            mapped: statistics.mapped_frames * PAGE_SIZE,
        }
    }

    fn log(&self) -> Vec<Line> {
        log_reader::lines(&self.0)
    }

    async fn shutdown(&self) -> Result<(), SupervisionError> {
        power::shutdown(&self.0).await
    }

    async fn reboot(&self) -> Result<(), SupervisionError> {
        power::reboot(&self.0).await
    }
}
