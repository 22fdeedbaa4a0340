//! The short way from a call to the server that waits for it, and from its answer back to the caller. That of notifications is
//! in [`crate::signal`].
//!
//! Most calls carry no more than registers, to a server that waits on the same processor, and nobody else is concerned.
//! Then all that happens is decided here at once: the server goes on in its caller's place, on its caller's time, and the
//! answer the other way round. Whatever is less simple is left to [`Kernel::decode`] and [`Kernel::perform`], which come to
//! the same state where both apply; the search through the states compares them.
//!
//! What makes it short: nothing is asked that is known already. Whether the running thread is concerned by anything is
//! noted when it is let run ([`crate::Cpu`]'s `undisturbed`), and forgotten by whatever disturbs it. A capability carries
//! what its holder may do ([`crate::ShortWays`]), an endpoint in one word whether it lives and who waits
//! (its `Standing`), a thread in one word where it runs (its `Place`). The budget does not change between caller
//! and server, so no time is charged: the next entry does that, to the thread that runs then. The ready queues are left
//! as they are, and the next entry catches up.

use crate::capability::{CapSlot, ShortWays};
use crate::frame::Frame;
use crate::identity::{CpuId, ThreadId};
use crate::kernel::{Kernel, Tables};
use crate::standing::{ObjectName, Standing};
use crate::table::Slots;
use crate::thread::{Serving, State, Thread};
use abi::message::{CallerToken, MAX_WORDS, MessageInfo};
use abi::time::NEVER;
use abi::{Error, Handle};

/// What carries a message in the short way.
pub trait Medium {
    /// What the shell has to know to carry the words that are not in registers.
    type Way;

    /// The way from one thread to another, if both can go it.
    fn way(from: &Thread, to: &Thread) -> Option<Self::Way>;
}

/// InRegisters alone.
#[derive(Clone, Copy, Debug)]
pub struct InRegisters;

/// InRegisters, and for the other words the threads' message buffers: the way is from one frame to another.
#[derive(Clone, Copy, Debug)]
pub struct InBuffers;

impl Medium for InRegisters {
    type Way = ();

    #[inline(always)]
    fn way(_: &Thread, _: &Thread) -> Option<()> {
        Some(())
    }
}

impl Medium for InBuffers {
    type Way = [Frame; 2];

    #[inline(always)]
    fn way(from: &Thread, to: &Thread) -> Option<[Frame; 2]> {
        Some([from.buffer?, to.buffer?])
    }
}

/// Leaves the rest to the long way. The compiler is told how rarely, or it would work out several reasons before it asks for
/// the first.
macro_rules! give_up {
    () => {{
        core::hint::cold_path();
        return None;
    }};
}
pub(crate) use give_up;

/// A call goes to a server that takes it at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery<W> {
    /// Index of the server, which goes on.
    pub server: usize,
    /// The badge of the capability that was called.
    pub badge: u64,
    /// The name of the call.
    pub token: CallerToken,
    /// The way of its words.
    pub way: W,
}

/// Whether a call or an answer is to be tried the short way: it has words only, and no deadline. Its counts of capabilities
/// and leases lie above that of words. The entry code asks this before it does anything else.
pub const fn is_plain(info: MessageInfo, deadline: u64) -> bool {
    info.0 & 0xffff_ffff <= MAX_WORDS as u64 && deadline == NEVER
}

