//! Where a file lies on the disk.

use crate::device::SECTOR_SIZE;
use alloc::vec::Vec;

/// Sectors of a file that lie together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent {
    /// First of them in the file.
    start: u64,
    /// Where that one lies on the disk.
    sector: u64,
}

/// Where a file lies on the disk, as long as nobody changes that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileLayout {
    extents: Vec<Extent>,
    /// Sectors of all extents together.
    pub(crate) sectors: u64,
    length: u64,
}

impl FileLayout {
    /// A file of `length` bytes whose sectors lie in these runs (first, count).
    pub fn new(runs: impl Iterator<Item = (u64, u64)>, length: u64) -> Self {
        let (mut extents, mut sectors) = (Vec::new(), 0);
        for (sector, count) in runs {
            extents.push(Extent { start: sectors, sector });
            sectors += count;
        }
        Self { extents, sectors, length }
    }

    /// The file's whole sectors: what is behind them cannot be read alone.
    pub fn whole_sectors(&self) -> u64 {
        (self.length / SECTOR_SIZE as u64).min(self.sectors)
    }

    /// Where a sector of the file lies on the disk, and how many lie behind it, itself included, up to the file's last whole
    /// one; `None` behind that.
    pub fn find(&self, sector: u64) -> Option<(u64, u64)> {
        let after = self.extents.partition_point(|extent| extent.start <= sector);
        let extent = self.extents.get(after.checked_sub(1)?)?;
        let end = self.extents.get(after).map_or(self.sectors, |next| next.start).min(self.whole_sectors());
        let count = end.checked_sub(sector).filter(|count| *count > 0)?;
        Some((extent.sector + (sector - extent.start), count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_whole_sector_is_found_with_those_that_follow_it() {
        let layout = FileLayout::new([(100, 8), (50, 4), (200, 8)].into_iter(), 14 * 512 + 100);
        assert_eq!(layout.find(0), Some((100, 8)));
        assert_eq!(layout.find(7), Some((107, 1)));
        assert_eq!(layout.find(8), Some((50, 4)));
        assert_eq!(layout.find(12), Some((200, 2)), "the last sector is not all the file's");
        assert_eq!((layout.find(13), layout.find(14), layout.find(u64::MAX)), (Some((201, 1)), None, None));
    }

    #[test]
    fn an_empty_file_has_no_sectors() {
        assert_eq!(FileLayout::new([].into_iter(), 0).find(0), None);
    }
}
