//! The image of a guest's kernel under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::device::Model::Image.play(bytes);
});
