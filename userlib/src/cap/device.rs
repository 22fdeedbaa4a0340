//! What devices reach, interrupts, I/O ports, and the kernel's log and statistics.

use super::{
    Account, Cap, DeviceControl, Interrupt, InterruptControl, Memory, Notification, Owned, Ports, Space, System,
    created,
};
use abi::device::{SourceId, SourceRange, Stray};
use abi::rights::PortsRights;
use abi::syscall::{InterruptSource, Statistics};
use abi::{Error, Syscall};

/// Most bytes of the kernel's log that one call reads.
pub const LOG_READ_MAX: usize = 4096;

impl Cap<InterruptControl> {
    /// Creates an interrupt object for a line, or for a new message-signalled vector.
    ///
    /// # Errors
    /// `InUse` if the line is taken, `NoHardware` if there is none or no vector is left.
    pub fn create(self, source: InterruptSource) -> Result<Owned<Interrupt>, Error> {
        created(self.invoke(Syscall::InterruptCreate, [source.to_register(), 0, 0, 0, 0]))
    }
}

/// What the machine's IOMMU can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Iommu {
    /// Of the addresses that devices use, so many bits count.
    pub address_bits: u32,
    /// It knows which device raises an interrupt.
    pub remaps_interrupts: bool,
    /// It tells what it has refused a device; otherwise nobody who watches hears of anything.
    pub reports_refusals: bool,
}

impl Cap<DeviceControl> {
    /// Makes page `page` of a memory, which nobody else may have, the root table of a new space for devices: what is mapped
    /// into it is all that they see.
    ///
    /// # Errors
    /// `NoHardware` without an IOMMU, `KernelTableFull` if the IOMMU has no room for what they see, `InUse` if one of them
    /// has a space; as [`Cap::<Memory>::create_space`].
    pub fn create_space(
        self,
        account: Cap<Account>,
        memory: Cap<Memory>,
        page: u64,
        sources: SourceRange,
    ) -> Result<Owned<Space>, Error> {
        let arguments = [memory.handle().0, page, self.handle().0, sources.to_register(), 0];
        created(account.invoke(Syscall::DeviceSpaceCreate, arguments))
    }

    /// Lets one function, and no other, raise a message-signalled interrupt.
    ///
    /// # Errors
    /// `NoHardware` where interrupts are not remapped, `KernelTableFull` if the IOMMU has no room for those of one more
    /// function.
    pub fn route(self, interrupt: Cap<Interrupt>, source: SourceId) -> Result<(), Error> {
        self.invoke(Syscall::DeviceRoute, [interrupt.handle().0, source.0.into(), 0, 0, 0]).map(drop)
    }

    /// Has `bits` of a notification set whenever a device was refused something.
    ///
    /// # Errors
    /// `MissingRight`.
    pub fn watch(self, notification: Cap<Notification>, bits: u64) -> Result<(), Error> {
        self.invoke(Syscall::DeviceWatch, [notification.handle().0, bits, 0, 0, 0]).map(drop)
    }

