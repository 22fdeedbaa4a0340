//! Scripts as text, and what is compared of their outcomes.

use abi::{Error, Syscall};
use script::predict::predict;
use script::{Outcome, Script};

fn mistake(text: &str) -> String {
    Script::parse(text).unwrap_err().to_string()
}

#[test]
fn a_script_is_read_line_by_line_and_written_as_it_was_read() {
    let text = "bits = NotificationCreate account\nNotify bits 0x5\nMap space memory window+0x1000 0x0 0x1 0x3\nCapInfo bits~\n";
    let script = Script::parse(&format!("# What bits do.\n\n{text}")).unwrap();
    assert_eq!(script.lines.len(), 4);
    assert_eq!(script.to_string(), text);
}

#[test]
fn mistakes_are_named_with_their_line() {
    assert_eq!(mistake("\nNotifi 1"), "line 2: there is no system call `Notifi`");
    assert_eq!(mistake("Notify bits 1"), "line 1: nothing is called `bits`");
    assert_eq!(mistake("Notify 1x"), "line 1: `1x` is no number of 64 bits");
    assert_eq!(mistake("Yield\naccount = Yield"), "line 2: there is a `account` already");
    assert_eq!(mistake("a b = Yield"), "line 1: `a b` is no name");
    assert_eq!(mistake("Map 1 2 3 4 5 6 7"), "line 1: a system call has six arguments at most");
}

#[test]
fn results_have_names_and_stale_handles_are_stale() {
    let script = Script::parse(
        "bits = NotificationCreate account\nNotify bits 5\nWait bits 0\nWait bits 0\nCapInfo bits~\nCapInfo 0\n",
    )
    .unwrap();
    let outcomes = predict(&script, 1).unwrap();
    assert_eq!(outcomes[2].results[0], 5);
    let errors: Vec<_> = outcomes.iter().map(Outcome::error).collect();
    assert_eq!(&errors[..4], [None, None, None, Some(Error::WouldBlock)]);
    assert_eq!(&errors[4..], [Some(Error::StaleHandle), Some(Error::BadHandle)]);
}

#[test]
fn handles_may_differ_between_machines_and_values_and_errors_may_not() {
    let outcome = |first: u64, second: u64| Outcome { results: [first, second, 0, 0], written: 0 };
    let refused = outcome(Error::TableFull.to_register(), 0);
    assert!(outcome(5, 0).agrees_with(&outcome(6, 0), Syscall::CapCopy));
    assert!(!outcome(5, 0).agrees_with(&refused, Syscall::CapCopy));
    assert!(!outcome(5, 0).agrees_with(&outcome(6, 0), Syscall::Wait));
    assert!(outcome(5, 1).agrees_with(&outcome(6, 2), Syscall::Clock));
    let written = Outcome { written: 1, ..outcome(0, 0) };
    assert!(!written.agrees_with(&outcome(0, 0), Syscall::AccountInfo));
}

#[test]
fn what_an_account_has_is_compared_unless_it_is_the_roots() {
    let script = Script::parse(
        "AccountInfo account buffer\nown = AccountCreate account limits\nAccountInfo own buffer\n\
         EndpointCreate own 7 1 0\nAccountInfo own buffer\n",
    )
    .unwrap();
    let written: Vec<u64> = predict(&script, 1).unwrap().iter().map(|outcome| outcome.written).collect();
    assert_eq!(written[0], 0);
    assert!(written[2] != 0 && written[4] != 0 && written[2] != written[4], "{written:x?}");
}
