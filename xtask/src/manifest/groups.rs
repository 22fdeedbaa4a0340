//! Groups of domains that are restarted together: reading them, whether they form trees, and putting them together.

use std::ops::RangeInclusive;

use manifest::{DomainIndex, Group, GroupIndex, MAX_GROUPS, SUPERVISOR, Strategy, name_is_valid};
use toml::{Spanned, de::DeValue};

use super::{
    declaration::{Declaration, duplicate},
    diagnostic::{Diagnostic, Rule},
    reader::{self, Findings, Section, Value},
    spelling,
};

const KEYS: &[&str] = &["members", "parent", "strategy", "limit", "window"];
const LIMIT: RangeInclusive<u64> = 0..=1_000_000;
const DEFAULT_LIMIT: u32 = 3;
/// Microseconds: a millisecond to a day.
const WINDOW: RangeInclusive<u64> = 1_000..=24 * 60 * 60 * 1_000_000;
const DEFAULT_WINDOW_MS: u32 = 5 * 60_000;

/// One `[group.…]`.
pub(super) struct GroupDeclaration {
    name: Spanned<String>,
    parent: Option<Spanned<String>>,
    members: Vec<Spanned<String>>,
    strategy: Strategy,
    limit: u32,
    window_ms: u32,
}

/// Reads every group.
pub(super) fn read<'t>(top: &Section<'t>) -> Vec<GroupDeclaration> {
    let tables = top.named_tables("group");
    tables.into_iter().filter_map(|(name, value)| read_group(name, value, top.findings())).collect()
}

fn read_group<'t>(name: Spanned<&'t str>, value: &'t Value<'t>, findings: &'t Findings) -> Option<GroupDeclaration> {
    if !name_is_valid(name.get_ref()) {
        findings.report(
            Diagnostic::new(Rule::InvalidName, name.span(), format!("a group cannot be called `{}`", name.get_ref()))
                .hint("a name has lowercase letters, digits and inner dashes, the first a letter"),
        );
    }
    let DeValue::Table(table) = value.get_ref() else {
        reader::report_type(name.get_ref(), value, "a table", findings);
        return None;
    };
    let section = Section::open(table, name.span(), format!("group `{}`", name.get_ref()), KEYS, None, findings);
    let strategy = section
        .required_text("strategy", "\"rest-for-one\"")
        .and_then(|written| reader::word("strategy", &written, &Strategy::ALL, Strategy::name, findings));
    let owned = |text: Spanned<&str>| Spanned::new(text.span(), (*text.get_ref()).to_owned());
    Some(GroupDeclaration {
        parent: section.text("parent").map(owned),
        members: section.texts("members").into_iter().map(owned).collect(),
        // One that cannot be read is reported already.
        strategy: strategy.unwrap_or(Strategy::OneForOne),
        limit: section.number("limit", LIMIT).map_or(DEFAULT_LIMIT, |limit| *limit.get_ref() as u32),
        window_ms: section.duration("window", WINDOW).map_or(DEFAULT_WINDOW_MS, |us| us.div_ceil(1_000) as u32),
        name: owned(name),
    })
}

/// Reports members and parents that are not there, domains in two groups, circles, and groups of nobody.
pub(super) fn check(groups: &[GroupDeclaration], domains: &[Declaration], findings: &Findings) {
    if let Some(beyond) = groups.get(MAX_GROUPS) {
        let message = format!("a system has at most {MAX_GROUPS} groups");
        findings.report(Diagnostic::new(Rule::TooMany, beyond.name.span(), message).hint("merge or remove groups"));
    }
    let mut members: Vec<&Spanned<String>> = Vec::new();
    for group in groups {
        for member in &group.members {
            check_member(member, domains, findings);
            match members.iter().find(|earlier| earlier.get_ref() == member.get_ref()) {
                Some(earlier) => findings.report(duplicate(
                    member.span(),
                    earlier.span(),
                    format!("`{}` is a member of a group twice", member.get_ref()),
                )),
                None => members.push(member),
            }
        }
        check_parent(group, groups, findings);
        let is_parent =
            |other: &GroupDeclaration| other.parent.as_ref().is_some_and(|name| name.get_ref() == group.name.get_ref());
        if group.members.is_empty() && !groups.iter().any(is_parent) {
            let message = format!("group `{}` has neither members nor groups within it", group.name.get_ref());
            let missing = Diagnostic::new(Rule::MissingKey, group.name.span(), message);
            findings.report(missing.hint("add `members = [\"fat\"]`, or name it as the `parent` of another group"));
        }
    }
}

