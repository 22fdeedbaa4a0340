//! Switching off: everybody comes to rest first, clients before their servers.

use crate::lifecycle;
use crate::state::Supervisor;
use alloc::vec::Vec;
use interfaces::supervision::SupervisionError;
use manifest::{DomainIndex, Kind};
use spawn::PowerOff;
use userlib::cap::PortWidth;
use userlib::time::Duration;
use userlib::{executor, log};

/// How long the machine may take to obey before that counts as a failure.
const LAST_MOMENT: Duration = Duration::from_secs(3);

/// Brings every domain to rest, from the top down. Apps are left alone: one of them asked for this and waits.
async fn rest_all(supervisor: &Supervisor) {
    supervisor.start_nobody_else();
    let mut order: Vec<DomainIndex> = supervisor.watched().collect();
    order.sort_by_key(|index| core::cmp::Reverse(supervisor.system[*index].level));
    for index in order {
        if supervisor.system[index].kind == Kind::App {
            continue;
        }
        if !lifecycle::bring_to_rest(supervisor, index).await {
            log::error!("{}: did not come to rest; what it had not written is lost", supervisor.name(index));
        }
    }
}

/// Switches the machine off.
///
/// # Errors
/// `Unsupported` if the firmware does not say how.
pub(crate) async fn shutdown(supervisor: &Supervisor) -> Result<(), SupervisionError> {
    let Some(PowerOff { control, value }) = supervisor.inventory.power_off else {
        return Err(SupervisionError::Unsupported);
    };
    rest_all(supervisor).await;
    let written = control.cap().write(control.first, PortWidth::Word, value.into());
    if let Err(error) = written {
        log::error!("the machine cannot be switched off: {error}");
    }
    executor::sleep(LAST_MOMENT).await;
    Err(SupervisionError::Unsupported)
}

/// Starts the machine again.
///
/// # Errors
/// `Unsupported` if the firmware does not say how.
pub(crate) async fn reboot(supervisor: &Supervisor) -> Result<(), SupervisionError> {
    let Some(PowerOff { control, value }) = supervisor.inventory.reset else {
        return Err(SupervisionError::Unsupported);
    };
    rest_all(supervisor).await;
    let written = control.cap().write(control.first, PortWidth::Byte, value.into());
    if let Err(error) = written {
        log::error!("the machine cannot be reset: {error}");
    }
    executor::sleep(LAST_MOMENT).await;
    Err(SupervisionError::Unsupported)
}
