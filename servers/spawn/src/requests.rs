//! What a domain is asked to do by its notification, which outlives its instances.

use crate::error::BuildError;
use abi::Error;
use userlib::cap::{Cap, Notification};
use userlib::mishap;
use userlib::status::SHUTDOWN_BIT;
use userlib::time::Deadline;

/// To come to rest, and to break: meant for the instance that there was.
const REQUESTS: u64 = 1 << SHUTDOWN_BIT | mishap::BITS;

/// Takes back what the last instance was asked to do and has not done, because it looped, say: the next one would come to rest
/// as soon as it is there, or break. What others have told stays: it is about rings and clients, which outlive it.
///
/// # Errors
/// The kernel's.
pub(crate) fn take_back(notification: Cap<Notification>) -> Result<(), BuildError> {
    let refused = |error| BuildError::Refused { step: "take back what the last one was asked", error };
    match notification.wait(Deadline::NOW).map(|bits| bits & !REQUESTS) {
        Ok(0) | Err(Error::WouldBlock) => Ok(()),
        Ok(others) => notification.notify(others).map_err(refused),
        Err(error) => Err(refused(error)),
    }
}
