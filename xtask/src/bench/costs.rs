//! What the kernel's work costs beside what the work costs others and what it may cost here: guest instructions, and time beside
//! Linux doing the same in the same run.

use std::collections::BTreeMap;

use super::group::Group;
use super::linux::Costs;
use super::row::{Figure, Peer, Row, Unit};
use super::table::Table;
use super::{BenchError, Plan, counted};
use crate::machine::Accelerator;

/// The same work on Linux.
#[derive(Clone, Copy, Debug)]
struct OnLinux {
    /// Its name in `tests/linux`.
    name: &'static str,
    /// What it is.
    what: &'static str,
    /// Which two times are compared, if time is.
    times: Option<&'static str>,
}

/// A work, as the suite in the machine names it (`tests/conformance/src/costs.rs`).
#[derive(Debug)]
struct Work {
    name: &'static str,
    what: &'static str,
    /// The most instructions that it is to cost, if there is such a bar.
    must: Option<u64>,
    /// How few it could cost.
    goal: Option<u64>,
    /// What it costs others: `docs/performance.md` says how they were measured.
    peers: &'static [(&'static str, u64)],
    /// What of Linux it is compared with in the same run.
    linux: Option<OnLinux>,
    /// Whether it is to cost half of that at most.
    half: bool,
    /// How many times as fast as that it has to be.
    times: Option<f64>,
}

impl Work {
    const fn new(name: &'static str, what: &'static str, peers: &'static [(&'static str, u64)]) -> Self {
        Self { name, what, must: None, goal: None, peers, linux: None, half: false, times: None }
    }

    const fn must(self, must: u64) -> Self {
        Self { must: Some(must), ..self }
    }

    const fn goal(self, goal: u64) -> Self {
        Self { goal: Some(goal), ..self }
    }

    const fn linux(self, name: &'static str, what: &'static str, times: &'static str) -> Self {
        Self { linux: Some(OnLinux { name, what, times: Some(times) }), ..self }
    }

    /// The same where instructions are compared, and no time.
    const fn linux_counted(self, name: &'static str, what: &'static str) -> Self {
        Self { linux: Some(OnLinux { name, what, times: None }), ..self }
    }

    const fn half_of_linux(self) -> Self {
        Self { half: true, ..self }
    }

    const fn times_faster_than_linux(self, times: f64) -> Self {
        Self { times: Some(times), ..self }
    }

    /// What it costs Linux, with the name for people.
    fn of_linux(&self, linux: &BTreeMap<String, u64>) -> Option<(String, f64)> {
        let work = self.linux?;
        Some((format!("Linux {}", work.what), *linux.get(work.name)? as f64))
    }

    /// The row of its instructions, here and, if they were counted, on Linux.
    fn counted(&self, own: &Costs, linux: Option<&Costs>) -> Row {
        let figure = own.fewest.get(self.name).map(|count| Figure::instructions(*count));
        let mut row = Row::new(self.name, self.what, figure);
        row.must = self.must.map(|bar| bar as f64);
        row.goal = self.goal.map(|goal| goal as f64);
        row.peers = self.peers.iter().map(|(name, cost)| Peer::published(name, *cost)).collect();
        if let Some((name, cost)) = linux.and_then(|linux| self.of_linux(&linux.fewest)) {
            row.peers.push(Peer::measured(&name, cost));
            if self.half {
                row.must = Some((cost / 2.0).floor());
            }
        }
        row
    }

    /// The row of how many times as fast as Linux it was; `turns` are the medians of each turn.
    fn compared(&self, turns: &[(Costs, Costs)]) -> Option<Row> {
        let times = self.linux?.times?;
        let pairs: Vec<(f64, f64)> = turns
            .iter()
            .filter_map(|(own, linux)| Some((*own.middle.get(self.name)? as f64, self.of_linux(&linux.middle)?.1)))
            .collect();
        let name = format!("{}-beside-linux", self.name);
        let mut row = Row::new(name, format!("time: {times}"), Figure::times_faster(&pairs));
        row.must = self.times;
        Some(row)
    }

    /// The row of its cycles on hardware, here and on Linux.
    fn cycles(&self, turns: &[(Costs, Costs)]) -> Row {
        let own: Vec<f64> = turns.iter().filter_map(|(own, _)| Some(*own.middle.get(self.name)? as f64)).collect();
        let linux: Vec<_> = turns.iter().filter_map(|(_, linux)| self.of_linux(&linux.middle)).collect();
        let mut row = Row::new(format!("{}-cycles", self.name), self.what, Figure::median(Unit::Cycles, &own));
        let counts: Vec<f64> = linux.iter().map(|(_, cost)| *cost).collect();
        if let (Some((name, _)), Some(figure)) = (linux.first(), Figure::median(Unit::Cycles, &counts)) {
            row.peers.push(Peer::measured(name, figure.value));
        }
        row
    }
}

