//! What observers may know of authority and of activity: who holds what, what is mapped where, who waits for what.

use crate::effect::Resume;
use crate::frame::Frame;
use crate::identity::{CapId, DomainId, EndpointId, InterruptId, NotificationId, SpaceId, ThreadId};
use crate::kernel::{Kernel, Tables};
use crate::table::Slots;
use crate::thread::State;
use abi::Handle;
use abi::message::CallerToken;
use abi::rights::{Kind, RawRights};
use abi::syscall::MapAccess;

/// The name of a capability: no other one ever has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CapName {
    slot: CapId,
    generation: u32,
}

/// A capability that a domain holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Its name.
    pub name: CapName,
    /// Whose table it is in.
    pub holder: DomainId,
    /// What the holder calls it.
    pub handle: Handle,
    /// The kind of object.
    pub kind: Kind,
    /// Index and generation of the object.
    pub object: (usize, u32),
    /// Whether the object lives. One that does not can be reached by nobody.
    pub lives: bool,
    /// What it allows.
    pub rights: RawRights,
    /// Its badge; of memory, first frame and, from bit 32 on, pages; of ports, the first one and their number.
    pub badge: u64,
    /// What it was made from.
    pub parent: Option<CapName>,
}

/// A run of frames that a space shows, or that a thread has for its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its public id.
    pub id: u64,
    /// The space, or the thread whose message buffer it is.
    pub place: Result<SpaceId, ThreadId>,
    /// First address.
    pub address: u64,
    /// First frame.
    pub frame: Frame,
    /// Pages.
    pub pages: u16,
    /// How.
    pub access: MapAccess,
    /// The memory capability that it was made from.
    pub from: Option<CapName>,
}

/// What a thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// To be started.
    Start,
    /// Its turn, or nothing: it runs.
    Turn,
    /// To be received at an endpoint.
    Reception(EndpointId),
    /// The answer of a domain.
    Answer(DomainId),
    /// A call, or the bits of its bound notification.
    Call(Option<EndpointId>),
    /// Bits.
    Bits(NotificationId),
    /// Nothing that observers distinguish: time, a budget, other processors.
    Time,
}

/// What a thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activity {
    /// The thread.
    pub thread: ThreadId,
    /// Its domain.
    pub domain: Option<DomainId>,
    /// What it waits for.
    pub wait: Wait,
    /// Who stands directly before it in the queue in which it waits.
    pub behind: Option<ThreadId>,
    /// Its priority there.
    pub priority: u8,
    /// The name of its latest call.
    pub call: CallerToken,
    /// Its pending call is a fault.
    pub fault: bool,
    /// What it will find in its registers, if a system call of it has ended while it did not run.
    pub result: Option<[u64; 4]>,
    /// The notification bound to it.
    pub bound: Option<NotificationId>,
}

impl<T: Tables> Kernel<T> {
    fn name_of(&self, slot: CapId) -> CapName {
        CapName { slot, generation: self.cap(slot).generation }
    }

