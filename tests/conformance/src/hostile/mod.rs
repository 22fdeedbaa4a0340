//! Hostile user space: domains that make whatever system calls they can and run whatever bytes they find, beside a
//! victim that goes on with its work.
//!
//! Half of the domains have no capability at all, the others an account of their own and a few objects, among them
//! themselves. Half run at the victim's priority, the others below it. The first thread is their fault handler: it
//! starts offenders anew, and takes a whole domain apart and builds it again at short intervals.

mod attacker;
mod home;
mod offender;
mod place;
mod pulse;
mod tally;
mod victim;
mod workload;

use crate::bench::{Bench, statistics};
use crate::call::{SECOND, call, now, receive};
use crate::console::print;
use crate::outcome::{Failure, Outcome, holds, same};
use crate::parameters::Parameters;
use abi::fault::{FaultKind, FaultWord};
use abi::syscall::{Statistics, Syscall};
use abi::time::{NEVER, NOW};
use abi::{Error, root};
use alloc::format;
use alloc::vec::Vec;
use offender::{Offender, Profile};
use tally::Tally;
use victim::{Report, Victim};

/// Priority of the victim and of half of the others.
const PRIORITY: u64 = 100;
/// Nanoseconds between two looks at who makes no progress.
const LOOK: u64 = SECOND / 4;
/// Nanoseconds between two times that a domain is taken apart and built again.
const REBUILD: u64 = SECOND / 10;
/// The most nanoseconds that a round of the victim may take, beside what the machine itself comes late. Those of its
/// priority have in all less than the half of a processor, in pieces of a millisecond.
const BOUND: u64 = SECOND / 2;
/// How often within a round the machine may come late.
const TIMES_LATE: u64 = 4;
/// The most hostile domains, whose records the first thread can have mapped.
const MOST: u64 = 16;

/// What is asked for.
struct Plan {
    nanoseconds: u64,
    domains: u64,
    seed: u64,
    processors: u64,
    sabotage: Option<Sabotage>,
}

/// What the first thread does to the victim, to see that it is noticed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sabotage {
    /// Changes a byte of its memory.
    Memory,
    /// Keeps it from running.
    Delay,
}

/// What came of a run.
struct Outcomes {
    victim: Report,
    tally: Tally,
}

/// Runs, prints what happened, and says how many checks passed and failed.
pub(crate) fn run(bench: &mut Bench, parameters: &Parameters) -> (u64, u64) {
    let number = |key, otherwise| parameters.number(key).unwrap_or(otherwise);
    let processors = statistics().map_or(1, |statistics| statistics.processors_used);
    let plan = Plan {
        nanoseconds: number("seconds", 10).min(86_400) * SECOND,
        domains: number("domains", 10).clamp(1, MOST),
        seed: number("seed", 1),
        processors,
        sabotage: None,
    };
    let mut checks = Checks::default();
    let short = |sabotage| Plan { nanoseconds: 4 * SECOND, domains: 2, seed: plan.seed, processors, sabotage };
    checks.note("a_corrupted_victim_is_noticed", must_fail(bench, &short(Some(Sabotage::Memory)), Report::is_correct));
    checks.note("a_delayed_victim_is_noticed", must_fail(bench, &short(Some(Sabotage::Delay)), Report::is_prompt));
    checks.note("an_object_left_behind_is_noticed", leak_is_noticed(bench, &short(None)));

    print(format_args!(
        "{} hostile domains for {} s beside a victim on {} processors, seed {}\n",
        plan.domains,
        plan.nanoseconds / SECOND,
        processors,
        plan.seed
    ));
    match bench.isolated(|bench| carry_out(bench, &plan)) {
        Err(failure) => checks.note("the_run_comes_to_its_end", Err(failure)),
        Ok((Outcomes { victim, tally }, before, after)) => {
            tally.print();
            print(format_args!("{victim}\n"));
            print_left(&before, &after);
            checks.note("every_offender_makes_calls_and_faults", tally.is_lively());
            checks.note("the_victims_results_are_correct", victim.is_correct());
            checks.note("the_victims_delay_is_bounded", victim.is_prompt());
            checks.note("nothing_is_left_behind", nothing_left(&before, &after));
        }
    }
    (checks.passed, checks.failed)
}

/// Counts checks and prints their lines.
#[derive(Default)]
struct Checks {
    passed: u64,
    failed: u64,
}

impl Checks {
    fn note(&mut self, name: &str, outcome: Outcome) {
        match outcome {
            Ok(()) => {
                print(format_args!("ok {name}\n"));
                self.passed += 1;
            }
            Err(failure) => {
                print(format_args!("FAIL {name}: {failure}\n"));
                self.failed += 1;
            }
        }
    }
}

/// A sabotaged run in which a check must fail.
fn must_fail(bench: &mut Bench, plan: &Plan, check: fn(&Report) -> Outcome) -> Outcome {
    let (outcomes, ..) = bench.isolated(|bench| carry_out(bench, plan))?;
    match check(&outcomes.victim) {
        Err(_) => Ok(()),
        Ok(()) => Err(Failure::new(format!("the check does not fail: {}", outcomes.victim))),
    }
}

fn leak_is_noticed(bench: &mut Bench, plan: &Plan) -> Outcome {
    let (_, before, after) = bench.isolated(|bench| carry_out(bench, plan))?;
    nothing_left(&before, &after)?;
    let left = bench.notification()?;
    let found = nothing_left(&before, &statistics()?);
    call(Syscall::Destroy, [left])?;
    call(Syscall::CapDelete, [left])?;
    holds(found.is_err(), "the check fails when something is left")
}

