//! Addresses at the edges: the hole between the halves, the last page below it, the kernel's half.

use super::cases;
use super::offender::{Offender, bodies, vector};
use super::victim::{DONE, jump, load, store};
use crate::actor::{self, Memory};
use crate::bench::{Bench, WINDOW};
use crate::call::call;
use crate::outcome::{Failure, Outcome, holds, refused, same};
use abi::boot::{DIRECT_MAP_BASE, KERNEL_BASE};
use abi::fault::{FaultKind, FaultWord};
use abi::syscall::{MapAccess, Syscall};
use abi::{Error, PAGE_SIZE, USER_END};

cases![
    no_way_of_going_on_between_the_halves_is_survived,
    no_way_of_going_on_in_the_kernels_half_is_survived,
    accesses_between_the_halves_are_faults_of_every_kind_of_instruction,
    an_access_across_the_end_of_the_lower_half_is_a_fault,
    an_access_that_wraps_around_is_a_fault,
    a_thread_that_stands_between_the_halves_is_not_resumed,
    the_last_page_of_the_lower_half_belongs_to_nobody,
    a_system_call_at_the_end_of_user_space_returns_behind_it,
    running_off_the_end_of_user_space_is_a_fault,
    a_system_call_does_not_use_the_callers_stack,
    a_system_call_does_not_believe_the_return_address_in_rcx,
    a_thread_may_start_with_any_stack_in_user_space,
    every_page_of_the_kernels_half_looks_the_same,
    pointers_that_wrap_around_are_refused_by_every_call,
];

/// Addresses that are in neither half.
const BETWEEN: [u64; 6] =
    [0x0000_8000_0000_0000, 0x0000_8000_0000_1000, 0x0000_ffff_ffff_ffff, 1 << 62, 0xfff0_0000_0000_0000, !(1 << 47)];
/// Addresses of the kernel's half.
const KERNEL: [u64; 5] = [0xffff_8000_0000_0000, DIRECT_MAP_BASE, KERNEL_BASE, KERNEL_BASE + 0x1000, u64::MAX - 1];

bodies! {
    go_by_return: "push rdi", "ret";
    go_by_call: "call rdi";
    go_through_memory: "push rdi", "jmp [rsp]";
    go_by_far_return: "push 0x23", "push rdi", "retfq";
    go_by_interrupt_return: "mov rax, rsp", "push 0x1b", "push rax", "push 0x202", "push 0x23", "push rdi", "iretq";
    go_by_return_and_drop: "push 0", "push rdi", "ret 8";
    load_word: "mov ax, [rdi]";
    load_quad: "mov rax, [rdi]";
    store_quad: "mov [rdi], rax";
    increment: "lock inc qword ptr [rdi]";
    string: "mov rsi, rdi", "cld", "lodsq";
    push_through: "push [rdi]";
    pop_to: "push 0", "pop [rdi]";
    pop_from: "mov rsp, rdi", "pop rax";
    push_onto: "mov rsp, rdi", "push rax";
    call_onto: "mov rsp, rdi", "call 2f", "2:";
    frame_onto: "mov rsp, rdi", "mov rbp, rdi", "enter 64, 0";
    call_with_stack: "mov rbx, rsp", "mov rsp, rdi", "mov eax, 96", "syscall", "mov rdi, rsp", "mov rsp, rbx",
        "jmp {found}";
    call_with_return_address: "mov rcx, rdi", "mov eax, 96", "syscall";
    at_once: "";
}

/// Every way to go somewhere.
fn ways(bench: &Bench, offender: &Offender) -> Result<impl Iterator<Item = actor::Body>, Failure> {
    let near = [jump as actor::Body, go_by_return, go_by_call, go_through_memory, go_by_return_and_drop];
    let far: &[actor::Body] =
        if offender.returns_far(bench)? { &[go_by_far_return, go_by_interrupt_return] } else { &[] };
    Ok(near.into_iter().chain(far.iter().copied()))
}

fn no_way_of_going_on_between_the_halves_is_survived(bench: &mut Bench) -> Outcome {
    let offender = Offender::new(bench)?;
    for body in ways(bench, &offender)? {
        for address in BETWEEN {
            let fault = offender.fault(body, address)?;
            same(fault.exception(), (vector::PROTECTION, 0))?;
        }
    }
    same(actor::read(DONE), 0)
}

fn no_way_of_going_on_in_the_kernels_half_is_survived(bench: &mut Bench) -> Outcome {
    let offender = Offender::new(bench)?;
    for body in ways(bench, &offender)? {
        for address in KERNEL {
            let fault = offender.fault(body, address)?;
            same(
                (fault.access(), fault.word(FaultWord::InstructionPointer)),
                ((FaultKind::Execute, address), address),
            )?;
        }
    }
    same(actor::read(DONE), 0)
}

