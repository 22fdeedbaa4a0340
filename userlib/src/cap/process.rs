//! Accounts, domains, threads and budgets.

use super::{
    Account, Budget, Cap, CapInfo, Domain, Endpoint, MapFailure, Memory, Notification, Owned, Space, Thread, created,
};
use abi::rights::{Kind, RawRights};
use abi::syscall::{AccountLimits, Charge, Registers};
use abi::{Error, Handle, Syscall};
use core::time::Duration;

/// Limit and use of one kind of object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct QuotaUse {
    /// The most there may be.
    pub limit: u32,
    /// How many there are; what was given to sub-accounts counts as used.
    pub used: u32,
}

/// One occupied slot of a domain's capability table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapDescription {
    /// Kind of the object.
    pub kind: Kind,
    /// Rights and badge.
    pub info: CapInfo<RawRights>,
    /// The handle that names the slot in its own domain.
    pub handle: Handle,
}

impl Cap<Account> {
    /// Creates a sub-account; the limits are taken out of this one.
    ///
    /// # Errors
    /// `QuotaExceeded` if this account has less left.
    pub fn create_account(self, limits: &AccountLimits) -> Result<Owned<Account>, Error> {
        let arguments = [limits.as_ptr() as u64, 0, 0, 0, 0];
        // SAFETY: the kernel only reads the limits.
        created(unsafe { self.invoke_with_memory(Syscall::AccountCreate, arguments) }.value())
    }

    /// Limits and use, in the order of [`Charge`].
    ///
    /// # Errors
    /// `MissingRight` without `INSPECT`.
    pub fn quotas(self) -> Result<[QuotaUse; Charge::COUNT], Error> {
        let mut quotas = [QuotaUse::default(); Charge::COUNT];
        let arguments = [quotas.as_mut_ptr() as u64, Charge::COUNT as u64, 0, 0, 0];
        // SAFETY: the kernel writes `COUNT` pairs of u32, which is what `quotas` is.
        unsafe { self.invoke_with_memory(Syscall::AccountInfo, arguments) }.value()?;
        Ok(quotas)
    }

    /// Creates an endpoint for an interface, whose server has `level`; while it serves, it runs at least at `ceiling`.
    ///
    /// # Errors
    /// `QuotaExceeded`, `TableFull`, `MissingRight`.
    pub fn create_endpoint(self, interface: u64, level: u8, ceiling: u8) -> Result<Owned<Endpoint>, Error> {
        let arguments = [interface, level.into(), ceiling.into(), 0, 0];
        created(self.invoke(Syscall::EndpointCreate, arguments))
    }

    /// Creates a notification.
    ///
    /// # Errors
    /// `QuotaExceeded`, `TableFull`, `MissingRight`.
    pub fn create_notification(self) -> Result<Owned<Notification>, Error> {
        created(self.invoke(Syscall::NotificationCreate, [0; 5]))
    }

    /// Creates a budget on a processor, counted from 0, for one thread. A slice as long as its period is a turn among
    /// equals; a shorter one is the most that the budget gives in any period. Both are 10 µs to an hour.
    ///
    /// # Errors
    /// `QuotaExceeded`, `TableFull`, `MissingRight`; `BadArgument` also if the machine runs nothing on that processor.
    pub fn create_budget(
        self,
        priority: u8,
        slice: Duration,
        period: Duration,
        processor: u8,
    ) -> Result<Owned<Budget>, Error> {
        let nanoseconds = |d: Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        let arguments = [priority.into(), nanoseconds(slice), nanoseconds(period), processor.into(), 0];
        created(self.invoke(Syscall::BudgetCreate, arguments))
    }

    /// Creates a domain. `table_length` is a power of two from 16 to 1024. Its faults go to `fault_endpoint`, if it is
    /// given, under the badge beside it.
    ///
    /// # Errors
    /// `QuotaExceeded`, `TableFull`, `MissingRight`, `BadArgument`.
    pub fn create_domain(
        self,
        space: Cap<Space>,
        level: u8,
        table_length: u16,
        faults: Option<(Cap<Endpoint>, u64)>,
    ) -> Result<Owned<Domain>, Error> {
        let (endpoint, badge) = faults.map_or((Handle::NONE, 0), |(cap, badge)| (cap.handle(), badge));
        let arguments = [space.handle().0, level.into(), table_length.into(), endpoint.0, badge];
        created(self.invoke(Syscall::DomainCreate, arguments))
    }

    /// Creates a stopped thread in a domain.
    ///
    /// # Errors
    /// `QuotaExceeded`, `TableFull`, `MissingRight`; `InUse` if another thread has the budget.
    pub fn create_thread(self, domain: Cap<Domain>, budget: Cap<Budget>) -> Result<Owned<Thread>, Error> {
        let arguments = [domain.handle().0, budget.handle().0, 0, 0, 0];
        created(self.invoke(Syscall::ThreadCreate, arguments))
    }
}

