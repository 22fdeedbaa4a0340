//! A checker needs a witness: for each invariant, a state that violates just it, and first of all it.

use crate::capability::{Capability, ShortWays};
use crate::command::{Command, DomainOrder};
use crate::cpu::{Shootdown, Undisturbed};
use crate::frame::{Frame, FrameEntry, FrameState};
use crate::identity::{
    BudgetId, CapId, CpuId, DomainId, EndpointId, InterruptId, MappingId, NotificationId, SpaceId, ThreadId,
};
use crate::ipc::{Outgoing, Reception};
use crate::kernel::{Kernel, Tables};
use crate::memory::MapOrder;
use crate::standing::{ObjectName, Standing};
use crate::table::{Slot, Vacant};
use crate::thread::{Place, Serving, State};
use crate::{
    Account, Budget, CapSlot, Cpu, Domain, Endpoint, Interrupt, Mapping, Notification, RootPlan, Space, Thread,
};
use abi::message::{CallerToken, Lease, MAX_CAPS, MAX_LEASES, MessageInfo};
use abi::rights::Kind;
use abi::syscall::{Charge, InterruptSource, MapAccess};
use abi::time::NEVER;
use std::collections::BTreeSet;
use std::vec;
use std::vec::Vec;

struct Few;

impl Tables for Few {
    type Accounts = [Slot<Account>; 4];
    type Caps = [CapSlot; 128];
    type Spaces = [Slot<Space>; 4];
    type Domains = [Slot<Domain>; 4];
    type Threads = [Slot<Thread>; 8];
    type Timers = [Option<ThreadId>; 8];
    type Cpus = [Cpu<Self::Timers>; 2];
    type Budgets = [Slot<Budget>; 8];
    type Endpoints = [Slot<Endpoint>; 4];
    type Notifications = [Slot<Notification>; 4];
    type Mappings = [Slot<Mapping>; 16];
    type Interrupts = [Slot<Interrupt>; 4];
    type Frames = Vec<FrameEntry>;
}

/// Who is who in [`scene`].
const ROOT: ThreadId = thread(1);
const CLIENT: ThreadId = thread(2);
const WAITING_CLIENT: ThreadId = thread(3);
const SERVER: ThreadId = thread(4);
const STOPPED: ThreadId = thread(5);

const fn thread(index: usize) -> ThreadId {
    ThreadId::from_index(index).expect("not 0")
}

fn id<I>(id: Option<I>) -> I {
    id.expect("not 0")
}

/// A root; a client whose call a server has taken, on the client's budget; another client whose call waits with a
/// deadline; a thread that is stopped; a mapping, a notification bound to the root's thread, two interrupts.
fn scene() -> Kernel<Few> {
    let mut kernel = Kernel::<Few>::EMPTY;
    kernel.attach_frames(vec![FrameEntry::default(); 32]);
    for frame in 0..32 {
        kernel.declare_ram(Frame(frame), if frame < 4 { FrameState::Kernel } else { FrameState::User });
    }
    let plan = RootPlan { tables: Frame(4), table_count: 4, table_length: 32 };
    let (root, _) = kernel.create_root(plan).expect("the plan fits");
    let extent = kernel.root_extent(root, Frame(8), 24);
    kernel.start_root(root, 0, 0, 0);
    kernel.schedule(CpuId::BOOT, 1);
    let account = id(kernel.domains.at(root.domain.index()).account);
    kernel.perform(CpuId::BOOT, &Command::CreateEndpoint { account, interface: 7, level: 3, ceiling: 0 }, 1);
    kernel.perform(CpuId::BOOT, &Command::CreateNotification { account }, 1);
    kernel.perform(CpuId::BOOT, &Command::CreateInterrupt { account, source: InterruptSource::Isa(4) }, 1);
    kernel.perform(CpuId::BOOT, &Command::CreateInterrupt { account, source: InterruptSource::Isa(5) }, 1);
    let notification = Some(id(NotificationId::from_index(1)));
    kernel.perform(CpuId::BOOT, &Command::BindNotification { thread: root.thread, notification }, 1);
    for level in [9, 3] {
        let table_base = if level == 9 { 32 } else { 48 };
        let order = DomainOrder {
            account,
            space: root.space,
            level,
            table_base,
            table_length: 16,
            fault_handler: None,
            fault_badge: 0,
        };
        kernel.perform(CpuId::BOOT, &Command::CreateDomain(order), 1);
    }
    for (domain, budget) in [(2, 2), (2, 3), (3, 4), (3, 5)] {
        let domain = id(DomainId::from_index(domain));
        let (slice, cpu) = (10_000_000, CpuId::BOOT);
        kernel.perform(CpuId::BOOT, &Command::CreateBudget { account, priority: 250, slice, period: slice, cpu }, 1);
        let budget = id(BudgetId::from_index(budget));
        kernel.perform(CpuId::BOOT, &Command::CreateThread { account, domain, budget }, 1);
    }
    let (memory, _) = kernel.lookup(root.domain, extent).expect("the extent is there");
    let capability = kernel.cap(memory).capability().expect("the extent is there");
    kernel.insert_cap(root.domain, Capability { rights: 1, ..capability }, Some(memory));
    kernel.map(&MapOrder {
        space: root.space,
        memory,
        address: 0x40_0000,
        frame: Frame(8),
        pages: 2,
        access: MapAccess::ReadWrite,
        missing_tables: 3,
    });
    let endpoint = id(EndpointId::from_index(1));
    for (client, deadline) in [(CLIENT, NEVER), (WAITING_CLIENT, 1_000)] {
        kernel.wake(client, crate::Resume::Continue);
        let outgoing =
            Outgoing { info: MessageInfo(0), handles: [0; MAX_CAPS], leases: [Lease::default(); MAX_LEASES] };
        kernel.call(client, endpoint, 0, outgoing, deadline);
    }
    kernel.wake(SERVER, crate::Resume::Continue);
    kernel.receive(SERVER, Reception { endpoint: Some(endpoint), accepts: 0, deadline: NEVER }, 1);
    kernel.schedule(CpuId::BOOT, 1);
    kernel
}

