//! A guest's interrupt controllers under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::device::Model::Interrupts.play(bytes);
});
