//! Groups: what is made of them, and mistakes in them.

use manifest::{GroupIndex, Strategy};

use super::*;

const DOMAINS: &str =
    "[supervisor]\n[domain.a]\nkind = \"app\"\n[domain.b]\nkind = \"app\"\n[domain.c]\nkind = \"app\"\n";

/// What is wrong with groups that begin at line 8, behind three domains.
fn in_groups(groups: &str) -> Vec<String> {
    mistakes(&format!("{DOMAINS}{groups}"))
}

#[test]
fn groups_come_behind_those_in_which_they_lie() {
    let system = compiled(&format!(
        "{DOMAINS}[group.inner]\nparent = \"outer\"\nmembers = [\"c\", \"a\"]\nstrategy = \"one-for-all\"\n\
         [group.outer]\nmembers = [\"b\"]\nstrategy = \"rest-for-one\"\nlimit = 7\nwindow = \"2s\"\n"
    ));
    let names: Vec<_> = system.groups.iter().map(|group| group.name.as_str()).collect();
    assert_eq!(names, ["outer", "inner"]);
    let (outer, inner) = (&system.groups[0], &system.groups[1]);
    assert_eq!((outer.parent, inner.parent), (None, Some(GroupIndex(0))));
    assert_eq!((outer.strategy, outer.limit, outer.window_ms), (Strategy::RestForOne, 7, 2_000));
    assert_eq!((inner.strategy, inner.limit, inner.window_ms), (Strategy::OneForAll, 3, 300_000));
    let [a, b, c] = ["a", "b", "c"].map(|name| system.domain_named(name).expect("it is declared"));
    assert_eq!((&outer.members, &inner.members), (&vec![b], &vec![a, c]));
    assert_eq!(system.check(), Ok(()));
}

#[test]
fn members_are_domains_once() {
    assert_eq!(
        in_groups("[group.g]\nmembers = [\"a\", \"d\", \"a\", \"supervisor\"]\nstrategy = \"one-for-one\"\n"),
        [
            "9:17 unknown-domain `\"d\"`: there is no domain `d` (did you mean `a`?)",
            "9:22 duplicate `\"a\"`: `a` is a member of a group twice (remove one)",
            "9:27 misplaced `\"supervisor\"`: the supervisor restarts groups and is a member of none (remove it)",
        ]
    );
}

#[test]
fn parents_are_groups_and_form_no_circle() {
    assert_eq!(
        in_groups("[group.g]\nparent = \"h\"\nmembers = [\"a\"]\nstrategy = \"one-for-one\"\n"),
        ["9:10 unknown-group `\"h\"`: there is no group `h` (did you mean `g`?)"]
    );
    let circle = in_groups(
        "[group.g]\nparent = \"h\"\nstrategy = \"one-for-one\"\n[group.h]\nparent = \"g\"\nstrategy = \"one-for-one\"\n",
    );
    assert_eq!(circle.len(), 2);
    assert!(circle[0].starts_with("9:10 cycle `\"h\"`: group `g` would lie within itself"), "{circle:?}");
}

#[test]
fn a_group_has_a_strategy_and_somebody_in_it() {
    assert_eq!(
        in_groups("[group.g]\nlimit = 1\n"),
        [
            "8:8 missing-key `g`: group `g` needs the key `strategy` (add `strategy = \"rest-for-one\"`)",
            "8:8 missing-key `g`: group `g` has neither members nor groups within it (add `members = [\"fat\"]`, or \
             name it as the `parent` of another group)",
        ]
    );
    let misspelt = in_groups("[group.g]\nmembers = [\"a\"]\nstrategy = \"one-for-al\"\n");
    assert_eq!(misspelt.len(), 1);
    assert!(misspelt[0].contains("did you mean `one-for-all`?"), "{misspelt:?}");
}

#[test]
fn there_are_no_more_groups_than_a_system_has_room_for() {
    let groups: String = (0..17)
        .map(|number| {
            format!(
                "[group.g{number}]\n{}strategy = \"one-for-one\"\n",
                if number == 0 { "members = [\"a\"]\n" } else { "parent = \"g0\"\nmembers = []\n" }
            )
        })
        .collect();
    assert!(in_groups(&groups).iter().any(|mistake| mistake.contains("a system has at most 16 groups")));
}
