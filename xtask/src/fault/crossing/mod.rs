//! Faults at the border between a program and the kernel: what a system call, or a request for memory, does once that it should
//! not do.
//!
//! None of them needs anything in the kernel or in the program. The instructions around a `syscall` give way to a jump into the
//! annex of the domain's code ([`userlib::start::layout::ANNEX`]), where a *stub* does what they did, and what is wrong:
//!
//! ```text
//! gate:   nop                     armed: whoever comes here is told of, and goes on
//!         what is wrong
//!         jmp back
//! entry:  the instructions that gave way
//!         cmp rax, NUMBER         is it the system call that is meant?
//!         jne make
//!         lock inc [counter]
//!         cmp [counter], EXECUTION
//!         je gate                 once, at the execution that chance has chosen
//! make:   syscall
//!         jmp back
//! ```
//!
//! So a fault is transient: messages are lost one at a time. What is wrong with results comes behind a `syscall` of its own, and
//! counts those executions only that had such a result. Which registers mean what is in [`abi::syscall`]; `rcx`, `r11` and the
//! flags are lost to the instruction, and free here.

mod stub;
#[cfg(test)]
mod tests;

use abi::message::REGISTER_WORDS;
use abi::syscall::Syscall;
use abi::{Error, PAGE_SIZE};
use iced_x86::{Code, Mnemonic, OpKind, Register};
use stub::Stub;
use userlib::start::layout;

use super::operator::Operator;
use super::program::{Placed, Program};
use super::random::Random;

/// Bytes of a jump to an address within 2 GiB (Intel SDM volume 2, JMP rel32).
const JUMP: usize = 5;
/// How many instructions before a `syscall` are looked through for its number.
const BEFORE: usize = 24;
/// Alignment of stubs.
const ALIGNMENT: u64 = 16;
/// Bytes of a counter.
const COUNTER: u64 = 4;
/// By how many seconds a clock jumps.
const JUMPS: [i64; 6] = [1, 10, 3600, -1, -10, -3600];
/// A fault happens at the latest when its system call is made for the time that is two to this.
const EXECUTIONS: usize = 6;
/// Bits of notifications that domains use for themselves and for their interrupts; those of the supervisor lie higher.
const BITS: usize = manifest::ASSIGNABLE_BITS as usize + 4;
/// The functions that get memory from the heap, by the end of their names.
const ALLOCATORS: [&str; 3] = ["::__rust_alloc", "::__rust_alloc_zeroed", "::__rust_realloc"];
/// The system calls that get memory or an object.
const MEMORY: [Syscall; 10] = [
    Syscall::Map,
    Syscall::SpaceDonate,
    Syscall::MemorySplit,
    Syscall::CapCopy,
    Syscall::CapGrant,
    Syscall::NotificationCreate,
    Syscall::BudgetCreate,
    Syscall::ThreadCreate,
    Syscall::InterruptCreate,
    Syscall::PortsSplit,
];

/// Where the instructions stand that a fault needs beside the program's.
#[derive(Clone, Debug)]
pub(super) struct Annex {
    next: u64,
    counter: u64,
}

impl Annex {
    pub(super) const fn new() -> Self {
        Self { next: layout::ANNEX, counter: layout::ANNEX_DATA }
    }
}

/// A fault, ready to be put in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Detour {
    /// The address of what gives way.
    pub(super) address: u64,
    /// What gives way.
    pub(super) old: Vec<u8>,
    /// The jump that takes its place.
    pub(super) new: Vec<u8>,
    /// The address of the stub, which is that of its gate.
    pub(super) stub: u64,
    /// The stub.
    pub(super) bytes: Vec<u8>,
    /// What goes wrong, for people.
    pub(super) what: String,
}

/// What goes wrong with a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    /// It is not made, and this error is told.
    Refused(Error),
    /// It is not made, and success is told.
    Omitted,
    /// A reply that is followed by a wait: the wait only.
    ReplyOmitted,
    /// A message that was received is dropped, and the next one waited for.
    Dropped,
    /// A bit of a register is another one when the message leaves.
    SentFlipped(Register, u32),
    /// A bit of a register is another one when the message has arrived.
    ReceivedFlipped(Register, u32),
    /// It is made twice.
    Repeated,
    /// The lowest of the bits that were notified is not told of, or the highest.
    LowestBitLost,
    HighestBitLost,
    /// A bit is told of that nobody has set.
    BitMadeUp(u32),
    /// The clock is so many seconds ahead, or behind.
    ClockOff(i64),
}

/// Where a fault comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    SystemCall(Syscall, Wrong),
    /// A function that gets memory from the heap says that there is none.
    Allocator,
}

