//! From the PCI server to a disk that works.

use crate::machine::{POOL, Platform, Window};
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::fmt;
use interfaces::pci::{BarInfo, FunctionInfo, PciClient, PciError};
use userlib::cap::Interrupt;
use userlib::environment::{InterruptError, InterruptEvents, NotGiven};
use userlib::device::{DeviceRegisters, DmaBuffer};
use userlib::ipc::RetriedError;
use userlib::memory::{AddressSpace, MapError};