type Mutation = fn(&mut Kernel<Few>);

/// For each invariant, what breaks it.
const MUTATIONS: &[(&str, Mutation)] = &[
    ("table_lists_are_sound", |k| k.threads.lose_a_slot()),
    ("nothing_small_stays_condemned", |k| k.interrupts.condemn(1)),
    ("counters_agree", |k| k.objects[Charge::Threads as usize] += 1),
    ("references_agree", |k| k.endpoints.retain(1)),
    ("accounts_add_up", |k| k.accounts.at_mut(1).used[Charge::Endpoints as usize] += 1),
    ("charged_accounts_live", |k| {
        k.endpoints.at_mut(1).account = None;
        k.accounts.at_mut(1).used[Charge::Endpoints as usize] -= 1;
    }),
    ("domains_own_their_threads", |k| k.thread_mut(CLIENT).previous_in_domain = Some(SERVER)),
    ("blocks_agree_with_domains", |k| k.blocks.set(6, 1, true)),
    ("slots_are_sound", |k| k.cap_mut(id(CapId::from_index(1))).generation = 0),
    ("derivation_is_a_forest", |k| k.cap_mut(id(CapId::from_index(2))).parent = CapId::from_index(1)),
    ("children_have_no_more_than_parents", |k| {
        let child = id(k.full_slots().find(|id| k.cap(*id).parent.is_some()));
        k.cap_mut(child).rights = u16::MAX;
    }),
    ("queues_agree_with_states", |k| k.thread_mut(WAITING_CLIENT).state = State::Sleeping),
    ("ready_bits_agree", |k| k.cpu_mut(CpuId::BOOT).ready_bits[0] |= 1),
    ("the_highest_runs", |k| k.cpu_mut(CpuId::BOOT).current = None),
    ("priorities_agree", |k| k.thread_mut(STOPPED).priority += 1),
    ("places_are_true", |k| {
        let place = k.thread(STOPPED).place;
        k.thread_mut(STOPPED).place = Place::on(id(place.budget()), place.base(), !place.is_steady());
    }),
    ("endpoints_know_who_waits", |k| {
        let quiet = Standing::quiet(k.endpoint_name(id(EndpointId::from_index(1))));
        k.endpoints.at_mut(1).standing = quiet;
    }),
    ("capabilities_know_their_ways", |k| {
        let slot = id(k.full_slots().find(|id| !k.cap(*id).name.is_none()));
        k.cap_mut(slot).short_ways.toggle(ShortWays::CALL);
    }),
    ("who_is_undisturbed_comes_first", |k| k.undisturbed[0].thread = Some(STOPPED)),
    ("timers_agree", |k| k.thread_mut(WAITING_CLIENT).place.set_timer(0)),
    ("callers_wait_for_somebody", |k| k.thread_mut(STOPPED).server = Some(SERVER)),
    ("taken_calls_know_where", |k| k.thread_mut(CLIENT).taken_at = ObjectName::NONE),
    ("endpoints_match_eagerly", |k| {
        k.set_state(STOPPED, State::Receiving(EndpointId::from_index(1)), NEVER);
    }),
    ("loans_are_of_pending_calls", |k| k.thread_mut(STOPPED).ceiling = 1),
    ("lenders_form_no_circle", |k| {
        let client = id(k.thread(CLIENT).domain);
        k.thread_mut(SERVER).server = Some(CLIENT);
        k.thread_mut(SERVER).taken_at = k.thread(CLIENT).taken_at;
        k.thread_mut(CLIENT).serving = Serving::of(k.token_of(SERVER));
        k.set_state(SERVER, State::Replying(client), NEVER);
    }),
    ("threads_run_in_one_place", |k| k.thread_mut(STOPPED).turn_over = true),
    ("shootdowns_come_to_an_end", |k| k.cpu_mut(CpuId::BOOT).owes = Some(Shootdown::after(None))),
    ("budgets_of_threads_live", |k| k.budgets.at_mut(1).thread = None),
    ("budgets_keep_to_their_share", |k| {
        let budget = k.budgets.at_mut(1);
        (budget.slice, budget.period) = (budget.slice - 1, budget.period - 1);
    }),
    ("one_thread_uses_a_budget", |k| {
        let budget = k.budgets.at_mut(1);
        budget.period += 1;
        budget.charge(budget.slice, 1);
        k.undisturbed[0] = Undisturbed::EMPTY;
        k.cpu_mut(CpuId::BOOT).current = None;
        k.cpu_mut(CpuId::BOOT).kicked = true;
    }),
    ("calls_go_down", |k| k.endpoints.at_mut(1).level = 9),
    ("bound_both_ways", |k| k.thread_mut(ROOT).bound = None),
    ("bits_do_not_wait_with_waiters", |k| {
        k.set_state(ROOT, State::Receiving(None), NEVER);
        k.notifications.at_mut(1).bits = 1;
        k.schedule(CpuId::BOOT, 1);
    }),
    ("interrupt_lines_are_held_once", |k| {
        k.interrupts.at_mut(id(InterruptId::from_index(1)).index()).source = 5;
    }),
    ("mappings_are_derived", |k| k.mappings.at_mut(id(MappingId::from_index(1)).index()).pages = 25),
    ("mappings_have_one_holder", |k| k.mappings.at_mut(1).address = 1),
    ("pins_count_mappings", |k| k.frames.pin(Frame(8), 1)),
    ("kernel_frames_are_never_mapped", |k| k.frames.donate(Frame(9), 0, 0)),
    ("donated_frames_have_one_place", |k| {
        let space = id(SpaceId::from_index(1));
        k.frames.donate(Frame(20), space.index() as u16, 0);
    }),
    ("device_spaces_are_apart", |k| k.spaces.at_mut(1).flavour = crate::space::Flavour::Device),
    ("strays_are_told_in_order", |k| k.strays.open_a_gap()),
    ("frame_counters_agree", |k| k.frames.mapped += 1),
];

