//! Signs of life.

use crate::death::Death;
use crate::lifecycle;
use crate::state::Supervisor;
use alloc::format;
use alloc::rc::Rc;
use interfaces::supervision::{DeathCause, DomainState};
use manifest::DomainIndex;
use userlib::executor;
use userlib::status::{HEARTBEAT_BIT, Phase};
use userlib::time::Duration;

/// How often a domain without heartbeats is looked at, to see whether it has become ready.
const LOOK: Duration = Duration::from_millis(200);
/// How soon a starting domain is looked at.
const START_LOOK: Duration = Duration::from_millis(5);

/// Watches one domain for ever: it is asked for a sign of life, and if none comes within its time it counts as hung.
pub(crate) async fn watch(supervisor: Rc<Supervisor>, index: DomainIndex) {
    let limit = supervisor.system[index].heartbeat_ms;
    loop {
        note_readiness(&supervisor, index);
        if limit == 0 {
            executor::sleep(LOOK).await;
            continue;
        }
        let before = beats(&supervisor, index);
        let used = used_above(&supervisor, index);
        // Asked twice: who has missed one request is not dead.
        for _ in 0..2 {
            if before.is_some() && beats(&supervisor, index) == before {
                // A notification that is gone belongs to no domain that could answer.
                let _ = supervisor.resources(index).notification().notify(1 << HEARTBEAT_BIT);
            }
            wait(&supervisor, index, Duration::from_millis(limit.into()) / 2).await;
        }
        if before.is_some()
            && beats(&supervisor, index) == before
            && !was_kept_from_running(
                used_above(&supervisor, index).saturating_sub(used),
                Duration::from_millis(limit.into()),
            )
        {
            let story = format!("gave no sign of life for {limit} ms");
            lifecycle::bury(&supervisor, index, Death::new(DeathCause::Hang, story));
        }
    }
}

/// Which instance there is, and how many heartbeats it has answered.
fn beats(supervisor: &Supervisor, index: DomainIndex) -> Option<(u32, u64)> {
    let watched = supervisor.watched_domain(index);
    watched.instance.as_ref()?;
    Some((watched.built, watched.status()?.heartbeats()))
}

/// Processor time that domains of higher priorities have used on a domain's processor, in nanoseconds.
fn used_above(supervisor: &Supervisor, index: DomainIndex) -> u64 {
    let (priority, processor) = (supervisor.system[index].priority, supervisor.watched_domain(index).processor);
    let above = supervisor.watched().filter(|other| supervisor.system[*other].priority > priority);
    above
        .filter(|other| supervisor.watched_domain(*other).processor == processor)
        .map(|other| supervisor.watched_mut(other).used())
        .sum()
}

/// Whether domains of higher priorities that have used so many nanoseconds meanwhile may be what kept a domain from answering. One
/// of them has hung, most likely, and is found out by its own silence; this one gets another chance.
fn was_kept_from_running(used_above: u64, limit: Duration) -> bool {
    u128::from(used_above) > limit.as_nanos() * 3 / 4
}

/// Waits, with an eye on whether a starting domain becomes ready meanwhile.
async fn wait(supervisor: &Supervisor, index: DomainIndex, duration: Duration) {
    let mut left = duration;
    while supervisor.watched_domain(index).state == DomainState::Starting && left > START_LOOK {
        executor::sleep(START_LOOK).await;
        left -= START_LOOK;
        note_readiness(supervisor, index);
    }
    executor::sleep(left).await;
}

/// A starting domain that says it is ready is running.
pub(crate) fn note_readiness(supervisor: &Supervisor, index: DomainIndex) {
    let mut watched = supervisor.watched_mut(index);
    if watched.instance.is_none() {
        return;
    }
    let ready = watched.status().is_some_and(|status| status.phase() == Phase::Ready);
    if watched.state == DomainState::Starting && ready {
        watched.state = DomainState::Running;
    }
}
