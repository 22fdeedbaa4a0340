//! What a driver maps: registers of its device, and memory that it shares with it.
//!
//! Drivers get both through the crate `driver`, which knows where they come from; only what stands for a bus itself
//! uses this module directly.

use crate::cap::{Cap, Memory, Owned};
use crate::memory::{AddressSpace, MapError, Mapping, OutOfBounds, SharedMemory};
use abi::PAGE_SIZE;
use abi::syscall::MapAccess;

mod sealed {
    pub trait Sealed {}
    impl Sealed for u8 {}
    impl Sealed for u16 {}
    impl Sealed for u32 {}
    impl Sealed for u64 {}
}

/// A whole number that is read or written in one access: `u8`, `u16`, `u32` and `u64`.
pub trait Width: sealed::Sealed + Copy + core::fmt::Debug + 'static {
    /// Bytes of an access.
    const BYTES: usize = size_of::<Self>();

    /// The number.
    fn to_u64(self) -> u64;

    /// The number, without the bits for which there is no room.
    fn from_u64(value: u64) -> Self;
}

macro_rules! widths {
    ($($type:ty)*) => {
        $(impl Width for $type {
            fn to_u64(self) -> u64 {
                self.into()
            }

            fn from_u64(value: u64) -> Self {
                value as $type
            }
        })*
    };
}

widths!(u8 u16 u32 u64);

/// Memory that a device reads and writes: mapped, with its physical address.
#[derive(Debug)]
pub struct DmaBuffer {
    mapping: Mapping,
    physical: u64,
    memory: Option<Owned<Memory>>,
}

impl DmaBuffer {
    /// Maps a whole extent of RAM for use with a device. The capability needs the rights `READ`, `WRITE` and `DMA`.
    ///
    /// # Errors
    /// [`MapError`]; `WrongMemory` if the physical address may not be known.
    pub fn new(space: &AddressSpace, memory: Cap<Memory>) -> Result<Self, MapError> {
        let info = memory.memory_info()?;
        let frame = info.first_frame.filter(|_| !info.device).ok_or(MapError::WrongMemory)?;
        Ok(Self {
            mapping: space.map(memory, 0, info.pages, MapAccess::ReadWrite)?,
            physical: frame * PAGE_SIZE,
            memory: None,
        })
    }

    /// As [`DmaBuffer::new`], and keeps the capability as long as the buffer lives.
    ///
    /// # Errors
    /// As [`DmaBuffer::new`].
    pub fn owning(space: &AddressSpace, memory: Owned<Memory>) -> Result<Self, MapError> {
        let mut buffer = Self::new(space, memory.cap())?;
        buffer.memory = Some(memory);
        Ok(buffer)
    }

    /// Physical address of the first byte.
    pub fn physical(&self) -> u64 {
        self.physical
    }

    /// Address of the first byte in this space.
    pub fn address(&self) -> u64 {
        self.mapping.address()
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.mapping.len()
    }

    /// Never: it has at least one page.
    pub fn is_empty(&self) -> bool {
        self.mapping.is_empty()
    }

    /// The memory; the device changes it as it likes.
    pub fn shared(&self) -> SharedMemory<'_> {
        self.mapping.shared()
    }

    /// Keeps the buffer for the rest of the domain's life, as shared memory.
    pub fn leak_shared(self) -> SharedMemory<'static> {
        if let Some(memory) = self.memory {
            memory.leak();
        }
        self.mapping.leak_shared()
    }
}

/// Device registers, mapped uncached. Every access is one volatile load or store of exactly the width that is asked.
#[derive(Debug)]
pub struct DeviceRegisters {
    mapping: Mapping,
}

impl DeviceRegisters {
    /// Maps pages `first .. first + pages` of device memory.
    ///
    /// # Errors
    /// [`MapError`]; `WrongMemory` if it is RAM.
    pub fn map(space: &AddressSpace, memory: Cap<Memory>, first: u64, pages: u64) -> Result<Self, MapError> {
        if !memory.memory_info()?.device {
            return Err(MapError::WrongMemory);
        }
        let mapping = space.map(memory, first, pages, MapAccess::ReadWrite)?;
        Ok(Self { mapping })
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.mapping.len()
    }

    /// Never: there is at least one page.
    pub fn is_empty(&self) -> bool {
        self.mapping.is_empty()
    }

    fn register<T: Width>(&self, offset: usize) -> Result<*mut T, OutOfBounds> {
        let size = size_of::<T>();
        if !offset.is_multiple_of(size) || offset > self.len() - size {
            return Err(OutOfBounds);
        }
        Ok((self.mapping.address() as usize + offset) as *mut T)
    }

    /// Reads the register at a byte offset, a multiple of its width.
    ///
    /// # Errors
    /// [`OutOfBounds`].
    #[inline]
    pub fn read<T: Width>(&self, offset: usize) -> Result<T, OutOfBounds> {
        let register = self.register::<T>(offset)?;
        // SAFETY: the address is aligned and mapped as long as `self` lives; every bit pattern is a value of `T`.
        Ok(unsafe { register.read_volatile() })
    }

    /// Writes the register at a byte offset, a multiple of its width.
    ///
    /// # Errors
    /// [`OutOfBounds`].
    #[inline]
    pub fn write<T: Width>(&self, offset: usize, value: T) -> Result<(), OutOfBounds> {
        let register = self.register::<T>(offset)?;
        // SAFETY: the address is aligned, mapped writable as long as `self` lives, and no Rust object lies there.
        unsafe { register.write_volatile(value) };
        Ok(())
    }

    /// Address of the first register.
    pub fn address(&self) -> u64 {
        self.mapping.address()
    }
}
