//! A guest's network under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::device::Model::Network.play(bytes);
});
