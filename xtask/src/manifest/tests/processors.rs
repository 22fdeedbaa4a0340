//! On which processor a domain runs, and how much of it it may use.

use manifest::Bound;

use super::*;

/// A system of apps with these processors and budgets.
fn apps(lines: &[&str]) -> String {
    let mut source = String::from("[supervisor]\n");
    for (name, lines) in ["a", "b", "c", "echo"].iter().zip(lines) {
        source.push_str(&format!("[domain.{name}]\nkind = \"app\"\n{lines}\n"));
    }
    source
}

#[test]
fn a_domain_that_says_nothing_takes_turns_on_processor_0() {
    let system = compiled(&apps(&[""]));
    assert!(system.domains.iter().all(|domain| (domain.cpu, domain.bound) == (0, None)));
}

#[test]
fn a_processor_may_be_written_for_one_domain_or_for_all() {
    let system = compiled(&format!("[defaults]\ncpu = 3\n{}", apps(&["", "cpu = 31", "cpu = 0"])));
    let processors: Vec<_> = system.domains.iter().map(|domain| domain.cpu).collect();
    assert_eq!(processors, [3, 3, 31, 0]);
    assert_eq!(compiled("[supervisor]\ncpu = 1").domains[0].cpu, 1);
}

#[test]
fn a_budget_bounds_the_one_thread_of_its_domain() {
    let system = compiled(&apps(&["budget = \"2 ms / 10 ms\"", "budget=\"500us/1s\"\nthreads = 1", "threads = 3"]));
    let bounds: Vec<_> = system.domains.iter().map(|domain| (domain.threads, domain.bound)).collect();
    let bound = |slice_us, period_us| Some(Bound { slice_us, period_us });
    assert_eq!(bounds, [(4, None), (1, bound(2_000, 10_000)), (1, bound(500, 1_000_000)), (3, None)]);
}

#[test]
fn the_shortest_and_the_longest_budget_are_ten_microseconds_and_an_hour() {
    let system = compiled(&apps(&["budget = \"10us / 10us\"", "cpu = 1\nbudget = \"60min / 60min\""]));
    assert_eq!(system.domains[1].bound, Some(Bound { slice_us: 10, period_us: 10 }));
    assert_eq!(system.domains[2].bound, Some(Bound { slice_us: 3_600_000_000, period_us: 3_600_000_000 }));
}

#[test]
fn there_are_32_processors_at_most() {
    assert_eq!(
        in_app("cpu = 32"),
        ["4:7 invalid-number `32`: `cpu` of 32 is out of range: 0 to 31 are possible \
          (choose a number within the range)"]
    );
    assert_eq!(in_app("cpu = \"0\""), ["4:7 wrong-type `\"0\"`: `cpu` takes a number, not text"]);
}

#[test]
fn what_is_no_budget_is_refused_with_an_example() {
    for text in ["2ms", "2ms / ", "/ 10ms", "2 / 10ms", "2ms / 10ms / 10ms", "20%", ""] {
        assert_eq!(
            in_app(&format!("budget = \"{text}\"")),
            [format!(
                "4:10 invalid-duration `\"{text}\"`: `budget` is no part of a processor's time: \"{text}\" \
                 (write how much in how long, such as \"2ms / 10ms\")"
            )]
        );
    }
    assert_eq!(in_app("budget = 20"), ["4:10 wrong-type `20`: `budget` takes text in quotes, not a number"]);
}

#[test]
fn a_budget_out_of_range_is_refused() {
    for (text, part, written) in [
        ("9us / 10ms", "slice", "9us"),
        ("0ms / 10ms", "slice", "0ms"),
        ("2ms / 61min", "period", "61min"),
        ("2ms / 99999999999999999999 s", "period", "99999999999999999999 s"),
    ] {
        assert_eq!(
            in_app(&format!("budget = \"{text}\"")),
            [format!(
                "4:10 invalid-duration `\"{text}\"`: the {part} of `budget`, {written}, is out of range: 10us to 60min \
                 are possible (choose a duration within the range)"
            )]
        );
    }
}

#[test]
fn a_slice_is_a_part_of_its_period() {
    assert_eq!(
        in_app("budget = \"11ms / 10ms\""),
        ["4:10 invalid-duration `\"11ms / 10ms\"`: `budget` promises 11ms of every 10ms \
          (what comes before the stroke is a part of what comes behind it)"]
    );
}

#[test]
fn a_bounded_domain_has_neither_further_threads_nor_a_time_slice() {
    assert_eq!(
        in_app("threads = 2\ntime-slice = \"1ms\"\nbudget = \"2ms / 10ms\""),
        [
            "4:11 contradiction `2`: 2 threads would have 2 budgets (a domain with `budget` has one thread: remove \
             `threads`)",
            "5:14 contradiction `\"1ms\"`: `time-slice` means nothing beside `budget` (remove one of them)",
        ]
    );
}

#[test]
fn a_budget_is_no_default() {
    assert_eq!(
        mistakes("[supervisor]\n[defaults]\nbudget = \"2ms / 10ms\""),
        ["3:1 unknown-key `budget`: `[defaults]` has no key `budget` (there are `priority`, `cpu`, `time-slice`, \
          `memory`, `capabilities`, `threads`, `restart`, `heartbeat`)"]
    );
}

#[test]
fn a_processor_is_promised_once() {
    let source = apps(&["budget = \"2ms / 3ms\"", "budget = \"1ms / 3ms\"", "cpu = 1\nbudget = \"1ms / 1ms\""]);
    assert_eq!(mistakes(&source), Vec::<String>::new());
    let source = apps(&[
        "budget = \"2ms / 3ms\"",
        "budget = \"1ms / 3ms\"",
        "cpu = 1\nbudget = \"1ms / 1ms\"",
        "budget = \"1ms / 1s\"",
    ]);
    let report = compile_text(&source).expect_err("processor 0 is promised more than once");
    assert_eq!(
        mistakes(&source),
        ["14:10 over-committed `\"1ms / 1s\"`: the bounded domains of processor 0 are promised 100.1 % of it \
          (promise less, or give one of them another `cpu`)"]
    );
    let notes = ["`a` is promised 66.7 %", "`b` is promised 33.4 %", "`echo` is promised 0.1 %"];
    assert_eq!(report.diagnostics()[0].notes, notes);
}
