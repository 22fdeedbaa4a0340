//! What lies outside the kernel's tables, as maps: page tables, physical memory, interrupt controllers, ports.

use abi::PAGE_SIZE;
use abi::device::{SourceId, SourceRange};
use abi::syscall::InterruptSource;
use kernel_core::{CpuId, Frame, InterruptId, IommuInfo, Kernel, MapPiece, Probe, Tables, Tree, UnmapPiece, World};
use std::collections::{BTreeMap, BTreeSet};

/// One leaf of a fake page table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Leaf {
    /// The frame.
    pub frame: Frame,
    /// Stores are allowed.
    pub writable: bool,
    /// Instructions may be fetched.
    pub executable: bool,
    /// Uncached.
    pub device: bool,
}

/// The page tables under one root.
#[derive(Clone, Debug, Default)]
pub struct PageTables {
    /// Frames in use as tables, by level (1 to 3, 3 being the outermost) and the part of the address above it.
    tables: BTreeMap<(u8, u64), Frame>,
    /// Leaves by page number.
    pub leaves: BTreeMap<u64, Leaf>,
}

impl PageTables {
    /// Which tables the way to an address needs, outermost first.
    fn way(address: u64) -> [(u8, u64); 3] {
        [(3, address >> 39), (2, address >> 30), (1, address >> 21)]
    }

    /// Where there are tables: level and the part of the address above it.
    pub fn places(&self) -> impl Iterator<Item = (u8, u64)> + '_ {
        self.tables.keys().copied()
    }

    fn missing(&self, address: u64) -> usize {
        Self::way(address).iter().filter(|place| !self.tables.contains_key(place)).count()
    }
}

/// What a processor remembers of translations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Translations {
    /// The root table in use; none while it is idle.
    root: Option<Frame>,
    /// What has gone from the page tables while this root was in use: the processor may still use it.
    gone: BTreeSet<Leaf>,
}

/// The fake.
#[derive(Clone, Debug, Default)]
pub struct FakeWorld {
    /// Page tables by root frame.
    pub spaces: BTreeMap<Frame, PageTables>,
    /// Physical memory: 8-byte words that are not zero, by address.
    words: BTreeMap<u64, u64>,
    /// ISA lines that exist.
    pub lines: BTreeSet<u8>,
    /// Connected interrupts, and whether each is unmasked.
    pub connected: BTreeMap<InterruptId, bool>,
    /// What each processor remembers.
    pub processors: BTreeMap<CpuId, Translations>,
    /// The IOMMU, if there is one.
    pub iommu: Option<IommuInfo>,
    /// Functions for which the IOMMU has no room.
    pub unknown: Vec<SourceId>,
    /// Which functions see which page tables.
    pub devices: BTreeMap<u64, Tree>,
    /// What a read of each port finds.
    pub ports: BTreeMap<u16, u32>,
}

impl FakeWorld {
    fn leaf(&self, root: Frame, address: u64) -> Option<Leaf> {
        self.spaces.get(&root)?.leaves.get(&(address / PAGE_SIZE)).copied()
    }

    /// The physical address behind a user address.
    fn translate(&self, root: Frame, address: u64, write: bool) -> Option<u64> {
        if address >= abi::USER_END {
            return None;
        }
        let leaf = self.leaf(root, address)?;
        (leaf.writable || !write).then_some(leaf.frame.address() + address % PAGE_SIZE)
    }

    /// A byte of physical memory.
    pub fn byte(&self, physical: u64) -> u8 {
        (self.word(physical & !7) >> (8 * (physical & 7))) as u8
    }

    /// An aligned word of physical memory.
    pub fn word(&self, physical: u64) -> u64 {
        self.words.get(&physical).copied().unwrap_or(0)
    }

    /// Stores an aligned word.
    pub fn set_word(&mut self, physical: u64, value: u64) {
        if value == 0 {
            self.words.remove(&physical);
        } else {
            self.words.insert(physical, value);
        }
    }

    fn set_byte(&mut self, physical: u64, value: u8) {
        let shift = 8 * (physical & 7);
        let word = self.word(physical & !7);
        self.set_word(physical & !7, (word & !(0xff << shift)) | (u64::from(value) << shift));
    }

