//! Calls, replies and leases.

use crate::effect::{Effect, FaultReport, LeaseCopy, Resume, Transfer, TransferSource};
use crate::frame::Frame;
use crate::identity::{EndpointId, NotificationId, ThreadId};
use crate::kernel::{Kernel, Tables};
use crate::queue::Queue;
use crate::standing::ObjectName;
use crate::thread::State;
use abi::fault::FaultKind;
use abi::message::{CallerToken, Lease, MAX_CAPS, MAX_LEASES, MessageInfo, REGISTER_WORDS};
use abi::syscall::{RECEIVED_BITS, RECEIVED_MESSAGE};
use abi::time::NEVER;
use abi::{Error, Handle};

/// What a call sends, beyond its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Outgoing {
    pub(crate) info: MessageInfo,
    pub(crate) handles: [u64; MAX_CAPS],
    pub(crate) leases: [Lease; MAX_LEASES],
}

/// What a thread asks for when it receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reception {
    pub(crate) endpoint: Option<EndpointId>,
    pub(crate) accepts: u8,
    pub(crate) deadline: u64,
}

/// Which side of a lease copy was at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CopyFault {
    /// The memory to read from is not mapped readable.
    Source,
    /// The memory to write to is not mapped writable.
    Target,
}

/// The registers of a call that ended with an error.
pub(crate) const fn failed(error: Error) -> Resume {
    Resume::Value(error.to_register())
}

/// The registers of a call that ended with a value.
pub(crate) const fn value(value: u64) -> Resume {
    Resume::Value(value)
}

impl<T: Tables> Kernel<T> {
    pub(crate) fn root_of(&self, thread: ThreadId) -> Frame {
        self.thread(thread)
            .domain
            .and_then(|domain| self.domains.at(domain.index()).space)
            .map_or(Frame(0), |space| self.spaces.at(space.index()).root)
    }

    /// A thread's call, its fields already set: handed to a receiver, or queued.
    pub(crate) fn send(&mut self, caller: ThreadId, endpoint: EndpointId, deadline: u64) -> Effect {
        match self.queue_head(Queue::Receivers(endpoint)) {
            Some(receiver) => {
                let transfer = self.hand_over(caller, receiver, endpoint, deadline);
                Effect::Deliver([Some(transfer), None])
            }
            None => {
                self.set_state(caller, State::Sending(endpoint), deadline);
                let entry = *self.endpoints.at(endpoint.index());
                if let Some(doorbell) = entry.doorbell
                    && self.notifications.get(doorbell.id.index(), doorbell.generation).is_some()
                    && !seeded!(DoorbellLost)
                {
                    self.notify(doorbell.id, entry.doorbell_bits);
                }
                Effect::None
            }
        }
    }

    /// The running thread calls.
    pub(crate) fn call(
        &mut self,
        caller: ThreadId,
        endpoint: EndpointId,
        badge: u64,
        outgoing: Outgoing,
        deadline: u64,
    ) -> Effect {
        self.number_call(caller);
        let interface = self.endpoints.at(endpoint.index()).interface;
        let entry = self.thread_mut(caller);
        entry.interface = interface;
        entry.info = outgoing.info;
        entry.badge = badge;
        entry.handles = outgoing.handles;
        entry.leases = outgoing.leases;
        entry.fault = None;
        self.send(caller, endpoint, deadline)
    }

