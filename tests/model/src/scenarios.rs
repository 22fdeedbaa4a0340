//! The machines that the search starts from.

use crate::alphabet::{Alphabet, INTERFACE};
use crate::event::Event;
use crate::machine::{Machine, Peer, PeerPlan, Plan, own};
use crate::search::Scenario;
use crate::sizes::Tiny;
use abi::device::{SourceId, SourceRange};
use abi::fault::{FAULT_INTERFACE, FaultKind};
use abi::rights::{EndpointRights, Kind, MemoryRights, NotificationRights, RawRights, SpaceRights};
use abi::{Handle, Syscall, root};
use kernel_core::CpuId;

/// Every scenario.
pub const ALL: [Scenario; 9] = [
    Scenario { name: "calls", start: calls, events: calls_events },
    Scenario { name: "ipc", start: ipc, events: ipc_events },
    Scenario { name: "authority", start: authority, events: authority_events },
    Scenario { name: "budgets", start: budgets, events: budgets_events },
    Scenario { name: "processors", start: processors, events: processors_events },
    Scenario { name: "shootdowns", start: shootdowns, events: shootdowns_events },
    Scenario { name: "devices", start: devices, events: devices_events },
    Scenario { name: "guests", start: guests, events: guests_events },
    Scenario { name: "everything", start: everything, events: everything_events },
];

/// The scenario with this name.
pub fn by_name(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|scenario| scenario.name == name)
}

fn boot() -> Machine<Tiny> {
    let mut machine = Machine::<Tiny>::boot(Plan { frames: 32, tables: 4, table_length: 32 });
    machine.checking = false;
    machine
}

/// A machine on which the search begins: from now on only events let time pass.
fn ready(mut machine: Machine<Tiny>) -> Machine<Tiny> {
    machine.entry_time = 0;
    machine
}

fn peer(machine: &mut Machine<Tiny>, level: u8, page: u64, handler: Handle) -> Peer {
    machine.make_peer(PeerPlan {
        account: own::ACCOUNT,
        level,
        priority: root::PRIORITY,
        cpu: CpuId::BOOT,
        handler: (handler, u64::from(level)),
        page,
    })
}

fn grant(machine: &mut Machine<Tiny>, to: &Peer, capability: Handle, rights: RawRights, badge: u64) -> Handle {
    machine.make(Syscall::CapGrant, &[to.domain.0, capability.0, u64::from(rights), badge])
}

/// Calls and nothing else, small enough to visit every state that there is: a client, a server below it with a bound
/// notification, and the root, which hears of their faults, calls the server too, and starts, stops and destroys them
/// and what they talk through.
fn calls() -> Machine<Tiny> {
    let mut machine = boot();
    let low = machine.make(Syscall::EndpointCreate, &[own::ACCOUNT.0, INTERFACE, 1, 0]);
    let faults = machine.make(Syscall::EndpointCreate, &[own::ACCOUNT.0, FAULT_INTERFACE, 0, 0]);
    let bits = machine.make(Syscall::NotificationCreate, &[own::ACCOUNT.0]);
    let client = peer(&mut machine, 2, 2, faults);
    let server = peer(&mut machine, 1, 8, faults);
    grant(&mut machine, &client, low, EndpointRights::CALL.bits(), 5);
    grant(&mut machine, &client, bits, NotificationRights::NOTIFY.bits(), 0);
    grant(&mut machine, &server, low, EndpointRights::RECEIVE.bits(), 0);
    grant(&mut machine, &server, bits, NotificationRights::WAIT.bits(), 0);
    machine.make(Syscall::ThreadBind, &[server.thread.0, bits.0]);
    ready(machine)
}

fn calls_events(machine: &Machine<Tiny>) -> Vec<Event> {
    use Syscall as S;
    const ALPHABET: Alphabet = Alphabet {
        syscalls: &[
            S::Call,
            S::Receive,
            S::Reply,
            S::ReplyReceive,
            S::ReplyFault,
            S::Notify,
            S::Wait,
            S::ThreadStart,
            S::ThreadStop,
            S::ThreadExit,
            S::Destroy,
            S::Yield,
        ],
        uses: |_, _, kind| matches!(kind, Kind::Endpoint | Kind::Notification | Kind::Thread),
        rich_messages: false,
        faults: &[FaultKind::Read],
        refusals: false,
        stray: false,
    };
    ALPHABET.events(machine)
}

