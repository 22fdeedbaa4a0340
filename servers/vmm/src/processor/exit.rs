//! What becomes of each reason for which a guest was left (AMD64 APM volume 2, appendix C).

use super::clock::{GuestClock, SYSTEM_TIME, WALL_CLOCK};
use super::end_of_interrupt::{END_OF_INTERRUPT, EndOfInterrupt};
use super::identification::{Host, identify};
use super::model_specific::{DEADLINE, ModelSpecific};
use super::paging::{Access, PageFault, reach, translate};
use super::registers::{mode, read_registers, write_registers};
use crate::board::Board;
use crate::instruction::{self, MAX_BYTES, Mode, PortTarget, Refusal, Target};
use crate::interrupt::Pending;
use crate::memory::GuestMemory;
use crate::virtio::{Disk, EntropySource};
use abi::vcpu::{VcpuState, code, interrupt};
use core::fmt;

/// What is to be done with the processor now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on.
    Run,
    /// It waits for an interrupt.
    Halt,
    /// It cannot go on.
    Stop(Fatal),
}

/// Why a processor cannot go on. The guest is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fatal {
    /// It failed to deliver an exception, and the exception about that, and the one about that.
    TripleFault {
        /// Where.
        instruction: u64,
    },
    /// No processor runs the state that the guest has brought it into.
    Invalid {
        /// Where.
        instruction: u64,
    },
    /// It accesses a device by an instruction that is not carried out.
    NotEmulated {
        /// Where.
        instruction: u64,
        /// The guest-physical address that it accesses.
        address: u64,
        /// Why not.
        refusal: Refusal,
    },
    /// It was left for a reason that this monitor does not know.
    Unknown {
        /// The exit code.
        code: u64,
        /// Where.
        instruction: u64,
    },
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TripleFault { instruction } => write!(f, "triple fault at {instruction:#x}"),
            Self::Invalid { instruction } => write!(f, "a state that no processor runs, at {instruction:#x}"),
            Self::NotEmulated { instruction, address, refusal } => {
                write!(f, "access to a device at {address:#x} by the instruction at {instruction:#x}: {refusal}")
            }
            Self::Unknown { code, instruction } => {
                write!(f, "exit {code:#x} at {instruction:#x}, which means nothing here")
            }
        }
    }
}

impl core::error::Error for Fatal {}

const INTERRUPTS: u64 = 1 << 9;
/// Flag that keeps a breakpoint from stopping an instruction twice: an instruction that is over clears it.
const RESUME: u64 = 1 << 16;
/// Words of events (AMD64 APM volume 2, section 15.20): valid, with an error code, and of which type.
const EVENT_VALID: u64 = 1 << 31;
const EVENT_ERROR: u64 = 1 << 11;
const EVENT_NON_MASKABLE: u64 = 2 << 8 | 2;
const EVENT_EXCEPTION: u64 = 3 << 8;
/// Exceptions.
const DEBUG: u64 = 1;
const UNDEFINED: u64 = 6;
const PROTECTION: u64 = 13;
const PAGE_FAULT: u64 = 14;
const ALIGNMENT: u64 = 17;
/// Lengths of instructions that the processor does not tell.
const TWO: u64 = 2;
const HALT_OPCODE: u8 = 0xf4;
/// The priority that the guest has set, in the word about interrupts.
const TASK_PRIORITY: u64 = 0xf;
/// Bits of the first information about a port (section 15.10.2).
const PORT_IN: u64 = 1;
const PORT_STRING: u64 = 1 << 2;
const PAGE: u64 = 4096;
const RAX: usize = 0;
const RBX: usize = 1;
const RCX: usize = 2;
const RDX: usize = 3;

/// A guest's processor, without its registers.
#[derive(Clone, Debug)]
pub struct Processor {
    number: u8,
    count: u8,
    host: Host,
    clock: GuestClock,
    registers: ModelSpecific,
    end_of_interrupt: EndOfInterrupt,
    /// Debug registers 0 to 3: they are kept, and nothing stops there.
    breakpoints: [u64; 4],
}

