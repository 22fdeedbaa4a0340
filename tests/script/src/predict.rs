//! The host: the kernel's core with tables as long as a small machine's.

use crate::{LIMIT, Line, MEMORY_PAGES, Outcome, Player, Script, Stage};
use abi::boot::TABLE_SHARES;
use abi::rights::MemoryRights;
use abi::syscall::Charge;
use abi::{Handle, Syscall, root};
use kernel_core::{
    Account, Budget, CapSlot, Cpu, CpuId, Domain, Endpoint, FrameEntry, MachineTables, Mapping, Notification, Slot,
    Slots, Space, Tables, Thread, ThreadId,
};
use model::machine::{DATA, Plan};
use model::{Machine, Outcome as Ended};

/// Tables as long as those of a machine with as little memory as there can be; only the frame table, which the machine makes as
/// long as its memory, is shorter.
#[derive(Clone, Copy, Debug)]
pub struct FullTables;

/// How many of the slots of the longest tables such a machine has.
const fn share(all: usize) -> usize {
    all / TABLE_SHARES
}

const THREADS: usize = share(MachineTables::THREADS);

impl Tables for FullTables {
    type Accounts = [Slot<Account>; share(<MachineTables as Tables>::Accounts::LENGTH)];
    type Caps = [CapSlot; share(<MachineTables as Tables>::Caps::LENGTH)];
    type Spaces = [Slot<Space>; share(<MachineTables as Tables>::Spaces::LENGTH)];
    type Domains = [Slot<Domain>; share(<MachineTables as Tables>::Domains::LENGTH)];
    type Threads = [Slot<Thread>; THREADS];
    type Timers = [Option<ThreadId>; THREADS];
    type Cpus = [Cpu<Self::Timers>; CpuId::MAX];
    type Budgets = [Slot<Budget>; share(<MachineTables as Tables>::Budgets::LENGTH)];
    type Endpoints = [Slot<Endpoint>; share(<MachineTables as Tables>::Endpoints::LENGTH)];
    type Notifications = [Slot<Notification>; share(<MachineTables as Tables>::Notifications::LENGTH)];
    type Mappings = [Slot<Mapping>; share(<MachineTables as Tables>::Mappings::LENGTH)];
    type Interrupts = <MachineTables as Tables>::Interrupts;
    type Frames = Vec<FrameEntry>;
}

/// Frames of the host's machine: page tables, a few pages of the root's, and the script's memory.
const FRAMES: u32 = 1024;
/// Page of the root's RAM at which the script's memory begins; those before it are the root's own.
const MEMORY: u64 = 16;
/// Where in the root's data page an account's limits are, and the words that calls write.
const LIMITS: u64 = DATA;
const BUFFER: u64 = DATA + 0x100;
/// Where scripts may map: in the 2 MiB of the root's data page.
const WINDOW: u64 = DATA + 0x10_0000;
/// What the machine takes on the stack while it is made, several times its size.
const STACK: usize = 256 << 20;

/// The host as a stage.
pub(crate) struct Host {
    machine: Box<Machine<FullTables>>,
    memory: Handle,
}

impl Host {
    pub(crate) fn boot() -> Self {
        let plan = Plan { frames: FRAMES, tables: 32, table_length: root::TABLE_LENGTH };
        let mut machine = Box::new(Machine::boot(plan));
        machine.checking = false;
        machine.store_words(LIMITS, &[u64::from(LIMIT) | u64::from(LIMIT) << 32; Charge::COUNT / 2]);
        let rights = u64::from(MemoryRights::all().bits());
        let memory = machine.make(Syscall::MemorySplit, &[machine.ram.0, MEMORY, MEMORY_PAGES, rights]);
        Host { machine, memory }
    }

    /// Checks every invariant, after this many lines.
    pub(crate) fn check(&self, after: usize) -> Result<(), Violation> {
        self.machine.check().map_err(|what| Violation { after, what })
    }
}

impl Stage for Host {
    fn memory(&self) -> u64 {
        self.memory.0
    }

    fn window(&self) -> u64 {
        WINDOW
    }

    fn buffer(&self) -> u64 {
        BUFFER
    }

    fn limits(&self) -> u64 {
        LIMITS
    }

    fn call(&mut self, syscall: Syscall, arguments: [u64; 6]) -> [u64; 4] {
        match self.machine.call(syscall, &arguments) {
            Ended::Done(results) => results,
            Ended::Away => panic!("{syscall:?} {arguments:x?} does not come back, so it has no place in a script"),
        }
    }

    fn word(&self, index: usize) -> u64 {
        self.machine.load_words(BUFFER + 8 * index as u64, 1)[0]
    }
}

/// An invariant that is violated after a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// How many lines had been carried out.
    pub after: usize,
    /// The invariant, and what contradicts it.
    pub what: String,
}

/// Carries a script out on the core and says what comes of each line. Every invariant is checked after each `every`
/// lines and at the end.
///
/// # Errors
/// The first violation that was found.
///
/// # Panics
/// If the core does, or if a call does not come back.
pub fn predict(script: &Script, every: usize) -> Result<Vec<Outcome>, Violation> {
    on_long_stack(|| play(&script.lines, every))
}

/// Does some work where the stack is long enough for the tables, which are built on it.
pub(crate) fn on_long_stack<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work);
        match thread.expect("the host starts a thread").join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn play(lines: &[Line], every: usize) -> Result<Vec<Outcome>, Violation> {
    let mut player = Player::new(Host::boot());
    let mut outcomes = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        outcomes.push(player.play(line));
        let after = index + 1;
        if after.is_multiple_of(every) || after == lines.len() {
            player.stage().check(after)?;
        }
    }
    Ok(outcomes)
}
