//! What a device sees on a machine with an IOMMU.

use core::cell::Cell;
use userlib::abi::syscall::MapAccess;
use userlib::abi::{Error, PAGE_SIZE};
use userlib::cap::{Cap, Memory, Space};
use userlib::memory::MapError;

/// What one map covers at most, and what the IOMMU can map with one entry.
const WINDOW: u64 = 512 * PAGE_SIZE;
/// Where the first memory is shown: low, so that devices which know short addresses only can use it.
const FIRST: u64 = WINDOW;

/// The space that a device sees, and where the next memory is shown in it.
#[derive(Debug)]
pub(crate) struct DeviceSpace {
    space: Cap<Space>,
    next: Cell<u64>,
}

impl DeviceSpace {
    pub(crate) fn new(space: Cap<Space>) -> Self {
        DeviceSpace { space, next: Cell::new(FIRST) }
    }

    /// Shows the device all of a memory, whose first frame is `frame`: where the device finds it. It lies as it does in
    /// memory within a window, so that the IOMMU can map whole windows at once.
    pub(crate) fn show(&self, memory: Cap<Memory>, frame: u64, pages: u64) -> Result<u64, MapError> {
        let address = self.next.get() + frame * PAGE_SIZE % WINDOW;
        let mut done = 0;
        while done < pages {
            let at = address + done * PAGE_SIZE;
            let count = ((WINDOW - at % WINDOW) / PAGE_SIZE).min(pages - done);
            self.space.map(memory, at, done, count, MapAccess::ReadWrite).map_err(Error::from)?;
            done += count;
        }
        self.next.set((address + pages * PAGE_SIZE).next_multiple_of(WINDOW));
        Ok(address)
    }
}
