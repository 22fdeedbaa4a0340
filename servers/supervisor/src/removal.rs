//! Devices that are taken out while the machine runs, and put back.
//!
//! Whoever drives one ends and waits for it: what it provides stays where it is, and calls and requests wait there. It keeps its
//! device while that is away: another one of the same kind is not taken for it, unless it is put in at the same place.

use crate::death::Death;
use crate::lifecycle;
use crate::state::{Device, Supervisor};
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::RangeInclusive;
use interfaces::supervision::{DeathCause, DomainState};
use manifest::DomainIndex;
use supervisor::Standing;
use userlib::{executor, log};

/// Who has a device on one of these buses, and which.
fn drivers(supervisor: &Supervisor, buses: &RangeInclusive<u8>) -> Vec<(DomainIndex, Device)> {
    let device = |index| Some((index, supervisor.watched_domain(index).device?));
    let drivers = supervisor.watched().filter_map(device);
    drivers.filter(|(_, device)| buses.contains(&device.function.bus())).collect()
}

/// Brings those to rest and to an end who drive devices on these buses, which are about to be taken out. Tells whether all are at
/// an end.
pub(crate) fn release(supervisor: &Rc<Supervisor>, buses: &RangeInclusive<u8>) -> bool {
    let mut all = true;
    for (index, device) in drivers(supervisor, buses) {
        let (state, is_releasing, lives) = {
            let watched = supervisor.watched_domain(index);
            (watched.state, watched.is_releasing, watched.instance.is_some())
        };
        if lives && !is_releasing {
            log::info!("{}: its device {} is to be taken out", supervisor.name(index), device.function);
            supervisor.watched_mut(index).is_releasing = true;
            executor::spawn(bring_to_an_end(supervisor.clone(), index, device));
        } else if !lives && is_to_come_back(state) {
            supervisor.take_unstarted(index);
            await_device(supervisor, index);
        }
        all &= !lives;
    }
    all
}

/// Whether a domain without an instance is about to be started.
fn is_to_come_back(state: DomainState) -> bool {
    matches!(state, DomainState::Starting | DomainState::Restarting | DomainState::BackingOff)
}

/// Ends a driver whose device is about to be taken out, at rest if it comes to rest in time.
async fn bring_to_an_end(supervisor: Rc<Supervisor>, index: DomainIndex, device: Device) {
    let name = supervisor.name(index);
    let built = supervisor.watched_domain(index).built;
    let rests = lifecycle::bring_to_rest(&supervisor, index).await;
    {
        let mut watched = supervisor.watched_mut(index);
        // It died meanwhile, or was started again: who takes the device out asks once more.
        if watched.built != built || watched.instance.is_none() {
            watched.is_releasing = false;
            return;
        }
    }
    if !rests {
        log::warn!("{name}: did not come to rest in time; it is ended as it is");
    }
    lifecycle::take_apart(&supervisor, index);
    let story = format!("was ended because its device {} is taken out", device.function);
    log::info!("{name}: {story}; it is started again when that is back");
    note(&supervisor, index, story);
}

/// Ends those whose devices on these buses are gone, and starts those whose devices are back.
pub(crate) fn look(supervisor: &Rc<Supervisor>, buses: &RangeInclusive<u8>) {
    supervisor.bus.look_again();
    for (index, device) in drivers(supervisor, buses) {
        let Some(wanted) = &supervisor.system[index].device else { continue };
        let is_there = supervisor.bus.has(device.function, &wanted.bus);
        let (state, lives) = {
            let watched = supervisor.watched_domain(index);
            (watched.state, watched.instance.is_some())
        };
        match (state, is_there) {
            (DomainState::Unplugged, true) => start(supervisor, index, device),
            (_, false) if lives => {
                lifecycle::take_apart(supervisor, index);
                lose(supervisor, index, "was ended");
            }
            (state, false) if is_to_come_back(state) => {
                supervisor.take_unstarted(index);
                lose(supervisor, index, "was not started");
            }
            _ => {}
        }
    }
}

/// A domain's device is back.
fn start(supervisor: &Rc<Supervisor>, index: DomainIndex, device: Device) {
    log::info!("{}: its device {} is back", supervisor.name(index), device.function);
    // Others may be behind the same bridge, and it has not been told to be silent.
    let device = Device { group: supervisor.bus.group_of(device.function), ..device };
    supervisor.bus.silence_all(device);
    supervisor.watched_mut(index).device = Some(device);
    if supervisor.watched_domain(index).built == 0 {
        lifecycle::start_first(supervisor, index);
    } else {
        lifecycle::start(supervisor, index);
    }
}

/// A domain's device was gone before anybody asked: `what` it came to by that, or had come to before that was found out.
pub(crate) fn lose(supervisor: &Supervisor, index: DomainIndex, what: &str) {
    let name = supervisor.name(index);
    let place =
        supervisor.watched_domain(index).device.map(|device| format!(" {}", device.function)).unwrap_or_default();
    log::warn!(
        "{name}: {what}: its device{place} is gone, nobody was asked before; it is started again when that is back"
    );
    note(supervisor, index, format!("{what}: its device{place} was gone"));
}

/// Notes that a domain has ended because of its device, and waits for that.
fn note(supervisor: &Supervisor, index: DomainIndex, story: String) {
    supervisor.watched_mut(index).last_death = Some(Death::new(DeathCause::Unplugged, story));
    await_device(supervisor, index);
}

/// A domain of which there is no instance waits for its device. Such an end is no death: it counts against no limit, and nothing
/// is waited for but the device.
pub(crate) fn await_device(supervisor: &Supervisor, index: DomainIndex) {
    {
        let mut watched = supervisor.watched_mut(index);
        watched.state = DomainState::Unplugged;
        watched.waited = 0;
    }
    supervisor.note(index, Standing::Unplugged);
}
