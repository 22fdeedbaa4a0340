//! The memory of a guest.

use crate::cap::{Account, Cap, MapFailure, Memory, Owned, Space};
use abi::Error;
use abi::syscall::{DONATION_MAX, MapAccess};
use core::cell::Cell;
use core::ops::Range;

/// A space for a guest: what is mapped into it is the guest's physical memory. It goes when it is dropped, and so does what was
/// mapped; its virtual processors must be gone before.
#[derive(Debug)]
pub struct GuestSpace {
    space: Owned<Space>,
    /// Where pages for its tables come from, and which of them are left.
    memory: Cap<Memory>,
    spare: Cell<(u64, u64)>,
}

impl GuestSpace {
    /// An empty one. All that the kernel needs for it comes out of `pages` of `memory`, which nobody maps:
    /// [`super::layout::kernel_pages`] says how many.
    ///
    /// # Errors
    /// `NoHardware` where the processor runs no guests; otherwise as the kernel refuses.
    pub fn create(account: Cap<Account>, memory: Cap<Memory>, pages: Range<u64>) -> Result<Self, Error> {
        let space = memory.create_guest_space(account, pages.start)?;
        Ok(Self { space, memory, spare: Cell::new((pages.start + 1, pages.end)) })
    }

    /// Lets the guest have `pages` pages of `memory`, from page `first` on, at a guest-physical address: to read, to write and to
    /// execute. The range lies within one window of 2 MiB.
    ///
    /// # Errors
    /// `NeedTables` if the pages for tables are used up; otherwise as the kernel refuses.
    pub fn map(&self, memory: Cap<Memory>, address: u64, first: u64, pages: u64) -> Result<(), Error> {
        loop {
            match self.space.map(memory, address, first, pages, MapAccess::All) {
                Ok(_) => return Ok(()),
                Err(MapFailure::NeedTables(missing)) => self.donate(missing)?,
                Err(MapFailure::Refused(error)) => return Err(error),
            }
        }
    }

    /// The space's capability.
    pub(super) fn cap(&self) -> Cap<Space> {
        self.space.cap()
    }

    /// Gives the kernel so many pages more.
    pub(super) fn donate(&self, missing: u64) -> Result<(), Error> {
        let (mut next, end) = self.spare.get();
        if missing == 0 || end.saturating_sub(next) < missing {
            return Err(Error::NeedTables);
        }
        let last = next + missing;
        while next < last {
            let count = DONATION_MAX.min(last - next);
            self.space.donate(self.memory, next, count)?;
            next += count;
            self.spare.set((next, end));
        }
        Ok(())
    }
}
