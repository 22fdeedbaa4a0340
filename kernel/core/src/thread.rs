//! Threads: what the scheduler runs, and where each of them waits.

use crate::cpu::Shootdown;
use crate::effect::{FaultReport, Resume};
use crate::frame::Frame;
use crate::identity::{AccountId, BudgetId, CpuId, DomainId, EndpointId, MappingId, NotificationId, ThreadId};
use crate::standing::ObjectName;
use crate::table::{Slot, Vacant};
use crate::vcpu::Vcpu;
use abi::message::{CallerToken, Lease, MAX_CAPS, MAX_LEASES, MessageInfo};

/// What a thread does. A thread is in at most one queue, the one its state names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum State {
    /// Does nothing until it is started.
    Stopped,
    /// Runs or could run: it is in the ready queue of its processor and priority.
    Ready,
    /// Has called and waits to be received: in the endpoint's queue of callers.
    Sending(EndpointId),
    /// Its call was taken and it waits for the answer: in the serving domain's list, unless a thread works on the call.
    Replying(DomainId),
    /// Waits for a call or for the bits of its bound notification: in the endpoint's queue of receivers, or in none.
    Receiving(Option<EndpointId>),
    /// Waits for bits: in the notification's queue.
    Waiting(NotificationId),
    /// Waits for its deadline.
    Sleeping,
    /// Could run, but its budgets are dry: waits for the first of them to have something again.
    Exhausted,
    /// Has changed an address space and waits until every processor has forgotten what was there.
    Forgetting,
}

/// Where and on what a thread runs: what a server takes over from the caller for whom it works. One word, so that this
/// takes one move and one comparison.
///
/// | bits | meaning |
/// | --- | --- |
/// | 0–15 | its place in the timer heap, 0 if it is not there |
/// | 16–31 | the one of its two budgets that it runs on |
/// | 32–39 | the processor in whose ready queue it is or was last; while it runs, its registers are there |
/// | 40–47 | 1 if its budget never runs dry, and is the one that it would choose again |
/// | 48–55 | the budget's priority |
/// | 56 | 1 if its own budget may run dry: then no answer finds it in its server's place |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub(crate) struct Place(u64);

impl Place {
    const BUDGET: u32 = 16;
    const CPU: u32 = 32;
    const STEADY: u32 = 40;
    const BASE: u32 = 48;
    const RESTLESS: u32 = 56;

    /// Without a budget, on the processor that boots.
    pub(crate) const NOWHERE: Place = Place(0);

    /// On a budget with this priority, on the processor that boots.
    pub(crate) const fn on(budget: BudgetId, base: u8, is_steady: bool) -> Self {
        let word = (budget.index() as u64) << Self::BUDGET;
        Place(word | (is_steady as u64) << Self::STEADY | (base as u64) << Self::BASE)
    }

    #[expect(clippy::cast_possible_truncation, reason = "the lowest bits are what is wanted")]
    pub(crate) const fn timer(self) -> u16 {
        self.0 as u16
    }

    pub(crate) const fn set_timer(&mut self, place: u16) {
        self.0 = self.0 & !0xffff | place as u64;
    }

    #[expect(clippy::cast_possible_truncation, reason = "the lowest bits are what is wanted")]
    pub(crate) const fn budget(self) -> Option<BudgetId> {
        BudgetId::from_index((self.0 >> Self::BUDGET) as u16 as usize)
    }

    #[expect(clippy::cast_possible_truncation, reason = "the lowest bits are what is wanted")]
    pub(crate) const fn cpu(self) -> CpuId {
        match CpuId::from_index((self.0 >> Self::CPU) as u8 as usize) {
            Some(cpu) => cpu,
            None => CpuId::BOOT,
        }
    }

    /// The same on another processor.
    pub(crate) const fn moved_to(self, cpu: CpuId) -> Self {
        Place(self.0 & !(0xff << Self::CPU) | (cpu.index() as u64) << Self::CPU)
    }

    /// The place of a thread whose own place is this one.
    pub(crate) const fn beside(self, rest: Place) -> Self {
        Place(self.0 | (!rest.is_steady() as u64) << Self::RESTLESS)
    }

    pub(crate) const fn is_steady(self) -> bool {
        self.0 >> Self::STEADY & 1 != 0
    }

    #[expect(clippy::cast_possible_truncation, reason = "the lowest bits are what is wanted")]
    pub(crate) const fn base(self) -> u8 {
        (self.0 >> Self::BASE) as u8
    }
}

/// A run of slots of the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TableSpan {
    pub(crate) base: u32,
    pub(crate) length: u32,
}

/// The name of the call that a thread works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub(crate) struct Serving(u64);

impl Serving {
    /// It works on none. No thread has index 0, so no name is 0.
    pub(crate) const NOBODY: Serving = Serving(0);

    pub(crate) const fn of(token: CallerToken) -> Self {
        Serving(token.0)
    }

