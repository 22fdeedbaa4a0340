//! What the kernel's processors share without a lock: the lock itself ([`FairLock`]), and whether another processor has
//! to be interrupted to notice a change ([`Presence`]).
//!
//! Both are small enough to be explored in every order in which processors can meet; `tests/interleavings.rs` does that
//! with loom.
#![cfg_attr(not(loom), no_std)]

mod fair_lock;
mod presence;

pub use fair_lock::{FairGuard, FairLock};
pub use presence::Presence;

/// The primitives, real or explored.
#[cfg(not(loom))]
mod primitive {
    pub(crate) use core::cell::UnsafeCell;
    pub(crate) use core::hint::spin_loop;
    pub(crate) use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
}

/// The primitives, real or explored.
#[cfg(loom)]
mod primitive {
    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::hint::spin_loop;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU32, Ordering};
}