fn check_member(member: &Spanned<String>, domains: &[Declaration], findings: &Findings) {
    let name = member.get_ref().as_str();
    if name == SUPERVISOR {
        let message = "the supervisor restarts groups and is a member of none";
        findings.report(Diagnostic::new(Rule::Misplaced, member.span(), message).hint("remove it"));
    } else if !domains.iter().any(|domain| domain.name.get_ref() == name) {
        let known = domains.iter().skip(1).map(|domain| domain.name.get_ref().as_str());
        findings.report(
            Diagnostic::new(Rule::UnknownDomain, member.span(), format!("there is no domain `{name}`"))
                .maybe_hint(spelling::hint(name, known)),
        );
    }
}

fn check_parent(group: &GroupDeclaration, groups: &[GroupDeclaration], findings: &Findings) {
    let Some(parent) = &group.parent else { return };
    let name = parent.get_ref().as_str();
    if find(groups, name).is_none() {
        let known = groups.iter().map(|group| group.name.get_ref().as_str());
        findings.report(
            Diagnostic::new(Rule::UnknownGroup, parent.span(), format!("there is no group `{name}`"))
                .maybe_hint(spelling::hint(name, known)),
        );
    } else if depth(group, groups).is_none() {
        let message = format!("group `{}` would lie within itself", group.name.get_ref());
        findings.report(
            Diagnostic::new(Rule::Cycle, parent.span(), message)
                .hint("remove `parent` from one of the groups in the circle: that one is the system's own"),
        );
    }
}

fn find<'a>(groups: &'a [GroupDeclaration], name: &str) -> Option<&'a GroupDeclaration> {
    groups.iter().find(|group| group.name.get_ref() == name)
}

/// How many groups a group lies in; `None` if it is in a circle, or below one.
fn depth(group: &GroupDeclaration, groups: &[GroupDeclaration]) -> Option<usize> {
    let mut at = group;
    for depth in 0..=groups.len() {
        let Some(parent) = at.parent.as_ref().and_then(|parent| find(groups, parent.get_ref())) else {
            return Some(depth);
        };
        at = parent;
    }
    None
}

/// The groups of a manifest without mistakes, each behind the one to which it belongs.
pub(super) fn assemble(groups: &[GroupDeclaration], domains: &[Declaration]) -> Vec<Group> {
    let mut ordered: Vec<&GroupDeclaration> = groups.iter().collect();
    ordered.sort_by_key(|group| depth(group, groups));
    let place = |name: &str| ordered.iter().position(|group| group.name.get_ref() == name);
    let index = |name: &str| domains.iter().position(|domain| domain.name.get_ref() == name);
    let assembled = ordered.iter().map(|group| {
        let mut members: Vec<_> =
            group.members.iter().filter_map(|member| Some(DomainIndex(index(member.get_ref())? as u16))).collect();
        members.sort_unstable();
        Group {
            name: group.name.get_ref().clone(),
            parent: group.parent.as_ref().and_then(|parent| Some(GroupIndex(place(parent.get_ref())? as u16))),
            members,
            strategy: group.strategy,
            limit: group.limit,
            window_ms: group.window_ms,
        }
    });
    assembled.collect()
}
