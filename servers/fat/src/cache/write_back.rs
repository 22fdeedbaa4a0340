//! Writing pages back: which sectors, in which transfers, in which order.

use super::{CLASSES, Cache, Class, mask};
use crate::device::{BlockDevice, DeviceError, PAGE_SECTORS, Transfer};
use alloc::vec::Vec;
use futures_util::stream::{self, StreamExt};

/// Sectors of one page that go out together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    slot: usize,
    page: u64,
    place: usize,
    sectors: usize,
}

/// Splits a page's waiting sectors into runs. A gap of clean, valid sectors is written along, so that one transfer,
/// which happens as a whole or not at all, carries everything that the page has waiting.
fn runs(waiting: u8, fillable: u8) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for place in (0..PAGE_SECTORS).filter(|place| waiting & mask(*place, 1) != 0) {
        if let Some((start, count)) = runs.last_mut() {
            let end = *start + *count;
            let gap = mask(end, place - end);
            if fillable & gap == gap {
                *count = place + 1 - *start;
                continue;
            }
        }
        runs.push((place, 1));
    }
    runs
}

impl<D: BlockDevice> Cache<D> {
    /// Writes the waiting sectors of one class, in the pages that `chosen` accepts, several transfers at a time.
    ///
    /// Says how many transfers it took. After an error, what was not written still waits.
    pub(crate) async fn write_back(
        &mut self,
        class: Class,
        chosen: impl Fn(u64) -> bool,
    ) -> Result<usize, DeviceError> {
        let mut pieces: Vec<Piece> = Vec::new();
        for (&number, &slot) in &self.index {
            let page = &self.pages[slot];
            let waiting = page.dirty[class as usize];
            if waiting == 0 || !chosen(number) {
                continue;
            }
            let others = CLASSES
                .iter()
                .filter(|other| **other != class)
                .fold(0, |mask, other| mask | page.dirty[*other as usize]);
            for (place, sectors) in runs(waiting, page.valid & !others) {
                pieces.push(Piece { slot, page: number, place, sectors });
            }
        }
        // A page has one buffer, so its second and later runs wait for another round.
        let mut written = 0;
        while !pieces.is_empty() {
            let mut later = Vec::new();
            let mut round: Vec<Piece> = Vec::new();
            for piece in pieces {
                match round.last() {
                    Some(last) if last.page == piece.page => later.push(piece),
                    _ => round.push(piece),
                }
            }
            written += self.write_pieces(class, &round).await?;
            pieces = later;
        }
        Ok(written)
    }

    /// Writes pieces of different pages, in the order of the disk, joining neighbours.
    async fn write_pieces(&mut self, class: Class, pieces: &[Piece]) -> Result<usize, DeviceError> {
        let mut transfers: Vec<Transfer<D::Buffer>> = Vec::new();
        for piece in pieces {
            let Some(buffer) = self.pages[piece.slot].buffer.take() else {
                continue;
            };
            let sector = piece.page * PAGE_SECTORS as u64 + piece.place as u64;
            match transfers.last_mut() {
                Some(last)
                    if piece.place == 0
                        && last.sector + last.sectors as u64 == sector
                        && last.buffers.len() < self.limits.buffers_per_transfer =>
                {
                    last.sectors += piece.sectors;
                    last.buffers.push(buffer);
                }
                _ => transfers.push(Transfer {
                    sector,
                    skip: piece.place,
                    sectors: piece.sectors,
                    buffers: Vec::from([buffer]),
                }),
            }
        }
        let count = transfers.len();
        self.unflushed |= count > 0;
        self.statistics.writes += count as u64;
        let device = &self.device;
        let mut completions =
            stream::iter(transfers).map(|transfer| device.write(transfer)).buffer_unordered(self.limits.in_flight);
        let mut outcome = Ok(count);
        while let Some(done) = completions.next().await {
            if let Err(error) = done.result {
                outcome = outcome.and(Err(error));
            }
            let first = super::page_of(done.transfer.sector);
            for (number, buffer) in (first..).zip(done.transfer.buffers) {
                let Ok(at) = pieces.binary_search_by_key(&number, |piece| piece.page) else {
                    continue;
                };
                let piece = &pieces[at];
                let page = &mut self.pages[piece.slot];
                page.buffer = Some(buffer);
                if done.result.is_ok() {
                    page.dirty[class as usize] &= !mask(piece.place, piece.sectors);
                }
            }
        }
        outcome
    }

    /// Writes everything that waits, class after class, with a barrier after each class that had something.
    pub(crate) async fn write_back_all(&mut self) -> Result<(), DeviceError> {
        for class in CLASSES {
            if self.write_back(class, |_| true).await? > 0 {
                self.flush_device().await?;
            }
        }
        Ok(())
    }

    /// Writes one class's waiting sectors of the page that holds `sector`, now.
    pub(crate) async fn write_page_of(&mut self, sector: u64, class: Class) -> Result<(), DeviceError> {
        let number = super::page_of(sector);
        self.write_back(class, |page| page == number).await?;
        Ok(())
    }

    /// Makes everything that was written durable.
    pub(crate) async fn flush_device(&mut self) -> Result<(), DeviceError> {
        if self.unflushed {
            self.device.flush().await?;
            self.unflushed = false;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_gaps_are_bridged_and_others_are_not() {
        assert_eq!(runs(0b1001_0001, 0xff), [(0, 8)]);
        assert_eq!(runs(0b0001_0001, 0b1111_1011), [(0, 1), (4, 1)]);
        assert_eq!(runs(0b0110_0000, 0), [(5, 2)]);
        assert_eq!(runs(0, 0xff), []);
    }
}
