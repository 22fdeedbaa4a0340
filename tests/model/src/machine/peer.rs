//! What tests do in the name of threads: system calls that have to succeed, domains beside the root, memory.

use super::{BUFFER, DATA, Machine, Outcome};
use crate::sizes::SmallTables;
use abi::syscall::MapAccess;
use abi::{Error, Handle, PAGE_SIZE, Syscall};
use kernel_core::{CpuId, Frame, Kernel, ThreadId};

/// A domain that the root has made, with one thread.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// The domain, in the root's table.
    pub domain: Handle,
    /// Its space.
    pub space: Handle,
    /// Its thread.
    pub thread: Handle,
    /// The thread's budget.
    pub budget: Handle,
    /// The thread.
    pub id: ThreadId,
}

/// What a new domain is to be like.
#[derive(Clone, Copy, Debug)]
pub struct PeerPlan {
    /// The account that pays, in the root's table.
    pub account: Handle,
    /// Its level.
    pub level: u8,
    /// The priority of its thread.
    pub priority: u8,
    /// The processor of its thread.
    pub cpu: CpuId,
    /// The endpoint that hears of its faults, in the root's table, and the badge.
    pub handler: (Handle, u64),
    /// First page of [`Machine::ram`] to use, of [`PEER_PAGES`].
    pub page: u64,
}

/// Pages of [`Machine::ram`] that a peer uses: root table, three more tables, data page, message buffer.
pub const PEER_PAGES: u64 = 6;
/// The slice of every budget that tests make, in nanoseconds.
pub const SLICE: u64 = 10_000_000;

impl<T: SmallTables> Machine<T>
where
    Kernel<T>: Clone,
{
    /// A system call of the running thread that ends at once.
    pub fn sys(&mut self, syscall: Syscall, arguments: &[u64]) -> Result<[u64; 4], Error> {
        match self.call(syscall, arguments) {
            Outcome::Done(result) => Error::from_register(result[0]).map(|_| result),
            Outcome::Away => panic!("{syscall:?} {arguments:x?} comes back at once"),
        }
    }

    /// A system call of the running thread that makes a capability.
    pub fn make(&mut self, syscall: Syscall, arguments: &[u64]) -> Handle {
        match self.sys(syscall, arguments) {
            Ok(result) => Handle(result[0]),
            Err(error) => panic!("{syscall:?} {arguments:x?} succeeds, not: {error}"),
        }
    }

    /// The root, which runs, makes a domain with a thread that is ready to run.
    pub fn make_peer(&mut self, plan: PeerPlan) -> Peer {
        let (account, ram, page) = (plan.account.0, self.ram.0, plan.page);
        let space = self.make(Syscall::SpaceCreate, &[account, ram, page]);
        self.make(Syscall::SpaceDonate, &[space.0, ram, page + 1, 3]);
        let handler = plan.handler;
        let level = u64::from(plan.level);
        let domain = self.make(Syscall::DomainCreate, &[account, space.0, level, 16, handler.0.0, handler.1]);
        let cpu = plan.cpu.index() as u64;
        let budget = self.make(Syscall::BudgetCreate, &[account, u64::from(plan.priority), SLICE, SLICE, cpu]);
        let thread = self.make(Syscall::ThreadCreate, &[account, domain.0, budget.0]);
        let access = MapAccess::ReadWrite as u64;
        self.make(Syscall::Map, &[space.0, ram, DATA, page + 4, 1, access]);
        self.make(Syscall::Map, &[space.0, ram, BUFFER, page + 5, 1, access]);
        self.make(Syscall::ThreadBuffer, &[thread.0, ram, page + 5, BUFFER]);
        let id = self.start(thread);
        Peer { domain, space, thread, budget, id }
    }

    /// The running thread starts a stopped one. Returns who that is.
    pub fn start(&mut self, thread: Handle) -> ThreadId {
        let before: Vec<_> = self.contexts.iter().map(|context| context.start).collect();
        let argument = 0x5000_0000 + self.now;
        self.make(Syscall::ThreadStart, &[thread.0, 0x1000, 0x2000, argument]);
        let started = (0..before.len())
            .find(|index| self.contexts[*index].start.is_some_and(|start| start.2 == argument))
            .and_then(ThreadId::from_index);
        started.expect("the start of a thread is an effect")
    }

    /// Lets slices end until this thread runs.
    pub fn switch_to(&mut self, thread: ThreadId) {
        for _ in 0..64 {
            if self.current() == Some(thread) {
                return;
            }
            self.tick(SLICE);
        }
        panic!("{thread:?} gets its turn");
    }

    /// This thread runs and finds the result of a system call that has waited.
    pub fn result_of(&mut self, thread: ThreadId) -> Result<[u64; 4], Error> {
        self.switch_to(thread);
        let result = self.context(thread).result.expect("the call has ended");
        Error::from_register(result[0]).map(|_| result)
    }

    /// The physical address behind an address of the running thread.
    fn own_root(&self) -> Frame {
        self.current().and_then(|thread| self.context(thread).root).expect("a thread runs")
    }

    /// The running thread writes its memory.
    pub fn store(&mut self, address: u64, bytes: &[u8]) {
        let root = self.own_root();
        self.world.write(root, address, bytes).expect("the thread may write there");
    }

    /// The running thread writes words to its memory.
    pub fn store_words(&mut self, address: u64, words: &[u64]) {
        let root = self.own_root();
        self.write_words(root, address, words);
    }

    /// The running thread reads its memory.
    pub fn load(&self, address: u64, length: u64) -> Vec<u8> {
        self.world.read(self.own_root(), address, length).expect("the thread may read there")
    }

    /// The running thread reads words of its memory.
    pub fn load_words(&self, address: u64, count: u64) -> Vec<u64> {
        self.load(address, 8 * count)
            .chunks_exact(8)
            .map(|bytes| u64::from_le_bytes(bytes.try_into().expect("eight bytes")))
            .collect()
    }

    /// Frame numbers of the physical page behind an address of the running thread.
    pub fn frame_behind(&self, address: u64) -> Option<Frame> {
        self.world.spaces.get(&self.own_root())?.leaves.get(&(address / PAGE_SIZE)).map(|leaf| leaf.frame)
    }
}
