//! Whether two states are the same but for the time that has passed: what a refused call must leave behind.

use crate::kernel::{Kernel, Tables};
use crate::table::{Slots, Vacant};
use crate::thread::State;
use crate::{Budget, Cpu, Resume, Thread, ThreadId};

impl<T: Tables> Kernel<T> {
    /// The first thing in which two states differ, if they do. The clock and the time that was used do not count, and
    /// everything else does: what the future depends on and what it does not.
    pub fn difference(&self, other: &Self) -> Option<&'static str> {
        // Without `..`, so that nobody adds a field and forgets it here.
        let Kernel {
            accounts,
            caps,
            blocks,
            spaces,
            domains,
            threads,
            cpus,
            undisturbed: _,
            budgets,
            endpoints,
            notifications,
            mappings,
            interrupts,
            frames,
            lines,
            objects,
            active: _,
            now: _,
            online,
            kicks,
            last_shootdown,
            forgetting,
            seen,
            strays,
        } = self;
        let same_cpu = |index: usize| is_like_cpu(cpus.at(index), other.cpus.at(index));
        let same = [
            (accounts.is_like(&other.accounts, |one, two| one == two), "accounts"),
            ((0..T::Caps::LENGTH).all(|index| caps.at(index) == other.caps.at(index)), "capabilities"),
            (*blocks == other.blocks, "blocks of the capability arena"),
            (spaces.is_like(&other.spaces, |one, two| one == two), "spaces"),
            (domains.is_like(&other.domains, |one, two| one == two), "domains"),
            (threads.is_like(&other.threads, |one, two| timeless_thread(one) == timeless_thread(two)), "threads"),
            ((0..T::Cpus::LENGTH).all(same_cpu), "processors"),
            (budgets.is_like(&other.budgets, |one, two| timeless_budget(one) == timeless_budget(two)), "budgets"),
            (endpoints.is_like(&other.endpoints, |one, two| one == two), "endpoints"),
            (notifications.is_like(&other.notifications, |one, two| one == two), "notifications"),
            (mappings.is_like(&other.mappings, |one, two| one == two), "mappings"),
            (interrupts.is_like(&other.interrupts, |one, two| one == two), "interrupts"),
            (frames.is_like(&other.frames), "frames"),
            (*objects == other.objects, "counters of objects"),
            (*lines == other.lines, "interrupt lines"),
            ((*online, *kicks) == (other.online, other.kicks), "sets of processors"),
            ((*last_shootdown, *forgetting) == (other.last_shootdown, other.forgetting), "shootdowns"),
            ((*seen, *strays) == (other.seen, other.strays), "what devices see and were refused"),
        ];
        same.into_iter().find(|(same, _)| !same).map(|(_, what)| what)
    }
}

fn timeless_thread(thread: &Thread) -> Thread {
    // Which error a refused call ends with is its caller's only.
    let resume = match thread.resume {
        Resume::Result(_) | Resume::Value(_) if matches!(thread.state, State::Ready | State::Exhausted) => {
            Resume::Result([0; 4])
        }
        resume => resume,
    };
    Thread { runtime: 0, resume, ..*thread }
}

fn timeless_budget(budget: &Budget) -> Budget {
    Budget { refills: Budget::EMPTY.refills, ..*budget }
}

fn is_like_cpu<S: Slots<Option<ThreadId>>>(one: &Cpu<S>, two: &Cpu<S>) -> bool {
    one.choices() == two.choices() && one.timers.is_like(&two.timers)
}
