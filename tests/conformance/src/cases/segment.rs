//! Segment registers, far transfers and returns: what is left of segmentation leads nowhere but to user mode.

use super::cases;
use super::offender::{Offender, bodies, vector};
use super::victim::{DONE, Victim};
use crate::actor::{self, Memory};
use crate::bench::{Bench, WINDOW};
use crate::call::call;
use crate::outcome::{Failure, Outcome, same};
use abi::fault::{FaultKind, FaultWord};
use abi::syscall::{MapAccess, Syscall};
use alloc::format;

cases![
    only_selectors_of_user_mode_are_loaded,
    only_user_data_is_loaded_as_a_stack,
    a_descriptor_table_of_ones_own_is_never_used,
    what_a_thread_loads_into_segments_does_not_reach_another,
    the_kernels_gs_base_is_never_seen,
    loading_fs_leaves_no_base_but_ones_own,
    a_far_jump_leads_to_user_code_only,
    a_far_call_leads_to_user_code_only,
    a_far_return_leads_to_user_code_only,
    an_interrupt_return_leads_to_user_code_only,
    an_interrupt_return_changes_no_privilege,
    an_interrupt_return_to_a_wild_stack_harms_only_who_does_it,
    an_interrupt_return_between_the_halves_is_a_fault,
    a_nested_task_does_not_return,
];

bodies! {
    load_ds: "mov ds, edi";
    load_es: "mov es, edi";
    load_fs: "mov fs, edi";
    load_gs: "mov gs, edi";
    load_ss: "mov ss, edi";
    read_gs: "mov rax, gs:[rdi]";
    read_gs_loaded: "mov gs, edi", "mov rax, gs:[0]";
    read_gs_after_call: "mov eax, 96", "syscall", "xor edi, edi", "mov rax, gs:[rdi]";
    read_fs_loaded: "mov fs, edi", "mov rax, fs:[0]";
    // Of the form with a 32-bit offset, which every processor has: all code lies low.
    far_jump: "lea rax, [rip + 2f]", "shl rdi, 32", "or rax, rdi", "push rax", "jmp fword ptr [rsp]", "2:", "pop rax";
    far_call: "lea rax, [rip + 2f]", "shl rdi, 32", "or rax, rdi", "push rax", "call fword ptr [rsp]", "2:";
    far_return: "push rdi", "lea rax, [rip + 2f]", "push rax", "retfq", "2:";
    interrupt_return: "mov rax, rsp", "push 0x1b", "push rax", "push 0x202", "push rdi", "lea rax, [rip + 2f]",
        "push rax", "iretq", "2:";
    interrupt_return_stack: "mov rax, rsp", "push rdi", "push rax", "push 0x202", "push 0x23",
        "lea rax, [rip + 2f]", "push rax", "iretq", "2:";
    interrupt_return_flags: "mov rax, rsp", "push 0x1b", "push rax", "push 0x1b3002", "push 0x23",
        "lea rax, [rip + 2f]", "push rax", "iretq", "2:", "pushfq", "pop rdi", "jmp {found}";
    interrupt_return_then_off: "mov rax, rsp", "push 0x1b", "push rax", "push 0x3002", "push 0x23",
        "lea rax, [rip + 2f]", "push rax", "iretq", "2:", "cli";
    interrupt_return_wild: "push 0x1b", "push rdi", "push 0x202", "push 0x23",
        "lea rax, [rip + 2f]", "push rax", "iretq", "2:", "push rax";
    interrupt_return_between: "mov rax, rsp", "push 0x1b", "push rax", "push 0x202", "push 0x23", "push rdi", "iretq";
    nested: "pushfq", "or qword ptr [rsp], 0x4000", "popfq", "mov rax, rsp", "push 0x1b", "push rax", "push 0x202",
        "push 0x23", "lea rax, [rip + 2f]", "push rax", "iretq", "2:";
}

/// Selectors: every one of the kernel's table, local ones, and some beyond the end.
fn selectors() -> impl Iterator<Item = u64> {
    (0..0x48).chain([0x7c, 0x80, 0x103, 0x7ff8, 0xfff8, 0xffff])
}

fn loads(bench: &mut Bench, bodies: &[(&str, actor::Body)], allowed: fn(u64) -> bool) -> Outcome {
    let offender = Offender::new(bench)?;
    for (name, body) in bodies {
        for selector in selectors() {
            if allowed(selector) {
                offender.passes(*body, selector)?;
                continue;
            }
            let before = actor::read(DONE);
            offender.start(actor::code(*body), offender.stack(), selector)?;
            let found = offender.victim.fault()?.exception();
            if found != (vector::PROTECTION, selector & !3) || actor::read(DONE) != before {
                return Err(Failure::new(format!("{selector:#x} into {name}: found {found:x?}")));
            }
        }
    }
    Ok(())
}

