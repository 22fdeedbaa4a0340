//! What became of a batch of faults.

use serde::{Deserialize, Serialize};

use super::answer::{Answer, Domain};

/// States of a domain that is well.
const ALIVE: [&str; 2] = ["starting", "running"];

/// What became of a batch of faults; the worst that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// None of them was executed.
    NotExecuted,
    /// The workload noticed nothing.
    NoEffect,
    /// The workload was told of an error, or waited for long, while the domain lived.
    ErrorReported,
    /// The domain died and came back, and the workload went on.
    Recovered,
    /// Data was wrong, and the workload's checksums have shown it.
    WrongData,
    /// The workload did not get well again, though nobody else is harmed.
    NotRecovered,
    /// Another domain died, or does not run.
    OtherHarmed,
    /// The kernel panicked, or the machine does not answer.
    KernelHarmed,
}

impl Verdict {
    /// Every one, the harmless ones first.
    pub const ALL: [Self; 8] = [
        Self::NotExecuted,
        Self::NoEffect,
        Self::ErrorReported,
        Self::Recovered,
        Self::WrongData,
        Self::NotRecovered,
        Self::OtherHarmed,
        Self::KernelHarmed,
    ];

    /// In words, for a table's head.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotExecuted => "not executed",
            Self::NoEffect => "no effect",
            Self::ErrorReported => "error reported",
            Self::Recovered => "died, recovered",
            Self::WrongData => "wrong data",
            Self::NotRecovered => "not recovered",
            Self::OtherHarmed => "other harmed",
            Self::KernelHarmed => "kernel harmed",
        }
    }

    /// Whether a fault is to be looked for that has this effect.
    pub const fn is_harmful(self) -> bool {
        !matches!(self, Self::NotExecuted | Self::NoEffect)
    }

    /// Whether the system has survived. Wrong data that is found out is survived by whoever finds it out.
    pub const fn is_survived(self) -> bool {
        !matches!(self, Self::NotRecovered | Self::OtherHarmed | Self::KernelHarmed)
    }

    /// Whether the campaign ends here, since nothing like it may ever happen.
    pub const fn ends_campaign(self) -> bool {
        matches!(self, Self::OtherHarmed | Self::KernelHarmed)
    }
}

/// Judges a batch by what was told before and after it, and tells the story. `clients` were started anew meanwhile, so it is no harm
/// that they were; that they do not run is.
pub(super) fn judge(
    target: &str,
    clients: &[String],
    before: &Answer,
    after: &Answer,
    wrong_lines: usize,
) -> (Verdict, String) {
    let harmed = after.domains.iter().find(|(name, domain)| {
        let then = before.domains.get(*name);
        let is_new = |then: &Domain| then.restarts != domain.restarts && !clients.contains(name);
        // One that was started anew just before may still be starting.
        let is_lost = |then: &Domain| then.state != domain.state && !ALIVE.contains(&domain.state.as_str());
        *name != target && then.is_some_and(|then| is_new(then) || is_lost(then))
    });
    let story = after.died.as_ref().map_or_else(String::new, |(_, story)| story.clone());
    if let Some((name, domain)) = harmed {
        let of_what = after.stories.get(name).map_or("nothing", String::as_str);
        let what = format!("{name} is {}, and died of this: {of_what}; {target}: {story}", domain.state);
        return (Verdict::OtherHarmed, what);
    }
    let wrong = after.work.wrong - before.work.wrong;
    if wrong > 0 || wrong_lines > 0 {
        return (Verdict::WrongData, format!("{wrong} results and {wrong_lines} lines were wrong; {story}"));
    }
    if after.well == Some(false) {
        return (Verdict::NotRecovered, story);
    }
    let executed = after.orders.iter().any(|order| *order > 0);
    let verdict = match () {
        () if after.died.is_some() => Verdict::Recovered,
        () if !executed => Verdict::NotExecuted,
        () if after.hung || after.met > 0 => Verdict::ErrorReported,
        () => Verdict::NoEffect,
    };
    (verdict, story)
}

#[cfg(test)]
mod tests {
    use super::super::answer::Work;
    use super::*;

    fn answer(change: impl FnOnce(&mut Answer)) -> Answer {
        let domain = |restarts| Domain { state: "running".to_owned(), restarts };
        let domains = [("fat".to_owned(), domain(1)), ("uart".to_owned(), domain(0))].into();
        let mut answer = Answer { domains, orders: vec![1], well: Some(true), ..Answer::default() };
        change(&mut answer);
        answer
    }

    fn verdict(change: impl FnOnce(&mut Answer)) -> Verdict {
        judge("fat", &[], &answer(|_| {}), &answer(change), 0).0
    }

    #[test]
    fn the_worst_that_happened_counts() {
        let died = Some((1, "panicked".to_owned()));
        assert_eq!(verdict(|_| {}), Verdict::NoEffect);
        assert_eq!(verdict(|after| after.orders = vec![0]), Verdict::NotExecuted);
        assert_eq!(verdict(|after| after.met = 1), Verdict::ErrorReported);
        assert_eq!(verdict(|after| after.hung = true), Verdict::ErrorReported);
        assert_eq!(verdict(|after| after.died = died.clone()), Verdict::Recovered);
        assert_eq!(verdict(|after| after.work = Work { wrong: 1, ..after.work }), Verdict::WrongData);
        assert_eq!(verdict(|after| (after.died, after.well) = (died.clone(), Some(false))), Verdict::NotRecovered);
        assert_eq!(judge("fat", &[], &answer(|_| {}), &answer(|_| {}), 1).0, Verdict::WrongData);
    }

    #[test]
    fn what_happens_to_the_target_is_no_harm_to_others_and_what_happens_to_others_is() {
        let restarted = |name: &'static str| {
            move |after: &mut Answer| after.domains.get_mut(name).expect("it is there").restarts += 2
        };
        assert_eq!(verdict(restarted("fat")), Verdict::NoEffect);
        assert_eq!(verdict(restarted("uart")), Verdict::OtherHarmed);
        let waiting = |after: &mut Answer| after.domains.get_mut("uart").unwrap().state = "waiting".to_owned();
        assert_eq!(verdict(waiting), Verdict::OtherHarmed);
        let starting = |after: &mut Answer| after.domains.get_mut("uart").unwrap().state = "starting".to_owned();
        assert_eq!(verdict(starting), Verdict::NoEffect);
        let told =
            |change: &dyn Fn(&mut Answer)| judge("fat", &["uart".to_owned()], &answer(|_| {}), &answer(change), 0).0;
        assert_eq!(told(&restarted("uart")), Verdict::NoEffect, "it was started anew on purpose");
        assert_eq!(told(&waiting), Verdict::OtherHarmed);
    }
}
