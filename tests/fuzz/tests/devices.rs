//! Plays again what the fuzzer has found in the models of devices, and some bytes that nobody has found.

use fuzz::device::Model;
use std::path::Path;

#[test]
fn every_sequence_of_a_models_corpus_keeps_what_has_to_hold() {
    for model in Model::ALL {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("devices").join(model.name());
        let mut played = 0;
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            let outcome = std::panic::catch_unwind(|| model.play(&bytes));
            outcome.unwrap_or_else(|_| panic!("{} breaks the model", path.display()));
            played += 1;
        }
        assert!(played > 0, "{} is empty", folder.display());
    }
}

#[test]
fn any_bytes_are_a_sequence() {
    for model in Model::ALL {
        for seed in 0..60_u64 {
            // The high bytes of a linear congruential generator (Knuth's MMIX).
            let bytes = (0..1000_u64).scan(seed, |state, _| {
                *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                Some((*state >> 56) as u8)
            });
            assert!(model.play(&bytes.collect::<Vec<u8>>()) > 0);
        }
    }
}
