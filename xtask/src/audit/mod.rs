//! `cargo xtask audit`: how much code there is, by part and, of what everybody has to trust, by file; whether every
//! unsafe block says why it is sound; and whether the kernel's core does something forbidden.

mod exception;
mod forbidden;
mod image;
mod report;
mod source;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use exception::Exception;
pub use forbidden::{Finding, PATTERNS};
pub use image::ImageSize;
pub use source::{Source, Unreasoned};

use crate::workspace;

/// Parts of the system and the folders they lie in; a file belongs to the first part that holds it.
const PARTS: [(&str, &[&str]); 10] = [
    (ABI, &["kernel/abi"]),
    (CORE, &["kernel/core"]),
    (IOMMU, &["kernel/x86_64/src/iommu"]),
    (SHELL, &["kernel/x86_64", "kernel"]),
    ("loader", &["bootimage"]),
    ("userlib", &["userlib"]),
    ("servers", &["servers"]),
    ("drivers", &["drivers"]),
    ("test suites", &["tests"]),
    ("xtask", &["xtask"]),
];

/// What kernel and programs agree on: constants and types.
const ABI: &str = "kernel abi";
/// The kernel's decisions, in which nothing is unsafe.
const CORE: &str = "kernel core";
/// The part of the kernel that touches the machine.
const SHELL: &str = "kernel shell";
/// The part of it that drives the makers' IOMMUs.
const IOMMU: &str = "kernel IOMMU";

/// The parts that every domain has to trust, which are listed by file.
const TRUSTED: [&str; 4] = [CORE, SHELL, IOMMU, ABI];

/// The hardware shell, drivers of IOMMUs apart, stays below this many lines of code.
pub const SHELL_LIMIT: usize = 4_500;
/// Core, hardware shell and drivers of IOMMUs together stay below this many lines of code.
pub const KERNEL_LIMIT: usize = 14_500;
/// The kernel's image has at most so many bytes of variables that do not start as zero.
const DATA_LIMIT: u64 = 64 << 10;

/// What was counted of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct File {
    /// Where it is, from the root of the source tree.
    pub path: PathBuf,
    /// The part that it belongs to.
    pub part: &'static str,
    /// Lines of code: without blank lines, comments and tests.
    pub code: usize,
    /// Lines of test code.
    pub tests: usize,
    /// Blocks and implementations that are unsafe.
    pub unsafe_blocks: usize,
    /// Those of them without a `SAFETY:` reason directly above.
    pub unreasoned: Vec<Unreasoned>,
    /// Lints that places in it are excepted from, outside of test files.
    pub exceptions: Vec<Exception>,
}

/// Why there is no audit.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// A file cannot be read, or cargo not be started.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The kernel's core does not compile; holds the compiler's messages.
    #[error("{0}\nthe kernel's core cannot be looked through for forbidden patterns")]
    Clippy(String),
}

/// What was found in the whole source tree.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    /// Every file of every part.
    pub files: Vec<File>,
    /// What the kernel's core does that is forbidden and not excepted with a reason.
    pub forbidden: Vec<Finding>,
    /// How big the kernel is that was built last.
    pub image: Option<ImageSize>,
}

impl Audit {
    /// Looks through the source tree, at the kernel's core with clippy, and at the last kernel that was built.
    ///
    /// # Errors
    ///
    /// [`AuditError`].
    pub fn of_tree() -> Result<Self, AuditError> {
        Ok(Self {
            files: Self::count(&workspace::root())?,
            forbidden: forbidden::find()?,
            image: ImageSize::of_last_kernel(),
        })
    }

    fn count(root: &Path) -> io::Result<Vec<File>> {
        let mut paths = Vec::new();
        rust_files(root, &mut paths)?;
        paths.sort();
        let mut files = Vec::new();
        for path in paths {
            let relative = path.strip_prefix(root).unwrap_or(&path).to_owned();
            let belongs = |folders: &[&str]| folders.iter().any(|folder| relative.starts_with(folder));
            let Some((part, _)) = PARTS.iter().find(|(_, folders)| belongs(folders)) else { continue };
            let text = fs::read_to_string(&path)?;
            let mut source = Source::read(&text);
            let mut exceptions = Exception::find_in(&text);
            if is_test_file(&relative) {
                source.tests += std::mem::take(&mut source.code);
                exceptions.clear();
            }
            files.push(File {
                path: relative,
                part,
                code: source.code,
                tests: source.tests,
                unsafe_blocks: source.unsafe_blocks,
                unreasoned: source.unreasoned,
                exceptions,
            });
        }
        Ok(files)
    }

    /// The files of a part.
    fn of_part(&self, part: &str) -> impl Iterator<Item = &File> {
        self.files.iter().filter(move |file| file.part == part)
    }

    /// Lines of code of a part.
    fn code_of(&self, part: &str) -> usize {
        self.of_part(part).map(|file| file.code).sum()
    }

    /// What is excepted from the lints that are forbidden in the kernel's core, with the file that it is in.
    fn exceptions(&self) -> impl Iterator<Item = (&Path, &Exception)> {
        let forbidden = |lint: &String| PATTERNS.iter().any(|(pattern, _)| pattern == lint);
        self.of_part(CORE)
            .flat_map(|file| file.exceptions.iter().map(|exception| (file.path.as_path(), exception)))
            .filter(move |(_, exception)| exception.lints.iter().any(forbidden))
    }

