//! Building page tables (Intel SDM volume 3A, 4.5).

use crate::error::LoadError;
use crate::memory::{PhysicalMemory, read_u64, write_u64};
use crate::memory_map::MemoryMap;
use abi::PAGE_SIZE;
use abi::boot::{Extent, RegionKind};
use x86_64::structures::paging::PageTableFlags;

/// Bytes that an entry of the second-lowest level can map by itself.
const LARGE_PAGE: u64 = 2 << 20;
/// Where an entry keeps the physical address.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// What may be done with a mapping. Nothing is both writable and executable, because no variant is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Only read.
    Read,
    /// Read and written.
    ReadWrite,
    /// Read and executed.
    ReadExecute,
    /// Read and executed, and dropped with the next address space.
    ReadExecuteOnce,
    /// Read and written past the caches: device registers.
    Device,
}

impl Access {
    fn flags(self) -> PageTableFlags {
        let global = PageTableFlags::PRESENT | PageTableFlags::GLOBAL;
        match self {
            Self::Read => global | PageTableFlags::NO_EXECUTE,
            Self::ReadWrite => global | PageTableFlags::WRITABLE | PageTableFlags::NO_EXECUTE,
            Self::ReadExecute => global,
            Self::ReadExecuteOnce => PageTableFlags::PRESENT,
            Self::Device => {
                global
                    | PageTableFlags::WRITABLE
                    | PageTableFlags::NO_EXECUTE
                    | PageTableFlags::NO_CACHE
                    | PageTableFlags::WRITE_THROUGH
            }
        }
    }
}

/// Page tables under construction, in memory taken from the memory map.
pub struct PageTables<'a, M> {
    memory: &'a mut M,
    map: &'a mut MemoryMap,
    root: u64,
    zeros: Option<Zeros>,
}

/// What is mapped where there are to be zeros only, each as often as needed.
#[derive(Clone, Copy)]
struct Zeros {
    /// A page of zeros.
    page: u64,
    /// A page table that maps nothing else.
    table: u64,
}

impl<'a, M: PhysicalMemory> PageTables<'a, M> {
    /// Page tables that map nothing.
    ///
    /// # Errors
    /// If there is no memory for the top table.
    pub fn new(memory: &'a mut M, map: &'a mut MemoryMap) -> Result<Self, LoadError> {
        let mut tables = Self { memory, map, root: 0, zeros: None };
        tables.root = tables.table(RegionKind::PageTables)?;
        Ok(tables)
    }

    /// Physical address of the top table.
    pub fn root(&self) -> u64 {
        self.root
    }

    /// Maps an extent of whole pages at `virt`, with large pages where both addresses allow it. Tables that this needs
    /// are taken as memory of kind `owner`.
    ///
    /// # Errors
    /// If a part of it is mapped already, or there is no memory for tables. Some pages may then be mapped.
    pub fn map(&mut self, virt: u64, extent: Extent, access: Access, owner: RegionKind) -> Result<(), LoadError> {
        self.map_up_to(LARGE_PAGE, virt, extent, access, owner)
    }

    /// The same in pages of 4 KiB only, so that single pages can be taken out later: the kernel does that below stacks.
    ///
    /// # Errors
    /// As for [`PageTables::map`].
    pub fn map_in_small_pages(
        &mut self,
        virt: u64,
        extent: Extent,
        access: Access,
        owner: RegionKind,
    ) -> Result<(), LoadError> {
        self.map_up_to(PAGE_SIZE, virt, extent, access, owner)
    }