    /// Every capability that there is, by name.
    pub fn holdings(&self) -> impl Iterator<Item = Holding> + '_ {
        (1..T::Caps::LENGTH).filter_map(CapId::from_index).filter_map(|slot| {
            let entry = self.cap(slot);
            let found = entry.capability()?;
            Some(Holding {
                name: self.name_of(slot),
                holder: entry.domain?,
                handle: self.handle_of(slot),
                kind: found.kind,
                object: (found.object as usize, found.generation),
                lives: self.is_object_live(&found),
                rights: found.rights,
                badge: found.badge,
                parent: entry.parent.map(|parent| self.name_of(parent)),
            })
        })
    }

    /// Every mapping and every message buffer.
    pub fn windows(&self) -> impl Iterator<Item = Window> + '_ {
        self.mappings.live_indices().filter_map(|index| {
            let mapping = self.mappings.at(index);
            Some(Window {
                id: self.mapping_number(index),
                place: match (mapping.space, mapping.thread) {
                    (Some(space), _) => Ok(space),
                    (None, thread) => Err(thread?),
                },
                address: mapping.address,
                frame: mapping.frame,
                pages: mapping.pages,
                access: mapping.access?,
                from: mapping.parent.map(|parent| self.name_of(parent)),
            })
        })
    }

    /// What every living thread does.
    pub fn activities(&self) -> impl Iterator<Item = Activity> + '_ {
        self.living_threads().map(|thread| {
            let entry = self.thread(thread);
            let head = self.queue_of(thread).and_then(|queue| self.queue_head(queue));
            Activity {
                thread,
                domain: entry.domain,
                wait: match entry.state {
                    State::Stopped => Wait::Start,
                    State::Ready => Wait::Turn,
                    State::Sending(endpoint) => Wait::Reception(endpoint),
                    State::Replying(domain) => Wait::Answer(domain),
                    State::Receiving(endpoint) => Wait::Call(endpoint),
                    State::Waiting(notification) => Wait::Bits(notification),
                    State::Sleeping | State::Exhausted | State::Forgetting => Wait::Time,
                },
                // Answers come in any order: nobody stands in line for them.
                behind: entry.previous.filter(|_| head != Some(thread) && !matches!(entry.state, State::Replying(_))),
                priority: entry.priority,
                call: self.token_of(thread),
                fault: entry.fault.is_some(),
                result: match entry.resume {
                    Resume::LeaveGuest => Some(entry.guest_result),
                    resume => resume.result(),
                },
                bound: entry.bound,
            }
        })
    }

    /// The capabilities that a thread's pending call brings along.
    pub fn offers(&self, thread: ThreadId) -> impl Iterator<Item = CapName> + '_ {
        let entry = self.thread(thread);
        let waits = matches!(entry.state, State::Sending(_));
        let count = if waits { entry.info.caps() } else { 0 };
        entry.handles.iter().take(count).filter_map(move |handle| {
            let (slot, _) = self.lookup(entry.domain?, Handle(*handle)).ok()?;
            Some(self.name_of(slot))
        })
    }

    /// The latest deadline for which somebody waits.
    pub fn latest_deadline(&self) -> Option<u64> {
        let timed = self.living_threads().map(|thread| self.thread(thread)).filter(|entry| entry.place.timer() != 0);
        timed.map(|entry| entry.deadline).max()
    }

    /// The bits of a living notification.
    pub fn bits_of(&self, notification: NotificationId) -> Option<u64> {
        let index = notification.index();
        self.notifications.is_live(index).then(|| self.notifications.at(index).bits)
    }

    /// The notification that hears of calls which find nobody receiving at an endpoint, if it lives, and with which bits.
    pub fn doorbell_of(&self, endpoint: EndpointId) -> Option<(NotificationId, u64)> {
        let entry = self.endpoints.at(endpoint.index());
        let doorbell = entry.doorbell.filter(|_| self.endpoints.is_live(endpoint.index()))?;
        let lives = self.notifications.get(doorbell.id.index(), doorbell.generation).is_some();
        lives.then_some((doorbell.id, entry.doorbell_bits))
    }

    /// What hears of it if the call of a thread ends without an answer: the notification that watches the endpoint at which
    /// it was taken, and the bits.
    pub fn watch_of_call(&self, thread: ThreadId) -> Option<(NotificationId, u64)> {
        let at = self.thread(thread).taken_at;
        let endpoint = self.endpoints.get(at.index(), at.generation())?;
        let watch = endpoint.watch?;
        self.notifications.get(watch.id.index(), watch.generation).map(|_| (watch.id, endpoint.watch_bits))
    }

    /// Every living notification.
    pub fn notification_ids(&self) -> impl Iterator<Item = NotificationId> + '_ {
        self.notifications.live_indices().filter_map(NotificationId::from_index)
    }

    /// Where it is told that devices were refused something, and by which bits.
    pub fn watch_of_devices(&self) -> Option<(NotificationId, u64)> {
        let watch = self.strays.watch?;
        self.notifications.get(watch.id.index(), watch.generation)?;
        Some((watch.id, self.strays.watch_bits))
    }

    /// The bits that an interrupt would set now, and of which notification, if it is unmasked and the notification lives.
    pub fn signal_of(&self, interrupt: InterruptId) -> Option<(NotificationId, u64)> {
        let entry = self.interrupts.at(interrupt.index());
        let bound = entry.notification.filter(|_| self.interrupts.is_live(interrupt.index()) && entry.unmasked)?;
        let lives = self.notifications.get(bound.id.index(), bound.generation).is_some();
        lives.then_some((bound.id, entry.bits))
    }

    /// The endpoint that hears of the faults of a domain's threads, if it lives.
    pub fn handler_of(&self, domain: DomainId) -> Option<EndpointId> {
        let handler = self.domains.at(domain.index()).fault_handler?;
        self.endpoints.get(handler.id.index(), handler.generation).map(|_| handler.id)
    }

    /// The level of a living domain.
    pub fn level_of(&self, domain: DomainId) -> Option<u8> {
        self.domains.is_live(domain.index()).then(|| self.domains.at(domain.index()).level)
    }

    /// The level of a living endpoint.
    pub fn level_of_endpoint(&self, endpoint: EndpointId) -> Option<u8> {
        self.endpoints.is_live(endpoint.index()).then(|| self.endpoints.at(endpoint.index()).level)
    }

    /// Whether a domain lives, rather than being taken apart.
    pub fn is_domain_live(&self, domain: DomainId) -> bool {
        self.domains.is_live(domain.index())
    }

    /// Whether a space lives, rather than being taken apart.
    pub fn is_space_live(&self, space: SpaceId) -> bool {
        self.spaces.is_live(space.index())
    }
}
