//! `cargo xtask coverage`: which lines of the kernel's core its tests execute.
//!
//! The compiler instruments the core and its tests, each test program writes down what it has counted, and
//! `llvm_profparser` reads that together with the maps inside the programs. No tool of LLVM's is needed.

mod lines;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use llvm_profparser::CoverageMapping;
use serde_json::Value;

use crate::audit::Source;
use crate::progress::Step;
use crate::workspace;
use lines::{Region, uncovered};

/// The crate that is measured.
const CORE: &str = "kernel-core";
/// Where its code lies.
const SOURCES: &str = "kernel/core/src";

/// Tests that are run.
struct Tests {
    /// The crate that they belong to.
    package: &'static str,
    /// Its folder, in which they run.
    folder: &'static str,
    /// What cargo builds of it.
    programs: &'static [&'static str],
    /// What the harness is told: all that is not named on purpose is left out.
    harness: &'static [&'static str],
}

/// The core's own tests: those beside the code, and the suite of behaviours, without what random registers happen to
/// reach, since no test has asked for that. Then those of the model that take seconds: laws and both searchers use what
/// the core tells observers.
const TESTS: [Tests; 3] = [
    Tests {
        package: CORE,
        folder: "kernel/core",
        programs: &["--lib", "--test", "suite"],
        harness: &["--skip", "hostile::"],
    },
    Tests { package: "model", folder: "tests/model", programs: &["--test", "laws"], harness: &[] },
    Tests { package: "model", folder: "tests/model", programs: &["--test", "agreement"], harness: &["near_the_start"] },
];

/// Counting costs a tenfold in loops unless counters are kept in registers there.
const FLAGS: &str = "-Cinstrument-coverage -Cllvm-args=-do-counter-promotion=true";

/// At least this many lines of a hundred are covered.
pub const WANTED: f64 = 95.0;

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum CoverageError {
    /// A program cannot be started, or a file not be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The tests do not compile.
    #[error("the instrumented tests of {0} cannot be built")]
    Build(&'static str),
    /// Tests fail, so that what they cover means nothing.
    #[error("the instrumented tests of {0} fail; `cargo test --package {0}` shows why")]
    Tests(&'static str),
    /// What the programs counted cannot be read; in the reader's words.
    #[error("the counts of the test programs cannot be read ({0}); is the compiler newer than `llvm_profparser`?")]
    Unreadable(String),
}

/// What is covered of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileCoverage {
    /// Lines with code that could be executed.
    pub lines: usize,
    /// Those that no test has executed, counted from 1.
    pub uncovered: Vec<usize>,
}

/// What is covered of the kernel's core.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    /// By file, whose path starts at the root of the source tree.
    pub files: BTreeMap<PathBuf, FileCoverage>,
}

impl Coverage {
    /// Builds the tests with counters, runs them, and reads what they have counted.
    ///
    /// # Errors
    ///
    /// [`CoverageError`].
    pub fn measure() -> Result<Self, CoverageError> {
        let folder = workspace::target().join("coverage");
        let step = Step::start("Measuring what the tests of the kernel's core execute");
        step.news("building");
        let counts = folder.join("counts");
        if counts.exists() {
            fs::remove_dir_all(&counts)?;
        }
        let mut programs = Vec::new();
        for tests in &TESTS {
            step.news(&format!("{} {}", tests.package, tests.programs.join(" ")));
            for program in build(tests, &folder)? {
                run(&program, tests, &counts)?;
                programs.push(program);
            }
        }
        step.quiet();
        Self::read(&programs, &counts)
    }

    fn read(programs: &[PathBuf], counts: &Path) -> Result<Self, CoverageError> {
        let unreadable = |error: &dyn fmt::Display| CoverageError::Unreadable(error.to_string());
        let mut paths = Vec::new();
        for entry in fs::read_dir(counts)? {
            paths.push(entry?.path());
        }
        let profile = llvm_profparser::merge_profiles(&paths).map_err(|error| unreadable(&error))?;
        let mapping = CoverageMapping::new(programs, &profile, false).map_err(|error| unreadable(&error))?;
        let root = workspace::root();
        let sources = root.join(SOURCES);
        let ours = |files: &[PathBuf]| files.iter().any(|file| file.starts_with(&sources));
        let report = mapping.generate_subreport(ours).map_err(|error| unreadable(&error))?;
        let mut files = BTreeMap::new();
        for (path, result) in &report.files {
            let Ok(relative) = path.strip_prefix(&root) else { continue };
            if !path.starts_with(&sources) || path.ends_with("tests.rs") {
                continue;
            }
            let regions: Vec<Region> = result
                .hits
                .iter()
                .map(|(place, &count)| Region {
                    start: (place.line_start, place.column_start),
                    end: (place.line_end, place.column_end),
                    executed: count > 0,
                })
                .collect();
            files.insert(relative.to_owned(), uncovered(&regions, &Source::test_lines(&fs::read_to_string(path)?)));
        }
        Ok(Self { files })
    }

