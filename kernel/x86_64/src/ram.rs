//! RAM by physical frame, through the direct map.

use abi::PAGE_SIZE;
use abi::boot::DIRECT_MAP_BASE;
use core::arch::asm;
use kernel_core::Frame;

/// Words in a page.
pub const WORDS: usize = (PAGE_SIZE / 8) as usize;

/// A page of RAM that the kernel handles as plain bytes: a page table, a message buffer, memory of a user.
///
/// Other parties (a user on another processor, a device) may change the bytes at any time, so that words are read and
/// written with volatile accesses and never as Rust references.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RamPage(u64);

impl RamPage {
    /// The page of a frame.
    ///
    /// # Safety
    /// The frame is RAM inside the direct map, and no Rust object lives in it: it is neither part of the kernel's image
    /// nor of the frame table nor of the boot information.
    pub const unsafe fn new(frame: Frame) -> Self {
        RamPage(DIRECT_MAP_BASE + frame.address())
    }

    /// The frame.
    pub const fn frame(self) -> Frame {
        Frame(((self.0 - DIRECT_MAP_BASE) >> 12) as u32)
    }

    const fn word_pointer(self, index: usize) -> *mut u64 {
        core::ptr::with_exposed_provenance_mut::<u64>(self.0 as usize + (index % WORDS) * 8)
    }

    /// The word with this index, taken modulo [`WORDS`].
    pub fn word(self, index: usize) -> u64 {
        // SAFETY: `new` promises that the page is RAM without Rust objects; the index is reduced to the page.
        unsafe { self.word_pointer(index).read_volatile() }
    }

    /// Changes the word with this index, taken modulo [`WORDS`].
    pub fn set_word(self, index: usize, value: u64) {
        // SAFETY: `new` promises that the page is RAM without Rust objects; the index is reduced to the page.
        unsafe { self.word_pointer(index).write_volatile(value) }
    }

    /// Takes over `count` words of another page, those from index `first` on; none beyond the end of the page.
    #[inline(always)]
    pub fn copy_words(self, from: RamPage, first: usize, count: usize) {
        let count = count.min(WORDS - first % WORDS);
        // SAFETY: `new` promises of both pages that they are RAM without Rust objects, and all words lie in them. What somebody
        // else writes meanwhile is bytes like others.
        unsafe {
            asm!("rep movsq", inout("rcx") count => _, inout("rsi") from.word_pointer(first) => _,
                inout("rdi") self.word_pointer(first) => _, options(nostack, preserves_flags));
        }
    }

    /// Where a word lies in the kernel's address space.
    pub(crate) const fn address_of(self, index: usize) -> u64 {
        self.0 + (index % WORDS) as u64 * 8
    }

    /// Makes every byte zero.
    pub fn zero(self) {
        // SAFETY: the whole page is RAM without Rust objects, by the promise of `new`.
        unsafe { core::ptr::write_bytes(self.word_pointer(0), 0, WORDS) }
    }

    /// A part of the page, cut off at the page's end.
    pub const fn part(self, offset: usize, length: usize) -> RamBytes {
        let offset = offset % PAGE_SIZE as usize;
        let room = PAGE_SIZE as usize - offset;
        RamBytes { address: self.0 + offset as u64, length: if length < room { length } else { room } }
    }
}

/// Bytes inside one page of RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RamBytes {
    address: u64,
    length: usize,
}

impl RamBytes {
    /// How many bytes.
    pub const fn len(self) -> usize {
        self.length
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.length == 0
    }

    const fn pointer(self) -> *mut u8 {
        core::ptr::with_exposed_provenance_mut::<u8>(self.address as usize)
    }

    /// Copies from these bytes to `target`, as many as both have.
    pub fn read(self, target: &mut [u8]) {
        let length = self.length.min(target.len());
        // SAFETY: the bytes lie within a page of RAM without Rust objects, so they cannot overlap `target`.
        unsafe { core::ptr::copy_nonoverlapping(self.pointer(), target.as_mut_ptr(), length) }
    }

    /// Copies `source` to these bytes, as many as both have.
    pub fn write(self, source: &[u8]) {
        let length = self.length.min(source.len());
        // SAFETY: the bytes lie within a page of RAM without Rust objects, so they cannot overlap `source`.
        unsafe { core::ptr::copy_nonoverlapping(source.as_ptr(), self.pointer(), length) }
    }

    /// Copies from `source` to these bytes, as many as both have. The two may overlap.
    pub fn copy_from(self, source: RamBytes) {
        let length = self.length.min(source.length);
        // SAFETY: both lie within pages of RAM without Rust objects; `copy` allows them to overlap.
        unsafe { core::ptr::copy(source.pointer(), self.pointer(), length) }
    }
}
