//! Device registers that the loader has mapped for the kernel.

use abi::boot::Registers;

/// A page of device registers.
#[derive(Clone, Copy, Debug)]
pub struct RegisterPage(usize);

impl RegisterPage {
    /// The registers of a device; `None` if the machine does not have it.
    ///
    /// # Safety
    /// The loader has mapped the page uncached, and nothing else uses the device.
    pub unsafe fn new(registers: &Registers) -> Option<Self> {
        registers.is_present().then_some(RegisterPage(registers.virt as usize))
    }

    const fn pointer<T>(self, offset: usize) -> *mut T {
        let aligned = offset % 4096 / size_of::<T>() * size_of::<T>();
        core::ptr::with_exposed_provenance_mut(self.0 + aligned)
    }

    /// Reads a register of 32 bits.
    pub fn read(self, offset: usize) -> u32 {
        // SAFETY: `new` promises a mapped page of registers, and the pointer stays in it, aligned.
        unsafe { self.pointer::<u32>(offset).read_volatile() }
    }

    /// Reads a register of 64 bits.
    pub fn read_wide(self, offset: usize) -> u64 {
        // SAFETY: as for `read`.
        unsafe { self.pointer::<u64>(offset).read_volatile() }
    }

    /// Writes a register of 64 bits.
    pub fn write_wide(self, offset: usize, value: u64) {
        // SAFETY: as for `write`.
        unsafe { self.pointer::<u64>(offset).write_volatile(value) }
    }

    /// Writes a register of 32 bits.
    pub fn write(self, offset: usize, value: u32) {
        // SAFETY: as for `read`; what the value does is the device driver's, which the kernel is for these devices.
        unsafe { self.pointer::<u32>(offset).write_volatile(value) }
    }
}
