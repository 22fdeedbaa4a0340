//! Guests: what a virtual processor runs, what makes it leave, and what it cannot reach. Where the processor has no virtual machines
//! there is nothing to see but that.

use super::cases;
use crate::actor::{self, Buffer, Memory};
use crate::bench::{Bench, PRIORITY, SLICE, WINDOW, statistics};
use crate::call::{call, notify, results, until};
use crate::outcome::{Failure, Outcome, holds, refused, same};
use abi::syscall::{MapAccess, RECEIVED_BITS, RECEIVED_MESSAGE, Syscall};
use abi::vcpu::{Segment, VcpuState, code, interrupt, offset};
use abi::{Error, PAGE_SIZE, root};
use alloc::format;
use core::mem::offset_of;

cases![
    a_guest_computes_and_halts,
    a_guest_reaches_only_memory_that_is_mapped_for_it,
    what_only_the_monitor_can_do_is_an_exit,
    an_event_is_delivered_to_the_guest,
    a_guest_is_left_when_it_can_take_an_interrupt,
    a_guest_keeps_its_extended_state,
    a_state_that_no_processor_runs_is_an_exit,
    a_guest_with_interrupts_off_starves_nobody,
    bits_that_are_there_keep_a_guest_from_being_entered,
    a_guest_on_another_processor_leaves_for_bits,
    what_is_unmapped_is_gone_from_a_running_guest,
    a_guest_that_runs_dies_with_its_thread,
    no_domain_runs_in_a_guest_space,
    only_a_guest_has_memory_that_is_writable_and_executable,
    a_thread_has_one_virtual_processor_at_most,
    only_a_virtual_processor_enters_a_guest,
];

/// Guest-physical pages: vectors and data, code, and a page that is not there.
const DATA: u64 = 0;
const CODE: u64 = 0x1000;
const NOWHERE: u64 = 0x3000;
/// Where the handlers of exceptions begin: one byte each.
const HALTS: usize = 0x200;
/// Pages of a guest: those two, root table, page tables and virtual processor.
const PAGES: u64 = 2 + 1 + 3 + 2;
const ALL: u64 = MapAccess::All as u64;

/// Words of the board by which a guest's thread is told what to do and tells what came of it, from the guest's first one on.
const RUNS: usize = 0;
const RESULT: usize = 1;
/// Exits that it has met.
const EXITS: usize = 5;
/// What it waits for.
const GO: usize = 6;
/// How many there are for each guest.
const WORDS: usize = 7;

/// Enters the guest as often as it is told to, and writes down what came of it.
extern "C" fn monitor(first: u64) -> ! {
    let first = first as usize;
    loop {
        while actor::read(first + RUNS) == 0 {
            let _ = call(Syscall::Wait, [actor::read(first + GO), abi::time::NEVER]);
        }
        actor::write(first + RUNS, 0);
        let found = results(Syscall::VcpuRun, []);
        for (place, value) in [found.rax, found.rdi, found.rsi, found.rdx].into_iter().enumerate() {
            actor::write(first + RESULT + place, value);
        }
        actor::add(first + EXITS, 1);
    }
}

/// A guest with one processor.
struct Guest {
    space: u64,
    thread: u64,
    /// Bound to the thread.
    bound: u64,
    /// Tells the thread to enter the guest.
    go: u64,
    state: Buffer,
    memory: Memory,
    code: u64,
    /// Its first word of the board.
    first: usize,
}

