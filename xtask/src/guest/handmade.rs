//! Kernels of a few instructions for guests: one that speaks and stands still, some that mean harm, and one that measures what it costs
//! it to be left for its monitor.
//!
//! Each is an ELF file with an entry for PVH: it starts in 32-bit mode without paging, with interrupts off.

use iced_x86::IcedError;
use iced_x86::code_asm::{CodeAssembler, al, bl, cl, dword_ptr, dx, eax, ebp, ebx, ecx, edi, edx, esi, esp, ptr};

use crate::machine::handmade::{self, executable};

/// Where they are loaded: where memory above the first mebibyte begins.
const LOAD_ADDRESS: u32 = 0x10_0000;
/// Behind the end of what they use of their memory: the stack grows down from here, and numbers are kept above.
const STACK: u32 = 0x40_0000;
/// The serial port.
const PORT: u32 = 0x3f8;

/// What [`greeting`] writes.
pub const GREETING: &str = "handmade: this kernel is no Linux";
/// What [`exits`] writes last.
pub const EXITS_DONE: &str = "exits: done";
/// What [`flooding`] writes again and again.
const FLOOD: &str = "flood ";

/// A kernel that writes [`GREETING`] and stands still.
pub fn greeting() -> Vec<u8> {
    assembled(|code| {
        say(code, GREETING)?;
        say(code, "\r\n")?;
        stand_still(code)
    })
}

/// A kernel that computes for ever and takes no interrupts.
pub fn spinning() -> Vec<u8> {
    assembled(|code| {
        code.cli()?;
        spin(code)
    })
}

/// A kernel that does what no processor can go on after: it breaks, and has told the processor of nobody who deals with that.
pub fn triple_fault() -> Vec<u8> {
    assembled(|code| {
        // A table without entries: six bytes that are zero.
        code.mov(dword_ptr(STACK), 0)?;
        code.mov(dword_ptr(STACK + 4), 0)?;
        code.lidt(ptr(STACK))?;
        code.int3()?;
        spin(code)
    })
}

/// A kernel that writes to its serial port as fast as it can, for ever.
pub fn flooding() -> Vec<u8> {
    assembled(|code| {
        let mut again = code.create_label();
        code.set_label(&mut again)?;
        say(code, FLOOD)?;
        code.jmp(again)
    })
}

/// What it costs a guest to be left for its monitor, by the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is not left at all: what counting costs.
    Nothing,
    /// It asks what its processor is.
    Cpuid,
    /// It writes to a port behind which there is nothing.
    Port,
    /// It reads a register of its interrupt controller that lies in memory.
    Memory,
    /// It reads a register of its processor that the monitor keeps.
    Register,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Nothing, Self::Cpuid, Self::Port, Self::Memory, Self::Register];

    /// Its name in what [`exits`] writes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Cpuid => "cpuid",
            Self::Port => "port",
            Self::Memory => "memory",
            Self::Register => "register",
        }
    }

    fn once(self, code: &mut CodeAssembler) -> Result<(), IcedError> {
        /// A port that PCs' firmware writes its progress to.
        const PROGRESS: u32 = 0x80;
        /// The first register of the I/O APIC.
        const IO_APIC: u32 = 0xfec0_0000;
        /// The model-specific register with the local APIC's address.
        const APIC_BASE: u32 = 0x1b;
        match self {
            Self::Nothing => Ok(()),
            Self::Cpuid => {
                code.xor(eax, eax)?;
                code.cpuid()
            }
            Self::Port => code.out(PROGRESS, al),
            Self::Memory => code.mov(eax, ptr(IO_APIC)),
            Self::Register => {
                code.mov(ecx, APIC_BASE)?;
                code.rdmsr()
            }
        }
    }
}

/// A kernel that first of all reads its time-stamp counter, then is left `rounds` times for each [`Reason`], and writes what the counter
/// says: a line `exits start N`, and for each reason a line `exits NAME N`, in hexadecimal digits, and last [`EXITS_DONE`].
pub fn exits(rounds: u32) -> Vec<u8> {
    assembled(|code| {
        code.rdtsc()?;
        code.mov(esp, STACK)?;
        code.mov(ptr(STACK), eax)?;
        code.mov(ptr(STACK + 4), edx)?;
        let mut number = code.create_label();
        let mut begin = code.create_label();
        code.jmp(begin)?;
        // Writes the 64 bits at the stack's end in hexadecimal digits, and ends the line.
        code.set_label(&mut number)?;
        for word in [STACK + 4, STACK] {
            code.mov(ebx, ptr(word))?;
            say_word(code)?;
        }
        say(code, "\r\n")?;
        code.ret()?;
        code.set_label(&mut begin)?;
        say(code, "exits start ")?;
        code.call(number)?;
        for reason in Reason::ALL {
            code.mov(edi, rounds)?;
            code.rdtsc()?;
            code.mov(esi, eax)?;
            code.mov(ebp, edx)?;
            let mut again = code.create_label();
            code.set_label(&mut again)?;
            reason.once(code)?;
            code.dec(edi)?;
            code.jne(again)?;
            code.rdtsc()?;
            code.sub(eax, esi)?;
            code.sbb(edx, ebp)?;
            code.mov(ptr(STACK), eax)?;
            code.mov(ptr(STACK + 4), edx)?;
            say(code, &format!("exits {} ", reason.name()))?;
            code.call(number)?;
        }
        say(code, EXITS_DONE)?;
        say(code, "\r\n")?;
        stand_still(code)
    })
}

