//! Who uses which pages of a ring's buffer area.

use crate::sync::Event;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt;

/// The pages of a ring's buffer area that no transfer uses.
pub struct BufferArea {
    used: RefCell<Vec<bool>>,
    freed: Event,
}

impl fmt::Debug for BufferArea {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let used = self.used.borrow();
        write!(f, "BufferArea({} of {} pages used)", used.iter().filter(|used| **used).count(), used.len())
    }
}

impl BufferArea {
    /// An area of so many pages, all unused.
    pub fn new(pages: usize) -> Rc<Self> {
        Rc::new(Self { used: RefCell::new(vec![false; pages]), freed: Event::new() })
    }

    /// How many pages there are.
    pub fn pages(&self) -> usize {
        self.used.borrow().len()
    }

    /// Waits for so many pages in a row. More than there are never come.
    pub async fn take(self: &Rc<Self>, pages: usize) -> Run {
        loop {
            if let Some(run) = self.try_take(pages) {
                return run;
            }
            self.freed.next().await;
        }
    }

    /// So many pages in a row, if they are there now.
    pub fn try_take(self: &Rc<Self>, pages: usize) -> Option<Run> {
        let mut used = self.used.borrow_mut();
        let mut row = 0;
        for page in 0..used.len() {
            row = if used[page] { 0 } else { row + 1 };
            if row == pages {
                let first = page + 1 - pages;
                used[first..=page].fill(true);
                return Some(Run { area: self.clone(), first, pages });
            }
        }
        None
    }
}

/// Pages in a row of the buffer area, for the time of one transfer.
#[derive(Debug)]
pub struct Run {
    area: Rc<BufferArea>,
    first: usize,
    pages: usize,
}

impl Run {
    /// The first of them, as requests count pages.
    pub fn first(&self) -> u32 {
        self.first as u32
    }

    /// Where they begin in the buffer area, in bytes.
    pub fn offset(&self) -> usize {
        self.first * abi::PAGE_SIZE as usize
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.area.used.borrow_mut()[self.first..self.first + self.pages].fill(false);
        self.area.freed.signal();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_in_a_row_are_one_transfers_until_it_is_over() {
        let area = BufferArea::new(4);
        let (first, second) = (area.try_take(1).unwrap(), area.try_take(2).unwrap());
        assert_eq!((first.first(), second.offset()), (0, 4096));
        assert!(area.try_take(2).is_none(), "only one is left");
        drop(first);
        assert!(area.try_take(2).is_none(), "two are left, which are no neighbours");
        drop(second);
        assert_eq!(area.try_take(4).map(|run| run.first()), Some(0));
        assert!(area.try_take(5).is_none());
    }
}
