//! What deaths of the disk's driver cost those who read: throughput while it is killed again and again, and the way from a death to
//! the first request that is served.

use std::time::Duration;

use super::BenchError;
use super::file::{FILE, LOAD};
use super::group::Group;
use super::plan::{self, Plan};
use super::row::{Figure, Row, Unit};
use super::table::Table;
use crate::build::{self, Composition};
use crate::disk::{self, LOAD_FILE};
use crate::machine::{self, Drive, Machine, Monitor};
use crate::progress::Step;
use crate::session::Session;
use crate::setup;
use crate::workspace;

/// Who dies.
const DRIVER: &str = "virtio-blk";
/// The application's entry of the manifest: as in [`super::file`], and it may kill.
const READER: &str = r#"
[domain.load]
kind = "app"
provides = ["command"]
uses = [{ interface = "filesystem", ring = "8200K" }, "supervision"]
memory = "1M"
# Above those that work for it: what it asks for in one go is taken in one go.
priority = 130
heartbeat = "none"
"#;
/// The same below everybody: it keeps the processor busy while others work for it.
const SPINNER_PRIORITY: &str = "priority = 1";
const READER_PRIORITY: &str = "priority = 130";

/// How often throughput is measured with each kind of death.
const ROUNDS: usize = 21;
/// For how long, in milliseconds: so short that a busy host is no different at the end of a round than at its beginning.
const READING: u64 = 2000;
/// In so many of these rounds every byte is checked, too, for as long.
const CHECKS: usize = 3;
/// Deaths whose way to the next request is counted.
const DEATHS: usize = 60;
/// So many of them at a time, since the shell waits for a command for half a minute, and there is more than half a second between
/// two of them.
const DEATHS_AT_A_TIME: usize = 15;
/// How long a command may take: counting instructions makes the machine slower.
const LIMIT: Duration = Duration::from_secs(300);

/// How much of the throughput a death each second may cost, in percent.
const LOSS_ALLOWED: f64 = 2.0;
/// How many instructions may pass from a death to the first request that is served.
const INSTRUCTIONS_ALLOWED: f64 = 1e6;

/// How often the driver is killed.
struct Fate {
    /// For keys.
    name: &'static str,
    what: &'static str,
    /// Milliseconds from one death to the next; it is never killed if there is none.
    every: Option<u64>,
    /// The most that it may cost, in percent of the throughput.
    allowed: Option<f64>,
}

const FATES: [Fate; 3] = [
    Fate { name: "never", what: "never killed", every: None, allowed: None },
    Fate { name: "1s", what: "killed every second", every: Some(1000), allowed: Some(LOSS_ALLOWED) },
    Fate { name: "100ms", what: "killed every 100 ms", every: Some(100), allowed: None },
];

/// What the application says of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reading {
    bytes: u64,
    nanoseconds: u64,
    deaths: u64,
}

impl Reading {
    fn of(text: &str) -> Option<Self> {
        let line = text.lines().find_map(|line| line.strip_prefix("load: "))?;
        let mut numbers = line.split(", ").map(|part| part.split(' ').next()?.parse::<u64>().ok());
        let mut next = || numbers.next().flatten();
        let (_parts, bytes, nanoseconds, wrong, failed, servers) =
            (next()?, next()?, next()?, next()?, next()?, next()?);
        (wrong + failed + servers == 0).then_some(Self { bytes, nanoseconds, deaths: next()? })
    }

    /// Megabytes a second.
    fn rate(self) -> f64 {
        self.bytes as f64 * 1e3 / self.nanoseconds.max(1) as f64
    }
}

/// Instructions from each death to the next request, by what the application says.
fn recoveries(text: &str) -> Vec<f64> {
    let number = |line: &str| {
        let mut words = line.split(' ');
        let (way, number, unit) = (words.next()?, words.next()?, words.next()?);
        (["kill", "panic", "fault"].contains(&way) && unit == "ns").then(|| number.parse().ok())?
    };
    text.lines().filter_map(number).collect()
}