/// The ticks that [`exits`] has written for one thing: `start`, or a [`Reason`] by its name.
pub fn ticks(name: &str, text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.trim_end().strip_prefix(&format!("exits {name} ")))?;
    u64::from_str_radix(line, 16).ok()
}

/// The ELF file of a kernel.
fn assembled(write: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>) -> Vec<u8> {
    let assemble = || {
        let mut code = CodeAssembler::new(32)?;
        write(&mut code)?;
        code.assemble(u64::from(handmade::entry(LOAD_ADDRESS)))
    };
    // What it is made of stands above, and a test assembles each.
    executable(LOAD_ADDRESS, &assemble().expect("the instructions exist"))
}

/// Writes a text to the serial port.
fn say(code: &mut CodeAssembler, text: &str) -> Result<(), IcedError> {
    code.mov(edx, PORT)?;
    for byte in text.bytes() {
        code.mov(al, u32::from(byte))?;
        code.out(dx, al)?;
    }
    Ok(())
}

/// Writes the eight hexadecimal digits of `ebx`.
fn say_word(code: &mut CodeAssembler) -> Result<(), IcedError> {
    let mut digit = code.create_label();
    let mut is_decimal = code.create_label();
    code.mov(edx, PORT)?;
    code.mov(cl, 8)?;
    code.set_label(&mut digit)?;
    code.rol(ebx, 4)?;
    code.mov(al, bl)?;
    code.and(al, 15)?;
    code.add(al, u32::from(b'0'))?;
    code.cmp(al, u32::from(b'9'))?;
    code.jbe(is_decimal)?;
    code.add(al, u32::from(b'a' - b'9' - 1))?;
    code.set_label(&mut is_decimal)?;
    code.out(dx, al)?;
    code.dec(cl)?;
    code.jne(digit)
}

fn stand_still(code: &mut CodeAssembler) -> Result<(), IcedError> {
    let mut again = code.create_label();
    code.set_label(&mut again)?;
    code.cli()?;
    code.hlt()?;
    code.jmp(again)
}

fn spin(code: &mut CodeAssembler) -> Result<(), IcedError> {
    let mut again = code.create_label();
    code.set_label(&mut again)?;
    code.jmp(again)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::time::Duration;

    use crate::console::{Console, ConsoleError};
    use crate::machine::Machine;

    const LIMIT: Duration = Duration::from_secs(60);

    /// Runs a kernel in a machine of its own until it has written `text`, or the machine has ended.
    fn run(kernel: &[u8], text: &str) -> (Result<(), ConsoleError>, String) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kernel");
        fs::write(&file, kernel).unwrap();
        let mut console = Console::start(&Machine::new(&file), None).unwrap();
        let outcome = console.expect_from(0, text, LIMIT);
        (outcome, console.transcript())
    }

    #[test]
    fn a_greeting_is_written() {
        run(&greeting(), GREETING).0.unwrap();
    }

    #[test]
    fn a_flood_goes_on() {
        run(&flooding(), &FLOOD.repeat(100)).0.unwrap();
    }

    #[test]
    fn a_triple_fault_ends_a_machine_that_does_not_start_again() {
        let (outcome, text) = run(&triple_fault(), "anything");
        assert!(matches!(outcome, Err(ConsoleError::Ended { .. })), "{outcome:?}: {text}");
    }

    #[test]
    fn what_it_costs_to_be_left_is_told_by_reason() {
        let (outcome, text) = run(&exits(100), EXITS_DONE);
        outcome.unwrap();
        assert!(ticks("start", &text).is_some(), "{text}");
        for reason in Reason::ALL {
            assert!(ticks(reason.name(), &text).is_some_and(|ticks| ticks > 0), "{reason:?}: {text}");
        }
    }

    #[test]
    fn ticks_are_read_from_a_line() {
        assert_eq!(ticks("cpuid", "x\r\nexits cpuid 00000000000000ff\r\n"), Some(255));
        assert_eq!(ticks("port", "exits cpuid 00000000000000ff\n"), None);
    }
}