impl Wrong {
    /// Whether it lies in the results.
    const fn is_behind(self) -> bool {
        matches!(
            self,
            Self::Dropped | Self::ReceivedFlipped(..) | Self::LowestBitLost | Self::HighestBitLost | Self::ClockOff(_)
        )
    }

    fn describe(self, call: Syscall) -> String {
        match self {
            Self::Refused(error) => format!("`{call:?}` was not made: {error}"),
            Self::Omitted => format!("`{call:?}` was not made, and seemed to be"),
            Self::ReplyOmitted => "a reply was not sent, and its sender went on to receive".to_owned(),
            Self::Dropped => "a call that was received was dropped".to_owned(),
            Self::SentFlipped(register, bit) => format!("bit {bit} of {register:?} was flipped before `{call:?}`"),
            Self::ReceivedFlipped(register, bit) => format!("bit {bit} of {register:?} was flipped after `{call:?}`"),
            Self::Repeated => format!("`{call:?}` was made twice"),
            Self::LowestBitLost => format!("the lowest of the bits that `{call:?}` returned was cleared"),
            Self::HighestBitLost => format!("the highest of the bits that `{call:?}` returned was cleared"),
            Self::BitMadeUp(bit) => format!("bit {bit} was told of by `{call:?}`, and nobody had set it"),
            Self::ClockOff(seconds) => format!("the clock was {seconds:+} s off"),
        }
    }
}

/// The positions of the instructions at which there can be such a fault.
pub(super) fn sites(operator: Operator, program: &Program) -> Vec<usize> {
    let is_site = |position: &usize| {
        is_system_call(program, *position)
            && program.run_up_to(*position, JUMP).is_some()
            && calls(operator).iter().any(|call| can_be(program, *position, *call))
    };
    let mut sites: Vec<usize> = (0..program.instructions.len()).filter(is_site).collect();
    if operator == Operator::RefuseMemory {
        let entries = ALLOCATORS.iter().flat_map(|name| program.entries(name));
        sites.extend(entries.filter(|position| program.run_from(*position, JUMP).is_some()));
    }
    sites
}

/// Chooses such a fault at an instruction; `None` if it would change nothing, or there is no room for it.
pub(super) fn choose(
    operator: Operator,
    program: &Program,
    position: usize,
    annex: &mut Annex,
    random: &mut Random,
) -> Option<Detour> {
    let (place, run) = if is_system_call(program, position) {
        let calls: Vec<_> = calls(operator).iter().copied().filter(|call| can_be(program, position, *call)).collect();
        if calls.is_empty() {
            return None;
        }
        let call = *random.of_all(&calls);
        (Place::SystemCall(call, wrong(operator, call, random)?), program.run_up_to(position, JUMP)?)
    } else {
        (Place::Allocator, program.run_from(position, JUMP)?)
    };
    // Early executions are likely, and late ones possible.
    let limit = 1 << random.below(EXECUTIONS + 1);
    let execution = 1 + random.below(limit) as u32;
    Detour::build(place, execution, &program.instructions[run], annex)
}

impl Detour {
    /// Has some instructions give way to a stub, if there is room for it.
    fn build(place: Place, execution: u32, run: &[Placed], annex: &mut Annex) -> Option<Self> {
        let (stub, address) = (annex.next, run.first()?.address());
        let Stub { bytes, entry } = Stub::assemble(place, execution, run, annex).ok()?;
        let end = stub + bytes.len() as u64;
        let has_room = end <= layout::ANNEX + layout::ANNEX_PAGES * PAGE_SIZE
            && annex.counter + COUNTER <= layout::ANNEX_DATA + PAGE_SIZE
            && bytes.len() <= interfaces::mutation::BYTES_MAX;
        if !has_room {
            return None;
        }
        let distance = i32::try_from(entry.wrapping_sub(address + JUMP as u64) as i64).ok()?;
        let mut new = vec![0xe9];
        new.extend(distance.to_le_bytes());
        (annex.next, annex.counter) = (end.next_multiple_of(ALIGNMENT), annex.counter + COUNTER);
        let what = match place {
            Place::SystemCall(call, wrong) => wrong.describe(call),
            Place::Allocator => "no memory was to be had from the heap".to_owned(),
        };
        let old = run.iter().flat_map(|placed| placed.bytes.clone()).collect();
        Some(Self { address, old, new, stub, bytes, what: format!("{what}, at execution {execution}") })
    }
}

fn is_system_call(program: &Program, position: usize) -> bool {
    program.instructions[position].instruction.code() == Code::Syscall
}

