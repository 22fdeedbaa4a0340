//! Every exception that user mode can bring about, and that it cannot bring about the others.

use super::cases;
use super::offender::is_refused_gate;
use super::offender::{CODE, Offender, bodies, vector};
use super::victim::{DONE, done};
use crate::actor::{self, Memory};
use crate::bench::{Bench, WINDOW};
use crate::call::{call, sleep, until};
use crate::outcome::{Outcome, holds, same};
use abi::fault::{FaultKind, FaultWord};
use abi::syscall::{MapAccess, Syscall};
use abi::{PAGE_SIZE, USER_END};
use alloc::format;
use alloc::vec::Vec;

cases![
    every_way_to_divide_wrongly_is_a_fault,
    the_instruction_for_debuggers_is_a_fault,
    no_software_interrupt_but_the_breakpoint_enters_the_kernel,
    opcodes_that_64_bit_mode_does_not_have_are_faults,
    opcodes_that_no_processor_has_are_faults,
    a_lock_where_none_can_be_is_a_fault,
    an_instruction_of_sixteen_bytes_is_a_fault,
    every_part_of_the_vector_unit_needs_permission,
    wide_vectors_do_not_exist_without_permission,
    an_unaligned_access_is_no_fault_whatever_the_flag_says,
    an_access_that_spans_two_pages_faults_at_the_second,
    an_instruction_that_spans_two_pages_faults_at_the_second,
    an_atomic_access_to_read_only_memory_is_a_write,
    a_repeated_copy_faults_at_the_first_byte_that_is_not_there,
    prefetching_the_kernels_memory_does_nothing,
    a_fault_with_a_wild_stack_pointer_is_told_like_any_other,
    a_thread_that_faults_again_and_again_delays_nobody_for_good,
];

bodies! {
    divide_bytes: "mov ax, 1", "div cl";
    divide_words: "mov eax, 1", "div cx";
    divide_longs: "mov eax, 1", "div ecx";
    divide_quads: "mov eax, 1", "div rcx";
    quotient_too_large: "mov edx, 2", "mov ecx, 1", "div rcx";
    signed_quotient_too_large: "mov eax, 1", "ror rax, 1", "cqo", "mov rcx, -1", "idiv rcx";
    debugger: ".byte 0xf1";
    long_breakpoint: ".byte 0xcd, 0x03";
    undefined: "ud2";
    breakpoint: "int3";
    wild_stack: "mov rsp, rdi", "ud2";
    wild_stack_breakpoint: "mov rsp, rdi", "int3";
    wild_stack_step: "pushfq", "or qword ptr [rsp], 0x100", "popfq", "mov rsp, rdi", "nop";
    wild_stack_page: "mov rsp, rdi", "xor eax, eax", "mov al, [rax]";
    wild_stack_privileged: "mov rsp, rdi", "hlt";
    align: "pushfq", "or qword ptr [rsp], 0x40000", "popfq", "mov rax, [rsp - 13]", "mov [rsp - 13], rax",
        "mov eax, 96", "syscall";
    load_quad: "mov rax, [rdi]";
    store_quad: "mov [rdi], rax";
    exchange: "xor eax, eax", "mov ecx, 1", "lock cmpxchg [rdi], rcx";
    exchange_in_vain: "mov eax, 7", "mov ecx, 1", "lock cmpxchg [rdi], rcx";
    add_nothing: "lock add qword ptr [rdi], 0";
    copy_much: "mov rsi, rdi", "mov ecx, 0x10000", "sub rsp, 64", "mov rdi, rsp", "cld",
        "2: lodsb", "dec ecx", "jnz 2b";
    copy_by_string: "mov rsi, rdi", "mov ecx, 0x2000", "cld", "rep stosb";
    prefetch: "prefetcht0 [rdi]", "prefetchnta [rdi]", "prefetchw [rdi]";
    x87_wait: ".byte 0x9b";
    x87_load: "fld1";
    x87_initialise: "fninit";
    mmx: "pxor mm0, mm0";
    sse: "xorps xmm0, xmm0";
    sse_control: "ldmxcsr [rsp]";
    sse_save: "and rsp, -16", "sub rsp, 512", "fxsave [rsp]";
    sse_restore: "and rsp, -16", "sub rsp, 512", "fxrstor [rsp]";
    avx: "vxorps ymm0, ymm0, ymm0";
    avx_short: "vzeroall";
    extended_save: "xor edx, edx", "and rsp, -64", "sub rsp, 4096", "xsave [rsp]";
    extended_control: "xor ecx, ecx", "xgetbv";
}

