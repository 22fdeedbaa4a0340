//! Stubs are executed here, by a processor that knows the instructions they are made of.

use std::collections::BTreeMap;

use abi::message::MessageInfo;
use abi::syscall::RECEIVED_BITS;
use iced_x86::{Decoder, DecoderOptions, Instruction};

use super::super::program::Program;
use super::super::random::Random;
use super::*;

/// `push rbx; push rbp; mov rbx, rcx; mov rbp, r11; syscall; mov rcx, rbx`
const MESSAGE: &[u8] = &[0x53, 0x55, 0x48, 0x89, 0xcb, 0x4c, 0x89, 0xdd, 0x0f, 0x05, 0x48, 0x89, 0xd9];
/// Where the `syscall` of it is.
const POSITION: usize = 4;
/// Where the program goes on.
const BACK: u64 = START + 10;
const START: u64 = 0x20_1000;
const STACK: u64 = 0x1000_8000;

/// What a system call returns: `rax`, `rdi`, `rsi`.
type Results = (u64, u64, u64);

/// A system call that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Made {
    number: u64,
    /// `rdi, rsi, rdx, r8, r9`.
    arguments: [u64; 5],
    words: [u64; 2],
}

struct Processor {
    code: BTreeMap<u64, Instruction>,
    registers: BTreeMap<Register, u64>,
    memory: BTreeMap<u64, u64>,
    is_zero: bool,
    is_below: bool,
    gates: Vec<u64>,
    made: Vec<Made>,
    kernel: fn(Made) -> Results,
}

impl Processor {
    fn new(detour: &Detour, kernel: fn(Made) -> Results) -> Self {
        let mut code = BTreeMap::new();
        for (address, bytes) in [(detour.address, &detour.new), (detour.stub, &detour.bytes)] {
            let mut decoder = Decoder::with_ip(64, bytes, address, DecoderOptions::NONE);
            code.extend(decoder.iter().map(|instruction| (instruction.ip(), instruction)));
        }
        let registers = BTreeMap::from([(Register::RSP, STACK)]);
        let memory = BTreeMap::new();
        let (gates, made) = (Vec::new(), Vec::new());
        Self { code, registers, memory, is_zero: false, is_below: false, gates, made, kernel }
    }

    fn get(&self, register: Register) -> u64 {
        let full = self.registers.get(&register.full_register()).copied().unwrap_or_default();
        if register.size() == 4 { full & 0xffff_ffff } else { full }
    }

    fn set(&mut self, register: Register, value: u64) {
        let value = if register.size() == 4 { value & 0xffff_ffff } else { value };
        self.registers.insert(register.full_register(), value);
    }

    fn address(&self, instruction: &Instruction) -> u64 {
        self.get(instruction.memory_base()).wrapping_add(instruction.memory_displacement64())
    }

    fn operand(&self, instruction: &Instruction, number: u32) -> u64 {
        match instruction.op_kind(number) {
            OpKind::Register => self.get(instruction.op_register(number)),
            OpKind::Memory => self.memory.get(&self.address(instruction)).copied().unwrap_or_default(),
            _ if instruction.op0_register().size() == 4 => instruction.immediate(number) & 0xffff_ffff,
            _ => instruction.immediate(number),
        }
    }

    fn push(&mut self, value: u64) {
        let top = self.get(Register::RSP) - 8;
        self.set(Register::RSP, top);
        self.memory.insert(top, value);
    }

    fn pop(&mut self) -> u64 {
        let top = self.get(Register::RSP);
        self.set(Register::RSP, top + 8);
        self.memory[&top]
    }

    /// Makes a system call where the program does, and tells what it returns there.
    fn make(&mut self, number: Syscall, arguments: [u64; 5], words: [u64; 2]) -> Results {
        self.registers = BTreeMap::from([(Register::RSP, STACK)]);
        let [rdi, rsi, rdx, r8, r9] = arguments;
        let all = [
            (Register::RAX, number as u64),
            (Register::RDI, rdi),
            (Register::RSI, rsi),
            (Register::RDX, rdx),
            (Register::R8, r8),
            (Register::R9, r9),
            (Register::R12, words[0]),
            (Register::R13, words[1]),
        ];
        self.registers.extend(all);
        let mut next = START + 5;
        for _ in 0..200 {
            if next == BACK {
                assert_eq!(self.get(Register::RSP), STACK, "the stack is as it was");
                return (self.get(Register::RAX), self.get(Register::RDI), self.get(Register::RSI));
            }
            next = self.step(next);
        }
        panic!("the stub does not end");
    }

