//! The program `stray`: a driver of `edu` that means harm. As the command of that name it tells its device to write to
//! whatever address it is given, or has it do its honest work.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::format;
use driver::{AttachError, PciDevice, Running, driver};
use edu::{ADDRESS_BITS, Device, PIECE, RUN, Registers};
use userlib::command::{ARGUMENTS_MAX, CommandError, CommandServer, CommandService};
use userlib::ipc::{Caller, ReadLease, WriteLease};

/// Command: copy from the device to the bus.
const TO_MEMORY: u64 = 2;
/// Where the device's own memory begins.
const OWN: u64 = 0x4_0000;
/// Bytes that are written.
const BYTES: u64 = 64;
/// The argument instead of an address.
const WORK: &str = "work";

/// The device for honest work, and its registers for the other kind.
struct Stray {
    device: Device,
    registers: Registers,
}

impl Stray {
    fn write_to(&self, address: u64) {
        self.registers.source().write(OWN);
        self.registers.destination().write(address);
        self.registers.count().write(BYTES);
        self.registers.command().write(RUN | TO_MEMORY);
    }

    /// Has the device compute and copy; the end of either is an interrupt, which is waited for.
    async fn work(&self) -> Result<u32, CommandError> {
        let product = self.device.compute(10).await.map_err(CommandError::failed)?;
        self.device.there_and_back(b"there and back").await.map_err(CommandError::failed)?;
        Ok(product)
    }
}

impl CommandServer for Stray {
    async fn run(&self, _: &Caller, arguments: ReadLease, output: WriteLease) -> Result<usize, CommandError> {
        let argument = arguments.to_text(ARGUMENTS_MAX)?;
        let said = if argument == WORK {
            format!("10! is {}, and what was copied came back\n", self.work().await?)
        } else {
            let digits = argument.trim_start_matches("0x");
            let address = u64::from_str_radix(digits, 16).map_err(|_| CommandError::usage("stray ADDRESS | work"))?;
            self.write_to(address);
            format!("the device is told to write to {address:#x}\n")
        };
        let fits = said.len().min(output.length()?);
        output.write(0, &said.as_bytes()[..fits])?;
        Ok(said.len())
    }
}

#[driver]
async fn program(pci: PciDevice) -> Result<Running, AttachError> {
    let to_device = pci.dma_within(ADDRESS_BITS, PIECE)?;
    let from_device = pci.dma_within(ADDRESS_BITS, PIECE)?;
    let device = Device::start(pci.registers(0)?, pci.interrupt(0)?, to_device, from_device).await?;
    pci.enable()?;
    driver::serve(CommandService::new(Stray { device, registers: pci.registers(0)? }))
}