fn every_way_to_divide_wrongly_is_a_fault(bench: &mut Bench) -> Outcome {
    let offender = Offender::new(bench)?;
    offender.all_end_in(
        &[vector::DIVIDE],
        &[
            ("8 bits", divide_bytes),
            ("16 bits", divide_words),
            ("32 bits", divide_longs),
            ("64 bits", divide_quads),
            ("a quotient of 65 bits", quotient_too_large),
            ("a signed quotient of 65 bits", signed_quotient_too_large),
        ],
    )?;
    same(offender.fault(divide_bytes, 0)?.kind, FaultKind::Divide)
}

fn the_instruction_for_debuggers_is_a_fault(bench: &mut Bench) -> Outcome {
    let offender = Offender::new(bench)?;
    let fault = offender.fault(debugger, 0)?;
    if fault.exception() == (vector::INVALID_OPCODE, 0) {
        // QEMU does not have it.
        return Ok(());
    }
    same((fault.kind, fault.exception()), (FaultKind::Breakpoint, (vector::DEBUG, 0)))?;
    // It lies behind the thread, so that one can go on.
    fault.repaired()?;
    bench.settle()?;
    same(actor::read(DONE), 1)
}

fn no_software_interrupt_but_the_breakpoint_enters_the_kernel(bench: &mut Bench) -> Outcome {
    let offender = Offender::new(bench)?;
    let pieces: Vec<[u8; 3]> = (0..=255).map(|number| [0xcd, number, 0xf4]).collect();
    offender.code(bench, pieces.iter().map(|piece| &piece[..]))?;
    for number in 0..256 {
        let at = CODE + number * 16;
        let fault = offender.fault_at(at, offender.stack(), 0)?;
        let instruction = fault.word(FaultWord::InstructionPointer);
        if number == vector::BREAKPOINT {
            same((fault.exception(), instruction), ((vector::BREAKPOINT, 0), at + 2))?;
        } else {
            same((is_refused_gate(&fault, number), instruction), (true, at))?;
        }
    }
    let fault = offender.fault(long_breakpoint, 0)?;
    same(fault.kind, FaultKind::Breakpoint)
}

/// Runs each piece and wants this exception, at the piece's beginning.
fn all_pieces_end_in(bench: &mut Bench, pieces: &[&[u8]], wanted: (u64, u64)) -> Outcome {
    let offender = Offender::new(bench)?;
    offender.code(bench, pieces.iter().copied())?;
    for (number, piece) in pieces.iter().enumerate() {
        let at = CODE + number as u64 * 16;
        let fault = offender.fault_at(at, offender.stack(), 0)?;
        let found = (fault.exception(), fault.word(FaultWord::InstructionPointer));
        if found != (wanted, at) {
            return Err(crate::outcome::Failure::new(format!("{piece:x?}: found {found:x?}, wanted {wanted:x?}")));
        }
    }
    Ok(())
}

fn opcodes_that_64_bit_mode_does_not_have_are_faults(bench: &mut Bench) -> Outcome {
    // Pushing and popping segments, decimal adjustment, pusha, popa, an alias, far calls and jumps with an address in
    // the instruction, into, aam, aad, salc.
    const OLD: [u8; 20] = [
        0x06, 0x07, 0x0e, 0x16, 0x17, 0x1e, 0x1f, 0x27, 0x2f, 0x37, 0x3f, 0x60, 0x61, 0x82, 0x9a, 0xce, 0xd4, 0xd5,
        0xd6, 0xea,
    ];
    let pieces: Vec<[u8; 8]> = OLD.iter().map(|opcode| [*opcode, 0, 0, 0, 0, 0, 0, 0]).collect();
    let pieces: Vec<&[u8]> = pieces.iter().map(|piece| &piece[..]).collect();
    all_pieces_end_in(bench, &pieces, (vector::INVALID_OPCODE, 0))
}