    /// Reads user memory as the user itself would. `None` if a byte is not mapped.
    pub fn read(&self, root: Frame, address: u64, length: u64) -> Option<Vec<u8>> {
        (0..length).map(|index| self.translate(root, address + index, false).map(|place| self.byte(place))).collect()
    }

    /// Writes user memory as the user itself would. `None`, and nothing written, if a byte is not mapped writable.
    pub fn write(&mut self, root: Frame, address: u64, bytes: &[u8]) -> Option<()> {
        let places: Option<Vec<u64>> =
            (0..bytes.len() as u64).map(|index| self.translate(root, address + index, true)).collect();
        for (place, byte) in places?.into_iter().zip(bytes) {
            self.set_byte(place, *byte);
        }
        Some(())
    }

    /// Whether every byte of a frame is zero.
    pub fn is_zero(&self, frame: Frame) -> bool {
        self.words.range(frame.address()..frame.offset(1).address()).next().is_none()
    }

    fn zero(&mut self, frame: Frame) {
        let used: Vec<u64> =
            self.words.range(frame.address()..frame.offset(1).address()).map(|(address, _)| *address).collect();
        for address in used {
            self.words.remove(&address);
        }
    }

    /// Checks that the page tables of every living space map exactly what the kernel believes, that they use no frame
    /// but the kernel's as tables, and that no leaf shows a frame of the kernel.
    ///
    /// # Errors
    /// A sentence that says what differs.
    pub fn agrees_with<T: Tables>(&self, kernel: &Kernel<T>) -> Result<(), String> {
        let mut expected: BTreeMap<Frame, BTreeMap<u64, Leaf>> =
            kernel.roots().map(|root| (root, BTreeMap::new())).collect();
        for piece in kernel.mapped() {
            let leaves = expected.entry(piece.tree.root).or_default();
            for index in 0..piece.pages {
                let leaf = Leaf {
                    frame: piece.frame.offset(u32::from(index)),
                    writable: piece.access.writes(),
                    executable: piece.access.executes(),
                    device: piece.device,
                };
                leaves.insert(piece.address / PAGE_SIZE + u64::from(index), leaf);
            }
        }
        for (root, leaves) in &expected {
            let Some(space) = self.spaces.get(root) else { return Err(format!("{root:?} has no page tables")) };
            if space.leaves != *leaves {
                return Err(format!("{root:?} maps {:x?}, not {leaves:x?}", space.leaves));
            }
            if let Some(table) = space.tables.values().find(|table| !kernel.is_kernel_frame(**table)) {
                return Err(format!("{table:?}, a table of {root:?}, is not the kernel's"));
            }
            if let Some(leaf) = space.leaves.values().find(|leaf| kernel.is_kernel_frame(leaf.frame)) {
                return Err(format!("{root:?} shows {:?}, which is the kernel's", leaf.frame));
            }
        }
        let seen: BTreeMap<u64, Tree> =
            kernel.seen_by_devices().map(|(sources, tree)| (sources.to_register(), tree)).collect();
        if seen != self.devices {
            return Err(format!("devices see {:?}, not {seen:?}", self.devices));
        }
        for (cpu, remembered) in &self.processors {
            if let Some(leaf) = remembered.gone.iter().find(|leaf| kernel.is_kernel_frame(leaf.frame)) {
                return Err(format!("{cpu:?} remembers {:?}, which is the kernel's now", leaf.frame));
            }
        }
        Ok(())
    }

    // ---- effects ----

    /// A processor runs a thread with this root table.
    pub(crate) fn run_in(&mut self, cpu: CpuId, root: Frame, forgets: bool) {
        let remembered = self.processors.entry(cpu).or_default();
        if forgets || remembered.root != Some(root) {
            *remembered = Translations { root: Some(root), gone: BTreeSet::new() };
        }
    }

    /// A processor uses the kernel's own root table.
    pub(crate) fn idle(&mut self, cpu: CpuId) {
        self.processors.remove(&cpu);
    }

    pub(crate) fn make_root(&mut self, frame: Frame) {
        self.zero(frame);
        let earlier = self.spaces.insert(frame, PageTables::default());
        assert!(earlier.is_none(), "{frame:?} is a root table already");
    }

