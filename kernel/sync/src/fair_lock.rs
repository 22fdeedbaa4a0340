//! A lock that serves processors in the order in which they come.

use crate::primitive::{AtomicU32, Ordering, UnsafeCell, spin_loop};
use core::fmt;
use core::ops::{Deref, DerefMut};

/// A ticket lock: whoever comes draws the next number and waits until it is served. No processor waits for more turns
/// than there are others.
#[repr(C)]
pub struct FairLock<T> {
    next: AtomicU32,
    served: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached through a guard only, and at most one guard exists at a time, so sharing the lock sends
// the value from one processor to another at most.
unsafe impl<T: Send> Sync for FairLock<T> {}
// SAFETY: the lock owns its value.
unsafe impl<T: Send> Send for FairLock<T> {}

impl<T> FairLock<T> {
    /// Where in the lock its value lies, in bytes.
    pub const VALUE: usize = core::mem::offset_of!(Self, value);

    /// A lock that nobody holds.
    #[cfg(not(loom))]
    pub const fn new(value: T) -> Self {
        FairLock { next: AtomicU32::new(0), served: AtomicU32::new(0), value: UnsafeCell::new(value) }
    }

    /// A lock that nobody holds.
    #[cfg(loom)]
    pub fn new(value: T) -> Self {
        FairLock { next: AtomicU32::new(0), served: AtomicU32::new(0), value: UnsafeCell::new(value) }
    }

    /// Takes the lock. Interrupts are off, or a handler that takes it too would wait for its own processor.
    pub fn lock(&self) -> FairGuard<'_, T> {
        let ticket = self.next.fetch_add(1, Ordering::Relaxed);
        // What the holder before did happens before this.
        while self.served.load(Ordering::Acquire) != ticket {
            spin_loop();
        }
        FairGuard { lock: self }
    }
}

impl<T> FairLock<T> {
    /// Takes the lock if nobody holds it or waits for it.
    pub fn try_lock(&self) -> Option<FairGuard<'_, T>> {
        // What the holder before did happens before this, since that one gave the lock back by writing `served`.
        let ticket = self.served.load(Ordering::Acquire);
        // A ticket that was drawn meanwhile makes it fail.
        self.next
            .compare_exchange(ticket, ticket.wrapping_add(1), Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
            .then(|| FairGuard { lock: self })
    }
}

impl<T> fmt::Debug for FairLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FairLock").finish_non_exhaustive()
    }
}

/// The lock, held. Gives it back when it goes.
#[must_use = "a lock that is not kept is given back at once"]
pub struct FairGuard<'a, T> {
    lock: &'a FairLock<T>,
}

impl<T> fmt::Debug for FairGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FairGuard").finish_non_exhaustive()
    }
}

impl<T> Deref for FairGuard<'_, T> {
    type Target = T;

    #[cfg(not(loom))]
    fn deref(&self) -> &T {
        // SAFETY: this guard is the only one, and borrows itself for as long as the reference lives.
        unsafe { &*self.lock.value.get() }
    }

    #[cfg(loom)]
    fn deref(&self) -> &T {
        // SAFETY: as for the real one; loom checks that nobody writes meanwhile.
        self.lock.value.with(|value| unsafe { &*value })
    }
}

impl<T> DerefMut for FairGuard<'_, T> {
    #[cfg(not(loom))]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this guard is the only one, and is borrowed mutably for as long as the reference lives.
        unsafe { &mut *self.lock.value.get() }
    }

    #[cfg(loom)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as for the real one; loom checks that nobody reads or writes meanwhile.
        self.lock.value.with_mut(|value| unsafe { &mut *value })
    }
}

impl<T> Drop for FairGuard<'_, T> {
    fn drop(&mut self) {
        // Nobody else changes `served` while the lock is held.
        let ticket = self.lock.served.load(Ordering::Relaxed);
        self.lock.served.store(ticket.wrapping_add(1), Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::FairLock;

    extern crate std;

    #[test]
    fn whoever_holds_the_lock_is_alone() {
        let lock = FairLock::new(0u64);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        *lock.lock() += 1;
                    }
                });
            }
        });
        assert_eq!(*lock.lock(), 2000);
    }

    #[test]
    fn a_lock_that_is_held_is_not_had_by_trying() {
        let lock = FairLock::new(1);
        let held = lock.try_lock().expect("nobody holds it");
        assert!(lock.try_lock().is_none());
        drop(held);
        assert!(lock.try_lock().is_some());
    }

    #[test]
    fn tickets_begin_again_after_as_many_as_there_are() {
        let lock = FairLock { next: u32::MAX.into(), served: u32::MAX.into(), value: 7.into() };
        for _ in 0..3 {
            assert_eq!(*lock.lock(), 7);
        }
    }
}
