//! Every domain of the default system dies in every way, and comes back: the same clients are served, nobody else dies of it, and no
//! page or kernel object is lost.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, Instant};
use std::{fs, slice};

use super::{SuiteError, Tally};
use crate::build::{self, Composition};
use crate::console::{ConsoleError, Screen};
use crate::disk;
use crate::machine::{Drive, Machine};
use crate::progress::Step;
use crate::session::{PROMPT, Session};
use crate::setup;
use crate::workspace;

/// The table that the run makes, beside the one that is committed.
const PAGE: &str = "docs/reference/restarts.md";

/// The client of every server, which breaks them.
const WITNESS: &str = "witness";
const WITNESS_ENTRY: &str = r#"
[domain.witness]
kind = "app"
provides = ["command"]
uses = ["console", "filesystem", "block", "pci", "echo", "supervision"]
memory = "1M"
heartbeat = "none"
grants = ["kernel-log"]
"#;
/// In this system nobody is made to wait or given up: so many deaths follow each other at once.
const POLICY: &str = r#"restart = { limit = 100000, window = "1min", backoff = "1ms", max-backoff = "1ms" }"#;

/// Deaths after which as much memory is to be in use as after the first.
const DEATHS: u64 = 100;
/// How long a series may take: it only stops what hangs.
const LIMIT: Duration = Duration::from_secs(300);
/// How long the shell is left alone before a line is typed.
const TYPING: Duration = Duration::from_secs(2);
/// What the shell says first, each time that it starts.
const GREETING: &str = "an operating system with watertight compartments.";

/// Who else was started again in a good series, as the witness says it.
const NOBODY: &str = "nobody";
/// What the witness says of a series that it does not wait for, and the shell of one that is not over yet.
const BEGUN: &str = "begun";
const UNANSWERED: &str = "did not answer in time";

/// Who dies, but for the witness.
const DOMAINS: [&str; 8] = ["uart", "pci", "virtio-blk", "fat", "echo", "crashlog", SHELL, SUPERVISOR];
/// Who types, and has no heartbeat that it could miss.
const SHELL: &str = "shell";
/// Who carries out requests to kill, and is not killed by request itself; `init` starts it again.
const SUPERVISOR: &str = "supervisor";

/// The ways to die, with their headings.
const WAYS: [(&str, &str); 4] =
    [("kill", "killed"), ("panic", "panic"), ("fault", "wild pointer"), ("hang", "endless loop")];

/// What the witness says of a series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Report {
    restarts: u64,
    others: String,
    served: u64,
    seen: String,
    remains: String,
}

impl Report {
    fn of(text: &str) -> Option<Self> {
        let lines: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.trim_end().split_once(' ')).collect();
        let number = |name: &str| lines.get(name)?.parse().ok();
        Some(Self {
            restarts: number("restarts")?,
            others: (*lines.get("others")?).to_owned(),
            served: number("served")?,
            seen: (*lines.get("seen")?).to_owned(),
            remains: (*lines.get("remains")?).to_owned(),
        })
    }

    /// What is wrong with it after so many deaths.
    fn faults(&self, deaths: u64) -> Vec<String> {
        let mut faults = Vec::new();
        if self.restarts != deaths {
            faults.push(format!("it was started again {} times after {deaths} deaths", self.restarts));
        }
        if self.others != NOBODY {
            faults.push(format!("others were started again: {}", self.others));
        }
        if self.served != deaths {
            faults.push(format!("the same client was served after {} of {deaths} deaths", self.served));
        }
        if self.remains != "same" {
            faults.push(format!("what is in use has changed: {}", self.remains));
        }
        faults
    }
}

/// What became of a domain, by the way in which it died.
type Fates = BTreeMap<&'static str, Report>;

/// The way in which a domain dies so often.
fn main_way(domain: &str) -> &'static str {
    if domain == SUPERVISOR { "panic" } else { "kill" }
}

/// How often a domain dies in this way.
fn deaths(domain: &str, way: &str) -> u64 {
    if way == main_way(domain) { DEATHS } else { 1 }
}

/// Why a domain does not die in this way, if it does not.
fn exemption(domain: &str, way: &str) -> Option<&'static str> {
    match (domain, way) {
        (SHELL, "hang") => Some("not watched"),
        (SUPERVISOR, "kill") => Some("refused"),
        _ => None,
    }
}

