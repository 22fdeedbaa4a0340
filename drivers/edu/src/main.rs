//! The program of the driver `edu`.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use driver::{AttachError, PciDevice, Running, driver};
use edu::{ADDRESS_BITS, Device, EduService, PIECE};

#[driver]
async fn program(pci: PciDevice) -> Result<Running, AttachError> {
    let to_device = pci.dma_within(ADDRESS_BITS, PIECE)?;
    let from_device = pci.dma_within(ADDRESS_BITS, PIECE)?;
    let device = Device::start(pci.registers(0)?, pci.interrupt(0)?, to_device, from_device).await?;
    pci.enable()?;
    driver::serve(EduService::new(device))
}