fn make_space(bench: &mut Bench) -> Result<Option<(u64, u64)>, Failure> {
    let memory = bench.memory(PAGES)?;
    match call(Syscall::GuestSpaceCreate, [root::ACCOUNT.0, memory, 2]) {
        Ok(space) => {
            call(Syscall::SpaceDonate, [space, memory, 3, PAGES - 3])?;
            Ok(Some((space, memory)))
        }
        Err(Error::NoHardware) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Guest {
    /// In real mode, about to execute `program`. `None` where there are no guests.
    fn new(bench: &mut Bench, program: &[u8]) -> Result<Option<Self>, Failure> {
        let budget = bench.budget(PRIORITY)?;
        Guest::on(bench, budget, 0, program)
    }

    fn on(bench: &mut Bench, budget: u64, number: u64, program: &[u8]) -> Result<Option<Self>, Failure> {
        let (window, first) = (WINDOW + 0x1_0000 * number, WORDS * number as usize);
        let Some((space, memory)) = make_space(bench)? else { return Ok(None) };
        bench.map(memory, window, 2)?;
        call(Syscall::Map, [space, memory, DATA, 0, 1, ALL])?;
        let code = call(Syscall::Map, [space, memory, CODE, 1, 1, ALL])?;
        let own = Memory(window);
        (0..2 * PAGE_SIZE as usize).for_each(|place| own.set_byte(place, 0));
        for (place, byte) in program.iter().enumerate() {
            own.set_byte(CODE as usize + place, *byte);
        }
        // Each exception halts where its vector can be told by.
        for vector in 0..32_usize {
            own.set_byte(4 * vector, vector as u8);
            own.set_byte(4 * vector + 1, (HALTS >> 8) as u8);
            own.set_byte(HALTS + vector, 0xf4);
        }
        let (bound, go) = (bench.notification()?, bench.notification()?);
        let place = bench.next_place();
        let state = actor::buffer(place);
        // It waits to be told.
        actor::write(first + GO, go);
        let thread = bench.thread_on(budget, root::DOMAIN.0, monitor, first as u64)?;
        bench.settle()?;
        call(Syscall::ThreadStop, [thread])?;
        call(Syscall::VcpuCreate, [thread, space])?;
        call(Syscall::ThreadBind, [thread, bound])?;
        call(Syscall::ThreadStart, [thread, actor::code(monitor), actor::stack(place), first as u64])?;
        let guest = Guest { space, thread, bound, go, state, memory: own, code, first };
        guest.reset();
        Ok(Some(guest))
    }

    fn set(&self, place: usize, value: u64) {
        self.state.set_word_at(offset::STATE + place, value);
    }

    fn get(&self, place: usize) -> u64 {
        self.state.word_at(offset::STATE + place)
    }

    fn set_segment(&self, place: usize, segment: Segment) {
        let Segment { selector, attributes, limit, base } = segment;
        self.set(place, u64::from(limit) << 32 | u64::from(attributes) << 16 | u64::from(selector));
        self.set(place + 8, base);
    }

    /// Real mode, at the first instruction of the code page.
    fn reset(&self) {
        (0..size_of::<VcpuState>()).step_by(8).for_each(|place| self.set(place, 0));
        for segment in 0..10 {
            let attributes = [0x93, 0x9b, 0x93, 0x93, 0x93, 0x93, 0, 0x82, 0, 0x8b][segment];
            let segment_at = offset::SEGMENTS + 16 * segment;
            self.set_segment(segment_at, Segment { attributes, limit: 0xffff, ..Segment::default() });
        }
        self.set(offset_of!(VcpuState, cr0), 0x10);
        self.set(offset_of!(VcpuState, rflags), 2);
        self.set(offset_of!(VcpuState, dr6), 0xffff_0ff0);
        self.set(offset_of!(VcpuState, dr7), 0x400);
        self.set(offset::XCR0, 1);
        self.set(general(7), 0x800);
        self.set(offset::RIP, CODE);
    }

    /// Lets the thread enter the guest.
    fn enter(&self) -> Outcome {
        actor::write(self.first + RUNS, 1);
        notify(self.go, 1)?;
        Ok(())
    }

    /// Enters the guest and waits until it is left.
    fn run(&self) -> Result<[u64; 4], Failure> {
        let before = self.exits();
        self.enter()?;
        self.left_after(before)
    }

    /// How often the guest was left.
    fn exits(&self) -> u64 {
        actor::read(self.first + EXITS)
    }

    /// Waits until the guest is left once more than this.
    fn left_after(&self, exits: u64) -> Result<[u64; 4], Failure> {
        holds(until(|| self.exits() != exits), "the guest is left")?;
        Ok(core::array::from_fn(|place| actor::read(self.first + RESULT + place)))
    }

    /// The same, for an exit with this code.
    fn exits_with(&self, wanted: u64) -> Result<[u64; 2], Failure> {
        let [kind, code, info1, info2] = self.run()?;
        if (kind, code) != (RECEIVED_MESSAGE, wanted) {
            let rip = self.get(offset::RIP);
            return Err(Failure::new(format!(
                "left with {kind} {code:#x} ({info1:#x}, {info2:#x}) at {rip:#x}, not {wanted:#x}"
            )));
        }
        same([0, 8, 16].map(|place| self.get(offset::EXIT + place)), [code, info1, info2])?;
        Ok([info1, info2])
    }

    /// Goes on behind an instruction of so many bytes.
    fn skip(&self, bytes: u64) {
        self.set(offset::RIP, self.get(offset::RIP) + bytes);
    }
}

/// Where a general register is.
fn general(register: usize) -> usize {
    offset_of!(VcpuState, general) + 8 * register
}

fn a_guest_computes_and_halts(bench: &mut Bench) -> Outcome {
    // mov ax, 0x1234; inc ax; mov r[bx..bp]; hlt
    let program = [0xb8, 0x34, 0x12, 0x40, 0x01, 0xc3, 0x89, 0xc7, 0xf4];
    let Some(guest) = Guest::new(bench, &program)? else { return Ok(()) };
    let kept = [1, 2, 3, 4, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    kept.into_iter().for_each(|register| guest.set(general(register), 0x1000 + register as u64));
    guest.exits_with(code::HLT)?;
    same(guest.get(offset::RIP), CODE + 8)?;
    same((guest.get(general(0)), guest.get(general(5))), (0x1235, 0x1235))?;
    same(guest.get(general(1)), 0x1001 + 0x1235)?;
    kept.into_iter().skip(1).try_for_each(|register| same(guest.get(general(register)), 0x1000 + register as u64))
}

fn a_guest_reaches_only_memory_that_is_mapped_for_it(bench: &mut Bench) -> Outcome {
    // mov [0x3000], al; mov al, [0x3000]; mov al, [0x10]; hlt
    let program = [0xa2, 0x00, 0x30, 0xa0, 0x00, 0x30, 0xa0, 0x10, 0x00, 0xf4];
    let Some(guest) = Guest::new(bench, &program)? else { return Ok(()) };
    guest.memory.set_byte(0x10, 0x5a);
    let [error, address] = guest.exits_with(code::NESTED_FAULT)?;
    same((error & 0b11, address), (0b10, NOWHERE))?;
    guest.skip(3);
    let [error, address] = guest.exits_with(code::NESTED_FAULT)?;
    same((error & 0b11, address), (0b00, NOWHERE))?;
    // What is there for reading is not written.
    let memory = bench.memory(1)?;
    call(Syscall::Map, [guest.space, memory, NOWHERE, 0, 1, MapAccess::Read as u64])?;
    guest.exits_with(code::HLT)?;
    same(guest.get(general(0)) & 0xff, 0x5a)?;
    guest.set(offset::RIP, CODE);
    let [error, address] = guest.exits_with(code::NESTED_FAULT)?;
    same((error & 0b11, address), (0b11, NOWHERE))
}

fn what_only_the_monitor_can_do_is_an_exit(bench: &mut Bench) -> Outcome {
    // cpuid; rdmsr; out 0x80, al; mov eax, dr0; vmmcall; wbinvd; hlt
    let program = [0x0f, 0xa2, 0x0f, 0x32, 0xe6, 0x80, 0x0f, 0x21, 0xc0, 0x0f, 0x01, 0xd9, 0x0f, 0x09, 0xf4];
    let Some(guest) = Guest::new(bench, &program)? else { return Ok(()) };
    guest.set(general(2), 0x10);
    for (wanted, bytes) in [
        (code::CPUID, 2),
        (code::MSR, 2),
        (code::IOIO, 2),
        (code::READ_DR, 3),
        (code::VMMCALL, 3),
        (code::WBINVD, 2),
        (code::HLT, 1),
    ] {
        let [info, _] = guest.exits_with(wanted)?;
        if wanted == code::IOIO {
            same(info >> 16, 0x80)?;
        }
        guest.skip(bytes);
    }
    Ok(())
}

fn an_event_is_delivered_to_the_guest(bench: &mut Bench) -> Outcome {
    // jmp $; at 0x100: mov bl, 7; hlt
    let Some(guest) = Guest::new(bench, &[0xeb, 0xfe])? else { return Ok(()) };
    for (place, byte) in [0xb3, 0x07, 0xf4].into_iter().enumerate() {
        guest.memory.set_byte(CODE as usize + 0x100 + place, byte);
    }
    // Vector 0x21: offset 0x100 of segment 0x100.
    for (place, byte) in [0x00, 0x01, 0x00, 0x01].into_iter().enumerate() {
        guest.memory.set_byte(4 * 0x21 + place, byte);
    }
    guest.set(offset::EVENT, 1 << 31 | 0x21);
    guest.exits_with(code::HLT)?;
    same((guest.get(general(1)) & 0xff, guest.get(offset::RIP)), (7, 0x102))?;
    same(guest.get(offset::EVENT), 0)
}

fn a_guest_is_left_when_it_can_take_an_interrupt(bench: &mut Bench) -> Outcome {
    // nop; sti; nop; jmp $
    let Some(guest) = Guest::new(bench, &[0x90, 0xfb, 0x90, 0xeb, 0xfe])? else { return Ok(()) };
    guest.set(offset::INTERRUPTS, interrupt::WINDOW);
    guest.exits_with(code::WINDOW)?;
    same(guest.get(offset_of!(VcpuState, rflags)) & 1 << 9, 1 << 9)?;
    holds(guest.get(offset::RIP) >= CODE + 2, "interrupts are on in the guest")
}

fn a_guest_keeps_its_extended_state(bench: &mut Bench) -> Outcome {
    // fninit; fild word [0x30]; movups xmm3, [0x40]; hlt; fistp word [0x30]; movups [0x40], xmm3; hlt
    let program = [
        0xdb, 0xe3, 0xdf, 0x06, 0x30, 0x00, 0x0f, 0x10, 0x1e, 0x40, 0x00, 0xf4, //
        0xdf, 0x1e, 0x30, 0x00, 0x0f, 0x11, 0x1e, 0x40, 0x00, 0xf4,
    ];
    let Some(first) = Guest::new(bench, &program)? else { return Ok(()) };
    let budget = bench.budget(PRIORITY)?;
    let Some(second) = Guest::on(bench, budget, 1, &program)? else { return Ok(()) };
    let fill = |guest: &Guest, value: u8| {
        guest.memory.set_byte(0x30, value);
        (0x40..0x50).for_each(|place| guest.memory.set_byte(place, value));
    };
    for (guest, value) in [(&first, 0x11), (&second, 0x22)] {
        guest.set(offset_of!(VcpuState, cr4), 1 << 9);
        fill(guest, value);
        guest.exits_with(code::HLT)?;
        same(guest.get(offset::RIP), CODE + 11)?;
        fill(guest, 0);
    }
    for (guest, value) in [(&first, 0x11), (&second, 0x22)] {
        guest.skip(1);
        guest.exits_with(code::HLT)?;
        holds(guest.memory.byte(0x30) == value && guest.memory.is_all(0x40, 16, value), "its registers are its own")?;
    }
    Ok(())
}

fn a_state_that_no_processor_runs_is_an_exit(bench: &mut Bench) -> Outcome {
    let Some(guest) = Guest::new(bench, &[0xf4])? else { return Ok(()) };
    // Not write through, but cached.
    guest.set(offset_of!(VcpuState, cr0), 0x10 | 1 << 29);
    let [kind, code, ..] = guest.run()?;
    // QEMU reports it in 32 bits.
    same((kind, code & 0xffff_ffff), (RECEIVED_MESSAGE, code::INVALID & 0xffff_ffff))?;
    for place in (0..offset::EXIT).step_by(8) {
        guest.set(place, u64::MAX);
    }
    guest.run()?;
    guest.reset();
    guest.exits_with(code::HLT)?;
    Ok(())
}

fn a_guest_with_interrupts_off_starves_nobody(bench: &mut Bench) -> Outcome {
    // cli; inc byte [0x20]; jmp to that
    let Some(guest) = Guest::new(bench, &[0xfa, 0xfe, 0x06, 0x20, 0x00, 0xeb, 0xfa])? else { return Ok(()) };
    let exits = guest.exits();
    guest.enter()?;
    holds(guest.is_counting(), "it runs, and has its interrupts off")?;
    let beside = bench.thread(counter, 0)?;
    holds(until(|| actor::read(COUNTED) > 1000), "another thread of the same priority runs")?;
    same(guest.exits(), exits)?;
    call(Syscall::Destroy, [beside])?;
    notify(guest.bound, 0b100)?;
    same(guest.left_after(exits)?, [RECEIVED_BITS, 0b100, 0, 0])?;
    holds([CODE + 1, CODE + 5].contains(&guest.get(offset::RIP)), "it is where it was")
}

/// What [`counter`] has counted.
const COUNTED: usize = 2 * WORDS;

extern "C" fn counter(_: u64) -> ! {
    loop {
        actor::add(COUNTED, 1);
    }
}

fn bits_that_are_there_keep_a_guest_from_being_entered(bench: &mut Bench) -> Outcome {
    let Some(guest) = Guest::new(bench, &[0xf4])? else { return Ok(()) };
    notify(guest.bound, 0b10)?;
    same(guest.run()?, [RECEIVED_BITS, 0b10, 0, 0])?;
    same(guest.get(offset::RIP), CODE)?;
    guest.exits_with(code::HLT)?;
    Ok(())
}

/// A guest that spins on another processor, if there is one.
fn elsewhere(bench: &mut Bench) -> Result<Option<Guest>, Failure> {
    if statistics()?.processors_used < 2 {
        return Ok(None);
    }
    let budget = call(Syscall::BudgetCreate, [root::ACCOUNT.0, PRIORITY, SLICE, SLICE, 1])?;
    // inc byte [0x20]; jmp to it
    Guest::on(bench, budget, 0, &[0xfe, 0x06, 0x20, 0x00, 0xeb, 0xfa])
}

impl Guest {
    fn is_counting(&self) -> bool {
        let before = self.memory.byte(0x20);
        until(|| self.memory.byte(0x20) != before)
    }
}

fn a_guest_on_another_processor_leaves_for_bits(bench: &mut Bench) -> Outcome {
    let Some(guest) = elsewhere(bench)? else { return Ok(()) };
    for round in 1..20 {
        let exits = guest.exits();
        guest.enter()?;
        holds(guest.is_counting(), "it runs")?;
        notify(guest.bound, round)?;
        same(guest.left_after(exits)?, [RECEIVED_BITS, round, 0, 0])?;
    }
    Ok(())
}

fn what_is_unmapped_is_gone_from_a_running_guest(bench: &mut Bench) -> Outcome {
    let Some(guest) = elsewhere(bench)? else { return Ok(()) };
    let exits = guest.exits();
    guest.enter()?;
    holds(guest.is_counting(), "it runs")?;
    call(Syscall::Unmap, [guest.space, guest.code])?;
    let [kind, code, _, address] = guest.left_after(exits)?;
    same((kind, code, address & !0xfff), (RECEIVED_MESSAGE, code::NESTED_FAULT, CODE))
}

fn a_guest_that_runs_dies_with_its_thread(bench: &mut Bench) -> Outcome {
    let guest = match elsewhere(bench)? {
        Some(guest) => guest,
        None => match Guest::new(bench, &[0xfe, 0x06, 0x20, 0x00, 0xeb, 0xfa])? {
            Some(guest) => guest,
            None => return Ok(()),
        },
    };
    guest.enter()?;
    holds(guest.is_counting(), "it runs")?;
    refused(call(Syscall::Destroy, [guest.space]), Error::WrongState)?;
    call(Syscall::Destroy, [guest.thread])?;
    let before = guest.memory.byte(0x20);
    crate::call::sleep(5_000_000);
    same(guest.memory.byte(0x20), before)?;
    call(Syscall::Destroy, [guest.space])?;
    Ok(())
}

fn no_domain_runs_in_a_guest_space(bench: &mut Bench) -> Outcome {
    let Some((space, _)) = make_space(bench)? else { return Ok(()) };
    refused(call(Syscall::DomainCreate, [root::ACCOUNT.0, space, 1, 16, 0, 0]), Error::WrongState)
}

fn only_a_guest_has_memory_that_is_writable_and_executable(bench: &mut Bench) -> Outcome {
    let memory = bench.memory(1)?;
    refused(call(Syscall::Map, [root::SPACE.0, memory, WINDOW, 0, 1, ALL]), Error::BadArgument)?;
    let Some((space, _)) = make_space(bench)? else { return Ok(()) };
    let mapping = call(Syscall::Map, [space, memory, 0, 0, 1, ALL])?;
    refused(call(Syscall::Map, [space, memory, 0, 0, 1, ALL]), Error::AlreadyMapped)?;
    call(Syscall::Unmap, [space, mapping])?;
    Ok(())
}

fn a_thread_has_one_virtual_processor_at_most(bench: &mut Bench) -> Outcome {
    let (thread, _) = bench.stopped_thread(root::DOMAIN.0, PRIORITY)?;
    let other = bench.space()?;
    refused(call(Syscall::VcpuCreate, [thread, other]), Error::WrongState)?;
    let memory = bench.memory(1 + 1 + 4)?;
    let Ok(space) = call(Syscall::GuestSpaceCreate, [root::ACCOUNT.0, memory, 0]) else { return Ok(()) };
    call(Syscall::SpaceDonate, [space, memory, 1, 1])?;
    let found = results(Syscall::VcpuCreate, [thread, space]);
    same((Error::from_register(found.rax), found.rdi), (Err(Error::NeedTables), 1))?;
    call(Syscall::SpaceDonate, [space, memory, 2, 4])?;
    refused(call(Syscall::VcpuCreate, [root::THREAD.0, space]), Error::WrongState)?;
    call(Syscall::VcpuCreate, [thread, space])?;
    refused(call(Syscall::VcpuCreate, [thread, space]), Error::InUse)
}

fn only_a_virtual_processor_enters_a_guest(_: &mut Bench) -> Outcome {
    refused(call(Syscall::VcpuRun, []), Error::WrongState)
}