    /// The earliest refused access that was not told yet, and how many after it were lost. `None` if there is none.
    ///
    /// # Errors
    /// `MissingRight`.
    pub fn take_stray(self) -> Result<Option<(Stray, u64)>, Error> {
        // SAFETY: `DeviceStray` touches no memory.
        let results = unsafe { self.invoke_with_memory(Syscall::DeviceStray, [0; 5]) };
        match results.value() {
            Ok(_) => Ok(Stray::from_registers(results.rsi, results.rdi).map(|stray| (stray, results.rdx))),
            Err(Error::WouldBlock) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The machine's IOMMU, if it has one.
    ///
    /// # Errors
    /// `StaleHandle`.
    pub fn iommu(self) -> Result<Option<Iommu>, Error> {
        // SAFETY: `DeviceInfo` touches no memory.
        let results = unsafe { self.invoke_with_memory(Syscall::DeviceInfo, [0; 5]) };
        let address_bits = results.value()? as u32;
        let (remaps_interrupts, reports_refusals) = (results.rdi != 0, results.rsi != 0);
        Ok((address_bits > 0).then_some(Iommu { address_bits, remaps_interrupts, reports_refusals }))
    }
}

impl Cap<Interrupt> {
    /// Makes the interrupt set `bits` of a notification. It starts masked: [`Cap::<Interrupt>::acknowledge`] lets the
    /// first one come.
    ///
    /// # Errors
    /// `MissingRight`.
    pub fn bind(self, notification: Cap<Notification>, bits: u64) -> Result<(), Error> {
        let arguments = [notification.handle().0, bits, 0, 0, 0];
        self.invoke(Syscall::InterruptBind, arguments).map(drop)
    }

    /// Done with the last one: the next may come.
    ///
    /// # Errors
    /// `MissingRight`.
    pub fn acknowledge(self) -> Result<(), Error> {
        self.invoke(Syscall::InterruptAck, [0; 5]).map(drop)
    }

    /// Holds the interrupt back until the next acknowledgement.
    ///
    /// # Errors
    /// `MissingRight`.
    pub fn mask(self) -> Result<(), Error> {
        self.invoke(Syscall::InterruptMask, [0; 5]).map(drop)
    }

    /// The address and the data of the write that raises a message-signalled interrupt.
    ///
    /// # Errors
    /// `WrongState` if it is a line; `MissingRight` without `MESSAGE`.
    pub fn message(self) -> Result<(u64, u32), Error> {
        // SAFETY: `InterruptMessage` touches no memory.
        let results = unsafe { self.invoke_with_memory(Syscall::InterruptMessage, [0; 5]) };
        Ok((results.value()?, results.rdi as u32))
    }
}

/// Width of an access to an I/O port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PortWidth {
    /// 8 bits.
    Byte = 1,
    /// 16 bits.
    Word = 2,
    /// 32 bits.
    Long = 4,
}

impl Cap<Ports> {
    /// A capability for the ports `first .. first + count` (absolute numbers).
    ///
    /// # Errors
    /// `BadArgument` if they are not all in the range; `MissingRight`.
    pub fn split(self, first: u16, count: u32, rights: PortsRights) -> Result<Owned<Ports>, Error> {
        let arguments = [first.into(), count.into(), rights.bits().into(), 0, 0];
        created(self.invoke(Syscall::PortsSplit, arguments))
    }

    /// Reads a port (absolute number).
    ///
    /// # Errors
    /// `BadArgument` outside of the range; `MissingRight` without `IN`.
    #[inline]
    pub fn read(self, port: u16, width: PortWidth) -> Result<u32, Error> {
        self.invoke(Syscall::PortIn, [port.into(), width as u64, 0, 0, 0]).map(|value| value as u32)
    }

    /// Writes a port (absolute number).
    ///
    /// # Errors
    /// `BadArgument` outside of the range; `MissingRight` without `OUT`.
    #[inline]
    pub fn write(self, port: u16, width: PortWidth, value: u32) -> Result<(), Error> {
        let arguments = [port.into(), width as u64, value.into(), 0, 0];
        self.invoke(Syscall::PortOut, arguments).map(drop)
    }
}

impl Cap<System> {
    /// Reads the kernel's log from `position` on, at most [`LOG_READ_MAX`] bytes: how many bytes were read, and the
    /// position behind them. If the log has gone over the position, reading goes on at the oldest byte that is left.
    ///
    /// # Errors
    /// `MissingRight` without `LOG`.
    pub fn read_log(self, bytes: &mut [u8], position: u64) -> Result<(usize, u64), Error> {
        let length = bytes.len().min(LOG_READ_MAX);
        let arguments = [bytes.as_mut_ptr() as u64, length as u64, position, 0, 0];
        // SAFETY: the kernel writes at most `length` bytes, all of them in `bytes`.
        let results = unsafe { self.invoke_with_memory(Syscall::LogRead, arguments) };
        Ok((results.value()? as usize, results.rdi))
    }

    /// Statistics of the whole machine.
    ///
    /// # Errors
    /// `MissingRight` without `INSPECT`.
    pub fn statistics(self) -> Result<Statistics, Error> {
        let mut statistics = Statistics::default();
        let address = core::ptr::from_mut(&mut statistics) as u64;
        // SAFETY: the kernel writes one `Statistics` there.
        unsafe { self.invoke_with_memory(Syscall::Statistics, [address, 0, 0, 0, 0]) }.value()?;
        Ok(statistics)
    }
}