    pub(crate) fn return_table(&mut self, cpu: CpuId, frame: Frame) {
        for (other, remembered) in &mut self.processors {
            if remembered.root == Some(frame) {
                assert_eq!(*other, cpu, "{frame:?} is returned while {other:?} uses it as a root table");
                *remembered = Translations::default();
            }
        }
        self.zero(frame);
        self.spaces.remove(&frame);
    }

    pub(crate) fn attach(&mut self, sources: SourceRange, tree: Tree) {
        self.make_root(tree.root);
        let earlier = self.devices.insert(sources.to_register(), tree);
        assert!(earlier.is_none(), "{sources:?} sees a space already");
    }

    pub(crate) fn detach(&mut self, sources: SourceRange) {
        let gone = self.devices.remove(&sources.to_register());
        assert!(gone.is_some(), "{sources:?} saw a space");
    }

    pub(crate) fn map(&mut self, piece: &MapPiece) {
        piece.tables.iter().flatten().for_each(|frame| self.zero(*frame));
        let space = self.spaces.get_mut(&piece.tree.root).expect("a map is of a living root table");
        let mut given = piece.tables.iter().flatten();
        for place in PageTables::way(piece.address) {
            if !space.tables.contains_key(&place) {
                let frame = *given.next().expect("a map brings the tables that are missing");
                assert!(space.tables.values().all(|used| *used != frame), "{frame:?} is a table already");
                space.tables.insert(place, frame);
            }
        }
        assert!(given.next().is_none(), "a map brings no table too many");
        for index in 0..u32::from(piece.pages) {
            let leaf = Leaf {
                frame: piece.frame.offset(index),
                writable: piece.access.writes(),
                executable: piece.access.executes(),
                device: piece.device,
            };
            let earlier = space.leaves.insert(piece.address / PAGE_SIZE + u64::from(index), leaf);
            assert!(earlier.is_none(), "a map goes where nothing is mapped");
        }
    }

    pub(crate) fn unmap(&mut self, cpu: CpuId, piece: &UnmapPiece) {
        let space = self.spaces.get_mut(&piece.tree.root).expect("an unmap is of a living root table");
        for index in 0..u64::from(piece.pages) {
            let gone = space.leaves.remove(&(piece.address / PAGE_SIZE + index));
            let Some(leaf) = gone else { panic!("an unmap finds what was mapped") };
            for (other, remembered) in &mut self.processors {
                if *other != cpu && remembered.root == Some(piece.tree.root) {
                    remembered.gone.insert(leaf);
                }
            }
        }
    }
}

impl World for FakeWorld {
    fn probe(&self, tree: Tree, address: u64, _: Frame, pages: u64) -> Probe {
        let Some(space) = self.spaces.get(&tree.root) else { return Probe { missing_tables: 3, occupied: false } };
        let first = address / PAGE_SIZE;
        Probe {
            missing_tables: space.missing(address) as u8,
            occupied: space.leaves.range(first..first + pages).next().is_some(),
        }
    }

    fn read_user(&self, root: Frame, address: u64, words: &mut [u64]) -> Option<()> {
        let bytes = self.read(root, address, 8 * words.len() as u64)?;
        for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64::from_le_bytes(bytes.try_into().ok()?);
        }
        Some(())
    }

    fn is_writable(&self, root: Frame, address: u64, length: u64) -> bool {
        (0..length).all(|index| self.translate(root, address + index, true).is_some())
    }

    fn buffer_word(&self, buffer: Frame, offset: usize) -> u64 {
        assert!(offset.is_multiple_of(8) && offset < PAGE_SIZE as usize, "offset {offset} of a message buffer");
        self.word(buffer.address() + offset as u64)
    }

    fn has_interrupt(&self, source: InterruptSource) -> bool {
        match source {
            InterruptSource::Isa(line) => self.lines.contains(&line),
            InterruptSource::Message => true,
        }
    }

    fn interrupt_message(&self, vector: u8) -> (u64, u32) {
        (0xfee0_0000, u32::from(vector))
    }

    fn iommu(&self) -> Option<IommuInfo> {
        self.iommu
    }

    fn has_guests(&self) -> bool {
        true
    }

    fn has_sources(&self, sources: SourceRange) -> bool {
        !self.unknown.iter().any(|source| sources.contains(*source))
    }

    fn can_route(&self, source: SourceId) -> bool {
        !self.unknown.contains(&source)
    }
}
