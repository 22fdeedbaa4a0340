//! The root domain: the one that no system call makes.

use crate::extent::{self, Extents};
use crate::page_table::WINDOW;
use crate::ram::RamPage;
use crate::state::{Machine, State};
use crate::world::View;
use abi::boot::{self, BootInfo, RegionKind};
use abi::root::{self, ExtentKind, RootInfo};
use abi::syscall::MapAccess;
use abi::{Handle, PAGE_SIZE};
use core::mem::offset_of;
use kernel_core::{Effect, Frame, Root, RootPlan};

/// Why the root domain cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmakeable {
    /// The boot information describes no image.
    NoImage,
    /// No free stretch of memory is long enough for its page tables, stack and buffer; how many pages are needed.
    NoMemory(u64),
    /// Image or archive are so big that their page tables are more than the kernel sets up; how many they are.
    TooManyTables(u64),
    /// A part of it cannot be mapped at this address.
    Unmappable(u64),
    /// Its objects have no room in the kernel's tables.
    NoRoom,
}

impl core::fmt::Display for Unmakeable {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Unmakeable::NoImage => f.write_str("the boot archive has no root server (file `init`)"),
            Unmakeable::NoMemory(pages) => {
                write!(f, "no {pages} free pages in a row for the root server; give the machine more memory")
            }
            Unmakeable::TooManyTables(tables) => write!(
                f,
                "the root server and the boot archive need {tables} page tables, more than the kernel sets up; make the \
                 archive smaller"
            ),
            Unmakeable::Unmappable(address) => {
                write!(f, "the root server cannot be mapped at {address:#x}; link it elsewhere")
            }
            Unmakeable::NoRoom => f.write_str("the root server's objects have no room in the kernel's tables"),
        }
    }
}

/// Pages beside the page tables that the root gets from free memory: information, message buffer and stack.
const OWN_PAGES: u64 = 2 + root::STACK_PAGES;
/// Place of the information among them.
const INFO_PAGE: u64 = 0;
/// Place of the message buffer.
const BUFFER_PAGE: u64 = 1;
/// Place of the stack.
const STACK_PAGE: u64 = 2;

/// A part of the root's space.
#[derive(Clone, Copy, Debug)]
struct Part {
    address: u64,
    memory: boot::Extent,
    access: MapAccess,
}

/// At most this many parts: the image's segments, archive, boot information, and the root's own pages.
const PARTS_MAX: usize = boot::ROOT_SEGMENTS_MAX + 5;

/// The parts that the root's space consists of.
struct Layout {
    parts: [Option<Part>; PARTS_MAX],
}

impl Layout {
    fn new(info: &BootInfo, own: boot::Extent) -> Self {
        let own_part = |address, first: u64, pages: u64, access| Part {
            address,
            memory: boot::Extent { start: own.start + first * PAGE_SIZE, len: pages * PAGE_SIZE },
            access,
        };
        let boot_info = info
            .memory
            .as_slice()
            .iter()
            .find(|region| region.kind == RegionKind::BootInfo)
            .map(|region| Part { address: root::BOOT_INFO_ADDRESS, memory: region.extent, access: MapAccess::Read });
        let archive = Part { address: root::ARCHIVE_ADDRESS, memory: info.archive, access: MapAccess::Read };
        let stack = root::STACK_TOP - root::STACK_PAGES * PAGE_SIZE;
        let segments = info.root.segments.as_slice().iter().map(|segment| Part {
            address: segment.address,
            memory: segment.extent,
            access: MapAccess::from_number(u64::from(segment.access)).unwrap_or(MapAccess::Read),
        });
        let others = [
            own_part(root::INFO_ADDRESS, INFO_PAGE, 1, MapAccess::Read),
            own_part(root::BUFFER_ADDRESS, BUFFER_PAGE, 1, MapAccess::ReadWrite),
            own_part(stack, STACK_PAGE, root::STACK_PAGES, MapAccess::ReadWrite),
            archive,
        ];
        let mut parts = [None; PARTS_MAX];
        for (place, part) in parts.iter_mut().zip(segments.chain(others).chain(boot_info)) {
            *place = Some(part);
        }
        Layout { parts }
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().flatten().filter(|part| part.memory.len > 0)
    }