fn only_selectors_of_user_mode_are_loaded(bench: &mut Bench) -> Outcome {
    // None, user data, and user code, which is readable.
    let allowed = |selector| matches!(selector, 0..=3 | 0x18..=0x1b | 0x20..=0x23);
    loads(bench, &[("DS", load_ds), ("ES", load_es), ("FS", load_fs), ("GS", load_gs)], allowed)
}

fn only_user_data_is_loaded_as_a_stack(bench: &mut Bench) -> Outcome {
    loads(bench, &[("SS", load_ss)], |selector| selector == 0x1b)
}

fn a_descriptor_table_of_ones_own_is_never_used(bench: &mut Bench) -> Outcome {
    let offender = Offender::new(bench)?;
    // A processor that was never told of a local descriptor table takes it to be at address 0, 64 KiB long. There a domain
    // may map all but the first page.
    let memory = bench.memory(1)?;
    bench.map(memory, WINDOW, 1)?;
    call(Syscall::Map, [offender.victim.child.space, memory, 0x1000, 0, 1, MapAccess::ReadWrite as u64])?;
    // User data, user code, a gate to the kernel's code.
    for (place, descriptor) in [0x00cf_f300_0000_ffff, 0x00af_fb00_0000_ffff, 0x0000_ec00_0008_0000].iter().enumerate()
    {
        for (offset, byte) in u64::to_le_bytes(*descriptor).into_iter().enumerate() {
            Memory(WINDOW).set_byte(8 * (place + 1) + offset, byte);
        }
    }
    for body in [load_ds as actor::Body, load_es, load_fs, load_gs, load_ss, far_jump] {
        for selector in [0x100f, 0x1017] {
            same(offender.fault(body, selector)?.exception(), (vector::PROTECTION, selector & !3))?;
        }
    }
    // Last, as this might work.
    same(offender.fault(far_call, 0x101f)?.exception(), (vector::PROTECTION, 0x101c))
}

bodies! {
    keep_selectors: "mov eax, 0x1b", "mov ds, eax", "mov es, eax", "mov eax, 0x23", "mov fs, eax", "mov gs, eax",
        "mov ecx, 30000000", "2:", "dec ecx", "jnz 2b";
    see_selectors: "xor eax, eax", "mov ecx, 10000000", "2:", "mov edx, ds", "or eax, edx", "mov edx, es",
        "or eax, edx", "mov edx, fs", "or eax, edx", "mov edx, gs", "or eax, edx", "dec ecx", "jnz 2b",
        "mov edi, eax", "jmp {found}";
}

fn what_a_thread_loads_into_segments_does_not_reach_another(bench: &mut Bench) -> Outcome {
    let (one, other) = (Victim::new(bench)?, Victim::new(bench)?);
    one.start(bench, keep_selectors, 0)?;
    other.start(bench, see_selectors, 0)?;
    bench.settle()?;
    same((actor::read(DONE), actor::read(super::victim::FOUND)), (2, 0))
}

fn the_kernels_gs_base_is_never_seen(bench: &mut Bench) -> Outcome {
    let offender = Offender::new(bench)?;
    same(offender.fault(read_gs, 0)?.access(), (FaultKind::Read, 0))?;
    same(offender.fault(read_gs, 0x1234)?.access(), (FaultKind::Read, 0x1234))?;
    same(offender.fault(read_gs_after_call, 0)?.access(), (FaultKind::Read, 0))?;
    for selector in [0, 3, 0x1b, 0x23] {
        same(offender.fault(read_gs_loaded, selector)?.access(), (FaultKind::Read, 0))?;
    }
    Ok(())
}

fn loading_fs_leaves_no_base_but_ones_own(bench: &mut Bench) -> Outcome {
    let offender = Offender::new(bench)?;
    for selector in [0, 3, 0x1b, 0x23] {
        same(offender.fault(read_fs_loaded, selector)?.access(), (FaultKind::Read, 0))?;
    }
    Ok(())
}

/// Code selectors other than user mode's, and the error code that each brings.
const NOT_CODE: [(u64, u64); 14] = [
    (0, 0),
    (3, 0),
    (0x08, 0x08),
    (0x0b, 0x08),
    (0x10, 0x10),
    (0x13, 0x10),
    (0x18, 0x18),
    (0x1b, 0x18),
    (0x28, 0x28),
    (0x2b, 0x28),
    (0x33, 0x30),
    (0x0c, 0x0c),
    (0x27, 0x24),
    (0xfff8, 0xfff8),
];