const IPC: &[Work] = &[
    Work::new(
        "ipc-call-0",
        "call and answer, no words",
        &[("NOVA, 1 word", 284), ("seL4", 467), ("seL4 with budgets", 571)],
    )
    .must(283)
    .goal(220),
    Work::new("ipc-call-4", "the same with 4 words", &[("NOVA", 314), ("seL4", 501), ("seL4 with budgets", 605)])
        .must(283)
        .goal(220),
    Work::new("ipc-call-6", "the same with 6 words", &[])
        .must(283)
        .goal(220)
        .linux("pipe-8", "pipe, 8 bytes each way", "call with 6 words, Linux's pipe")
        .times_faster_than_linux(8.0),
    Work::new("ipc-call-16", "the same with 16 words", &[("NOVA", 434), ("seL4", 1787), ("seL4 with budgets", 2566)])
        .must(433)
        .goal(330),
    Work::new("ipc-call-64", "the same with 64 words", &[("NOVA", 914), ("seL4", 2267), ("seL4 with budgets", 3046)])
        .must(913),
    Work::new(
        "ipc-call-120",
        "the same with 120 words",
        &[("NOVA", 1474), ("seL4", 2827), ("seL4 with budgets", 3606)],
    )
    .must(1000)
    .goal(600),
    Work::new("ipc-call-lease-4096", "call that lends 4 KiB, all of it read", &[])
        .linux("pipe-4096", "pipe, 4 KiB there", "call that lends 4 KiB, Linux's pipe")
        .half_of_linux(),
    Work::new("ipc-refused-number", "refused: no such call", &[("NOVA", 62), ("seL4", 349)]).must(100).goal(61).linux(
        "refused",
        "no such call",
        "refused call, Linux's",
    ),
    Work::new("ipc-refused-handle", "refused: call by no capability", &[]).must(100).goal(61),
];

const NOTIFY: &[Work] =
    &[Work::new("notify-ping-pong", "notification there and back", &[("seL4", 2054), ("seL4 with budgets", 2592)])
        .must(1000)
        .goal(600)
        .linux("eventfd", "eventfd there and back", "notification there and back, Linux's eventfd")];

const MAP: &[Work] = &[Work::new("map-unmap-4096", "a page of 4 KiB mapped and unmapped", &[])
    .must(2000)
    .goal(1000)
    .linux("mmap-munmap", "mmap and munmap", "page mapped and unmapped, Linux's mmap")];

const IRQ: &[Work] = &[Work::new("irq-to-driver", "from an interrupt to the driver's thread that waits for it", &[])
    .must(700)
    .goal(400)];

const SPAWN: &[Work] = &[
    Work::new("spawn-first-message", "a domain of 64 KiB, from its image to its first message", &[])
        .must(80_000)
        .goal(40_000)
        .linux_counted("vfork-exec", "vfork and exec of 10 instructions"),
    Work::new("spawn-build", "of that, until its first thread is started", &[]),
    Work::new("spawn-destroy", "taking it apart", &[]),
];

const RESTART: &[Work] = &[
    Work::new("restart-driver", "a driver with 512 KiB, destroyed, built and started", &[]).must(300_000).goal(100_000),
    Work::new("restart-driver-destroy", "of that, taking it apart", &[]),
    Work::new("restart-driver-zeroing", "of that, zeroing its memory", &[]),
];

/// The suite that measures a group, how its names of the group's works begin, and the works.
fn works(group: Group) -> (&'static str, &'static str, &'static [Work]) {
    match group {
        Group::Ipc => ("costs", "ipc", IPC),
        Group::Notify => ("costs", "notify", NOTIFY),
        Group::Map => ("costs", "map", MAP),
        Group::Irq => ("costs", "irq", IRQ),
        Group::Spawn => ("domains", "spawn", SPAWN),
        Group::Restart => ("domains", "restart", RESTART),
        Group::Density
        | Group::Rpc
        | Group::Boot
        | Group::Block
        | Group::File
        | Group::Recovery
        | Group::Guest
        | Group::Appliance => ("", "", &[]),
    }
}

