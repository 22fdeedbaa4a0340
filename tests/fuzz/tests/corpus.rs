//! Plays again what the fuzzer has found to be worth keeping.

use abi::Syscall;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn corpus() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_sequence_of_the_corpus_keeps_every_invariant_and_together_they_reach_every_system_call() {
    let (mut obeyed, mut refused) = (BTreeSet::new(), BTreeSet::new());
    for file in corpus() {
        let bytes = std::fs::read(&file).unwrap();
        let played = std::panic::catch_unwind(|| fuzz::play(&bytes, |_| {}));
        let played = played.unwrap_or_else(|_| panic!("{} breaks the core", file.display()));
        obeyed.extend(played.obeyed);
        refused.extend(played.refused);
    }
    let missing = |reached: &BTreeSet<Syscall>| -> Vec<Syscall> {
        Syscall::ALL.iter().filter(|syscall| !reached.contains(syscall)).copied().collect()
    };
    assert_eq!(missing(&obeyed), [], "no sequence makes the kernel obey these");
    // These need nothing that could be wrong, but that their thread still lives when they reach the kernel.
    let simple = [Syscall::ThreadExit, Syscall::ThreadPanic, Syscall::Yield, Syscall::Clock];
    refused.extend(simple);
    assert_eq!(missing(&refused), [], "no sequence has these refused");
}

#[test]
fn any_bytes_are_a_sequence() {
    for byte in 0..=u8::MAX {
        assert!(fuzz::play(&[byte; 300], |_| {}).steps > 0);
    }
    assert_eq!(fuzz::play(&[], |_| {}).steps, 0);
}

#[test]
fn the_same_bytes_are_the_same_sequence() {
    let bytes: Vec<u8> = (0..600_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut steps = Vec::new();
    fuzz::play(&bytes, |step| steps.push(*step));
    let mut again = Vec::new();
    fuzz::play(&bytes, |step| again.push(*step));
    assert_eq!(steps, again);
    assert!(steps.len() > 50, "{} steps", steps.len());
}
