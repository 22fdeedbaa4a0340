//! The guest's memory: pieces of 2 MiB, which the monitor maps for itself and gives to the guest when they are first touched.

use alloc::vec;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use userlib::abi::Error;
use userlib::abi::syscall::MapAccess;
use userlib::cap::{Cap, Memory};
use userlib::guest::GuestSpace;
use userlib::log;
use userlib::memory::{AddressSpace, SharedMemory};
use vmm::memory::{GuestMemory, OutsideMemory};

/// Bytes of a piece.
const PIECE: u64 = 2 << 20;
const PAGE: u64 = 4096;

/// A piece of the memory.
#[derive(Clone, Copy, Debug, Default)]
struct Piece {
    /// Where the monitor has it.
    own: Option<SharedMemory<'static>>,
    /// It holds nothing of a former guest's.
    is_clean: bool,
    /// The guest has it.
    is_given: bool,
}

/// The memory of a guest, from address 0 on.
#[derive(Debug)]
pub(crate) struct Ram {
    memory: Cap<Memory>,
    bytes: u64,
    own_space: AddressSpace,
    pieces: RefCell<Vec<Piece>>,
    /// Pieces that the guest or the monitor has touched.
    touched: Cell<u64>,
}

impl Ram {
    /// The first `bytes` of a memory, a multiple of 2 MiB.
    pub(crate) fn new(memory: Cap<Memory>, bytes: u64, own_space: AddressSpace) -> Self {
        let pieces = vec![Piece::default(); (bytes / PIECE) as usize];
        Self { memory, bytes, own_space, pieces: RefCell::new(pieces), touched: Cell::new(0) }
    }

    /// The next guest begins: it has nothing yet, and finds zeroes.
    pub(crate) fn forget(&self) {
        for piece in self.pieces.borrow_mut().iter_mut() {
            (piece.is_clean, piece.is_given) = (false, false);
        }
        self.touched.set(0);
    }

    /// Bytes that were touched since.
    pub(crate) fn touched(&self) -> u64 {
        self.touched.get() * PIECE
    }

    /// Gives the guest the piece around an address. Returns whether it has memory there.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn give(&self, space: &GuestSpace, address: u64) -> Result<bool, Error> {
        if address >= self.bytes {
            return Ok(false);
        }
        let index = address / PIECE;
        // What cannot be cleared cannot be given.
        self.piece(index).ok_or(Error::NeedTables)?;
        let Some(piece) = self.pieces.borrow().get(index as usize).copied() else { return Ok(false) };
        if !piece.is_given {
            let pages = PIECE / PAGE;
            space.map(self.memory, index * PIECE, index * pages, pages)?;
            self.pieces.borrow_mut()[index as usize].is_given = true;
        }
        Ok(true)
    }

    /// A piece, as the monitor has it.
    fn piece(&self, index: u64) -> Option<SharedMemory<'static>> {
        let mut pieces = self.pieces.borrow_mut();
        let piece = pieces.get_mut(usize::try_from(index).ok()?)?;
        let own = match piece.own {
            Some(own) => own,
            None => {
                let pages = PIECE / PAGE;
                let mapped = self.own_space.map(self.memory, index * pages, pages, MapAccess::ReadWrite);
                let mapped = mapped.inspect_err(|error| log::error!("the guest's memory cannot be reached: {error}"));
                *piece.own.insert(mapped.ok()?.leak_shared())
            }
        };
        if !piece.is_clean {
            own.fill_zero();
            piece.is_clean = true;
            self.touched.set(self.touched.get() + 1);
        }
        Some(own)
    }

    /// Applies `part` to each piece that a range touches: the piece, where in it, and where in the range.
    fn for_each(
        &self,
        address: u64,
        length: usize,
        mut part: impl FnMut(SharedMemory<'static>, usize, core::ops::Range<usize>) -> bool,
    ) -> Result<(), OutsideMemory> {
        let outside = OutsideMemory { address, length: length as u64 };
        if !self.contains(address, length as u64) {
            return Err(outside);
        }
        let mut done = 0;
        while done < length {
            let at = address + done as u64;
            let inside = (at % PIECE) as usize;
            let count = (PIECE as usize - inside).min(length - done);
            let piece = self.piece(at / PIECE).ok_or(outside)?;
            if !part(piece, inside, done..done + count) {
                return Err(outside);
            }
            done += count;
        }
        Ok(())
    }

    fn contains(&self, address: u64, length: u64) -> bool {
        address.checked_add(length).is_some_and(|end| end <= self.bytes)
    }
}

impl GuestMemory for &Ram {
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), OutsideMemory> {
        self.for_each(address, into.len(), |piece, at, range| piece.read(at, &mut into[range]).is_ok())
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), OutsideMemory> {
        self.for_each(address, bytes.len(), |piece, at, range| piece.write(at, &bytes[range]).is_ok())
    }

    fn contains(&self, address: u64, length: u64) -> bool {
        Ram::contains(self, address, length)
    }
}