    /// The page tables that the parts need at most: for each one two above its last-level tables, and the root table.
    fn tables(&self) -> u64 {
        let windows = |part: &Part| (part.address % WINDOW + part.memory.len).div_ceil(WINDOW);
        1 + self.parts().map(|part| 2 + windows(part)).sum::<u64>()
    }
}

/// Finds room for `pages` in a row, as high as possible: what is low matters to devices that cannot reach all memory.
fn find_free(info: &BootInfo, pages: u64) -> Option<boot::Extent> {
    let len = pages * PAGE_SIZE;
    let regions = info.memory.as_slice().iter().rev();
    let mut free = regions.filter(|region| region.kind == RegionKind::Free && region.extent.len >= len);
    free.next().map(|region| boot::Extent { start: region.extent.end() - len, len })
}

fn frame(address: u64) -> Frame {
    Frame((address / PAGE_SIZE) as u32)
}

/// Makes the root domain: its objects, its memory capabilities, its address space. Its thread is ready when this
/// returns.
///
/// # Errors
/// [`Unmakeable`], with what is in the way.
pub fn make(state: &mut State, machine: &Machine, info: &BootInfo, address_bits: u32) -> Result<(), Unmakeable> {
    if info.root.segments.as_slice().is_empty() {
        return Err(Unmakeable::NoImage);
    }
    let table_count = Layout::new(info, boot::Extent::default()).tables() + tables_of_own_parts();
    let table_count_short = u8::try_from(table_count).map_err(|_| Unmakeable::TooManyTables(table_count))?;
    let needed = table_count + OWN_PAGES;
    let taken = find_free(info, needed).ok_or(Unmakeable::NoMemory(needed))?;
    let own = boot::Extent { start: taken.start + table_count * PAGE_SIZE, len: OWN_PAGES * PAGE_SIZE };

    let plan =
        RootPlan { tables: frame(taken.start), table_count: table_count_short, table_length: root::TABLE_LENGTH };
    let (root, effect) = state.kernel.create_root(plan).ok_or(Unmakeable::NoRoom)?;
    state.carry_out(machine, effect);

    let mut extents = Extents::new();
    extents.add(own.start, own.end(), ExtentKind::Root);
    extent::add_memory(&mut extents, info.memory.as_slice(), taken);
    let (owned, count) = extent::owned_registers(info);
    extent::add_devices(&mut extents, info.memory.as_slice(), &owned[..count], address_bits);
    if extents.dropped() > 0 {
        log::warn!("{} stretches of memory have no place in the root server's table", extents.dropped());
    }
    let mut handles = [Handle::NONE; root::MAX_EXTENTS];
    for (handle, extent) in handles.iter_mut().zip(extents.as_slice()) {
        *handle = state.kernel.root_extent(root, Frame(extent.frame as u32), extent.pages as u32);
    }

    let own_pages = own_pages(own);
    for page in own_pages {
        page.zero();
    }
    write_info(own_pages[INFO_PAGE as usize], info, &extents);
    let space = Space { root, machine, extents: &extents, handles: &handles };
    for part in Layout::new(info, own).parts() {
        space.map(state, part)?;
    }
    state.kernel.root_buffer(root, handles[0], BUFFER_PAGE, root::BUFFER_ADDRESS).ok_or(Unmakeable::NoRoom)?;
    let effect = state.kernel.start_root(root, info.root.entry, root::STACK_TOP, root::INFO_ADDRESS);
    state.carry_out(machine, effect);
    Ok(())
}

/// Page tables for the parts that [`Layout::new`] leaves out while it does not know where they lie.
const fn tables_of_own_parts() -> u64 {
    3 * 3
}

