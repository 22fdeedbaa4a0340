//! Taking over from a supervisor that has died: the domains live, and go on.

use crate::death::Death;
use crate::lifecycle::{Found, Remains};
use crate::state::Supervisor;
use crate::{heartbeat, lifecycle, removal};
use alloc::rc::Rc;
use interfaces::supervision::{DeathCause, DomainState};
use manifest::DomainIndex;
use spawn::Instance;
use supervisor::{Adoption, Notes};
use userlib::abi::device::SourceId;
use userlib::time::Instant;
use userlib::{executor, log};

/// Notes what the last supervisor has died of, if there was one, and keeps what it had to say.
pub(crate) fn recall_predecessor(supervisor: &Supervisor, instance: u32) {
    let Some(ledger) = supervisor.ledger.filter(|_| instance > 0) else { return };
    let words = ledger.last_words();
    if let (Some(words), Some(history)) = (words, ledger.history(DomainIndex::SUPERVISOR)) {
        for record in words.records(0).0 {
            history.append(record.time, record.level, format_args!("{}", record.text));
        }
    }
    let death = match ledger.obituary() {
        Some(obituary) => match obituary.label {
            Some(label) => Death::of_fault(label, &obituary.words, words.and_then(|words| words.panic_message())),
            None => Death::new(DeathCause::Hang, "gave no sign of life"),
        },
        None => Death::new(DeathCause::Orphaned, "died of something that was not noted"),
    };
    log::warn!("the supervisor before this one {}; its domains go on", death.story);
    let mut own = supervisor.watched_mut(DomainIndex::SUPERVISOR);
    own.built = instance.saturating_add(1);
    own.last_death = Some(death);
}

/// Takes a domain over, if the last supervisor has noted something of it. Tells whether it had.
pub(crate) fn adopt(supervisor: &Rc<Supervisor>, index: DomainIndex) -> bool {
    let Some((custody, notes)) = supervisor.ledger.and_then(|ledger| ledger.read::<Notes>(index)) else { return false };
    let kept = supervisor.inventory.legacy.get(index.position()).copied().flatten();
    let instance = kept.map(|kept| Instance::take_over(&kept, notes.processor));
    let adoption = notes.standing.adoption(instance.as_ref().is_some_and(Instance::is_whole));
    let lives = matches!(adoption, Adoption::GoOn | Adoption::Restart);
    {
        let mut watched = supervisor.watched_mut(index);
        watched.custody = custody.filter(|_| instance.is_some());
        watched.instance = instance;
        watched.built = notes.built;
        watched.processor = notes.processor;
        watched.started = Instant(notes.started);
        watched.deaths = notes.deaths;
        watched.waited = notes.waited;
        watched.used_before = notes.used_before;
        watched.strays = notes.strays;
        watched.last_death = notes.last_death.map(|(cause, story)| Death::new(cause, story));
        watched.state = if lives { DomainState::Starting } else { DomainState::Restarting };
    }
    // It was started before, so that it knows its device, which may be away. That of one that lives must not be disturbed.
    let found = Found { known: notes.function.map(SourceId), is_driven: lives };
    if !lifecycle::find_device(supervisor, index, found) {
        return true;
    }
    if !lives && lifecycle::take_apart(supervisor, index) == Remains::Nothing {
        supervisor.tell_servers(index);
    }
    match adoption {
        Adoption::GoOn => heartbeat::note_readiness(supervisor, index),
        Adoption::Restart => {
            let supervisor = supervisor.clone();
            executor::spawn(async move {
                if let Err(error) = lifecycle::restart(&supervisor, index).await {
                    log::error!("{}: cannot be restarted as had been asked: {error}", supervisor.name(index));
                }
            });
        }
        Adoption::StartAnew => lifecycle::start(supervisor, index),
        Adoption::GoOnBurying => lifecycle::go_on(supervisor, index),
        Adoption::Bury => {
            let death = Death::new(DeathCause::Orphaned, "went down with its supervisor");
            lifecycle::count(supervisor, index, death);
            lifecycle::go_on(supervisor, index);
        }
        Adoption::Wait(moment) => lifecycle::start_at(supervisor, index, Instant(moment)),
        Adoption::AwaitDevice => removal::await_device(supervisor, index),
        Adoption::LeaveAlone => supervisor.watched_mut(index).state = DomainState::GivenUp,
    }
    executor::spawn(heartbeat::watch(supervisor.clone(), index));
    true
}
