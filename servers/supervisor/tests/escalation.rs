//! Who is restarted when a domain dies more often than its own policy allows.

use std::time::Duration;

use manifest::{Domain, DomainIndex, Group, GroupIndex, Kind, Restart, Strategy, System};
use supervisor::{Escalation, Life, Verdict};

const SECOND: u64 = 1_000_000_000;
const POLICY: Restart = Restart::OnDeath { limit: 2, window_ms: 60_000, backoff_ms: 10, max_backoff_ms: 30 };
/// The domains of [`system`], in the order in which they are started.
const BUS: DomainIndex = DomainIndex(1);
const DISK: DomainIndex = DomainIndex(2);
const FILES: DomainIndex = DomainIndex(3);
const NET: DomainIndex = DomainIndex(4);
const LONER: DomainIndex = DomainIndex(5);
const ONCE: DomainIndex = DomainIndex(6);
const ALL: GroupIndex = GroupIndex(0);
const STORAGE: GroupIndex = GroupIndex(1);

fn domain(name: &str, restart: Restart) -> Domain {
    Domain {
        name: name.into(),
        binary: name.into(),
        kind: Kind::Server,
        level: 1,
        priority: 100,
        time_slice_us: 5000,
        cpu: 0,
        bound: None,
        memory: 1 << 20,
        vault: 0,
        capabilities: 64,
        threads: 1,
        restart,
        heartbeat_ms: 0,
        provides: vec![],
        uses: vec![],
        device: None,
        args: vec![],
        grants: vec![],
        guest: None,
        guest_memory: 0,
    }
}

/// A group within another one: the outer one has bus and net, the inner one disk and files.
fn system(outer: Strategy, inner: Strategy) -> System {
    let group = |name: &str, parent, members: &[DomainIndex], strategy| Group {
        name: name.into(),
        parent,
        members: members.to_vec(),
        strategy,
        limit: 1,
        window_ms: 60_000,
    };
    let names = ["supervisor", "bus", "disk", "files", "net", "loner"];
    let mut domains: Vec<_> = names.iter().map(|name| domain(name, POLICY)).collect();
    domains.push(domain("once", Restart::Never));
    let groups = vec![group("all", None, &[BUS, NET, ONCE], outer), group("storage", Some(ALL), &[DISK, FILES], inner)];
    System { domains, endpoints: vec![], notifications: vec![], rings: vec![], groups, reserve: 0 }
}

/// A life that ended as soon as it had begun, after the wait that the number of deaths before makes.
fn died(deaths: u32) -> Life {
    let waited_ms = match deaths {
        0 | 1 => 0,
        2 => 10,
        _ => 20,
    };
    Life { deaths, lived_ms: 0, waited_ms }
}

/// Whom a group restarts after a death of `domain` beyond its own limit.
fn restarted(
    escalation: &mut Escalation,
    system: &System,
    domain: DomainIndex,
    now: u64,
) -> (GroupIndex, Vec<DomainIndex>) {
    match escalation.decide(system, domain, died(3), now) {
        Verdict::RestartGroup { group, domains, .. } => (group, domains),
        other => panic!("{other:?}"),
    }
}

#[test]
fn within_its_own_limit_a_domain_is_restarted_alone_and_later_each_time() {
    let system = system(Strategy::OneForAll, Strategy::OneForAll);
    let mut escalation = Escalation::new(&system);
    for (deaths, wait) in [(1, 10), (2, 20)] {
        let verdict = escalation.decide(&system, DISK, died(deaths), 0);
        assert_eq!(verdict, Verdict::Restart(Duration::from_millis(wait)));
    }
    assert_eq!(escalation, Escalation::new(&system), "no group has anything to count");
}

#[test]
fn beyond_it_the_strategy_of_its_group_says_who_is_restarted() {
    for (strategy, first, second) in [
        (Strategy::OneForOne, vec![DISK], vec![FILES]),
        (Strategy::RestForOne, vec![DISK, FILES], vec![FILES]),
        (Strategy::OneForAll, vec![DISK, FILES], vec![DISK, FILES]),
    ] {
        let system = system(Strategy::OneForOne, strategy);
        assert_eq!(restarted(&mut Escalation::new(&system), &system, DISK, 0), (STORAGE, first));
        assert_eq!(restarted(&mut Escalation::new(&system), &system, FILES, 0), (STORAGE, second));
    }
}