fn own_pages(own: boot::Extent) -> [RamPage; OWN_PAGES as usize] {
    core::array::from_fn(|index| {
        // SAFETY: these are pages of free RAM, in which no Rust object lives.
        unsafe { RamPage::new(frame(own.start).offset(index as u32)) }
    })
}

/// The root's address space while it is filled.
struct Space<'a> {
    root: Root,
    machine: &'a Machine,
    extents: &'a Extents,
    handles: &'a [Handle; root::MAX_EXTENTS],
}

impl Space<'_> {
    /// Maps a part, one window after the other.
    fn map(&self, state: &mut State, part: &Part) -> Result<(), Unmakeable> {
        let failure = Unmakeable::Unmappable(part.address);
        let first = part.memory.start / PAGE_SIZE;
        let pages = part.memory.len.div_ceil(PAGE_SIZE);
        let (extent, handle) = self
            .extents
            .as_slice()
            .iter()
            .zip(self.handles)
            .find(|(extent, _)| extent.frame <= first && first + pages <= extent.frame + extent.pages)
            .ok_or(failure)?;
        let mut done = 0;
        while done < pages {
            let address = part.address + done * PAGE_SIZE;
            let count = (pages - done).min((WINDOW - address % WINDOW) / PAGE_SIZE);
            let effect = state
                .kernel
                .root_map(
                    &View(self.machine),
                    self.root,
                    *handle,
                    address,
                    first - extent.frame + done,
                    count,
                    part.access,
                )
                .ok_or(failure)?;
            debug_assert!(matches!(effect, Effect::Map(_)));
            state.carry_out(self.machine, effect);
            done += count;
        }
        Ok(())
    }
}

/// Writes the [`RootInfo`].
fn write_info(page: RamPage, info: &BootInfo, extents: &Extents) {
    const FIRST: usize = offset_of!(RootInfo, extents) / 8;
    const WORDS: usize = size_of::<root::Extent>() / 8;
    const { assert!(offset_of!(RootInfo, extents_used) == 12 && offset_of!(RootInfo, archive_length) == 16) };
    const { assert!(WORDS == 3 && offset_of!(root::Extent, kind) == 16) };
    page.set_word(0, root::MAGIC);
    page.set_word(1, u64::from(abi::ABI_VERSION) | (extents.as_slice().len() as u64) << 32);
    page.set_word(2, info.archive.len);
    for (index, extent) in extents.as_slice().iter().enumerate() {
        let words = [extent.frame, extent.pages, u64::from(extent.kind)];
        for (place, word) in words.into_iter().enumerate() {
            page.set_word(FIRST + WORDS * index + place, word);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use abi::boot::{Region, RootSegment};

    fn info() -> BootInfo {
        let mut info = BootInfo::EMPTY;
        let regions = [
            Region::new(0x10_0000, 0x20_0000, RegionKind::Free),
            Region::new(0x20_0000, 0x20_2000, RegionKind::BootInfo),
            Region::new(0x20_2000, 0x40_0000, RegionKind::Free),
        ];
        for region in regions {
            assert_eq!(info.memory.push(region), Ok(()));
        }
        info
    }

    #[test]
    fn the_roots_own_pages_come_from_the_highest_free_memory_that_is_long_enough() {
        let info = info();
        assert_eq!(find_free(&info, 2), Some(boot::Extent { start: 0x3f_e000, len: 0x2000 }));
        assert_eq!(find_free(&info, 0x1000), None);
    }

    #[test]
    fn every_part_is_counted_with_the_tables_above_it() {
        let mut info = info();
        let extent = boot::Extent { start: 0x10_0000, len: 3 * WINDOW };
        let segment = RootSegment { address: WINDOW / 2, extent, access: 5, reserved: 0 };
        assert_eq!(info.root.segments.push(segment), Ok(()));
        let own = boot::Extent { start: 0x30_0000, len: OWN_PAGES * PAGE_SIZE };
        // The segment touches four windows, each other part one.
        assert_eq!(Layout::new(&info, own).tables(), 1 + (2 + 4) + 4 * 3);
    }
}
