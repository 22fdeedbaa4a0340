//! `cargo xtask mutants`: whether tests notice when one decision of the kernel's core is another.
//!
//! cargo-mutants changes the core in one place after the other (`.cargo/mutants.toml`), builds it, and runs tests. First
//! those that take a second; what survives them, again, against all tests of the core and of its model that run on the
//! host. What survives those is explained in `docs/mutants.md`, or a test is missing.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Stdio;

use crate::setup::{NoTool, Tool};
use crate::workspace;

const CARGO_MUTANTS: Tool =
    Tool { name: "cargo-mutants", version: "27.1.0", purpose: "it changes the core and runs the tests" };

/// Where survivors are explained.
const EXPLANATIONS: &str = "docs/mutants.md";

/// Of a hundred changes with which the core can be built, so many are noticed at least.
const WANTED: f64 = 90.0;

/// Tests of the first round: those beside the code, and the suite of behaviours without the few that take longer than all
/// others together. The first that fails is enough.
const QUICK: &[&str] = &[
    "--lib",
    "--test",
    "suite",
    "--",
    "-Zunstable-options",
    "--fail-fast",
    "--skip",
    "whatever_the_registers",
    "--skip",
    "every_system_call_refuses_noise",
    "--skip",
    "a_hundred_restarts",
    "--skip",
    "many_callers_hear",
    "--skip",
    "mappings_that_were_promised",
];

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum MutantsError {
    /// cargo-mutants cannot be started, or what it has written not be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// There is no cargo-mutants.
    #[error(transparent)]
    NoTool(#[from] NoTool),
    /// It has not come to its end.
    #[error("cargo-mutants has failed: see {0}")]
    Failed(String),
}

/// A part of all changes, as `1/8`: the second of eight.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which part; all of them if there is none.
    pub shard: Option<String>,
    /// In which files; in all of the core if none is named.
    pub files: Vec<String>,
    /// How many are tested at once.
    pub jobs: usize,
}

/// What became of the changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fates {
    /// Those that a test noticed, or that ran for ever.
    pub noticed: usize,
    /// Those that nothing has noticed, with a reason why that is right.
    pub explained: Vec<String>,
    /// Those that nothing has noticed.
    pub unexplained: Vec<String>,
}

impl Fates {
    fn of(noticed: usize, survivors: Vec<String>, explanations: &str) -> Self {
        let (explained, unexplained) = survivors.into_iter().partition(|survivor| is_explained(survivor, explanations));
        Self { noticed, explained, unexplained }
    }

    fn percent(&self) -> f64 {
        let all = self.noticed + self.explained.len() + self.unexplained.len();
        100.0 * self.noticed as f64 / all.max(1) as f64
    }

    /// Whether enough were noticed, and all others are explained.
    pub fn passed(&self) -> bool {
        self.percent() >= WANTED && self.unexplained.is_empty()
    }
}

/// Whether a line of `explanations` names the file and the change of `FILE:LINE:COLUMN: CHANGE`.
fn is_explained(survivor: &str, explanations: &str) -> bool {
    let mut parts = survivor.splitn(4, ':');
    let (Some(file), Some(change)) = (parts.next(), parts.nth(2)) else {
        return false;
    };
    let (file, change) = (format!("`{file}`"), format!("`{}`", change.trim()));
    // Within a table a bar has to be escaped.
    explanations.lines().map(|line| line.replace("\\|", "|")).any(|line| line.contains(&file) && line.contains(&change))
}

impl fmt::Display for Fates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for survivor in &self.unexplained {
            writeln!(f, "not noticed: {survivor}")?;
        }
        if !self.unexplained.is_empty() {
            writeln!(f, "A test is missing for each of these, or a reason in {EXPLANATIONS}.")?;
        }
        let all = self.noticed + self.explained.len() + self.unexplained.len();
        let (noticed, percent, explained) = (self.noticed, self.percent(), self.explained.len());
        writeln!(
            f,
            "{noticed} of {all} changes of the core are noticed, {percent:.1} %; {explained} others are explained"
        )
    }
}

