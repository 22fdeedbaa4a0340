//! Shootdowns: how translations that are gone are forgotten on every processor.
//!
//! Nobody waits for another processor while it works. Removing a mapping notes which other processors run in its space
//! and kicks them. The thread that asked for it waits, like for anything else, until each of them has entered the kernel
//! once: from then on it forgets before it runs user code again. Until that moment the frames are in quarantine: nobody
//! can donate them.

use crate::cpu::Shootdown;
use crate::frame::Frame;
use crate::identity::{CpuId, SpaceId, ThreadId};
use crate::kernel::{Kernel, Tables};
use crate::queue::Queue;
use crate::thread::State;
use abi::time::NEVER;

/// Threads that one entry wakes at most; the rest is for the next one, which follows at once.
const WAKES: usize = 16;

impl<T: Tables> Kernel<T> {
    /// Translations of a space are gone from its page tables. The frames behind them are `first` and the `pages - 1`
    /// after it.
    pub(crate) fn shoot_down(&mut self, space: SpaceId, first: Frame, pages: u16) {
        let mut number = None;
        for cpu in self.online() {
            if cpu != self.active && self.may_remember(cpu, space) && !seeded!(TranslationKept) {
                let this = *number.get_or_insert(Shootdown::after(self.last_shootdown));
                let entry = self.cpu_mut(cpu);
                entry.owes = entry.owes.or(Some(this));
                entry.forgets = true;
                self.kick(cpu);
            }
        }
        let Some(number) = number else { return };
        self.last_shootdown = Some(number);
        for index in 0..u32::from(pages) {
            self.frames.quarantine(first.offset(index), number);
        }
        if let Some(thread) = self.running() {
            self.thread_mut(thread).shootdown = Some(number);
        }
    }

    /// Whether a processor may remember translations of a space: that of the thread which it runs, or of that one's guest. A
    /// guest is never entered with any.
    fn may_remember(&self, cpu: CpuId, space: SpaceId) -> bool {
        let Some(thread) = self.current(cpu).map(|thread| self.thread(thread)) else { return false };
        let own = thread.domain.and_then(|domain| self.domains.at(domain.index()).space);
        own == Some(space) || thread.vcpu.is_some_and(|vcpu| vcpu.space == space)
    }

    /// Whether every processor has taken part in a shootdown.
    pub(crate) fn is_over(&self, shootdown: Shootdown) -> bool {
        !self.online().any(|cpu| self.cpu(cpu).owes.is_some_and(|owed| owed.is_no_later_than(shootdown)))
    }

    /// Whether some processor may still remember a translation of this frame.
    pub(crate) fn is_quarantined(&self, frame: Frame) -> bool {
        self.frames.quarantined_by(frame).is_some_and(|shootdown| !self.is_over(shootdown))
    }

    /// A processor has entered the kernel and remembers nothing that it will use.
    pub(crate) fn take_part(&mut self, cpu: CpuId) {
        if self.cpu_mut(cpu).owes.take().is_none() {
            return;
        }
        for _ in 0..WAKES {
            let Some(thread) = self.queue_head(Queue::Forgetting) else { return };
            if self.thread(thread).shootdown.is_some_and(|shootdown| !self.is_over(shootdown)) {
                return;
            }
            self.thread_mut(thread).shootdown = None;
            self.make_ready(thread);
        }
        // Whoever is left is woken by the next entry: this processor makes one at once.
        if self.queue_head(Queue::Forgetting).is_some() {
            let last = self.last_shootdown;
            let entry = self.cpu_mut(cpu);
            entry.owes = last;
            // Also if it was asked to enter for this entry: that has come.
            entry.kicked = true;
            self.kicks.insert(cpu);
        }
    }

    /// A thread that has done what it was asked to waits until its shootdowns are over, and finds its result then.
    pub(crate) fn await_shootdown(&mut self, thread: ThreadId) {
        let Some(shootdown) = self.thread(thread).shootdown else { return };
        if self.is_over(shootdown) {
            self.thread_mut(thread).shootdown = None;
        } else {
            self.set_state(thread, State::Forgetting, NEVER);
        }
    }
}
