//! The kinds of fault that are injected.
//!
//! Those in code stand for mistakes that programmers make (Ng and Chen, "The Systematic Improvement of Fault Tolerance in the Rio
//! File Cache", FTCS 1999; MINIX 3 has used the same for its drivers). Those at the border to the kernel stand for what a domain
//! is done to by others: the module `crossing`.

use iced_x86::{Code, FlowControl, Instruction, InstructionInfoFactory, OpAccess, OpKind, Register};
use serde::{Deserialize, Serialize};

use super::crossing::{self, Annex, Detour};
use super::program::{Placed, Program};
use super::random::Random;
use super::record::{self, Fault, digits};

/// No operation, one byte.
const NOP: u8 = 0x90;
/// Within how many instructions before a call what is loaded for it counts as its argument.
const BEFORE_CALL: usize = 8;
/// Within how many instructions from a function's entry what is stored on the stack counts as the first value of a local.
const FROM_ENTRY: usize = 32;
/// The registers in which the first six arguments of a function are passed (System V ABI for AMD64, 3.2.3).
const ARGUMENTS: [Register; 6] =
    [Register::RDI, Register::RSI, Register::RDX, Register::RCX, Register::R8, Register::R9];

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operator {
    /// A bit of an instruction is flipped.
    FlipBit,
    /// An instruction is left out.
    DeleteInstruction,
    /// An instruction takes what it works on from elsewhere.
    CorruptSource,
    /// An instruction puts its result elsewhere.
    CorruptDestination,
    /// A jump is left out, or an instruction is not repeated.
    DeleteJump,
    /// A memory operand's address is computed wrongly.
    CorruptAddress,
    /// A loop goes on when it should end, and ends when it should go on.
    InvertLoop,
    /// An argument of a call is not loaded.
    DeleteArgument,
    /// A local variable is not initialised.
    DeleteInitialisation,
    /// A call, a reply or a notification is lost, once.
    LoseMessage,
    /// A bit of a message is flipped, once.
    CorruptMessage,
    /// A call, a reply or a notification is made twice, once.
    RepeatMessage,
    /// A bit that was notified is not told of, once.
    DropInterrupt,
    /// A bit is told of that nobody has set, once.
    SpuriousInterrupt,
    /// The heap or the kernel has no memory, once.
    RefuseMemory,
    /// The clock is read some seconds off, once.
    JumpClock,
}

impl Operator {
    /// Those in code.
    pub const CODE: [Self; 9] = [
        Self::FlipBit,
        Self::DeleteInstruction,
        Self::CorruptSource,
        Self::CorruptDestination,
        Self::DeleteJump,
        Self::CorruptAddress,
        Self::InvertLoop,
        Self::DeleteArgument,
        Self::DeleteInitialisation,
    ];

    /// Those at the border to the kernel.
    pub const CROSSINGS: [Self; 7] = [
        Self::LoseMessage,
        Self::CorruptMessage,
        Self::RepeatMessage,
        Self::DropInterrupt,
        Self::SpuriousInterrupt,
        Self::RefuseMemory,
        Self::JumpClock,
    ];