    fn map_up_to(
        &mut self,
        largest: u64,
        virt: u64,
        extent: Extent,
        access: Access,
        owner: RegionKind,
    ) -> Result<(), LoadError> {
        let mut done = 0;
        while done < extent.len {
            let from = virt + done;
            let to = extent.start + done;
            let large = largest == LARGE_PAGE
                && from.is_multiple_of(LARGE_PAGE)
                && to.is_multiple_of(LARGE_PAGE)
                && extent.len - done >= LARGE_PAGE;
            // Level 0 holds 4 KiB pages, level 1 those of 2 MiB.
            let (level, size, flags) = if large {
                let flags = access.flags() | PageTableFlags::HUGE_PAGE;
                (1, LARGE_PAGE, flags)
            } else {
                (0, PAGE_SIZE, access.flags())
            };
            let place = self.entry(from, level, owner)?;
            if self.read(place)? != 0 {
                return Err(LoadError::MappedTwice { virt: from });
            }
            self.write(place, to | flags.bits())?;
            done += size;
        }
        Ok(())
    }

    /// Maps zeros, which can only be read, at these virtual addresses: one page of them again and again.
    ///
    /// # Errors
    /// As for [`PageTables::map`].
    pub fn map_zeros(&mut self, place: Extent, owner: RegionKind) -> Result<(), LoadError> {
        let zeros = match self.zeros {
            Some(zeros) => zeros,
            None => self.zeros(owner)?,
        };
        let page = zeros.page | Access::Read.flags().bits();
        let table = zeros.table | (PageTableFlags::PRESENT | PageTableFlags::WRITABLE).bits();
        let mut virt = place.start;
        while virt < place.end() {
            let whole_table = virt.is_multiple_of(LARGE_PAGE) && place.end() - virt >= LARGE_PAGE;
            let (level, entry, size) = if whole_table { (1, table, LARGE_PAGE) } else { (0, page, PAGE_SIZE) };
            let at = self.entry(virt, level, owner)?;
            if self.read(at)? != 0 {
                return Err(LoadError::MappedTwice { virt });
            }
            self.write(at, entry)?;
            virt += size;
        }
        Ok(())
    }

    fn zeros(&mut self, owner: RegionKind) -> Result<Zeros, LoadError> {
        let zeros = Zeros { page: self.table(owner)?, table: self.table(owner)? };
        for place in 0..PAGE_SIZE / 8 {
            self.write(zeros.table + place * 8, zeros.page | Access::Read.flags().bits())?;
        }
        self.zeros = Some(zeros);
        Ok(zeros)
    }

    /// Physical address of the entry for `virt` at `level`; tables above it are made as needed.
    fn entry(&mut self, virt: u64, level: u32, owner: RegionKind) -> Result<u64, LoadError> {
        let mut table = self.root;
        for above in (level + 1..4).rev() {
            let place = table + index(virt, above) * 8;
            let entry = self.read(place)?;
            table = if entry == 0 {
                let next = self.table(owner)?;
                let flags = PageTableFlags::PRESENT | PageTableFlags::WRITABLE;
                self.write(place, next | flags.bits())?;
                next
            } else if entry & PageTableFlags::HUGE_PAGE.bits() != 0 {
                return Err(LoadError::MappedTwice { virt });
            } else {
                entry & ADDRESS
            };
        }
        Ok(table + index(virt, level) * 8)
    }

    /// A new, empty table.
    fn table(&mut self, owner: RegionKind) -> Result<u64, LoadError> {
        let what = "a page table";
        let limit = self.memory.limit();
        let extent = self.map.allocate(what, PAGE_SIZE, owner, limit)?;
        self.memory.bytes_mut(extent).ok_or(LoadError::Unreadable { what, extent })?.fill(0);
        Ok(extent.start)
    }

    fn read(&self, place: u64) -> Result<u64, LoadError> {
        read_u64(self.memory, place).ok_or(unreachable_entry(place))
    }

    fn write(&mut self, place: u64, entry: u64) -> Result<(), LoadError> {
        write_u64(self.memory, place, entry).ok_or(unreachable_entry(place))
    }
}

const fn unreachable_entry(place: u64) -> LoadError {
    LoadError::Unreadable { what: "a page table entry", extent: Extent { start: place, len: 8 } }
}

/// Which entry of a table at `level` an address belongs to.
const fn index(virt: u64, level: u32) -> u64 {
    (virt >> (12 + 9 * level)) & 0x1ff
}