/// The system calls with which a kind of fault has to do.
const fn calls(operator: Operator) -> &'static [Syscall] {
    use Syscall::{Call, Clock, Notify, Receive, Reply, ReplyReceive, Wait};
    match operator {
        Operator::LoseMessage => &[Call, Receive, Reply, ReplyReceive, Notify],
        Operator::RepeatMessage => &[Call, Reply, ReplyReceive, Notify],
        Operator::CorruptMessage => &[Call, Receive, Reply, ReplyReceive],
        Operator::DropInterrupt | Operator::SpuriousInterrupt => &[Wait, Receive, ReplyReceive],
        Operator::RefuseMemory => &MEMORY,
        Operator::JumpClock => &[Clock],
        _ => &[],
    }
}

/// What goes wrong with a call: one of what can.
fn wrong(operator: Operator, call: Syscall, random: &mut Random) -> Option<Wrong> {
    let all = match (operator, call) {
        (Operator::LoseMessage, Syscall::Call) => vec![Wrong::Refused(Error::TimedOut)],
        (Operator::LoseMessage, Syscall::Reply | Syscall::Notify) => vec![Wrong::Omitted],
        (Operator::LoseMessage, Syscall::Receive) => vec![Wrong::Dropped],
        (Operator::LoseMessage, Syscall::ReplyReceive) => vec![Wrong::ReplyOmitted, Wrong::Dropped],
        (Operator::CorruptMessage, Syscall::Reply) => vec![Wrong::SentFlipped(Register::None, 0)],
        (Operator::CorruptMessage, Syscall::Receive) => vec![Wrong::ReceivedFlipped(Register::None, 0)],
        (Operator::CorruptMessage, Syscall::Call | Syscall::ReplyReceive) => {
            vec![Wrong::SentFlipped(Register::None, 0), Wrong::ReceivedFlipped(Register::None, 0)]
        }
        (Operator::RepeatMessage, _) => vec![Wrong::Repeated],
        (Operator::DropInterrupt, _) => vec![Wrong::LowestBitLost, Wrong::HighestBitLost],
        (Operator::SpuriousInterrupt, _) => vec![Wrong::BitMadeUp(random.below(BITS) as u32)],
        (Operator::RefuseMemory, _) => vec![Wrong::Refused(Error::QuotaExceeded), Wrong::Refused(Error::TableFull)],
        (Operator::JumpClock, _) => vec![Wrong::ClockOff(*random.of_all(&JUMPS))],
        _ => return None,
    };
    Some(match *random.of_all(&all) {
        Wrong::SentFlipped(..) => {
            let (register, bit) = register_and_bit(random);
            Wrong::SentFlipped(register, bit)
        }
        Wrong::ReceivedFlipped(..) => {
            let (register, bit) = register_and_bit(random);
            Wrong::ReceivedFlipped(register, bit)
        }
        other => other,
    })
}

/// A bit of a message: of its description or of one of its first words, which most messages have.
fn register_and_bit(random: &mut Random) -> (Register, u32) {
    const WORDS: [Register; REGISTER_WORDS] =
        [Register::R12, Register::R13, Register::R14, Register::R15, Register::RBX, Register::RBP];
    let bit = random.below(64) as u32;
    match random.below(4) {
        0 => (Register::RSI, bit),
        // Small numbers are what most words are.
        1 => (*random.of_all(&WORDS), bit % 16),
        2 => (WORDS[random.below(2)], bit % 16),
        _ => (WORDS[random.below(2)], bit),
    }
}

/// Whether the number of a system call may be that of `call`, by the instructions before it.
fn can_be(program: &Program, position: usize, call: Syscall) -> bool {
    number(program, position).is_none_or(|number| number == call as u64)
}

/// The number of a system call, if it stands in the instructions before it that are executed with it each time.
fn number(program: &Program, position: usize) -> Option<u64> {
    let first = (position.saturating_sub(BEFORE)..position).rev();
    for before in first {
        if !program.is_run(before..position + 1) {
            return None;
        }
        let instruction = &program.instructions[before].instruction;
        let writes = instruction.op_count() > 0
            && instruction.op0_kind() == OpKind::Register
            && instruction.op0_register().full_register() == Register::RAX;
        if !writes {
            continue;
        }
        return match instruction.mnemonic() {
            Mnemonic::Mov if instruction.op1_kind() != OpKind::Register && instruction.op1_kind() != OpKind::Memory => {
                Some(instruction.immediate(1))
            }
            Mnemonic::Xor if instruction.op1_kind() == OpKind::Register => {
                (instruction.op1_register() == instruction.op0_register()).then_some(0)
            }
            // It is read only, or worked out.
            Mnemonic::Cmp | Mnemonic::Test | Mnemonic::Push => continue,
            _ => None,
        };
    }
    None
}
