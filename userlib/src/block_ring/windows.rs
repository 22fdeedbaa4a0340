//! Windows: runs of the disk's sectors that somebody else may read without asking the client each time.
//!
//! A client that is a file server opens a window for a file, for the one lent ring whose owner may read it. Requests in that
//! ring count sectors from the file's begin; the driver looks here where they lie. The table lies in the client's ring, so
//! that it outlives the driver, and the owners of lent rings do not see it.
//!
//! | offset in an entry | contents | written by |
//! | --- | --- | --- |
//! | 0 | area of the ring that may read through the window; 0 if it is closed | client |
//! | 8 | where the extents stand in the ring's memory, in units of their size; how many they are, in the upper half | client |
//! | 16 | sectors that can be read | client |
//! | 24 | requests under way through it | driver |
//!
//! An extent is two words: the first sector as requests count them, and where that one lies on the disk. It reaches to the
//! next one, the last one to the last sector that can be read.
//!
//! The driver counts a request and then looks whether the window is open; the client closes the window and then looks whether
//! requests are counted. So nothing is under way through a window that was found closed and without requests.

use super::{Request, Status};
use crate::memory::SharedMemory;
use abi::PAGE_SIZE;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};

/// Entries of the table of windows. The first one is no window: its number stands for the disk itself.
pub const WINDOWS: usize = 64;
/// Bytes of an extent.
const EXTENT_SIZE: usize = 16;
/// Where the table begins, in bytes.
const TABLE: usize = 512;
const ENTRY_SIZE: usize = 32;
const ENTRY_WORDS: usize = ENTRY_SIZE / 8;

const _: () = assert!(TABLE + WINDOWS * ENTRY_SIZE <= PAGE_SIZE as usize);

/// The windows of a ring.
#[derive(Clone, Copy, Debug)]
pub(super) struct Windows<'a> {
    memory: SharedMemory<'a>,
}

/// The words of an entry.
#[derive(Clone, Copy)]
struct Entry<'a> {
    area: &'a AtomicU64,
    extents: &'a AtomicU64,
    sectors: &'a AtomicU64,
    users: &'a AtomicU64,
}

impl Entry<'_> {
    fn is_open(&self, area: u16) -> bool {
        area != 0 && self.area.load(Ordering::SeqCst) == u64::from(area)
    }
}

impl<'a> Windows<'a> {
    /// Those in the memory of a client's ring.
    pub(super) const fn new(memory: SharedMemory<'a>) -> Self {
        Self { memory }
    }

    fn entry(self, number: u16) -> Option<Entry<'a>> {
        let place = Some(usize::from(number)).filter(|place| (1..WINDOWS).contains(place))?;
        let first = TABLE / 8 + place * ENTRY_WORDS;
        let [area, extents, sectors, users] = self.memory.words().get(first..first + ENTRY_WORDS)? else { return None };
        Some(Entry { area, extents, sectors, users })
    }

    fn entries(self) -> impl Iterator<Item = Entry<'a>> {
        (1..WINDOWS as u16).filter_map(move |number| self.entry(number))
    }

    fn extent(self, place: u64) -> Option<(u64, u64)> {
        let first = usize::try_from(place).ok()?.checked_mul(EXTENT_SIZE / 8)?;
        let words = self.memory.words();
        Some((words.get(first)?.load(Ordering::Relaxed), words.get(first + 1)?.load(Ordering::Relaxed)))
    }

    /// A driver that begins has nothing under way, whatever its predecessor had.
    pub(super) fn forget_requests(self) {
        self.entries().for_each(|entry| entry.users.store(0, Ordering::SeqCst));
    }

    /// Counts a request of the lent ring with number `area` as under way through a window, if that is open to the ring. It
    /// [leaves](Windows::leave) the window when it is over.
    pub(super) fn enter(self, number: u16, area: u16) -> bool {
        let entry = self.entry(number).filter(|entry| entry.is_open(area));
        entry.is_some_and(|entry| {
            entry.users.fetch_add(1, Ordering::SeqCst);
            true
        })
    }

    /// What a request that was counted is on the disk: as far as its sectors lie together, `most` of them at most. Nothing that
    /// the client says here is believed: each word is read once, and what comes of it is checked.
    ///
    /// # Errors
    /// The status of one that is over already: `Done` if all of it lies behind the last sector.
    pub(super) fn find(self, request: &Request, area: u16, most: u32) -> Result<Request, Status> {
        let entry = self.entry(request.window).filter(|entry| entry.is_open(area)).ok_or(Status::NoWindow)?;
        let (place, first) = (entry.extents.load(Ordering::Relaxed), request.sector);
        let (place, length) = (place & u64::from(u32::MAX), place >> 32);
        let sectors = entry.sectors.load(Ordering::Relaxed);
        if first >= sectors {
            return Err(Status::Done);
        }
        // The extent is the last one that begins at the sector or before it.
        let (mut found, mut end) = (None, sectors);
        let (mut low, mut high) = (0, length);
        while low < high {
            let middle = low + (high - low) / 2;
            let extent @ (start, _) = self.extent(place + middle).ok_or(Status::Refused)?;
            if start <= first {
                (found, low) = (Some(extent), middle + 1);
            } else {
                (end, high) = (start, middle);
            }
        }
        let (start, sector) = found.ok_or(Status::Refused)?;
        let together = end.min(sectors) - first;
        let count = u64::from(request.count.min(most)).min(together) as u32;
        let sector = sector.checked_add(first - start).ok_or(Status::OutOfRange)?;
        if count == 0 {
            return Err(Status::Refused);
        }
        Ok(Request { sector, count, ..*request })
    }

    /// A request that was counted is over; whether its window is closed and it was the last one.
    pub(super) fn leave(self, number: u16) -> bool {
        self.entry(number).is_some_and(|entry| {
            entry.users.fetch_sub(1, Ordering::SeqCst) == 1 && entry.area.load(Ordering::SeqCst) == 0
        })
    }
}

