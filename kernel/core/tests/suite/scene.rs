//! The stage: a root, and domains that call each other.

use abi::message::{MAX_CAPS, MessageInfo, offset};
use abi::rights::{EndpointRights, RawRights};
use abi::time::NEVER;
use abi::{Error, Handle, Syscall, root};
use kernel_core::{CpuId, ThreadId};
use model::Outcome;
use model::machine::{BUFFER, Machine, Peer, PeerPlan, Plan, own};
use model::sizes::Small;

/// The machine of every test.
pub(crate) type M = Machine<Small>;

/// The interface of endpoints in tests.
pub(crate) const INTERFACE: u64 = 77;
/// Level of the server of [`Stage`].
pub(crate) const SERVER_LEVEL: u8 = 3;
/// Level of its client.
pub(crate) const CLIENT_LEVEL: u8 = 9;
/// All rights there are.
pub(crate) const ALL: u64 = RawRights::MAX as u64;
/// First page of the root's RAM that peers leave alone: tests do with it what they want.
pub(crate) const SPARE: u64 = 60;

/// A machine with nothing but the root.
pub(crate) fn boot() -> M {
    M::boot(Plan { frames: 160, tables: 16, table_length: 128 })
}

/// A domain with a thread at the root's priority. `number` counts from 0 and decides its pages.
pub(crate) fn peer(machine: &mut M, level: u8, number: u64) -> Peer {
    peer_watched(machine, level, number, Handle::NONE, 0)
}

/// The same, with a fault handler.
pub(crate) fn peer_watched(machine: &mut M, level: u8, number: u64, handler: Handle, badge: u64) -> Peer {
    peer_at(machine, level, root::PRIORITY, number, (handler, badge))
}

/// The same, with a priority.
pub(crate) fn peer_at(machine: &mut M, level: u8, priority: u8, number: u64, handler: (Handle, u64)) -> Peer {
    let page = 2 + number * model::machine::PEER_PAGES;
    machine.make_peer(PeerPlan { account: own::ACCOUNT, level, priority, cpu: CpuId::BOOT, handler, page })
}

/// The root makes a budget: turns at its own priority.
pub(crate) fn budget(machine: &mut M) -> Handle {
    let (priority, slice) = (u64::from(root::PRIORITY), model::machine::SLICE);
    machine.make(Syscall::BudgetCreate, &[own::ACCOUNT.0, priority, slice, slice, 0])
}

/// The root makes another thread in a domain, at its own priority.
pub(crate) fn thread_in(machine: &mut M, domain: Handle) -> Handle {
    let budget = budget(machine);
    machine.make(Syscall::ThreadCreate, &[own::ACCOUNT.0, domain.0, budget.0])
}

/// The root makes an endpoint.
pub(crate) fn endpoint(machine: &mut M, level: u8, ceiling: u8) -> Handle {
    machine.make(Syscall::EndpointCreate, &[own::ACCOUNT.0, INTERFACE, level.into(), ceiling.into()])
}

/// The root makes a notification.
pub(crate) fn notification(machine: &mut M) -> Handle {
    machine.make(Syscall::NotificationCreate, &[own::ACCOUNT.0])
}

/// The root gives a domain a copy of a capability.
pub(crate) fn grant(machine: &mut M, to: &Peer, capability: Handle, rights: RawRights, badge: u64) -> Handle {
    machine.make(Syscall::CapGrant, &[to.domain.0, capability.0, rights.into(), badge])
}

/// A client, a server below it, and an endpoint between them.
pub(crate) struct Stage {
    pub(crate) m: M,
    pub(crate) root: ThreadId,
    pub(crate) client: Peer,
    pub(crate) server: Peer,
    /// The endpoint, in the root's table, the client's (to call and to grant) and the server's (to receive).
    pub(crate) endpoint: Handle,
    pub(crate) call: Handle,
    pub(crate) serve: Handle,
}

/// Badge of the client.
pub(crate) const BADGE: u64 = 0xbad;

/// Sets the stage.
pub(crate) fn stage() -> Stage {
    stage_with_ceiling(0)
}

