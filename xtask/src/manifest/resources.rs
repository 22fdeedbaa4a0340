//! What every domain is given some of: processor time, memory, capabilities, threads, and second chances.

use manifest::{MAX_CAPABILITIES, MAX_PROCESSORS, MIN_CAPABILITIES, Restart};
use toml::{Spanned, de::DeValue};

use super::{
    diagnostic::{Diagnostic, Rule},
    reader::Section,
};

const MIB: u64 = 1 << 20;
const MILLISECOND: u64 = 1_000;
const SECOND: u64 = 1_000_000;
const DAY: u64 = 24 * 60 * 60 * SECOND;
/// Most that one domain, vault or ring can be given: the rest of the system must fit beside it.
pub(super) const MAX_SIZE: u64 = 1 << 36;

/// The keys that [`read_resources`] reads, as they may stand in `[defaults]`.
pub(super) const KEYS: &[&str] =
    &["priority", "cpu", "time-slice", "memory", "capabilities", "threads", "restart", "heartbeat"];

/// What `[defaults]` can say for every domain.
#[derive(Clone)]
pub(super) struct Resources {
    pub(super) priority: u8,
    pub(super) cpu: u8,
    pub(super) time_slice_us: u32,
    pub(super) memory: u64,
    pub(super) capabilities: u32,
    pub(super) threads: u16,
    pub(super) restart: Restart,
    pub(super) heartbeat_ms: u32,
}

impl Default for Resources {
    fn default() -> Self {
        Self {
            priority: 100,
            cpu: 0,
            time_slice_us: 5_000,
            memory: MIB,
            capabilities: 256,
            threads: 4,
            restart: DEFAULT_RESTART,
            heartbeat_ms: 0,
        }
    }
}

const DEFAULT_RESTART: Restart =
    Restart::OnDeath { limit: 10, window_ms: 60_000, backoff_ms: 20, max_backoff_ms: 2_000 };

/// What the section says about resources; where it says nothing, or nothing valid, the defaults.
pub(super) fn read_resources(section: &Section<'_>, defaults: &Resources) -> Resources {
    read_resources_with(section, "memory", defaults)
}

/// The same of a section in which the domain's memory is called `memory`.
pub(super) fn read_resources_with(section: &Section<'_>, memory: &str, defaults: &Resources) -> Resources {
    let capabilities =
        section.number("capabilities", MIN_CAPABILITIES.into()..=MAX_CAPABILITIES.into()).and_then(|slots| {
            if slots.get_ref().is_power_of_two() {
                return Some(*slots.get_ref() as u32);
            }
            section.findings().report(
                Diagnostic::new(
                    Rule::InvalidNumber,
                    slots.span(),
                    format!("`capabilities` of {} is not a power of two", slots.get_ref()),
                )
                .hint(format!("the next one is {}", slots.get_ref().next_power_of_two())),
            );
            None
        });
    let number = |key: &str, range| section.number(key, range).map(Spanned::into_inner);
    Resources {
        priority: number("priority", 0..=255).map_or(defaults.priority, |level| level as u8),
        cpu: number("cpu", 0..=u64::from(MAX_PROCESSORS) - 1).map_or(defaults.cpu, |cpu| cpu as u8),
        time_slice_us: section
            .duration("time-slice", 100..=SECOND)
            .map_or(defaults.time_slice_us, |slice| slice as u32),
        memory: section.size(memory, 64 << 10..=MAX_SIZE).map_or(defaults.memory, Spanned::into_inner),
        capabilities: capabilities.unwrap_or(defaults.capabilities),
        threads: number("threads", 1..=64).map_or(defaults.threads, |threads| threads as u16),
        restart: read_restart(section).unwrap_or(defaults.restart),
        heartbeat_ms: read_heartbeat(section).unwrap_or(defaults.heartbeat_ms),
    }
}

fn read_restart(section: &Section<'_>) -> Option<Restart> {
    let value = section.value("restart")?;
    if let DeValue::String(word) = value.get_ref() {
        if word == "never" {
            return Some(Restart::Never);
        }
        section.findings().report(
            Diagnostic::new(Rule::UnknownWord, value.span(), format!("`restart` cannot be `{word}`"))
                .hint("write \"never\", or a table such as { limit = 10, window = \"1min\" }"),
        );
        return None;
    }
    let keys = &["limit", "window", "backoff", "max-backoff"];
    let policy = section.section("restart", "`restart`", keys)?;
    let Restart::OnDeath { limit, window_ms, backoff_ms, max_backoff_ms } = DEFAULT_RESTART else {
        return None;
    };
    let milliseconds =
        |key: &str, default: u32| policy.duration(key, MILLISECOND..=DAY).map_or(default, to_milliseconds);
    let limit = policy.number("limit", 0..=1_000_000).map_or(limit, |limit| *limit.get_ref() as u32);
    let window_ms = milliseconds("window", window_ms);
    let backoff_ms = milliseconds("backoff", backoff_ms);
    let mut max_backoff_ms = milliseconds("max-backoff", max_backoff_ms);
    if max_backoff_ms < backoff_ms {
        match policy.value("max-backoff") {
            Some(value) => policy.findings().report(
                Diagnostic::new(
                    Rule::InvalidDuration,
                    value.span(),
                    format!("`max-backoff` of {max_backoff_ms}ms is less than `backoff` of {backoff_ms}ms"),
                )
                .hint("the wait starts at `backoff` and doubles up to `max-backoff`"),
            ),
            None => max_backoff_ms = backoff_ms,
        }
    }
    Some(Restart::OnDeath { limit, window_ms, backoff_ms, max_backoff_ms })
}

fn read_heartbeat(section: &Section<'_>) -> Option<u32> {
    let written = section.value("heartbeat")?;
    if matches!(written.get_ref(), DeValue::String(word) if word == "none") {
        return Some(0);
    }
    section.duration("heartbeat", 10 * MILLISECOND..=600 * SECOND).map(to_milliseconds)
}

/// Rounded up, so that what is not zero stays so.
fn to_milliseconds(microseconds: u64) -> u32 {
    microseconds.div_ceil(MILLISECOND) as u32
}