    /// A call goes from its caller to a thread that waits to receive.
    fn hand_over(&mut self, caller: ThreadId, receiver: ThreadId, endpoint: EndpointId, deadline: u64) -> Transfer {
        let Some(domain) = self.thread(receiver).domain else {
            return self.no_transfer(receiver);
        };
        let (badge, token) = (self.thread(caller).badge, self.token_of(caller));
        let accepts = usize::try_from(self.thread(receiver).accepts).unwrap_or(MAX_CAPS);
        let mut transfer =
            self.transfer(caller, receiver, self.thread(caller).info, self.thread(caller).handles, accepts);
        if let Some(report) = self.thread(caller).fault {
            transfer.source = TransferSource::Fault(caller, report);
        }
        let info = delivered_info(self.thread(caller).info, &transfer);
        let name = self.endpoint_name(endpoint);
        let ceiling = self.endpoints.at(endpoint.index()).ceiling;
        let entry = self.thread_mut(caller);
        entry.server = Some(receiver);
        entry.taken_at = name;
        // A fault handler works on its own time: whoever faults must not slow down its own burial.
        if entry.fault.is_none() {
            self.lend_budget(caller, receiver, ceiling);
        }
        self.set_state(caller, State::Replying(domain), deadline);
        self.thread_mut(receiver).resume = Resume::Result([RECEIVED_MESSAGE, badge, info.0, token.0]);
        self.make_ready(receiver);
        transfer
    }

    fn no_transfer(&self, target: ThreadId) -> Transfer {
        Transfer {
            source: TransferSource::Thread(target, None),
            target,
            target_buffer: None,
            words: 0,
            caps: 0,
            handles: [0; MAX_CAPS],
        }
    }

    /// Describes the move of a message's words and copies its capabilities into the target's table.
    fn transfer(
        &mut self,
        source: ThreadId,
        target: ThreadId,
        info: MessageInfo,
        handles: [u64; MAX_CAPS],
        accepts: usize,
    ) -> Transfer {
        let source_buffer = self.thread(source).buffer;
        let target_buffer = self.thread(target).buffer;
        let both = source_buffer.is_some() && target_buffer.is_some();
        let words = if both { info.words() } else { info.words().min(REGISTER_WORDS) };
        let mut given = [0; MAX_CAPS];
        let mut caps = 0;
        if target_buffer.is_some()
            && let (Some(giver), Some(taker)) = (self.thread(source).domain, self.thread(target).domain)
        {
            for handle in handles.iter().take(info.caps().min(accepts)) {
                // What has become stale since the call was made arrives as no capability, in its place.
                if let Ok((id, capability)) = self.lookup(giver, Handle(*handle))
                    && self.is_object_live(&capability)
                    && self.has_free_slot(taker)
                    && let Some(place) = given.get_mut(caps)
                {
                    *place = self.insert_cap(taker, capability, Some(id)).0;
                }
                caps += 1;
            }
        }
        Transfer {
            source: TransferSource::Thread(source, source_buffer),
            target,
            target_buffer,
            words: part(words),
            caps: part(caps),
            handles: given,
        }
    }

    /// The running thread receives: bits that are there, else a call that waits, else it waits itself.
    pub(crate) fn receive(&mut self, receiver: ThreadId, reception: Reception, now: u64) -> Option<Transfer> {
        self.end_loan(receiver);
        if let Some(bits) = self.take_bound_bits(receiver) {
            self.thread_mut(receiver).resume = Resume::Result([RECEIVED_BITS, bits, 0, 0]);
            return None;
        }
        self.thread_mut(receiver).accepts = reception.accepts.into();
        if let Some(endpoint) = reception.endpoint
            && let Some(caller) = self.queue_head(Queue::Callers(endpoint))
        {
            let deadline = self.thread(caller).deadline;
            return Some(self.hand_over(caller, receiver, endpoint, deadline));
        }
        if reception.deadline <= now {
            self.thread_mut(receiver).resume = failed(late(reception.deadline));
            return None;
        }
        self.set_state(receiver, State::Receiving(reception.endpoint), reception.deadline);
        None
    }

    fn take_bound_bits(&mut self, thread: ThreadId) -> Option<u64> {
        let bound = self.thread(thread).bound?;
        let notification = self.notifications.at_mut(bound.index());
        let bits = core::mem::take(&mut notification.bits);
        (bits != 0).then_some(bits)
    }

