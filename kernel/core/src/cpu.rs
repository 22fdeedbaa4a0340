//! What the kernel knows of each processor.

use crate::identity::ThreadId;
use crate::kernel::PRIORITIES;
use crate::table::{Slots, Vacant};
use crate::timer::Timers;

/// Who runs on a processor, if calls and answers may go the short way there. Apart from the rest, since it is all that these
/// ask of a processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Undisturbed {
    /// The thread that it runs: it is ready and steady, on its own budget too, of a living domain, and nothing has happened
    /// that concerns its processor. It may be another one than [`Cpu::current`], in whose stead the short way has let it
    /// run; the next entry catches up.
    pub(crate) thread: Option<ThreadId>,
    /// No less than one more than the priority of anybody else who is ready there: a thread with this priority or a higher one
    /// runs at once, and alone.
    pub(crate) above_others: u8,
}

impl Vacant for Undisturbed {
    /// The long way is to be taken.
    const EMPTY: Self = Undisturbed { thread: None, above_others: 0 };
}

/// A processor: who runs on it, who waits to, and whose deadlines it watches.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cpu<S> {
    /// It runs threads.
    pub(crate) online: bool,
    /// The thread that it runs in user mode, or whose entry it is working on. Another processor may have stopped the
    /// thread meanwhile; this one then lets it go on its next entry.
    pub(crate) current: Option<ThreadId>,
    /// The priority at which [`Cpu::current`] is queued, should the short way let it leave.
    pub(crate) current_priority: u8,
    /// Until when time has been charged.
    pub(crate) charged_until: u64,
    /// It is to enter the kernel: another processor has changed what it should run, or an address space that it uses.
    pub(crate) kicked: bool,
    /// The first shootdown that it has not taken part in yet: it may remember translations that are gone. Until it has
    /// entered the kernel, nobody else may rely on their being gone.
    pub(crate) owes: Option<Shootdown>,
    /// It forgets all translations of user space before it runs a thread again.
    pub(crate) forgets: bool,
    /// First thread of each priority's ready queue, and which queues are not empty.
    pub(crate) ready: [Option<ThreadId>; PRIORITIES],
    pub(crate) ready_bits: [u64; PRIORITIES / 64],
    /// Deadlines of threads that ran here last.
    pub(crate) timers: Timers<S>,
}

impl<S: Slots<Option<ThreadId>>> Vacant for Cpu<S> {
    const EMPTY: Self = Cpu {
        online: false,
        current: None,
        current_priority: 0,
        charged_until: 0,
        kicked: false,
        owes: None,
        forgets: false,
        ready: [None; PRIORITIES],
        ready_bits: [0; PRIORITIES / 64],
        timers: Timers::EMPTY,
    };
}

/// What decides who runs on a processor next: who runs and what is asked of it, what it owes, and who is ready.
pub(crate) type Choices<'a> =
    ((bool, Option<ThreadId>, bool, bool), Option<Shootdown>, (&'a [Option<ThreadId>], &'a [u64]));

impl<S> Cpu<S> {
    /// All that is not about time.
    pub(crate) fn choices(&self) -> Choices<'_> {
        // Without `..`, so that nobody adds a field and forgets it here.
        let Cpu {
            online,
            current,
            current_priority: _,
            charged_until: _,
            kicked,
            owes,
            forgets,
            ready,
            ready_bits,
            timers: _,
        } = self;
        ((*online, *current, *kicked, *forgets), *owes, (ready, ready_bits))
    }

    pub(crate) fn set_ready(&mut self, priority: u8, head: Option<ThreadId>) {
        if let Some(place) = self.ready.get_mut(usize::from(priority)) {
            *place = head;
        }
        let bit = 1 << (priority % 64);
        if let Some(word) = self.ready_bits.get_mut(usize::from(priority / 64)) {
            *word = if head.is_some() { *word | bit } else { *word & !bit };
        }
    }

    /// The thread that runs next: the first one of the highest priority.
    pub(crate) fn highest_ready(&self) -> Option<ThreadId> {
        for (index, word) in self.ready_bits.iter().enumerate().rev() {
            if *word != 0 {
                let priority = index * 64 + 63 - word.leading_zeros() as usize;
                return self.ready.get(priority).copied().flatten();
            }
        }
        None
    }
}

/// The number of a shootdown: of translations that are gone from the page tables, and that other processors may still
/// remember. Numbers begin again after 2³², which is harmless: they are only compared while one is not over yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Shootdown(pub(crate) core::num::NonZeroU32);

impl Shootdown {
    /// The one after this.
    pub(crate) const fn after(last: Option<Shootdown>) -> Shootdown {
        let number = match last {
            Some(Shootdown(number)) => number.get(),
            None => 0,
        };
        match core::num::NonZeroU32::new(number.wrapping_add(1)) {
            Some(number) => Shootdown(number),
            None => Shootdown(core::num::NonZeroU32::MIN),
        }
    }

    /// Whether this one is `other` or came before it.
    pub(crate) const fn is_no_later_than(self, other: Shootdown) -> bool {
        other.0.get().wrapping_sub(self.0.get()) < 1 << 31
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shootdowns_come_one_after_the_other_even_where_their_numbers_begin_again() {
        let first = Shootdown::after(None);
        let second = Shootdown::after(Some(first));
        assert!(first.is_no_later_than(first) && first.is_no_later_than(second));
        assert!(!second.is_no_later_than(first));
        let last = Shootdown(core::num::NonZeroU32::MAX);
        assert_eq!(Shootdown::after(Some(last)), first);
        assert!(last.is_no_later_than(first) && !first.is_no_later_than(last));
        let far = Shootdown(core::num::NonZeroU32::new(1 + (1 << 31)).expect("not 0"));
        assert!(!first.is_no_later_than(far), "half the numbers are earlier ones");
    }
}