fn nothing_left(before: &Statistics, after: &Statistics) -> Outcome {
    same(after.objects, before.objects)?;
    same((after.kernel_frames, after.mapped_frames), (before.kernel_frames, before.mapped_frames))
}

fn print_left(before: &Statistics, after: &Statistics) {
    print(format_args!(
        "kernel objects before {:?}\nkernel objects after  {:?}\nkernel frames {} before, {} after; mapped frames {} before, {} after\n",
        before.objects,
        after.objects,
        before.kernel_frames,
        after.kernel_frames,
        before.mapped_frames,
        after.mapped_frames
    ));
}

/// What the first thread keeps while domains are hostile.
struct Watch {
    endpoint: u64,
    offenders: Vec<Offender>,
    tally: Tally,
}

impl Watch {
    /// Hears of a fault until `deadline`; whether there was one.
    fn hear(&mut self, deadline: u64) -> Result<bool, Failure> {
        let mut words = [0; 6];
        let (badge, info) = match receive(self.endpoint, 0, deadline, &mut words) {
            Ok(crate::call::Received::Message { badge, info, .. }) => (badge, info),
            Ok(crate::call::Received::Bits(_)) | Err(Error::WouldBlock | Error::TimedOut) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let kind = FaultKind::from_label(info.label());
        let vector = words[FaultWord::Code as usize] >> 32;
        self.tally.fault(kind, vector);
        let Some(offender) = self.offenders.get_mut(badge.wrapping_sub(1) as usize) else {
            return Err(Failure::new(format!("a fault {kind:?} of nobody, badge {badge:#x}, {words:x?}")));
        };
        if offender.faulted(words[FaultWord::Thread as usize])? {
            self.tally.restarted += 1;
        }
        Ok(true)
    }

    /// Builds an offender and lets its threads run. Each of them first says who it is.
    fn build(&mut self, bench: &Bench, number: usize) -> Outcome {
        let endpoint = self.endpoint;
        self.at(number)?.build(bench, endpoint)?;
        for thread in 0..place::THREADS as usize {
            self.at(number)?.greet(thread)?;
            let limit = now() + 60 * SECOND;
            while !self.at(number)?.knows(thread) {
                self.hear(limit)?;
                if now() > limit {
                    return Err(Failure::new(format!("thread {thread} of offender {number} does not begin")));
                }
            }
        }
        // Not before: one of them may stop the other.
        self.at(number)?.begin_all()
    }

    fn at(&mut self, number: usize) -> Result<&mut Offender, Failure> {
        self.offenders.get_mut(number).ok_or_else(|| Failure::new("no such offender".into()))
    }
}

/// Builds victim and offenders, lets them run for a while, and takes them apart.
fn carry_out(bench: &mut Bench, plan: &Plan) -> Result<Outcomes, Failure> {
    let endpoint = bench.fault_endpoint()?;
    let victims = bench.fault_endpoint()?;
    let meeting = bench.endpoint_with(crate::bench::INTERFACE, offender::MEETING_LEVEL)?;
    let mut victim = Victim::new(bench, plan, victims)?;
    let mut watch = Watch { endpoint, offenders: Vec::new(), tally: Tally::default() };
    for number in 0..plan.domains {
        let profile = Profile::of(number, plan.processors);
        watch.offenders.push(Offender::new(bench, number, plan.seed, profile, meeting)?);
    }
    pulse::start(bench, plan.processors)?;
    victim.start()?;
    for number in 0..watch.offenders.len() {
        watch.build(bench, number)?;
    }
    let begun = now();
    let end = begun + plan.nanoseconds;
    let (mut look, mut rebuild, mut next) = (begun + LOOK, begun + REBUILD, 0);
    let mut sabotage = plan.sabotage;
    while now() < end {
        watch.hear(look.min(rebuild).min(end))?;
        let time = now();
        if time >= look {
            for offender in &mut watch.offenders {
                let (started, lost) = offender.look()?;
                watch.tally.silent += started;
                if lost {
                    offender.is_lost = true;
                }
            }
            look = time + LOOK;
        }
        if let Some(lost) = watch.offenders.iter().position(|offender| offender.is_lost) {
            watch.tally.lost += 1;
            watch.at(lost)?.destroy()?;
            watch.build(bench, lost)?;
        } else if time >= rebuild {
            next = (next + 1) % watch.offenders.len();
            watch.tally.rebuilt += 1;
            watch.at(next)?.destroy()?;
            watch.build(bench, next)?;
            rebuild = time + REBUILD;
        }
        if time > begun + plan.nanoseconds / 4
            && let Some(kind) = sabotage.take()
        {
            match kind {
                Sabotage::Memory => victim.corrupt(),
                Sabotage::Delay => victim.delay(4 * BOUND)?,
            }
        }
    }
    for offender in &mut watch.offenders {
        offender.destroy()?;
        watch.tally.add(offender);
    }
    let mut words = [0; 6];
    if let Ok(heard) = receive(victims, 0, NOW, &mut words) {
        return Err(Failure::new(format!("the victim faulted: {heard:x?} {words:x?}")));
    }
    let report = victim.finish(pulse::lateness())?;
    Ok(Outcomes { victim: report, tally: watch.tally })
}

/// Sleeps for good.
fn rest() -> ! {
    loop {
        let _ = call(Syscall::Wait, [0, NEVER]);
    }
}

/// Keeps its processor busy until the time that it is given.
extern "C" fn keep_busy(until: u64) -> ! {
    while now() < until {}
    rest()
}

/// The account from which everything is paid.
const ACCOUNT: u64 = root::ACCOUNT.0;
