//! Bugs that are planted into the core, one at a time: the search finds each of them, and says by what.
//!
//! Which bug is planted is a switch of the whole process, so one test plants them all, one after the other.
#![cfg(feature = "seeded-bugs")]

use kernel_core::{Bug, plant};
use model::scenarios::by_name;
use model::search::{Limits, search};

/// Where each bug shows, and in how few events.
fn home(bug: Bug) -> &'static str {
    match bug {
        Bug::StaleReply | Bug::DeadThreadQueued | Bug::DeadlineIgnored | Bug::QueueReversed => "calls",
        Bug::CallersLeft | Bug::RefusalCounted | Bug::LoanKept => "calls",
        Bug::LeaseAfterCall | Bug::DoorbellLost | Bug::WatchLost | Bug::BitLost | Bug::FaultLost => "ipc",
        Bug::ChildrenLost | Bug::KernelPageMapped | Bug::DonatedWhileMapped | Bug::RightsKept | Bug::PinsKept => {
            "authority"
        }
        Bug::BudgetKept | Bug::GenerationReused | Bug::LevelUnchecked | Bug::BadgeForged | Bug::QuotaUncharged => {
            "everything"
        }
        Bug::TranslationKept => "shootdowns",
        Bug::DeviceLeftAttached | Bug::DeviceSharedByTwo | Bug::DevicePageKept | Bug::DmaRightIgnored => "devices",
    }
}

/// As many states of each scenario as are visited on every change.
const STATES: usize = 140_000;

#[test]
fn every_planted_bug_is_found() {
    model::explain_panics();
    let mut lost = Vec::new();
    println!("{:<20} {:<12} {:>7} {:>6}  found by", "bug", "scenario", "states", "events");
    for bug in Bug::ALL.iter().copied() {
        let scenario = by_name(home(bug)).expect("a scenario of that name");
        plant(Some(bug));
        let report = search(scenario, Limits { states: STATES, threads: 2, ..Limits::NONE }, None);
        plant(None);
        let name = format!("{bug:?}");
        match report.counterexample {
            Some(found) => {
                let finder = found.violation.split(':').next().unwrap_or_default().to_owned();
                let finder = if finder == "panic" { found.violation.clone() } else { finder };
                let events = found.script.len();
                println!("{name:<20} {:<12} {:>7} {events:>6}  {finder}", scenario.name, report.states);
            }
            None => {
                println!("{name:<20} {:<12} {:>7} {:>6}  nothing", scenario.name, report.states, "");
                lost.push(bug);
            }
        }
    }
    assert!(lost.is_empty(), "these bugs are not found: {lost:?}");
    assert!(Bug::ALL.len() >= 20, "there are {} bugs", Bug::ALL.len());
}

#[test]
fn every_bug_says_what_is_wrong_with_it() {
    for bug in Bug::ALL {
        assert!(bug.sentence().ends_with('.'), "{bug:?}: {:?}", bug.sentence());
    }
}