/// Makes the changes, one after the other, and has them tested.
///
/// # Errors
///
/// [`MutantsError`].
pub fn run(plan: &Plan) -> Result<Fates, MutantsError> {
    let path = CARGO_MUTANTS.install()?;
    let output = workspace::target().join("mutants");
    fs::create_dir_all(&output)?;
    let round = |options: &[&str], which: &[String], tests: &[&str]| -> Result<(), MutantsError> {
        let mut cargo = workspace::cargo();
        cargo.args(["mutants", "--baseline=skip", "--no-shuffle", "--output"]).arg(&output);
        cargo.args(["--jobs", &plan.jobs.to_string()]).args(options).args(which);
        cargo.arg("--").args(tests).env("PATH", &path).stdin(Stdio::null());
        // What lets the test harness stop at the first failure is not stable yet.
        cargo.env("RUSTC_BOOTSTRAP", "1");
        // 2: something survived; 3: something ran for too long.
        match cargo.status()?.code() {
            Some(0 | 2 | 3) => Ok(()),
            _ => Err(MutantsError::Failed(output.join("mutants.out/debug.log").display().to_string())),
        }
    };
    let lists = output.join("mutants.out");
    let shard = plan.shard.iter().map(|shard| format!("--shard={shard}"));
    let part: Vec<String> = shard.chain(plan.files.iter().map(|file| within(file))).collect();
    round(&["--test-package", "kernel-core", "--timeout", "60"], &part, QUICK)?;
    let mut noticed = noticed_in(&lists)?;
    let mut survivors = changes_in(&lists, "missed.txt")?;
    if !survivors.is_empty() {
        let those: Vec<String> = survivors.iter().map(|name| only(name)).collect();
        let options = ["--iterate", "--test-package", "kernel-core,model", "--profile", "dev", "--timeout", "600"];
        round(&options, &those, &["--lib", "--tests"])?;
        // Fields that are left out are tried whatever the names that were asked for (cargo-mutants 27.1).
        let again = noticed_in(&lists)?;
        noticed.extend(survivors.extract_if(.., |name| again.contains(name)));
    }
    let explanations = fs::read_to_string(workspace::root().join(EXPLANATIONS))?;
    Ok(Fates::of(noticed.len(), survivors, &explanations))
}

/// The option that chooses one change by its name.
fn only(name: &str) -> String {
    format!("--re=^{}$", literal(name))
}

/// The option that chooses the changes of a file: their names begin with it.
fn within(file: &str) -> String {
    format!("--re=^{}:", literal(file))
}

/// The regular expression that this text matches, and no other.
fn literal(text: &str) -> String {
    let mut expression = String::new();
    for character in text.chars() {
        if "\\.+*?()|[]{}^$".contains(character) {
            expression.push('\\');
        }
        expression.push(character);
    }
    expression
}

/// Which changes were noticed in a round: caught by a test, or never done with it.
fn noticed_in(lists: &Path) -> io::Result<BTreeSet<String>> {
    Ok([changes_in(lists, "caught.txt")?, changes_in(lists, "timeout.txt")?].concat().into_iter().collect())
}

/// The names of the changes in one of the lists that cargo-mutants writes.
fn changes_in(lists: &Path, list: &str) -> io::Result<Vec<String>> {
    Ok(fs::read_to_string(lists.join(list))?.lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survivors() -> Vec<String> {
        ["cpu.rs:90:50: replace < with <= in Cpu::is_late", "cpu.rs:91:50: replace < with == in Cpu::is_late"]
            .map(|name| format!("kernel/core/src/{name}"))
            .to_vec()
    }

    #[test]
    fn a_survivor_is_explained_by_a_line_with_its_file_and_change_wherever_it_has_moved() {
        let explanations = "| `kernel/core/src/cpu.rs` | `replace < with <= in Cpu::is_late` | both are the same |";
        let fates = Fates::of(98, survivors(), explanations);
        assert_eq!((fates.explained.len(), fates.unexplained.len()), (1, 1));
        assert!(!fates.passed());
        assert!(fates.to_string().contains("98 of 100 changes of the core are noticed, 98.0 %"));
    }

    #[test]
    fn a_bar_in_a_table_is_a_bar() {
        let explanations = r"| `kernel/core/src/cpu.rs` | `replace \| with ^ in Cpu::id` | no bit in common |";
        assert!(is_explained("kernel/core/src/cpu.rs:1:2: replace | with ^ in Cpu::id", explanations));
    }

    #[test]
    fn a_change_is_chosen_by_its_name_to_the_letter() {
        assert_eq!(
            only("kernel/core/src/account.rs:47:39: replace += with *= in Kernel<T>::charge"),
            r"--re=^kernel/core/src/account\.rs:47:39: replace \+= with \*= in Kernel<T>::charge$"
        );
    }

    #[test]
    fn too_few_that_are_noticed_fail_however_well_explained() {
        let explanations = "`kernel/core/src/cpu.rs` `replace < with <= in Cpu::is_late`";
        let survivor = survivors()[..1].to_vec();
        assert!(Fates::of(9, survivor.clone(), explanations).passed());
        assert!(!Fates::of(8, survivor, explanations).passed());
    }
}
