//! Interrupts arrive as notification bits.

use crate::effect::Effect;
use crate::identity::{CpuId, InterruptId};
use crate::kernel::{Kernel, Tables};
use abi::syscall::InterruptSource;

impl<T: Tables> Kernel<T> {
    /// A device interrupt has come. A line is masked until it is acknowledged; an edge-triggered one the shell leaves
    /// open, since an edge that came meanwhile would be lost.
    pub fn interrupt(&mut self, cpu: CpuId, id: InterruptId, now: u64) -> Effect {
        self.enter(cpu, now);
        if !self.interrupts.is_live(id.index()) {
            return Effect::None;
        }
        let interrupt = *self.interrupts.at(id.index());
        if !interrupt.unmasked {
            return Effect::None;
        }
        if let Some(notification) = interrupt.notification
            && self.notifications.get(notification.id.index(), notification.generation).is_some()
        {
            self.notify(notification.id, interrupt.bits);
        }
        match self.source_of(id) {
            source @ InterruptSource::Isa(_) => Effect::MaskInterrupt { interrupt: id, source },
            InterruptSource::Message => Effect::None,
        }
    }

    pub(crate) fn source_of(&self, id: InterruptId) -> InterruptSource {
        InterruptSource::from_register(u64::from(self.interrupts.at(id.index()).source))
            .unwrap_or(InterruptSource::Message)
    }

    /// Whether another object holds this interrupt line. Messages are never claimed twice: each has its own vector.
    pub(crate) fn is_claimed(&self, source: InterruptSource) -> bool {
        self.lines & line_bit(source) != 0
    }
}

/// The bit of an interrupt line in [`Kernel::lines`]; none for messages.
pub(crate) const fn line_bit(source: InterruptSource) -> u16 {
    match source {
        InterruptSource::Isa(line) => 1 << (line % 16),
        InterruptSource::Message => 0,
    }
}