/// Three domains: the root calls the second, both call the third; the root and the third hear of faults. Anybody can
/// notify the third, and the root can take everything apart.
fn ipc() -> Machine<Tiny> {
    let mut machine = boot();
    let low = machine.make(Syscall::EndpointCreate, &[own::ACCOUNT.0, INTERFACE, 1, 0]);
    let middle = machine.make(Syscall::EndpointCreate, &[own::ACCOUNT.0, INTERFACE, 2, 0]);
    let faults = machine.make(Syscall::EndpointCreate, &[own::ACCOUNT.0, FAULT_INTERFACE, 1, 0]);
    let bits = machine.make(Syscall::NotificationCreate, &[own::ACCOUNT.0]);
    let second = peer(&mut machine, 2, 2, faults);
    let third = peer(&mut machine, 1, 8, faults);
    let calls = (EndpointRights::CALL | EndpointRights::GRANT).bits();
    grant(&mut machine, &second, low, calls, 5);
    grant(&mut machine, &second, middle, EndpointRights::RECEIVE.bits(), 0);
    grant(&mut machine, &second, bits, NotificationRights::NOTIFY.bits(), 0);
    grant(&mut machine, &third, low, EndpointRights::RECEIVE.bits(), 0);
    grant(&mut machine, &third, faults, EndpointRights::RECEIVE.bits(), 0);
    grant(&mut machine, &third, bits, NotificationRights::all().bits(), 0);
    ready(machine)
}

fn ipc_events(machine: &Machine<Tiny>) -> Vec<Event> {
    use Syscall as S;
    const ALPHABET: Alphabet = Alphabet {
        syscalls: &[
            S::Call,
            S::Receive,
            S::Reply,
            S::ReplyReceive,
            S::ReplyFault,
            S::LeaseRead,
            S::Notify,
            S::Wait,
            S::EndpointBind,
            S::EndpointWatch,
            S::ThreadBind,
            S::ThreadStart,
            S::ThreadStop,
            S::ThreadExit,
            S::Destroy,
            S::Yield,
        ],
        uses: |_, _, kind| matches!(kind, Kind::Endpoint | Kind::Notification | Kind::Thread | Kind::Domain),
        rich_messages: true,
        faults: &[FaultKind::Read],
        refusals: false,
        stray: false,
    };
    ALPHABET.events(machine)
}

/// Two domains that derive, move, map, donate and revoke two pages of memory and an endpoint between them.
fn authority() -> Machine<Tiny> {
    let mut machine = boot();
    let endpoint = machine.make(Syscall::EndpointCreate, &[own::ACCOUNT.0, INTERFACE, 1, 0]);
    let other = peer(&mut machine, 1, 2, Handle::NONE);
    let memory = machine.make(Syscall::MemorySplit, &[machine.ram.0, 8, 2, u64::from(RawRights::MAX)]);
    grant(&mut machine, &other, memory, RawRights::MAX, 0);
    grant(&mut machine, &other, endpoint, RawRights::MAX, 0);
    grant(&mut machine, &other, other.domain, RawRights::MAX, 0);
    grant(&mut machine, &other, other.space, RawRights::MAX, 0);
    ready(machine)
}

fn authority_events(machine: &Machine<Tiny>) -> Vec<Event> {
    use Syscall as S;
    const ALPHABET: Alphabet = Alphabet {
        syscalls: &[
            S::CapCopy,
            S::CapGrant,
            S::CapMove,
            S::CapDelete,
            S::CapRevoke,
            S::MemorySplit,
            S::Map,
            S::Unmap,
            S::SpaceDonate,
            S::SpaceCreate,
            S::ThreadBuffer,
            S::Destroy,
        ],
        uses: |machine, handle, _| handle.index() > root::FIRST_EXTENT && handle != machine.device,
        rich_messages: false,
        faults: &[],
        refusals: false,
        stray: false,
    };
    ALPHABET.events(machine)
}

