//! What a hostile thread does: system calls that make no sense, or nearly, and code that is none.
//!
//! It runs in a domain of its own that has nothing of the suite but its code. It uses no variables outside of its stack
//! and its [`Record`].

use super::place::{self, GIVEN, Record};
use crate::actor::{Buffer, Memory};
use crate::bench::INTERFACE;
use crate::call::{now, raw};
use crate::random::Random;
use abi::boot::{DIRECT_MAP_BASE, KERNEL_BASE};
use abi::message::{MAX_CAPS, MAX_LEASES, MAX_WORDS, MessageInfo};
use abi::syscall::{RECEIVED_MESSAGE, Syscall};
use abi::time::NOW;
use abi::{Error, Handle, PAGE_SIZE, USER_END};
use core::arch::asm;
use core::sync::atomic::Ordering::Relaxed;
use userlib::sys;

/// Outcomes that are told apart: success, and the errors by their codes.
pub(super) const OUTCOMES: usize = 32;
/// How many of the handles that calls have returned it remembers.
const REMEMBERED: usize = 16;
/// Bytes that a leap writes before it jumps to the first of them.
const LEAP_BYTES: usize = 32;

struct Attacker<'a> {
    record: &'a Record,
    thread: u64,
    random: Random,
    given: [u64; GIVEN],
    remembered: [u64; REMEMBERED],
    next: usize,
    /// Of the call that was taken last.
    token: u64,
}

/// Addresses at which something begins or ends.
fn edges() -> [u64; 16] {
    [
        0,
        PAGE_SIZE,
        0x20_0000,
        place::scratch().address,
        place::scratch().address + place::SCRATCH_PAGES * PAGE_SIZE,
        place::code_to_run().address,
        place::code_to_run().address + PAGE_SIZE,
        place::stack(0).address,
        place::buffer(0).address,
        1 << 32,
        USER_END,
        1 << 47,
        !(1 << 47),
        DIRECT_MAP_BASE,
        KERNEL_BASE,
        u64::MAX,
    ]
}

