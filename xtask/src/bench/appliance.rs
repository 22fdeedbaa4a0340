//! The same small server as a domain of its own and as the only process of a Linux in a guest, asked by the same client, in one machine
//! that counts instructions.

use std::time::Duration;

use super::BenchError;
use super::group::Group;
use super::guest::memory_of;
use super::row::{Figure, Peer, Row, Unit};
use super::table::Table;
use crate::build::{self, Composition};
use crate::guest::appliance::{Appliance, CLIENT, DOMAIN, GUEST, INSIDE, MEMORY, NATIVE};
use crate::machine::Machine;
use crate::progress::Step;
use crate::session::Session;
use crate::setup;

/// Values that are set and asked for.
const VALUES: u32 = 200;
/// How often each is started.
const STARTS: usize = 3;
/// How long anything may take: counting instructions makes the machine slower.
const LIMIT: Duration = Duration::from_secs(300);

/// What is known of one of the two.
#[derive(Clone, Debug, PartialEq)]
struct Sample {
    /// Mebibytes.
    memory: f64,
    /// Instructions until it answers, the median of its starts.
    start: u64,
    /// Instructions until a request is answered, the median of all.
    request: u64,
}

/// The number before a word in what the client says.
fn number_before(word: &str, text: &str) -> Option<u64> {
    text.split_once(word)?.0.rsplit(' ').next()?.parse().ok()
}

fn take(session: &mut Session, stream: &str, domain: &str) -> Result<Sample, BenchError> {
    let mut say = |arguments: &str| {
        let reply = session.run_within(&format!("{CLIENT} {stream} {arguments}"), LIMIT)?;
        if reply.succeeded { Ok(reply.text) } else { Err(BenchError::NoFigures(reply.text)) }
    };
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        let text = say(&format!("start {domain}"))?;
        starts.push(number_before(" ns", &text).ok_or(BenchError::NoFigures(text))?);
    }
    starts.sort_unstable();
    let text = say(&format!("measure {VALUES}"))?;
    let median = text.split_once("median ").and_then(|(_, rest)| number_before(" ns", rest));
    let request = median.ok_or(BenchError::NoFigures(text))?;
    let table = session.run_within("ps", LIMIT)?.text;
    let memory = memory_of(domain, &table).ok_or(BenchError::NoFigures(table))?;
    Ok(Sample { memory, start: starts[STARTS / 2], request })
}

/// Measures it.
///
/// # Errors
///
/// [`BenchError`].
pub(super) fn appliance() -> Result<Table, BenchError> {
    let step = Step::start("A server as a domain and in a guest, counting instructions");
    let source = setup::ensure()?;
    let appliance = Appliance::obtain(&source)?;
    let composition = Composition::of_system_changed("bulkhead-appliance.elf", |system| appliance.system_with(&system));
    let built = build::build(&composition?, &source)?;
    let mut machine = Machine::new(&built.image);
    machine.memory = appliance.memory()?;
    machine.extra.extend(["-icount", "shift=0,sleep=off"].map(Into::into));
    let mut session = Session::boot_with(&machine, None, LIMIT)?;
    step.news("as a domain");
    let native = take(&mut session, NATIVE, DOMAIN)?;
    step.news("in a guest");
    let inside = take(&mut session, INSIDE, GUEST)?;
    step.quiet();
    Ok(Table::new(Group::Appliance, rows(&native, &inside)).note(format!(
        "Linux {}, {MEMORY} of memory and one processor; the server is its first process and answers at a virtio console. Starts are counted \
         from the request to the first answer, medians of {STARTS}; requests as their client sees them, the median of {}.",
        appliance.version,
        2 * VALUES
    )))
}

fn rows(native: &Sample, inside: &Sample) -> Vec<Row> {
    let row = |name: &str, what: &str, figure: Figure, other: f64| {
        Row::new(format!("appliance-{name}"), what, Some(figure)).peer(Peer::measured("in a Linux guest", other))
    };
    vec![
        row("memory", "memory of a small server", Figure::exactly(Unit::Mebibytes, native.memory), inside.memory),
        row("start", "from its start to its first answer", Figure::instructions(native.start), inside.start as f64),
        row("request", "a request and its answer", Figure::instructions(native.request), inside.request as f64),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_client_says_is_read() {
        assert_eq!(number_before(" ns", "ready after 123456 ns\n"), Some(123_456));
        assert_eq!(number_before(" ns", "it does not answer"), None);
    }

    #[test]
    fn each_row_has_both_sides() {
        let native = Sample { memory: 0.5, start: 1000, request: 10 };
        let inside = Sample { memory: 64.0, start: 9000, request: 90 };
        for row in rows(&native, &inside) {
            assert_eq!(row.peers.len(), 1, "{}", row.name);
            assert!(row.peers[0].value > row.figure.unwrap().value, "{}", row.name);
        }
    }
}
