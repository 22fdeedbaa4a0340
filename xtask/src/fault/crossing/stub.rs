//! The instructions of a fault.

use abi::message::REGISTER_WORDS;
use abi::syscall::{RECEIVED_BITS, Syscall};
use iced_x86::code_asm::{
    AsmRegister64, CodeAssembler, CodeLabel, dword_ptr, eax, ecx, edi, edx, esi, r8, r9, r11d, r12, r13, r14, r15, rax,
    rbp, rbx, rcx, rdi, rdx, rsi, rsp,
};
use iced_x86::{BlockEncoderOptions, Code, IcedError, Instruction, Register};

use super::{Annex, Place, Wrong};
use crate::fault::program::Placed;

/// The instructions that take the place of others.
pub(super) struct Stub {
    /// From the gate on.
    pub(super) bytes: Vec<u8>,
    /// Where they are entered.
    pub(super) entry: u64,
}

impl Stub {
    /// The stub of a fault, at the next free place of an annex.
    pub(super) fn assemble(place: Place, execution: u32, run: &[Placed], annex: &Annex) -> Result<Self, IcedError> {
        let back = run.last().map_or(0, |last| last.instruction.next_ip());
        let mut a = CodeAssembler::new(64)?;
        let (mut gate, mut entry, mut make) = (a.create_label(), a.create_label(), a.create_label());
        let counter = annex.counter;
        let count = |a: &mut CodeAssembler, gate: CodeLabel| {
            a.lock().inc(dword_ptr(counter))?;
            a.cmp(dword_ptr(counter), execution as i32)?;
            a.je(gate)
        };
        let moved = |a: &mut CodeAssembler, run: &[Placed]| {
            run.iter().try_for_each(|placed| a.add_instruction(placed.instruction))
        };
        a.set_label(&mut gate)?;
        a.nop()?;
        match place {
            Place::Allocator => {
                a.xor(eax, eax)?;
                a.ret()?;
                a.set_label(&mut entry)?;
                count(&mut a, gate)?;
                moved(&mut a, run)?;
            }
            Place::SystemCall(call, wrong) => {
                go_wrong(&mut a, call, wrong)?;
                a.jmp(back)?;
                a.set_label(&mut entry)?;
                let (_, before) = run.split_last().unwrap_or((&run[0], &[]));
                moved(&mut a, before)?;
                a.cmp(rax, call as i32)?;
                a.jne(make)?;
                if wrong.is_behind() {
                    let mut other = a.create_label();
                    remember(&mut a, call, wrong)?;
                    a.syscall()?;
                    match (call, wrong) {
                        (Syscall::Clock, _) => {}
                        (Syscall::Wait, _) => {
                            // The highest numbers are errors.
                            a.cmp(rax, -4095)?;
                            a.jae(other)?;
                        }
                        (_, Wrong::LowestBitLost | Wrong::HighestBitLost) => {
                            a.cmp(rax, RECEIVED_BITS as i32)?;
                            a.jne(other)?;
                        }
                        _ => {
                            a.test(rax, rax)?;
                            a.jne(other)?;
                        }
                    }
                    count(&mut a, gate)?;
                    a.set_label(&mut other)?;
                    if wrong == Wrong::Dropped {
                        a.lea(rsp, rsp + 24)?;
                    } else {
                        // A label stands before an instruction.
                        a.nop()?;
                    }
                    a.jmp(back)?;
                } else {
                    if (call, wrong) == (Syscall::Call, Wrong::Repeated) {
                        // What does not lie in registers may be overwritten by the first answer, and capabilities are gone.
                        a.test(esi, 7 << 7)?;
                        a.jne(make)?;
                        a.mov(r11d, esi)?;
                        a.and(r11d, 0x7f)?;
                        a.cmp(r11d, REGISTER_WORDS as i32)?;
                        a.ja(make)?;
                    }
                    count(&mut a, gate)?;
                }
                a.set_label(&mut make)?;
                a.syscall()?;
            }
        }
        a.jmp(back)?;
        let result = a.assemble_options(annex.next, BlockEncoderOptions::RETURN_NEW_INSTRUCTION_OFFSETS)?;
        let address = result.label_ip(&entry)?;
        Ok(Self { bytes: result.inner.code_buffer, entry: address })
    }
}

