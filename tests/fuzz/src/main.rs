//! Plays files that a fuzzer has written, and prints each step before it is made: `fuzz FILE …`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let files: Vec<_> = std::env::args_os().skip(1).collect();
    if files.is_empty() {
        eprintln!("usage: fuzz FILE ...\nPlays what a fuzzer has written and prints each step before it is made.");
        return ExitCode::from(2);
    }
    for file in files {
        match std::fs::read(&file) {
            Ok(bytes) => {
                let played = fuzz::play(&bytes, |step| println!("{step:x?}"));
                println!("{}: {} steps, every invariant holds", file.display(), played.steps);
            }
            Err(error) => {
                eprintln!("{}: {error}", file.display());
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
