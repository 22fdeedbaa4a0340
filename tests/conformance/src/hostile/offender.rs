//! A hostile domain, as the first thread sees it.

use super::attacker::{attack, greet};
use super::home::{Home, Share, start};
use super::place::{self, GIVEN, RECORD_PAGES, Record, SCRATCH_PAGES, STACK_PAGES, THREADS};
use super::{ACCOUNT, PRIORITY};
use crate::bench::{Bench, WINDOW};
use crate::call::call;
use crate::outcome::Failure;
use abi::syscall::{Charge, MapAccess, Syscall};
use abi::{Error, PAGE_SIZE};
use core::sync::atomic::Ordering::Relaxed;

/// Level of the endpoint at which some offenders receive and others call.
pub(super) const MEETING_LEVEL: u64 = 50;
/// Pages of memory that a domain with some authority has beside its own.
const GIVEN_PAGES: u64 = 16;
/// How often a thread is stopped and started before somebody else has been quicker too often.
const ATTEMPTS: u32 = 1000;
/// Pages that a domain has for itself.
const PAGES: u64 = SCRATCH_PAGES + 1 + THREADS * (STACK_PAGES + 1 + RECORD_PAGES);

/// What a domain is given.
#[derive(Clone, Copy)]
pub(super) struct Profile {
    /// Whether it has any capability.
    has_authority: bool,
    level: u64,
    share: Share,
    processors: u64,
}

impl Profile {
    /// Of each four domains two have authority, and of each two one runs below the victim.
    pub(super) fn of(number: u64, processors: u64) -> Self {
        // All that run at the victim's priority leave it the half of a processor.
        let share = if number.is_multiple_of(2) {
            Share { priority: PRIORITY, slice: 1_000_000, period: 40_000_000, cpu: number % processors }
        } else {
            Share { priority: PRIORITY / 2, slice: 2_000_000, period: 2_000_000, cpu: number / 2 % processors }
        };
        let level = if number % 8 < 4 { MEETING_LEVEL + 10 } else { MEETING_LEVEL };
        Profile { has_authority: number % 4 >= 2, level, share, processors }
    }
}

/// A thread of the domain.
#[derive(Clone, Copy, Default)]
struct Thread {
    handle: u64,
    /// Under which the kernel speaks of it.
    index: Option<u64>,
    /// Its progress when it was looked at last.
    seen: u64,
}

pub(super) struct Offender {
    home: Home,
    number: u64,
    profile: Profile,
    seed: u64,
    meeting: u64,
    given: u64,
    threads: [Thread; THREADS as usize],
    /// Whether its records are mapped.
    is_watched: bool,
    /// Whether the domain has to be built anew, since one of its threads is gone.
    pub(super) is_lost: bool,
}

impl Offender {
    pub(super) fn new(
        bench: &mut Bench,
        number: u64,
        seed: u64,
        profile: Profile,
        meeting: u64,
    ) -> Result<Self, Failure> {
        Ok(Offender {
            home: Home::new(bench, PAGES)?,
            number,
            profile,
            seed: seed.wrapping_mul(1000).wrapping_add(number),
            meeting,
            given: bench.memory(GIVEN_PAGES)?,
            threads: [Thread::default(); THREADS as usize],
            is_watched: false,
            is_lost: false,
        })
    }

    /// Where the first thread sees a record.
    fn watched(&self, thread: usize) -> u64 {
        WINDOW + (self.number * THREADS + thread as u64) * RECORD_PAGES * PAGE_SIZE
    }

    /// A thread's record.
    pub(super) fn record(&self, thread: usize) -> &Record {
        // SAFETY: `build` has mapped a record there, for as long as the run lasts; all in it is atomic, and it began as
        // zeros.
        unsafe { &*core::ptr::with_exposed_provenance(self.watched(thread) as usize) }
    }

    /// Makes the domain and its threads, which do not run yet.
    pub(super) fn build(&mut self, bench: &Bench, endpoint: u64) -> Result<(), Failure> {
        self.is_lost = false;
        self.home.build(bench, self.profile.level, endpoint, self.number + 1)?;
        self.home.map(place::scratch())?;
        let code = self.home.map(place::code_to_write())?;
        self.home.map_again(code, place::code_to_run(), MapAccess::ReadExecute)?;
        let mut records = [0; THREADS as usize];
        for (number, record) in (0..THREADS).zip(&mut records) {
            self.home.map(place::stack(number))?;
            let buffer = self.home.map(place::buffer(number))?;
            *record = self.home.map(place::record(number))?;
            // Threads of one domain run on different processors, if there are any.
            let cpu = (self.profile.share.cpu + number) % self.profile.processors;
            let share = Share { cpu, ..self.profile.share };
            let handle = self.home.thread(share, buffer, place::buffer(number))?;
            self.threads[number as usize] = Thread { handle, ..Thread::default() };
        }
        if !self.is_watched {
            for (thread, first) in records.into_iter().enumerate() {
                self.home.map_for_root(first, self.watched(thread), RECORD_PAGES)?;
                for word in 0..RECORD_PAGES * PAGE_SIZE / 8 {
                    let address = self.watched(thread) + word * 8;
                    // SAFETY: just mapped, and nobody else uses it yet.
                    unsafe { core::ptr::with_exposed_provenance_mut::<u64>(address as usize).write_volatile(0) };
                }
            }
            self.is_watched = true;
        }
        let given = if self.profile.has_authority { self.gifts(bench)? } else { [0; GIVEN] };
        for thread in 0..THREADS as usize {
            let record = self.record(thread);
            record.thread.store(thread as u64, Relaxed);
            for (place, handle) in record.given.iter().zip(given) {
                place.store(handle, Relaxed);
            }
        }
        Ok(())
    }