impl Attacker<'_> {
    /// A system call, counted.
    fn call(&mut self, number: u64, arguments: [u64; 6]) -> Result<u64, Error> {
        let call = Syscall::from_number(number);
        let result = match call {
            Some(call @ (Syscall::Call | Syscall::Receive | Syscall::ReplyReceive)) => {
                let mut words = core::array::from_fn(|place| arguments[place % 6]);
                let [one, two, three, four, five, _] = arguments;
                // SAFETY: whatever it lends or receives, it is this domain that bears it.
                let results = unsafe { sys::message(call, [one, two, three, four, five], &mut words) };
                if call != Syscall::Call && results.rax == RECEIVED_MESSAGE {
                    self.token = results.rdx;
                }
                results.value()
            }
            Some(Syscall::ThreadExit | Syscall::ThreadPanic) => {
                // They do not return.
                self.count(call, 0);
                raw(number, arguments).0.value()
            }
            _ => raw(number, arguments).0.value(),
        };
        self.count(call, result.err().map_or(0, |error| error as usize));
        if let Ok(value) = result
            && value > u64::from(u16::MAX)
        {
            self.remembered[self.next % REMEMBERED] = value;
            self.next += 1;
        }
        result
    }

    fn count(&self, call: Option<Syscall>, outcome: usize) {
        let place = call.and_then(|call| Syscall::ALL.iter().position(|other| *other == call));
        let row = &self.record.results[place.unwrap_or(place::CALLS - 1)];
        if let Some(count) = row.get(outcome) {
            count.store(count.load(Relaxed).wrapping_add(1), Relaxed);
        }
    }

    /// A handle: given, returned, of another generation, forged, or none at all.
    fn handle(&mut self) -> u64 {
        let given = self.random.one_of(&self.given);
        let remembered = self.random.one_of(&self.remembered);
        match self.random.below(8) {
            0..=2 => given,
            3 => remembered,
            4 => given.wrapping_add(1 << 16),
            5 => remembered.wrapping_sub(1 << 16),
            6 => Handle::new(self.random.below(80) as u16, 1 + self.random.below(3) as u32).0,
            _ => self.random.next(),
        }
    }

    /// An address at an edge or a few bytes from one, in the scratch pages, or anywhere.
    fn address(&mut self) -> u64 {
        let near = self.random.one_of(&[0, 1, 4, 7, 8, 16, 63, 64, 160, 4095, 4096]);
        match self.random.below(8) {
            0..=2 => place::scratch().address + self.random.below(place::SCRATCH_PAGES * PAGE_SIZE),
            3 => self.random.one_of(&edges()).wrapping_add(near),
            4 | 5 => self.random.one_of(&edges()).wrapping_sub(near),
            6 => self.random.next() & 0x0000_7fff_ffff_f000,
            _ => self.random.next(),
        }
    }

    /// A length or a count: small, around a page, huge, or such that it wraps around.
    fn length(&mut self, address: u64) -> u64 {
        match self.random.below(8) {
            0..=2 => self.random.below(16),
            3 => self.random.one_of(&[64, 120, 4095, 4096, 4097, 8192, 0xffff, 0x1_0000]),
            4 => self.random.one_of(&[1 << 31, 1 << 32, 1 << 47, 1 << 62, 1 << 63, u64::MAX, u64::MAX - 4095]),
            5 => 0u64.wrapping_sub(address),
            6 => 1 << self.random.below(64),
            _ => self.random.next(),
        }
    }

    fn argument(&mut self, address: u64) -> u64 {
        match self.random.below(8) {
            0..=2 => self.handle(),
            3 | 4 => address,
            5 => self.length(address),
            6 => self.random.below(0x200),
            _ => self.address(),
        }
    }

    /// Mostly now, often soon, seldom whatever.
    fn deadline(&mut self) -> u64 {
        match self.random.below(64) {
            0..=55 => NOW,
            56..=62 => now() + self.random.below(200_000),
            _ => self.random.next(),
        }
    }

    /// Makes arguments of a message mean something, more often than not.
    fn make_sense(&mut self, call: Syscall, arguments: &mut [u64; 6]) {
        let info = MessageInfo::new(self.random.next() as u32, self.random.below(MAX_WORDS as u64 + 2) as u8)
            .with_caps(self.random.one_of(&[0, 0, 1, 4, 5]) as u8)
            .with_leases(self.random.one_of(&[0, 1, 4, 7]) as u8);
        if !self.random.once_in(4) {
            match call {
                Syscall::Call => (arguments[1], arguments[3]) = (info.0, INTERFACE),
                Syscall::Receive => arguments[1] = info.0 % 5,
                Syscall::Reply => arguments[1] = info.with_leases(0).0,
                Syscall::ReplyReceive => (arguments[1], arguments[4]) = (info.with_leases(0).0, info.0 % 5),
                _ => {}
            }
        }
        if !self.random.once_in(4) {
            match call {
                Syscall::Reply | Syscall::ReplyFault | Syscall::LeaseRead | Syscall::LeaseWrite => {
                    arguments[0] = self.token;
                }
                Syscall::LeaseInfo | Syscall::Forward => arguments[0] = self.token,
                Syscall::ReplyReceive => arguments[3] = self.token,
                _ => {}
            }
            if matches!(call, Syscall::LeaseRead | Syscall::LeaseWrite) {
                arguments[1] &= 3;
            }
        }
    }

    fn random_call(&mut self) {
        let number = match self.random.below(16) {
            0 => self.random.next(),
            1 => self.random.below(0x100),
            _ => {
                let place = self.random.below(Syscall::ALL.len() as u64) as usize;
                Syscall::ALL.get(place).map_or(0, |call| *call as u64)
            }
        };
        let address = self.address();
        let mut arguments = core::array::from_fn(|_| self.argument(address));
        match Syscall::from_number(number) {
            // They end the thread, which starts anew.
            Some(Syscall::ThreadExit | Syscall::ThreadPanic) if !self.random.once_in(64) => return,
            Some(call @ (Syscall::Call | Syscall::Receive | Syscall::ReplyReceive)) => {
                arguments[2] = self.deadline();
                self.make_sense(call, &mut arguments);
            }
            Some(call) if (call as u64) < Syscall::CapCopy as u64 && call != Syscall::Wait => {
                self.make_sense(call, &mut arguments);
            }
            Some(Syscall::Wait) => arguments[1] = self.deadline(),
            _ => {}
        }
        let _ = self.call(number, arguments);
    }

    /// Puts handles, addresses and lengths of all kinds into the message buffer.
    fn fill_buffer(&mut self) {
        let buffer = Buffer(place::buffer(self.thread).address);
        for place in 0..MAX_CAPS {
            let handle = self.handle();
            buffer.set_cap_out(place, handle);
        }
        for place in 0..MAX_LEASES {
            let address = self.address();
            let (length, access) = (self.length(address), self.random.next());
            buffer.set_lease(place, address, length & abi::message::Lease::LENGTH, access & 3 << 62);
        }
        let word = self.random.next();
        buffer.set_word(word as usize % MAX_WORDS, word);
    }

    /// Copies, deletes, revokes and uses in quick succession, while the domain's other thread does the same.
    fn storm(&mut self) {
        let own = self.random.one_of(&self.given);
        let mut copies = [0; 8];
        for copy in &mut copies {
            let rights = self.random.below(0x1_0000);
            *copy = self.call(Syscall::CapCopy as u64, [own, rights, 0, 0, 0, 0]).unwrap_or(0);
        }
        for _ in 0..8 {
            let copy = self.random.one_of(&copies);
            let other = self.random.one_of(&copies);
            let number = self.random.one_of(&[
                Syscall::CapDelete as u64,
                Syscall::CapRevoke as u64,
                Syscall::CapInfo as u64,
                Syscall::Notify as u64,
                Syscall::CapCopy as u64,
                Syscall::MemorySplit as u64,
                Syscall::CapGrant as u64,
            ]);
            let _ = self.call(number, [copy, other, 1, 0, 0, 0]);
        }
        let _ = self.call(Syscall::CapRevoke as u64, [own, 0, 0, 0, 0, 0]);
        for copy in copies {
            let _ = self.call(Syscall::CapDelete as u64, [copy, 0, 0, 0, 0, 0]);
        }
    }

    /// A call that would be right if nobody had taken away what it needs, which this domain's other thread may do just
    /// then: `given` is in the order in which `Offender::gifts` gives.
    fn sensible(&mut self) {
        let [account, memory, space, domain, endpoint, notification, meeting, own, thread, ..] = self.given;
        let (page, pages) = (1 + self.random.below(15), 1 + self.random.below(3));
        let address = 0x5000_0000 + self.random.below(8) * PAGE_SIZE;
        let access = self.random.one_of(&[1, 3, 5]);
        let all = u64::from(u16::MAX);
        let info = MessageInfo::new(7, 8).with_caps(2).with_leases(2).0;
        let id = self.random.below(64);
        let deadline = self.deadline();
        let (number, arguments) = match self.random.below(24) {
            0 => (Syscall::EndpointCreate, [account, INTERFACE, 30, 50, 0, 0]),
            1 => (Syscall::NotificationCreate, [account, 0, 0, 0, 0, 0]),
            2 => (Syscall::SpaceCreate, [account, memory, page, 0, 0, 0]),
            3 => (Syscall::MemorySplit, [memory, page, pages, all, 0, 0]),
            4 | 5 => (Syscall::SpaceDonate, [space, memory, page, pages, 0, 0]),
            6..=9 => (Syscall::Map, [space, memory, address, page, pages, access]),
            10 => (Syscall::Unmap, [space, id, 0, 0, 0, 0]),
            11 => (Syscall::DomainCreate, [account, space, 20, 16, 0, 0]),
            12 => (Syscall::ThreadBuffer, [thread, memory, page, address, 0, 0]),
            13 => (Syscall::ThreadBind, [thread, notification, 0, 0, 0, 0]),
            14 if id & 1 == 0 => (Syscall::EndpointWatch, [endpoint, notification, 1, 0, 0, 0]),
            14 => (Syscall::EndpointBind, [endpoint, notification, 1, 0, 0, 0]),
            15 => (Syscall::CapGrant, [domain, memory, all, 0, 0, 0]),
            16 => (Syscall::CapGrant, [own, endpoint, all, 1 + id, 0, 0]),
            17 => (Syscall::CapRevoke, [memory, 0, 0, 0, 0, 0]),
            18 => (Syscall::Notify, [notification, 1 << id, 0, 0, 0, 0]),
            19 => (Syscall::Wait, [notification, deadline, 0, 0, 0, 0]),
            20 => (Syscall::ThreadRead, [thread, place::scratch().address, 0, 0, 0, 0]),
            21 => (Syscall::Receive, [meeting, 4, deadline, 0, 0, 0]),
            _ => {
                let buffer = Buffer(place::buffer(self.thread).address);
                buffer.set_cap_out(0, endpoint);
                buffer.set_cap_out(1, notification);
                buffer.set_lease(0, place::scratch().address, PAGE_SIZE, 3 << 62);
                buffer.set_lease(1, place::scratch().address + 64, 100, 1 << 62);
                (Syscall::Call, [meeting, info, now() + 300_000, INTERFACE, 0, 0])
            }
        };
        let _ = self.call(number as u64, arguments);
        if number == Syscall::Receive && self.token != 0 {
            for lease in 0..2 {
                let there = place::scratch().address + self.random.below(PAGE_SIZE);
                let length = self.random.below(PAGE_SIZE);
                let _ = self.call(Syscall::LeaseRead as u64, [self.token, lease, 0, there, length, 0]);
                let _ = self.call(Syscall::LeaseWrite as u64, [self.token, lease, length, there, 64, 0]);
            }
            let end = self.random.one_of(&[Syscall::Reply as u64, Syscall::ReplyFault as u64, Syscall::Reply as u64]);
            let _ = self.call(end, [self.token, MessageInfo::new(1, 6).0, 0, 0, 0, 0]);
        }
    }

    /// A capability for itself: its domain in its domain's table, its own space, its own thread.
    fn self_reference(&mut self) {
        let (one, other) = (self.random.one_of(&self.given), self.random.one_of(&self.given));
        let number = self.random.one_of(&[
            Syscall::CapGrant as u64,
            Syscall::CapMove as u64,
            Syscall::CapInspect as u64,
            Syscall::ThreadStop as u64,
            Syscall::ThreadRead as u64,
            Syscall::ThreadBuffer as u64,
            Syscall::ThreadBind as u64,
            Syscall::EndpointBind as u64,
            Syscall::EndpointWatch as u64,
            Syscall::SpaceDonate as u64,
            Syscall::Map as u64,
            Syscall::Unmap as u64,
            Syscall::Destroy as u64,
        ]);
        let address = self.address();
        let page = self.random.below(20);
        let _ = self.call(number, [one, other, address & !(PAGE_SIZE - 1), page, 1 + page % 3, 3]);
    }

    /// Every byte before and behind an edge as the target of a call that writes or reads memory.
    fn edge(&mut self) {
        let edge = self.random.one_of(&edges());
        let number = self.random.one_of(&[
            Syscall::ThreadRead as u64,
            Syscall::Statistics as u64,
            Syscall::AccountInfo as u64,
            Syscall::AccountCreate as u64,
            Syscall::LogRead as u64,
            Syscall::LeaseRead as u64,
            Syscall::LeaseWrite as u64,
            Syscall::ThreadLocal as u64,
        ]);
        let handle = self.handle();
        for offset in 0..16u64 {
            let address = edge.wrapping_add(offset).wrapping_sub(8);
            let length = self.length(address);
            let _ = match Syscall::from_number(number) {
                Some(Syscall::LeaseRead | Syscall::LeaseWrite) => {
                    self.call(number, [self.token, offset & 3, length, address, length, 0])
                }
                Some(Syscall::ThreadLocal) => self.call(number, [address, 0, 0, 0, 0, 0]),
                _ => self.call(number, [handle, address, length, offset, 0, 0]),
            };
        }
    }

    /// Runs bytes that are no program, beginning with every register zero.
    fn leap(&mut self) -> ! {
        /// First bytes that lead to more than an invalid opcode: system calls, interrupts, privileged instructions,
        /// string instructions, far transfers, prefixes, segments, stack.
        const INTERESTING: [u64; 32] = [
            0x050f, 0x80cd, 0x010f, 0x300f, 0x320f, 0x220f, 0x230f, 0x0b0f, 0xf4, 0xfa, 0xcf48, 0xcb48, 0x2cff, 0x1cff,
            0xa4f3, 0xabf3, 0x6ef3, 0x9d, 0xd08e, 0xd88e, 0xe88e, 0xc766, 0xf0, 0x64, 0x65, 0xcc, 0xfeeb, 0xc3, 0xae0f,
            0xc70f, 0x5c, 0xc8,
        ];
        self.record.leaps.store(self.record.leaps.load(Relaxed) + 1, Relaxed);
        let written = Memory(place::code_to_write().address);
        let first = self.random.below(PAGE_SIZE - 64);
        for offset in 0..LEAP_BYTES {
            let byte = match self.random.below(4) {
                0 => self.random.one_of(&INTERESTING),
                _ => self.random.next() >> 32,
            };
            written.set_byte(first as usize + offset, byte as u8);
            if byte <= 0xffff && byte > 0xff {
                written.set_byte(first as usize + offset + 1, (byte >> 8) as u8);
            }
        }
        spare_the_emulator(written, first as usize);
        let entry = place::code_to_run().address + first;
        // SAFETY: wherever it leads, it is this thread's own domain that bears it.
        unsafe {
            asm!(
                "mov rsp, {stack}",
                "push rdi",
                "xor eax, eax", "xor ebx, ebx", "xor ecx, ecx", "xor edx, edx", "xor esi, esi", "xor edi, edi",
                "xor ebp, ebp", "xor r8d, r8d", "xor r9d, r9d", "xor r10d, r10d", "xor r11d, r11d", "xor r12d, r12d",
                "xor r13d, r13d", "xor r14d, r14d", "xor r15d, r15d",
                "ret",
                stack = in(reg) place::stack_pointer(self.thread) - 64,
                in("rdi") entry,
                options(noreturn)
            )
        }
    }
}

