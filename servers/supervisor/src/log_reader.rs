//! One log out of many: the kernel's, and the status pages of all domains, by time.

use crate::state::Supervisor;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use manifest::DomainIndex;
use supervisor::Line;
use userlib::cap::LOG_READ_MAX;
use userlib::{log, status};

/// Every line that is left, the oldest first.
pub(crate) fn lines(supervisor: &Supervisor) -> Vec<Line> {
    let mut lines = kernel_lines(supervisor);
    let own = status::own_records();
    lines.extend(own.iter().map(|record| line(supervisor.name(DomainIndex::SUPERVISOR), record)));
    lines.extend(past_lines(supervisor, DomainIndex::SUPERVISOR));
    for index in supervisor.watched() {
        let name = supervisor.name(index);
        let watched = supervisor.watched_domain(index);
        lines.extend(past_lines(supervisor, index));
        if watched.instance.is_some()
            && let Some(status) = watched.status()
        {
            lines.extend(status.records(0).0.iter().map(|record| line(name, record)));
        }
    }
    lines.sort();
    lines
}

/// Of a domain's instances that are gone.
fn past_lines(supervisor: &Supervisor, index: DomainIndex) -> Vec<Line> {
    let history = supervisor.ledger.and_then(|ledger| ledger.history(index));
    let records = history.map(|history| history.records(0).0).unwrap_or_default();
    records.iter().map(|record| line(supervisor.name(index), record)).collect()
}

fn line(name: &str, record: &status::Record) -> Line {
    let level = match record.level {
        log::Level::Error => "error: ",
        log::Level::Warn => "warning: ",
        log::Level::Info => "",
        log::Level::Debug | log::Level::Trace => "debug: ",
    };
    let seconds = record.time.nanoseconds() / 1_000_000_000;
    let micros = record.time.nanoseconds() / 1_000 % 1_000_000;
    // A domain's text could otherwise pass for another's line.
    let text = record.text.replace(['\n', '\r', '\x1b'], " ");
    Line { time: record.time.nanoseconds(), text: format!("[{seconds:5}.{micros:06}] {name}: {level}{text}\n") }
}

/// The kernel's own lines, which carry no time that could be sorted by: they come first.
fn kernel_lines(supervisor: &Supervisor) -> Vec<Line> {
    let system = supervisor.inventory.system();
    let mut bytes = Vec::new();
    let mut position = 0;
    let mut piece = vec![0; LOG_READ_MAX];
    while let Ok((count, next)) = system.read_log(&mut piece, position) {
        if count == 0 {
            break;
        }
        bytes.extend_from_slice(&piece[..count]);
        position = next;
    }
    let text = String::from_utf8_lossy(&bytes).to_string();
    let numbered = text.lines().filter(|line| !line.is_empty()).zip(0..);
    numbered.map(|(text, time)| Line { time, text: format!("{text}\n") }).collect()
}
