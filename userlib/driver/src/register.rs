//! Registers: where they are, how wide, and who may do what with them.

use alloc::rc::Rc;
use core::fmt;
use core::marker::PhantomData;
use core::ops::Range;
use core::sync::atomic::{Ordering, fence};
use userlib::cap::{Cap, PortWidth, Ports};
use userlib::device::{DeviceRegisters, Width};

/// What registers are reached by.
#[derive(Clone)]
enum Way {
    Memory(Rc<DeviceRegisters>),
    /// I/O ports, from this one on.
    Ports(Cap<Ports>, u16),
    #[cfg(not(target_os = "none"))]
    Double(Rc<dyn crate::double::RegisterDouble>),
}

/// A range of a device's registers, whose layout is known or comes to be known while the driver runs. What is laid out
/// at build time is better described by [`registers!`](crate::registers).
///
/// Outside of the window, reads give all ones and writes are lost, as on a bus where nobody answers.
#[derive(Clone)]
pub struct Window {
    way: Way,
    start: usize,
    length: usize,
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Window({:#x}..{:#x})", self.start, self.start + self.length)
    }
}

/// A device has fewer registers than its driver needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooShort {
    /// Bytes that the driver needs.
    pub needed: usize,
    /// Bytes that there are.
    pub given: usize,
}

impl fmt::Display for TooShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the device has {} bytes of registers and the driver needs {}", self.given, self.needed)
    }
}

impl core::error::Error for TooShort {}

impl Window {
    pub(crate) fn of_memory(registers: Rc<DeviceRegisters>, range: Range<usize>) -> Option<Self> {
        let length = range.end.checked_sub(range.start)?;
        (range.end <= registers.len()).then_some(Self { way: Way::Memory(registers), start: range.start, length })
    }

    pub(crate) fn of_ports(ports: Cap<Ports>, first: u16, count: u32) -> Self {
        Self { way: Way::Ports(ports, first), start: 0, length: count as usize }
    }

    #[cfg(not(target_os = "none"))]
    pub(crate) fn of_double(double: Rc<dyn crate::double::RegisterDouble>) -> Self {
        let length = double.length();
        Self { way: Way::Double(double), start: 0, length }
    }

    /// Bytes.
    pub fn length(&self) -> usize {
        self.length
    }

    /// A part; `None` if it is not all inside.
    pub fn part(&self, range: Range<usize>) -> Option<Window> {
        let length = range.end.checked_sub(range.start)?;
        (range.end <= self.length).then(|| Window { way: self.way.clone(), start: self.start + range.start, length })
    }

    /// The window as a block that [`registers!`](crate::registers) has described.
    ///
    /// # Errors
    /// [`TooShort`] if the block is longer than the window.
    pub fn block<B: RegisterBlock>(self) -> Result<B, TooShort> {
        let given = self.length;
        if given < B::LENGTH { Err(TooShort { needed: B::LENGTH, given }) } else { Ok(B::over(self)) }
    }

    /// The offset of an access as the way counts, if the access is inside and aligned.
    fn place<T: Width>(&self, offset: usize) -> Option<usize> {
        let end = offset.checked_add(T::BYTES)?;
        (end <= self.length && offset.is_multiple_of(T::BYTES)).then_some(self.start + offset)
    }

    /// Reads the register at a byte offset, a multiple of its width, in one access. What the device has written to memory
    /// before is seen by whoever reads that afterwards.
    #[inline]
    pub fn read<T: Width>(&self, offset: usize) -> T {
        let all_ones = T::from_u64(u64::MAX);
        let Some(place) = self.place::<T>(offset) else { return all_ones };
        let value = match &self.way {
            Way::Memory(registers) => registers.read(place).unwrap_or(all_ones),
            Way::Ports(ports, first) => match port_width::<T>() {
                // Ports that were checked at the start can only be refused when they were taken away.
                Some(width) => {
                    ports.read(first + place as u16, width).map_or(all_ones, |value| T::from_u64(value.into()))
                }
                None => all_ones,
            },
            #[cfg(not(target_os = "none"))]
            Way::Double(double) => T::from_u64(double.read(place, T::BYTES)),
        };
        fence(Ordering::Acquire);
        value
    }

