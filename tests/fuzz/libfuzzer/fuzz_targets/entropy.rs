//! A guest's source of random bytes under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::device::Model::Entropy.play(bytes);
});