/// The same, with a ceiling for the server.
pub(crate) fn stage_with_ceiling(ceiling: u8) -> Stage {
    let mut m = boot();
    let root = m.root.thread;
    let endpoint = endpoint(&mut m, SERVER_LEVEL, ceiling);
    let client = peer(&mut m, CLIENT_LEVEL, 0);
    let server = peer(&mut m, SERVER_LEVEL, 1);
    let call = grant(&mut m, &client, endpoint, (EndpointRights::CALL | EndpointRights::GRANT).bits(), BADGE);
    let serve = grant(&mut m, &server, endpoint, EndpointRights::RECEIVE.bits(), 0);
    Stage { m, root, client, server, endpoint, call, serve }
}

impl Stage {
    /// The client calls with nothing and waits.
    pub(crate) fn client_calls(&mut self) {
        let (client, call) = (self.client.id, self.call);
        waits(&mut self.m, client, Syscall::Call, &[call.0, 0, NEVER, INTERFACE]);
    }

    /// The server receives what is there; returns the caller's token.
    pub(crate) fn server_takes(&mut self) -> u64 {
        let (server, serve) = (self.server.id, self.serve);
        by(&mut self.m, server, Syscall::Receive, &[serve.0, MAX_CAPS as u64, 0]).expect("a call is there")[3]
    }

    /// The client calls and the server takes it; returns the caller's token.
    pub(crate) fn pending_call(&mut self) -> u64 {
        self.client_calls();
        self.server_takes()
    }
}

/// What a system call of this thread, which comes back at once, returns.
pub(crate) fn by(m: &mut M, thread: ThreadId, syscall: Syscall, arguments: &[u64]) -> Result<[u64; 4], Error> {
    m.switch_to(thread);
    m.sys(syscall, arguments)
}

/// A system call of this thread that makes it wait.
pub(crate) fn waits(m: &mut M, thread: ThreadId, syscall: Syscall, arguments: &[u64]) {
    m.switch_to(thread);
    let outcome = m.call(syscall, arguments);
    assert_eq!(outcome, Outcome::Away, "{syscall:?} does not come back at once");
    assert!(!m.kernel.is_ready(thread), "{syscall:?} makes the thread wait");
}

/// A system call of this thread that is refused and changes nothing.
pub(crate) fn refused(m: &mut M, thread: ThreadId, syscall: Syscall, arguments: &[u64], error: Error) {
    m.switch_to(thread);
    let before = m.kernel.clone();
    assert_eq!(m.sys(syscall, arguments), Err(error), "{syscall:?} {arguments:x?}");
    assert_eq!(m.kernel.difference(&before), None, "{syscall:?} {arguments:x?} was refused and changed something");
}

/// A message without capabilities and leases.
pub(crate) fn info(label: u32, words: u8) -> u64 {
    MessageInfo::new(label, words).0
}

/// The running thread puts handles into its message buffer.
pub(crate) fn put_caps(m: &mut M, handles: &[Handle]) {
    let words: Vec<u64> = handles.iter().map(|handle| handle.0).collect();
    m.store_words(BUFFER + offset::CAPS_OUT as u64, &words);
}

/// The handles that the running thread finds in its message buffer.
pub(crate) fn got_caps(m: &M, count: u64) -> Vec<Handle> {
    m.load_words(BUFFER + offset::CAPS_IN as u64, count).into_iter().map(Handle).collect()
}

/// A handle that was once good: the same slot in an earlier generation.
pub(crate) fn stale(handle: Handle) -> u64 {
    Handle::new(handle.index(), handle.generation().expect("a generation") + 1).0
}

/// The root's limits and use of one kind of object.
pub(crate) fn usage(m: &mut M, charge: abi::syscall::Charge) -> (u32, u32) {
    usage_of(m, own::ACCOUNT, charge)
}

/// Limit and use of an account that the running thread may inspect.
pub(crate) fn usage_of(m: &mut M, account: Handle, charge: abi::syscall::Charge) -> (u32, u32) {
    let place = model::machine::DATA + 0x100;
    m.sys(Syscall::AccountInfo, &[account.0, place]).expect("the account can be inspected");
    let word = m.load_words(place + 8 * charge as u64, 1)[0];
    (word as u32, (word >> 32) as u32)
}

/// The machine's statistics, as the root reads them: frames, frames of the kernel, mapped frames, objects by kind.
pub(crate) fn statistics(m: &mut M) -> Vec<u64> {
    let place = model::machine::DATA + 0x200;
    m.sys(Syscall::Statistics, &[root::SYSTEM.0, place]).expect("the root may read statistics");
    m.load_words(place, 13)
}
