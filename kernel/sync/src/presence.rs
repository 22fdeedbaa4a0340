//! Whether a processor is in the kernel.

use crate::primitive::{AtomicBool, Ordering};

/// Whether a processor is in the kernel or on its way in, and so looks at the kernel's state before it leaves again.
///
/// Whoever changes what another processor should do holds the lock. If that processor is inside, it waits for the lock
/// (it goes outside only while it holds it) and will see the change; otherwise it needs an interrupt.
#[derive(Debug)]
pub struct Presence {
    inside: AtomicBool,
}

impl Presence {
    /// A processor that is outside.
    #[cfg(not(loom))]
    pub const fn outside() -> Self {
        Presence { inside: AtomicBool::new(false) }
    }

    /// A processor that is outside.
    #[cfg(loom)]
    pub fn outside() -> Self {
        Presence { inside: AtomicBool::new(false) }
    }

    /// The processor has entered the kernel. Before it takes the lock.
    pub fn enter(&self) {
        self.inside.store(true, Ordering::Release);
    }

    /// The processor leaves the kernel. While it holds the lock, after it has looked at the state.
    pub fn leave(&self) {
        self.inside.store(false, Ordering::Release);
    }

    /// Whether the processor would miss a change without an interrupt. Asked by whoever holds the lock, after the change.
    pub fn needs_interrupt(&self) -> bool {
        !self.inside.load(Ordering::Acquire)
    }
}
