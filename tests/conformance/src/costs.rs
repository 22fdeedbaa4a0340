//! What the kernel's work costs: guest instructions of one round, everything included that a program does for it.
//!
//! Runs in a machine that counts instructions (QEMU's `-icount shift=0,sleep=off`, one processor), where a tick of the
//! time-stamp counter is an instruction. Of many rounds the shortest counts: the machine's timer lengthens some. Each work
//! writes a line `cost NAME N`, and a line `middle NAME N` with the median, which counts where ticks are time.

use crate::actor::{self, Body};
use crate::bench::{Bench, INTERFACE, LEVEL, PRIORITY, WINDOW};
use crate::call::{Received, ask, call, notify, raw, receive, reply_receive, wait};
use crate::cases::{Case, device};
use crate::console::print;
use crate::instructions::{fewest, fewest_of, middle, ticks};
use crate::outcome::{Failure, refused, same};
use abi::message::{Lease, MessageInfo, REGISTER_WORDS};
use abi::syscall::{MapAccess, Syscall};
use abi::time::NEVER;
use abi::{Error, Handle, PAGE_SIZE, root};
use userlib::sys;

/// Bytes that are lent.
const LENT: usize = PAGE_SIZE as usize;
/// A number that no system call has.
const NO_CALL: u64 = 0x7fff;

/// Words of the board: what the other domain of a ping-pong waits for, and what it sets.
const PING: usize = 0;
const PONG: usize = 1;

/// Lists works as cases.
macro_rules! works {
    ($($name:literal: $work:expr),* $(,)?) => {
        /// The works.
        pub(crate) const CASES: &[Case] = &[$(Case { name: $name, run: |bench| {
            let cost = $work(bench)?;
            print(format_args!("cost {} {cost}\nmiddle {} {}\n", $name, $name, middle()));
            Ok(())
        } }),*];
    };
}

works! {
    "ipc-call-0": |bench| round_trip(bench, 0),
    "ipc-call-4": |bench| round_trip(bench, 4),
    "ipc-call-6": |bench| round_trip(bench, 6),
    "ipc-call-16": |bench| round_trip(bench, 16),
    "ipc-call-64": |bench| round_trip(bench, 64),
    "ipc-call-120": |bench| round_trip(bench, 120),
    "ipc-call-lease-4096": lease,
    "notify-ping-pong": ping_pong,
    "ipc-refused-number": refused_number,
    "ipc-refused-handle": refused_handle,
    "map-unmap-4096": map_and_unmap,
    "irq-to-driver": interrupt,
}

/// An endpoint that a thread of another domain serves.
fn server(bench: &mut Bench, body: Body) -> Result<u64, Failure> {
    let endpoint = bench.endpoint()?;
    let child = bench.child(LEVEL)?;
    let there = call(Syscall::CapGrant, [child.domain, endpoint, u16::MAX.into(), 0])?;
    bench.thread_at(child.domain, PRIORITY, body, there)?;
    Ok(endpoint)
}

/// Answers with as many words as came, and the same ones.
extern "C" fn echo(endpoint: u64) -> ! {
    let endpoint = Handle(endpoint);
    let mut words = [0; REGISTER_WORDS];
    let mut received = sys::receive(endpoint, 0, NEVER, &mut words);
    loop {
        let Ok(sys::Received::Message { info, token, .. }) = received else { userlib::thread::exit(1) };
        let info = MessageInfo::new(0, info.words() as u8);
        received = sys::reply_receive(endpoint, info, NEVER, token, 0, &mut words);
    }
}

/// A call without words to a domain that answers, to be measured again and again.
pub(crate) struct CallCost(u64);

impl CallCost {
    /// Makes the other domain.
    pub(crate) fn new(bench: &mut Bench) -> Result<Self, Failure> {
        server(bench, echo).map(CallCost)
    }

    /// What one costs.
    pub(crate) fn measure(&self) -> Result<u64, Failure> {
        let mut words = [0; REGISTER_WORDS];
        fewest(|| {
            ask(self.0, MessageInfo::new(7, 0), NEVER, INTERFACE, &mut words)?;
            Ok(())
        })
    }
}

/// A call with so many words and its answer with as many.
fn round_trip(bench: &mut Bench, count: usize) -> Result<u64, Failure> {
    let endpoint = server(bench, echo)?;
    let (endpoint, info) = (Handle(endpoint), MessageInfo::new(7, count as u8));
    fewest(|| {
        let mut words = [1; REGISTER_WORDS];
        for place in REGISTER_WORDS..count {
            actor::own_buffer().set_word(place, place as u64);
        }
        // SAFETY: nothing is lent.
        unsafe { sys::call(endpoint, info, NEVER, INTERFACE, &mut words) }?;
        Ok(())
    })
}

