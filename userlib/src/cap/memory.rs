//! Memory and address spaces.

use super::{Account, Cap, Memory, Owned, Space, created};
use abi::rights::MemoryRights;
use abi::syscall::MapAccess;
use abi::{Error, Syscall};

/// What an extent of memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryInfo {
    /// Number of its first frame (physical address / 4096), if the capability has the right `DMA`.
    pub first_frame: Option<u64>,
    /// Pages.
    pub pages: u64,
    /// Whether device registers lie there instead of RAM.
    pub device: bool,
}

/// Names a mapping of a space, to remove it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MappingId(pub u64);

/// Why a range was not mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapFailure {
    /// The space needs this many more pages for page tables ([`Cap::<Space>::donate`]).
    NeedTables(u64),
    /// Another reason.
    Refused(Error),
}

impl From<MapFailure> for Error {
    fn from(failure: MapFailure) -> Error {
        match failure {
            MapFailure::NeedTables(_) => Error::NeedTables,
            MapFailure::Refused(error) => error,
        }
    }
}

impl Cap<Memory> {
    /// A capability for the pages `first .. first + pages` of the extent.
    ///
    /// # Errors
    /// `BadArgument` if they are not all in the extent; `MissingRight` without `SPLIT` or one of `rights`.
    pub fn split(self, first: u64, pages: u64, rights: MemoryRights) -> Result<Owned<Memory>, Error> {
        created(self.invoke(Syscall::MemorySplit, [first, pages, rights.bits().into(), 0, 0]))
    }

    /// Length and nature of the extent.
    ///
    /// # Errors
    /// `StaleHandle`, `WrongKind`.
    pub fn memory_info(self) -> Result<MemoryInfo, Error> {
        // SAFETY: `MemoryInfo` writes no memory.
        let results = unsafe { self.invoke_with_memory(Syscall::MemoryInfo, [0; 5]) };
        let frame = results.value()?;
        Ok(MemoryInfo { first_frame: (frame != 0).then_some(frame), pages: results.rdi, device: results.rsi != 0 })
    }

    /// Makes page `page` of the extent, which nobody else may have, the root table of a new space.
    ///
    /// # Errors
    /// `NotSoleOwner`, `QuotaExceeded`, `MissingRight` without `DONATE`.
    pub fn create_space(self, account: Cap<Account>, page: u64) -> Result<Owned<Space>, Error> {
        created(account.invoke(Syscall::SpaceCreate, [self.handle().0, page, 0, 0, 0]))
    }

    /// Makes page `page` of the extent, which nobody else may have, the root table of a new space for a guest.
    ///
    /// # Errors
    /// `NoHardware` where the processor runs no guests; otherwise as [`Cap::<Memory>::create_space`].
    pub fn create_guest_space(self, account: Cap<Account>, page: u64) -> Result<Owned<Space>, Error> {
        created(account.invoke(Syscall::GuestSpaceCreate, [self.handle().0, page, 0, 0, 0]))
    }
}

impl Cap<Space> {
    /// Maps pages `first .. first + pages` of `memory` at `address`. The range lies within one window of 2 MiB. Nothing
    /// that is mapped already is replaced, so that memory in use never changes under anybody.
    ///
    /// # Errors
    /// [`MapFailure::NeedTables`]; otherwise as the kernel refuses (`AlreadyMapped`, `MissingRight`, …).
    pub fn map(
        self,
        memory: Cap<Memory>,
        address: u64,
        first: u64,
        pages: u64,
        access: MapAccess,
    ) -> Result<MappingId, MapFailure> {
        let arguments = [memory.handle().0, address, first, pages, access as u64];
        // SAFETY: a mapping is only added where nothing was mapped, so no memory in use changes.
        let results = unsafe { self.invoke_with_memory(Syscall::Map, arguments) };
        match results.value() {
            Ok(id) => Ok(MappingId(id)),
            Err(Error::NeedTables) => Err(MapFailure::NeedTables(results.rdi)),
            Err(error) => Err(MapFailure::Refused(error)),
        }
    }

    /// Removes a mapping.
    ///
    /// # Errors
    /// `BadArgument` if there is no such mapping.
    ///
    /// # Safety
    /// If this is the caller's own space, nothing refers to the range any more. ([`crate::memory::Mapping`] sees to
    /// that by itself.)
    pub unsafe fn unmap(self, mapping: MappingId) -> Result<(), Error> {
        // SAFETY: passed on to the caller.
        unsafe { self.invoke_with_memory(Syscall::Unmap, [mapping.0, 0, 0, 0, 0]) }.value().map(drop)
    }

    /// Gives the space pages for its page tables: at most [`abi::syscall::DONATION_MAX`] a call.
    ///
    /// # Errors
    /// `NotSoleOwner` if a page is mapped or shared; `MissingRight` without `DONATE`; `BadArgument` above that number.
    pub fn donate(self, memory: Cap<Memory>, first: u64, pages: u64) -> Result<(), Error> {
        let arguments = [memory.handle().0, first, pages, 0, 0];
        self.invoke(Syscall::SpaceDonate, arguments).map(drop)
    }
}