fn boot(name: &str, entry: &str, arrange: impl FnOnce(&mut Machine)) -> Result<(Session, Monitor), BenchError> {
    let composition = Composition::of_system_with(LOAD, entry)?;
    let file_name = format!("bulkhead-{name}.elf");
    let built = build::build(&Composition { file_name, ..composition }, &setup::ensure()?)?;
    let image = workspace::system_target().join("load.img");
    disk::write_load(&image, FILE).map_err(|error| BenchError::NoFigures(error.to_string()))?;
    let mut machine = Machine::new(&built.image);
    machine.drives = vec![Drive::read_only(&image)];
    let socket = machine::socket();
    machine.monitor = Some(socket.clone());
    arrange(&mut machine);
    let session = Session::boot_with(&machine, None, LIMIT)?;
    Ok((session, Monitor::connect(&socket)?))
}

/// Runs a command that has to succeed; returns what it printed.
fn must(session: &mut Session, command: &str) -> Result<String, BenchError> {
    let reply = session.run_within(command, LIMIT)?;
    if reply.succeeded { Ok(reply.text) } else { Err(BenchError::NoFigures(reply.text)) }
}

/// Reads for a while, and has the driver killed meanwhile.
fn read(
    (session, monitor): &mut (Session, Monitor),
    work: &'static str,
    milliseconds: u64,
    fate: &Fate,
) -> Result<Reading, BenchError> {
    let killing = fate.every.map_or_else(String::new, |every| format!(" killing {DRIVER} {every}"));
    let before = monitor.disk_counts()?;
    let text = must(session, &format!("load {work} /{LOAD_FILE} 4 1024 for {milliseconds}{killing}"))?;
    let counted = monitor.disk_counts()?.since(before);
    let reading = Reading::of(&text).ok_or(BenchError::NoFigures(text))?;
    if counted.bytes_read < reading.bytes {
        return Err(BenchError::Cached { work, said: reading.bytes, counted: counted.bytes_read });
    }
    Ok(reading)
}

/// Readings with each fate, in turn.
fn throughput(plan: &Plan) -> Result<Vec<[Reading; FATES.len()]>, BenchError> {
    let step = Step::start("Reading while the driver dies");
    let mut machine = boot("recovery", READER, |machine| plan::time(plan.accelerator, machine))?;
    let mut rounds = Vec::new();
    for round in 0..ROUNDS {
        step.news(&format!("round {} of {ROUNDS}", round + 1));
        let mut readings = [Reading { bytes: 0, nanoseconds: 0, deaths: 0 }; FATES.len()];
        // None of them is always the first.
        for place in (0..FATES.len()).map(|place| (place + round) % FATES.len()) {
            readings[place] = read(&mut machine, "sequential", READING, &FATES[place])?;
        }
        for fate in FATES.iter().filter(|_| round % (ROUNDS / CHECKS) == 0) {
            read(&mut machine, "check", READING, fate)?;
        }
        rounds.push(readings);
    }
    step.quiet();
    Ok(rounds)
}

/// Instructions from each death to the first request that is served.
fn instructions() -> Result<Vec<f64>, BenchError> {
    let step = Step::start("From deaths to the next request, counting instructions");
    let entry = READER.replace(READER_PRIORITY, SPINNER_PRIORITY);
    let (mut session, _monitor) = boot("recovery-counted", &entry, |machine| {
        machine.extra.extend(["-icount", "shift=0,sleep=off"].map(Into::into));
    })?;
    let mut counts = Vec::new();
    while counts.len() < DEATHS {
        step.news(&format!("{} of {DEATHS}", counts.len()));
        let text = must(&mut session, &format!("load recover /{LOAD_FILE} {DEATHS_AT_A_TIME} {DRIVER}"))?;
        let said = recoveries(&text);
        if said.len() < DEATHS_AT_A_TIME {
            return Err(BenchError::NoFigures(text));
        }
        counts.extend(said);
    }
    step.quiet();
    Ok(counts)
}

/// The rows of throughput.
fn rates(rounds: &[[Reading; FATES.len()]]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (place, fate) in FATES.iter().enumerate() {
        let rates: Vec<f64> = rounds.iter().map(|readings| readings[place].rate()).collect();
        let what = format!("reading in order, driver {}, MB a second", fate.what);
        rows.push(Row::new(format!("recovery-rate-{}", fate.name), what, Figure::median(Unit::Number, &rates)));
        if fate.every.is_none() {
            continue;
        }
        let losses = rounds.iter().map(|readings| 100.0 * (1.0 - readings[place].rate() / readings[0].rate()));
        let losses = Figure::median(Unit::Percent, &losses.collect::<Vec<_>>());
        let row = Row::new(format!("recovery-loss-{}", fate.name), format!("driver {}: lost", fate.what), losses);
        rows.push(match fate.allowed {
            Some(allowed) => row.must(allowed),
            None => row,
        });
    }
    rows
}

