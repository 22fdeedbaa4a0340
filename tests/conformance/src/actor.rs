//! What threads other than the first one run on and share: stacks, message buffers, a board of words.
//!
//! All of it lies in the suite's image. A domain that a case makes maps the same pages of the image at the same addresses,
//! so that its threads run the same code and see the same board; everything else they do not share.

use abi::PAGE_SIZE;
use abi::message::{Lease, MAX_WORDS, MessageBuffer, offset};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, Ordering};

/// How many threads a case can have beside the first one.
pub(crate) const ACTORS: usize = 12;
const STACK_BYTES: usize = 16 * 1024;
/// Words of the board.
pub(crate) const BOARD_WORDS: usize = 32;
/// Bytes of the area that cases lend, map and copy.
pub(crate) const AREA_BYTES: usize = 4 * PAGE_SIZE as usize;

#[repr(C, align(4096))]
struct Pages<const N: usize>(UnsafeCell<[u8; N]>);

// SAFETY: only reached through raw pointers, and by the kernel.
unsafe impl<const N: usize> Sync for Pages<N> {}

impl<const N: usize> Pages<N> {
    const fn new() -> Self {
        Pages(UnsafeCell::new([0; N]))
    }

    fn address(&self) -> u64 {
        self.0.get() as u64
    }
}

static STACKS: Pages<{ ACTORS * STACK_BYTES }> = Pages::new();
static BUFFERS: Pages<{ ACTORS * PAGE_SIZE as usize }> = Pages::new();
static AREA: Pages<AREA_BYTES> = Pages::new();
static BOARD: [AtomicU64; BOARD_WORDS] = [const { AtomicU64::new(0) }; BOARD_WORDS];

/// What a thread runs.
pub(crate) type Body = extern "C" fn(u64) -> !;

/// The instruction pointer with which a thread starts that runs this.
pub(crate) fn code(body: Body) -> u64 {
    body as usize as u64
}

/// The stack pointer with which the thread in this place starts, as a function expects it on entry.
pub(crate) fn stack(place: usize) -> u64 {
    STACKS.address() + ((place + 1) * STACK_BYTES) as u64 - 8
}

/// The message buffer of the thread in this place.
pub(crate) fn buffer(place: usize) -> Buffer {
    Buffer(BUFFERS.address() + place as u64 * PAGE_SIZE)
}

/// The message buffer of the first thread.
pub(crate) fn own_buffer() -> Buffer {
    Buffer(abi::root::BUFFER_ADDRESS)
}

/// A word of the board.
pub(crate) fn read(place: usize) -> u64 {
    BOARD[place].load(Ordering::SeqCst)
}

/// Changes a word of the board.
pub(crate) fn write(place: usize, value: u64) {
    BOARD[place].store(value, Ordering::SeqCst);
}

/// Adds to a word of the board and returns what it was.
pub(crate) fn add(place: usize, value: u64) -> u64 {
    BOARD[place].fetch_add(value, Ordering::SeqCst)
}

/// Makes every word of the board zero.
pub(crate) fn clear() {
    for word in &BOARD {
        word.store(0, Ordering::SeqCst);
    }
}

/// Bytes that cases lend, map and copy: [`AREA_BYTES`] from a page boundary.
pub(crate) fn area() -> Memory {
    Memory(AREA.address())
}

/// Memory that others may change at any time.
#[derive(Clone, Copy)]
pub(crate) struct Memory(pub u64);

impl Memory {
    fn pointer(self, offset: usize) -> *mut u8 {
        core::ptr::with_exposed_provenance_mut(self.0 as usize + offset)
    }

    /// A byte.
    pub(crate) fn byte(self, offset: usize) -> u8 {
        // SAFETY: cases use this for the area and for pages that they have mapped.
        unsafe { self.pointer(offset).read_volatile() }
    }

    /// Changes a byte.
    pub(crate) fn set_byte(self, offset: usize, value: u8) {
        // SAFETY: as for `byte`.
        unsafe { self.pointer(offset).write_volatile(value) }
    }

    /// Fills bytes with a pattern that begins with `seed`.
    pub(crate) fn fill(self, offset: usize, length: usize, seed: u8) {
        for index in 0..length {
            self.set_byte(offset + index, pattern(seed, index));
        }
    }

    /// Whether bytes hold the pattern that begins with `seed`.
    pub(crate) fn holds(self, offset: usize, length: usize, seed: u8) -> bool {
        (0..length).all(|index| self.byte(offset + index) == pattern(seed, index))
    }

    /// Whether all bytes are the same.
    pub(crate) fn is_all(self, offset: usize, length: usize, value: u8) -> bool {
        (0..length).all(|index| self.byte(offset + index) == value)
    }
}

fn pattern(seed: u8, index: usize) -> u8 {
    seed.wrapping_add((index % 251) as u8)
}

/// A thread's message buffer.
#[derive(Clone, Copy)]
pub(crate) struct Buffer(pub u64);

impl Buffer {
    fn pointer(self, offset: usize) -> *mut u64 {
        debug_assert!(offset + 8 <= size_of::<MessageBuffer>());
        core::ptr::with_exposed_provenance_mut(self.0 as usize + offset)
    }

    fn read(self, offset: usize) -> u64 {
        // SAFETY: a mapped page, only used between the system calls of the thread whose buffer it is.
        unsafe { self.pointer(offset).read_volatile() }
    }

    fn write(self, offset: usize, value: u64) {
        // SAFETY: as for `read`.
        unsafe { self.pointer(offset).write_volatile(value) }
    }

    /// The word at a byte offset that is a multiple of 8.
    pub(crate) fn word_at(self, offset: usize) -> u64 {
        self.read(offset)
    }

    /// Changes the word at a byte offset that is a multiple of 8.
    pub(crate) fn set_word_at(self, offset: usize, value: u64) {
        self.write(offset, value);
    }

    /// A message word.
    pub(crate) fn word(self, place: usize) -> u64 {
        self.read(offset::WORDS + place % MAX_WORDS * 8)
    }

    /// Changes a message word.
    pub(crate) fn set_word(self, place: usize, value: u64) {
        self.write(offset::WORDS + place % MAX_WORDS * 8, value);
    }

    /// A capability that was received.
    pub(crate) fn cap_in(self, place: usize) -> u64 {
        self.read(offset::CAPS_IN + place * 8)
    }

    /// Names a capability to send.
    pub(crate) fn set_cap_out(self, place: usize, handle: u64) {
        self.write(offset::CAPS_OUT + place * 8, handle);
    }

    /// Lends a range.
    pub(crate) fn set_lease(self, place: usize, address: u64, length: u64, access: u64) {
        let lease = offset::LEASES + place * size_of::<Lease>();
        self.write(lease, address);
        self.write(lease + 8, length | access);
    }
}
