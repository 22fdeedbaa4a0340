//! Making and removing, on copies of what of the tree is read and written.

use super::*;
use tempfile::TempDir;

/// The project's own tree.
fn original() -> PathBuf {
    workspace::root()
}

/// A folder that holds `tree`, with a copy of what is read and written, and room beside it.
fn copy() -> (TempDir, Tree) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap().join("tree");
    for parent in ["servers", "drivers"] {
        fs::create_dir_all(root.join(parent)).unwrap();
    }
    for file in ["system.toml", "Cargo.toml", "Cargo.lock"] {
        fs::copy(original().join(file), root.join(file)).unwrap();
    }
    // What cargo needs in order to name the workspace's crates and programs.
    for member in CargoToml::parse(read(&original().join("Cargo.toml")).unwrap()).unwrap().members() {
        let (from, to) = (original().join(&member), root.join(&member));
        fs::create_dir_all(to.join("src")).unwrap();
        fs::copy(from.join("Cargo.toml"), to.join("Cargo.toml")).unwrap();
        let programs = fs::read_dir(from.join("src/bin")).into_iter().flatten();
        let programs = programs.map(|program| Path::new("src/bin").join(program.unwrap().file_name()));
        let targets = ["build.rs", "src/lib.rs", "src/main.rs", "tests/suite/main.rs"].iter().map(PathBuf::from);
        for target in targets.chain(programs) {
            if from.join(&target).is_file() {
                fs::create_dir_all(to.join(&target).parent().unwrap()).unwrap();
                fs::write(to.join(&target), "").unwrap();
            }
        }
    }
    let tree = Tree::at(&root);
    (folder, tree)
}

/// Every file in a folder, with its text.
fn contents(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in walk(folder) {
        let name = slashes(entry.strip_prefix(folder).unwrap());
        found.push((name, if entry.is_dir() { String::new() } else { fs::read_to_string(&entry).unwrap() }));
    }
    found.sort();
    found
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(walk(&path));
        }
        found.push(path);
    }
    found
}

/// A disk that fails at one of its steps, and counts them.
struct Failing {
    steps: usize,
    fails_at: usize,
}

impl Failing {
    fn step(&mut self) -> io::Result<()> {
        self.steps += 1;
        if self.steps == self.fails_at { Err(io::Error::other("the disk is full")) } else { Ok(()) }
    }
}

impl Disk for Failing {
    fn create_folder(&mut self, path: &Path) -> io::Result<()> {
        self.step().and_then(|()| OperatingSystem.create_folder(path))
    }
    fn write(&mut self, path: &Path, text: &str) -> io::Result<()> {
        let failure = self.step();
        // As a full disk does: half of the file is there.
        OperatingSystem.write(path, if failure.is_err() { &text[..text.len() / 2] } else { text })?;
        failure
    }
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.step().and_then(|()| OperatingSystem.rename(from, to))
    }
    fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        self.step().and_then(|()| OperatingSystem.remove_file(path))
    }
    fn remove_folder(&mut self, path: &Path) -> io::Result<()> {
        self.step().and_then(|()| OperatingSystem.remove_folder(path))
    }
}

/// Where crates are made: in the tree, and outside of it in a folder that is not there yet.
fn places(folder: &TempDir) -> [Option<PathBuf>; 2] {
    [None, Some(folder.path().join("mine/servers"))]
}

#[test]
fn what_is_made_can_be_removed_and_nothing_is_left() {
    for kind in Kind::ALL {
        let (folder, tree) = copy();
        for place in places(&folder) {
            let before = contents(&tree.root);
            let change = tree.create(kind, "trial", place.as_deref()).unwrap();
            change.carry_out(&mut OperatingSystem).unwrap();
            let made = change.folder().unwrap().to_owned();
            assert!(made.join("src/bin/trial-command.rs").is_file());
            assert!(fs::read_to_string(tree.root.join("system.toml")).unwrap().contains("[domain.trial]"));
            assert!(tree.create(kind, "trial", place.as_deref()).is_err());
            tree.remove("trial", false).unwrap().carry_out(&mut OperatingSystem).unwrap();
            assert!(!made.exists());
            assert_eq!(contents(&tree.root), before);
        }
    }
}

#[test]
fn two_are_removed_in_any_order() {
    for order in [["one", "two"], ["two", "one"]] {
        let (_folder, tree) = copy();
        let before = contents(&tree.root);
        for name in ["one", "two"] {
            tree.create(Kind::Server, name, None).unwrap().carry_out(&mut OperatingSystem).unwrap();
        }
        for name in order {
            tree.remove(name, false).unwrap().carry_out(&mut OperatingSystem).unwrap();
        }
        assert_eq!(contents(&tree.root), before);
    }
}

#[test]
fn a_step_that_fails_undoes_those_before_it() {
    let (folder, tree) = copy();
    for place in places(&folder) {
        let before = contents(folder.path());
        let change = tree.create(Kind::Server, "trial", place.as_deref()).unwrap();
        let steps = fails_everywhere(&change, || assert_eq!(contents(folder.path()), before));
        assert!(steps > 8, "{steps} steps");
        let made = contents(folder.path());
        let change = tree.remove("trial", false).unwrap();
        fails_everywhere(&change, || assert_eq!(contents(folder.path()), made));
    }
}

/// Carries a change out with a failure at each of its steps, and at last without; returns their number. The last step of
/// a removal, which only removes what was moved away, does not count.
fn fails_everywhere(change: &Change, is_undone: impl Fn()) -> usize {
    for fails_at in 1.. {
        let mut disk = Failing { steps: 0, fails_at };
        let Err(error) = change.carry_out(&mut disk) else { return fails_at - 1 };
        let sentence = error.to_string();
        assert!(sentence.contains("the disk is full"), "{sentence}");
        if sentence.contains("is left over") {
            // The change itself is complete.
            return fails_at - 1;
        }
        assert!(sentence.ends_with("nothing was changed"), "{sentence}");
        is_undone();
    }
    unreachable!("a change has an end")
}

