//! One log out of many: the kernel's, and the status pages of all domains, by time.

use crate::state::Supervisor;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use manifest::DomainIndex;
use supervisor::Line;
use userlib::cap::LOG_READ_MAX;
use userlib::status;
use userlib::time::Instant;

/// Every line that is left, the oldest first.
pub(crate) fn lines(supervisor: &Supervisor) -> Vec<Line> {
    let mut lines = kernel_lines(supervisor);
    lines.extend(lines_of(supervisor.name(DomainIndex::SUPERVISOR), &status::own_records()));
    lines.extend(past_lines(supervisor, DomainIndex::SUPERVISOR));
    for index in supervisor.watched() {
        let watched = supervisor.watched_domain(index);
        lines.extend(past_lines(supervisor, index));
        if watched.instance.is_some()
            && let Some(status) = watched.status()
        {
            lines.extend(lines_of(supervisor.name(index), &status.records(0).0));
        }
    }
    lines.sort();
    lines
}

/// Of a domain's instances that are gone.
fn past_lines(supervisor: &Supervisor, index: DomainIndex) -> Vec<Line> {
    let history = supervisor.ledger.and_then(|ledger| ledger.history(index));
    let records = history.map(|history| history.records(0).0).unwrap_or_default();
    lines_of(supervisor.name(index), &records)
}

/// What a domain has written until now.
fn lines_of(name: &str, records: &[status::Record]) -> Vec<Line> {
    let now = Instant::now();
    records.iter().map(|record| Line::of(name, record, now)).collect()
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
