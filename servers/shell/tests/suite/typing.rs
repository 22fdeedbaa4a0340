//! Prompts, lines and completion.

use crate::conversation::World;
use crate::doubles::domain;
use interfaces::filesystem::FsError;
use interfaces::supervision::DomainState;

#[test]
fn the_first_prompt_follows_a_banner_and_says_that_all_is_well() {
    let world = World::default();
    let greeting = world.shell().greeting;
    assert!(greeting.contains("Bulkhead 0.") && greeting.contains("`help`"), "{greeting}");
    assert_eq!(greeting.lines().count(), 3, "{greeting}");
    assert!(greeting.ends_with("\r\nbulkhead> "), "{greeting:?}");
}

#[test]
fn the_banner_says_what_is_wrong() {
    let world = World::default();
    world.files.missing.set(Some(FsError::NoDisk));
    *world.supervisor.domains.borrow_mut() = vec![
        domain("supervisor", DomainState::Running),
        domain("virtio-blk", DomainState::Absent),
        domain("echo", DomainState::GivenUp),
        domain("fat", DomainState::Starting),
    ];
    let mut shell = world.shell();
    let greeting = &shell.greeting;
    assert!(greeting.contains("virtio-blk is absent: the machine does not have its device."), "{greeting}");
    assert!(greeting.contains("echo died so often"), "{greeting}");
    assert!(!greeting.contains("fat ") && !greeting.contains("/disk"), "{greeting}");
    assert!(greeting.ends_with("\r\nbulkhead> "), "{greeting:?}");
    assert!(shell.types("x").contains("cannot use /disk: there is no disk;"));
}

#[test]
fn the_prompt_waits_for_no_disk_and_what_is_wrong_with_it_is_shown_when_it_is_known() {
    let world = World::default();
    world.files.read_only.set(true);
    world.files.mounted_after.set(1);
    let mut shell = world.shell();
    assert!(shell.greeting.ends_with("\r\nbulkhead> ") && !shell.greeting.contains("/disk"), "{}", shell.greeting);
    assert_eq!(shell.types("e"), "e", "the filesystem has not answered");
    assert_eq!(shell.types("cho\r"), "cho\r\n\r\nbulkhead> ", "a line that was begun is not torn");
    let shown = shell.types("echo\r");
    let (before, after) = shown.split_once("/disk can only be read").expect("it is told");
    assert_eq!(before, "\r\n", "it has a line of its own");
    assert!(after.contains("bulkhead> ") && after.ends_with("echo\r\n\r\nbulkhead> "), "{after:?}");
    assert_eq!(shell.types("echo\r"), "echo\r\n\r\nbulkhead> ", "it is told once");
}

#[test]
fn the_prompt_says_whether_the_last_command_succeeded() {
    let world = World::default();
    let mut shell = world.shell();
    assert_eq!(
        shell.types("nonsense\r"),
        "nonsense\r\nthere is no command `nonsense`; `help` lists the commands.\r\nbulkhead! "
    );
    assert_eq!(shell.types("\r"), "\r\nbulkhead! ", "an empty line is no command");
    assert_eq!(shell.types("# a comment\r"), "# a comment\r\nbulkhead! ");
    assert_eq!(shell.types("echo hello\r"), "echo hello\r\nhello\r\nbulkhead> ");
    assert_eq!(
        shell.types("echo 'hello\r"),
        "echo 'hello\r\nthe line has a ' without its counterpart; close it, or write \\' for the character.\r\nbulkhead! "
    );
}

#[test]
fn a_script_may_arrive_in_one_burst_with_any_kind_of_line_ends() {
    let world = World::default();
    let shown = world.shell().types("echo one\necho two\r\necho three\rpwd\n");
    assert_eq!(
        shown,
        "echo one\r\none\r\nbulkhead> echo two\r\ntwo\r\nbulkhead> echo three\r\nthree\r\nbulkhead> pwd\r\n/disk\r\nbulkhead> "
    );
}

#[test]
fn a_burst_longer_than_what_is_read_at_once_loses_nothing() {
    let world = World::default();
    let mut shell = world.shell();
    let long = "x".repeat(1_000);
    assert_eq!(shell.done(&format!("echo {long}")), format!("{long}\n"));
}

