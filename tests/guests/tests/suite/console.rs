//! What a guest writes arrives.

use guest_tests::{at_console, bench, linux};

/// How many lines are written in one go: more than any buffer on the way holds.
const LINES: usize = 1000;

#[test]
fn a_thousand_lines_arrive_each_in_its_place() {
    let bench = bench(&[("linux", linux())]);
    let mut shell = bench.boot();
    at_console(&mut shell, "linux", |guest| {
        let text = guest.ask(&format!("seq 1 {LINES} | sed 's/.*/line & of many/'"));
        let expected: Vec<_> = (1..=LINES).map(|number| format!("line {number} of many")).collect();
        let found: Vec<_> = text.lines().map(str::trim_end).collect();
        assert_eq!(found.len(), LINES, "{text}");
        assert!(found == expected, "lines are missing or out of order:\n{text}");
    });
    shell.shut_down();
}

#[test]
fn whoever_comes_back_to_a_console_goes_on_where_it_was() {
    let bench = bench(&[("linux", linux())]);
    let mut shell = bench.boot();
    at_console(&mut shell, "linux", |guest| guest.ask("kept=word"));
    guest_tests::assert_others_work(&mut shell);
    at_console(&mut shell, "linux", |guest| assert_eq!(guest.ask_line("echo $kept"), "word"));
    shell.shut_down();
}

#[test]
fn what_is_typed_for_a_guest_that_is_not_there_is_refused() {
    let bench = bench(&[("linux", linux())]);
    let mut shell = bench.boot();
    let why = shell.must_fail("guest console other");
    assert!(why.contains("linux"), "it does not say which there are: {why}");
    shell.must_fail("guest start");
    shell.must_fail("guest dance linux");
    shell.shut_down();
}
