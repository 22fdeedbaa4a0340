//! Faults: of every kind, as messages, repaired, and of threads that nobody watches.

use super::cases;
use super::victim::{BADGE, DONE, FOUND, Victim, done, jump, load, store};
use crate::actor::{self, Memory};
use crate::bench::{Bench, PRIORITY, WINDOW};
use crate::call::{call, sleep};
use crate::outcome::{Outcome, holds, refused, same};
use abi::fault::{FaultKind, FaultWord};
use abi::rights::EndpointRights;
use abi::syscall::{MapAccess, Syscall};
use abi::{Error, PAGE_SIZE, USER_END, root};
use core::arch::asm;

cases![
    reading_unmapped_memory_is_a_fault,
    reading_the_kernels_half_is_a_fault,
    writing_read_only_memory_is_a_fault,
    code_and_constants_are_not_writable,
    data_is_not_executable,
    a_null_pointer_leads_nowhere,
    an_address_between_the_halves_is_a_fault,
    an_unknown_instruction_is_a_fault,
    privileged_instructions_are_faults,
    dividing_by_zero_is_a_fault,
    a_breakpoint_is_a_fault,
    single_stepping_is_a_fault_of_the_stepped_thread,
    single_stepping_leads_over_a_system_call,
    using_the_vector_unit_without_permission_is_a_fault,
    an_exit_and_a_panic_are_told_with_their_codes,
    a_fault_message_tells_where_it_happened,
    a_repaired_fault_goes_on_where_it_was,
    what_ended_on_purpose_does_not_go_on,
    a_fault_without_a_handler_stops_the_thread,
    a_fault_handler_must_speak_the_fault_interface,
    a_stack_that_overflows_is_a_fault,
    nothing_that_user_code_does_with_flags_and_segments_disturbs_the_kernel,
];

fn kind(bench: &mut Bench, body: actor::Body, argument: u64) -> Result<FaultKind, crate::outcome::Failure> {
    let victim = Victim::new(bench)?;
    Ok(victim.fault_of(bench, body, argument)?.kind)
}

fn reading_unmapped_memory_is_a_fault(bench: &mut Bench) -> Outcome {
    let victim = Victim::new(bench)?;
    for address in [0x1000, 0x7fff_0000, USER_END - 1] {
        let fault = victim.fault_of(bench, load, address)?;
        same((fault.kind, fault.word(FaultWord::Address)), (FaultKind::Read, address))?;
    }
    Ok(())
}

fn reading_the_kernels_half_is_a_fault(bench: &mut Bench) -> Outcome {
    let victim = Victim::new(bench)?;
    for address in [abi::boot::DIRECT_MAP_BASE, abi::boot::KERNEL_BASE, u64::MAX] {
        let fault = victim.fault_of(bench, load, address)?;
        same((fault.kind, fault.word(FaultWord::Address)), (FaultKind::Read, address))?;
    }
    same(victim.fault_of(bench, store, abi::boot::KERNEL_BASE)?.kind, FaultKind::Write)?;
    same(victim.fault_of(bench, jump, abi::boot::KERNEL_BASE)?.kind, FaultKind::Execute)
}

fn writing_read_only_memory_is_a_fault(bench: &mut Bench) -> Outcome {
    let victim = Victim::new(bench)?;
    let memory = bench.memory(1)?;
    let there = 0x8f_0000;
    call(Syscall::Map, [victim.child.space, memory, there, 0, 1, MapAccess::Read as u64])?;
    victim.start(bench, load, there)?;
    bench.settle()?;
    same(actor::read(DONE), 1)?;
    let fault = victim.fault_of(bench, store, there + 8)?;
    same((fault.kind, fault.word(FaultWord::Address)), (FaultKind::Write, there + 8))
}

fn code_and_constants_are_not_writable(bench: &mut Bench) -> Outcome {
    let victim = Victim::new(bench)?;
    for segment in bench.segments() {
        if segment.access != MapAccess::ReadWrite as u32 {
            same(victim.fault_of(bench, store, segment.address)?.kind, FaultKind::Write)?;
        }
    }
    Ok(())
}

fn data_is_not_executable(bench: &mut Bench) -> Outcome {
    let victim = Victim::new(bench)?;
    for segment in bench.segments() {
        if segment.access != MapAccess::ReadExecute as u32 {
            let fault = victim.fault_of(bench, jump, segment.address)?;
            same((fault.kind, fault.word(FaultWord::Address)), (FaultKind::Execute, segment.address))?;
        }
    }
    Ok(())
}

fn a_null_pointer_leads_nowhere(bench: &mut Bench) -> Outcome {
    let victim = Victim::new(bench)?;
    same(victim.fault_of(bench, load, 0)?.kind, FaultKind::Read)?;
    same(victim.fault_of(bench, store, 0)?.kind, FaultKind::Write)?;
    same(victim.fault_of(bench, jump, 0)?.kind, FaultKind::Execute)
}