/// Reads all that is lent.
extern "C" fn reader(endpoint: u64) -> ! {
    let (mut words, mut copy) = ([0; REGISTER_WORDS], [0_u8; LENT]);
    let mut received = receive(endpoint, 0, NEVER, &mut words);
    loop {
        let Ok(Received::Message { token, .. }) = received else { userlib::thread::exit(1) };
        let _ = call(Syscall::LeaseRead, [token, 0, 0, copy.as_mut_ptr() as u64, LENT as u64]);
        words[0] = u64::from(copy[LENT - 1]);
        received = reply_receive(endpoint, MessageInfo::new(0, 1), token, &mut words);
    }
}

/// A call that lends 4 KiB, of which the server copies every byte.
fn lease(bench: &mut Bench) -> Result<u64, Failure> {
    let endpoint = server(bench, reader)?;
    let bytes = [0x5a_u8; LENT];
    let mut words = [0; REGISTER_WORDS];
    fewest(|| {
        actor::own_buffer().set_lease(0, bytes.as_ptr() as u64, LENT as u64, Lease::READ);
        ask(endpoint, MessageInfo::new(7, 0).with_leases(1), NEVER, INTERFACE, &mut words)?;
        same(words[0], 0x5a)
    })
}

extern "C" fn pong(_: u64) -> ! {
    let (ping, pong) = (actor::read(PING), actor::read(PONG));
    loop {
        let _ = wait(ping, NEVER);
        let _ = notify(pong, 1);
    }
}

/// A notification to another domain and one back: four system calls.
fn ping_pong(bench: &mut Bench) -> Result<u64, Failure> {
    let (ping, back) = (bench.notification()?, bench.notification()?);
    let child = bench.child(LEVEL)?;
    for (place, bits) in [(PING, ping), (PONG, back)] {
        actor::write(place, call(Syscall::CapGrant, [child.domain, bits, u16::MAX.into(), 0])?);
    }
    bench.thread_at(child.domain, PRIORITY, pong, 0)?;
    fewest(|| {
        notify(ping, 1)?;
        same(wait(back, NEVER)?, 1)
    })
}

/// More urgent than whoever is interrupted.
const DRIVER_PRIORITY: u64 = 255;

/// Words of the board: when the driver was there after an interrupt, and what it holds.
const AFTER: usize = 0;
const BITS: usize = 1;
const LINE: usize = 2;

/// A driver, as far as an interrupt is concerned.
extern "C" fn driver(_: u64) -> ! {
    let (bits, line) = (actor::read(BITS), actor::read(LINE));
    loop {
        let _ = call(Syscall::InterruptAck, [line]);
        let _ = wait(bits, NEVER);
        actor::write(AFTER, ticks());
    }
}

/// From an interrupt that meets a program of another domain until the driver's thread, which waits for it, executes its first
/// instruction. What the program does between two looks at the counter, a few instructions, is counted too.
fn interrupt(bench: &mut Bench) -> Result<u64, Failure> {
    let (line, bits) = device::timer(bench)?;
    let child = bench.child(LEVEL)?;
    for (place, handle) in [(BITS, bits), (LINE, line)] {
        actor::write(place, call(Syscall::CapGrant, [child.domain, handle, u16::MAX.into(), 0])?);
    }
    bench.thread_at(child.domain, DRIVER_PRIORITY, driver, 0)?;
    fewest_of(|| {
        actor::write(AFTER, 0);
        device::start_timer(TICKS)?;
        let (mut before, mut now) = (ticks(), ticks());
        while actor::read(AFTER) == 0 {
            before = now;
            now = ticks();
        }
        Ok(actor::read(AFTER) - before)
    })
}

/// Until the interval timer interrupts, in its own ticks of 838 ns.
const TICKS: u16 = 100;

fn refused_number(_: &mut Bench) -> Result<u64, Failure> {
    fewest(|| refused(raw(NO_CALL, [0; 6]).0.value(), Error::UnknownSyscall))
}

fn refused_handle(_: &mut Bench) -> Result<u64, Failure> {
    let mut words = [0; REGISTER_WORDS];
    fewest(|| refused(ask(0, MessageInfo::new(7, 0), NEVER, INTERFACE, &mut words), Error::BadHandle))
}

/// A page that becomes visible, and is no longer.
fn map_and_unmap(bench: &mut Bench) -> Result<u64, Failure> {
    let memory = bench.memory(1)?;
    fewest(|| {
        let mapping = call(Syscall::Map, [root::SPACE.0, memory, WINDOW, 0, 1, MapAccess::ReadWrite as u64])?;
        call(Syscall::Unmap, [root::SPACE.0, mapping])?;
        Ok(())
    })
}
