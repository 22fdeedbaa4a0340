//! The kernel's conformance suite: a root server that checks, inside the machine, what `abi` promises.
//!
//! Each case is a function that uses system calls as any program could and says what it found. What a case leaves behind
//! is taken apart afterwards and compared with what there was before, so that every case also checks teardown.
//!
//! The suite writes `ok NAME` or `FAIL NAME: why` for each case to the first serial port, `conformance: N passed, N
//! failed` at the end, and then ends a QEMU that has the device `isa-debug-exit`. The host may ask for some cases only,
//! or for another of the suites that need this root server ([`parameters`], [`hostile`], [`dma`]). If the boot archive holds a
//! script, that is carried out instead ([`replay`]).
#![no_std]
#![no_main]

extern crate alloc;

mod actor;
mod bench;
mod call;
mod cases;
mod console;
mod costs;
mod dma;
mod domains;
mod entry_times;
mod hostile;
mod instructions;
mod isolation;
mod outcome;
mod parameters;
mod random;
mod replay;
mod rpc;

use abi::root::RootInfo;
use alloc::vec::Vec;
use bench::Bench;
use cases::Case;
use console::print;
use parameters::Parameters;

userlib::root_entry!(main, heap = 256 * 1024);

fn main(info: &'static RootInfo) -> ! {
    if let Some(text) = replay::script(info) {
        let done = replay::run(info, text);
        console::exit(u8::from(!done));
    }
    let parameters = Parameters::read();
    let suite = parameters.value("suite").unwrap_or("conformance");
    let (passed, failed) = match Bench::new(info) {
        Ok(mut bench) => {
            if let Err(error) = bench.take_ballast(parameters.number("ballast").unwrap_or(0)) {
                print(format_args!("FAIL ballast: {error}\n"));
            }
            if let Some(count) = parameters.number("rounds") {
                instructions::set_rounds(count);
            }
            let wanted = parameters.value("case").unwrap_or_default();
            let counts = match suite {
                "hostile" => hostile::run(&mut bench, &parameters),
                "time" => run(&mut bench, isolation::CASES, wanted),
                "rpc" => run(&mut bench, rpc::CASES, wanted),
                "costs" => run(&mut bench, costs::CASES, wanted),
                "domains" => run(&mut bench, domains::CASES, wanted),
                "dma" => run(&mut bench, dma::CASES, wanted),
                _ => run(&mut bench, cases::all(), wanted),
            };
            if parameters.value("times").is_some() {
                entry_times::report();
            }
            counts
        }
        Err(failure) => {
            print(format_args!("FAIL bench: {failure}\n"));
            (0, 1)
        }
    };
    print(format_args!("{suite}: {passed} passed, {failed} failed\n"));
    console::exit(u8::from(failed > 0));
}

/// Runs the case of this name, or else every case whose name contains it.
fn run<'a>(bench: &mut Bench, cases: impl IntoIterator<Item = &'a Case>, wanted: &str) -> (u64, u64) {
    let cases: Vec<_> = cases.into_iter().collect();
    let by_name = cases.iter().any(|case| case.name == wanted);
    let (mut passed, mut failed) = (0, 0);
    for case in cases.into_iter().filter(|case| case.name == wanted || !by_name && case.name.contains(wanted)) {
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
    (passed, failed)
}
