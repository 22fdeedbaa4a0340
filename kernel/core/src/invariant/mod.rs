//! What is true of the kernel's tables between any two entries.
//!
//! Each invariant is one function with a name and one sentence. Tests, the model checker and fuzzing run all of them
//! over the real state and print the name of the one that is violated.

mod authority;
mod ipc;
mod memory;
mod objects;
mod queues;
mod short;
#[cfg(test)]
mod tests;

use crate::kernel::{Kernel, Tables};

/// Where a state contradicts an invariant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// What was found.
    pub found: &'static str,
    /// Index of the object at which it was found, in the table of its kind.
    pub at: usize,
}

/// A sentence that is true of every state.
#[derive(Debug)]
pub struct Invariant<T: Tables> {
    /// Its name.
    pub name: &'static str,
    /// The sentence.
    pub sentence: &'static str,
    /// Looks for a contradiction.
    pub check: fn(&Kernel<T>) -> Result<(), Contradiction>,
}

/// An invariant that a state violates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant's name.
    pub name: &'static str,
    /// Its sentence.
    pub sentence: &'static str,
    /// What contradicts it.
    pub contradiction: Contradiction,
}

impl core::fmt::Display for Violation {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Contradiction { found, at } = self.contradiction;
        write!(f, "{}: {} at index {at} (it should hold that {})", self.name, found, self.sentence)
    }
}

/// `Err` with this finding unless a condition holds.
fn expect(holds: bool, found: &'static str, at: usize) -> Result<(), Contradiction> {
    if holds { Ok(()) } else { Err(Contradiction { found, at }) }
}

macro_rules! invariants {
    ($($name:ident: $sentence:literal;)*) => {
        /// How many invariants there are.
        const COUNT: usize = [$($sentence),*].len();

        impl<T: Tables> Kernel<T> {
            /// Every invariant.
            pub const INVARIANTS: [Invariant<T>; COUNT] = [$(Invariant {
                name: stringify!($name),
                sentence: $sentence,
                check: Kernel::<T>::$name,
            },)*];
        }
    };
}

invariants! {
    table_lists_are_sound: "every slot of every table is exactly one of live, condemned, free and never used";
    nothing_small_stays_condemned: "only endpoints, notifications, domains and spaces wait to be taken apart";
    counters_agree: "the counters of live objects tell how many there are";
    references_agree: "a living object is referred to by as many capabilities and objects as it has counted, and by one at least";
    accounts_add_up: "an account's use is the sum of its objects and its sub-accounts' limits, and within its limits";
    charged_accounts_live: "every object is charged to an account that lives";
    domains_own_their_threads: "every thread is in the list of its domain, and a domain has a space";
    blocks_agree_with_domains: "the blocks of the capability arena in use are just those of the domains' tables";
    slots_are_sound: "a full slot lies in its domain's table, and every other one is empty, unlinked and, if its table lives, free";
    derivation_is_a_forest: "parents and children name each other, and nobody is its own ancestor";
    children_have_no_more_than_parents: "a capability's object, rights and extent lie within its parent's";
    queues_agree_with_states: "every thread is in just the queue that its state names, and queues are linked both ways and in order";
    ready_bits_agree: "a priority's bit is set if and only if somebody is ready at it";
    the_highest_runs: "the thread that a processor runs is the first of the highest priority that is ready there, or the processor is asked to look";
    threads_run_in_one_place: "a thread runs on one processor, the one in whose queue it is, and that is its budget's, or it is asked to leave";
    shootdowns_come_to_an_end: "a processor that may remember what is gone is asked to enter the kernel, and who waits for it waits for something";
    priorities_agree: "a thread's priority is that of the budget it runs on, raised to its ceiling";
    timers_agree: "the timer heap is in order and holds just the threads that wait with a deadline";
    callers_wait_for_somebody: "a call waits at an endpoint or with a domain of which something is left, and nobody else has a call";
    taken_calls_know_where: "a call that was taken knows the endpoint at which it was, and nobody else knows one";
    endpoints_match_eagerly: "no endpoint has a caller and a receiver waiting at the same time";
    loans_are_of_pending_calls: "a loan is the budget of a thread whose pending call the borrower works on, and everybody else runs on their own";
    lenders_form_no_circle: "following a borrower to its lender comes to an end";
    budgets_of_threads_live: "the budgets that a thread has and runs on are alive, and a budget knows whose own it is";
    budgets_keep_to_their_share: "the pieces of a budget are its slice, the earliest first";
    one_thread_uses_a_budget: "at most one thread is ready on a budget, and the budget has something for it";
    calls_go_down: "a call waits at an endpoint and with a domain below its caller's level, the root apart";
    bound_both_ways: "a thread and the notification bound to it name each other";
    bits_do_not_wait_with_waiters: "a notification with bits set has nobody waiting for them";
    interrupt_lines_are_held_once: "no two interrupts have the same line";
    mappings_are_derived: "a mapping lies within a memory capability that allows its access, and they name each other";
    mappings_have_one_holder: "a mapping is in the list of a space or is a thread's message buffer";
    pins_count_mappings: "a frame has as many pins as mappings and buffers cover it";
    kernel_frames_are_never_mapped: "no frame of the kernel is mapped, pinned or remembered by any processor";
    donated_frames_have_one_place: "a donated frame is in exactly one list of the space to which it belongs";
    device_spaces_are_apart: "no function sees two device spaces, and no domain runs in one";
    strays_are_told_in_order: "what devices were refused is kept in its order, without gaps";
    places_are_true: "what a thread has noted of its budgets, its table and its domain is so";
    endpoints_know_who_waits: "an endpoint's word tells whether it lives and whether just one thread waits there";
    capabilities_know_their_ways: "a capability for an endpoint that lives says what its holder's level and its rights allow";
    who_is_undisturbed_comes_first: "a thread that may go the short ways is ready, steady, at home, and nobody else is more urgent";
    frame_counters_agree: "the counters of frames tell how many there are";
}

impl<T: Tables> Kernel<T> {
    /// Checks every invariant.
    ///
    /// # Errors
    /// The first one that is violated.
    pub fn check_invariants(&self) -> Result<(), Violation> {
        for Invariant { name, sentence, check } in Self::INVARIANTS {
            check(self).map_err(|contradiction| Violation { name, sentence, contradiction })?;
        }
        Ok(())
    }
}