fn an_address_between_the_halves_is_a_fault(bench: &mut Bench) -> Outcome {
    let victim = Victim::new(bench)?;
    for body in [load, store, jump] {
        let fault = victim.fault_of(bench, body, 0x0000_8000_0000_0000)?;
        same((fault.kind, fault.word(FaultWord::Code) >> 32), (FaultKind::Exception, 13))?;
    }
    Ok(())
}

/// Makes a thread's body of one or a few instructions.
macro_rules! bodies {
    ($($name:ident: $($instruction:literal),+;)*) => {$(
        extern "C" fn $name(_: u64) -> ! {
            // SAFETY: whatever these instructions do, it is this thread's own domain that bears it.
            unsafe { asm!($($instruction,)+ clobber_abi("sysv64")) };
            done()
        }
    )*};
}

bodies! {
    undefined: "ud2";
    halt: "hlt";
    interrupts_off: "cli";
    port: "in al, 0x60";
    control_register: "mov rax, cr3";
    model_specific: "mov ecx, 0x1b", "rdmsr";
    software_interrupt: "int 0x80";
    kernel_vector: "int 0x31";
    divide: "xor edx, edx", "xor ecx, ecx", "mov eax, 1", "div ecx";
    breakpoint: "int3";
    vector_unit: "pxor xmm0, xmm0";
    coprocessor: "fninit";
    single_step: "pushfq", "or qword ptr [rsp], 0x100", "popfq", "nop", "nop";
    single_step_syscall: "mov eax, 96", "pushfq", "or qword ptr [rsp], 0x100", "popfq", "syscall", "nop", "nop";
    odd_flags: "pushfq", "or qword ptr [rsp], 0x44400", "popfq", "mov eax, 96", "syscall", "cld";
    odd_segments: "mov eax, 0x1b", "mov ds, eax", "mov es, eax", "mov fs, eax", "mov gs, eax", "xor eax, eax",
        "mov gs, eax", "mov eax, 96", "push rdi", "syscall", "pop rdi";
}

fn an_unknown_instruction_is_a_fault(bench: &mut Bench) -> Outcome {
    same(kind(bench, undefined, 0)?, FaultKind::IllegalInstruction)
}

fn privileged_instructions_are_faults(bench: &mut Bench) -> Outcome {
    let victim = Victim::new(bench)?;
    for body in [halt, interrupts_off, port, control_register, model_specific, software_interrupt, kernel_vector] {
        let fault = victim.fault_of(bench, body, 0)?;
        same((fault.kind, fault.word(FaultWord::Code) >> 32), (FaultKind::Exception, 13))?;
    }
    same(actor::read(DONE), 0)
}

fn dividing_by_zero_is_a_fault(bench: &mut Bench) -> Outcome {
    same(kind(bench, divide, 0)?, FaultKind::Divide)
}

fn a_breakpoint_is_a_fault(bench: &mut Bench) -> Outcome {
    let victim = Victim::new(bench)?;
    let fault = victim.fault_of(bench, breakpoint, 0)?;
    same((fault.kind, fault.word(FaultWord::Code) >> 32), (FaultKind::Breakpoint, 3))?;
    fault.repaired()?;
    bench.settle()?;
    same(actor::read(DONE), 1)
}

fn single_stepping_is_a_fault_of_the_stepped_thread(bench: &mut Bench) -> Outcome {
    let victim = Victim::new(bench)?;
    let first = victim.fault_of(bench, single_step, 0)?;
    same((first.kind, first.word(FaultWord::Code) >> 32), (FaultKind::Breakpoint, 1))?;
    first.repaired()?;
    let second = victim.fault()?;
    same(second.word(FaultWord::InstructionPointer), first.word(FaultWord::InstructionPointer) + 1)
}

fn single_stepping_leads_over_a_system_call(bench: &mut Bench) -> Outcome {
    let victim = Victim::new(bench)?;
    // The step that enters the kernel may end behind `syscall` or behind the instruction after it; never in the kernel.
    let mut fault = victim.fault_of(bench, single_step_syscall, 0)?;
    for _ in 0..2 {
        same(fault.kind, FaultKind::Breakpoint)?;
        holds(fault.word(FaultWord::InstructionPointer) < USER_END, "it stepped in user mode")?;
        fault.repaired()?;
        fault = victim.fault()?;
    }
    Ok(())
}

fn using_the_vector_unit_without_permission_is_a_fault(bench: &mut Bench) -> Outcome {
    let victim = Victim::new(bench)?;
    same(victim.fault_of(bench, vector_unit, 0)?.kind, FaultKind::FloatingPoint)?;
    same(victim.fault_of(bench, coprocessor, 0)?.kind, FaultKind::FloatingPoint)
}

extern "C" fn exit(code: u64) -> ! {
    userlib::sys::thread_exit(code)
}

extern "C" fn panic(code: u64) -> ! {
    userlib::sys::thread_panic(code)
}

