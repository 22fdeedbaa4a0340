//! The PCI server: finds the functions of the bus and gives each driver its own one and nothing else.
#![cfg_attr(target_os = "none", no_std, no_main)]

use driver::{AttachError, Running, driver};
use interfaces::pci::PciService;
use userlib::Environment;

/// It is the bus itself, not a device on it: it gets configuration space and device memory as they are.
#[driver]
async fn pci(environment: &'static Environment) -> Result<Running, AttachError> {
    driver::serve(PciService::new(pci::start::server(environment)))
}