impl Processor {
    /// The one with this number, of so many, on a machine of which `host` tells what its processor says of itself.
    #[must_use]
    pub fn new(number: u8, count: u8, host: Host, clock: GuestClock) -> Self {
        let (registers, end_of_interrupt) = (ModelSpecific::new(number), EndOfInterrupt::default());
        Self { number, count, host, clock, registers, end_of_interrupt, breakpoints: [0; 4] }
    }

    /// Prepares an entry: what is due is delivered, or is to be as soon as the guest takes it.
    pub fn prepare<D: Disk, E: EntropySource>(
        &mut self,
        state: &mut VcpuState,
        board: &mut Board<D, E>,
        memory: &mut dyn GuestMemory,
    ) {
        let number = usize::from(self.number);
        // It may have been called out since it has set it.
        board.fabric().set_task_priority_class(number, (state.interrupts & TASK_PRIORITY) as u8);
        let due = board.fabric().next_interrupt(number);
        state.interrupts &= !interrupt::WINDOW;
        // What was being delivered when the guest was left comes first.
        if state.event & EVENT_VALID == 0
            && let Some(pending) = due
            && (pending == Pending::NonMaskable || state.rflags & INTERRUPTS != 0)
        {
            self.deliver(state, board, memory);
        }
        if board.fabric().next_interrupt(number).is_some() {
            state.interrupts |= interrupt::WINDOW;
        }
        self.end_of_interrupt.offer(number, board.fabric(), memory);
    }

    /// Learns after an exit, of whatever kind, what the guest has done meanwhile without one. Comes before everything else.
    pub fn returned<D: Disk, E: EntropySource>(&mut self, board: &mut Board<D, E>, memory: &mut dyn GuestMemory) {
        self.end_of_interrupt.take_back(self.number.into(), board.fabric(), memory);
    }

    /// An INIT message: what was agreed on with the guest before holds no longer.
    pub fn initialise(&mut self) {
        self.end_of_interrupt = EndOfInterrupt::default();
    }

    /// Has what is due delivered with the entry.
    fn deliver<D: Disk, E: EntropySource>(
        &mut self,
        state: &mut VcpuState,
        board: &mut Board<D, E>,
        memory: &dyn GuestMemory,
    ) {
        // A processor that enables interrupts and halts takes none between the two. The shadow in which it is gets lost when it is
        // entered, so the halt is over before the interrupt comes.
        if state.interrupts & interrupt::SHADOW != 0 && next_byte(state, memory) == Some(HALT_OPCODE) {
            skip(state, 1);
        }
        state.interrupts &= !interrupt::SHADOW;
        state.event = match board.fabric().accept(self.number.into()) {
            Some(Pending::NonMaskable) => EVENT_VALID | EVENT_NON_MASKABLE,
            Some(Pending::Interrupt(vector)) => EVENT_VALID | u64::from(vector),
            None => 0,
        };
    }

    /// Whether a halted processor goes on.
    pub fn is_awake<D: Disk, E: EntropySource>(&self, state: &VcpuState, board: &mut Board<D, E>) -> bool {
        match board.fabric().next_interrupt(self.number.into()) {
            Some(Pending::NonMaskable) => true,
            Some(Pending::Interrupt(_)) => state.rflags & INTERRUPTS != 0,
            None => false,
        }
    }

    /// Does what the guest was left for, which is no access to memory that it is yet to be given. `timestamp` is the machine's
    /// counter, `now` the time in nanoseconds.
    pub fn left<D: Disk, E: EntropySource>(
        &mut self,
        (exit, info): (u64, [u64; 2]),
        state: &mut VcpuState,
        board: &mut Board<D, E>,
        memory: &mut dyn GuestMemory,
        (timestamp, now): (u64, u64),
    ) -> Outcome {
        let number = usize::from(self.number);
        // The guest sets the priority by its control register, which no exit tells, or by the APIC's register.
        board.fabric().set_task_priority_class(number, (state.interrupts & TASK_PRIORITY) as u8);
        let outcome = self.carry_out((exit, info), state, board, memory, (timestamp, now));
        let class = board.fabric().task_priority_class(number);
        state.interrupts = state.interrupts & !TASK_PRIORITY | u64::from(class);
        outcome
    }

