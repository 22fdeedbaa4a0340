//! Pages of contiguous memory for queues.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The most pages of a pool.
pub const PAGES_MAX: usize = u64::BITS as usize;
/// Bytes of a page.
const PAGE: usize = userlib::abi::PAGE_SIZE as usize;

/// Contiguous memory, given out in pages. It can be a static: there is nothing in it until memory is provided.
#[derive(Debug)]
pub struct Pool {
    address: AtomicUsize,
    bus: AtomicU64,
    pages: AtomicUsize,
    /// A bit for each page that is in use.
    used: AtomicU64,
}

impl Default for Pool {
    fn default() -> Self {
        Self::new()
    }
}

/// The lowest `pages` bits.
const fn mask(pages: usize) -> u64 {
    if pages >= PAGES_MAX { u64::MAX } else { (1 << pages) - 1 }
}

impl Pool {
    /// An empty pool.
    pub const fn new() -> Self {
        Self {
            address: AtomicUsize::new(0),
            bus: AtomicU64::new(0),
            pages: AtomicUsize::new(0),
            used: AtomicU64::new(0),
        }
    }

    /// Makes the `pages` pages at `address`, which a device finds at `bus`, the pool's; beyond [`PAGES_MAX`] they
    /// are not used. An earlier provision is forgotten.
    ///
    /// # Safety
    /// The pages are mapped readable and writable for the rest of the program's life, and nobody else uses them.
    /// Nothing is allocated from the pool.
    pub unsafe fn provide(&self, address: usize, bus: u64, pages: usize) {
        self.address.store(address, Ordering::Relaxed);
        self.bus.store(bus, Ordering::Relaxed);
        self.pages.store(pages.min(PAGES_MAX), Ordering::Relaxed);
        self.used.store(0, Ordering::Release);
    }

    /// Takes pages that lie together, and zeroes them: where the device finds them, and where the program does.
    pub fn allocate(&self, pages: usize) -> Option<(u64, NonNull<u8>)> {
        let available = self.pages.load(Ordering::Relaxed);
        if pages == 0 || pages > available {
            return None;
        }
        let first = (0..=available - pages).find(|first| {
            let wanted = mask(pages) << first;
            self.used
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| (used & wanted == 0).then_some(used | wanted))
                .is_ok()
        })?;
        let start = NonNull::new((self.address.load(Ordering::Relaxed) + first * PAGE) as *mut u8)?;
        // SAFETY: the pages are mapped and were nobody's until now.
        unsafe { start.write_bytes(0, pages * PAGE) };
        Some((self.bus.load(Ordering::Relaxed) + (first * PAGE) as u64, start))
    }

    /// Gives pages back. Those that are not the pool's are left alone.
    pub fn free(&self, start: NonNull<u8>, pages: usize) {
        let offset = (start.as_ptr() as usize).wrapping_sub(self.address.load(Ordering::Relaxed));
        let first = offset / PAGE;
        if first < PAGES_MAX {
            self.used.fetch_and(!(mask(pages) << first), Ordering::AcqRel);
        }
    }
}
