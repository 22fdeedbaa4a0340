//! Where things lie in the spaces of the domains of the hostile run, and what the first thread reads and writes of them.
//!
//! These domains share the suite's image, to which they cannot write. Everything else they have for themselves, in one
//! window of 2 MiB.

use super::attacker::OUTCOMES;
use abi::PAGE_SIZE;
use core::sync::atomic::{AtomicU32, AtomicU64};

/// Where the window begins.
pub(super) const BASE: u64 = 0x3000_0000;
/// Threads of a hostile domain.
pub(super) const THREADS: u64 = 2;
/// Pages of a stack.
pub(super) const STACK_PAGES: u64 = 4;
/// Pages of a [`Record`].
pub(super) const RECORD_PAGES: u64 = (size_of::<Record>() as u64).div_ceil(PAGE_SIZE);
/// Pages in which hostile threads let the kernel read and write; those before and behind are not mapped.
pub(super) const SCRATCH_PAGES: u64 = 2;

/// Places in the window, in pages from [`BASE`]. Between any two of them a page is not mapped.
const SCRATCH: u64 = 1;
const CODE_TO_WRITE: u64 = 8;
const CODE_TO_RUN: u64 = 16;
const STACKS: u64 = 24;
const BUFFERS: u64 = 48;
/// Far from everything else: an address near to another one's does not hit it.
const RECORDS: u64 = 400;

/// A part of a hostile domain's window: its address, how many pages, and how it is mapped.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) address: u64,
    pub(super) pages: u64,
}

const fn part(page: u64, pages: u64) -> Part {
    Part { address: BASE + page * PAGE_SIZE, pages }
}

pub(super) const fn scratch() -> Part {
    part(SCRATCH, SCRATCH_PAGES)
}

/// The page of code, where it is written.
pub(super) const fn code_to_write() -> Part {
    part(CODE_TO_WRITE, 1)
}

/// The same page, where it is run.
pub(super) const fn code_to_run() -> Part {
    part(CODE_TO_RUN, 1)
}

/// The stack of a thread.
pub(super) const fn stack(thread: u64) -> Part {
    part(STACKS + thread * (STACK_PAGES + 1), STACK_PAGES)
}

/// The stack pointer with which a thread starts, as a function expects it on entry.
pub(super) const fn stack_pointer(thread: u64) -> u64 {
    let stack = stack(thread);
    stack.address + stack.pages * PAGE_SIZE - 8
}

/// The message buffer of a thread.
pub(super) const fn buffer(thread: u64) -> Part {
    part(BUFFERS + thread * 2, 1)
}

/// The record of a thread.
pub(super) const fn record(thread: u64) -> Part {
    part(RECORDS + thread * (RECORD_PAGES + 1), RECORD_PAGES)
}

/// The most handles that a hostile domain is told of.
pub(super) const GIVEN: usize = 12;

/// What a hostile thread is told and what it tells.
#[repr(C, align(4096))]
pub(super) struct Record {
    /// From which its random numbers begin.
    pub(super) seed: AtomicU64,
    /// Which of its domain's threads it is.
    pub(super) thread: AtomicU64,
    /// Handles of the capabilities that its domain was given; 0 for none.
    pub(super) given: [AtomicU64; GIVEN],
    /// How often it has come around.
    pub(super) progress: AtomicU64,
    /// How often it has run random code.
    pub(super) leaps: AtomicU64,
    /// Results of system calls: by place in [`abi::Syscall::ALL`], unknown ones last, and by error, success first.
    pub(super) results: [[AtomicU32; OUTCOMES]; CALLS],
}

/// System calls that are told apart: every known one, and all others.
pub(super) const CALLS: usize = abi::Syscall::ALL.len() + 1;

/// What the victim's threads are told and what they tell.
#[repr(C, align(4096))]
pub(super) struct Diary {
    /// The capability by which the client calls its server, or the server receives.
    pub(super) endpoint: AtomicU64,
    /// From which the work begins.
    pub(super) seed: AtomicU64,
    /// Rounds that came to an end.
    pub(super) rounds: AtomicU64,
    /// Rounds whose result was wrong, or that were refused.
    pub(super) wrong: AtomicU64,
    /// Bytes of own memory that were found changed.
    pub(super) damaged: AtomicU64,
    /// Nanoseconds of the longest round, from when it was to begin.
    pub(super) longest: AtomicU64,
    /// Nanoseconds of all rounds.
    pub(super) total: AtomicU64,
}

/// Where a victim's thread has its diary.
pub(super) const fn diary() -> Part {
    part(RECORDS, 1)
}

/// Memory that a victim's thread keeps and checks.
pub(super) const fn treasure() -> Part {
    part(64, 8)
}