fn machine() -> Result<Machine, SuiteError> {
    let composition = Composition::of_system_where(WITNESS, WITNESS_ENTRY, with_policy)?;
    let built = build::build(&composition, &setup::ensure()?)?;
    let image = workspace::system_target().join("restart.img");
    disk::write_default(&image).map_err(std::io::Error::other)?;
    let mut machine = Machine::new(&built.image);
    machine.drives = vec![Drive::new(&image)];
    machine.plugs = built.plugs;
    Ok(machine)
}

/// The manifest with this suite's policy in place of all others.
fn with_policy(source: &str) -> String {
    let line = |line: &str| if line.starts_with("restart = ") { POLICY.to_owned() } else { line.to_owned() };
    source.lines().flat_map(|text| [line(text), "\n".to_owned()]).collect()
}

/// Breaks a domain and says what became of it.
fn break_domain(session: &mut Session, domain: &str, way: &str) -> Result<Result<Report, String>, ConsoleError> {
    let count = deaths(domain, way);
    let command = format!("witness break {domain} {way} {count}");
    let greetings = |text: &str| text.matches(GREETING).count() as u64;
    let before = greetings(&session.transcript());
    let mut reply = session.run_within(&command, LIMIT)?;
    let until = Instant::now() + LIMIT;
    if domain == SHELL {
        let has_greeted = |screen: &Screen| {
            let shown: u64 = screen.lines().iter().map(|line| greetings(line)).sum();
            (shown >= before + count && screen.current().trim_end() == PROMPT.trim_end()).then_some(())
        };
        // It breaks by itself when a line has been typed: until then it waits for a person.
        while let Err(error) = session.console().wait_for("the shell to greet again", TYPING, has_greeted) {
            if Instant::now() > until {
                return Err(error);
            }
            session.console().type_text("\r")?;
        }
    }
    // Who is not waited for is asked about, until there is something to tell: the shell itself waits no longer than any client.
    while reply.text.trim_end() == BEGUN || (reply.text.contains(UNANSWERED) && Instant::now() < until) {
        reply = session.run_within("witness report", LIMIT)?;
    }
    Ok(Report::of(&reply.text).ok_or(reply.text))
}

/// Whether the table names every domain of the system that was booted.
fn unnamed(list: &str) -> Vec<String> {
    let named = list.lines().skip(1).filter_map(|line| line.split_whitespace().next());
    let known = |name: &str| DOMAINS.contains(&name) || [WITNESS, "DMA", "This"].contains(&name);
    named.filter(|name| !known(name)).map(str::to_owned).collect()
}

/// Has the domains die, those whose test's name contains `filter`, and compares the table with the committed one, or writes it.
pub(super) fn run(filter: Option<&str>, writes: bool) -> Result<Tally, SuiteError> {
    let mut session = Session::boot(&machine()?)?;
    let step = Step::start("Every domain dies in every way");
    let mut tally = Tally::default();
    let mut count = |name: &str, faults: &[String]| {
        if faults.is_empty() {
            tally.passed += 1;
        } else {
            tally.failed += 1;
            step.print(&format!("FAIL {name}: {}", faults.join("; ")));
        }
    };
    // Its disk is there when this is answered.
    session.run_within("ls /disk", LIMIT)?;
    let mut table: BTreeMap<&str, Fates> = BTreeMap::new();
    for domain in DOMAINS {
        for (way, _) in WAYS {
            let name = format!("{domain}_comes_back_after_{way}");
            if exemption(domain, way).is_some() || !filter.is_none_or(|filter| name.contains(filter)) {
                continue;
            }
            step.news(&name);
            match break_domain(&mut session, domain, way)? {
                Ok(report) => {
                    count(&name, &report.faults(deaths(domain, way)));
                    table.entry(domain).or_default().insert(way, report);
                }
                Err(said) => count(&name, &[format!("the witness says: {}", said.trim())]),
            }
        }
    }
    if filter.is_none() {
        let unnamed = unnamed(&session.run_within("ps", LIMIT)?.text);
        let faults: Vec<_> = unnamed.iter().map(|name| format!("{name} never dies")).collect();
        count("every_domain_of_the_system_dies", &faults);
        let reply = session.run_within("kill supervisor", LIMIT)?;
        let fault = format!("`kill supervisor` was carried out: {}", reply.text.trim());
        count("the_supervisor_is_not_killed_by_request", if reply.succeeded { slice::from_ref(&fault) } else { &[] });
        count("the_page_in_the_tree_says_what_the_machine_does", &compare(&page(&table), writes)?);
    }
    step.quiet();
    Ok(tally)
}

