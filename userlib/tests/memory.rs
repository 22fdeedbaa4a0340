//! Shared memory, and mappings made in a space that the test plays.

use proptest::prelude::*;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use userlib::abi::syscall::MapAccess;
use userlib::abi::{Error, Handle, Syscall};
use userlib::cap::{Cap, Memory};
use userlib::device::DmaBuffer;
use userlib::host::{self, Kernel, refusal, values};
use userlib::memory::{AddressSpace, MapError, OutOfBounds, SharedMemory};
use userlib::sys::{Results, Words};

proptest! {
    #[test]
    fn bytes_are_read_as_written_and_neighbours_stay(
        offset in 0..80_usize,
        bytes in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let words: Vec<AtomicU64> = (0..10).map(|_| AtomicU64::new(u64::MAX)).collect();
        let shared = SharedMemory::new(&words);
        let end = offset + bytes.len();
        let outcome = shared.write(offset, &bytes);
        prop_assert_eq!(outcome.is_ok(), end.div_ceil(8) <= 10);
        let mut all = [0; 80];
        shared.read(0, &mut all).unwrap();
        let mut expected = [0xff; 80];
        if outcome.is_ok() {
            expected[offset..end].copy_from_slice(&bytes);
            let mut back = vec![0; bytes.len()];
            shared.read(offset, &mut back).unwrap();
            prop_assert_eq!(back, bytes);
        }
        prop_assert_eq!(all, expected);
    }
}

#[test]
fn accesses_outside_or_between_words_are_refused() {
    let words: Vec<AtomicU64> = (0..4).map(|_| AtomicU64::new(7)).collect();
    let shared = SharedMemory::new(&words);
    assert_eq!(shared.load(24, Ordering::Relaxed), Ok(7));
    for offset in [1, 4, 32, usize::MAX, usize::MAX - 7] {
        assert_eq!(shared.load(offset, Ordering::Relaxed), Err(OutOfBounds), "{offset}");
        assert!(shared.read(offset.max(32), &mut [0; 1]).is_err());
    }
    assert_eq!(shared.part(8..16).unwrap().len(), 8);
    for (start, end) in [(4, 16), (8, 17), (8, 40), (16, 8)] {
        assert!(shared.part(start..end).is_none());
    }
}

const SPACE: Handle = Handle::new(2, 1);
const TABLES: Handle = Handle::new(3, 1);
const RAM: Handle = Handle::new(4, 1);
const WINDOW: u64 = 2 << 20;

/// A kernel that keeps books of mappings and wants table pages as the real one does.
#[derive(Default)]
struct Books {
    mappings: RefCell<BTreeMap<u64, (u64, u64)>>,
    next: Cell<u64>,
    tables: Cell<u64>,
    windows: RefCell<Vec<u64>>,
}

impl Kernel for Books {
    fn enter(&self, call: Syscall, arguments: [u64; 6], _: &mut Words) -> Results {
        let [_, memory, address, first, pages, _] = arguments;
        match call {
            Syscall::MemoryInfo => values(77, 1000, 0, 0),
            Syscall::Map => {
                let end = address + pages * 4096;
                assert_eq!(memory, RAM.0);
                if pages == 0 || address / WINDOW != (end - 1) / WINDOW || first + pages > 1000 {
                    return refusal(Error::BadArgument);
                }
                if self.mappings.borrow().values().any(|(a, p)| *a < end && address < a + p * 4096) {
                    return refusal(Error::AlreadyMapped);
                }
                let window = address / WINDOW;
                if !self.windows.borrow().contains(&window) {
                    if self.tables.get() == 0 {
                        return values(Error::NeedTables.to_register(), 1, 0, 0);
                    }
                    self.tables.set(self.tables.get() - 1);
                    self.windows.borrow_mut().push(window);
                }
                self.next.set(self.next.get() + 1);
                self.mappings.borrow_mut().insert(self.next.get(), (address, pages));
                values(self.next.get(), 0, 0, 0)
            }
            Syscall::Unmap => match self.mappings.borrow_mut().remove(&arguments[1]) {
                Some(_) => values(0, 0, 0, 0),
                None => refusal(Error::BadArgument),
            },
            Syscall::SpaceDonate => {
                assert_eq!(memory, TABLES.0);
                self.tables.set(self.tables.get() + first);
                values(0, 0, 0, 0)
            }
            _ => refusal(Error::UnknownSyscall),
        }
    }
}

fn space(tables: u64) -> AddressSpace {
    let space = AddressSpace::new(Cap::from_handle(SPACE), 16 * WINDOW..24 * WINDOW);
    space.use_tables(Cap::from_handle(TABLES), 0..tables);
    space
}

#[test]
fn memory_is_mapped_in_pieces_that_the_kernel_accepts_and_unmapped_when_dropped() {
    let books = Rc::new(Books::default());
    host::with(books.clone(), || {
        let space = space(10);
        let ram: Cap<Memory> = Cap::from_handle(RAM);
        let small = space.map(ram, 0, 3, MapAccess::Read).unwrap();
        let large = space.map(ram, 0, 1000, MapAccess::ReadWrite).unwrap();
        assert_eq!(large.address() % WINDOW, 0);
        assert_eq!(large.len(), 1000 * 4096);
        assert_eq!(books.mappings.borrow().len(), 1 + 2);
        drop(small);
        drop(large);
        assert_eq!(books.mappings.borrow().len(), 0);
        // All addresses can be used again.
        for _ in 0..100 {
            space.map(ram, 0, 1000, MapAccess::Read).unwrap();
        }
        let buffer = DmaBuffer::new(&space, ram).unwrap();
        assert_eq!(buffer.physical(), 77 * 4096);
    });
}

#[test]
fn what_cannot_be_mapped_leaves_nothing_mapped() {
    let books = Rc::new(Books::default());
    host::with(books.clone(), || {
        let ram: Cap<Memory> = Cap::from_handle(RAM);
        let space = space(1);
        assert_eq!(space.map(ram, 0, 1000, MapAccess::Read).unwrap_err(), MapError::NoTables);
        assert_eq!(space.map(ram, 999, 2, MapAccess::Read).unwrap_err(), MapError::Refused(Error::BadArgument));
        assert_eq!(space.map(ram, 0, 0, MapAccess::Read).unwrap_err(), MapError::OutOfExtent);
        assert_eq!(space.map(ram, 0, 1 << 40, MapAccess::Read).unwrap_err(), MapError::NoAddresses);
        assert_eq!(books.mappings.borrow().len(), 0);
    });
}