impl Cap<Budget> {
    /// Moves the budget, and with it the thread that runs on it, to another processor, counted from 0.
    ///
    /// # Errors
    /// `MissingRight` without `MOVE`; `BadArgument` if the machine runs nothing on that processor.
    pub fn move_to(self, processor: u8) -> Result<(), Error> {
        self.invoke(Syscall::BudgetMove, [processor.into(), 0, 0, 0, 0]).map(drop)
    }
}

impl Cap<Domain> {
    /// What slot `index` of the domain's capability table holds.
    ///
    /// # Errors
    /// `BadArgument` behind the end of the table; `MissingRight` without `INSPECT`.
    pub fn inspect(self, index: u16) -> Result<Option<CapDescription>, Error> {
        // SAFETY: `CapInspect` touches no memory.
        let results = unsafe { self.invoke_with_memory(Syscall::CapInspect, [index.into(), 0, 0, 0, 0]) };
        let number = results.value()?;
        Ok(Kind::from_number(number as u8).map(|kind| CapDescription {
            kind,
            info: CapInfo { rights: results.rdi as RawRights, badge: results.rsi },
            handle: Handle(results.rdx),
        }))
    }
}

impl Cap<Thread> {
    /// Gives the thread its message buffer: page `page` of `memory`. `address` is where the thread's space maps it.
    ///
    /// # Errors
    /// `NotSoleOwner`, `MissingRight`, `BadArgument`.
    pub fn set_buffer(self, memory: Cap<Memory>, page: u64, address: u64) -> Result<(), Error> {
        let arguments = [memory.handle().0, page, address, 0, 0];
        self.invoke(Syscall::ThreadBuffer, arguments).map(drop)
    }

    /// Binds the notification whose bits the thread's `Receive` also returns; `None` unbinds.
    ///
    /// # Errors
    /// `InUse` if another thread has it; `MissingRight`.
    pub fn bind(self, notification: Option<Cap<Notification>>) -> Result<(), Error> {
        let handle = notification.map_or(Handle::NONE, Cap::handle);
        self.invoke(Syscall::ThreadBind, [handle.0, 0, 0, 0, 0]).map(drop)
    }

    /// Starts the stopped thread at `instruction` with the stack pointer `stack` and `argument` in `rdi`.
    ///
    /// # Errors
    /// `WrongState` if it is not stopped; `BadAddress`.
    ///
    /// # Safety
    /// If the thread belongs to the caller's own domain, what runs at `instruction` keeps the caller's memory sound.
    /// What it does to another domain is outside of what Rust promises here.
    pub unsafe fn start(self, instruction: u64, stack: u64, argument: u64) -> Result<(), Error> {
        let arguments = [instruction, stack, argument, 0, 0];
        // SAFETY: passed on to the caller.
        unsafe { self.invoke_with_memory(Syscall::ThreadStart, arguments) }.value().map(drop)
    }

    /// Gives the stopped thread a virtual processor of a guest.
    ///
    /// # Errors
    /// [`MapFailure::NeedTables`] if the guest's space needs more pages; `WrongState`, `InUse`, `MissingRight`.
    pub fn create_vcpu(self, guest: Cap<Space>) -> Result<(), MapFailure> {
        // SAFETY: no memory of the caller's is touched.
        let results = unsafe { self.invoke_with_memory(Syscall::VcpuCreate, [guest.handle().0, 0, 0, 0, 0]) };
        match results.value() {
            Ok(_) => Ok(()),
            Err(Error::NeedTables) => Err(MapFailure::NeedTables(results.rdi)),
            Err(error) => Err(MapFailure::Refused(error)),
        }
    }

    /// Takes the thread out of whatever it does; a call of it that is pending ends.
    ///
    /// # Errors
    /// `MissingRight`.
    pub fn stop(self) -> Result<(), Error> {
        self.invoke(Syscall::ThreadStop, [0; 5]).map(drop)
    }

    /// The thread's registers and the processor time it has used.
    ///
    /// # Errors
    /// `WrongState` if it runs at this moment, as the calling thread does; `MissingRight` without `INSPECT`.
    pub fn registers(self) -> Result<Registers, Error> {
        let mut registers = Registers::default();
        let address = core::ptr::from_mut(&mut registers) as u64;
        // SAFETY: the kernel writes one `Registers` there.
        unsafe { self.invoke_with_memory(Syscall::ThreadRead, [address, 0, 0, 0, 0]) }.value()?;
        Ok(registers)
    }
}