fn accesses_between_the_halves_are_faults_of_every_kind_of_instruction(bench: &mut Bench) -> Outcome {
    let offender = Offender::new(bench)?;
    let bodies = [
        load as actor::Body,
        store,
        load_word,
        load_quad,
        store_quad,
        increment,
        string,
        push_through,
        pop_to,
        pop_from,
        push_onto,
        call_onto,
        frame_onto,
    ];
    for body in bodies {
        for address in [0x0000_8000_0000_0040, 0x4000_0000_0000_0000, 0xffff_7fff_ffff_ff00] {
            let fault = offender.fault(body, address)?;
            let vector = fault.exception().0;
            holds([vector::PROTECTION, vector::STACK].contains(&vector), "a protection or a stack exception")?;
            same(fault.exception().1, 0)?;
        }
        for address in [DIRECT_MAP_BASE + 64, KERNEL_BASE + 64] {
            let fault = offender.fault(body, address)?;
            holds([FaultKind::Read, FaultKind::Write].contains(&fault.kind), "a page fault")?;
            holds(fault.word(FaultWord::Address).abs_diff(address) <= 8, "at the address")?;
        }
    }
    same(actor::read(DONE), 0)
}

fn an_access_across_the_end_of_the_lower_half_is_a_fault(bench: &mut Bench) -> Outcome {
    let offender = Offender::new(bench)?;
    for address in [0x0000_7fff_ffff_fff9, 0x0000_7fff_ffff_fffc, 0x0000_7fff_ffff_ffff] {
        for body in [load_quad, store_quad] {
            // Processors differ in which half they look at first.
            let kind = offender.fault(body, address)?.kind;
            holds([FaultKind::Read, FaultKind::Write, FaultKind::Exception].contains(&kind), "a fault")?;
        }
    }
    Ok(())
}

fn an_access_that_wraps_around_is_a_fault(bench: &mut Bench) -> Outcome {
    let offender = Offender::new(bench)?;
    for address in [u64::MAX - 6, u64::MAX - 3, u64::MAX] {
        for (body, kind) in [(load_quad as actor::Body, FaultKind::Read), (store_quad, FaultKind::Write)] {
            same(offender.fault(body, address)?.kind, kind)?;
        }
    }
    Ok(())
}

fn a_thread_that_stands_between_the_halves_is_not_resumed(bench: &mut Bench) -> Outcome {
    let offender = Offender::new(bench)?;
    let mut fault = offender.fault(go_by_return, 1 << 47)?;
    for _ in 0..10 {
        // Wherever the processor says that it stands, forgiving it does not help.
        fault.repaired()?;
        fault = offender.victim.fault()?;
        holds([FaultKind::Exception, FaultKind::Execute].contains(&fault.kind), "it faults again")?;
    }
    same(actor::read(DONE), 0)
}

fn the_last_page_of_the_lower_half_belongs_to_nobody(bench: &mut Bench) -> Outcome {
    let offender = Offender::new(bench)?;
    let memory = bench.memory(2)?;
    let space = offender.victim.child.space;
    for access in [MapAccess::Read, MapAccess::ReadWrite, MapAccess::ReadExecute] {
        for (address, pages) in [(USER_END, 1), (USER_END - PAGE_SIZE, 2)] {
            refused(call(Syscall::Map, [space, memory, address, 0, pages, access as u64]), Error::BadAddress)?;
        }
    }
    same(offender.fault(load, USER_END)?.access(), (FaultKind::Read, USER_END))?;
    same(offender.fault(jump, USER_END)?.access(), (FaultKind::Execute, USER_END))
}

/// Maps a page whose last bytes are these as the last one of user space.
fn end_with(bench: &mut Bench, offender: &Offender, bytes: &[u8]) -> Result<u64, Failure> {
    let memory = bench.memory(1)?;
    let mapping = bench.map(memory, WINDOW, 1)?;
    let first = PAGE_SIZE as usize - bytes.len();
    for (offset, byte) in bytes.iter().enumerate() {
        Memory(WINDOW).set_byte(first + offset, *byte);
    }
    call(Syscall::Unmap, [abi::root::SPACE.0, mapping])?;
    let tables = bench.memory(4)?;
    call(Syscall::SpaceDonate, [offender.victim.child.space, tables, 0, 4])?;
    let access = MapAccess::ReadExecute as u64;
    call(Syscall::Map, [offender.victim.child.space, memory, USER_END - PAGE_SIZE, 0, 1, access])?;
    Ok(USER_END - bytes.len() as u64)
}