#[test]
fn a_group_beyond_its_limit_is_for_the_group_around_it() {
    for (strategy, expected) in [
        (Strategy::OneForOne, vec![DISK, FILES]),
        (Strategy::RestForOne, vec![DISK, FILES, NET, ONCE]),
        (Strategy::OneForAll, vec![BUS, DISK, FILES, NET, ONCE]),
    ] {
        let system = system(strategy, Strategy::OneForOne);
        let mut escalation = Escalation::new(&system);
        assert_eq!(restarted(&mut escalation, &system, FILES, 0), (STORAGE, vec![FILES]));
        assert_eq!(restarted(&mut escalation, &system, FILES, SECOND), (ALL, expected));
        // The inner group was restarted as a whole and begins anew.
        assert_eq!(restarted(&mut escalation, &system, DISK, 2 * SECOND), (STORAGE, vec![DISK]));
    }
}

#[test]
fn beyond_the_outermost_group_a_domain_is_given_up() {
    let system = system(Strategy::OneForAll, Strategy::OneForAll);
    let mut escalation = Escalation::new(&system);
    for group in [STORAGE, ALL, STORAGE] {
        assert_eq!(restarted(&mut escalation, &system, DISK, 0).0, group);
    }
    assert_eq!(escalation.decide(&system, DISK, died(3), 0), Verdict::GiveUp(Some(ALL)));
}

#[test]
fn what_is_longer_ago_than_the_window_is_forgotten() {
    let system = system(Strategy::OneForAll, Strategy::OneForOne);
    let mut escalation = Escalation::new(&system);
    for round in 0..5 {
        assert_eq!(restarted(&mut escalation, &system, DISK, round * 70 * SECOND), (STORAGE, vec![DISK]));
    }
}

#[test]
fn groups_wait_longer_each_time_too() {
    let mut system = system(Strategy::OneForAll, Strategy::OneForOne);
    system.groups[STORAGE.position()].limit = 9;
    let mut escalation = Escalation::new(&system);
    for expected in [10, 20, 30, 30] {
        let verdict = escalation.decide(&system, DISK, died(3), 0);
        assert!(
            matches!(verdict, Verdict::RestartGroup { wait, .. } if wait == Duration::from_millis(expected)),
            "{verdict:?}"
        );
    }
}

#[test]
fn a_domain_in_no_group_is_given_up_and_one_that_is_started_once_bothers_nobody() {
    let system = system(Strategy::OneForAll, Strategy::OneForAll);
    let mut escalation = Escalation::new(&system);
    assert_eq!(escalation.decide(&system, LONER, died(3), 0), Verdict::GiveUp(None));
    assert_eq!(escalation.decide(&system, ONCE, died(1), 0), Verdict::GiveUp(None));
    assert_eq!(escalation, Escalation::new(&system));
}

#[test]
fn a_successor_goes_on_counting() {
    let system = system(Strategy::OneForAll, Strategy::OneForOne);
    let mut escalation = Escalation::new(&system);
    restarted(&mut escalation, &system, DISK, 0);
    let bytes = postcard::to_allocvec(escalation.rates()).expect("counts can be written");
    let rates = postcard::from_bytes(&bytes).expect("and read");
    let mut successor = Escalation::recalled(&system, rates);
    assert_eq!(successor, escalation);
    assert_eq!(restarted(&mut successor, &system, DISK, 0).0, ALL);
    assert_eq!(Escalation::recalled(&system, vec![]), Escalation::new(&system));
}

#[test]
fn the_counts_of_the_most_groups_fit_into_the_ledger() {
    let mut rate = spawn::Rate::default();
    for part in 0..100 {
        for _ in 0..1000 {
            rate.note(u64::MAX / 100 * part, u64::MAX / 4);
        }
    }
    let bytes = postcard::to_allocvec(&vec![rate; manifest::MAX_GROUPS]).expect("counts can be written");
    assert!(bytes.len() < spawn::ENTRY_MAX, "{} bytes", bytes.len());
}
