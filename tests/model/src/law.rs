//! What is true of every transition, as invariants are true of every state.
//!
//! Each law is one function with a name and one sentence.

use crate::event::Event;
use crate::machine::Machine;
use crate::reference;
use crate::sizes::Tiny;
use crate::view::{Step, View};
use abi::message::CallerToken;
use abi::rights::Kind;
use abi::{Error, Syscall};
use kernel_core::{Activity, NotificationId, ThreadId, Wait};

/// A sentence that is true of every transition.
#[derive(Debug)]
pub struct Law {
    /// Its name.
    pub name: &'static str,
    /// The sentence.
    pub sentence: &'static str,
    check: fn(&Step) -> Result<(), String>,
}

macro_rules! laws {
    ($($name:ident: $check:path, $sentence:literal;)*) => {
        /// Every law.
        pub const LAWS: &[Law] = &[$(Law { name: stringify!($name), sentence: $sentence, check: $check },)*];
    };
}

laws! {
    authority_follows_the_rules: reference::check, "capabilities and mappings come and go as the reference model says, and every call has the rights that it needs";
    tokens_name_pending_calls: tokens_name_pending_calls, "who answers a call or uses its leases has taken it, and it has not ended";
    deadlines_end_waits: deadlines_end_waits, "after a timer interrupt nobody waits whose deadline has passed";
    queues_keep_their_order: queues_keep_their_order, "among equals, who comes later stands behind, and nobody overtakes";
    signals_arrive: signals_arrive, "bits that are set stay set until somebody gets them";
    bits_have_a_source: bits_have_a_source, "a notification has no bits that nobody has set";
    faults_are_not_forgotten: faults_are_not_forgotten, "a fault waits until it is answered, stopped or has nobody to wait for";
}

/// A state before something happens.
pub(crate) struct Before<'m> {
    machine: &'m Machine<Tiny>,
    seen: View,
    /// The machine after an entry that wants nothing.
    idle: Machine<Tiny>,
}

impl<'m> Before<'m> {
    pub(crate) fn new(machine: &'m Machine<Tiny>) -> Self {
        let mut idle = machine.clone();
        if machine.current().is_some_and(|thread| !machine.context(thread).in_guest) {
            // What every entry does, for other processors and with the time, may keep the thread from finding its result
            // at once.
            let _ = idle.enter(u64::MAX, [0; 6]);
        } else {
            idle.look();
        }
        Before { machine, seen: View::of(machine), idle }
    }

    /// Whether entries that want nothing change nothing either, as many as there are choices: no other processor has asked
    /// for one, and nobody's time is nearly up.
    pub(crate) fn entries_are_quiet(&self) -> bool {
        const CHOICES: u64 = 100_000;
        !self.machine.kernel.is_kicked(self.machine.cpu)
            && self.idle.current() == self.machine.current()
            && self.machine.timer() > self.machine.now + CHOICES
    }

    /// Lets something happen to a machine in this state. Tells whether the kernel has refused it, and the first law that
    /// is broken, in words.
    pub(crate) fn happen(&self, event: Event, machine: &mut Machine<Tiny>) -> (bool, Option<String>) {
        match event.apply(machine) {
            // Every entry does what other processors have asked for; a refused one does no more than that.
            Some(_) => (true, refusals_change_nothing(&self.idle, machine).err()),
            None => (false, check(&Step::new(self.machine, &self.seen, event, machine)).err()),
        }
    }
}

/// Checks every law of a step that was not refused.
///
/// # Errors
/// The first one that is broken, in words.
pub fn check(step: &Step) -> Result<(), String> {
    for Law { name, sentence, check } in LAWS {
        check(step).map_err(|found| format!("{name}: {found} (it should hold that {sentence})"))?;
    }
    Ok(())
}

/// The one law of refused calls: such a call leaves everything as it was, but for the clock.
///
/// # Errors
/// What has changed, in words.
pub fn refusals_change_nothing(before: &Machine<Tiny>, after: &Machine<Tiny>) -> Result<(), String> {
    match after.kernel.difference(&before.kernel) {
        Some(what) => Err(format!("refusals_change_nothing: a refused call has changed the {what}")),
        None => Ok(()),
    }
}

/// The token that a system call names, if it answers a call or uses its leases.
fn named_token(step: &Step) -> Option<CallerToken> {
    let call = step.call?;
    match call.syscall {
        Syscall::Reply
        | Syscall::ReplyFault
        | Syscall::Forward
        | Syscall::LeaseRead
        | Syscall::LeaseWrite
        | Syscall::LeaseInfo => Some(CallerToken(call.arguments[0])),
        Syscall::ReplyReceive => Some(CallerToken(call.arguments[3])),
        _ => None,
    }
}