/// A client and a server whose budgets run dry, and the root, whose does not: loans, reserves and debts, and waiting for
/// the first of them to be worth something again.
fn budgets() -> Machine<Tiny> {
    let mut machine = boot();
    let endpoint = machine.make(Syscall::EndpointCreate, &[own::ACCOUNT.0, INTERFACE, 1, 0]);
    let client = bounded_peer(&mut machine, 2, 2);
    let server = bounded_peer(&mut machine, 1, 8);
    grant(&mut machine, &client, endpoint, EndpointRights::CALL.bits(), 0);
    grant(&mut machine, &server, endpoint, EndpointRights::RECEIVE.bits(), 0);
    ready(machine)
}

/// A peer with a slice of time in every two.
fn bounded_peer(machine: &mut Machine<Tiny>, level: u8, page: u64) -> Peer {
    let mut peer = peer(machine, level, page, Handle::NONE);
    let (priority, slice) = (u64::from(root::PRIORITY), crate::machine::SLICE);
    machine.make(Syscall::Destroy, &[peer.thread.0]);
    machine.make(Syscall::Destroy, &[peer.budget.0]);
    machine.make(Syscall::CapDelete, &[peer.thread.0]);
    machine.make(Syscall::CapDelete, &[peer.budget.0]);
    peer.budget = machine.make(Syscall::BudgetCreate, &[own::ACCOUNT.0, priority, slice, 2 * slice, 0]);
    peer.thread = machine.make(Syscall::ThreadCreate, &[own::ACCOUNT.0, peer.domain.0, peer.budget.0]);
    peer.id = machine.start(peer.thread);
    peer
}

fn budgets_events(machine: &Machine<Tiny>) -> Vec<Event> {
    use Syscall as S;
    const ALPHABET: Alphabet = Alphabet {
        syscalls: &[
            S::Call,
            S::Receive,
            S::Reply,
            S::ReplyReceive,
            S::Wait,
            S::ThreadStart,
            S::ThreadStop,
            S::Destroy,
            S::Yield,
        ],
        uses: |_, handle, kind| {
            handle.index() >= root::FIRST_EXTENT && matches!(kind, Kind::Endpoint | Kind::Thread | Kind::Budget)
                || kind == Kind::Endpoint
        },
        rich_messages: false,
        faults: &[],
        refusals: false,
        stray: false,
    };
    ALPHABET.events(machine)
}

/// Two processors that enter the kernel when they like: the root on the first, a server on the second, which the root
/// calls, stops, starts, moves and destroys. Stopped or moved, a thread may still run there.
fn processors() -> Machine<Tiny> {
    let mut machine = boot();
    let endpoint = machine.make(Syscall::EndpointCreate, &[own::ACCOUNT.0, INTERFACE, 1, 0]);
    let bits = machine.make(Syscall::NotificationCreate, &[own::ACCOUNT.0]);
    let server = peer(&mut machine, 1, 2, Handle::NONE);
    grant(&mut machine, &server, endpoint, EndpointRights::RECEIVE.bits(), 0);
    grant(&mut machine, &server, bits, NotificationRights::all().bits(), 0);
    let other = machine.start_cpu(1);
    machine.make(Syscall::BudgetMove, &[server.budget.0, other.index() as u64]);
    machine.obedient = false;
    ready(machine)
}

fn processors_events(machine: &Machine<Tiny>) -> Vec<Event> {
    use Syscall as S;
    const ALPHABET: Alphabet = Alphabet {
        syscalls: &[
            S::Call,
            S::Receive,
            S::Reply,
            S::Notify,
            S::Wait,
            S::ThreadStart,
            S::ThreadStop,
            S::ThreadRead,
            S::BudgetMove,
            S::Destroy,
            S::Yield,
        ],
        uses: |machine, handle, kind| {
            let own = handle.index() <= root::FIRST_EXTENT && machine.current() == Some(machine.root.thread);
            !own && matches!(kind, Kind::Endpoint | Kind::Notification | Kind::Thread | Kind::Budget | Kind::Domain)
        },
        rich_messages: false,
        faults: &[FaultKind::Read],
        refusals: false,
        stray: false,
    };
    ALPHABET.events(machine)
}