    /// Its name, as on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FlipBit => "flip-bit",
            Self::DeleteInstruction => "delete-instruction",
            Self::CorruptSource => "corrupt-source",
            Self::CorruptDestination => "corrupt-destination",
            Self::DeleteJump => "delete-jump",
            Self::CorruptAddress => "corrupt-address",
            Self::InvertLoop => "invert-loop",
            Self::DeleteArgument => "delete-argument",
            Self::DeleteInitialisation => "delete-initialisation",
            Self::LoseMessage => "lose-message",
            Self::CorruptMessage => "corrupt-message",
            Self::RepeatMessage => "repeat-message",
            Self::DropInterrupt => "drop-interrupt",
            Self::SpuriousInterrupt => "spurious-interrupt",
            Self::RefuseMemory => "refuse-memory",
            Self::JumpClock => "jump-clock",
        }
    }

    /// Whether it lies at the border to the kernel, not in an instruction.
    pub(super) fn is_crossing(self) -> bool {
        Self::CROSSINGS.contains(&self)
    }

    /// The positions of a program's instructions that have such a fault.
    pub(super) fn sites(self, program: &Program) -> Vec<usize> {
        if self.is_crossing() {
            return crossing::sites(self, program);
        }
        let mut sites = Vec::new();
        for (position, placed) in program.instructions.iter().enumerate() {
            let rest = &program.instructions[position + 1..];
            if self.applies_to(placed, rest) {
                sites.push(position);
            }
        }
        sites
    }

    fn applies_to(self, placed: &Placed, rest: &[Placed]) -> bool {
        let instruction = &placed.instruction;
        match self {
            Self::FlipBit | Self::DeleteInstruction => true,
            Self::CorruptSource => source(instruction).is_some(),
            Self::CorruptDestination => destination(instruction).is_some(),
            Self::DeleteJump => is_jump(instruction) || repeat_prefix(placed).is_some(),
            Self::CorruptAddress => address_bits(placed).is_some(),
            Self::InvertLoop => {
                instruction.flow_control() == FlowControl::ConditionalBranch
                    && instruction.is_jcc_short_or_near()
                    && instruction.near_branch_target() <= instruction.ip()
            }
            Self::DeleteArgument => is_argument(instruction) && is_before_call(rest),
            Self::DeleteInitialisation => placed.from_entry < FROM_ENTRY && initialises_local(instruction),
            _ => false,
        }
    }

    /// A fault at an instruction; `None` if chance has chosen one that changes nothing or does not fit.
    pub(super) fn inject(
        self,
        program: &Program,
        position: usize,
        annex: &mut Annex,
        random: &mut Random,
    ) -> Option<Fault> {
        let placed = &program.instructions[position];
        let (address, old, new, detour) = if self.is_crossing() {
            let Detour { address, old, new, stub, bytes, what } =
                crossing::choose(self, program, position, annex, random)?;
            (address, old, new, Some(record::Detour { what, address: stub, bytes: digits(&bytes) }))
        } else {
            (placed.address(), placed.bytes.clone(), self.apply(placed, random)?, None)
        };
        let function = program.function(address).to_owned();
        Some(Fault { operator: self, address, function, old: digits(&old), new: digits(&new), detour, order: 0 })
    }

    /// What takes the place of an instruction's bytes; `None` if chance has chosen a fault that changes nothing or does not
    /// fit.
    fn apply(self, placed: &Placed, random: &mut Random) -> Option<Vec<u8>> {
        let mut bytes = placed.bytes.clone();
        match self {
            Self::FlipBit => flip(&mut bytes, 0..placed.bytes.len(), random),
            Self::DeleteInstruction | Self::DeleteArgument | Self::DeleteInitialisation => bytes.fill(NOP),
            Self::CorruptSource => return with_other_register(placed, source(&placed.instruction)?, random),
            Self::CorruptDestination => return with_other_register(placed, destination(&placed.instruction)?, random),
            Self::DeleteJump => match repeat_prefix(placed) {
                Some(position) => bytes[position] = NOP,
                None => bytes.fill(NOP),
            },
            Self::CorruptAddress => flip(&mut bytes, address_bits(placed)?, random),
            // The lowest bit of the opcode's second half turns a condition into its opposite (Intel SDM volume 2, Jcc).
            Self::InvertLoop => {
                let opcode = usize::from(bytes[0] == 0x0f);
                bytes[opcode] ^= 1;
            }
            _ => return None,
        }
        (bytes != placed.bytes).then_some(bytes)
    }
}

/// Flips a bit of some of the bytes.
fn flip(bytes: &mut [u8], range: std::ops::Range<usize>, random: &mut Random) {
    let position = range.start + random.below(range.len());
    bytes[position] ^= 1 << random.below(8);
}

fn is_jump(instruction: &Instruction) -> bool {
    matches!(instruction.flow_control(), FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch)
}

/// Where the prefix stands that has an instruction repeated.
fn repeat_prefix(placed: &Placed) -> Option<usize> {
    let repeats = placed.instruction.has_rep_prefix() || placed.instruction.has_repne_prefix();
    let is_string = placed.instruction.is_string_instruction();
    (repeats && is_string).then(|| placed.bytes.iter().position(|byte| matches!(byte, 0xf2 | 0xf3))).flatten()
}

/// The number of an operand that is a register the instruction reads, the last one first.
fn source(instruction: &Instruction) -> Option<u32> {
    operand(instruction, &[OpAccess::Read, OpAccess::ReadWrite, OpAccess::CondRead])
}

/// The number of an operand that is a register the instruction writes.
fn destination(instruction: &Instruction) -> Option<u32> {
    operand(instruction, &[OpAccess::Write, OpAccess::ReadWrite, OpAccess::CondWrite, OpAccess::ReadCondWrite])
}

fn operand(instruction: &Instruction, wanted: &[OpAccess]) -> Option<u32> {
    let mut factory = InstructionInfoFactory::new();
    let info = factory.info(instruction);
    (0..instruction.op_count()).rev().find(|number| {
        instruction.op_kind(*number) == OpKind::Register
            && instruction.op_register(*number).is_gpr()
            && wanted.contains(&info.op_access(*number))
    })
}

/// The instruction with another register of the same size as an operand, no longer than it was.
fn with_other_register(placed: &Placed, operand: u32, random: &mut Random) -> Option<Vec<u8>> {
    let mut instruction = placed.instruction;
    let old = instruction.op_register(operand);
    let others: Vec<Register> = Register::values()
        .filter(|register| register.is_gpr() && register.size() == old.size() && *register != old)
        .collect();
    instruction.set_op_register(operand, *random.of_all(&others));
    let mut encoder = iced_x86::Encoder::new(64);
    // Some registers do not go together with others, or with some instructions.
    let length = encoder.encode(&instruction, placed.address()).ok()?;
    let mut bytes = encoder.take_buffer();
    if length > placed.bytes.len() {
        return None;
    }
    bytes.resize(placed.bytes.len(), NOP);
    (bytes != placed.bytes).then_some(bytes)
}

