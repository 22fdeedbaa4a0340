//! Long sequences of system calls on tables as long as a small machine's: whatever the root does, every invariant holds.
//!
//! A sequence that breaks something is made as short as it can be and written down as a script, which
//! `cargo xtask replay` carries out in the machine. There are `PROPTEST_CASES` sequences.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use script::Script;
use script::compose::{Choice, compose};
use script::predict::predict;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// System calls of one sequence.
const LENGTH: usize = 1_000;
/// After so many of them every invariant is checked.
const CHECK_EVERY: usize = 25;
/// Sequences, if nobody asks for more.
const CASES: u32 = 8;

fn choices() -> impl Strategy<Value = Vec<Choice>> {
    let choice = (any::<u8>(), any::<[u16; 6]>()).prop_map(|(call, arguments)| Choice { call, arguments });
    vec(choice, LENGTH)
}

fn runner() -> TestRunner {
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { Config::default().cases } else { CASES };
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 2_000, ..Config::default() };
    // The same sequences every time; more cases are further ones.
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

/// The script that these choices make, as far as it gets.
fn script_of(choices: &[Choice]) -> Script {
    let mut script = Script::default();
    // Where a script breaks the core, it is the script that is wanted.
    let _ = catch_unwind(AssertUnwindSafe(|| compose(choices, LENGTH, &mut script)));
    script
}

#[test]
fn a_thousand_calls_on_full_size_tables_keep_every_invariant() {
    let outcome = runner().run(&choices(), |choices| {
        let composed = compose(&choices, CHECK_EVERY, &mut Script::default());
        composed.map(|_| ()).map_err(|violation| TestCaseError::fail(violation.what))
    });
    if let Err(TestError::Fail(reason, choices)) = &outcome {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("broken.script");
        let script = script_of(choices).to_string();
        std::fs::write(&path, &script).unwrap();
        panic!("{reason}\n{script}`cargo xtask replay {}` carries it out in the machine", path.display());
    }
    outcome.unwrap();
}

#[test]
fn sequences_are_obeyed_often_and_refused_for_many_reasons() {
    let mut runner = runner();
    let (mut obeyed, mut refused, mut calls, mut errors) = (0, 0, BTreeSet::new(), BTreeSet::new());
    for _ in 0..2 {
        let choices = choices().new_tree(&mut runner).unwrap().current();
        let mut script = Script::default();
        let outcomes = compose(&choices, LENGTH, &mut script).unwrap();
        for (line, outcome) in script.lines.iter().zip(outcomes) {
            match outcome.error() {
                None => {
                    obeyed += 1;
                    calls.insert(line.syscall);
                }
                Some(error) => {
                    refused += 1;
                    errors.insert(error);
                }
            }
        }
    }
    assert!(2 * obeyed > refused, "{obeyed} calls were obeyed, {refused} refused");
    assert!(calls.len() >= 40, "only these calls were ever obeyed: {calls:?}");
    assert!(errors.len() >= 12, "only for these reasons was a call refused: {errors:?}");
}

#[test]
fn a_script_does_the_same_when_it_is_written_and_read_again() {
    let choices = choices().new_tree(&mut runner()).unwrap().current();
    let mut script = Script::default();
    let outcomes = compose(&choices, LENGTH, &mut script).unwrap();
    let read = Script::parse(&script.to_string()).unwrap();
    assert_eq!(read, script);
    let again = predict(&read, LENGTH).unwrap();
    for ((line, one), other) in script.lines.iter().zip(outcomes).zip(again) {
        assert!(one.agrees_with(&other, line.syscall), "{line}: {one}, then {other}");
    }
}