#[test]
fn quotes_reach_the_command_as_what_they_keep_together() {
    let world = World::default();
    let mut shell = world.shell();
    assert_eq!(shell.done(r#"echo 'a  b' "c  d" e\ \ f"#), "a  b c  d e  f\n");
    shell.done("write 'two words.txt' x");
    assert_eq!(world.files.contents("/two words.txt").as_deref(), Some(&b"x\n"[..]));
}

#[test]
fn output_without_a_line_end_does_not_move_the_prompt() {
    let world = World::default();
    world.files.put("/a", "no line end");
    assert_eq!(world.shell().types("cat a\r"), "cat a\r\nno line end\r\nbulkhead> ");
}

#[test]
fn tab_completes_commands_paths_and_domains() {
    let world = World::default();
    world.files.put("/readme.txt", "");
    world.files.put_folder("/letters");
    world.files.put("/letters/An answer.txt", "");
    let mut shell = world.shell();
    assert_eq!(shell.types("shut\t"), "shutdown ");
    assert_eq!(shell.types("\x15\x03"), "\r\x1b[10C".replace("\r", "\rbulkhead> \x1b[K\r") + "^C\r\nbulkhead> ");
    assert_eq!(shell.types("cat /d\tr\t"), "cat /disk/readme.txt ");
    shell.types("\x03");
    assert_eq!(shell.types("cat le\tA\t\r"), "cat letters/An\\ answer.txt \r\nbulkhead> ");
    assert_eq!(shell.types("cat \"le\tA\t\r"), "cat \"letters/An answer.txt\" \r\nbulkhead> ");
    assert_eq!(shell.types("kill v\t"), "kill virtio-blk ");
    shell.types("\x03");
    assert_eq!(shell.types("crash f\tp\t"), "crash fat panic ");
    shell.types("\x03");
    assert_eq!(
        shell.types("time repeat 3 ca\t"),
        "time repeat 3 ca\x07\r\ncat   caps\r\n".replace('\x07', "") + "\rbulkhead> time repeat 3 ca\x1b[K\r\x1b[26C"
    );
    shell.types("\x03");
    assert_eq!(shell.types("help shut\t"), "help shutdown ");
}

#[test]
fn tab_offers_what_fits_if_there_is_more_than_one() {
    let world = World::default();
    for path in ["/song one.wav", "/song two.wav", "/Sonata.wav"] {
        world.files.put(path, "");
    }
    let mut shell = world.shell();
    assert_eq!(shell.types("cat so\t"), "cat song\\ ", "the common part");
    let shown = shell.types("\t");
    assert!(shown.starts_with("\r\nsong one.wav  song two.wav\r\n\rbulkhead> cat song\\ "), "{shown:?}");
    assert_eq!(shell.types("t\t\r"), "two.wav \r\nbulkhead> ");
}

#[test]
fn tab_finds_names_of_another_case_if_there_is_no_exact_one() {
    let world = World::default();
    world.files.put("/README.TXT", "text\n");
    let shown = world.shell().types("cat read\t\r");
    assert!(shown.ends_with("bulkhead> cat README.TXT \x1b[K\r\x1b[25C\r\ntext\r\nbulkhead> "), "{shown:?}");
}

#[test]
fn tab_without_an_answer_only_rings() {
    let world = World::default();
    let mut shell = world.shell();
    assert_eq!(shell.types("cat zzz\t"), "cat zzz\x07");
    shell.types("\x03");
    world.files.missing.set(Some(FsError::NoDisk));
    assert_eq!(shell.types("cat r\t"), "cat r\x07");
}

#[test]
fn ctrl_c_right_behind_tab_gives_the_line_up() {
    let world = World::default();
    world.files.put("/readme.txt", "");
    assert!(world.shell().types("cat r\t\x03pwd\r").ends_with("^C\r\nbulkhead> pwd\r\n/disk\r\nbulkhead> "));
}

#[test]
fn the_history_holds_what_was_typed() {
    let world = World::default();
    let mut shell = world.shell();
    shell.done("echo one");
    let shown = shell.types("\x1b[A\r");
    assert!(shown.ends_with("bulkhead> echo one\x1b[K\r\x1b[18C\r\none\r\nbulkhead> "), "{shown:?}");
}

#[test]
fn help_lists_and_explains_every_command() {
    let world = World::default();
    let mut shell = world.shell();
    let list = shell.done("help");
    for command in shell::commands::all() {
        assert!(list.contains(&format!("  {:<8}  {}\n", command.name, command.summary)), "{}", command.name);
        let text = shell.done(&format!("help {}", command.name));
        assert!(text.starts_with(command.name) && text.lines().all(|line| line.len() <= 100), "{text}");
    }
    assert!(shell.refused("help catt").contains("do you mean `cat`?"));
}

#[test]
fn every_command_refuses_options_and_arguments_that_it_does_not_have() {
    let world = World::default();
    let mut shell = world.shell();
    assert_eq!(shell.refused("ls -x"), "ls: there is no option -x; `help ls` shows how to use it.\n");
    assert_eq!(shell.refused("cp one"), "cp: it takes two arguments, not 1; `help cp` shows how to use it.\n");
    assert_eq!(shell.refused("pwd x"), "pwd: it takes no argument, not 1; `help pwd` shows how to use it.\n");
    for command in shell::commands::all() {
        // Whatever help shows without brackets is needed.
        let optional = command.usage.split_inclusive(']').all(|part| part.trim_start().starts_with('['));
        if !optional {
            shell.refused(command.name);
        }
    }
    assert!(world.supervisor.requests.borrow().is_empty());
}
