//! What every driver is written against.
//!
//! A driver is an async function under [`macro@driver`]. It gets the device that the system's manifest gives to its
//! domain, brings it to work, and says with [`serve`] what it serves:
//!
//! ```no_run
//! use driver::{AttachError, PciDevice, Running, driver, registers};
//! use interfaces::echo::{EchoServer, EchoService};
//! # use interfaces::echo::{EchoError, Misbehaviour};
//! # use userlib::ipc::{Caller, ReadLease, WriteLease};
//!
//! registers! {
//!     /// The registers behind base address register 0.
//!     pub struct Registers {
//!         /// What the device is.
//!         0x00 => identification: u32, read;
//!         /// Gives back what was written, with every bit turned over.
//!         0x04 => liveness: u32, read write;
//!     }
//! }
//!
//! struct Inverter(Registers);
//!
//! impl EchoServer for Inverter {
//!     async fn ping(&self, _: &Caller, value: u64) -> u64 {
//!         self.0.liveness().write(value as u32);
//!         self.0.liveness().read().into()
//!     }
//! #   async fn count(&self, _: &Caller) -> u64 { 0 }
//! #   async fn echo(&self, _: &Caller, _: ReadLease, _: WriteLease) -> Result<usize, EchoError> { Ok(0) }
//! #   async fn later(&self, _: &Caller, _: u64, value: u64) -> u64 { value }
//! #   async fn misbehave(&self, _: &Caller, _: Misbehaviour) {}
//! }
//!
//! #[driver]
//! async fn inverter(device: PciDevice) -> Result<Running, AttachError> {
//!     driver::serve(EchoService::new(Inverter(device.registers(0)?)))
//! }
//! ```
//!
//! | what | where it comes from |
//! | --- | --- |
//! | registers | [`registers!`] describes them, [`PciDevice::registers`] and [`LegacyDevice::registers`] give them |
//! | interrupts | [`PciDevice::interrupt`], [`LegacyDevice::interrupt`]: an [`Interrupt`] is awaited |
//! | memory that the device reads and writes | [`PciDevice::dma`]: a [`Dma`] of values, with its address on the bus |
//! | coming to rest | [`Running::at_rest`] for the driver's own part; the device is quieted by the framework |
//! | tests on the host | [`double`] |
//!
//! None of this needs unsafe code. A driver learns addresses on the *bus*, and only of memory that was shared with its
//! device. On a machine with an IOMMU that is all that the device sees; on another one a device that may use memory by itself
//! ([`PciDevice::enable`]) can reach all of it.
#![cfg_attr(target_os = "none", no_std)]
#![forbid(unsafe_code)]

extern crate alloc;
// The macros name this crate, within itself too.
extern crate self as driver;

mod device_space;
mod dma;
#[cfg(not(target_os = "none"))]
pub mod double;
mod error;
mod interrupt;
mod legacy;
mod pci;
mod program;
mod register;

pub use dma::{Dma, DmaMemory, NoSuchValue};
pub use error::AttachError;
pub use interrupt::Interrupt;
pub use legacy::LegacyDevice;
pub use pci::PciDevice;
pub use program::{Given, Running, run, serve, try_again_after};
pub use register::{
    ReadOnly, ReadWrite, Readable, Register, RegisterBlock, TooShort, Window, Writable, WriteOnly, end_of_register,
};
pub use userlib;

/// Makes an async function the program of a driver's domain.
///
/// Its argument is the domain's device ([`PciDevice`] or [`LegacyDevice`]), a `Result` of one with [`AttachError`] for a
/// driver that has something to say without its device too, or the [`userlib::Environment`] for whatever stands for a
/// whole bus ([`Given`]). Its result is a `Result<Running, E>` where `E` can be displayed.
///
/// The attribute adds the program's entry point. Everything else is done by [`run`]:
///
/// * finding and claiming the device; if it cannot be had, or the function fails, the reason is logged and the domain is
///   at rest, since nothing gets better by another start;
/// * running the tasks that the function has spawned and the service that it has named;
/// * coming to rest when the supervisor asks for it: what [`Running::at_rest`] says, then the device's interrupts are
///   masked and its use of memory ends.
///
/// A driver with a device of any other kind does not compile:
///
/// ```compile_fail
/// #[driver::driver]
/// async fn wrong(device: u32) -> Result<driver::Running, driver::AttachError> {
///     panic!()
/// }
/// ```
pub use userlib::driver;
