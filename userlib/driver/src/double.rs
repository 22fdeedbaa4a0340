//! Doubles of a device, for tests of a driver on the host.
//!
//! A test writes a [`RegisterDouble`] that behaves, or misbehaves, like the device, and gives the driver what the real
//! one would have given it: a block of [`registers`](window), an interrupt [`line()`] and [`memory`].

use crate::{DmaMemory, Interrupt, RegisterBlock, Window};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::sync::atomic::AtomicU64;
use userlib::memory::SharedMemory;
use userlib::sync::Event;

/// A device's registers as a test plays them. Offsets are multiples of the width (1, 2, 4 or 8 bytes) and inside.
pub trait RegisterDouble {
    /// Bytes of registers.
    fn length(&self) -> usize;
    /// The driver reads.
    fn read(&self, offset: usize, width: usize) -> u64;
    /// The driver writes.
    fn write(&self, offset: usize, width: usize, value: u64);
}

/// The registers of a double; [`Window::block`] makes a block of them.
pub fn window(device: Rc<impl RegisterDouble + 'static>) -> Window {
    Window::of_double(device)
}

/// Registers of which each holds what `made_of` makes of its offset and of the value that was written to it last, and at
/// first 0: all that many a driver needs of its device.
pub fn registers<B: RegisterBlock>(made_of: impl Fn(usize, u64) -> u64 + 'static) -> B {
    let cells = Cells { length: B::LENGTH, values: RefCell::default(), made_of };
    B::over(window(Rc::new(cells)))
}

/// Registers that are memory, almost.
struct Cells<F> {
    length: usize,
    values: RefCell<BTreeMap<usize, u64>>,
    made_of: F,
}

impl<F: Fn(usize, u64) -> u64> RegisterDouble for Cells<F> {
    fn length(&self) -> usize {
        self.length
    }

    fn read(&self, offset: usize, _: usize) -> u64 {
        self.values.borrow().get(&offset).copied().unwrap_or(0)
    }

    fn write(&self, offset: usize, _: usize, value: u64) {
        self.values.borrow_mut().insert(offset, (self.made_of)(offset, value));
    }
}

/// An interrupt that a test raises.
#[derive(Debug, Default)]
pub struct Line {
    raised: Cell<bool>,
    event: Event,
}

impl Line {
    /// Raises it. As with the real one, raising it again before somebody has looked makes no difference.
    pub fn raise(&self) {
        self.raised.set(true);
        self.event.signal();
    }

    pub(crate) async fn next(&self) {
        while !self.raised.take() {
            self.event.next().await;
        }
    }
}

/// An interrupt, and how to raise it.
pub fn line() -> (Interrupt, Rc<Line>) {
    let line = Rc::new(Line::default());
    (Interrupt::of_double(line.clone()), line)
}

/// `bytes` bytes of memory that the device finds at `bus`. It lasts as long as the test program.
pub fn memory(bytes: usize, bus: u64) -> DmaMemory {
    let words: Vec<AtomicU64> = (0..bytes.div_ceil(8)).map(|_| AtomicU64::new(0)).collect();
    DmaMemory::new(SharedMemory::new(Box::leak(words.into_boxed_slice())), bus)
}

/// What the device reads at an address on the bus; `false` if there is no shared memory.
pub fn device_reads(memory: &DmaMemory, bus: u64, bytes: &mut [u8]) -> bool {
    let place = memory.place(bus, bytes.len());
    place.is_some_and(|(shared, offset)| shared.read(offset, bytes).is_ok())
}

/// The device writes to an address on the bus; `false` if there is no shared memory.
pub fn device_writes(memory: &DmaMemory, bus: u64, bytes: &[u8]) -> bool {
    let place = memory.place(bus, bytes.len());
    place.is_some_and(|(shared, offset)| shared.write(offset, bytes).is_ok())
}
