//! What the core may look at: page tables, user memory, and what the machine has.

use crate::iommu::tree::DeviceTree;
use crate::local_apic;
use crate::page_table::{PageTable, Wanted};
use crate::ram::RamPage;
use crate::state::Machine;
use crate::user_memory::UserRange;
use abi::device::{SourceId, SourceRange};
use abi::syscall::InterruptSource;
use kernel_core::{Frame, IommuInfo, Probe, Tree, World};

/// The machine as the core sees it. Only made while the big lock is held, so that nothing it looks at changes meanwhile.
#[derive(Clone, Copy)]
pub struct View<'a>(pub &'a Machine);

fn table(root: Frame) -> PageTable {
    // SAFETY: the core names root tables of living spaces only, which it has had prepared by `Effect::MakeRoot`.
    unsafe { PageTable::at(root) }
}

impl World for View<'_> {
    fn probe(&self, tree: Tree, address: u64, frame: Frame, pages: u64) -> Probe {
        match (tree.device, &self.0.iommu) {
            (Some(_), Some(iommu)) => {
                // SAFETY: the core names root tables of living device spaces only, which it has had prepared.
                let tree = unsafe { DeviceTree::at(tree.root, iommu.get().format()) };
                tree.probe(address, frame, pages)
            }
            _ => table(tree.root).probe(address, pages),
        }
    }

    fn read_user(&self, root: Frame, address: u64, words: &mut [u64]) -> Option<()> {
        let range = UserRange::new(table(root), address, words.len() as u64 * 8)?;
        range.read_words(words)
    }

    fn is_writable(&self, root: Frame, address: u64, length: u64) -> bool {
        UserRange::new(table(root), address, length).is_some_and(|range| range.is_mapped(Wanted::Write))
    }

    fn buffer_word(&self, buffer: Frame, offset: usize) -> u64 {
        // SAFETY: the core takes RAM of users only as message buffers and keeps it pinned.
        unsafe { RamPage::new(buffer) }.word(offset / 8)
    }

    fn has_interrupt(&self, source: InterruptSource) -> bool {
        match source {
            InterruptSource::Isa(line) => self.0.lines.has(line),
            InterruptSource::Message => true,
        }
    }

    fn interrupt_message(&self, vector: u8) -> (u64, u32) {
        match self.0.remapping() {
            Some(iommu) => iommu.message(vector),
            None => local_apic::message(self.0.interrupted(), vector),
        }
    }

    fn iommu(&self) -> Option<IommuInfo> {
        self.0.iommu.as_ref().map(|iommu| iommu.get().info())
    }

    fn has_guests(&self) -> bool {
        self.0.has_guests
    }

    fn has_sources(&self, sources: SourceRange) -> bool {
        self.0.iommu.as_ref().is_some_and(|iommu| iommu.get().has_sources(sources))
    }

    fn can_route(&self, source: SourceId) -> bool {
        self.0.remapping().is_some_and(|iommu| iommu.can_route(source))
    }
}