    fn step(&mut self, address: u64) -> u64 {
        let instruction = *self.code.get(&address).unwrap_or_else(|| panic!("no instruction at {address:#x}"));
        let (first, second) = match instruction.op_count() {
            0 => (0, 0),
            _ if instruction.op0_kind() == OpKind::NearBranch64 => (instruction.near_branch_target(), 0),
            1 => (self.operand(&instruction, 0), 0),
            _ => (self.operand(&instruction, 0), self.operand(&instruction, 1)),
        };
        let target = instruction.op0_register();
        let taken = match instruction.mnemonic() {
            Mnemonic::Jmp => true,
            Mnemonic::Je => self.is_zero,
            Mnemonic::Jne => !self.is_zero,
            Mnemonic::Ja => !self.is_zero && !self.is_below,
            Mnemonic::Jae => !self.is_below,
            _ => false,
        };
        match instruction.mnemonic() {
            Mnemonic::Jmp | Mnemonic::Je | Mnemonic::Jne | Mnemonic::Ja | Mnemonic::Jae => {}
            Mnemonic::Nop => {
                if address.is_multiple_of(ALIGNMENT) {
                    self.gates.push(address);
                }
            }
            Mnemonic::Mov => self.set(target, second),
            Mnemonic::Xor => self.set(target, first ^ second),
            Mnemonic::And => self.set(target, first & second),
            Mnemonic::Add => self.set(target, first.wrapping_add(second)),
            Mnemonic::Sub => {
                self.is_below = first < second;
                self.set(target, first.wrapping_sub(second));
            }
            Mnemonic::Cmovb => {
                let value = if self.is_below { second } else { first };
                self.set(target, value);
            }
            Mnemonic::Lea => self.set(target, self.address(&instruction)),
            Mnemonic::Btc => self.set(target, first ^ (1 << second)),
            Mnemonic::Btr => self.set(target, first & !(1 << second)),
            Mnemonic::Bsr => self.set(target, u64::from(second.ilog2())),
            Mnemonic::Inc => {
                self.memory.insert(self.address(&instruction), first + 1);
            }
            Mnemonic::Cmp => (self.is_zero, self.is_below) = (first == second, first < second),
            Mnemonic::Test => (self.is_zero, self.is_below) = (first & second == 0, false),
            Mnemonic::Push => self.push(first),
            Mnemonic::Pop => {
                let value = self.pop();
                self.set(target, value);
            }
            Mnemonic::Syscall => self.enter_kernel(),
            other => panic!("an instruction that no stub has: {other:?}"),
        }
        if taken { first } else { instruction.next_ip() }
    }

    fn enter_kernel(&mut self) {
        let registers = [Register::RDI, Register::RSI, Register::RDX, Register::R8, Register::R9];
        let arguments = registers.map(|register| self.get(register));
        let words = [Register::R12, Register::R13].map(|register| self.get(register));
        let made = Made { number: self.get(Register::RAX), arguments, words };
        self.made.push(made);
        let (rax, rdi, rsi) = (self.kernel)(made);
        for (register, value) in [(Register::RAX, rax), (Register::RDI, rdi), (Register::RSI, rsi)] {
            self.set(register, value);
        }
        for register in [Register::RDX, Register::R8, Register::R9, Register::R10, Register::RCX, Register::R11] {
            self.set(register, 0);
        }
    }
}

/// A kernel whose every call brings this.
fn brings_a_message(_: Made) -> Results {
    (0, 7, 2)
}

fn detour_of(call: Syscall, wrong: Wrong, execution: u32) -> Detour {
    let program = Program::of(START, MESSAGE);
    let run = program.run_up_to(POSITION, JUMP).expect("there is room");
    Detour::build(Place::SystemCall(call, wrong), execution, &program.instructions[run], &mut Annex::new())
        .expect("there is room in the annex")
}

