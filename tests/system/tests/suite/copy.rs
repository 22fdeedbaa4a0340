//! A copy of the tree, in which a test may change what people change.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use system_tests::Bench;
use tempfile::TempDir;
use xtask::build::{self, Composition};
use xtask::scaffold::Tree;
use xtask::{setup, workspace};

/// Files that are copied, because they are changed; everything else is shared with the tree that is tested, so that what
/// was built of it is not built again.
const CHANGED: [&str; 3] = ["system.toml", "Cargo.toml", "Cargo.lock"];
/// Folders in which something is made.
const GROWING: [&str; 2] = ["servers", "drivers"];

/// A tree that may be changed.
pub(crate) struct Copy {
    folder: TempDir,
    root: PathBuf,
}

impl Copy {
    pub(crate) fn make() -> Self {
        // What cargo remembers of build scripts names the tree that was built first, which must not be one that goes.
        drop(Bench::without_disk());
        let folder = tempfile::tempdir_in(workspace::system_target()).expect("a folder for the tree");
        let root = folder.path().canonicalize().expect("it is there").join("tree");
        fs::create_dir(&root).expect("an empty tree");
        share(&workspace::root(), &root);
        Self { folder, root }
    }

    /// The folder around the tree.
    pub(crate) fn surroundings(&self) -> &Path {
        self.folder.path()
    }

    /// Its root.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// What `new` and `remove` change.
    pub(crate) fn tree(&self) -> Tree {
        Tree::at(&self.root)
    }

    /// Builds the system that it describes, and puts its image among the files of `bench`, which is to boot it: tests run
    /// beside one another, and none is to boot what another has made.
    pub(crate) fn build_for(&self, bench: &mut Bench) {
        let source = setup::ensure().unwrap_or_else(|error| panic!("{error}"));
        let mut composition = Composition::of_tree(&self.root).unwrap_or_else(|error| panic!("{error}"));
        let own = self.folder.path().file_name().expect("folders have names").to_string_lossy();
        composition.file_name = format!("{own}.elf");
        let built = build::build(&composition, &source).unwrap_or_else(|error| panic!("{error}"));
        bench.machine.image = bench.path("system.elf");
        fs::rename(built.image, &bench.machine.image).expect("both are where things are built");
        bench.machine.plugs = built.plugs;
    }

    /// The text of every file that can be changed, and what is in the folders that can grow.
    pub(crate) fn state(&self) -> (Vec<String>, Vec<PathBuf>) {
        let texts = CHANGED.map(|file| fs::read_to_string(self.root.join(file)).expect("it was copied")).to_vec();
        let entries = GROWING.iter().flat_map(|folder| fs::read_dir(self.root.join(folder)).expect("it was made"));
        let mut entries: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        entries.sort();
        (texts, entries)
    }
}

/// A machine with the default disk and a further command of the shell's, `name`, whose domain and others `entries` of the
/// manifest describe.
pub(crate) fn bench_with(name: &str, entries: &str) -> Bench {
    bench_with_commands(&[name], entries)
}

/// A machine with the default disk whose system is what `change` makes of the manifest's text.
pub(crate) fn bench_with_manifest(change: impl FnOnce(String) -> String) -> Bench {
    let copy = Copy::make();
    let path = copy.root().join("system.toml");
    let system = fs::read_to_string(&path).expect("it was copied");
    fs::write(path, change(system)).expect("it is a copy");
    let mut bench = Bench::with_default_disk();
    copy.build_for(&mut bench);
    bench
}

/// The same with several commands.
pub(crate) fn bench_with_commands(names: &[&str], entries: &str) -> Bench {
    let copy = Copy::make();
    let path = copy.root().join("system.toml");
    let system = fs::read_to_string(&path).expect("it was copied");
    let others = "    # Commands that apps carry out";
    assert_eq!(system.matches(others).count(), 1);
    let command = |name: &&str| format!("    {{ interface = \"command\", from = \"{name}\", name = \"{name}\" }},\n");
    let commands: String = names.iter().map(command).collect();
    fs::write(path, system.replace(others, &(commands + others)) + entries).expect("it is a copy");
    let mut bench = Bench::with_default_disk();
    copy.build_for(&mut bench);
    bench
}

/// Puts everything in `from` but what is no source into `to`.
fn share(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("the tree") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("names of the tree are text");
        let (source, place) = (entry.path(), to.join(&name));
        if CHANGED.contains(&name.as_str()) {
            fs::copy(&source, &place).expect("a copy of a file");
        } else if GROWING.contains(&name.as_str()) {
            fs::create_dir(&place).expect("a folder");
            share(&source, &place);
        } else if name != "target" && name != ".git" {
            symlink(&source, &place).expect("a link");
        }
    }
}

/// Runs the tests of the crate in `folder` that `options` choose, built where this tree's are built.
pub(crate) fn run_tests_of(folder: &Path, options: &[&str]) {
    let mut test = workspace::cargo();
    test.args(["test", "--quiet"]).args(options).arg("--manifest-path").arg(folder.join("Cargo.toml"));
    let tested = test.env("CARGO_TARGET_DIR", workspace::target()).output().expect("cargo starts");
    assert!(tested.status.success(), "its own test:\n{}", String::from_utf8_lossy(&tested.stderr));
}
