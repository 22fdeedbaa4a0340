//! The flags register: what user mode can set of it, what it keeps, and that nothing of it reaches the kernel.

use super::cases;
use super::offender::{Offender, bodies, vector};
use super::victim::{DONE, FOUND, Victim};
use crate::actor::{self, Memory};
use crate::bench::{Bench, statistics};
use crate::outcome::{Failure, Outcome, holds, same};
use abi::fault::FaultKind;
use abi::syscall::{Statistics, Syscall};
use abi::{Error, root};
use core::arch::asm;

cases![
    privileged_flags_cannot_be_set,
    a_system_call_keeps_every_flag_of_its_caller,
    preemption_keeps_every_flag_and_disturbs_nobody,
    a_fault_with_odd_flags_is_told_like_any_other,
    copies_of_the_kernel_go_forward_whatever_the_direction_flag_says,
    the_alignment_flag_opens_no_way_past_the_checks_of_pointers,
    a_step_over_loading_the_stack_segment_comes_after_the_next_instruction,
    loading_the_stack_segment_before_a_system_call_does_not_step_the_kernel,
    loading_the_stack_segment_before_an_interrupt_does_not_step_the_kernel,
    stepping_through_an_interrupt_return_stays_in_user_mode,
    a_stepped_thread_may_set_and_clear_the_flag_itself,
    prefixes_do_not_change_a_system_call,
    a_system_call_in_the_middle_of_stepping_is_stepped_once,
];

/// The arithmetic flags, direction, nested task, alignment check, identification: user mode's own.
const OWN: u64 = 0x24_4cd5;
/// Always set: the bit that is one, and interrupts.
const ALWAYS: u64 = 0x202;
/// I/O privilege, virtual mode, virtual interrupts.
const PRIVILEGED: u64 = 0x1a_3000;

bodies! {
    set_flags: "push rdi", "popfq", "pushfq", "pop rdi", "jmp {found}";
    call_with_flags: "push rdi", "mov eax, 96", "popfq", "syscall", "pushfq", "pop rdi", "jmp {found}";
    spin_with_flags: "push rdi", "mov ecx, 20000000", "popfq", "2:", "lea ecx, [rcx - 1]", "jrcxz 3f", "jmp 2b",
        "3:", "pushfq", "pop rdi", "jmp {found}";
    fault_with_flags: "push rdi", "popfq", "ud2";
    break_with_flags: "push rdi", "popfq", "int3", "pushfq", "pop rdi", "jmp {found}";
    step_over_stack: "mov eax, 0x1b", "pushfq", "or qword ptr [rsp], 0x100", "popfq", "mov ss, eax", "nop", "nop";
    stack_then_call: "mov ebx, 0x1b", "mov eax, 96", "pushfq", "or qword ptr [rsp], 0x100", "popfq", "mov ss, ebx",
        "syscall", "nop", "nop";
    stack_then_break: "mov ebx, 0x1b", "pushfq", "or qword ptr [rsp], 0x100", "popfq", "mov ss, ebx", "int3", "nop";
    stack_then_interrupt: "mov ebx, 0x1b", "pushfq", "or qword ptr [rsp], 0x100", "popfq", "mov ss, ebx",
        "int 0x80", "nop";
    stack_then_undefined: "mov ebx, 0x1b", "pushfq", "or qword ptr [rsp], 0x100", "popfq", "mov ss, ebx", "ud2";
    step_by_return: "mov rax, rsp", "push 0x1b", "push rax", "push 0x302", "push 0x23", "lea rax, [rip + 2f]",
        "push rax", "iretq", "2:", "nop", "nop";
    step_and_clear: "pushfq", "pop rax", "mov rcx, rax", "or rax, 0x100", "push rcx", "push rax", "popfq", "popfq",
        "nop", "nop";
    with_prefixes: "mov eax, 96", ".byte 0x48, 0x0f, 0x05", "mov eax, 96", ".byte 0xf3, 0x0f, 0x05", "mov eax, 96",
        ".byte 0x66, 0x0f, 0x05", "mov eax, 96", ".byte 0x2e, 0x0f, 0x05", "mov eax, 96", "syscall";
    step_calls: "pushfq", "or qword ptr [rsp], 0x100", "mov eax, 96", "popfq", "syscall", "nop";
}

