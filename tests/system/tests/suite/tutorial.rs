//! The chapter that teaches how a server is written, carried out as it stands there.

use std::fs;

use system_tests::{Bench, Shell};
use xtask::scaffold::{Kind, OperatingSystem};
use xtask::workspace;

use crate::copy::{Copy, run_tests_of};

/// Something that the reader is told to do.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Type a command in the root of the tree.
    Type(String),
    /// Replace a file.
    Write { path: String, text: String },
    /// Type a command at Bulkhead's shell and see what it shows.
    Ask { command: String, shown: String },
}

/// The steps of a chapter, from its blocks of `console`, `rust,file=…` and `bulkhead`.
fn steps(chapter: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    // Every second piece between fences is a block, and begins with what it is.
    for block in chapter.split("```").skip(1).step_by(2) {
        let (kind, text) = block.split_once('\n').expect("a block has lines");
        match (kind, kind.strip_prefix("rust,file=")) {
            (_, Some(path)) => steps.push(Step::Write { path: path.to_owned(), text: text.to_owned() }),
            ("console", _) => steps.extend(text.lines().map(|line| {
                Step::Type(line.strip_prefix("$ ").expect("a console block has only commands").to_owned())
            })),
            ("bulkhead", _) => steps.extend(text.split("bulkhead> ").skip(1).map(|piece| {
                let (command, shown) = piece.split_once('\n').expect("a command ends its line");
                Step::Ask { command: command.to_owned(), shown: shown.to_owned() }
            })),
            _ => panic!("the chapter has a block of `{kind}`, which nobody carries out"),
        }
    }
    steps
}

/// A reader who does what is written.
struct Reader {
    copy: Copy,
    bench: Bench,
    shell: Option<Shell>,
}

impl Reader {
    fn type_command(&mut self, command: &str) {
        match command.split(' ').collect::<Vec<_>>()[..] {
            ["cargo", "xtask", "new", "server", name] => {
                let change = self.copy.tree().create(Kind::Server, name, None).expect("the name is free");
                change.carry_out(&mut OperatingSystem).expect("there is room");
            }
            ["cargo", "xtask", "remove", name, ref options @ ..] => {
                let force = options == ["--force"];
                let change = self.copy.tree().remove(name, force).unwrap_or_else(|error| panic!("{error}"));
                change.carry_out(&mut OperatingSystem).expect("it is there");
            }
            ["cargo", "test", "--package", name, ref options @ ..] => {
                run_tests_of(&self.copy.root().join("servers").join(name), options);
            }
            ["cargo", "xtask", "run"] => {
                self.copy.build_for(&mut self.bench);
                self.shell = Some(self.bench.boot());
            }
            _ => panic!("the chapter says `{command}`, which this test cannot do"),
        }
    }

    fn ask(&mut self, command: &str, shown: &str) {
        if command == "shutdown" {
            self.shell.take().expect("it runs").shut_down();
            return;
        }
        let reply = self.shell.as_mut().expect("it was booted before").run(command);
        assert_eq!(reply.text.trim(), shown.trim(), "what `{command}` shows");
    }
}

#[test]
fn the_chapter_on_servers_does_what_it_says() {
    let chapter = workspace::root().join("docs/tutorial/server.md");
    let steps = steps(&fs::read_to_string(chapter).expect("the chapter"));
    let mut reader = Reader { bench: Bench::without_disk(), copy: Copy::make(), shell: None };
    let before = reader.copy.state();
    for step in &steps {
        match step {
            Step::Type(command) => reader.type_command(command),
            Step::Write { path, text } => fs::write(reader.copy.root().join(path), text).expect("its folder is there"),
            Step::Ask { command, shown } => reader.ask(command, shown),
        }
    }
    assert!(reader.shell.is_none(), "the reader is told to shut down");
    assert_eq!(reader.copy.state(), before, "and is told to remove what was made");
    let asked = steps.iter().filter(|step| matches!(step, Step::Ask { .. })).count();
    assert!(asked >= 5, "the chapter shows what answers at the shell");
}
