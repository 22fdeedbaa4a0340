//! Faults become messages to the domain's fault handler.

use crate::effect::{Effect, FaultReport};
use crate::identity::{CpuId, ThreadId};
use crate::kernel::{Kernel, Tables};
use crate::thread::State;
use abi::fault::FAULT_WORDS;
use abi::message::MessageInfo;
use abi::time::NEVER;

impl<T: Tables> Kernel<T> {
    /// The running thread cannot go on: an exception in user mode.
    pub fn fault(&mut self, cpu: CpuId, report: FaultReport, now: u64) -> Effect {
        self.enter(cpu, now);
        match self.running() {
            Some(thread) => self.raise_fault(thread, report),
            None => Effect::None,
        }
    }

    /// Sends a thread's fault to its domain's handler, as a call that the kernel makes in its name. Without a living
    /// handler the thread stops for good.
    pub(crate) fn raise_fault(&mut self, thread: ThreadId, report: FaultReport) -> Effect {
        self.end_loan(thread);
        let handler = self.thread(thread).domain.and_then(|domain| {
            let domain = self.domains.at(domain.index());
            domain.fault_handler.map(|handler| (handler, domain.fault_badge))
        });
        let Some((handler, badge)) = handler else {
            self.set_state(thread, State::Stopped, NEVER);
            return Effect::None;
        };
        if self.endpoints.get(handler.id.index(), handler.generation).is_none() {
            self.set_state(thread, State::Stopped, NEVER);
            return Effect::None;
        }
        self.number_call(thread);
        let entry = self.thread_mut(thread);
        entry.info = MessageInfo::new(report.kind as u32, FAULT_WORDS);
        entry.badge = badge;
        entry.fault = Some(report);
        self.send(thread, handler.id, NEVER)
    }
}
