//! The program `stray`: a driver of `edu` that means harm. As the command of that name it tells its device to write to
//! whatever address it is given.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use driver::{AttachError, PciDevice, Running, driver};
use edu::{RUN, Registers};
use userlib::command::{self, CommandError};

/// Command: copy from the device to the bus.
const TO_MEMORY: u64 = 2;
/// Where the device's own memory begins.
const OWN: u64 = 0x4_0000;
/// Bytes that are written.
const BYTES: u64 = 64;

#[driver]
async fn program(pci: PciDevice) -> Result<Running, AttachError> {
    let registers: Registers = pci.registers(0)?;
    pci.enable()?;
    driver::serve(command::service(move |address, output| {
        let digits = address.trim_start_matches("0x");
        let address = u64::from_str_radix(digits, 16).map_err(|_| CommandError::usage("stray ADDRESS"))?;
        registers.source().write(OWN);
        registers.destination().write(address);
        registers.count().write(BYTES);
        registers.command().write(RUN | TO_MEMORY);
        writeln!(output, "the device is told to write to {address:#x}")
    }))
}