#[test]
fn a_sound_state_violates_nothing() {
    assert_eq!(scene().check_invariants(), Ok(()));
}

#[test]
fn every_invariant_is_the_first_to_see_what_breaks_it() {
    for (name, mutate) in MUTATIONS {
        let mut kernel = scene();
        mutate(&mut kernel);
        let violation = kernel.check_invariants().expect_err(name);
        assert_eq!(violation.name, *name, "{violation}");
    }
}

#[test]
fn every_invariant_has_a_witness_and_a_sentence() {
    let names: BTreeSet<&str> = Kernel::<Few>::INVARIANTS.iter().map(|invariant| invariant.name).collect();
    let witnessed: BTreeSet<&str> = MUTATIONS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, witnessed);
    assert!(Kernel::<Few>::INVARIANTS.iter().all(|invariant| invariant.sentence.len() > 20));
}

#[test]
fn call_numbers_begin_again_after_as_many_as_fit_into_a_token() {
    let mut kernel = scene();
    kernel.thread_mut(STOPPED).call = CallerToken::new(5, (1 << 48) - 1);
    let before = kernel.token_of(STOPPED);
    kernel.number_call(STOPPED);
    assert_ne!(kernel.token_of(STOPPED), before);
    assert_eq!(kernel.token_of(STOPPED), CallerToken::new(5, 0));
}

#[test]
fn a_handle_whose_generations_are_used_up_is_never_given_again() {
    let mut kernel = scene();
    let root = id(DomainId::from_index(1));
    let (first, _) = kernel.lookup(root, kernel.handle_of(id(kernel.full_slots().last()))).expect("it is full");
    kernel.cap_mut(first).generation = u32::MAX - 1;
    let again = |kernel: &mut Kernel<Few>| {
        let capability = kernel.empty_slot(first).expect("it was full");
        let handle = kernel.insert_cap(root, capability, None);
        kernel.lookup(root, handle).expect("it is full again").0
    };
    assert_eq!(again(&mut kernel), first, "this has one generation left");
    assert_ne!(again(&mut kernel), first, "and this has none");
    assert!(kernel.slots_are_sound().is_ok());
}

#[test]
fn an_object_whose_generations_are_used_up_leaves_a_slot_that_is_never_used_again() {
    let mut kernel = scene();
    let account = id(kernel.domains.at(1).account);
    kernel.perform(CpuId::BOOT, &Command::CreateNotification { account }, 2);
    kernel.notifications.age(2);
    let aged = kernel.full_slots().last().and_then(|id| kernel.cap(id).capability()).expect("the newest capability");
    assert_eq!((aged.kind, aged.object), (Kind::Notification, 2));
    kernel.notifications.condemn(2);
    kernel.discharge(account, Charge::Notifications, 1);
    kernel.notifications.bury();
    assert!(kernel.notifications.lists_are_sound());
    assert_eq!(kernel.notifications.next_index(), 3);
    kernel.perform(CpuId::BOOT, &Command::CreateNotification { account }, 3);
    assert!(!kernel.notifications.has_room(), "of three slots two are in use and one is used up");
}
