//! `cargo xtask new` and `remove`, from nothing to an answer at the shell and back.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use system_tests::Bench;
use tempfile::TempDir;
use xtask::build::{self, Composition};
use xtask::scaffold::{Kind, OperatingSystem, Tree};
use xtask::{setup, workspace};

/// Files that are copied, because they are changed; everything else is shared with the tree that is tested, so that what
/// was built of it is not built again.
const CHANGED: [&str; 3] = ["system.toml", "Cargo.toml", "Cargo.lock"];
/// Folders in which something is made.
const GROWING: [&str; 2] = ["servers", "drivers"];

/// A tree that may be changed.
struct Copy {
    folder: TempDir,
    root: PathBuf,
}

impl Copy {
    fn make() -> Self {
        let folder = tempfile::tempdir_in(workspace::system_target()).expect("a folder for the tree");
        let root = folder.path().canonicalize().expect("it is there").join("tree");
        fs::create_dir(&root).expect("an empty tree");
        share(&workspace::root(), &root);
        Self { folder, root }
    }

    /// The text of every file that can be changed, and what is in the folders that can grow.
    fn state(&self) -> (Vec<String>, Vec<PathBuf>) {
        let texts = CHANGED.map(|file| fs::read_to_string(self.root.join(file)).expect("it was copied")).to_vec();
        let entries = GROWING.iter().flat_map(|folder| fs::read_dir(self.root.join(folder)).expect("it was made"));
        let mut entries: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        entries.sort();
        (texts, entries)
    }
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

/// Makes a `kind` called `trial` in `parent`, boots with it, has it asked `question`, and removes it again.
fn comes_answers_and_goes(kind: Kind, parent: Option<&str>, question: &str, answer: &str) {
    // First the tree that is tested: of the copy only what is new is then built, and nothing that lasts refers to it.
    let mut bench = Bench::without_disk();
    let copy = Copy::make();
    let tree = Tree::at(&copy.root);
    let before = copy.state();
    let parent = parent.map(|parent| copy.folder.path().join(parent));
    let change = tree.create(kind, "trial", parent.as_deref()).expect("the name is free");
    change.carry_out(&mut OperatingSystem).expect("there is room");
    let mut test = workspace::cargo();
    test.args(["test", "--quiet"]).arg("--manifest-path");
    test.arg(change.folder().expect("it makes a folder").join("Cargo.toml"));
    let tested = test.env("CARGO_TARGET_DIR", workspace::target()).output().expect("cargo starts");
    assert!(tested.status.success(), "its own test:\n{}", String::from_utf8_lossy(&tested.stderr));
    let source = setup::ensure().unwrap_or_else(|error| panic!("{error}"));
    let mut composition = Composition::of_tree(&copy.root).unwrap_or_else(|error| panic!("{error}"));
    let place = if parent.is_some() { "outside" } else { "member" };
    composition.file_name = format!("with-new-{}-{place}.elf", kind.name());
    let built = build::build(&composition, &source).unwrap_or_else(|error| panic!("{error}"));
    bench.machine.image = built.image;
    bench.machine.plugs = built.plugs;
    let mut shell = bench.boot();
    assert_eq!(shell.must(question).trim_end(), answer);
    // The command is a domain of its own: it comes back without its server having noticed anything.
    shell.must("crash trial-command panic");
    assert!((0..20).any(|_| shell.run(question).succeeded), "{}", shell.transcript());
    shell.shut_down();
    tree.remove("trial", false).expect("nothing was edited").carry_out(&mut OperatingSystem).expect("it is there");
    assert_eq!(copy.state(), before);
}

#[test]
fn a_new_server_in_the_tree_answers_at_the_shell_and_goes_without_a_trace() {
    comes_answers_and_goes(Kind::Server, None, "trial hello world", "trial: hello world (answer 1)");
}

#[test]
fn a_new_server_outside_of_the_tree_answers_at_the_shell_and_goes_without_a_trace() {
    comes_answers_and_goes(Kind::Server, Some("mine"), "trial hello world", "trial: hello world (answer 1)");
}

#[test]
fn a_new_driver_in_the_tree_answers_at_the_shell_and_goes_without_a_trace() {
    comes_answers_and_goes(Kind::Driver, None, "trial 5", "120");
}

#[test]
fn a_new_driver_outside_of_the_tree_answers_at_the_shell_and_goes_without_a_trace() {
    comes_answers_and_goes(Kind::Driver, Some("mine"), "trial 5", "120");
}