    /// Writes the register at a byte offset, a multiple of its width, in one access. What was written to memory before
    /// is seen by a device that begins to look at it.
    #[inline]
    pub fn write<T: Width>(&self, offset: usize, value: T) {
        let Some(place) = self.place::<T>(offset) else { return };
        fence(Ordering::Release);
        match &self.way {
            // It lies inside of what is mapped.
            Way::Memory(registers) => drop(registers.write(place, value)),
            Way::Ports(ports, first) => {
                if let Some(width) = port_width::<T>() {
                    // As with reading.
                    let _ = ports.write(first + place as u16, width, value.to_u64() as u32);
                }
            }
            #[cfg(not(target_os = "none"))]
            Way::Double(double) => double.write(place, T::BYTES, value.to_u64()),
        }
    }
}

/// How ports are accessed with the width of `T`; none has 64 bits.
fn port_width<T: Width>() -> Option<PortWidth> {
    match T::BYTES {
        1 => Some(PortWidth::Byte),
        2 => Some(PortWidth::Word),
        4 => Some(PortWidth::Long),
        _ => None,
    }
}

/// A register that can be read.
#[derive(Clone, Copy, Debug)]
pub enum ReadOnly {}
/// A register that can be written.
#[derive(Clone, Copy, Debug)]
pub enum WriteOnly {}
/// A register that can be read and written.
#[derive(Clone, Copy, Debug)]
pub enum ReadWrite {}

/// Registers with the right to be read.
#[diagnostic::on_unimplemented(
    message = "this register cannot be read",
    note = "`registers!` describes it without `read`: reading it has no meaning, or another one"
)]
pub trait Readable {}
/// Registers with the right to be written.
#[diagnostic::on_unimplemented(
    message = "this register cannot be written",
    note = "`registers!` describes it without `write`: writing it has no meaning, or another one"
)]
pub trait Writable {}
impl Readable for ReadOnly {}
impl Readable for ReadWrite {}
impl Writable for WriteOnly {}
impl Writable for ReadWrite {}

/// One register of a block.
#[derive(Debug)]
pub struct Register<'a, T, A> {
    window: &'a Window,
    offset: usize,
    kind: PhantomData<(T, A)>,
}

impl<'a, T: Width, A> Register<'a, T, A> {
    /// The register at an offset of a window; [`registers!`](crate::registers) calls this.
    pub const fn new(window: &'a Window, offset: usize) -> Self {
        Self { window, offset, kind: PhantomData }
    }
}

impl<T: Width, A: Readable> Register<'_, T, A> {
    /// Reads it, in one access.
    #[inline]
    pub fn read(self) -> T {
        self.window.read(self.offset)
    }
}

impl<T: Width, A: Writable> Register<'_, T, A> {
    /// Writes it, in one access.
    #[inline]
    pub fn write(self, value: T) {
        self.window.write(self.offset, value);
    }
}

/// Registers that [`registers!`](crate::registers) has described.
pub trait RegisterBlock: Sized {
    /// Bytes from the first register to behind the last one.
    const LENGTH: usize;

    /// The block over a window, which is at least as long ([`Window::block`] has looked).
    fn over(window: Window) -> Self;
}

/// Where a register of type `T` at `offset` ends, if it may be there.
///
/// # Panics
/// If `offset` is no multiple of the width; in [`registers!`](crate::registers) that is an error of compilation.
pub const fn end_of_register<T: Width>(offset: usize) -> usize {
    assert!(offset.is_multiple_of(size_of::<T>()), "a register's offset is a multiple of its width");
    offset + size_of::<T>()
}