/// Whether the domain of the thread that ran has taken a call that is not over.
fn is_pending(step: &Step, token: CallerToken) -> bool {
    let taken = |activity: &&Activity| step.domain().is_some_and(|domain| activity.wait == Wait::Answer(domain));
    step.seen.activities.iter().filter(taken).any(|activity| activity.call == token)
}

fn tokens_name_pending_calls(step: &Step) -> Result<(), String> {
    let Some(token) = named_token(step) else { return Ok(()) };
    if is_pending(step, token) {
        return Ok(());
    }
    if step.call.is_some_and(|call| call.syscall != Syscall::ReplyReceive) {
        return Err(format!("call {token:?} is not pending"));
    }
    // An answer that comes too late is dropped: nobody gets it.
    for before in step.seen.activities.iter().filter(|before| matches!(before.wait, Wait::Answer(_))) {
        let after = step.seen_after.thread(before.thread);
        if after.is_none_or(|after| (after.wait, after.call) != (before.wait, before.call)) {
            return Err(format!("call {:?} has ended with the answer to {token:?}", before.call));
        }
    }
    Ok(())
}

fn deadlines_end_waits(step: &Step) -> Result<(), String> {
    let (Event::Deadline | Event::SliceEnd) = step.event else { return Ok(()) };
    match step.after.kernel.first_deadline(step.after.cpu) {
        Some(deadline) if deadline <= step.after.now => Err(format!("somebody waits since {deadline}")),
        _ => Ok(()),
    }
}

/// Who stands before a thread in its queue, the nearest first.
fn before_in_queue<'v>(activities: &'v [Activity], of: &Activity) -> Vec<&'v Activity> {
    let find = |thread: ThreadId| activities.iter().find(|activity| activity.thread == thread);
    std::iter::successors(of.behind.and_then(find), |next| next.behind.and_then(find)).take(activities.len()).collect()
}

fn queues_keep_their_order(step: &Step) -> Result<(), String> {
    // Whoever ran may have to queue again behind the others, or may not.
    let moved = |thread: ThreadId| Some(thread) == step.who();
    let stayed = |after: &Activity| {
        step.seen.thread(after.thread).filter(|before| {
            (before.wait, before.priority, before.call) == (after.wait, after.priority, after.call)
                && !moved(after.thread)
        })
    };
    for after in step.seen_after.activities.iter().filter(|after| !moved(after.thread) && stayed(after).is_some()) {
        let Some(before) = stayed(after) else { continue };
        let ahead = before_in_queue(&step.seen.activities, before);
        for other in before_in_queue(&step.seen_after.activities, after) {
            let equal = other.priority == after.priority && !moved(other.thread);
            if equal && !ahead.iter().any(|known| known.thread == other.thread) {
                return Err(format!("{:?} has overtaken {:?}", other.thread, after.thread));
            }
        }
    }
    Ok(())
}

/// The bits that a step sets.
fn signals(step: &Step) -> Vec<(NotificationId, u64)> {
    let (kernel, mut signals) = (&step.before.kernel, Vec::new());
    if let Event::Interrupt(interrupt) = step.event {
        signals.extend(kernel.signal_of(interrupt));
    }
    if step.event == Event::Stray {
        signals.extend(kernel.watch_of_devices());
    }
    let Some(call) = step.call else { return signals };
    let target = |handle: u64| {
        let object = step.seen.held(step.domain()?, handle)?.object;
        NotificationId::from_index(object.0)
    };
    match call.syscall {
        Syscall::Notify => signals.extend(target(call.arguments[0]).map(|id| (id, call.arguments[1]))),
        // What was refused before anybody watched is heard.
        Syscall::DeviceWatch if kernel.has_strays() => {
            signals.extend(target(call.arguments[1]).map(|id| (id, call.arguments[2])));
        }
        // Whoever waits already when a doorbell is bound is heard.
        Syscall::EndpointBind => signals.extend(target(call.arguments[1]).map(|id| (id, call.arguments[2]))),
        _ => {}
    }
    signals
}

/// The bits that doorbells set: for calls that wait since this step.
fn doorbells(step: &Step) -> Vec<(NotificationId, u64)> {
    let waits_now = |after: &&Activity| {
        let before = step.seen.thread(after.thread);
        before.is_none_or(|before| (before.wait, before.call) != (after.wait, after.call))
    };
    let endpoint = |activity: &Activity| match activity.wait {
        Wait::Reception(endpoint) => step.after.kernel.doorbell_of(endpoint),
        _ => None,
    };
    step.seen_after.activities.iter().filter(waits_now).filter_map(endpoint).collect()
}