    pub(crate) const fn token(self) -> Option<CallerToken> {
        if self.0 == 0 { None } else { Some(CallerToken(self.0)) }
    }
}

/// A thread. What calls and answers touch comes first, in two cache lines, and a slot of the table is as long as a power of
/// two, so that a shift finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Thread {
    /// Where and on what it runs.
    pub(crate) place: Place,
    /// Its place when it works for nobody: on its own budget, the reserve, on the same processor.
    pub(crate) rest: Place,
    /// Where its domain's capabilities are.
    pub(crate) table: TableSpan,
    /// Name of its latest call. The number goes on rising when the slot is used again.
    pub(crate) call: CallerToken,
    /// The call that it works on, whose caller lends it the budget that it runs on itself.
    pub(crate) serving: Serving,
    /// Where its call was taken.
    pub(crate) taken_at: ObjectName,
    /// The message of its pending call.
    pub(crate) info: MessageInfo,
    /// The interface that its pending call is for.
    pub(crate) interface: u64,

    /// How many capabilities it accepts with the message that it waits for.
    pub(crate) accepts: u64,
    pub(crate) state: State,
    /// How those wait whose calls it takes: for an answer of its domain.
    pub(crate) takes: State,
    /// Who has taken its call.
    pub(crate) server: Option<ThreadId>,
    /// The notification whose bits its `Receive` also returns.
    pub(crate) bound: Option<NotificationId>,
    pub(crate) domain: Option<DomainId>,
    pub(crate) account: Option<AccountId>,
    /// The priority at which it is queued: its budget's, or that of the endpoint whose call it works on.
    pub(crate) priority: u8,
    /// Priority of the endpoint whose call it works on; it runs at this one at least.
    pub(crate) ceiling: u8,
    /// Others go first once the entry has ended in which this was found.
    pub(crate) turn_over: bool,
    pub(crate) next: Option<ThreadId>,
    pub(crate) previous: Option<ThreadId>,
    /// Of the first of a run of several equals in a queue by priority, the last; of the last, the first.
    pub(crate) run: Option<ThreadId>,
    pub(crate) next_in_domain: Option<ThreadId>,
    pub(crate) previous_in_domain: Option<ThreadId>,

    /// What it finds when it goes on.
    pub(crate) resume: Resume,
    /// When its wait ends at the latest.
    pub(crate) deadline: u64,
    /// The badge under which it waits to be received.
    pub(crate) badge: u64,
    pub(crate) handles: [u64; MAX_CAPS],
    pub(crate) leases: [Lease; MAX_LEASES],
    /// Its pending call is a fault.
    pub(crate) fault: Option<FaultReport>,
    /// Its message buffer, and the record that pins it.
    pub(crate) buffer: Option<Frame>,
    pub(crate) buffer_mapping: Option<MappingId>,
    /// The last shootdown that it has caused and that it is to wait for.
    pub(crate) shootdown: Option<Shootdown>,
    /// Nanoseconds it has run, as far as entries have told.
    pub(crate) runtime: u64,
    /// Its guest, if it is a virtual processor.
    pub(crate) vcpu: Option<Vcpu>,
    /// It is in its guest, or will be when it runs next.
    pub(crate) in_guest: bool,
    /// What it finds when it leaves its guest.
    pub(crate) guest_result: [u64; 4],
    pub(crate) spare: [u64; Thread::SPARE],
}

static_assertions::const_assert_eq!(core::mem::size_of::<Slot<Thread>>(), 512);

impl Vacant for Thread {
    const EMPTY: Self = Self {
        account: None,
        domain: None,
        rest: Place::NOWHERE,
        table: TableSpan { base: 0, length: 0 },
        takes: State::Stopped,
        place: Place::NOWHERE,
        priority: 0,
        turn_over: false,
        ceiling: 0,
        state: State::Stopped,
        resume: Resume::Continue,
        next: None,
        previous: None,
        run: None,
        next_in_domain: None,
        previous_in_domain: None,
        deadline: 0,
        call: CallerToken(0),
        info: MessageInfo(0),
        badge: 0,
        interface: 0,
        handles: [0; MAX_CAPS],
        leases: [Lease { address: 0, length_and_access: 0 }; MAX_LEASES],
        fault: None,
        server: None,
        taken_at: ObjectName::NONE,
        serving: Serving::NOBODY,
        accepts: 0,
        buffer: None,
        buffer_mapping: None,
        bound: None,
        shootdown: None,
        runtime: 0,
        vcpu: None,
        in_guest: false,
        guest_result: [0; 4],
        spare: [0; Self::SPARE],
    };
}

impl Thread {
    /// Words that make a slot as long as a power of two.
    const SPARE: usize = 18;

    /// Where it is, it is from now on on this processor.
    pub(crate) fn move_to(&mut self, cpu: CpuId) {
        self.place = self.place.moved_to(cpu);
        self.rest = self.rest.moved_to(cpu);
    }
}