    /// Answers a call, which decoding has found to be pending. `None` if the answer is not a message: a repaired fault.
    pub(crate) fn reply(
        &mut self,
        server: ThreadId,
        caller: ThreadId,
        info: MessageInfo,
        handles: [u64; MAX_CAPS],
    ) -> Option<Transfer> {
        if let Some(report) = self.thread(caller).fault {
            match report.kind {
                // What ended on purpose does not go on.
                FaultKind::Exit | FaultKind::Panic => self.stop(caller),
                FaultKind::Protocol => self.finish_call(caller, failed(Error::ProtocolFault)),
                _ => self.finish_call(caller, Resume::Continue),
            }
            return None;
        }
        let transfer = self.transfer(server, caller, info, handles, MAX_CAPS);
        let info = delivered_info(info, &transfer);
        self.finish_call(caller, Resume::Result([0, 0, info.0, 0]));
        Some(transfer)
    }

    /// Ends a pending call with a result for its caller, and the loan with it.
    pub(crate) fn finish_call(&mut self, caller: ThreadId, resume: Resume) {
        if !seeded!(LoanKept) {
            self.release_loan(caller);
        }
        let entry = self.thread_mut(caller);
        entry.server = None;
        entry.taken_at = ObjectName::NONE;
        entry.fault = None;
        self.wake(caller, resume);
    }

    /// What is to hear that a thread's call has ended without an answer, and with which bits, if its call was taken and
    /// somebody watches the endpoint.
    pub(crate) fn watch_of(&self, caller: ThreadId) -> Option<(NotificationId, u64)> {
        self.watch_of_call(caller).filter(|_| !seeded!(WatchLost))
    }

    /// Takes back the budget that a pending call lends.
    pub(crate) fn release_loan(&mut self, caller: ThreadId) {
        if let Some(server) = self.borrower_of(caller) {
            self.end_loan(server);
        }
    }

    /// Passes a pending call on to another endpoint: words and leases as its caller sent them. Capabilities that came
    /// with it stay with whom they came to.
    pub(crate) fn forward(&mut self, caller: ThreadId, endpoint: EndpointId, badge: u64) -> Effect {
        self.release_loan(caller);
        let deadline = self.thread(caller).deadline;
        // It is nobody's call until it is sent: not even one put aside.
        self.set_state(caller, State::Stopped, NEVER);
        // Its old name is nobody's any more.
        self.number_call(caller);
        let entry = self.thread_mut(caller);
        entry.server = None;
        entry.taken_at = ObjectName::NONE;
        entry.badge = badge;
        entry.info =
            MessageInfo::new(entry.info.label(), part(entry.info.words())).with_leases(part(entry.info.leases()));
        self.send(caller, endpoint, deadline)
    }

    /// Answers a call by faulting its caller.
    pub(crate) fn reply_fault(&mut self, caller: ThreadId, code: u64) -> Effect {
        self.release_loan(caller);
        self.stop(caller);
        self.raise_fault(caller, FaultReport { kind: FaultKind::Protocol, address: 0, code })
    }

    /// A thread's deadline has passed.
    pub(crate) fn expire(&mut self, thread: ThreadId) {
        match self.thread(thread).state {
            State::Sending(_) | State::Replying(_) => {
                let watch = self.watch_of(thread);
                self.finish_call(thread, failed(Error::TimedOut));
                if let Some((notification, bits)) = watch {
                    self.notify(notification, bits);
                }
            }
            State::Receiving(_) | State::Waiting(_) | State::Sleeping => self.wake(thread, failed(Error::TimedOut)),
            State::Exhausted => self.make_ready(thread),
            State::Ready | State::Stopped | State::Forgetting => self.cancel_timer(thread),
        }
    }

    // ---- notifications ----

