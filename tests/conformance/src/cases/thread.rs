//! Threads: starting, stopping, reading, what each has for itself; and domains that end.

use super::cases;
use super::victim::{DONE, Victim, done, load};
use crate::actor::{self, Memory};
use crate::bench::{Bench, PRIORITY, WINDOW, statistics};
use crate::call::{call, sleep, until, wait};
use crate::outcome::{Outcome, holds, refused, same};
use abi::rights::{DomainRights, ThreadRights};
use abi::syscall::{Charge, MapAccess, Registers, Syscall};
use abi::time::NEVER;
use abi::{Error, PAGE_SIZE, USER_END, root};
use core::arch::asm;

cases![
    a_thread_starts_with_its_argument_and_clean_registers,
    a_running_thread_is_not_started,
    a_thread_starts_only_in_user_space,
    a_stopped_thread_does_not_run_on,
    a_thread_does_not_stop_or_read_itself,
    the_registers_of_a_waiting_thread_can_be_read,
    controlling_and_reading_a_thread_need_their_rights,
    every_thread_has_its_own_fs_base,
    all_registers_survive_preemption,
    a_message_buffer_is_writable_memory,
    a_budget_that_is_in_use_is_not_destroyed,
    a_destroyed_thread_is_gone_at_once,
    a_destroyed_domain_takes_its_threads_with_it,
    a_big_domain_is_taken_apart_without_a_remainder,
    a_domain_does_not_destroy_itself,
    spawning_in_a_domain_needs_its_right,
];

/// Writes its stack pointer, flags and the sum of the registers that start as zero to the board.
#[unsafe(naked)]
extern "C" fn clean(_: u64) -> ! {
    core::arch::naked_asm!(
        "or rax, rbx",
        "or rax, rcx",
        "or rax, rdx",
        "or rax, rsi",
        "or rax, rbp",
        "or rax, r8",
        "or rax, r9",
        "or rax, r10",
        "or rax, r11",
        "or rax, r12",
        "or rax, r13",
        "or rax, r14",
        "or rax, r15",
        "mov rsi, rax",
        "mov rdx, rsp",
        "call {report}",
        "ud2",
        report = sym report,
    )
}

extern "C" fn report(argument: u64, others: u64, stack: u64) -> ! {
    actor::write(0, argument);
    actor::write(1, others);
    actor::write(2, stack);
    done()
}

fn a_thread_starts_with_its_argument_and_clean_registers(bench: &mut Bench) -> Outcome {
    let (thread, _) = bench.stopped_thread(root::DOMAIN.0, PRIORITY)?;
    let stack = actor::stack(bench.last_actor()) - 8;
    call(Syscall::ThreadStart, [thread, actor::code(clean), stack, 0xabcd])?;
    bench.settle()?;
    same((actor::read(0), actor::read(1), actor::read(2)), (0xabcd, 0, stack))
}

extern "C" fn sleeper(_: u64) -> ! {
    actor::add(DONE, 1);
    loop {
        let _ = wait(0, NEVER);
    }
}

fn a_running_thread_is_not_started(bench: &mut Bench) -> Outcome {
    let thread = bench.thread(sleeper, 0)?;
    let arguments = [thread, actor::code(sleeper), actor::stack(bench.last_actor()), 0];
    refused(call(Syscall::ThreadStart, arguments), Error::WrongState)?;
    bench.settle()?;
    refused(call(Syscall::ThreadStart, arguments), Error::WrongState)?;
    refused(call(Syscall::ThreadStart, [root::THREAD.0, 0x1000, 0x1000, 0]), Error::WrongState)?;
    call(Syscall::ThreadStop, [thread])?;
    call(Syscall::ThreadStart, arguments)?;
    bench.settle()?;
    same(actor::read(DONE), 2)
}

fn a_thread_starts_only_in_user_space(bench: &mut Bench) -> Outcome {
    let (thread, place) = bench.stopped_thread(root::DOMAIN.0, PRIORITY)?;
    let (code, stack) = (actor::code(sleeper), actor::stack(place));
    for bad in [USER_END, 0x0000_8000_0000_0000, abi::boot::KERNEL_BASE, u64::MAX] {
        refused(call(Syscall::ThreadStart, [thread, bad, stack, 0]), Error::BadAddress)?;
    }
    for bad in [USER_END + 1, 0x0000_8000_0000_0000, u64::MAX] {
        refused(call(Syscall::ThreadStart, [thread, code, bad, 0]), Error::BadAddress)?;
        refused(call(Syscall::ThreadLocal, [bad]), Error::BadAddress)?;
    }
    Ok(())
}