fn opcodes_that_no_processor_has_are_faults(bench: &mut Bench) -> Outcome {
    let pieces: [&[u8]; 8] = [
        // The three that will never be anything, holes in the map, a register where only memory can be.
        &[0x0f, 0x0b],
        &[0x0f, 0xb9, 0xc0],
        &[0x0f, 0xff, 0xc0],
        &[0x0f, 0x04],
        &[0x0f, 0x0a],
        &[0x0f, 0x24, 0xc0],
        &[0x8d, 0xc0],
        &[0xfe, 0xf8],
    ];
    all_pieces_end_in(bench, &pieces, (vector::INVALID_OPCODE, 0))
}

fn a_lock_where_none_can_be_is_a_fault(bench: &mut Bench) -> Outcome {
    // Of nothing, of an addition to a register, and of the infamous compare-exchange of a register.
    let pieces: [&[u8]; 3] = [&[0xf0, 0x90], &[0xf0, 0x01, 0xc0], &[0xf0, 0x0f, 0xc7, 0xc8]];
    all_pieces_end_in(bench, &pieces, (vector::INVALID_OPCODE, 0))
}

fn an_instruction_of_sixteen_bytes_is_a_fault(bench: &mut Bench) -> Outcome {
    let mut long = [0x66; 16];
    long[15] = 0x90;
    all_pieces_end_in(bench, &[&long], (vector::PROTECTION, 0))
}

fn every_part_of_the_vector_unit_needs_permission(bench: &mut Bench) -> Outcome {
    let offender = Offender::new(bench)?;
    offender.all_end_in(
        &[vector::DEVICE_NOT_AVAILABLE],
        &[
            ("fwait", x87_wait),
            ("fld1", x87_load),
            ("fninit", x87_initialise),
            ("pxor", mmx),
            ("xorps", sse),
            ("ldmxcsr", sse_control),
            ("fxsave", sse_save),
            ("fxrstor", sse_restore),
        ],
    )?;
    same(offender.fault(sse, 0)?.kind, FaultKind::FloatingPoint)
}

fn wide_vectors_do_not_exist_without_permission(bench: &mut Bench) -> Outcome {
    let offender = Offender::new(bench)?;
    offender.all_end_in(
        &[vector::INVALID_OPCODE],
        &[("vxorps", avx), ("vzeroall", avx_short), ("xsave", extended_save), ("xgetbv", extended_control)],
    )
}

fn an_unaligned_access_is_no_fault_whatever_the_flag_says(bench: &mut Bench) -> Outcome {
    Offender::new(bench)?.passes(align, 0)
}

/// Two pages of which the offender has the first.
fn half_mapped(bench: &mut Bench, offender: &Offender, access: MapAccess) -> Result<u64, crate::outcome::Failure> {
    let memory = bench.memory(1)?;
    bench.map(memory, WINDOW, 1)?;
    let there = 0x8c_0000;
    call(Syscall::Map, [offender.victim.child.space, memory, there, 0, 1, access as u64])?;
    Ok(there + PAGE_SIZE)
}

fn an_access_that_spans_two_pages_faults_at_the_second(bench: &mut Bench) -> Outcome {
    let offender = Offender::new(bench)?;
    let end = half_mapped(bench, &offender, MapAccess::ReadWrite)?;
    same(offender.fault(load_quad, end - 4)?.access(), (FaultKind::Read, end))?;
    same(offender.fault(store_quad, end - 1)?.access(), (FaultKind::Write, end))?;
    offender.passes(load_quad, end - 8)
}

