//! Physical frames: who has each page of RAM.

use crate::cpu::Shootdown;
use crate::table::FrameStore;

/// A physical frame's number: its address divided by the page size.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct Frame(pub u32);

impl Frame {
    /// The physical address of its first byte.
    pub const fn address(self) -> u64 {
        (self.0 as u64) << 12
    }

    /// The frame this many frames on.
    pub const fn offset(self, frames: u32) -> Frame {
        Frame(self.0.wrapping_add(frames))
    }
}

impl core::fmt::Debug for Frame {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Frame({:#x})", self.0)
    }
}

/// Who may use a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum FrameState {
    /// Not RAM, or RAM that the kernel does not manage: device registers, firmware. Never donated, mapped uncached.
    #[default]
    Absent = 0,
    /// RAM for user space.
    User = 1,
    /// RAM that the kernel uses: its image, or a donated page. Never mapped for a user.
    Kernel = 2,
}

/// What the kernel knows of one frame of RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(C)]
pub struct FrameEntry {
    /// How many mappings and pins hold the frame.
    pub pins: u32,
    /// The next frame of the list that a donated frame is in, 0 for none.
    pub next: u32,
    /// The space to which a donated frame belongs, 0 for the kernel itself.
    pub owner: u16,
    /// Who may use it.
    pub state: FrameState,
    /// Unused.
    pub reserved: u8,
    /// The last shootdown after which a processor may have remembered a translation of this frame.
    pub shootdown: Option<Shootdown>,
}

static_assertions::const_assert_eq!(core::mem::size_of::<FrameEntry>(), 16);

/// The frame table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Frames<F> {
    /// None until the machine's frame table is attached, so that an empty kernel is all zero.
    entries: Option<F>,
    pub(crate) total: u64,
    pub(crate) kernel: u64,
    pub(crate) mapped: u64,
}

impl<F: FrameStore> Frames<F> {
    pub(crate) const fn new(entries: Option<F>) -> Self {
        Frames { entries, total: 0, kernel: 0, mapped: 0 }
    }

    pub(crate) fn entry(&self, frame: Frame) -> FrameEntry {
        self.entries.as_ref().and_then(|entries| entries.as_ref().get(frame.0 as usize)).copied().unwrap_or_default()
    }

    /// Whether two frame tables are the same.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let counters = |frames: &Self| (frames.total, frames.kernel, frames.mapped);
        counters(self) == counters(other)
            && self.entries.as_ref().map(|entries| entries.as_ref())
                == other.entries.as_ref().map(|entries| entries.as_ref())
    }

    /// How many entries the table has.
    pub(crate) fn length(&self) -> usize {
        self.entries.as_ref().map_or(0, |entries| entries.as_ref().len())
    }

    pub(crate) fn state(&self, frame: Frame) -> FrameState {
        self.entry(frame).state
    }

    fn change(&mut self, frame: Frame, change: impl FnOnce(&mut FrameEntry)) {
        if let Some(entries) = &mut self.entries
            && let Some(entry) = entries.as_mut().get_mut(frame.0 as usize)
        {
            change(entry);
        }
    }

    /// Declares RAM at boot.
    pub(crate) fn declare(&mut self, frame: Frame, state: FrameState) {
        self.change(frame, |entry| *entry = FrameEntry { state, ..FrameEntry::default() });
        self.total += 1;
        if state == FrameState::Kernel {
            self.kernel += 1;
        }
    }

    /// Whether a frame is RAM that nobody maps or pins, so that it may be donated.
    pub(crate) fn is_donatable(&self, frame: Frame) -> bool {
        let entry = self.entry(frame);
        entry.state == FrameState::User && (entry.pins == 0 || seeded!(DonatedWhileMapped))
    }

    pub(crate) fn donate(&mut self, frame: Frame, owner: u16, next: u32) {
        self.change(frame, |entry| {
            entry.state = FrameState::Kernel;
            entry.owner = owner;
            entry.next = next;
        });
        self.kernel += 1;
    }

    pub(crate) fn set_next(&mut self, frame: Frame, next: u32) {
        self.change(frame, |entry| entry.next = next);
    }

    pub(crate) fn give_back(&mut self, frame: Frame) {
        self.change(frame, |entry| *entry = FrameEntry { state: FrameState::User, ..FrameEntry::default() });
        self.kernel -= 1;
    }

    /// Notes that processors may remember a translation of a frame until a shootdown is over.
    pub(crate) fn quarantine(&mut self, frame: Frame, shootdown: Shootdown) {
        self.change(frame, |entry| {
            if entry.state == FrameState::User {
                entry.shootdown = Some(shootdown);
            }
        });
    }

    /// The last shootdown that concerned a frame.
    pub(crate) fn quarantined_by(&self, frame: Frame) -> Option<Shootdown> {
        self.entry(frame).shootdown
    }

    /// The entries of a run of frames, as far as the table has them.
    fn run(&self, first: Frame, count: u32) -> &[FrameEntry] {
        let entries = self.entries.as_ref().map(AsRef::as_ref).unwrap_or_default();
        let rest = entries.get(first.0 as usize..).unwrap_or_default();
        rest.get(..count as usize).unwrap_or(rest)
    }

    fn run_mut(entries: &mut Option<F>, first: Frame, count: u32) -> &mut [FrameEntry] {
        let entries = entries.as_mut().map(AsMut::as_mut).unwrap_or_default();
        let rest = entries.get_mut(first.0 as usize..).unwrap_or_default();
        let length = rest.len().min(count as usize);
        rest.get_mut(..length).unwrap_or_default()
    }

    /// The states of a run of frames, each of those behind the table's end being absent.
    pub(crate) fn states(&self, first: Frame, count: u32) -> impl Iterator<Item = FrameState> {
        let known = self.run(first, count);
        let missing = count as usize - known.len();
        known.iter().map(|entry| entry.state).chain(core::iter::repeat_n(FrameState::Absent, missing))
    }

    /// Pins those of a run of frames that are RAM.
    pub(crate) fn pin(&mut self, first: Frame, count: u32) {
        let mut newly = 0;
        for entry in Self::run_mut(&mut self.entries, first, count) {
            if entry.state != FrameState::Absent {
                newly += u64::from(entry.pins == 0);
                entry.pins += 1;
            }
        }
        self.mapped += newly;
    }

    /// Takes one pin from each of a run of frames that has some.
    pub(crate) fn unpin(&mut self, first: Frame, count: u32) {
        let mut last = 0;
        for entry in Self::run_mut(&mut self.entries, first, count) {
            if entry.pins > 0 {
                entry.pins -= 1;
                last += u64::from(entry.pins == 0);
            }
        }
        self.mapped -= last;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    #[test]
    fn only_ram_is_pinned_and_counted() {
        let mut frames = Frames::new(Some(vec![FrameEntry::default(); 4]));
        frames.declare(Frame(1), FrameState::User);
        for frame in [Frame(1), Frame(1), Frame(2), Frame(9)] {
            frames.pin(frame, 1);
        }
        assert_eq!((frames.mapped, frames.entry(Frame(1)).pins, frames.entry(Frame(2)).pins), (1, 2, 0));
        for frame in [Frame(2), Frame(9), Frame(1)] {
            frames.unpin(frame, 1);
        }
        assert_eq!(frames.mapped, 1, "one is pinned once more");
        frames.unpin(Frame(1), 1);
        assert_eq!((frames.mapped, frames.is_donatable(Frame(1))), (0, true));
    }
}