extern "C" fn spinner(place: u64) -> ! {
    loop {
        actor::add(place as usize, 1);
    }
}

fn a_stopped_thread_does_not_run_on(bench: &mut Bench) -> Outcome {
    let thread = bench.thread(spinner, 0)?;
    holds(until(|| actor::read(0) > 0), "it runs")?;
    call(Syscall::ThreadStop, [thread])?;
    let count = actor::read(0);
    sleep(3_000_000);
    same(actor::read(0), count)?;
    call(Syscall::ThreadStop, [thread])?;
    Ok(())
}

fn a_thread_does_not_stop_or_read_itself(_: &mut Bench) -> Outcome {
    refused(call(Syscall::ThreadStop, [root::THREAD.0]), Error::WrongState)?;
    refused(call(Syscall::ThreadRead, [root::THREAD.0, actor::area().0]), Error::WrongState)?;
    refused(call(Syscall::Destroy, [root::THREAD.0]), Error::WrongState)
}

/// Waits for ever with numbers in its registers.
extern "C" fn marked(_: u64) -> ! {
    // SAFETY: all that is left to this thread is in these registers.
    unsafe {
        asm!(
            "mov rbx, 0x1b",
            "mov rbp, 0x1e",
            "mov r12, 0x12",
            "mov r13, 0x13",
            "mov r14, 0x14",
            "mov r15, 0x15",
            "2:",
            "mov eax, 6",
            "xor edi, edi",
            "mov rsi, -1",
            "syscall",
            "jmp 2b",
            options(noreturn)
        )
    }
}

fn the_registers_of_a_waiting_thread_can_be_read(bench: &mut Bench) -> Outcome {
    let thread = bench.thread(marked, 0)?;
    bench.settle()?;
    let mut found = Registers::default();
    call(Syscall::ThreadRead, [thread, &raw mut found as u64])?;
    let [_, rbx, _, _, rsi, rdi, rbp, rsp, .., r12, r13, r14, r15] = found.general;
    same([rbx, rbp, r12, r13, r14, r15], [0x1b, 0x1e, 0x12, 0x13, 0x14, 0x15])?;
    same([rdi, rsi], [0, u64::MAX])?;
    holds(actor::stack(bench.last_actor()) - rsp < 4096, "the stack pointer is its own")?;
    holds(found.rip > actor::code(marked) && found.rip < actor::code(marked) + 256, "it is where it waits")?;
    holds(found.runtime > 0 && found.runtime < crate::call::SECOND, "it has run a little")?;
    refused(call(Syscall::ThreadRead, [thread, root::INFO_ADDRESS]), Error::BadAddress)
}

fn controlling_and_reading_a_thread_need_their_rights(bench: &mut Bench) -> Outcome {
    let thread = bench.thread(sleeper, 0)?;
    let reader = call(Syscall::CapCopy, [thread, ThreadRights::INSPECT.bits().into(), 0])?;
    let controller = call(Syscall::CapCopy, [thread, ThreadRights::CONTROL.bits().into(), 0])?;
    refused(call(Syscall::ThreadStop, [reader]), Error::MissingRight)?;
    refused(call(Syscall::ThreadBind, [reader, 0]), Error::MissingRight)?;
    refused(call(Syscall::Destroy, [reader]), Error::MissingRight)?;
    refused(call(Syscall::ThreadRead, [controller, actor::area().0]), Error::MissingRight)?;
    call(Syscall::ThreadRead, [reader, actor::area().0])?;
    call(Syscall::ThreadStop, [controller])?;
    Ok(())
}

/// Keeps its number where its FS base points and compares again and again while others run.
extern "C" fn local(number: u64) -> ! {
    let place = actor::area().0 + number * 64;
    Memory(place).set_byte(0, number as u8);
    let set = call(Syscall::ThreadLocal, [place]);
    for _ in 0..50 {
        let found: u64;
        // SAFETY: the FS base is an address in the area.
        unsafe { asm!("movzx {}, byte ptr fs:[0]", out(reg) found) };
        if set.is_err() || found != number {
            actor::add(1, 1);
        }
        let _ = call(Syscall::Yield, []);
    }
    done()
}