/// Describes the registers of a device as a structure with a method for each.
///
/// A line is `OFFSET => NAME: TYPE, RIGHTS;` where the type is `u8`, `u16`, `u32` or `u64` and the rights are `read`,
/// `write` or `read write`. Two registers may share an offset, as where reading and writing mean different things.
///
/// ```
/// driver::registers! {
///     /// An alarm clock.
///     pub struct Clock {
///         /// Seconds since it was started.
///         0x00 => seconds: u32, read;
///         /// When to ring.
///         0x04 => alarm: u32, read write;
///         /// Stops the ringing.
///         0x08 => stop: u8, write;
///     }
/// }
///
/// fn snooze(clock: &Clock) {
///     clock.stop().write(1);
///     clock.alarm().write(clock.seconds().read() + 540);
/// }
/// ```
///
/// What the rights do not allow does not compile:
///
/// ```compile_fail
/// # driver::registers! { pub struct Clock { 0x00 => seconds: u32, read; } }
/// fn turn_back(clock: &Clock) {
///     clock.seconds().write(0);
/// }
/// ```
///
/// Nor does a register that is not aligned:
///
/// ```compile_fail
/// # use driver::RegisterBlock;
/// driver::registers! { pub struct Crooked { 0x02 => seconds: u32, read; } }
/// const LENGTH: usize = Crooked::LENGTH;
/// ```
#[macro_export]
macro_rules! registers {
    (
        $(#[$meta:meta])*
        $visibility:vis struct $block:ident {
            $($(#[$register_meta:meta])* $offset:literal => $register:ident: $type:ty, $($right:ident)+;)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug)]
        $visibility struct $block($crate::Window);

        #[allow(dead_code, reason = "a description names registers that the driver may not need")]
        impl $block {
            $(
                $(#[$register_meta])*
                $visibility fn $register(&self) -> $crate::Register<'_, $type, $crate::register_rights!($($right)+)> {
                    $crate::Register::new(&self.0, $offset)
                }
            )*
        }

        impl $crate::RegisterBlock for $block {
            const LENGTH: usize = {
                let mut length = 0;
                $(
                    let end = $crate::end_of_register::<$type>($offset);
                    if end > length {
                        length = end;
                    }
                )*
                length
            };

            fn over(window: $crate::Window) -> Self {
                Self(window)
            }
        }
    };
}

/// The type that stands for a register's rights; a part of [`registers!`].
#[doc(hidden)]
#[macro_export]
macro_rules! register_rights {
    (read) => {
        $crate::ReadOnly
    };
    (write) => {
        $crate::WriteOnly
    };
    (read write) => {
        $crate::ReadWrite
    };
    ($($other:ident)+) => {
        ::core::compile_error!("a register's rights are `read`, `write` or `read write`")
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::double::{self, RegisterDouble};
    use core::cell::RefCell;

    registers! {
        struct Block {
            0x00 => first: u32, read;
            0x08 => long: u64, read write;
            0x00 => command: u8, write;
        }
    }

    /// Remembers what is written.
    struct Memory(RefCell<[u8; 24]>);

    impl RegisterDouble for Memory {
        fn length(&self) -> usize {
            24
        }

        fn read(&self, offset: usize, width: usize) -> u64 {
            let mut value = [0; 8];
            value[..width].copy_from_slice(&self.0.borrow()[offset..offset + width]);
            u64::from_le_bytes(value)
        }

        fn write(&self, offset: usize, width: usize, value: u64) {
            self.0.borrow_mut()[offset..offset + width].copy_from_slice(&value.to_le_bytes()[..width]);
        }
    }

    #[test]
    fn a_block_reaches_from_its_first_to_its_last_register() {
        assert_eq!(Block::LENGTH, 16);
        let window = double::window(Rc::new(Memory(RefCell::new([0; 24]))));
        let short = window.part(9..24).unwrap();
        assert_eq!(short.block::<Block>().map(drop), Err(TooShort { needed: 16, given: 15 }));
        assert!(window.block::<Block>().is_ok());
    }

    #[test]
    fn registers_are_accessed_at_their_offset_with_their_width() {
        let memory = Rc::new(Memory(RefCell::new([0; 24])));
        let block: Block = double::window(memory.clone()).part(8..24).unwrap().block().unwrap();
        block.long().write(0x1122_3344_5566_7788);
        block.command().write(0x99);
        assert_eq!(
            memory.0.borrow()[8..24],
            [0x99, 0, 0, 0, 0, 0, 0, 0, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11]
        );
        assert_eq!((block.first().read(), block.long().read()), (0x99, 0x1122_3344_5566_7788));
    }

    #[test]
    fn outside_of_a_window_nobody_answers() {
        let memory = Rc::new(Memory(RefCell::new([0; 24])));
        let window = double::window(memory.clone()).part(0..6).unwrap();
        window.write(4, u32::MAX);
        window.write(2, u32::MAX);
        window.write(usize::MAX, 1_u8);
        assert_eq!(*memory.0.borrow(), [0; 24]);
        assert_eq!((window.read::<u32>(4), window.read::<u16>(5), window.read::<u16>(4)), (u32::MAX, u16::MAX, 0));
        assert!(window.part(3..7).is_none());
    }
}