    /// Sets bits and wakes whom they concern.
    pub(crate) fn notify(&mut self, id: NotificationId, bits: u64) {
        let notification = self.notifications.at_mut(id.index());
        notification.bits = if seeded!(BitLost) { bits } else { notification.bits | bits };
        let (bits, bound) = (notification.bits, notification.bound);
        if bits == 0 {
            return;
        }
        if let Some(thread) = bound
            && let State::Receiving(_) = self.thread(thread).state
        {
            self.notifications.at_mut(id.index()).bits = 0;
            self.wake(thread, Resume::Result([RECEIVED_BITS, bits, 0, 0]));
        } else if let Some(thread) = bound
            && self.thread(thread).in_guest
        {
            self.notifications.at_mut(id.index()).bits = 0;
            self.interrupt_guest(thread, bits);
        } else if let Some(thread) = self.queue_head(Queue::Waiters(id)) {
            self.notifications.at_mut(id.index()).bits = 0;
            self.wake(thread, value(bits));
        }
    }

    /// The running thread waits for bits, or without a notification just for its deadline.
    pub(crate) fn wait(&mut self, thread: ThreadId, notification: Option<NotificationId>, deadline: u64, now: u64) {
        let state = match notification {
            Some(id) => {
                let bits = core::mem::take(&mut self.notifications.at_mut(id.index()).bits);
                if bits != 0 {
                    self.thread_mut(thread).resume = value(bits);
                    return;
                }
                State::Waiting(id)
            }
            None => State::Sleeping,
        };
        if deadline <= now {
            self.thread_mut(thread).resume = failed(late(deadline));
            return;
        }
        self.end_loan(thread);
        self.set_state(thread, state, deadline);
    }

    // ---- leases ----

    /// The living thread that a token names, whether or not its call is pending.
    pub(crate) fn any_caller(&self, token: u64) -> Option<ThreadId> {
        let thread = ThreadId::from_index(CallerToken(token).thread() as usize)?;
        self.threads.is_live(thread.index()).then_some(thread)
    }

    /// Finds the caller of a pending call that the server's domain has taken.
    pub(crate) fn pending_caller(&self, server: ThreadId, token: u64) -> Result<ThreadId, Error> {
        let caller = self.any_caller(token).ok_or(Error::CallerGone)?;
        let token = CallerToken(token);
        let entry = self.thread(caller);
        match entry.state {
            State::Replying(domain)
                if Some(domain) == self.thread(server).domain && (entry.call == token || seeded!(StaleReply)) =>
            {
                Ok(caller)
            }
            _ => Err(Error::CallerGone),
        }
    }

    /// A lease of a pending call.
    pub(crate) fn lease(&self, caller: ThreadId, index: u64) -> Result<Lease, Error> {
        let entry = self.thread(caller);
        if entry.fault.is_some() || index >= entry.info.leases() as u64 {
            return Err(Error::BadLease);
        }
        let lease = usize::try_from(index).ok().and_then(|index| entry.leases.get(index));
        lease.copied().ok_or(Error::BadLease)
    }

    /// The shell has carried out an [`Effect::Copy`].
    pub fn copied(&mut self, copy: &LeaseCopy, result: Result<(), CopyFault>) {
        let Some(thread) = self.running() else { return };
        self.thread_mut(thread).resume = match result {
            Ok(()) => value(copy.length),
            Err(side) if side == copy.lender => failed(Error::BadLease),
            Err(_) => failed(Error::BadAddress),
        };
    }
}

/// A deadline of "now" means that the caller did not want to wait; a later one has passed.
pub(crate) const fn late(deadline: u64) -> Error {
    if deadline == abi::time::NOW { Error::WouldBlock } else { Error::TimedOut }
}

/// A number of words, capabilities or leases.
#[expect(clippy::cast_possible_truncation, reason = "a message's description has seven bits for it at most")]
const fn part(number: usize) -> u8 {
    number as u8
}

/// The info that the receiver sees: what really arrived.
fn delivered_info(sent: MessageInfo, transfer: &Transfer) -> MessageInfo {
    MessageInfo::new(sent.label(), transfer.words).with_caps(transfer.caps).with_leases(part(sent.leases()))
}