fn every_thread_has_its_own_fs_base(bench: &mut Bench) -> Outcome {
    for number in 1..=4 {
        bench.thread(local, number)?;
    }
    let child = bench.child(50)?;
    bench.thread_at(child.domain, PRIORITY, local, 5)?;
    bench.settle()?;
    same((actor::read(DONE), actor::read(1)), (5, 0))
}

/// Fills every register with numbers that depend on its argument and compares them for a while.
extern "C" fn keeper(seed: u64) -> ! {
    let wrong: u64;
    // SAFETY: `rbx`, `rbp` and the stack pointer are restored before the block ends.
    unsafe {
        asm!(
            "push rbx", "push rbp",
            "lea rbx, [rdi + 1]", "lea rbp, [rdi + 2]", "lea rdx, [rdi + 3]", "lea rsi, [rdi + 4]",
            "lea r8, [rdi + 5]", "lea r9, [rdi + 6]", "lea r10, [rdi + 7]", "lea r11, [rdi + 8]",
            "lea r12, [rdi + 9]", "lea r13, [rdi + 10]", "lea r14, [rdi + 11]", "lea r15, [rdi + 12]",
            "mov rcx, 10000000",
            "2:",
            "xor eax, eax",
            "sub rbx, rdi", "sub rbp, rdi", "sub rdx, rdi", "sub rsi, rdi", "sub r8, rdi", "sub r9, rdi",
            "sub r10, rdi", "sub r11, rdi", "sub r12, rdi", "sub r13, rdi", "sub r14, rdi", "sub r15, rdi",
            "add rax, rbx", "add rax, rbp", "add rax, rdx", "add rax, rsi", "add rax, r8", "add rax, r9",
            "add rax, r10", "add rax, r11", "add rax, r12", "add rax, r13", "add rax, r14", "add rax, r15",
            "add rbx, rdi", "add rbp, rdi", "add rdx, rdi", "add rsi, rdi", "add r8, rdi", "add r9, rdi",
            "add r10, rdi", "add r11, rdi", "add r12, rdi", "add r13, rdi", "add r14, rdi", "add r15, rdi",
            "cmp rax, 78",
            "jne 3f",
            "dec rcx",
            "jnz 2b",
            "3:",
            "mov rax, rcx",
            "pop rbp", "pop rbx",
            in("rdi") seed, out("rax") wrong, out("rcx") _, out("rdx") _, out("rsi") _, out("r8") _, out("r9") _,
            out("r10") _, out("r11") _, out("r12") _, out("r13") _, out("r14") _, out("r15") _,
        );
    }
    actor::add(1, wrong);
    done()
}

fn all_registers_survive_preemption(bench: &mut Bench) -> Outcome {
    bench.thread(keeper, 0x1111_2222_3333_0000)?;
    bench.thread(keeper, 0xffff_0000_5555_0000)?;
    let child = bench.child(50)?;
    bench.thread_at(child.domain, PRIORITY, keeper, 0x8000)?;
    holds(until(|| actor::read(DONE) == 3), "they come to an end")?;
    same(actor::read(1), 0)
}

fn a_message_buffer_is_writable_memory(bench: &mut Bench) -> Outcome {
    use abi::rights::MemoryRights;
    let (thread, _) = bench.stopped_thread(root::DOMAIN.0, PRIORITY)?;
    let memory = bench.memory(2)?;
    let read_only = call(Syscall::CapCopy, [memory, MemoryRights::READ.bits().into(), 0])?;
    refused(call(Syscall::ThreadBuffer, [thread, read_only, 0, WINDOW]), Error::MissingRight)?;
    refused(call(Syscall::ThreadBuffer, [thread, memory, 2, WINDOW]), Error::BadArgument)?;
    refused(call(Syscall::ThreadBuffer, [thread, memory, 0, USER_END]), Error::BadAddress)?;
    call(Syscall::ThreadBuffer, [thread, memory, 0, WINDOW])?;
    // Pinned: it is not donated while it is a buffer.
    let space = bench.space()?;
    refused(call(Syscall::SpaceDonate, [space, memory, 0, 1]), Error::NotSoleOwner)?;
    call(Syscall::Destroy, [thread])?;
    call(Syscall::SpaceDonate, [space, memory, 0, 1])?;
    Ok(())
}