/// Two threads of one domain, on two processors, that map, unmap, donate and revoke the same page while the other may
/// remember it.
fn shootdowns() -> Machine<Tiny> {
    let mut machine = boot();
    let (priority, slice) = (u64::from(root::PRIORITY), crate::machine::SLICE);
    let budget = machine.make(Syscall::BudgetCreate, &[own::ACCOUNT.0, priority, slice, slice, 0]);
    let twin = machine.make(Syscall::ThreadCreate, &[own::ACCOUNT.0, own::DOMAIN.0, budget.0]);
    let memory = machine.make(Syscall::MemorySplit, &[machine.ram.0, 8, 2, u64::from(RawRights::MAX)]);
    machine.make(Syscall::MemorySplit, &[memory.0, 0, 1, u64::from(RawRights::MAX)]);
    machine.start(twin);
    let other = machine.start_cpu(1);
    machine.make(Syscall::BudgetMove, &[budget.0, other.index() as u64]);
    machine.obedient = false;
    ready(machine)
}

fn shootdowns_events(machine: &Machine<Tiny>) -> Vec<Event> {
    use Syscall as S;
    const ALPHABET: Alphabet = Alphabet {
        syscalls: &[
            S::Map,
            S::Unmap,
            S::SpaceDonate,
            S::SpaceCreate,
            S::CapRevoke,
            S::ThreadStop,
            S::ThreadStart,
            S::BudgetMove,
            S::Destroy,
            S::Wait,
        ],
        uses: |machine, handle, kind| {
            // Its own space, to map into; of the rest, what the scenario has made.
            let made = handle.index() > root::FIRST_EXTENT && handle != machine.device;
            made || kind == Kind::Account || (kind == Kind::Space && handle == own::SPACE)
        },
        rich_messages: false,
        faults: &[],
        refusals: false,
        stray: false,
    };
    ALPHABET.events(machine)
}

/// The root and a driver of one device: the root makes and takes apart what the device sees, says which interrupt it may
/// raise and hears of what it was refused; the driver maps memory for it, some of which is not for devices.
fn devices() -> Machine<Tiny> {
    let mut machine = boot();
    let bits = machine.make(Syscall::NotificationCreate, &[own::ACCOUNT.0]);
    let message = abi::syscall::InterruptSource::Message.to_register();
    machine.make(Syscall::InterruptCreate, &[root::INTERRUPTS.0, message]);
    let driver = peer(&mut machine, 1, 2, Handle::NONE);
    let memory = machine.make(Syscall::MemorySplit, &[machine.ram.0, 8, 6, u64::from(RawRights::MAX)]);
    let sources = SourceRange::one(SourceId(8)).to_register();
    let space = machine.make(Syscall::DeviceSpaceCreate, &[own::ACCOUNT.0, memory.0, 0, root::DEVICES.0, sources]);
    machine.make(Syscall::SpaceDonate, &[space.0, memory.0, 1, 3]);
    let shared = machine.make(Syscall::MemorySplit, &[memory.0, 4, 2, u64::from(RawRights::MAX)]);
    let rights = MemoryRights::all();
    grant(&mut machine, &driver, shared, rights.bits(), 0);
    grant(&mut machine, &driver, shared, (rights - MemoryRights::DMA).bits(), 0);
    grant(&mut machine, &driver, space, SpaceRights::MAP.bits(), 0);
    grant(&mut machine, &driver, bits, NotificationRights::all().bits(), 0);
    ready(machine)
}

fn devices_events(machine: &Machine<Tiny>) -> Vec<Event> {
    use Syscall as S;
    const ALPHABET: Alphabet = Alphabet {
        syscalls: &[
            S::DeviceSpaceCreate,
            S::DeviceRoute,
            S::DeviceWatch,
            S::DeviceStray,
            S::Map,
            S::Unmap,
            S::SpaceDonate,
            S::CapRevoke,
            S::CapDelete,
            S::Destroy,
        ],
        uses: |machine, handle, kind| {
            // Of the root's, what the scenario has made; of the driver's, all.
            let made = handle.index() > root::FIRST_EXTENT && handle != machine.device;
            let drivers = machine.current() != Some(machine.root.thread);
            made || drivers || matches!(kind, Kind::Account | Kind::DeviceControl)
        },
        rich_messages: false,
        faults: &[],
        refusals: true,
        stray: false,
    };
    ALPHABET.events(machine)
}