    /// Everything that is wrong, a sentence each.
    pub fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        for file in &self.files {
            for Unreasoned { line, text } in &file.unreasoned {
                let path = file.path.display();
                complaints.push(format!("{path}:{line}: `{text}` without a SAFETY: reason directly above"));
            }
        }
        for finding in &self.forbidden {
            complaints.push(format!("{}: {} ({}), without a reason", finding.place, finding.message, finding.lint));
        }
        for (path, exception) in self.exceptions().filter(|(_, exception)| exception.reason.is_none()) {
            let (path, lints) = (path.display(), exception.lints.join(", "));
            complaints.push(format!("{path}:{}: an exception from {lints} without a reason", exception.line));
        }
        let shell = self.code_of(SHELL);
        let kernel = shell + self.code_of(CORE) + self.code_of(IOMMU);
        for (what, lines, limit) in [(SHELL, shell, SHELL_LIMIT), ("kernel", kernel, KERNEL_LIMIT)] {
            if lines >= limit {
                complaints.push(format!("{what}: {lines} lines of code, which should be fewer than {limit}"));
            }
        }
        // A table that is not all zero as long as it is empty is in the file with all its slots, is checked and copied at
        // every boot.
        if let Some(image) = self.image.filter(|image| image.data > DATA_LIMIT) {
            complaints.push(format!(
                "kernel image: {} bytes of data, which should be at most {DATA_LIMIT}: something big does not start as zero",
                image.data
            ));
        }
        complaints
    }

    /// Whether nothing is wrong.
    pub fn passed(&self) -> bool {
        self.complaints().is_empty()
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

#[cfg(test)]
mod tests {
    use super::*;

    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn audit(&self) -> Audit {
            Audit { files: Audit::count(self.0.path()).unwrap(), ..Audit::default() }
        }
    }

    #[test]
    fn a_tree_is_counted_by_part_and_what_lacks_a_reason_fails_it() {
        let tree = Tree::new();
        tree.write("kernel/core/src/lib.rs", "//! Docs.\n\nfn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n");
        tree.write("kernel/core/tests/whole.rs", "fn c() {}\n");
        tree.write("kernel/x86_64/src/lib.rs", "// SAFETY: because.\nunsafe impl Send for A {}\n");
        tree.write("target/debug/build/out.rs", "fn generated() {}\n");
        tree.write("elsewhere/src/lib.rs", "fn d() {}\n");
        let audit = tree.audit();
        assert_eq!((audit.code_of(CORE), audit.of_part(CORE).map(|file| file.tests).sum::<usize>()), (1, 5));
        assert_eq!((audit.code_of(SHELL), audit.of_part(SHELL).map(|file| file.unsafe_blocks).sum::<usize>()), (1, 1));
        assert_eq!(audit.files.iter().map(|file| file.code).sum::<usize>(), 2);
        assert!(audit.passed());

        tree.write("kernel/src/main.rs", "fn e() {\n    unsafe { f() }\n}\n");
        let audit = tree.audit();
        assert!(!audit.passed());
        assert!(audit.to_string().contains("kernel/src/main.rs:2: `unsafe { f() }`"), "{audit}");
    }

    #[test]
    fn a_kernel_that_has_grown_too_big_fails() {
        let tree = Tree::new();
        tree.write("kernel/x86_64/src/lib.rs", &"fn a() {}\n".repeat(SHELL_LIMIT - 1));
        assert!(tree.audit().passed());
        tree.write("kernel/src/main.rs", "fn a() {}\n");
        assert_eq!(tree.audit().complaints(), ["kernel shell: 4500 lines of code, which should be fewer than 4500"]);
        tree.write("kernel/src/main.rs", "");
        tree.write("kernel/core/src/lib.rs", &"fn a() {}\n".repeat(KERNEL_LIMIT - SHELL_LIMIT));
        tree.write("kernel/x86_64/src/iommu/mod.rs", "fn a() {}\n");
        assert_eq!(tree.audit().complaints().len(), 1);
    }

    #[test]
    fn a_kernel_whose_empty_tables_are_not_all_zero_fails() {
        let image = |data| Some(ImageSize { data, zero: 1 << 30, ..ImageSize::default() });
        assert!(Audit { image: image(DATA_LIMIT), ..Audit::default() }.passed());
        assert!(!Audit { image: image(DATA_LIMIT + 1), ..Audit::default() }.passed());
    }

    #[test]
    fn exceptions_in_the_core_are_listed_and_need_a_reason() {
        let tree = Tree::new();
        tree.write("kernel/core/src/a.rs", "#[expect(clippy::panic, reason = \"because\")]\nfn a() {}\n");
        let audit = tree.audit();
        assert!(audit.passed());
        assert!(audit.to_string().contains("because"), "{audit}");
        tree.write("kernel/core/src/a.rs", "#[allow(clippy::panic)]\nfn a() {}\n");
        assert!(!tree.audit().passed());
    }
    #[test]
    fn forbidden_patterns_without_a_reason_fail() {
        let finding = Finding { place: "a.rs:1".into(), lint: "clippy::panic".into(), message: "a panic".into() };
        let audit = Audit { forbidden: vec![finding], ..Audit::default() };
        assert_eq!(audit.complaints(), ["a.rs:1: a panic (clippy::panic), without a reason"]);
    }
}
