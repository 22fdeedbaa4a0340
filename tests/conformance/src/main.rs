//! The kernel's conformance suite: a root server that checks, inside the machine, what `abi` promises.
//!
//! Each case is a function that uses system calls as any program could and says what it found. What a case leaves behind
//! is taken apart afterwards and compared with what there was before, so that every case also checks teardown.
//!
//! The suite writes `ok NAME` or `FAIL NAME: why` for each case to the first serial port, `conformance: N passed, N
//! failed` at the end, and then ends a QEMU that has the device `isa-debug-exit`.
#![no_std]
#![no_main]

extern crate alloc;

mod actor;
mod bench;
mod call;
mod cases;
mod console;
mod outcome;

use abi::root::RootInfo;
use bench::Bench;
use console::print;

userlib::root_entry!(main, heap = 256 * 1024);

fn main(info: &'static RootInfo) -> ! {
    let (mut passed, mut failed) = (0, 0);
    match Bench::new(info) {
        Err(failure) => {
            print(format_args!("FAIL bench: {failure}\n"));
            failed += 1;
        }
        Ok(mut bench) => {
            for case in cases::all() {
                match bench.run(case) {
                    Ok(()) => {
                        print(format_args!("ok {}\n", case.name));
                        passed += 1;
                    }
                    Err(failure) => {
                        print(format_args!("FAIL {}: {failure}\n", case.name));
                        failed += 1;
                    }
                }
            }
        }
    }
    print(format_args!("conformance: {passed} passed, {failed} failed\n"));
    console::exit(u8::from(failed > 0));
}