/// The body of a hostile thread, with the address of its record.
pub(super) extern "C" fn attack(record: u64) -> ! {
    // SAFETY: the first thread has mapped a record there for as long as this thread lives; all in it is atomic.
    let record: &Record = unsafe { &*core::ptr::with_exposed_provenance(record as usize) };
    let mut attacker = Attacker {
        record,
        thread: record.thread.load(Relaxed),
        random: Random::new(record.seed.load(Relaxed)),
        given: core::array::from_fn(|place| record.given[place].load(Relaxed)),
        remembered: [0; REMEMBERED],
        next: 0,
        token: 0,
    };
    loop {
        record.progress.store(record.progress.load(Relaxed).wrapping_add(1), Relaxed);
        match attacker.random.below(256) {
            0 => attacker.leap(),
            1..=15 => attacker.fill_buffer(),
            16..=23 => attacker.storm(),
            24..=39 => attacker.self_reference(),
            40..=47 => attacker.edge(),
            48..=127 if attacker.given[0] != 0 => attacker.sensible(),
            _ => attacker.random_call(),
        }
    }
}

/// What a hostile thread does first of all: a breakpoint, by which the first thread learns the number under which the
/// kernel speaks of it.
#[unsafe(naked)]
pub(super) extern "C" fn greet(_: u64) -> ! {
    core::arch::naked_asm!("int3", "2:", "jmp 2b")
}

/// Takes the lock prefix from bit instructions in the code that was written from `first` on. Where their operand is a
/// register this is an invalid opcode, but QEMU 7.2 ends with `tcg fatal error` when it translates it.
fn spare_the_emulator(code: Memory, first: usize) {
    const LOCK: u8 = 0xf0;
    const NO_OPERATION: u8 = 0x90;
    /// Second bytes of `bt`, `bts`, `btr`, `btc` and of their group with an immediate operand; the first is 0x0f.
    const BIT_INSTRUCTIONS: [u8; 5] = [0xa3, 0xab, 0xb3, 0xbb, 0xba];
    /// Bytes of an instruction that can precede these two.
    const PREFIXES: usize = 13;
    // Old code may stand on both sides of the new.
    for place in first.saturating_sub(1)..first + LEAP_BYTES + PREFIXES {
        if code.byte(place) == 0x0f && BIT_INSTRUCTIONS.contains(&code.byte(place + 1)) {
            for prefix in place.saturating_sub(PREFIXES)..place {
                if code.byte(prefix) == LOCK {
                    code.set_byte(prefix, NO_OPERATION);
                }
            }
        }
    }
}