    /// Lines with code, and how many of them are covered.
    pub fn total(&self) -> (usize, usize) {
        self.files
            .values()
            .fold((0, 0), |(lines, covered), file| (lines + file.lines, covered + file.lines - file.uncovered.len()))
    }

    /// Whether enough is covered.
    pub fn passed(&self) -> bool {
        let (lines, covered) = self.total();
        percent(lines, covered) >= WANTED
    }
}

fn percent(lines: usize, covered: usize) -> f64 {
    if lines == 0 { 0.0 } else { covered as f64 * 100.0 / lines as f64 }
}

/// Builds instrumented tests; returns their programs.
fn build(tests: &Tests, folder: &Path) -> Result<Vec<PathBuf>, CoverageError> {
    let mut cargo = workspace::cargo();
    cargo.args(["test", "--quiet", "--no-run", "--message-format=json-render-diagnostics"]);
    cargo
        .args(["--package", tests.package])
        .args(tests.programs)
        .arg("--target-dir")
        .arg(folder)
        .env("RUSTFLAGS", FLAGS);
    let output = cargo.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(CoverageError::Build(tests.package));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    // The crate's own programs are built along with its tests.
    let tests = messages.filter(|message| message["profile"]["test"] == true);
    Ok(tests.filter_map(|message| message["executable"].as_str().map(PathBuf::from)).collect())
}

/// Runs one test program, which leaves its counts in a folder.
fn run(program: &Path, tests: &Tests, counts: &Path) -> Result<(), CoverageError> {
    let output = Command::new(program)
        .args(tests.harness)
        .current_dir(workspace::root().join(tests.folder))
        .env("LLVM_PROFILE_FILE", counts.join("%m-%p.profraw"))
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        eprintln!("{}", String::from_utf8_lossy(&output.stdout));
        return Err(CoverageError::Tests(tests.package));
    }
    Ok(())
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<40}{:>7}{:>9}{:>9}  not covered", "file", "lines", "covered", "percent")?;
        for (path, file) in &self.files {
            let covered = file.lines - file.uncovered.len();
            row(f, &path.display().to_string(), file.lines, covered)?;
            match &*ranges(&file.uncovered) {
                "" => writeln!(f)?,
                ranges => writeln!(f, "  {ranges}")?,
            }
        }
        let (lines, covered) = self.total();
        row(f, "total", lines, covered)?;
        writeln!(f, "  (at least {WANTED} percent wanted)")
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, lines: usize, covered: usize) -> fmt::Result {
    write!(f, "{name:<40}{lines:>7}{covered:>9}{:>9.1}", percent(lines, covered))
}

/// Numbers in ascending order, with those in a row as `first-last`.
fn ranges(numbers: &[usize]) -> String {
    let mut texts: Vec<String> = Vec::new();
    for run in numbers.chunk_by(|one, next| one + 1 == *next) {
        texts.push(match run {
            [only] => only.to_string(),
            [first, .., last] => format!("{first}-{last}"),
            [] => continue,
        });
    }
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_in_a_row_are_shown_as_one_range() {
        assert_eq!(ranges(&[3, 7, 8, 9, 12, 13]), "3, 7-9, 12-13");
        assert_eq!(ranges(&[]), "");
    }

    #[test]
    fn too_few_covered_lines_fail_and_so_do_none_at_all() {
        let coverage = |lines: usize, uncovered: usize| {
            let file = FileCoverage { lines, uncovered: (1..=uncovered).collect() };
            Coverage { files: BTreeMap::from([(PathBuf::from("a.rs"), file)]) }
        };
        assert!(coverage(100, 5).passed());
        assert!(!coverage(100, 6).passed());
        assert!(!coverage(0, 0).passed());
        assert!(coverage(100, 2).to_string().contains("98.0  1-2"), "{}", coverage(100, 2));
    }
}