#[test]
fn a_file_that_somebody_else_changes_meanwhile_is_left_alone() {
    let (_folder, tree) = copy();
    let change = tree.create(Kind::Server, "trial", None).unwrap();
    let path = tree.root.join("Cargo.toml");
    fs::write(&path, read(&path).unwrap() + "# Mine.\n").unwrap();
    let before = contents(&tree.root);
    let error = change.carry_out(&mut OperatingSystem).unwrap_err().to_string();
    assert!(error.contains("somebody else has changed it"), "{error}");
    assert_eq!(contents(&tree.root), before);
}

#[test]
fn names_that_are_taken_are_refused_with_what_has_them() {
    let (folder, tree) = copy();
    for (name, by) in [
        ("ls", "the shell has a command"),
        ("filesystem", "an interface"),
        ("fat", "system.toml has a domain"),
        ("virtio-blk", "system.toml has a domain"),
        ("interfaces", "a crate of this name"),
        ("spin", "a crate of this name"),
        ("async", "a keyword of Rust"),
        ("std", "a crate that comes with Rust"),
        ("Greeter", "use lowercase letters"),
        ("a-name-that-is-too-long", "too long a name"),
    ] {
        let refusal = tree.create(Kind::Server, name, None).unwrap_err().to_string();
        assert!(refusal.contains(by), "{name}: {refusal}");
    }
    fs::create_dir(tree.root.join("servers/trial")).unwrap();
    let refusal = tree.create(Kind::Server, "trial", None).unwrap_err().to_string();
    assert!(refusal.contains("`trial` is taken: there is"), "{refusal}");
    // Elsewhere there is room for it.
    assert!(tree.create(Kind::Server, "trial", Some(folder.path())).is_ok());
}

#[test]
fn a_folder_within_the_tree_makes_a_member_of_the_workspace() {
    let (_folder, tree) = copy();
    let change = tree.create(Kind::Server, "trial", Some(&tree.root.join("userlib/../servers"))).unwrap();
    assert_eq!(change.folder(), Some(tree.root.join("servers/trial").as_path()));
    assert_eq!(change.edited().count(), 3);
}

#[test]
fn somebodys_work_is_only_removed_by_force() {
    let (_folder, tree) = copy();
    let change = tree.create(Kind::Server, "trial", None).unwrap();
    change.carry_out(&mut OperatingSystem).unwrap();
    let made = change.folder().unwrap();
    // What cargo makes there is nobody's work.
    fs::create_dir(made.join("target")).unwrap();
    fs::write(made.join("target/x"), "").unwrap();
    assert!(tree.remove("trial", false).is_ok());
    fs::write(made.join("src/more.rs"), "").unwrap();
    let refusal = tree.remove("trial", false).unwrap_err().to_string();
    assert!(refusal.contains("src/more.rs is not as `cargo xtask new` made it"), "{refusal}");
    assert!(tree.remove("trial", true).is_ok());
}

#[test]
fn what_was_not_made_here_or_is_used_elsewhere_is_not_removed() {
    let (_folder, tree) = copy();
    for (name, why) in [("trial", "no domain of this name"), ("echo", "does not say that it comes from a template")] {
        let refusal = tree.remove(name, true).unwrap_err().to_string();
        assert!(refusal.contains(why), "{refusal}");
    }
    tree.create(Kind::Server, "trial", None).unwrap().carry_out(&mut OperatingSystem).unwrap();
    let path = tree.root.join("system.toml");
    let text = read(&path).unwrap();
    assert_eq!(text.matches("uses = [\"filesystem\", ").count(), 1);
    let text = text.replace("uses = [\"filesystem\", ", "uses = [\"filesystem\", \"trial\", ");
    fs::write(&path, text).unwrap();
    let refusal = tree.remove("trial", false).unwrap_err().to_string();
    assert!(refusal.contains("no interface `trial`"), "{refusal}");
}

#[test]
fn the_code_has_less_than_sixty_lines_and_no_unsafe() {
    let (_folder, tree) = copy();
    for kind in Kind::ALL {
        let change = tree.create(kind, "trial", None).unwrap();
        let sources: Vec<_> = change.files().iter().filter(|(name, _)| name.ends_with(".rs")).collect();
        let lines: usize = sources.iter().map(|(_, text)| text.lines().count()).sum();
        assert!(lines < 60, "{lines} lines");
        for (name, text) in sources {
            assert!(!text.replace("#![forbid(unsafe_code)]", "").contains("unsafe"), "{name}");
        }
    }
}

#[test]
fn the_code_is_formatted_whatever_its_name() {
    let (folder, tree) = copy();
    for kind in Kind::ALL {
        for name in ["x", "trial", &"x".repeat(name::LONGEST)] {
            // One outside of the tree, so that it has the configuration with it.
            let change = tree.create(kind, name, Some(folder.path())).unwrap();
            change.carry_out(&mut OperatingSystem).unwrap();
            let sources = change.files().iter().map(|(file, _)| change.folder().unwrap().join(file));
            let mut rustfmt = std::process::Command::new("rustfmt");
            rustfmt.args(["--edition=2024", "--check"]);
            rustfmt.args(sources.filter(|path| path.extension().is_some_and(|extension| extension == "rs")));
            let output = rustfmt.output().unwrap();
            assert!(output.status.success(), "{name}:\n{}", String::from_utf8_lossy(&output.stdout));
            tree.remove(name, false).unwrap().carry_out(&mut OperatingSystem).unwrap();
        }
    }
}
