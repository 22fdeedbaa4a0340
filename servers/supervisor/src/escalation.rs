//! Who is restarted after a death: the domain by itself, as long as its own policy allows; then what its group's strategy
//! says; then what that of the group around it says; and beyond the outermost one nobody.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;
use manifest::{DomainIndex, GroupIndex, Restart, Strategy, System};
use spawn::Rate;

/// What follows from a death.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The domain is started again after so long.
    Restart(Duration),
    /// A group restarts these domains, the dead one among them, in this order, after so long.
    RestartGroup {
        /// The group whose strategy it is.
        group: GroupIndex,
        /// Who is restarted.
        domains: Vec<DomainIndex>,
        /// How long to wait before.
        wait: Duration,
    },
    /// The domain stays dead. The group is the outermost one that could not keep it alive, if it belongs to any.
    GiveUp(Option<GroupIndex>),
}

/// What matters of the life of a domain that has died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// How often the domain has died within the window of its own policy, this time included.
    pub deaths: u32,
    /// For how many milliseconds it had lived.
    pub lived_ms: u64,
    /// For how many milliseconds it had waited before.
    pub waited_ms: u32,
}

/// How often groups had to restart something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Escalation {
    rates: Vec<Rate>,
}

impl Escalation {
    /// Nothing has happened yet.
    pub fn new(system: &System) -> Self {
        Escalation { rates: vec![Rate::default(); system.groups.len()] }
    }

    /// Goes on from what a former supervisor had counted.
    pub fn recalled(system: &System, mut rates: Vec<Rate>) -> Self {
        rates.resize(system.groups.len(), Rate::default());
        Escalation { rates }
    }

    /// What was counted until now, by group.
    pub fn rates(&self) -> &[Rate] {
        &self.rates
    }

    /// What follows from a death of `domain` at `now`, in nanoseconds.
    pub fn decide(&mut self, system: &System, domain: DomainIndex, life: Life, now: u64) -> Verdict {
        let policy = system[domain].restart;
        if let Some(wait) = policy.backoff_after(life.deaths, life.lived_ms, life.waited_ms) {
            return Verdict::Restart(Duration::from_millis(wait.into()));
        }
        // What is not to be started again is nobody's failure.
        if policy == Restart::Never {
            return Verdict::GiveUp(None);
        }
        let mut failing = vec![domain];
        let mut outermost = None;
        let mut next = system.group_of(domain);
        while let Some(group) = next {
            let Some(count) = self.count(system, group, now) else { break };
            let all = system.domains_in(group);
            if count <= system[group].limit {
                let domains = restarted(system[group].strategy, &failing, all);
                self.forget_within(system, group, &domains);
                return Verdict::RestartGroup {
                    group,
                    domains,
                    wait: Duration::from_millis(policy.wait_with_group(count).into()),
                };
            }
            outermost = Some(group);
            failing = all;
            next = system[group].parent;
        }
        Verdict::GiveUp(outermost)
    }

    /// One more restart for which a group is needed.
    fn count(&mut self, system: &System, group: GroupIndex, now: u64) -> Option<u32> {
        let window = Duration::from_millis(system[group].window_ms.into()).as_nanos() as u64;
        Some(self.rates.get_mut(group.position())?.note(now, window))
    }

    /// Groups that are restarted as a whole begin anew.
    fn forget_within(&mut self, system: &System, group: GroupIndex, restarted: &[DomainIndex]) {
        for (index, rate) in (0_u16..).map(GroupIndex).zip(&mut self.rates) {
            let is_inner = index != group && system.is_within(index, group);
            if is_inner && system.domains_in(index).iter().all(|domain| restarted.contains(domain)) {
                *rate = Rate::default();
            }
        }
    }
}

/// Who of a group is restarted, if these of it cannot be kept alive.
fn restarted(strategy: Strategy, failing: &[DomainIndex], all: Vec<DomainIndex>) -> Vec<DomainIndex> {
    let first = failing.iter().min().copied();
    let goes = |domain: &DomainIndex| match strategy {
        Strategy::OneForOne => failing.contains(domain),
        Strategy::RestForOne => failing.contains(domain) || Some(*domain) > first,
        Strategy::OneForAll => true,
    };
    all.into_iter().filter(goes).collect()
}