const ARGUMENTS: [u64; 5] = [3, 2, 99, 55, 4];
const WORDS: [u64; 2] = [10, 20];

fn made(number: Syscall, arguments: [u64; 5]) -> Made {
    Made { number: number as u64, arguments, words: WORDS }
}

/// What comes of the only call that goes wrong, and the system calls that are made for it.
fn outcome(call: Syscall, wrong: Wrong, kernel: fn(Made) -> Results) -> (Results, Vec<Made>) {
    let mut processor = Processor::new(&detour_of(call, wrong, 1), kernel);
    let results = processor.make(call, ARGUMENTS, WORDS);
    assert_eq!(processor.gates, [layout::ANNEX], "it is told of");
    (results, processor.made)
}

/// Everything that can go wrong.
fn all() -> Vec<(Syscall, Wrong)> {
    let mut random = Random::of(1, 1);
    let mut all = Vec::new();
    for operator in Operator::CROSSINGS {
        for call in calls(operator) {
            for _ in 0..40 {
                all.push((*call, wrong(operator, *call, &mut random).expect("something can go wrong with it")));
            }
        }
    }
    all
}

#[test]
fn whatever_goes_wrong_does_so_once_and_at_the_execution_that_was_chosen() {
    for (call, wrong) in all() {
        let detour = detour_of(call, wrong, 3);
        let kernel = match wrong {
            Wrong::LowestBitLost | Wrong::HighestBitLost if call == Syscall::Wait => |_| (6, 7, 2),
            Wrong::LowestBitLost | Wrong::HighestBitLost => |_| (RECEIVED_BITS, 6, 0),
            _ => brings_a_message,
        };
        let mut processor = Processor::new(&detour, kernel);
        for execution in 1..=20 {
            processor.made.clear();
            processor.make(call, ARGUMENTS, WORDS);
            assert_eq!(processor.gates.len(), usize::from(execution >= 3), "{call:?} {wrong:?} at {execution}");
            if execution != 3 {
                assert_eq!(processor.made, [made(call, ARGUMENTS)], "{call:?} {wrong:?} at {execution}");
            }
        }
    }
}

#[test]
fn other_system_calls_of_the_same_instruction_are_made_as_they_are() {
    for (call, wrong) in all() {
        let mut processor = Processor::new(&detour_of(call, wrong, 1), brings_a_message);
        let other = if call == Syscall::Yield { Syscall::Clock } else { Syscall::Yield };
        assert_eq!(processor.make(other, ARGUMENTS, WORDS), (0, 7, 2));
        assert_eq!((processor.gates.len(), processor.made), (0, vec![made(other, ARGUMENTS)]));
    }
}

#[test]
fn a_lost_call_times_out_and_a_lost_reply_or_notification_seems_to_be_sent() {
    let timed_out = (-(Error::TimedOut as i64)) as u64;
    assert_eq!(outcome(Syscall::Call, Wrong::Refused(Error::TimedOut), brings_a_message), ((timed_out, 0, 0), vec![]));
    for call in [Syscall::Reply, Syscall::Notify] {
        assert_eq!(outcome(call, Wrong::Omitted, brings_a_message), ((0, 0, 0), vec![]));
    }
    let (results, calls) = outcome(Syscall::ReplyReceive, Wrong::ReplyOmitted, brings_a_message);
    assert_eq!(results, (0, 7, 2), "the next call is received");
    // The endpoint, how many capabilities are accepted, and the deadline.
    assert_eq!((calls.len(), calls[0].number, &calls[0].arguments[..3]), (1, 1, &[3, 4, 99][..]));
}

#[test]
fn a_call_that_is_dropped_was_received_and_the_next_one_is_waited_for() {
    for (call, accept) in [(Syscall::Receive, 2), (Syscall::ReplyReceive, 4)] {
        let (results, calls) = outcome(call, Wrong::Dropped, brings_a_message);
        assert_eq!((results, calls.len()), ((0, 7, 2), 2));
        assert_eq!(calls[0], made(call, ARGUMENTS));
        assert_eq!((calls[1].number, &calls[1].arguments[..3]), (1, &[3, accept, 99][..]));
    }
    // Bits are no message.
    let detour = detour_of(Syscall::Receive, Wrong::Dropped, 1);
    let mut processor = Processor::new(&detour, |_| (RECEIVED_BITS, 6, 0));
    assert_eq!(processor.make(Syscall::Receive, ARGUMENTS, WORDS), (RECEIVED_BITS, 6, 0));
    assert_eq!((processor.gates.len(), processor.made.len()), (0, 1));
}

