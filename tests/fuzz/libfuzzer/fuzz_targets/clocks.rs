//! A guest's clocks and power under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::device::Model::Clocks.play(bytes);
});