/// The bytes of an instruction that say where its memory operand lies: a displacement, or else the byte with base and index.
fn address_bits(placed: &Placed) -> Option<std::ops::Range<usize>> {
    let instruction = &placed.instruction;
    let has_memory = (0..instruction.op_count()).any(|number| instruction.op_kind(number) == OpKind::Memory);
    if !has_memory || instruction.code() == Code::INVALID {
        return None;
    }
    let mut decoder = iced_x86::Decoder::with_ip(64, &placed.bytes, placed.address(), iced_x86::DecoderOptions::NONE);
    let again = decoder.decode();
    let offsets = decoder.get_constant_offsets(&again);
    if offsets.has_displacement() {
        let start = offsets.displacement_offset();
        return Some(start..start + offsets.displacement_size());
    }
    // Without displacement, ModRM or SIB is the last byte before an immediate (Intel SDM volume 2, 2.1).
    let end = if offsets.has_immediate() { offsets.immediate_offset() } else { placed.bytes.len() };
    end.checked_sub(1).map(|last| last..end)
}

/// Whether an instruction loads a register in which an argument is passed.
fn is_argument(instruction: &Instruction) -> bool {
    destination(instruction)
        .is_some_and(|number| number == 0 && ARGUMENTS.contains(&instruction.op_register(0).full_register()))
}

/// Whether a call follows soon, and nothing else that leads elsewhere before it.
fn is_before_call(rest: &[Placed]) -> bool {
    let flows = rest.iter().take(BEFORE_CALL).map(|placed| placed.instruction.flow_control());
    let mut leading = flows.skip_while(|flow| *flow == FlowControl::Next);
    matches!(leading.next(), Some(FlowControl::Call | FlowControl::IndirectCall))
}

/// Whether an instruction stores something on the stack.
fn initialises_local(instruction: &Instruction) -> bool {
    instruction.op_count() == 2
        && instruction.op0_kind() == OpKind::Memory
        && matches!(instruction.memory_base(), Register::RSP | Register::RBP)
        && instruction.mnemonic() == iced_x86::Mnemonic::Mov
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of the only instruction that an operator finds.
    fn applied(operator: Operator, bytes: &[u8]) -> Vec<u8> {
        let program = Program::of(0x20_1000, bytes);
        let sites = operator.sites(&program);
        let [site] = sites[..] else { panic!("{operator:?} has {} sites", sites.len()) };
        let placed = &program.instructions[site];
        let random = &mut Random::of(1, 1);
        let changed = (0..100).find_map(|_| operator.apply(placed, random)).expect("there is such a fault");
        assert_eq!(changed.len(), placed.bytes.len());
        changed
    }

    /// `mov [rsp+8], eax; mov edi, 5; call +0; 1: dec ecx; jne 1b; rep movsb; ret`
    const FUNCTION: &[u8] =
        &[0x89, 0x44, 0x24, 0x08, 0xbf, 5, 0, 0, 0, 0xe8, 0, 0, 0, 0, 0xff, 0xc9, 0x75, 0xfc, 0xf3, 0xa4, 0xc3];

    #[test]
    fn each_kind_finds_its_instructions() {
        let program = Program::of(0x20_1000, FUNCTION);
        assert_eq!(program.instructions.len(), 7);
        let sites = |operator: Operator| operator.sites(&program);
        assert_eq!(sites(Operator::FlipBit).len(), 7);
        assert_eq!(sites(Operator::DeleteInstruction).len(), 7);
        assert_eq!(sites(Operator::CorruptSource), [0, 3]);
        assert_eq!(sites(Operator::CorruptDestination), [1, 3]);
        assert_eq!(sites(Operator::DeleteJump), [4, 5]);
        assert_eq!(sites(Operator::CorruptAddress), [0]);
        assert_eq!(sites(Operator::InvertLoop), [4]);
        assert_eq!(sites(Operator::DeleteArgument), [1]);
        assert_eq!(sites(Operator::DeleteInitialisation), [0]);
    }

    #[test]
    fn a_fault_is_as_long_as_what_it_replaces_and_does_what_its_name_says() {
        assert_eq!(applied(Operator::DeleteInitialisation, FUNCTION), [0x90; 4]);
        assert_eq!(applied(Operator::DeleteArgument, FUNCTION), [0x90; 5]);
        assert_eq!(applied(Operator::InvertLoop, FUNCTION), [0x74, 0xfc]);
        assert_eq!(applied(Operator::DeleteJump, &[0xf3, 0xa4]), [0x90, 0xa4]);
        assert_eq!(applied(Operator::DeleteJump, &[0xeb, 0x00]), [0x90; 2]);
        // `mov eax, [rbx + 0x40]`: another place, the same registers.
        let moved = applied(Operator::CorruptAddress, &[0x8b, 0x43, 0x40]);
        assert!(moved[..2] == [0x8b, 0x43] && (moved[2] ^ 0x40).count_ones() == 1);
        // `mov eax, ebx`: the opcode stays.
        assert_eq!(applied(Operator::CorruptSource, &[0x89, 0xd8])[0] & 0xfd, 0x89);
        let flipped = applied(Operator::FlipBit, &[0xc3]);
        assert_eq!((flipped[0] ^ 0xc3).count_ones(), 1);
    }
}