fn privileged_flags_cannot_be_set(bench: &mut Bench) -> Outcome {
    let offender = Offender::new(bench)?;
    for flags in [PRIVILEGED, !0x100, 0, ALWAYS, 0x3000, 0x3202] {
        offender.passes(set_flags, flags)?;
        let found = actor::read(FOUND);
        same((found & PRIVILEGED, found & ALWAYS), (0, ALWAYS))?;
    }
    Ok(())
}

/// Each of user mode's own flags alone, none, and all.
fn flag_sets() -> impl Iterator<Item = u64> {
    (0..64).map(|bit| 1 << bit).filter(|flag| flag & OWN != 0).chain([0, OWN]).map(|flags| flags | ALWAYS)
}

fn a_system_call_keeps_every_flag_of_its_caller(bench: &mut Bench) -> Outcome {
    let offender = Offender::new(bench)?;
    for flags in flag_sets() {
        offender.passes(call_with_flags, flags)?;
        same(actor::read(FOUND), flags)?;
    }
    for flags in [PRIVILEGED, 0, !0x100] {
        offender.passes(call_with_flags, flags)?;
        same(actor::read(FOUND) & (PRIVILEGED | ALWAYS), ALWAYS)?;
    }
    Ok(())
}

fn preemption_keeps_every_flag_and_disturbs_nobody(bench: &mut Bench) -> Outcome {
    let other = Victim::new(bench)?;
    let offender = Offender::new(bench)?;
    for flags in [OWN | ALWAYS, 0x4_0000 | ALWAYS, 0x4400 | ALWAYS] {
        other.start(bench, spin_with_flags, ALWAYS)?;
        offender.start(actor::code(spin_with_flags), offender.stack(), flags)?;
        bench.settle()?;
        // Whoever came through last has left its flags.
        holds([flags, ALWAYS].contains(&actor::read(FOUND)), "each has kept its own")?;
        offender.passes(spin_with_flags, flags)?;
        same(actor::read(FOUND), flags)?;
    }
    Ok(())
}

fn a_fault_with_odd_flags_is_told_like_any_other(bench: &mut Bench) -> Outcome {
    let offender = Offender::new(bench)?;
    for flags in flag_sets() {
        same(offender.fault(fault_with_flags, flags)?.kind, FaultKind::IllegalInstruction)?;
        let before = actor::read(DONE);
        offender.fault(break_with_flags, flags)?.repaired()?;
        bench.settle()?;
        same((actor::read(DONE), actor::read(FOUND)), (before + 1, flags))?;
    }
    Ok(())
}

/// `Statistics` with these flags set, written to the area at this offset.
fn statistics_with_flags(flags: u64, address: u64) -> Result<u64, Error> {
    let result: u64;
    // SAFETY: the address is one of the area's, or one that the kernel refuses; the flags are restored before anything
    // else runs.
    unsafe {
        asm!(
            "push {flags}",
            "popfq",
            "syscall",
            "push 2",
            "popfq",
            flags = in(reg) flags,
            inout("rax") Syscall::Statistics as u64 => result,
            inout("rdi") root::SYSTEM.0 => _,
            inout("rsi") address => _,
            out("rdx") _,
            out("rcx") _,
            out("r8") _,
            out("r9") _,
            out("r10") _,
            out("r11") _,
        );
    }
    Error::from_register(result)
}

fn copies_of_the_kernel_go_forward_whatever_the_direction_flag_says(_: &mut Bench) -> Outcome {
    const DIRECTION: u64 = 0x400;
    let area = actor::area();
    let length = size_of::<Statistics>();
    area.fill(0, actor::AREA_BYTES, 0x31);
    statistics_with_flags(DIRECTION | ALWAYS, area.0 + 2048)?;
    let mut bytes = [0; size_of::<Statistics>()];
    for (offset, byte) in bytes.iter_mut().enumerate() {
        *byte = area.byte(2048 + offset);
    }
    let frames = u64::from_le_bytes(core::array::from_fn(|place| bytes[place]));
    same(frames, statistics()?.frames)?;
    // Nothing before it and nothing behind it was touched.
    holds(area.holds(0, 2048, 0x31), "what lies before is as it was")?;
    let expected = |offset: usize| 0x31u8.wrapping_add((offset % 251) as u8);
    let behind = 2048 + length..actor::AREA_BYTES;
    holds(behind.clone().all(|offset| area.byte(offset) == expected(offset)), "what lies behind is as it was")
}

