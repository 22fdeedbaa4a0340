//! A guest's instructions under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::device::Model::Instruction.play(bytes);
});