/// Keeps what is needed to receive again.
fn remember(a: &mut CodeAssembler, call: Syscall, wrong: Wrong) -> Result<(), IcedError> {
    if wrong == Wrong::Dropped {
        a.push(rdi)?;
        a.push(if call == Syscall::ReplyReceive { r9 } else { rsi })?;
        a.push(rdx)?;
    }
    Ok(())
}

/// What is wrong: from the gate on, to where the program goes on.
fn go_wrong(a: &mut CodeAssembler, call: Syscall, wrong: Wrong) -> Result<(), IcedError> {
    const WORDS: [AsmRegister64; REGISTER_WORDS] = [r12, r13, r14, r15, rbx, rbp];
    match wrong {
        Wrong::Refused(error) => {
            a.mov(rax, -(error as i64))?;
            no_more_results(a)
        }
        Wrong::Omitted => {
            a.xor(eax, eax)?;
            no_more_results(a)
        }
        Wrong::ReplyOmitted => {
            a.mov(eax, Syscall::Receive as i32)?;
            a.mov(rsi, r9)?;
            a.syscall()
        }
        Wrong::Dropped => {
            a.pop(rdx)?;
            a.pop(rsi)?;
            a.pop(rdi)?;
            a.mov(eax, Syscall::Receive as i32)?;
            a.syscall()
        }
        Wrong::SentFlipped(register, bit) => {
            flip(a, register, bit)?;
            a.syscall()
        }
        Wrong::ReceivedFlipped(register, bit) => flip(a, register, bit),
        Wrong::Repeated if call == Syscall::Call => {
            let arguments = [rdi, rsi, rdx, r8];
            let kept = || WORDS.into_iter().chain(arguments);
            kept().try_for_each(|register| a.push(register))?;
            a.syscall()?;
            kept().rev().try_for_each(|register| a.pop(register))?;
            a.mov(eax, call as i32)?;
            a.syscall()
        }
        Wrong::Repeated if call == Syscall::ReplyReceive => {
            let arguments = [rdi, rsi, rdx, r8, r9];
            arguments.into_iter().try_for_each(|register| a.push(register))?;
            reply_alone(a)?;
            arguments.into_iter().rev().try_for_each(|register| a.pop(register))?;
            a.mov(eax, call as i32)?;
            a.syscall()
        }
        Wrong::Repeated => {
            // The first one's result is told.
            a.push(rdi)?;
            a.push(rsi)?;
            a.syscall()?;
            a.pop(rsi)?;
            a.pop(rdi)?;
            a.push(rax)?;
            a.mov(eax, call as i32)?;
            a.syscall()?;
            a.pop(rax)
        }
        Wrong::LowestBitLost => {
            let bits = bits_of(call);
            a.lea(rcx, bits - 1)?;
            a.and(bits, rcx)
        }
        Wrong::HighestBitLost => {
            let bits = bits_of(call);
            a.bsr(rcx, bits)?;
            a.btr(bits, rcx)
        }
        Wrong::BitMadeUp(bit) if call == Syscall::Wait => {
            no_more_results(a)?;
            a.mov(rax, 1_u64 << bit)
        }
        Wrong::BitMadeUp(bit) => {
            if call == Syscall::ReplyReceive {
                reply_alone(a)?;
            }
            no_more_results(a)?;
            a.mov(eax, RECEIVED_BITS as i32)?;
            a.mov(rdi, 1_u64 << bit)
        }
        Wrong::ClockOff(seconds) => {
            a.mov(rcx, seconds.unsigned_abs() * 1_000_000_000)?;
            if seconds >= 0 {
                return a.add(rax, rcx);
            }
            a.sub(rax, rcx)?;
            // It was not before the machine was started.
            a.mov(ecx, 0)?;
            a.cmovb(rax, rcx)
        }
    }
}

/// Answers a call as a `ReplyReceive` would, and does not receive.
fn reply_alone(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.mov(eax, Syscall::Reply as i32)?;
    a.mov(rdi, r8)?;
    a.syscall()
}

fn no_more_results(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.xor(edi, edi)?;
    a.xor(esi, esi)?;
    a.xor(edx, edx)
}

/// The register in which a system call returns bits.
fn bits_of(call: Syscall) -> AsmRegister64 {
    if call == Syscall::Wait { rax } else { rdi }
}

fn flip(a: &mut CodeAssembler, register: Register, bit: u32) -> Result<(), IcedError> {
    let code = Code::Btc_rm64_imm8;
    a.add_instruction(Instruction::with2(code, register, bit)?)
}