    fn carry_out<D: Disk, E: EntropySource>(
        &mut self,
        (exit, info): (u64, [u64; 2]),
        state: &mut VcpuState,
        board: &mut Board<D, E>,
        memory: &mut dyn GuestMemory,
        (timestamp, now): (u64, u64),
    ) -> Outcome {
        let instruction = state.rip;
        match exit {
            code::WINDOW => {}
            code::CPUID => self.identify(state),
            code::HLT => {
                step(state, 1);
                return Outcome::Halt;
            }
            code::IOIO => return self.access_port(info, state, board, memory, now),
            code::MSR => self.access_register(info[0] & 1 != 0, state, board, memory, (timestamp, now)),
            code::NESTED_FAULT => {
                let address = info[1];
                if let Err(refusal) = self.access_memory(address, state, board, memory, now) {
                    return Outcome::Stop(Fatal::NotEmulated { instruction, address, refusal });
                }
            }
            code::SHUTDOWN => return Outcome::Stop(Fatal::TripleFault { instruction }),
            code::INVD | code::WBINVD => step(state, TWO),
            code::RDPMC => raise(state, PROTECTION, Some(0)),
            code::RSM
            | code::INVLPGA
            | code::VMMCALL
            | code::MONITOR
            | code::MWAIT
            | code::XSETBV
            | code::VMRUN..=0x86
            | 0x8c..=0x8e => raise(state, UNDEFINED, None),
            _ if exit == code::EXCEPTION + DEBUG => raise(state, DEBUG, None),
            _ if exit == code::EXCEPTION + ALIGNMENT => raise(state, ALIGNMENT, Some(0)),
            code::READ_DR..code::EXCEPTION => self.access_breakpoint(exit, state, memory),
            code::INVALID | 0xffff_ffff => return Outcome::Stop(Fatal::Invalid { instruction }),
            _ => return Outcome::Stop(Fatal::Unknown { code: exit, instruction }),
        }
        Outcome::Run
    }

    fn identify(&self, state: &mut VcpuState) {
        let (leaf, part) = (state.general[RAX] as u32, state.general[RCX] as u32);
        let found = identify(self.host, leaf, part, self.number, self.count);
        for (register, value) in [RAX, RBX, RCX, RDX].into_iter().zip(found) {
            state.general[register] = value.into();
        }
        step(state, TWO);
    }

    fn access_register<D: Disk, E: EntropySource>(
        &mut self,
        writes: bool,
        state: &mut VcpuState,
        board: &mut Board<D, E>,
        memory: &mut dyn GuestMemory,
        (timestamp, now): (u64, u64),
    ) {
        let register = state.general[RCX] as u32;
        let value = state.general[RDX] << 32 | state.general[RAX] & 0xffff_ffff;
        let show = |state: &mut VcpuState, value: u64| {
            state.general[RAX] = value & 0xffff_ffff;
            state.general[RDX] = value >> 32;
            true
        };
        let is_done = match (writes, register) {
            (true, DEADLINE) => {
                let left = value.saturating_sub(timestamp.wrapping_add(state.tsc_offset));
                let at = now.saturating_add(self.clock.nanoseconds(left));
                board.fabric().set_deadline(self.number.into(), value, at);
                true
            }
            (false, DEADLINE) => show(state, board.fabric().deadline(self.number.into())),
            (true, WALL_CLOCK) => self.clock.write_wall_clock(value, memory).is_ok(),
            (true, SYSTEM_TIME) => self.clock.write_system_time(value, state.tsc_offset, memory).is_ok(),
            (true, END_OF_INTERRUPT) => self.end_of_interrupt.agree(value, memory).is_ok(),
            (true, _) => self.registers.write(register, value, state, timestamp).is_ok(),
            (false, _) => self.registers.read(register, state, timestamp).is_ok_and(|value| show(state, value)),
        };
        if is_done {
            step(state, TWO);
        } else {
            raise(state, PROTECTION, Some(0));
        }
    }