/// The rows of the way from a death to a request.
fn ways(counts: &[f64]) -> [Row; 2] {
    let median = Figure::median(Unit::Instructions, counts);
    let worst = median.map(|figure| Figure::exactly(Unit::Instructions, figure.most));
    [
        Row::new("recovery-first-request", "from a death to the first request that is served", median)
            .must(INSTRUCTIONS_ALLOWED),
        Row::new("recovery-first-request-worst", "the same, the worst", worst),
    ]
}

/// Measures it.
///
/// # Errors
///
/// [`BenchError`].
pub(super) fn recovery(plan: &Plan) -> Result<Table, BenchError> {
    let ways = ways(&instructions()?);
    let rounds = throughput(plan)?;
    let mut rows = rates(&rounds);
    rows.extend(ways);
    let deaths: u64 = rounds.iter().flatten().map(|reading| reading.deaths).sum();
    Ok(Table::new(Group::Recovery, rows)
        .note(format!(
            "1 MiB at a time and four of them, past all caches, {ROUNDS} rounds of {READING} ms each in turn, {deaths} deaths; a word \
             of each page is looked at, and every byte in {CHECKS} further rounds with the same deaths. Losses are beside the \
             reading of the same round in which nobody died: median and range."
        ))
        .note(format!(
            "{DEATHS} deaths, by turns by kill, panic and wild pointer: all instructions of the machine from the call that kills, or \
             breaks, to the data of a page that was asked for right behind it, while the processor never rests."
        )))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "x\nload: 3 parts, 4000000 bytes, 2000000 ns, 0 wrong, 0 failed, 0 new servers, 7 deaths\n";

    #[test]
    fn a_reading_counts_only_if_nothing_was_wrong() {
        let reading = Reading::of(SAID).expect("it is well-formed");
        assert_eq!(reading, Reading { bytes: 4_000_000, nanoseconds: 2_000_000, deaths: 7 });
        assert_eq!(reading.rate(), 2000.0);
        assert_eq!(Reading::of(&SAID.replace("0 wrong", "1 wrong")), None);
        assert_eq!(Reading::of(&SAID.replace("0 new", "1 new")), None);
        assert_eq!(Reading::of("load: it failed"), None);
    }

    #[test]
    fn losses_are_beside_the_same_round_and_only_those_of_a_second_have_a_bar() {
        let reading = |bytes| Reading { bytes, nanoseconds: 1_000, deaths: 0 };
        let rounds = [[1000, 990, 600], [2000, 1960, 1200], [500, 480, 350]].map(|round| round.map(reading));
        let rows = rates(&rounds);
        let row = |name: &str| rows.iter().find(|row| row.name == name).expect("there is a row");
        assert_eq!(row("recovery-rate-never").figure.map(|figure| figure.value), Some(1000.0));
        let loss = row("recovery-loss-1s").figure.expect("it was measured");
        assert!((loss.value - 2.0).abs() < 1e-9 && (loss.most - 4.0).abs() < 1e-9, "{loss:?}");
        assert!(row("recovery-loss-1s").must.is_some());
        assert_eq!(row("recovery-loss-100ms").must, None);
    }

    #[test]
    fn the_way_to_the_first_request_has_its_bar_at_the_median() {
        let counts = recoveries("kill 800000 ns\npanic 900000 ns\nfault 1200000 ns\nother 3 ns\nkill x ns\n");
        assert_eq!(counts, [800_000.0, 900_000.0, 1_200_000.0]);
        let [median, worst] = ways(&counts);
        assert_eq!(median.is_met(), Some(true));
        assert_eq!(worst.figure.map(|figure| figure.value), Some(1_200_000.0));
        assert_eq!(ways(&[])[0].is_met(), Some(false), "nothing was measured");
    }
}
