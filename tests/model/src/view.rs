//! What can be seen of a state: who holds what, what is mapped, who waits for what. Laws and the reference model speak
//! of this and of nothing else in the core.

use crate::event::Event;
use crate::machine::Machine;
use crate::sizes::Tiny;
use abi::rights::Kind;
use abi::{Handle, Syscall};
use kernel_core::{Activity, CapName, DomainId, Holding, ThreadId, Wait, Window};

/// What can be seen of a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Every capability, by name.
    pub holdings: Vec<Holding>,
    /// Every mapping and message buffer.
    pub windows: Vec<Window>,
    /// Every thread.
    pub activities: Vec<Activity>,
}

impl View {
    /// What can be seen of a machine.
    pub fn of(machine: &Machine<Tiny>) -> Self {
        let kernel = &machine.kernel;
        View {
            holdings: kernel.holdings().collect(),
            windows: kernel.windows().collect(),
            activities: kernel.activities().collect(),
        }
    }

    /// The capability of this name.
    pub fn named(&self, name: CapName) -> Option<&Holding> {
        self.holdings.binary_search_by_key(&name, |holding| holding.name).ok().map(|place| &self.holdings[place])
    }

    /// The capability that a domain knows by this handle.
    pub fn held(&self, holder: DomainId, handle: u64) -> Option<&Holding> {
        self.holdings.iter().find(|holding| holding.holder == holder && holding.handle == Handle(handle))
    }

    /// What a thread does.
    pub fn thread(&self, thread: ThreadId) -> Option<&Activity> {
        self.activities.iter().find(|activity| activity.thread == thread)
    }

    /// Whether a capability was made from another one, directly or not.
    pub fn descends(&self, holding: &Holding, ancestor: CapName) -> bool {
        let mut next = holding.parent;
        while let Some(name) = next {
            if name == ancestor {
                return true;
            }
            next = self.named(name).and_then(|parent| parent.parent);
        }
        false
    }

    /// How many capabilities name an object.
    pub fn names_of(&self, kind: Kind, object: (usize, u32)) -> usize {
        self.holdings.iter().filter(|holding| holding.kind == kind && holding.object == object).count()
    }
}

/// A system call as it was made.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Which.
    pub syscall: Syscall,
    /// Its arguments.
    pub arguments: [u64; 6],
    /// The handle in the message buffer.
    pub cap: u64,
}

/// One thing that happened, and was not refused.
#[derive(Debug)]
pub struct Step<'s> {
    /// The machine before.
    pub before: &'s Machine<Tiny>,
    /// What could be seen before.
    pub seen: &'s View,
    /// What happened.
    pub event: Event,
    /// The system call that was, if it was one: made for the first time or again.
    pub call: Option<Call>,
    /// The machine after.
    pub after: &'s Machine<Tiny>,
    /// What can be seen after.
    pub seen_after: View,
}

impl<'s> Step<'s> {
    /// Looks at something that happened.
    pub fn new(before: &'s Machine<Tiny>, seen: &'s View, event: Event, after: &'s Machine<Tiny>) -> Self {
        let call = match event {
            Event::Syscall { syscall, arguments, cap, .. } => Some(Call { syscall, arguments, cap }),
            Event::Repeat => before.repeated().and_then(|(number, arguments)| {
                Syscall::from_number(number).map(|syscall| Call { syscall, arguments, cap: 0 })
            }),
            _ => None,
        };
        Step { before, seen, event, call, after, seen_after: View::of(after) }
    }

    /// The thread that ran.
    pub fn who(&self) -> Option<ThreadId> {
        self.before.current()
    }

    /// The domain of the thread that ran.
    pub fn domain(&self) -> Option<DomainId> {
        self.who().and_then(|thread| self.before.kernel.domain_of(thread))
    }

    /// What a thread finds in its registers after the step, if a system call of it has ended.
    pub fn result_of(&self, thread: ThreadId) -> Option<[u64; 4]> {
        let activity = self.seen_after.thread(thread)?;
        if activity.wait != Wait::Turn {
            return None;
        }
        if self.after.current() == Some(thread) { self.after.context(thread).result } else { activity.result }
    }

    /// Whether the system call has come to its end, with success.
    pub fn is_done(&self) -> bool {
        let Some(thread) = self.who() else { return false };
        !self.after.context(thread).again
            && !self.after.kernel.will_repeat(thread)
            && self.result_of(thread).is_some_and(|result| (result[0] as i64) >= 0)
    }
}