#[test]
fn one_bit_of_a_message_is_another_one_before_or_after() {
    let (results, calls) = outcome(Syscall::Call, Wrong::SentFlipped(Register::R13, 3), brings_a_message);
    assert_eq!((results, calls[0].words, calls[0].arguments), ((0, 7, 2), [10, 20 ^ 8], ARGUMENTS));
    let (results, calls) = outcome(Syscall::Receive, Wrong::ReceivedFlipped(Register::RSI, 32), brings_a_message);
    assert_eq!((results, &calls[..]), ((0, 7, 2 | 1 << 32), &[made(Syscall::Receive, ARGUMENTS)][..]));
    let info = MessageInfo(results.2);
    assert_eq!((info.label(), info.words()), (1, 2), "another label, and as many words");
}

#[test]
fn what_is_repeated_is_made_twice_alike() {
    for call in [Syscall::Call, Syscall::Reply, Syscall::Notify] {
        let (results, calls) = outcome(call, Wrong::Repeated, brings_a_message);
        let as_many = if call == Syscall::Call { 4 } else { 2 };
        assert_eq!((results.0, calls.len(), calls[1].words), (0, 2, WORDS));
        assert_eq!(calls[0].arguments[..as_many], calls[1].arguments[..as_many]);
        assert_eq!((calls[0].number, calls[1].number), (call as u64, call as u64));
    }
    let (_, calls) = outcome(Syscall::ReplyReceive, Wrong::Repeated, brings_a_message);
    // Token and description.
    assert_eq!((calls[0].number, &calls[0].arguments[..2]), (Syscall::Reply as u64, &[55, 2][..]));
    assert_eq!(calls[1..], [made(Syscall::ReplyReceive, ARGUMENTS)]);
}

#[test]
fn a_call_is_not_repeated_that_gives_capabilities_away_or_has_words_in_its_buffer() {
    for info in [MessageInfo::new(1, 7), MessageInfo::new(1, 2).with_caps(1)] {
        let mut processor = Processor::new(&detour_of(Syscall::Call, Wrong::Repeated, 1), brings_a_message);
        processor.make(Syscall::Call, [3, info.0, 99, 55, 0], WORDS);
        assert_eq!((processor.made.len(), processor.gates.len()), (1, 0));
    }
}

#[test]
fn a_bit_is_lost_of_those_that_were_notified() {
    let bits = |_| (RECEIVED_BITS, 0b10110, 0);
    assert_eq!(outcome(Syscall::Receive, Wrong::LowestBitLost, bits).0, (RECEIVED_BITS, 0b10100, 0));
    assert_eq!(outcome(Syscall::ReplyReceive, Wrong::HighestBitLost, bits).0, (RECEIVED_BITS, 0b00110, 0));
    assert_eq!(outcome(Syscall::Wait, Wrong::HighestBitLost, |_| (0b110, 0, 0)).0.0, 0b010);
    // An error has none.
    let mut processor = Processor::new(&detour_of(Syscall::Wait, Wrong::LowestBitLost, 1), |_| (-15_i64 as u64, 0, 0));
    assert_eq!(processor.make(Syscall::Wait, ARGUMENTS, WORDS).0 as i64, -15);
    assert!(processor.gates.is_empty());
}

#[test]
fn a_bit_is_made_up_without_waiting_and_a_reply_leaves_all_the_same() {
    assert_eq!(outcome(Syscall::Wait, Wrong::BitMadeUp(5), brings_a_message), ((32, 0, 0), vec![]));
    assert_eq!(outcome(Syscall::Receive, Wrong::BitMadeUp(5), brings_a_message), ((1, 32, 0), vec![]));
    let (results, calls) = outcome(Syscall::ReplyReceive, Wrong::BitMadeUp(5), brings_a_message);
    assert_eq!((results, calls.len()), ((1, 32, 0), 1));
    assert_eq!((calls[0].number, &calls[0].arguments[..2]), (Syscall::Reply as u64, &[55, 2][..]));
}