    fn access_port<D: Disk, E: EntropySource>(
        &mut self,
        [what, next]: [u64; 2],
        state: &mut VcpuState,
        board: &mut Board<D, E>,
        memory: &mut dyn GuestMemory,
        now: u64,
    ) -> Outcome {
        let (port, size) = ((what >> 16) as u16, (what >> 4 & 7) as usize);
        if what & PORT_STRING != 0 {
            return self.access_port_by_string(state, board, memory, now);
        }
        if what & PORT_IN == 0 {
            board.output(port, size, state.general[RAX] as u32, now);
        } else {
            let value = u64::from(board.input(port, size, now));
            let rax = &mut state.general[RAX];
            // 32 bits clear what is above them, fewer keep it.
            *rax = if size == 4 { value } else { *rax & (u64::MAX << (8 * size)) | value };
        }
        state.rip = next;
        state.rflags &= !RESUME;
        state.interrupts &= !interrupt::SHADOW;
        Outcome::Run
    }

    fn access_port_by_string<D: Disk, E: EntropySource>(
        &mut self,
        state: &mut VcpuState,
        board: &mut Board<D, E>,
        memory: &mut dyn GuestMemory,
        now: u64,
    ) -> Outcome {
        let Some((bytes, length)) = fetch(state, memory) else { return Outcome::Run };
        let (instruction, mut registers) = (state.rip, read_registers(state));
        let mut ports = Ports { state, board, memory, now, fault: None };
        let outcome = instruction::emulate_port_string(&bytes[..length], mode(ports.state), &mut registers, &mut ports);
        let fault = ports.fault;
        match (outcome, fault) {
            (Ok(()), _) => write_registers(&registers, state),
            (Err(Refusal::NoMemory { .. }), Some((address, PageFault { code }))) => {
                write_registers(&registers, state);
                state.cr2 = address;
                raise(state, PAGE_FAULT, Some(code));
            }
            (Err(refusal), _) => return Outcome::Stop(Fatal::NotEmulated { instruction, address: 0, refusal }),
        }
        state.interrupts &= !interrupt::SHADOW;
        Outcome::Run
    }

    fn access_memory<D: Disk, E: EntropySource>(
        &mut self,
        address: u64,
        state: &mut VcpuState,
        board: &mut Board<D, E>,
        memory: &dyn GuestMemory,
        now: u64,
    ) -> Result<(), Refusal> {
        // Where there are no instructions any more, the guest finds that out by itself.
        let Some((bytes, length)) = fetch(state, memory) else { return Err(Refusal::NoInstruction) };
        let mut registers = read_registers(state);
        let processor = self.number.into();
        let mut device = Registers { page: address & !(PAGE - 1), processor, board, now };
        instruction::emulate(&bytes[..length], mode(state), &mut registers, &mut device)?;
        write_registers(&registers, state);
        state.interrupts &= !interrupt::SHADOW;
        Ok(())
    }

    /// `mov` between a debug register and a general one: 0f 21 or 0f 23, and which ones.
    fn access_breakpoint(&mut self, exit: u64, state: &mut VcpuState, memory: &dyn GuestMemory) {
        let Some((bytes, length)) = fetch(state, memory) else { return };
        let bytes = &bytes[..length];
        let prefixes = bytes.iter().take_while(|byte| **byte != 0x0f).count();
        // The last prefix counts, if it is one that extends registers.
        let extended = prefixes.checked_sub(1).and_then(|last| bytes.get(last)).is_some_and(|rex| rex & 0xf1 == 0x41);
        let Some(operands) = bytes.get(prefixes + 2) else { return raise(state, UNDEFINED, None) };
        let general = usize::from(operands & 7) + if extended { 8 } else { 0 };
        let mut registers = read_registers(state);
        let breakpoint = &mut self.breakpoints[(exit & 3) as usize];
        if exit >= code::WRITE_DR {
            *breakpoint = registers.general[general];
        } else {
            registers.general[general] = *breakpoint;
        }
        write_registers(&registers, state);
        skip(state, prefixes as u64 + 3);
    }
}

/// The instruction for which the guest was left is over. The processor may tell where the next one is; this length is that of the
/// instruction without superfluous prefixes.
fn step(state: &mut VcpuState, length: u64) {
    match state.exit.next_rip {
        0 => skip(state, length),
        next => skip(state, next.wrapping_sub(state.rip)),
    }
}

/// The instruction of this length is over.
fn skip(state: &mut VcpuState, length: u64) {
    state.rip = state.rip.wrapping_add(length);
    if mode(state) != Mode::Bits64 {
        state.rip &= 0xffff_ffff;
    }
    state.rflags &= !RESUME;
    state.interrupts &= !interrupt::SHADOW;
}

