//! The kernel's core under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::play(bytes, |_| {});
});