fn a_budget_that_is_in_use_is_not_destroyed(bench: &mut Bench) -> Outcome {
    let budget = bench.budget(10)?;
    let thread = call(Syscall::ThreadCreate, [root::ACCOUNT.0, root::DOMAIN.0, budget])?;
    refused(call(Syscall::Destroy, [budget]), Error::WrongState)?;
    call(Syscall::Destroy, [thread])?;
    call(Syscall::Destroy, [budget])?;
    refused(call(Syscall::ThreadCreate, [root::ACCOUNT.0, root::DOMAIN.0, budget]), Error::StaleHandle)
}

fn a_destroyed_thread_is_gone_at_once(bench: &mut Bench) -> Outcome {
    let thread = bench.thread(spinner, 0)?;
    holds(until(|| actor::read(0) > 0), "it runs")?;
    call(Syscall::Destroy, [thread])?;
    let count = actor::read(0);
    refused(call(Syscall::ThreadStop, [thread]), Error::StaleHandle)?;
    sleep(2_000_000);
    same(actor::read(0), count)
}

fn a_destroyed_domain_takes_its_threads_with_it(bench: &mut Bench) -> Outcome {
    let child = bench.child(50)?;
    let thread = bench.thread_at(child.domain, PRIORITY, spinner, 0)?;
    bench.thread_at(child.domain, PRIORITY, sleeper, 0)?;
    bench.thread_at(child.domain, PRIORITY + 1, sleeper, 0)?;
    holds(until(|| actor::read(0) > 0), "its threads run")?;
    call(Syscall::Destroy, [child.domain])?;
    let count = actor::read(0);
    refused(call(Syscall::ThreadStop, [thread]), Error::StaleHandle)?;
    refused(call(Syscall::CapInspect, [child.domain, 1]), Error::StaleHandle)?;
    sleep(3_000_000);
    same(actor::read(0), count)
}

fn a_big_domain_is_taken_apart_without_a_remainder(bench: &mut Bench) -> Outcome {
    let before = statistics()?;
    let victim = Victim::new(bench)?;
    let notification = bench.notification()?;
    for _ in 0..50 {
        call(Syscall::CapGrant, [victim.child.domain, notification, u16::MAX.into(), 0])?;
    }
    let memory = bench.memory(64)?;
    for page in 0..64 {
        let address = 0x80_0000 + page * PAGE_SIZE;
        call(Syscall::Map, [victim.child.space, memory, address, page, 1, MapAccess::ReadWrite as u64])?;
    }
    for _ in 0..4 {
        victim.start(bench, spinner, 0)?;
    }
    // One that waits with a fault.
    victim.fault_of(bench, load, 0)?;
    call(Syscall::Destroy, [victim.child.domain])?;
    call(Syscall::Destroy, [victim.child.space])?;
    let after = statistics()?;
    for charge in [Charge::Domains, Charge::Spaces, Charge::Threads, Charge::CapSlots] {
        same(after.objects[charge as usize], before.objects[charge as usize])?;
    }
    same(after.kernel_frames, before.kernel_frames)?;
    holds(after.objects[Charge::Mappings as usize] <= before.objects[Charge::Mappings as usize], "nothing is mapped")
}

fn a_domain_does_not_destroy_itself(_: &mut Bench) -> Outcome {
    refused(call(Syscall::Destroy, [root::DOMAIN.0]), Error::WrongState)?;
    refused(call(Syscall::CapDelete, [root::DOMAIN.0]), Error::WrongState)?;
    refused(call(Syscall::Destroy, [root::SPACE.0]), Error::WrongState)
}

fn spawning_in_a_domain_needs_its_right(bench: &mut Bench) -> Outcome {
    let child = bench.child(50)?;
    let weak = call(Syscall::CapCopy, [child.domain, DomainRights::INSPECT.bits().into(), 0])?;
    let budget = bench.budget(10)?;
    refused(call(Syscall::ThreadCreate, [root::ACCOUNT.0, weak, budget]), Error::MissingRight)?;
    refused(call(Syscall::Destroy, [weak]), Error::MissingRight)
}