fn an_exit_and_a_panic_are_told_with_their_codes(bench: &mut Bench) -> Outcome {
    let victim = Victim::new(bench)?;
    let fault = victim.fault_of(bench, exit, 0x1234_5678_9abc_def0)?;
    same((fault.kind, fault.word(FaultWord::Code)), (FaultKind::Exit, 0x1234_5678_9abc_def0))?;
    let fault = victim.fault_of(bench, panic, u64::MAX)?;
    same((fault.kind, fault.word(FaultWord::Code)), (FaultKind::Panic, u64::MAX))
}

fn a_fault_message_tells_where_it_happened(bench: &mut Bench) -> Outcome {
    let victim = Victim::new(bench)?;
    let address = 0x1234_5678;
    let fault = victim.fault_of(bench, jump, address)?;
    same(fault.badge, BADGE)?;
    same(fault.word(FaultWord::Address), address)?;
    same(fault.word(FaultWord::InstructionPointer), address)?;
    let stack = actor::stack(bench.last_actor());
    let used = stack - fault.word(FaultWord::StackPointer);
    holds(used < 256, "the stack pointer is that of the thread")?;
    holds(fault.word(FaultWord::Thread) > 0, "the thread is named")
}

fn a_repaired_fault_goes_on_where_it_was(bench: &mut Bench) -> Outcome {
    let victim = Victim::new(bench)?;
    let memory = bench.memory(1)?;
    bench.map(memory, WINDOW, 1)?;
    Memory(WINDOW).set_byte(0x10, 0x99);
    let there = 0x8f_0000;
    let fault = victim.fault_of(bench, load, there + 0x10)?;
    same(fault.kind, FaultKind::Read)?;
    call(Syscall::Map, [victim.child.space, memory, there, 0, 1, MapAccess::Read as u64])?;
    fault.repaired()?;
    bench.settle()?;
    same((actor::read(DONE), actor::read(FOUND)), (1, 0x99))?;
    // A fault that was answered is over.
    holds(fault.repaired().is_err(), "a second answer finds nobody")
}

fn what_ended_on_purpose_does_not_go_on(bench: &mut Bench) -> Outcome {
    let victim = Victim::new(bench)?;
    let thread = victim.start(bench, exit, 7)?;
    victim.fault()?.repaired()?;
    bench.settle()?;
    // Stopped, so that it can be started anew.
    let place = bench.last_actor();
    call(Syscall::ThreadStart, [thread, actor::code(load), actor::stack(place), actor::area().0])?;
    bench.settle()?;
    same(actor::read(DONE), 1)
}

fn a_fault_without_a_handler_stops_the_thread(bench: &mut Bench) -> Outcome {
    let child = bench.child(50)?;
    let thread = bench.thread_at(child.domain, PRIORITY, undefined, 0)?;
    bench.settle()?;
    let place = bench.last_actor();
    call(Syscall::ThreadStart, [thread, actor::code(load), actor::stack(place), actor::area().0])?;
    bench.settle()?;
    same(actor::read(DONE), 1)?;
    // The same with a handler that has died.
    let victim = Victim::new(bench)?;
    call(Syscall::Destroy, [victim.endpoint])?;
    victim.start(bench, undefined, 0)?;
    bench.settle()
}

fn a_fault_handler_must_speak_the_fault_interface(bench: &mut Bench) -> Outcome {
    let (space, wrong, right) = (bench.space()?, bench.endpoint()?, bench.fault_endpoint()?);
    let create = |handler| call(Syscall::DomainCreate, [root::ACCOUNT.0, space, 50, 16, handler, 0]);
    refused(create(wrong), Error::WrongInterface)?;
    let weak = call(Syscall::CapCopy, [right, EndpointRights::CALL.bits().into(), 0])?;
    refused(create(weak), Error::MissingRight)?;
    create(right)?;
    Ok(())
}

extern "C" fn overflow(_: u64) -> ! {
    // SAFETY: whatever it meets below its stack, it is this thread's own domain that bears it.
    unsafe { asm!("2:", "push rax", "jmp 2b", options(noreturn)) }
}

fn a_stack_that_overflows_is_a_fault(bench: &mut Bench) -> Outcome {
    let victim = Victim::new(bench)?;
    let memory = bench.memory(1)?;
    let there = 0x8f_0000;
    call(Syscall::Map, [victim.child.space, memory, there, 0, 1, MapAccess::ReadWrite as u64])?;
    let (thread, _) = bench.stopped_thread(victim.child.domain, PRIORITY)?;
    call(Syscall::ThreadStart, [thread, actor::code(overflow), there + PAGE_SIZE, 0])?;
    let fault = victim.fault()?;
    same((fault.kind, fault.word(FaultWord::Address)), (FaultKind::Write, there - 8))
}

fn nothing_that_user_code_does_with_flags_and_segments_disturbs_the_kernel(bench: &mut Bench) -> Outcome {
    let victim = Victim::new(bench)?;
    for (number, body) in [odd_flags, odd_segments].into_iter().enumerate() {
        victim.start(bench, body, 0)?;
        bench.settle()?;
        same(actor::read(DONE), number as u64 + 1)?;
    }
    sleep(1_000_000);
    Ok(())
}