#[test]
fn the_clock_is_ahead_or_behind_but_never_before_the_machine_was_started() {
    let after = |seconds| outcome(Syscall::Clock, Wrong::ClockOff(seconds), |_| (5_000_000_000, 0, 0)).0.0;
    assert_eq!(after(10), 15_000_000_000);
    assert_eq!(after(-1), 4_000_000_000);
    assert_eq!(after(-10), 0);
}

#[test]
fn a_heap_without_memory_gives_null() {
    // `mov rax, rdi; sub rsp, 8; mov ecx, 1`
    let program = Program::of(START, &[0x48, 0x89, 0xf8, 0x48, 0x83, 0xec, 0x08, 0xb9, 1, 0, 0, 0]);
    let run = program.run_from(0, JUMP).expect("there is room");
    assert_eq!(run, 0..2);
    let detour = Detour::build(Place::Allocator, 1, &program.instructions[run], &mut Annex::new()).unwrap();
    assert_eq!((detour.address, &detour.old[..]), (START, &[0x48, 0x89, 0xf8, 0x48, 0x83, 0xec, 0x08][..]));
    // `nop; xor eax, eax; ret`
    assert_eq!(detour.bytes[..4], [0x90, 0x31, 0xc0, 0xc3]);
    let moved = detour.bytes.windows(7).any(|bytes| bytes == &detour.old[..]);
    assert!(moved, "the others do what they did");
}

#[test]
fn the_number_of_a_system_call_is_read_from_the_instructions_before_it() {
    let number_in = |bytes: &[u8]| {
        let program = Program::of(START, bytes);
        let position = program.instructions.iter().position(|placed| placed.instruction.code() == Code::Syscall);
        number(&program, position.expect("there is one"))
    };
    // `mov eax, 96; xor edi, edi; syscall`
    assert_eq!(number_in(&[0xb8, 96, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05]), Some(96));
    // `xor eax, eax; xor edi, edi; cmp eax, edi; syscall`
    assert_eq!(number_in(&[0x31, 0xc0, 0x31, 0xff, 0x39, 0xf8, 0x0f, 0x05]), Some(0));
    // `mov eax, edi; syscall`, and `mov eax, [rdi]; syscall`
    assert_eq!(number_in(&[0x89, 0xf8, 0x0f, 0x05]), None);
    assert_eq!(number_in(&[0x8b, 0x07, 0x0f, 0x05]), None);
    // `mov eax, 96; xor edi, edi; syscall; jmp` to `xor edi, edi`: the number may be another one.
    assert_eq!(number_in(&[0xb8, 96, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05, 0xeb, 0xfa]), None);
}

#[test]
fn an_annex_takes_as_many_as_it_has_room_for_and_they_do_not_overlap() {
    let program = Program::of(START, MESSAGE);
    let run = program.run_up_to(POSITION, JUMP).expect("there is room");
    let (mut annex, mut end, mut count) = (Annex::new(), layout::ANNEX, 0);
    let place = Place::SystemCall(Syscall::Call, Wrong::Repeated);
    while let Some(detour) = Detour::build(place, 1, &program.instructions[run.clone()], &mut annex) {
        assert!(detour.stub >= end && detour.stub.is_multiple_of(ALIGNMENT));
        end = detour.stub + detour.bytes.len() as u64;
        count += 1;
    }
    assert!(count >= 100, "a batch has room, of which the longest are {count}");
    assert!(end <= layout::ANNEX + layout::ANNEX_PAGES * PAGE_SIZE);
}

#[test]
fn sites_are_system_calls_that_can_be_meant_and_the_heaps_entry() {
    // `mov eax, 96; syscall; ret`
    let clock = Program::of(START, &[0xb8, 96, 0, 0, 0, 0x0f, 0x05, 0xc3]);
    assert_eq!(sites(Operator::JumpClock, &clock), [1]);
    assert!(sites(Operator::LoseMessage, &clock).is_empty());
    let unknown = Program::of(START, MESSAGE);
    for operator in Operator::CROSSINGS {
        assert_eq!(sites(operator, &unknown), [POSITION], "{operator:?}");
    }
}
