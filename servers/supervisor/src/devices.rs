//! Devices that stray: what the IOMMU has refused them arrives here.

use crate::death::Death;
use crate::lifecycle;
use crate::state::Supervisor;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use interfaces::supervision::DeathCause;
use userlib::abi::device::Stray;
use userlib::cap::{Cap, Notification};
use userlib::time::Duration;
use userlib::{executor, log};

/// Bit of the supervisor's notification by which it learns of refused accesses.
const STRAY_BIT: u32 = 53;
/// Refused accesses that are looked at in one go, and the pause after it: who strays without end must not keep the
/// supervisor from its other work.
const AT_ONCE: usize = 8;
const PAUSE: Duration = Duration::from_millis(20);

/// Hears of refused accesses from now on.
pub(crate) fn watch(supervisor: &Rc<Supervisor>, notification: Cap<Notification>) {
    let control = supervisor.inventory.devices();
    if let Err(error) = control.watch(notification, 1 << STRAY_BIT) {
        log::error!("nobody hears of what devices are refused: {error}");
        return;
    }
    let supervisor = supervisor.clone();
    executor::spawn(async move {
        loop {
            executor::events(1 << STRAY_BIT).next().await;
            while !note_some(&supervisor) {
                executor::sleep(PAUSE).await;
            }
        }
    });
}

/// Notes what was refused until now: an instance that is about to be started is not to blame for it.
pub(crate) fn note_past(supervisor: &Rc<Supervisor>) {
    (0..AT_ONCE).any(|_| note_some(supervisor));
}

/// Notes what was refused, as much as may be at once; tells whether that was all.
fn note_some(supervisor: &Rc<Supervisor>) -> bool {
    let control = supervisor.inventory.devices();
    for _ in 0..AT_ONCE {
        match control.take_stray() {
            Ok(Some((stray, lost))) => note(supervisor, &stray, lost),
            Ok(None) | Err(_) => return true,
        }
    }
    false
}

/// A device has strayed: its driver is to blame, whether it has told the device nonsense or the device is broken.
fn note(supervisor: &Rc<Supervisor>, stray: &Stray, lost: u64) {
    let Some((index, device)) = supervisor.driver_of(stray.source) else {
        if supervisor.is_new_stranger(stray.source) {
            log::warn!("a device that nobody drives was refused something, and is told to be silent: {stray}");
            supervisor.bus.silence(stray.source);
        }
        return;
    };
    {
        let mut watched = supervisor.watched_mut(index);
        watched.strays = watched.strays.saturating_add(1).saturating_add(lost);
    }
    // Of the instance that is to blame the first stray access is enough.
    if supervisor.watched_domain(index).instance.is_some() {
        let own = match device.group.bridge() {
            // Nobody else behind it is switched on: it was the driver's own.
            Some(bridge) => format!(" (the bridge {bridge} hides {})", device.function),
            None => String::new(),
        };
        let story = format!("its device strayed: {stray}{own}");
        lifecycle::bury(supervisor, index, Death::new(DeathCause::Strayed(stray.address), story));
    }
}