/// Measures a group of works.
///
/// # Errors
///
/// [`BenchError`].
pub(super) fn costs(group: Group, plan: &Plan) -> Result<Table, BenchError> {
    let (suite, prefix, works) = works(group);
    if plan.accelerator == Accelerator::Kvm {
        let turns = plan.turns()?;
        let cycles = works.iter().map(|work| work.cycles(turns));
        let table = Table::new(group, cycles.chain(works.iter().filter_map(|work| work.compared(turns))).collect());
        return Ok(table.note(plan.about_linux()?).note(plan.about_turns()));
    }
    let own = Costs::read(&counted(suite, prefix, "The kernel's work, counting instructions")?);
    if plan.alone || works.iter().all(|work| work.linux.is_none()) {
        return Ok(table(group, works, &own, None));
    }
    let mut table = table(group, works, &own, Some(plan.counted_linux()?));
    table.notes.push(plan.about_linux()?);
    if works.iter().any(|work| work.linux.is_some_and(|linux| linux.times.is_some())) {
        let turns = plan.turns()?;
        table.rows.extend(works.iter().filter_map(|work| work.compared(turns)));
        table.notes.push(plan.about_turns());
    }
    Ok(table)
}

fn table(group: Group, works: &[Work], own: &Costs, linux: Option<&Costs>) -> Table {
    Table::new(group, works.iter().map(|work| work.counted(own, linux)).collect())
        .note("Instructions: kernel and user stubs on both sides; the fewest of many rounds.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(text: &str) -> Costs {
        Costs::read(text)
    }

    #[test]
    fn a_work_gets_the_cost_that_was_written_beside_its_name() {
        let table = table(Group::Notify, NOTIFY, &costs("cost notify-ping-pong 2961\ncost ipc-call-0 1234\n"), None);
        assert_eq!(table.rows.len(), 1);
        assert_eq!(table.rows[0].figure, Some(Figure::instructions(2961)));
        assert_eq!(table.rows[0].is_met(), Some(false));
    }

    #[test]
    fn a_work_that_was_not_measured_is_not_left_out() {
        let table = table(Group::Map, MAP, &costs("FAIL map-unmap-4096: refused\n"), None);
        assert_eq!(table.rows.len(), 1);
        assert!(!table.rows[0].is_good());
    }

    #[test]
    fn what_may_cost_half_of_linux_has_its_bar_from_the_same_run() {
        let work = Work::new("x", "x", &[]).linux("pipe", "pipe", "x, pipe").half_of_linux();
        let row = |own: &str| work.counted(&costs(own), Some(&costs("cost pipe 2001\nmiddle pipe 5000\n")));
        assert_eq!(row("cost x 1000\n").is_met(), Some(true));
        assert_eq!(row("cost x 1001\n").is_met(), Some(false));
        assert_eq!(work.counted(&costs("cost x 5000"), None).is_met(), None, "there is no Linux to compare with");
    }

    #[test]
    fn time_is_compared_turn_by_turn_by_the_medians() {
        let work = Work::new("x", "x", &[]).linux("pipe", "pipe", "x, pipe").times_faster_than_linux(8.0);
        let turn = |own: u64, linux: u64| {
            (costs(&format!("cost x 1\nmiddle x {own}")), costs(&format!("cost pipe 1\nmiddle pipe {linux}")))
        };
        let turns = [turn(100, 900), turn(200, 1600), turn(100, 700)];
        let row = work.compared(&turns).expect("it is compared");
        assert_eq!(row.figure.map(|figure| (figure.value, figure.least, figure.most)), Some((8.0, 7.0, 9.0)));
        assert_eq!(row.is_met(), Some(true));
        let cycles = work.cycles(&turns);
        assert_eq!(cycles.figure.map(|figure| figure.value), Some(100.0));
        assert_eq!(cycles.peers[0].value, 900.0);
        assert!(Work::new("x", "x", &[]).compared(&turns).is_none());
        assert!(Work::new("x", "x", &[]).linux_counted("pipe", "pipe").compared(&turns).is_none());
    }

    #[test]
    fn works_are_named_after_their_group() {
        for group in Group::ALL {
            let (_, prefix, works) = works(group);
            assert!(works.iter().all(|work| work.name.starts_with(prefix)), "{group:?}");
        }
    }
}