fn the_alignment_flag_opens_no_way_past_the_checks_of_pointers(bench: &mut Bench) -> Outcome {
    const ALIGNMENT: u64 = 0x4_0000;
    let read_only = bench.segments().iter().find(|segment| segment.access == 1).map_or(0x20_0000, |s| s.address);
    for address in [0, read_only, abi::USER_END, abi::boot::DIRECT_MAP_BASE, abi::boot::KERNEL_BASE] {
        let result = statistics_with_flags(ALIGNMENT | ALWAYS, address);
        crate::outcome::refused(result, Error::BadAddress)?;
    }
    statistics_with_flags(ALIGNMENT | ALWAYS, actor::area().0 + 1)?;
    holds(Memory(actor::area().0).byte(1) != 0 || statistics()?.frames % 256 == 0, "a good one is written to")
}

/// How many debug exceptions and what other ends a body comes to when each is forgiven, at most ten times.
fn steps(bench: &Bench, offender: &Offender, body: actor::Body) -> Result<(u64, Option<(u64, u64)>), Failure> {
    let before = actor::read(DONE);
    offender.start(actor::code(body), offender.stack(), 0)?;
    for count in 0..10 {
        bench.settle()?;
        if actor::read(DONE) > before {
            return Ok((count, None));
        }
        let fault = offender.victim.fault()?;
        match fault.exception() {
            (vector::DEBUG, 0) | (vector::BREAKPOINT, 0) => fault.repaired()?,
            other => return Ok((count, Some(other))),
        }
    }
    Err(Failure::new("it is stepped for ever".into()))
}

bodies! {
    nothing: "nop";
}

fn a_step_over_loading_the_stack_segment_comes_after_the_next_instruction(bench: &mut Bench) -> Outcome {
    let offender = Offender::new(bench)?;
    same(steps(bench, &offender, nothing)?, (0, None))?;
    let fault = offender.fault(step_over_stack, 0)?;
    same(fault.exception(), (vector::DEBUG, 0))?;
    // Behind `mov ss` or, where the processor holds it back, behind the first `nop`: never in between or in the kernel.
    let found = fault.word(abi::fault::FaultWord::InstructionPointer) - actor::code(step_over_stack);
    let behind = 5 + 1 + 8 + 1 + 2;
    holds([behind, behind + 1].contains(&found), "the step is told in user code")
}

fn loading_the_stack_segment_before_a_system_call_does_not_step_the_kernel(bench: &mut Bench) -> Outcome {
    let offender = Offender::new(bench)?;
    // Stepped at most after each of the instructions between the two `popfq`, each time in user mode.
    let (count, other) = steps(bench, &offender, stack_then_call)?;
    same(other, None)?;
    holds((1..=6).contains(&count), "it is stepped and comes through")
}

fn loading_the_stack_segment_before_an_interrupt_does_not_step_the_kernel(bench: &mut Bench) -> Outcome {
    let offender = Offender::new(bench)?;
    same(steps(bench, &offender, stack_then_break)?.1, None)?;
    let (vector, error) = steps(bench, &offender, stack_then_interrupt)?.1.unwrap_or_default();
    holds(vector == vector::PROTECTION && error & 7 == 2, "the gate is refused")?;
    same(steps(bench, &offender, stack_then_undefined)?.1, Some((vector::INVALID_OPCODE, 0)))
}

fn stepping_through_an_interrupt_return_stays_in_user_mode(bench: &mut Bench) -> Outcome {
    let offender = Offender::new(bench)?;
    if !offender.returns_far(bench)? {
        return Ok(());
    }
    let (count, other) = steps(bench, &offender, step_by_return)?;
    same(other, None)?;
    holds(count >= 1, "it is stepped")
}

fn a_stepped_thread_may_set_and_clear_the_flag_itself(bench: &mut Bench) -> Outcome {
    let offender = Offender::new(bench)?;
    // Only the `popfq` that clears it is stepped.
    same(steps(bench, &offender, step_and_clear)?, (1, None))
}

fn prefixes_do_not_change_a_system_call(bench: &mut Bench) -> Outcome {
    Offender::new(bench)?.passes(with_prefixes, 0)
}

fn a_system_call_in_the_middle_of_stepping_is_stepped_once(bench: &mut Bench) -> Outcome {
    let offender = Offender::new(bench)?;
    let fault = offender.fault(step_calls, 0)?;
    same(fault.exception(), (vector::DEBUG, 0))?;
    let first = fault.word(abi::fault::FaultWord::InstructionPointer);
    fault.repaired()?;
    let second = offender.victim.fault()?.word(abi::fault::FaultWord::InstructionPointer);
    holds(second > first, "it goes on from there")
}
