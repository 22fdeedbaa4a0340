//! With which errors each system call can be refused, or can end.

use crate::error::Error;
use crate::syscall::Syscall;

/// What every call can be refused with: the caller's domain is being taken apart, or another processor has stopped the
/// caller while it was on its way in.
const EVERY: &[Error] = &[Error::StaleHandle, Error::WrongState];
/// What calls that take capabilities can be refused with.
const CAPABILITIES: &[Error] = &[Error::BadHandle, Error::StaleHandle, Error::WrongKind, Error::MissingRight];
/// What calls that create objects can be refused with besides.
const CREATION: &[Error] = &[Error::QuotaExceeded, Error::KernelTableFull, Error::TableFull];

/// The common reasons for which a call can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    /// None but those of every call.
    Plain,
    /// Those of calls that take capabilities.
    Capability,
    /// Those, and those of calls that create objects.
    Creation,
}

macro_rules! refusals {
    ($($call:ident: $group:ident $($error:ident)*;)*) => {
        impl Syscall {
            /// The common reasons, and the call's own.
            const fn refusals(self) -> (Group, &'static [Error]) {
                match self { $(Syscall::$call => (Group::$group, &[$(Error::$error),*]),)* }
            }
        }
    };
}

refusals! {
    Call: Capability BadAddress BadMessage NoBuffer WrongInterface WrongDirection WouldBlock TimedOut PeerDied ProtocolFault EndpointGone TableFull;
    Receive: Capability BadArgument WrongDirection NoBuffer WouldBlock TimedOut EndpointGone;
    Reply: Plain BadMessage NoBuffer BadHandle CallerGone;
    ReplyReceive: Capability BadArgument BadMessage NoBuffer WrongDirection WouldBlock TimedOut EndpointGone;
    ReplyFault: Plain CallerGone;
    Notify: Capability BadArgument;
    Wait: Capability WouldBlock TimedOut InUse;
    LeaseRead: Plain CallerGone BadLease BadAddress;
    LeaseWrite: Plain CallerGone BadLease BadAddress;
    LeaseInfo: Plain CallerGone BadLease;
    Forward: Capability CallerGone WrongInterface WrongDirection;
    CapCopy: Capability BadArgument TableFull;
    CapGrant: Capability BadArgument TableFull;
    CapMove: Capability NotSoleOwner TableFull BadArgument;
    CapDelete: Capability;
    CapRevoke: Capability;
    CapInfo: Capability;
    CapInspect: Capability BadArgument;
    AccountCreate: Creation BadAddress BadArgument;
    AccountInfo: Capability BadAddress BadArgument;
    EndpointCreate: Creation BadArgument;
    NotificationCreate: Creation;
    BudgetCreate: Creation BadArgument;
    SpaceCreate: Creation BadArgument KernelPage NotSoleOwner;
    GuestSpaceCreate: Creation BadArgument KernelPage NotSoleOwner NoHardware;
    DeviceSpaceCreate: Creation BadArgument KernelPage NotSoleOwner InUse NoHardware;
    DomainCreate: Creation BadArgument WrongInterface;
    ThreadCreate: Creation InUse BadArgument;
    InterruptCreate: Creation BadArgument InUse NoHardware;
    EndpointBind: Capability BadArgument;
    BudgetMove: Capability BadArgument;
    EndpointWatch: Capability BadArgument;
    Destroy: Capability;
    MemorySplit: Capability BadArgument TableFull;
    MemoryInfo: Capability;
    Map: Capability BadArgument BadAddress AlreadyMapped NeedTables KernelPage QuotaExceeded KernelTableFull;
    Unmap: Capability;
    SpaceDonate: Capability BadArgument KernelPage NotSoleOwner;
    ThreadBuffer: Capability BadArgument BadAddress KernelPage InUse;
    ThreadBind: Capability InUse;
    ThreadStart: Capability BadAddress;
    ThreadStop: Capability;
    ThreadRead: Capability BadAddress;
    ThreadLocal: Plain BadAddress;
    ThreadExit: Plain;
    ThreadPanic: Plain;
    Yield: Plain;
    VcpuCreate: Capability WrongState InUse NeedTables;
    VcpuRun: Plain WrongState;
    InterruptBind: Capability BadArgument;
    InterruptAck: Capability;
    InterruptMessage: Capability;
    InterruptMask: Capability;
    PortsSplit: Capability BadArgument TableFull;
    PortIn: Capability BadArgument;
    PortOut: Capability BadArgument;
    DeviceRoute: Capability BadArgument NoHardware KernelTableFull;
    DeviceWatch: Capability BadArgument;
    DeviceStray: Capability WouldBlock;
    DeviceInfo: Capability;
    Clock: Plain;
    LogRead: Capability BadAddress;
    Statistics: Capability BadAddress;
    EntryTimes: Capability BadAddress;
}

impl Syscall {
    /// Every error with which the call can be refused or can end, in the order of their codes.
    pub fn errors(self) -> impl Iterator<Item = Error> {
        Error::ALL.iter().copied().filter(move |error| self.can_fail_with(*error))
    }

    /// Whether the call can be refused or can end with this error.
    pub fn can_fail_with(self, error: Error) -> bool {
        let (group, own) = self.refusals();
        let common = match group {
            Group::Plain => false,
            Group::Capability => CAPABILITIES.contains(&error),
            Group::Creation => CAPABILITIES.contains(&error) || CREATION.contains(&error),
        };
        common || own.contains(&error) || EVERY.contains(&error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_without_capabilities_are_not_refused_for_them() {
        assert!(Syscall::Yield.errors().eq([Error::StaleHandle, Error::WrongState]));
        assert!(Syscall::CapInfo.can_fail_with(Error::BadHandle));
        assert!(Syscall::EndpointCreate.can_fail_with(Error::QuotaExceeded));
        assert!(!Syscall::CapInfo.can_fail_with(Error::QuotaExceeded));
        assert!(!Syscall::Yield.can_fail_with(Error::UnknownSyscall));
    }
}