/// A window that a client has opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    number: u16,
    /// Numbers are used again.
    ticket: u64,
}

impl Window {
    /// The number by which requests in the lent ring name it.
    pub const fn number(self) -> u16 {
        self.number
    }
}

/// A window that is in use, as the client knows it.
#[derive(Clone, Debug)]
struct Opened {
    ticket: u64,
    /// Its extents.
    extents: Range<u64>,
}

/// The windows of a ring as its client has them.
#[derive(Debug)]
pub(super) struct WindowTable<'a> {
    windows: Windows<'a>,
    opened: [Option<Opened>; WINDOWS],
    tickets: u64,
    /// Where there is room for extents.
    room: Range<u64>,
    /// Requests are under way through windows of a former instance of the client.
    former: bool,
}

impl<'a> WindowTable<'a> {
    /// Closes whatever windows a former instance has left open.
    pub(super) fn attach(windows: Windows<'a>) -> Self {
        windows.entries().for_each(|entry| entry.area.store(0, Ordering::SeqCst));
        let mut table = Self { windows, opened: [const { None }; WINDOWS], tickets: 0, room: 0..0, former: true };
        table.look_for_former();
        table
    }

    /// Sets a part of the ring's memory aside for extents, in bytes.
    pub(super) fn set_room(&mut self, room: Range<usize>) {
        self.room = (room.start.div_ceil(EXTENT_SIZE) as u64)..(room.end / EXTENT_SIZE) as u64;
    }

    /// Whether requests are under way through windows of a former instance.
    pub(super) fn has_former(&self) -> bool {
        self.former
    }

    pub(super) fn look_for_former(&mut self) {
        self.former = self.former && self.windows.entries().any(|entry| entry.users.load(Ordering::SeqCst) != 0);
    }

    /// Opens a window of `sectors` for a lent ring. `None` if there is no room for one more, or for its extents.
    pub(super) fn open(
        &mut self,
        area: u16,
        sectors: u64,
        extents: impl ExactSizeIterator<Item = (u64, u64)>,
    ) -> Option<Window> {
        if self.former || area == 0 {
            return None;
        }
        let place = self.find_room(extents.len() as u64)?;
        // A number is used again as late as possible: a request may still name a window that its client has closed too early.
        let mut numbers = (0..WINDOWS - 1).map(|turn| 1 + (self.tickets as usize + turn) % (WINDOWS - 1));
        let number = numbers.find(|number| self.opened.get(*number).is_some_and(Option::is_none))?;
        let (number, entry) = (number as u16, self.windows.entry(number as u16)?);
        for (index, (first, sector)) in (place.start..place.end).zip(extents) {
            let at = index as usize * (EXTENT_SIZE / 8);
            let words = self.windows.memory.words().get(at..at + EXTENT_SIZE / 8)?;
            words.iter().zip([first, sector]).for_each(|(word, value)| word.store(value, Ordering::Relaxed));
        }
        entry.extents.store((place.end - place.start) << 32 | place.start, Ordering::Relaxed);
        entry.sectors.store(sectors, Ordering::Relaxed);
        entry.area.store(area.into(), Ordering::SeqCst);
        self.tickets += 1;
        let ticket = self.tickets;
        *self.opened.get_mut(usize::from(number))? = Some(Opened { ticket, extents: place });
        Some(Window { number, ticket })
    }

    /// The first run of places that is long enough.
    fn find_room(&self, length: u64) -> Option<Range<u64>> {
        let mut start = self.room.start;
        loop {
            let end = start + length;
            if end > self.room.end || end > u64::from(u32::MAX) {
                return None;
            }
            let in_the_way = self.opened.iter().flatten().map(|opened| &opened.extents);
            match in_the_way.filter(|other| other.start < end && start < other.end).map(|other| other.end).max() {
                Some(behind) => start = behind,
                None => return Some(start..end),
            }
        }
    }

    fn is_open(&self, window: Window) -> bool {
        let opened = self.opened.get(usize::from(window.number)).and_then(Option::as_ref);
        opened.is_some_and(|opened| opened.ticket == window.ticket)
    }

    /// Lets no further request through a window.
    pub(super) fn close(&self, window: Window) {
        if self.is_open(window)
            && let Some(entry) = self.windows.entry(window.number)
        {
            entry.area.store(0, Ordering::SeqCst);
        }
    }

    /// Whether nothing is under way any more through a window that was closed. It is free for others then.
    pub(super) fn is_over(&mut self, window: Window) -> bool {
        let is_used = |entry: Entry<'_>| entry.users.load(Ordering::SeqCst) != 0;
        if !self.is_open(window) {
            return true;
        }
        if self.windows.entry(window.number).is_some_and(is_used) {
            return false;
        }
        if let Some(place) = self.opened.get_mut(usize::from(window.number)) {
            *place = None;
        }
        true
    }
}