/// The bits that watches set: for calls that were taken and have ended in this step, and whether the watch must have been
/// told. It need not be if the server has ended the call itself, by an answer or by passing it on, or by its death.
fn watches(step: &Step) -> Vec<(NotificationId, u64, bool)> {
    let ended = |before: &&Activity| {
        let after = step.seen_after.thread(before.thread);
        after.is_none_or(|after| (after.wait, after.call) != (before.wait, before.call))
    };
    let must_be_told = |before: &Activity| {
        let after = step.seen_after.thread(before.thread);
        let answered = named_token(step) == Some(before.call);
        let results = after.and_then(|after| after.result.or_else(|| step.result_of(before.thread)));
        let server_died = results.is_some_and(|result| result[0] == Error::PeerDied.to_register());
        // A fault that a dead handler had taken goes to the next one, or to nobody.
        let raised_again = before.fault && after.is_some_and(|after| after.fault || !has_handler(step, after));
        !answered && !server_died && !raised_again
    };
    let taken = step.seen.activities.iter().filter(|before| matches!(before.wait, Wait::Answer(_)));
    taken
        .filter(ended)
        .filter_map(|before| {
            let (notification, bits) = step.before.kernel.watch_of_call(before.thread)?;
            Some((notification, bits, must_be_told(before)))
        })
        .collect()
}

fn signals_arrive(step: &Step) -> Result<(), String> {
    let binds = step.call.is_some_and(|call| call.syscall == Syscall::EndpointBind);
    let sets = if binds { Vec::new() } else { signals(step) };
    let watches =
        watches(step).into_iter().filter(|(.., must)| *must).map(|(notification, bits, _)| (notification, bits));
    for (notification, bits) in sets.into_iter().chain(doorbells(step)).chain(watches) {
        let (before, after) = (step.before.kernel.bits_of(notification), step.after.kernel.bits_of(notification));
        let (Some(before), Some(after)) = (before, after) else { continue };
        let wanted = before | bits;
        let waited = |activity: &&Activity| match activity.wait {
            Wait::Bits(id) => id == notification,
            Wait::Call(_) => activity.bound == Some(notification),
            _ => activity.bound == Some(notification) && step.before.kernel.is_in_guest(activity.thread),
        };
        let told = |activity: &Activity| {
            let result = step.result_of(activity.thread);
            result
                .is_some_and(|result| result[0] & wanted == wanted || (result[0] == 1 && result[1] & wanted == wanted))
        };
        if after & wanted != wanted && !step.seen.activities.iter().filter(waited).any(told) {
            return Err(format!("{notification:?} has {after:#x} of {wanted:#x}, and nobody has been told"));
        }
    }
    Ok(())
}

fn bits_have_a_source(step: &Step) -> Result<(), String> {
    let watches = watches(step).into_iter().map(|(notification, bits, _)| (notification, bits));
    let set: Vec<(NotificationId, u64)> = signals(step).into_iter().chain(doorbells(step)).chain(watches).collect();
    for id in step.after.kernel.notification_ids() {
        let before = step.before.kernel.bits_of(id).unwrap_or(0);
        let known = set.iter().filter(|(set, _)| *set == id).fold(before, |known, (_, bits)| known | bits);
        let now = step.after.kernel.bits_of(id).unwrap_or(0);
        if now & !known != 0 {
            return Err(format!("{id:?} has {now:#x}, of which only {known:#x} were set"));
        }
    }
    Ok(())
}

fn faults_are_not_forgotten(step: &Step) -> Result<(), String> {
    for before in step.seen.activities.iter().filter(|before| before.fault) {
        let Some(after) = step.seen_after.thread(before.thread) else { continue };
        let answered = named_token(step).is_some_and(|token| token.thread() as usize == before.thread.index());
        // What is destroyed stops first.
        let stopped = step.call.is_some_and(|call| {
            let named = step.domain().and_then(|domain| step.seen.held(domain, call.arguments[0]));
            matches!(call.syscall, Syscall::ThreadStop | Syscall::Destroy)
                && named.is_some_and(|held| held.kind == Kind::Thread && held.object.0 == before.thread.index())
        });
        let nowhere = match before.wait {
            Wait::Reception(endpoint) => step.after.kernel.level_of_endpoint(endpoint).is_none(),
            Wait::Answer(_) => after.wait == Wait::Start && !has_handler(step, after),
            _ => false,
        };
        if !after.fault && !answered && !stopped && !nowhere {
            return Err(format!("the fault of {:?} is gone", before.thread));
        }
    }
    Ok(())
}

/// Whether a thread's domain has a fault handler that lives.
fn has_handler(step: &Step, activity: &Activity) -> bool {
    activity.domain.is_some_and(|domain| step.after.kernel.handler_of(domain).is_some())
}