fn a_system_call_at_the_end_of_user_space_returns_behind_it(bench: &mut Bench) -> Outcome {
    let offender = Offender::new(bench)?;
    // mov eax, 96; syscall
    let first = end_with(bench, &offender, &[0xb8, 96, 0, 0, 0, 0x0f, 0x05])?;
    let fault = offender.fault_at(first, offender.stack(), 0)?;
    same(fault.access(), (FaultKind::Execute, USER_END))?;
    same(fault.word(FaultWord::InstructionPointer), USER_END)?;
    // The same again although it is forgiven.
    fault.repaired()?;
    same(offender.victim.fault()?.access(), (FaultKind::Execute, USER_END))
}

fn running_off_the_end_of_user_space_is_a_fault(bench: &mut Bench) -> Outcome {
    let offender = Offender::new(bench)?;
    let first = end_with(bench, &offender, &[0x90, 0x90])?;
    let fault = offender.fault_at(first, offender.stack(), 0)?;
    same(fault.access(), (FaultKind::Execute, USER_END))
}

fn a_system_call_does_not_use_the_callers_stack(bench: &mut Bench) -> Outcome {
    let offender = Offender::new(bench)?;
    for stack in [0, 1, USER_END, u64::MAX].into_iter().chain(BETWEEN).chain(KERNEL) {
        offender.passes(call_with_stack, stack)?;
        same(actor::read(super::victim::FOUND), stack)?;
    }
    Ok(())
}

fn a_system_call_does_not_believe_the_return_address_in_rcx(bench: &mut Bench) -> Outcome {
    let offender = Offender::new(bench)?;
    for address in BETWEEN.into_iter().chain(KERNEL) {
        offender.passes(call_with_return_address, address)?;
    }
    Ok(())
}

fn a_thread_may_start_with_any_stack_in_user_space(bench: &mut Bench) -> Outcome {
    let offender = Offender::new(bench)?;
    let code = actor::code(at_once);
    // What `at_once` does first is to push.
    for (stack, address) in [(0, u64::MAX - 7), (8, 0), (USER_END, USER_END - 8), (0x1003, 0xffb)] {
        same(offender.fault_at(code, stack, 0)?.access(), (FaultKind::Write, address))?;
    }
    for stack in [USER_END + 1, 1 << 47, KERNEL_BASE, u64::MAX] {
        holds(offender.start(code, stack, 0).is_err(), "any other is refused")?;
    }
    Ok(())
}

fn every_page_of_the_kernels_half_looks_the_same(bench: &mut Bench) -> Outcome {
    let offender = Offender::new(bench)?;
    // Present or not, the fault says the same: what the kernel has mapped is not told.
    let first = offender.fault(load, KERNEL_BASE)?;
    let image = KERNEL_BASE + 0x10_0000;
    for address in [DIRECT_MAP_BASE, image, image + 0x4000, image - PAGE_SIZE, KERNEL_BASE - PAGE_SIZE] {
        let fault = offender.fault(load, address)?;
        same((fault.kind, fault.word(FaultWord::Address)), (FaultKind::Read, address))?;
        same(fault.exception().0, first.exception().0)?;
    }
    Ok(())
}

fn pointers_that_wrap_around_are_refused_by_every_call(bench: &mut Bench) -> Outcome {
    use abi::root::{ACCOUNT, SYSTEM};
    let (thread, _) = bench.stopped_thread(abi::root::DOMAIN.0, 10)?;
    let wild = [USER_END, USER_END - 1, 1 << 47, !(1 << 47), DIRECT_MAP_BASE, KERNEL_BASE, u64::MAX - 8, u64::MAX];
    for address in wild {
        refused(call(Syscall::ThreadRead, [thread, address]), Error::BadAddress)?;
        refused(call(Syscall::Statistics, [SYSTEM.0, address]), Error::BadAddress)?;
        refused(call(Syscall::AccountCreate, [ACCOUNT.0, address]), Error::BadAddress)?;
        refused(call(Syscall::AccountInfo, [ACCOUNT.0, address, 10]), Error::BadAddress)?;
        refused(call(Syscall::LogRead, [SYSTEM.0, address, 16, 0]), Error::BadAddress)?;
    }
    for length in [u64::MAX, u64::MAX - 8, 1 << 63, 1 << 47] {
        // Never more than an entry's worth, from an address that is good for that.
        let read = call(Syscall::LogRead, [SYSTEM.0, actor::area().0, length, 0]);
        holds(read.is_ok_and(|count| count <= 4096) || read.is_err(), "a wild length is cut or refused")?;
    }
    Ok(())
}
