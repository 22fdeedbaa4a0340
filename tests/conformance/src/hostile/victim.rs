//! The victim, as the first thread sees it.

use super::home::{Home, Share, start};
use super::place::{self, Diary};
use super::{BOUND, PRIORITY, Plan, TIMES_LATE, keep_busy, workload};
use crate::actor::{self, Memory};
use crate::bench::{Bench, INTERFACE, WINDOW};
use crate::call::{call, now};
use crate::outcome::{Failure, Outcome, holds, same};
use abi::rights::EndpointRights;
use abi::syscall::Syscall;
use abi::{PAGE_SIZE, root};
use alloc::format;
use core::fmt;
use core::sync::atomic::Ordering::Relaxed;

/// Where the first thread sees the victim's diaries and the client's memory: behind the offenders' records.
const DIARIES: u64 = WINDOW + 100 * PAGE_SIZE;
const TREASURE: u64 = DIARIES + 2 * PAGE_SIZE;
/// Level of the server; the client is above it.
const SERVER_LEVEL: u64 = 30;

pub(super) struct Victim {
    homes: [Home; 2],
    threads: [u64; 2],
    /// A thread by which it can be kept from running, and its stack's place.
    disturber: (u64, usize),
}

/// What the victim has to tell.
#[derive(Clone, Copy)]
pub(super) struct Report {
    rounds: u64,
    served: u64,
    wrong: u64,
    damaged: u64,
    longest: u64,
    total: u64,
    /// How late the machine itself came at most.
    lateness: u64,
}

/// The diary of the client (0) or the server (1).
fn diary(number: usize) -> &'static Diary {
    // SAFETY: `Victim::new` has mapped a diary there for as long as the run lasts; all in it is atomic.
    unsafe { &*core::ptr::with_exposed_provenance((DIARIES + number as u64 * PAGE_SIZE) as usize) }
}

impl Victim {
    /// Builds both domains.
    pub(super) fn new(bench: &mut Bench, plan: &Plan, faults: u64) -> Result<Self, Failure> {
        let endpoint = bench.endpoint_with(INTERFACE, SERVER_LEVEL)?;
        let pages = place::STACK_PAGES + 2 + place::treasure().pages;
        let mut homes = [Home::new(bench, pages)?, Home::new(bench, pages)?];
        let mut threads = [0; 2];
        for (number, home) in homes.iter_mut().enumerate() {
            home.build(bench, SERVER_LEVEL + 10 * (1 - number as u64), faults, 1)?;
            home.map(place::stack(0))?;
            let buffer = home.map(place::buffer(0))?;
            let page = home.map(place::diary())?;
            let treasure = home.map(place::treasure())?;
            let share =
                Share { priority: PRIORITY, slice: 2_000_000, period: 2_000_000, cpu: number as u64 % plan.processors };
            threads[number] = home.thread(share, buffer, place::buffer(0))?;
            home.map_for_root(page, DIARIES + number as u64 * PAGE_SIZE, 1)?;
            if number == 0 {
                home.map_for_root(treasure, TREASURE, place::treasure().pages)?;
            }
            let rights = [EndpointRights::CALL, EndpointRights::RECEIVE][number];
            let handle = call(Syscall::CapGrant, [home.domain(), endpoint, rights.bits().into(), 0])?;
            let diary = diary(number);
            for word in [&diary.rounds, &diary.wrong, &diary.damaged, &diary.longest, &diary.total] {
                word.store(0, Relaxed);
            }
            diary.endpoint.store(handle, Relaxed);
            diary.seed.store(plan.seed, Relaxed);
        }
        let disturber = bench.stopped_thread(root::DOMAIN.0, PRIORITY + 50)?;
        Ok(Victim { homes, threads, disturber })
    }

    /// Lets it work.
    pub(super) fn start(&self) -> Outcome {
        for (thread, body) in self.threads.into_iter().zip([workload::client as actor::Body, workload::server]) {
            start(thread, body, place::stack_pointer(0), 0)?;
        }
        Ok(())
    }

    /// Changes a byte that it only keeps.
    pub(super) fn corrupt(&self) {
        let last = (place::treasure().pages * PAGE_SIZE) as usize - 100;
        Memory(TREASURE).set_byte(last, !Memory(TREASURE).byte(last));
    }

    /// Keeps it from running for so many nanoseconds.
    pub(super) fn delay(&self, nanoseconds: u64) -> Outcome {
        let (thread, place) = self.disturber;
        start(thread, keep_busy, actor::stack(place), now() + nanoseconds)?;
        Ok(())
    }

    /// Ends it and reads what it has to tell.
    pub(super) fn finish(&mut self, lateness: u64) -> Result<Report, Failure> {
        let (client, server) = (diary(0), diary(1));
        let report = Report {
            rounds: client.rounds.load(Relaxed),
            served: server.rounds.load(Relaxed),
            wrong: client.wrong.load(Relaxed) + server.wrong.load(Relaxed),
            damaged: client.damaged.load(Relaxed),
            longest: client.longest.load(Relaxed),
            total: client.total.load(Relaxed),
            lateness,
        };
        for home in &mut self.homes {
            home.destroy()?;
        }
        Ok(report)
    }
}

impl Report {
    /// Whether it did its work, and all of it right.
    pub(super) fn is_correct(&self) -> Outcome {
        same((self.wrong, self.damaged), (0, 0))?;
        holds(self.rounds >= 100, "it did at least a hundred rounds")?;
        holds(self.served.abs_diff(self.rounds) <= 1, "its server answered every call once")
    }

    /// Whether it was never kept from its work for long.
    pub(super) fn is_prompt(&self) -> Outcome {
        let bound = BOUND + TIMES_LATE * self.lateness;
        if self.longest <= bound {
            return Ok(());
        }
        Err(Failure::new(format!("a round took {} us, more than {} us", self.longest / 1000, bound / 1000)))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "victim: {} rounds, {} wrong, {} damaged; mean delay {} us, longest {} us; the machine came at most {} us late",
            self.rounds,
            self.wrong,
            self.damaged,
            self.total / self.rounds.max(1) / 1000,
            self.longest / 1000,
            self.lateness / 1000
        )
    }
}
