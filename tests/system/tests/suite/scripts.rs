//! `cargo xtask run` without a person: scripts, commands from standard input, exit statuses.

use std::fs;
use std::io::Write;
use std::process::{Output, Stdio};

use system_tests::Bench;
use xtask::workspace;

/// Runs `cargo xtask run` with `arguments`, and `input` for its standard input.
fn run(arguments: &[&str], input: &str) -> Output {
    let mut child = workspace::cargo()
        .args(["xtask", "run"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("cargo starts");
    let mut keyboard = child.stdin.take().expect("its standard input is a pipe");
    keyboard.write_all(input.as_bytes()).expect("it reads its input");
    drop(keyboard);
    child.wait_with_output().expect("it ends")
}

fn shown(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_script_is_typed_line_by_line_and_succeeds_if_every_command_does() {
    let bench = Bench::with_default_disk();
    let script = bench.path("script.txt");
    fs::write(&script, "# a comment\n\necho first words\nls /disk\n").expect("a script");
    let output = run(&["--script", &script.to_string_lossy(), "--disk", &bench.disk().to_string_lossy()], "");
    let shown = shown(&output);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    for part in ["bulkhead> echo first words", "readme.txt", "bulkhead> shutdown"] {
        assert!(shown.contains(part), "the session does not show {part:?}:\n{shown}");
    }
    assert!(!shown.contains("# a comment"), "{shown}");
}

#[test]
fn a_script_with_a_command_that_fails_goes_on_and_fails_in_the_end() {
    let bench = Bench::with_default_disk();
    let script = bench.path("script.txt");
    fs::write(&script, "cat /disk/nothing\necho last words\n").expect("a script");
    let output = run(&["--script", &script.to_string_lossy(), "--disk", &bench.disk().to_string_lossy()], "");
    let shown = shown(&output);
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert!(shown.contains("bulkhead! echo last words"), "{shown}");
    assert!(shown.contains("This command failed: cat /disk/nothing"), "{shown}");
}

#[test]
fn commands_are_taken_from_standard_input_where_there_is_no_terminal() {
    let bench = Bench::with_default_disk();
    let output = run(&["--disk", &bench.disk().to_string_lossy()], "ls /disk\n");
    let shown = shown(&output);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    assert!(shown.contains("readme.txt"), "{shown}");
}

#[test]
fn a_machine_that_takes_too_long_is_stopped() {
    let output = run(&["--timeout", "3"], "sleep 1min\n");
    let shown = shown(&output);
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert!(shown.contains("--timeout"), "{shown}");
}