/// `works` says whether a transfer to user code can be looked at in this machine.
fn leads_to_user_code_only(bench: &mut Bench, body: actor::Body, works: bool) -> Outcome {
    let offender = Offender::new(bench)?;
    for (selector, error) in NOT_CODE {
        let found = offender.fault(body, selector)?.exception();
        if found != (vector::PROTECTION, error) {
            return Err(Failure::new(format!("to {selector:#x}: found {found:x?}")));
        }
    }
    same(actor::read(DONE), 0)?;
    if works { offender.passes(body, 0x23) } else { Ok(()) }
}

fn a_far_jump_leads_to_user_code_only(bench: &mut Bench) -> Outcome {
    leads_to_user_code_only(bench, far_jump, true)
}

fn a_far_call_leads_to_user_code_only(bench: &mut Bench) -> Outcome {
    let works = returns_far(bench)?;
    leads_to_user_code_only(bench, far_call, works)
}

/// Whether the machine's far returns, and calls, which write to the stack in the same way, can be looked at.
fn returns_far(bench: &mut Bench) -> Result<bool, Failure> {
    Offender::new(bench)?.returns_far(bench)
}

fn a_far_return_leads_to_user_code_only(bench: &mut Bench) -> Outcome {
    if !returns_far(bench)? {
        return Ok(());
    }
    leads_to_user_code_only(bench, far_return, true)
}

fn an_interrupt_return_leads_to_user_code_only(bench: &mut Bench) -> Outcome {
    if !returns_far(bench)? {
        return Ok(());
    }
    leads_to_user_code_only(bench, interrupt_return, true)?;
    // Nor to a stack that is not user mode's.
    let offender = Offender::new(bench)?;
    for selector in [0, 3, 0x10, 0x13, 0x18, 0x23, 0x2b, 0x0c, 0xfff8] {
        let (vector, error) = offender.fault(interrupt_return_stack, selector)?.exception();
        same((vector, error), (vector::PROTECTION, selector & !3))?;
    }
    offender.passes(interrupt_return_stack, 0x1b)
}

fn an_interrupt_return_changes_no_privilege(bench: &mut Bench) -> Outcome {
    if !returns_far(bench)? {
        return Ok(());
    }
    let offender = Offender::new(bench)?;
    offender.passes(interrupt_return_flags, 0)?;
    // Asked for: I/O privilege, virtual mode, virtual interrupts, no interrupts.
    same(actor::read(super::victim::FOUND) & 0x1b_3200, 0x200)?;
    let fault = offender.fault(interrupt_return_then_off, 0)?;
    same(fault.exception(), (vector::PROTECTION, 0))
}

fn an_interrupt_return_to_a_wild_stack_harms_only_who_does_it(bench: &mut Bench) -> Outcome {
    if !returns_far(bench)? {
        return Ok(());
    }
    let offender = Offender::new(bench)?;
    for stack in [0, 1 << 47, abi::boot::DIRECT_MAP_BASE, abi::boot::KERNEL_BASE] {
        let fault = offender.fault(interrupt_return_wild, stack)?;
        same(fault.word(FaultWord::StackPointer), stack)?;
        let expected = match fault.kind {
            FaultKind::Write => true,
            // Between the halves, or of the stack's own kind.
            FaultKind::Exception => [vector::STACK, vector::PROTECTION].contains(&fault.exception().0),
            _ => false,
        };
        crate::outcome::holds(expected, "the push faults")?;
    }
    Ok(())
}

fn an_interrupt_return_between_the_halves_is_a_fault(bench: &mut Bench) -> Outcome {
    if !returns_far(bench)? {
        return Ok(());
    }
    let offender = Offender::new(bench)?;
    for address in [1 << 47, 0x0000_ffff_ffff_ffff, !(1 << 47)] {
        same(offender.fault(interrupt_return_between, address)?.exception(), (vector::PROTECTION, 0))?;
    }
    let fault = offender.fault(interrupt_return_between, abi::boot::KERNEL_BASE)?;
    same(fault.access(), (FaultKind::Execute, abi::boot::KERNEL_BASE))
}

fn a_nested_task_does_not_return(bench: &mut Bench) -> Outcome {
    same(Offender::new(bench)?.fault(nested, 0)?.exception(), (vector::PROTECTION, 0))
}