/// Compares the page with the committed one, or writes it.
fn compare(page: &str, writes: bool) -> Result<Vec<String>, SuiteError> {
    let path = workspace::root().join(PAGE);
    if writes {
        fs::write(&path, page)?;
    } else if fs::read_to_string(&path).unwrap_or_default() != page {
        return Ok(vec![format!("{PAGE} says otherwise: `cargo xtask test restart --docs` writes it")]);
    }
    Ok(Vec::new())
}

/// The text of the page.
fn page(table: &BTreeMap<&str, Fates>) -> String {
    let mut text = format!(
        "# What becomes of each domain that dies\n\n\
         Written by `cargo xtask test restart --docs`, which boots the default system with one more client, has each domain die in each\n\
         way, {DEATHS} times in one of them, and looks at what becomes of that client's connections, which it has made before the first\n\
         death. In a cell is how often the domain was started again. The suite fails if anybody else dies as well, or if this table\n\
         is not what comes out.\n\n"
    );
    let headings: Vec<&str> = WAYS.iter().map(|(_, heading)| *heading).collect();
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "| domain | {} | old clients served | what a client sees | in use after |",
        headings.join(" | ")
    );
    let _ = writeln!(text, "| --- |{} ---: | --- | --- |", " ---: |".repeat(WAYS.len()));
    for domain in DOMAINS {
        let fates = table.get(domain);
        let of = |way: &str| fates.and_then(|fates| fates.get(way));
        let cells = WAYS.map(|(way, _)| match of(way) {
            Some(report) => report.restarts.to_string(),
            None => exemption(domain, way).unwrap_or("not measured").to_owned(),
        });
        let main = of(main_way(domain)).cloned().unwrap_or_default();
        let (served, seen) = match domain {
            SHELL => ("-".to_owned(), "a new prompt".to_owned()),
            "crashlog" => ("-".to_owned(), "nothing: it has no clients".to_owned()),
            _ => (format!("{} of {DEATHS}", main.served), main.seen),
        };
        let _ = writeln!(text, "| {domain} | {} | {served} | {seen} | {} |", cells.join(" | "), main.remains);
    }
    let _ = writeln!(
        text,
        "\n*Not watched*: the manifest gives the shell no heartbeat, since it waits for a person. *Refused*: the\n\
         supervisor carries out requests to kill, so nobody can have it killed; it is made to break, and `init` starts the next one.\n\
         *In use*: pages that the kernel has been given, pages that are mapped, and live kernel objects of each kind that an\n\
         account limits (accounts, slots of capability tables, spaces, domains, threads, budgets, endpoints, notifications, mappings,\n\
         interrupts), in the whole machine, after the last of {DEATHS} deaths beside after the first."
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "restarts 100\nothers nobody\nserved 100\nseen calls are served\nremains same\n";

    #[test]
    fn a_series_is_good_only_if_everything_about_it_is() {
        let report = Report::of(SAID).expect("it is well-formed");
        assert_eq!(report.faults(100), Vec::<String>::new());
        for (good, bad) in
            [("restarts 100", "restarts 99"), ("others nobody", "others fat"), ("served 100", "served 0")]
        {
            let report = Report::of(&SAID.replace(good, bad)).expect("it is well-formed");
            assert_eq!(report.faults(100).len(), 1, "{bad}");
        }
        let leaking = Report::of(&SAID.replace("same", "4096 pages mapped")).expect("it is well-formed");
        assert_eq!(leaking.faults(100).len(), 1);
        assert_eq!(Report::of("it does not come back"), None);
    }

    #[test]
    fn nobody_waits_in_the_system_that_is_broken() {
        let source = "[defaults]\nrestart = { limit = 10 }\n[domain.a]\nmemory = \"1M\"\nrestart = \"never\"\n";
        let changed = with_policy(source);
        assert_eq!(changed.matches(POLICY).count(), 2);
        assert!(changed.contains("memory = \"1M\"\n"), "{changed}");
    }

    #[test]
    fn a_domain_that_the_table_does_not_name_is_found() {
        let list = "NAME STATE\nsupervisor running\nfat running\nnetwork running\nwitness running\nDMA is confined\n";
        assert_eq!(unnamed(list), ["network"]);
    }

    #[test]
    fn the_page_has_a_row_for_each_domain() {
        let report = Report::of(SAID).expect("it is well-formed");
        let table = BTreeMap::from([("uart", BTreeMap::from([("kill", report)]))]);
        let text = page(&table);
        assert!(
            text.contains(
                "| uart | 100 | not measured | not measured | not measured | 100 of 100 | calls are served | same |"
            ),
            "{text}"
        );
        assert!(DOMAINS.iter().all(|domain| text.contains(&format!("\n| {domain} |"))));
    }
}
