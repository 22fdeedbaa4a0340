//! Endpoints and notifications. (Calls and replies are in [`crate::ipc`].)

use super::{Cap, Endpoint, Notification};
use crate::time::Deadline;
use abi::{Error, Syscall};

impl Cap<Endpoint> {
    /// From now on a call that finds nobody receiving also sets `bits` of a notification.
    ///
    /// # Errors
    /// `MissingRight` without `RECEIVE` here or `NOTIFY` there.
    pub fn bind(self, notification: Cap<Notification>, bits: u64) -> Result<(), Error> {
        self.invoke(Syscall::EndpointBind, [notification.handle().0, bits, 0, 0, 0]).map(drop)
    }

    /// From now on `bits` of a notification are set whenever a call that was received at the endpoint ends without an answer:
    /// its deadline has passed, or its caller is stopped or dead.
    ///
    /// # Errors
    /// `MissingRight` without `RECEIVE` here or `NOTIFY` there.
    pub fn watch(self, notification: Cap<Notification>, bits: u64) -> Result<(), Error> {
        self.invoke(Syscall::EndpointWatch, [notification.handle().0, bits, 0, 0, 0]).map(drop)
    }
}

impl Cap<Notification> {
    /// Sets bits. A badged capability sets only bits of its badge.
    ///
    /// # Errors
    /// `MissingRight` without `NOTIFY`.
    pub fn notify(self, bits: u64) -> Result<(), Error> {
        self.invoke(Syscall::Notify, [bits, 0, 0, 0, 0]).map(drop)
    }

    /// Waits until bits are set, clears and returns them. Blocks the thread: a task on the executor uses
    /// [`crate::executor::bits`] instead. Bits arrive in the register that also tells errors, so a waiter that is sent all
    /// of the bits 12 to 63 at once would take them for one; give no notification that many meanings.
    ///
    /// # Errors
    /// `TimedOut` at the deadline, `WouldBlock` with [`Deadline::NOW`]; `MissingRight` without `WAIT`.
    pub fn wait(self, deadline: Deadline) -> Result<u64, Error> {
        self.invoke(Syscall::Wait, [deadline.to_register(), 0, 0, 0, 0])
    }
}
