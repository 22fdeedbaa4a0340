//! `cargo xtask audit`: how much code there is, by part, and whether every unsafe block says why it is sound.

mod source;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use source::{Source, Unreasoned};

use crate::workspace;

/// Parts of the system and the folders they lie in; a file belongs to the first part that holds it.
const PARTS: [(&str, &[&str]); 9] = [
    ("kernel abi", &["kernel/abi"]),
    ("kernel core", &["kernel/core"]),
    ("kernel shell", &["kernel/x86_64", "kernel"]),
    ("loader", &["bootimage"]),
    ("userlib", &["userlib"]),
    ("servers", &["servers"]),
    ("drivers", &["drivers"]),
    ("test suites", &["tests"]),
    ("xtask", &["xtask"]),
];

/// What was counted of one part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub name: &'static str,
    /// Lines of code: without blank lines, comments and tests.
    pub code: usize,
    /// Lines of test code.
    pub tests: usize,
    /// Blocks and implementations that are unsafe.
    pub unsafe_blocks: usize,
    /// Those of them without a `SAFETY:` reason directly above: file and line.
    pub unreasoned: Vec<(PathBuf, Unreasoned)>,
}

/// What was counted of the whole source tree.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    /// The parts, in the order of the table.
    pub parts: Vec<Part>,
}

impl Audit {
    /// Counts the source tree.
    ///
    /// # Errors
    ///
    /// If a file cannot be read.
    pub fn of_tree() -> io::Result<Self> {
        Self::of(&workspace::root())
    }

    fn of(root: &Path) -> io::Result<Self> {
        let mut parts: Vec<Part> = PARTS.iter().map(|(name, _)| Part { name, ..Part::default() }).collect();
        let mut files = Vec::new();
        rust_files(root, &mut files)?;
        files.sort();
        for file in files {
            let relative = file.strip_prefix(root).unwrap_or(&file).to_owned();
            let Some(index) = PARTS.iter().position(|(_, folders)| folders.iter().any(|f| relative.starts_with(f)))
            else {
                continue;
            };
            let source = Source::read(&fs::read_to_string(&file)?);
            let part = &mut parts[index];
            if is_test_file(&relative) {
                part.tests += source.code + source.tests;
            } else {
                part.code += source.code;
                part.tests += source.tests;
            }
            part.unsafe_blocks += source.unsafe_blocks;
            part.unreasoned.extend(source.unreasoned.into_iter().map(|place| (relative.clone(), place)));
        }
        Ok(Self { parts })
    }

    /// Whether every unsafe block says why it is sound.
    pub fn passed(&self) -> bool {
        self.parts.iter().all(|part| part.unreasoned.is_empty())
    }
}

/// Whether a whole file is test code: integration tests, and modules that only tests include.
fn is_test_file(relative: &Path) -> bool {
    let top = relative.iter().next().is_some_and(|folder| folder == "tests");
    top || relative.iter().any(|part| part == "tests" || part == "tests.rs" || part == "benches")
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if entry.file_type()?.is_dir() {
            if name != "target" && !name.starts_with('.') {
                rust_files(&path, found)?;
            }
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
    Ok(())
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<14}{:>8}{:>8}{:>15}{:>16}", "part", "code", "tests", "unsafe blocks", "without reason")?;
        let mut total = Part { name: "total", ..Part::default() };
        for part in &self.parts {
            row(f, part)?;
            total.code += part.code;
            total.tests += part.tests;
            total.unsafe_blocks += part.unsafe_blocks;
            total.unreasoned.extend(part.unreasoned.iter().cloned());
        }
        row(f, &total)?;
        writeln!(f, "\nLines without blank lines and comments; \"tests\" are test modules and test files.")?;
        for (file, place) in &total.unreasoned {
            writeln!(f, "{}:{}: `{}` without a SAFETY: reason directly above", file.display(), place.line, place.text)?;
        }
        Ok(())
    }
}

fn row(f: &mut fmt::Formatter<'_>, part: &Part) -> fmt::Result {
    writeln!(
        f,
        "{:<14}{:>8}{:>8}{:>15}{:>16}",
        part.name,
        part.code,
        part.tests,
        part.unsafe_blocks,
        part.unreasoned.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_counted_by_part_and_what_lacks_a_reason_fails_it() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("kernel/core/src/lib.rs", "//! Docs.\n\nfn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n");
        write("kernel/core/tests/whole.rs", "fn c() {}\n");
        write("kernel/x86_64/src/lib.rs", "// SAFETY: because.\nunsafe impl Send for A {}\n");
        write("target/debug/build/out.rs", "fn generated() {}\n");
        write("elsewhere/src/lib.rs", "fn d() {}\n");
        let audit = Audit::of(root.path()).unwrap();
        let part = |name: &str| audit.parts.iter().find(|part| part.name == name).unwrap();
        assert_eq!((part("kernel core").code, part("kernel core").tests), (1, 5));
        assert_eq!((part("kernel shell").code, part("kernel shell").unsafe_blocks), (1, 1));
        assert_eq!(audit.parts.iter().map(|part| part.code).sum::<usize>(), 2);
        assert!(audit.passed());

        write("kernel/src/main.rs", "fn e() {\n    unsafe { f() }\n}\n");
        let audit = Audit::of(root.path()).unwrap();
        assert!(!audit.passed());
        assert!(audit.to_string().contains("kernel/src/main.rs:2: `unsafe { f() }`"), "{audit}");
    }
}