/// The guest is to take an exception.
fn raise(state: &mut VcpuState, vector: u64, error: Option<u32>) {
    let error = error.map_or(0, |error| EVENT_ERROR | u64::from(error) << 32);
    state.event = EVENT_VALID | EVENT_EXCEPTION | vector | error;
}

/// The linear address of the next instruction.
fn next_instruction(state: &VcpuState) -> u64 {
    match mode(state) {
        Mode::Bits64 => state.rip,
        _ => state.cs.base.wrapping_add(state.rip) & 0xffff_ffff,
    }
}

/// The bytes of the next instruction, and how many there are: fewer if memory ends.
fn fetch(state: &VcpuState, memory: &dyn GuestMemory) -> Option<([u8; MAX_BYTES], usize)> {
    let mut bytes = [0; MAX_BYTES];
    let first = next_instruction(state);
    let in_page = ((PAGE - first % PAGE) as usize).min(MAX_BYTES);
    memory.read(translate(state, memory, first)?, &mut bytes[..in_page]).ok()?;
    let rest = translate(state, memory, first.wrapping_add(in_page as u64)).filter(|_| in_page < MAX_BYTES);
    let is_whole = rest.is_some_and(|rest| memory.read(rest, &mut bytes[in_page..]).is_ok());
    Some((bytes, if is_whole { MAX_BYTES } else { in_page }))
}

fn next_byte(state: &VcpuState, memory: &dyn GuestMemory) -> Option<u8> {
    let mut byte = [0];
    memory.read(translate(state, memory, next_instruction(state))?, &mut byte).ok()?;
    Some(byte[0])
}

/// The device behind a page where the guest has no memory.
struct Registers<'a, D, E> {
    page: u64,
    processor: usize,
    board: &'a mut Board<D, E>,
    now: u64,
}

impl<D: Disk, E: EntropySource> Target for Registers<'_, D, E> {
    fn read(&mut self, address: u64, size: usize) -> u64 {
        self.board.read(self.processor, self.page | (address % PAGE), size, self.now)
    }

    fn write(&mut self, address: u64, size: usize, value: u64) {
        self.board.write(self.processor, self.page | (address % PAGE), size, value, self.now);
    }
}

/// Ports, and the guest's memory by linear addresses.
struct Ports<'a, D, E> {
    state: &'a VcpuState,
    board: &'a mut Board<D, E>,
    memory: &'a mut dyn GuestMemory,
    now: u64,
    /// The linear address that was not reached, and why.
    fault: Option<(u64, PageFault)>,
}

impl<D, E> Ports<'_, D, E> {
    fn reach(&mut self, address: u64, access: Access) -> Option<u64> {
        let found = reach(self.state, &*self.memory, address, access);
        found.map_err(|fault| self.fault = Some((address, fault))).ok()
    }
}

impl<D: Disk, E: EntropySource> PortTarget for Ports<'_, D, E> {
    fn input(&mut self, port: u16, size: usize) -> u32 {
        self.board.input(port, size, self.now)
    }

    fn output(&mut self, port: u16, size: usize, value: u32) {
        self.board.output(port, size, value, self.now);
    }

    fn load(&mut self, address: u64, into: &mut [u8]) -> bool {
        // An element lies in one page or is read byte by byte.
        into.iter_mut().zip(0..).all(|(byte, index)| {
            let Some(place) = self.reach(address.wrapping_add(index), Access::Read) else { return false };
            // What is not there reads as ones.
            if self.memory.read(place, core::slice::from_mut(byte)).is_err() {
                *byte = 0xff;
            }
            true
        })
    }

    fn can_store(&mut self, address: u64, size: usize) -> bool {
        (0..size as u64).all(|index| self.reach(address.wrapping_add(index), Access::Write).is_some())
    }

    fn store(&mut self, address: u64, bytes: &[u8]) -> bool {
        bytes.iter().zip(0..).all(|(byte, index)| {
            let Some(place) = self.reach(address.wrapping_add(index), Access::Write) else { return false };
            // What is not there is not written.
            let _ = self.memory.write(place, core::slice::from_ref(byte));
            true
        })
    }
}
