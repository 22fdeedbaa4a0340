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

    /// The runs in which it lies: of each the first sector, as the file counts them and as the disk does.
    pub fn extents(&self) -> impl ExactSizeIterator<Item = (u64, u64)> {
        self.extents.iter().map(|extent| (extent.start, extent.sector))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_follow_each_other_and_only_whole_sectors_count() {
        let layout = FileLayout::new([(100, 8), (50, 4), (200, 8)].into_iter(), 14 * 512 + 100);
        assert_eq!(layout.extents().collect::<Vec<_>>(), [(0, 100), (8, 50), (12, 200)]);
        assert_eq!(layout.whole_sectors(), 14, "the last sector is not all the file's");
    }

    #[test]
    fn an_empty_file_has_no_sectors() {
        let layout = FileLayout::new([].into_iter(), 0);
        assert_eq!((layout.extents().len(), layout.whole_sectors()), (0, 0));
    }
}
