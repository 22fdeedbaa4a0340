//! Threads: what the scheduler runs, and where each of them waits.

use crate::cpu::Shootdown;
use crate::effect::{FaultReport, Resume};
use crate::frame::Frame;
use crate::identity::{AccountId, BudgetId, CpuId, DomainId, EndpointId, MappingId, NotificationId, ThreadId};
use crate::table::Reference;
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
    /// Its call was taken and it waits for the answer: in the serving domain's list.
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

/// A thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Thread {
    pub(crate) account: Option<AccountId>,
    pub(crate) domain: Option<DomainId>,
    /// Its own budget.
    pub(crate) reserve: Option<BudgetId>,
    /// The budget that the caller of [`Thread::serving`] lends it.
    pub(crate) loan: Option<BudgetId>,
    /// The one of the two that it runs on.
    pub(crate) budget: Option<BudgetId>,
    /// The processor in whose ready queue it is or was last. While it runs, its registers are there.
    pub(crate) cpu: CpuId,
    /// Others go first once the entry has ended in which this was found.
    pub(crate) turn_over: bool,
    /// Priority of the endpoint whose call it works on; it runs at this one at least.
    pub(crate) ceiling: u8,
    /// The priority at which it is queued.
    pub(crate) priority: u8,
    pub(crate) state: State,
    /// What it finds when it goes on.
    pub(crate) resume: Resume,

    pub(crate) next: Option<ThreadId>,
    pub(crate) previous: Option<ThreadId>,
    /// Of the first of a run of equals in a queue by priority, the last; of the last, the first.
    pub(crate) run: Option<ThreadId>,
    pub(crate) next_in_domain: Option<ThreadId>,
    pub(crate) previous_in_domain: Option<ThreadId>,

    /// When its wait ends at the latest; its place in the timer heap, 0 if it is not there.
    pub(crate) deadline: u64,
    pub(crate) timer_place: u16,

    /// Number of its latest call. It goes on rising when the slot is used again.
    pub(crate) call_number: u64,
    /// The message of its pending call.
    pub(crate) info: MessageInfo,
    pub(crate) badge: u64,
    /// The interface that its pending call is for.
    pub(crate) interface: u64,
    pub(crate) handles: [u64; MAX_CAPS],
    pub(crate) leases: [Lease; MAX_LEASES],
    /// Its pending call is a fault.
    pub(crate) fault: Option<FaultReport>,
    /// Who has taken its call.
    pub(crate) server: Option<ThreadId>,
    /// Where its call was taken.
    pub(crate) taken_at: Option<Reference<EndpointId>>,
    /// The call whose caller lends it the budget it runs on.
    pub(crate) serving: Option<CallerToken>,
    /// How many capabilities it accepts with the message that it waits for.
    pub(crate) accepts: u8,

    /// Its message buffer, and the record that pins it.
    pub(crate) buffer: Option<Frame>,
    pub(crate) buffer_mapping: Option<MappingId>,
    /// The notification whose bits its `Receive` also returns.
    pub(crate) bound: Option<NotificationId>,
    /// The last shootdown that it has caused and that it is to wait for.
    pub(crate) shootdown: Option<Shootdown>,
    /// Nanoseconds it has run.
    pub(crate) runtime: u64,
}

impl Thread {
    /// The contents of an empty slot.
    pub const EMPTY: Thread = Thread {
        account: None,
        domain: None,
        reserve: None,
        loan: None,
        budget: None,
        cpu: CpuId::BOOT,
        turn_over: false,
        ceiling: 0,
        priority: 0,
        state: State::Stopped,
        resume: Resume::Continue,
        next: None,
        previous: None,
        run: None,
        next_in_domain: None,
        previous_in_domain: None,
        deadline: 0,
        timer_place: 0,
        call_number: 0,
        info: MessageInfo(0),
        badge: 0,
        interface: 0,
        handles: [0; MAX_CAPS],
        leases: [Lease { address: 0, length_and_access: 0 }; MAX_LEASES],
        fault: None,
        server: None,
        taken_at: None,
        serving: None,
        accepts: 0,
        buffer: None,
        buffer_mapping: None,
        bound: None,
        shootdown: None,
        runtime: 0,
    };
}