    /// What a domain with some authority has: a small account, memory, a space, an endpoint, a notification, a domain
    /// within, an endpoint to meet others at, and itself.
    fn gifts(&mut self, bench: &Bench) -> Result<[u64; GIVEN], Failure> {
        let limits = [
            (Charge::Accounts, 4),
            (Charge::CapSlots, 128),
            (Charge::Spaces, 2),
            (Charge::Domains, 2),
            (Charge::Endpoints, 4),
            (Charge::Notifications, 4),
            (Charge::Mappings, 16),
        ];
        let account = bench.account(&limits)?;
        let account = self.home.owns(account);
        let space = call(Syscall::SpaceCreate, [ACCOUNT, self.given, 0])?;
        let space = self.home.owns(space);
        let domain = call(Syscall::DomainCreate, [ACCOUNT, space, 20, 16, 0, 0])?;
        let domain = self.home.owns(domain);
        let endpoint = bench.endpoint_with(crate::bench::INTERFACE, 30)?;
        let endpoint = self.home.owns(endpoint);
        let notification = bench.notification()?;
        let notification = self.home.owns(notification);
        let all = [
            account,
            self.given,
            space,
            domain,
            endpoint,
            notification,
            self.meeting,
            self.home.domain(),
            self.threads[1].handle,
        ];
        let mut given = [0; GIVEN];
        for (place, handle) in given.iter_mut().zip(all) {
            *place = if handle == self.meeting {
                // Nobody is to end the meeting of all.
                use abi::rights::EndpointRights as Rights;
                let rights = Rights::all() - Rights::DESTROY;
                call(Syscall::CapGrant, [self.home.domain(), handle, rights.bits().into(), 0])?
            } else {
                self.home.give(handle)?
            };
        }
        Ok(given)
    }

    /// Lets a thread say who it is.
    pub(super) fn greet(&mut self, thread: usize) -> Result<(), Error> {
        start(self.threads[thread].handle, greet, place::stack_pointer(thread as u64), 0)
    }

    /// Whether it has said so.
    pub(super) fn knows(&self, thread: usize) -> bool {
        self.is_lost || self.threads[thread].index.is_some()
    }

    /// A thread of the domain has faulted: the next one that is to say who it is, or an offender, which begins anew.
    /// Says whether it was one.
    pub(super) fn faulted(&mut self, index: u64) -> Result<bool, Failure> {
        if let Some(thread) = self.threads.iter().position(|thread| thread.index == Some(index)) {
            self.begin(thread)?;
            return Ok(true);
        }
        if let Some(thread) = self.threads.iter_mut().find(|thread| thread.index.is_none()) {
            thread.index = Some(index);
        }
        Ok(false)
    }

    /// Lets all threads attack.
    pub(super) fn begin_all(&mut self) -> Result<(), Failure> {
        for thread in 0..THREADS as usize {
            self.begin(thread)?;
        }
        Ok(())
    }

    /// Lets a thread attack from its beginning, with other random numbers than before.
    fn begin(&mut self, thread: usize) -> Result<(), Failure> {
        let record = self.record(thread);
        let progress = record.progress.load(Relaxed);
        let seed = self.seed.wrapping_mul(THREADS).wrapping_add(thread as u64);
        record.seed.store(seed.wrapping_mul(0x1_0001).wrapping_add(progress), Relaxed);
        self.threads[thread].seen = progress;
        let stack = place::stack_pointer(thread as u64);
        let mut outcome = Err(Error::WrongState);
        // On another processor a thread that has a capability for this one may be quicker and start it itself.
        for _ in 0..ATTEMPTS {
            outcome = start(self.threads[thread].handle, attack, stack, place::record(thread as u64).address);
            if outcome != Err(Error::WrongState) {
                break;
            }
        }
        match outcome {
            Ok(()) => Ok(()),
            Err(Error::StaleHandle) => {
                self.is_lost = true;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Begins threads anew that have made no progress since the last look. How many there were, and whether one is gone.
    pub(super) fn look(&mut self) -> Result<(u64, bool), Failure> {
        let mut silent = 0;
        for thread in 0..THREADS as usize {
            let progress = self.record(thread).progress.load(Relaxed);
            if progress == self.threads[thread].seen && self.threads[thread].index.is_some() {
                silent += 1;
                self.begin(thread)?;
            }
            self.threads[thread].seen = progress;
        }
        Ok((silent, self.is_lost))
    }

    /// Takes the domain apart.
    pub(super) fn destroy(&mut self) -> Result<(), Failure> {
        self.home.destroy()?;
        call(Syscall::CapRevoke, [self.given])?;
        self.threads = [Thread::default(); THREADS as usize];
        Ok(())
    }
}