/// A monitor's thread that enters and leaves its guest on one processor, and the root on another, which signals to it, takes memory
/// from the guest, moves the thread, stops it and destroys it.
fn guests() -> Machine<Tiny> {
    let mut machine = boot();
    let (priority, slice) = (u64::from(root::PRIORITY), crate::machine::SLICE);
    let budget = machine.make(Syscall::BudgetCreate, &[own::ACCOUNT.0, priority, slice, slice, 0]);
    let monitor = machine.make(Syscall::ThreadCreate, &[own::ACCOUNT.0, own::DOMAIN.0, budget.0]);
    let bits = machine.make(Syscall::NotificationCreate, &[own::ACCOUNT.0]);
    machine.make(Syscall::ThreadBind, &[monitor.0, bits.0]);
    let tables = machine.make(Syscall::MemorySplit, &[machine.ram.0, 8, 6, u64::from(RawRights::MAX)]);
    let memory = machine.make(Syscall::MemorySplit, &[machine.ram.0, 14, 2, u64::from(RawRights::MAX)]);
    machine.make(Syscall::ThreadBuffer, &[monitor.0, memory.0, 1, crate::machine::BUFFER]);
    let space = machine.make(Syscall::GuestSpaceCreate, &[own::ACCOUNT.0, tables.0, 0]);
    machine.make(Syscall::SpaceDonate, &[space.0, tables.0, 1, 5]);
    machine.make(Syscall::VcpuCreate, &[monitor.0, space.0]);
    machine.start(monitor);
    let other = machine.start_cpu(1);
    machine.make(Syscall::BudgetMove, &[budget.0, other.index() as u64]);
    machine.obedient = false;
    ready(machine)
}

fn guests_events(machine: &Machine<Tiny>) -> Vec<Event> {
    use Syscall as S;
    const ALPHABET: Alphabet = Alphabet {
        syscalls: &[
            S::VcpuRun,
            S::Notify,
            S::Receive,
            S::Map,
            S::Unmap,
            S::CapRevoke,
            S::BudgetMove,
            S::ThreadStop,
            S::ThreadStart,
            S::Destroy,
        ],
        uses: |machine, handle, kind| {
            // What the scenario has made, but for the memory of tables.
            handle.index() > root::FIRST_EXTENT && handle != machine.device && kind != Kind::Account
        },
        rich_messages: false,
        faults: &[],
        refusals: false,
        stray: false,
    };
    ALPHABET.events(machine)
}

/// Every system call there is, from two domains that share everything but the root's own objects.
fn everything() -> Machine<Tiny> {
    let mut machine = boot();
    let endpoint = machine.make(Syscall::EndpointCreate, &[own::ACCOUNT.0, INTERFACE, 1, 0]);
    let faults = machine.make(Syscall::EndpointCreate, &[own::ACCOUNT.0, FAULT_INTERFACE, 0, 0]);
    let other = peer(&mut machine, 1, 2, faults);
    let memory = machine.make(Syscall::MemorySplit, &[machine.ram.0, 8, 2, u64::from(RawRights::MAX)]);
    for capability in [endpoint, memory, other.domain, own::ACCOUNT, own::SYSTEM] {
        grant(&mut machine, &other, capability, RawRights::MAX, 0);
    }
    ready(machine)
}

fn everything_events(machine: &Machine<Tiny>) -> Vec<Event> {
    const ALPHABET: Alphabet = Alphabet {
        syscalls: Syscall::ALL,
        uses: |machine, handle, _| handle != machine.ram,
        rich_messages: true,
        faults: &[FaultKind::Read, FaultKind::FloatingPoint],
        refusals: true,
        stray: true,
    };
    ALPHABET.events(machine)
}
