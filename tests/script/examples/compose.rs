//! Prints a random script: `cargo run --package script --features predict --example compose -- SEED LINES`.

use script::Script;
use script::compose::{Choice, compose};
use std::process::ExitCode;

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

fn main() -> ExitCode {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let [seed, lines] = numbers[..] else {
        eprintln!("usage: compose SEED LINES");
        return ExitCode::from(2);
    };
    let mut random = Random(seed);
    let mut choice = || Choice { call: random.next() as u8, arguments: [(); 6].map(|()| random.next() as u16) };
    let choices: Vec<Choice> = (0..lines).map(|_| choice()).collect();
    let mut script = Script::default();
    let outcome = compose(&choices, 1, &mut script);
    println!("# {lines} calls composed from seed {seed}.\n{script}");
    match outcome {
        Ok(_) => ExitCode::SUCCESS,
        Err(violation) => {
            eprintln!("{}", violation.what);
            ExitCode::FAILURE
        }
    }
}
