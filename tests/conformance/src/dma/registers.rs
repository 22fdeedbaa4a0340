//! A device's registers and its configuration space, mapped into the suite's own space.

use crate::bench::{Bench, WINDOW};
use crate::call::call;
use crate::outcome::Failure;
use abi::PAGE_SIZE;
use abi::root;
use abi::syscall::{MapAccess, Syscall};

/// Where pages of registers are mapped, and how many fit there.
const AT: u64 = WINDOW + 0x6_0000;
const PLACES: u64 = 32;

/// The widths of registers.
pub(super) trait Width: Copy {}

impl Width for u8 {}
impl Width for u16 {}
impl Width for u32 {}
impl Width for u64 {}

/// A page of registers.
pub(super) struct Registers {
    address: usize,
    mapping: u64,
}

impl Registers {
    /// Maps the page of this physical address in one of the places for such pages.
    pub(super) fn map(bench: &Bench, physical: u64, place: u64) -> Result<Self, Failure> {
        if place >= PLACES {
            return Err(Failure::new("no place left for registers".into()));
        }
        let (memory, page) = bench.find(physical / PAGE_SIZE)?;
        let address = AT + place * PAGE_SIZE;
        let arguments = [root::SPACE.0, memory, address, page, 1, MapAccess::ReadWrite as u64];
        Ok(Registers { address: address as usize, mapping: call(Syscall::Map, arguments)? })
    }

    /// Ends the mapping.
    pub(super) fn unmap(&self) -> Result<(), Failure> {
        call(Syscall::Unmap, [root::SPACE.0, self.mapping])?;
        Ok(())
    }

    /// Reads a register.
    pub(super) fn read<T: Width>(&self, offset: usize) -> T {
        // SAFETY: the page is mapped until `unmap`, registers may be read, and any bits are a number.
        unsafe { core::ptr::with_exposed_provenance::<T>(self.address + offset).read_volatile() }
    }

    /// Writes a register.
    pub(super) fn write<T: Width>(&self, offset: usize, value: T) {
        // SAFETY: as for `read`; what the device does with it is what the suite is about.
        unsafe { core::ptr::with_exposed_provenance_mut::<T>(self.address + offset).write_volatile(value) }
    }
}