fn an_instruction_that_spans_two_pages_faults_at_the_second(bench: &mut Bench) -> Outcome {
    let offender = Offender::new(bench)?;
    let end = half_mapped(bench, &offender, MapAccess::ReadExecute)?;
    // The first bytes of a long move.
    for (offset, byte) in [0x48, 0xb8].into_iter().enumerate() {
        Memory(WINDOW).set_byte(PAGE_SIZE as usize - 2 + offset, byte);
    }
    let fault = offender.fault_at(end - 2, offender.stack(), 0)?;
    same(fault.access(), (FaultKind::Execute, end))?;
    same(fault.word(FaultWord::InstructionPointer), end - 2)
}

fn an_atomic_access_to_read_only_memory_is_a_write(bench: &mut Bench) -> Outcome {
    let offender = Offender::new(bench)?;
    let there = half_mapped(bench, &offender, MapAccess::Read)? - PAGE_SIZE;
    for body in [exchange, exchange_in_vain, add_nothing] {
        same(offender.fault(body, there)?.access(), (FaultKind::Write, there))?;
    }
    offender.passes(load_quad, there)
}

fn a_repeated_copy_faults_at_the_first_byte_that_is_not_there(bench: &mut Bench) -> Outcome {
    let offender = Offender::new(bench)?;
    let end = half_mapped(bench, &offender, MapAccess::ReadWrite)?;
    same(offender.fault(copy_much, end - 100)?.access(), (FaultKind::Read, end))?;
    Memory(WINDOW).fill(0, PAGE_SIZE as usize, 0x77);
    same(offender.fault(copy_by_string, end - 100)?.access(), (FaultKind::Write, end))?;
    holds(Memory(WINDOW).is_all(PAGE_SIZE as usize - 100, 100, 0), "what was there was written")
}

fn prefetching_the_kernels_memory_does_nothing(bench: &mut Bench) -> Outcome {
    let offender = Offender::new(bench)?;
    for address in [0, USER_END, 1 << 47, abi::boot::DIRECT_MAP_BASE, abi::boot::KERNEL_BASE, u64::MAX] {
        offender.passes(prefetch, address)?;
    }
    Ok(())
}

fn a_fault_with_a_wild_stack_pointer_is_told_like_any_other(bench: &mut Bench) -> Outcome {
    let offender = Offender::new(bench)?;
    for stack in [0, 8, USER_END, 1 << 47, !(1 << 47), abi::boot::DIRECT_MAP_BASE, abi::boot::KERNEL_BASE, u64::MAX] {
        for (body, kind) in [
            (wild_stack as actor::Body, FaultKind::IllegalInstruction),
            (wild_stack_breakpoint, FaultKind::Breakpoint),
            (wild_stack_step, FaultKind::Breakpoint),
            (wild_stack_page, FaultKind::Read),
            (wild_stack_privileged, FaultKind::Exception),
        ] {
            let fault = offender.fault(body, stack)?;
            same((fault.kind, fault.word(FaultWord::StackPointer)), (kind, stack))?;
        }
    }
    Ok(())
}

/// Counts in word 3 of the board.
extern "C" fn bystander(_: u64) -> ! {
    for _ in 0..100 {
        sleep(100_000);
        actor::add(3, 1);
    }
    done()
}

fn a_thread_that_faults_again_and_again_delays_nobody_for_good(bench: &mut Bench) -> Outcome {
    let offender = Offender::new(bench)?;
    bench.thread(bystander, 0)?;
    offender.start(actor::code(undefined), offender.stack(), 0)?;
    for _ in 0..1000 {
        // It was not repaired, so it comes again.
        let fault = offender.victim.fault()?;
        same(fault.kind, FaultKind::IllegalInstruction)?;
        fault.repaired()?;
    }
    holds(until(|| actor::read(3) == 100), "others go on meanwhile")?;
    let fault = offender.fault(breakpoint, 0)?;
    same(fault.kind, FaultKind::Breakpoint)
}