impl<T: Tables> Kernel<T> {
    /// Carries out a plain call ([`is_plain`]), or nothing if it is not a simple one. `interface` is as in
    /// [`abi::syscall::Syscall::Call`].
    #[inline(always)]
    pub fn call_at_once<M: Medium>(
        &mut self,
        cpu: CpuId,
        handle: u64,
        info: MessageInfo,
        interface: u64,
    ) -> Option<Delivery<M::Way>> {
        // If there is nobody, it is the empty slot of index 0, which has no capabilities.
        let id = self.undisturbed.at(cpu.index()).thread.map_or(0, ThreadId::index);
        let caller = self.threads.at(id);
        let slot = self.slot_at_once(caller, handle, ShortWays::CALL)?;
        let name = slot.name;
        let called = self.endpoints.at(name.index());
        if called.standing != Standing::awaited(name, cpu) {
            give_up!();
        }
        if called.interface != interface {
            give_up!();
        }
        let (place, ceiling) = (caller.place, called.ceiling);
        let priority = place.base().max(ceiling);
        if priority < self.undisturbed.at(cpu.index()).above_others {
            give_up!();
        }
        let badge = slot.badge;

        // As the endpoint stands there is one.
        let receiver = called.receivers;
        let server = receiver.map_or(0, ThreadId::index);
        let Some(way) = M::way(caller, self.threads.at(server)) else { give_up!() };

        self.undisturbed.at_mut(cpu.index()).thread = receiver;
        let called = self.endpoints.at_mut(name.index());
        called.receivers = None;
        called.standing = Standing::quiet(name);
        let entry = self.threads.at_mut(server);
        entry.place = place;
        entry.priority = priority;
        entry.ceiling = ceiling;
        entry.state = State::Ready;
        let takes = entry.takes;
        let caller = self.threads.at_mut(id);
        caller.state = takes;
        caller.server = receiver;
        caller.taken_at = name;
        caller.info = info;
        caller.interface = interface;
        let token = caller.call.next();
        caller.call = token;
        self.threads.at_mut(server).serving = Serving::of(token);
        Some(Delivery { server, badge, token, way })
    }

    /// Why the running thread's call is refused, if that is because its handle names nothing: to be asked after
    /// [`Kernel::call_at_once`] has done nothing. Nothing else is looked at before that.
    #[inline(always)]
    pub fn refusal_at_once(&self, cpu: CpuId, handle: u64) -> Option<Error> {
        let caller = self.undisturbed.at(cpu.index()).thread?;
        self.lookup(self.thread(caller).domain?, Handle(handle)).err()
    }

    /// Answers the call that the running thread works on with a plain message, and lets it wait for the next one without a
    /// deadline ([`is_plain`]); or does nothing if that is not simple. Arguments are as in [`abi::syscall::Syscall::ReplyReceive`]. Returns the index
    /// of the caller, which goes on, and the way of the words.
    #[inline(always)]
    pub fn answer_at_once<M: Medium>(
        &mut self,
        cpu: CpuId,
        handle: u64,
        token: u64,
        accepts: u64,
    ) -> Option<(usize, M::Way)> {
        // As above.
        let running = self.undisturbed.at(cpu.index()).thread;
        let id = running.map_or(0, ThreadId::index);
        let server = self.threads.at(id);
        if server.serving != Serving::of(CallerToken(token)) {
            give_up!();
        }
        if server.accepts != accepts {
            give_up!();
        }
        let slot = self.slot_at_once(server, handle, ShortWays::RECEIVE)?;
        let name = slot.name;
        if self.endpoints.at(name.index()).standing != Standing::quiet(name) {
            give_up!();
        }
        if let Some(bound) = server.bound
            && self.notifications.at(bound.index()).bits != 0
        {
            give_up!();
        }
        let other = usize::from(CallerToken(token).thread());
        let caller = self.threads.at(other);
        // Nobody has index 0, and so no place like this one.
        if caller.place != server.place {
            give_up!();
        }
        if caller.priority < self.undisturbed.at(cpu.index()).above_others {
            give_up!();
        }
        let Some(way) = M::way(server, caller) else { give_up!() };

        let server = self.threads.at_mut(id);
        server.serving = Serving::NOBODY;
        server.ceiling = 0;
        server.place = server.rest;
        server.priority = server.rest.base();
        server.state = State::Receiving(name.endpoint());
        let served = self.endpoints.at_mut(name.index());
        served.receivers = running;
        served.standing = Standing::awaited(name, cpu);
        let caller = self.threads.at_mut(other);
        caller.server = None;
        caller.taken_at = ObjectName::NONE;
        caller.state = State::Ready;
        self.undisturbed.at_mut(cpu.index()).thread = ThreadId::from_index(other);
        Some((other, way))
    }

    /// The slot that a thread names, if its domain may do this with what is in it.
    #[inline(always)]
    pub(crate) fn slot_at_once(&self, thread: &Thread, handle: u64, way: ShortWays) -> Option<&CapSlot> {
        let index = handle & 0xffff;
        if index >= thread.table.length.into() {
            give_up!();
        }
        let slot = self.caps.at(thread.table.base as usize + index as usize);
        if u64::from(slot.generation) != handle >> 16 {
            give_up!();
        }
        if !slot.short_ways.contains(way) {
            give_up!();
        }
        Some(slot)
    }
}
