//! Which pages of device memory may be given away for a register range.
//!
//! Pages are the smallest thing that can be given, so a range whose page holds somebody else's registers is refused, and
//! pages with an MSI-X table are left out: whoever writes to one can make the device write to any address.

use crate::bar::Bar;
use crate::function::Function;
use core::fmt;
use core::ops::Range;
use interfaces::pci::{FunctionAddress, PciError};
use userlib::abi::PAGE_SIZE;

/// A window of device memory that the server holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// First frame.
    pub frame: u64,
    /// Pages.
    pub pages: u64,
}

/// Pages of a window that hold registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Position of the window in the list of all.
    pub window: usize,
    /// First page within the window.
    pub first: u64,
    /// Pages.
    pub pages: u64,
    /// Offset of the first byte in the first page.
    pub offset: u64,
    /// Offset of the first byte behind the base address register.
    pub start: u64,
    /// Bytes.
    pub length: u64,
}

/// Why registers cannot be given away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// There is no such memory register.
    NoBar,
    /// The firmware has given it no address, or it answers garbage.
    NotPlaced,
    /// No window of device memory contains it.
    NoWindow,
    /// It overlaps registers of this function.
    Overlaps(FunctionAddress),
    /// A page of it holds registers of this function too.
    SharesPage(FunctionAddress),
    /// All its pages hold parts of the MSI-X table.
    OnlyMessages,
    /// The MSI-X table reaches beyond the registers in which it should lie.
    TableOutside,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::NoBar => f.write_str("there is no such memory register"),
            Obstacle::NotPlaced => f.write_str("the firmware has given it no usable address"),
            Obstacle::NoWindow => f.write_str("it lies outside of the windows for device memory"),
            Obstacle::Overlaps(other) => write!(f, "it overlaps registers of {other}"),
            Obstacle::SharesPage(other) => write!(f, "it shares a page with registers of {other}"),
            Obstacle::OnlyMessages => f.write_str("each of its pages holds a part of the interrupt table"),
            Obstacle::TableOutside => f.write_str("the interrupt table reaches beyond its registers"),
        }
    }
}

impl From<Obstacle> for PciError {
    fn from(obstacle: Obstacle) -> Self {
        match obstacle {
            Obstacle::NoBar => PciError::NoBar,
            Obstacle::TableOutside => PciError::NoMessage,
            Obstacle::NotPlaced | Obstacle::NoWindow => PciError::NotPlaced,
            Obstacle::Overlaps(_) | Obstacle::SharesPage(_) | Obstacle::OnlyMessages => PciError::SharedPage,
        }
    }
}

const fn page_down(address: u64) -> u64 {
    address & !(PAGE_SIZE - 1)
}

/// Whole pages around a range; an end in the last page of all addresses stays there.
fn pages_of(range: &Range<u64>) -> Range<u64> {
    page_down(range.start)..range.end.checked_next_multiple_of(PAGE_SIZE).unwrap_or(u64::MAX)
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

/// Addresses of a memory register that is in its place.
fn placed(bar: &Bar) -> Result<Range<u64>, Obstacle> {
    match bar.end() {
        Some(end) if bar.is_placed() && bar.length.is_some() => Ok(bar.base..end),
        _ => Err(Obstacle::NotPlaced),
    }
}

/// Places a range of addresses in the windows.
fn place(windows: &[Window], range: &Range<u64>, start: u64) -> Result<Placement, Obstacle> {
    let pages = pages_of(range);
    let (frame, count) = (pages.start / PAGE_SIZE, (pages.end - pages.start) / PAGE_SIZE);
    let contains =
        |window: &Window| frame >= window.frame && window.pages.checked_sub(frame - window.frame) >= Some(count);
    let index = windows.iter().position(contains).ok_or(Obstacle::NoWindow)?;
    Ok(Placement {
        window: index,
        first: frame - windows[index].frame,
        pages: count,
        offset: range.start - pages.start,
        start,
        length: range.end - range.start,
    })
}

/// Checks that a memory register of `functions[owner]` lies in a window and that nobody else's registers lie in its
/// pages. Registers of functions that are not measured count as one page.
///
/// # Errors
/// [`Obstacle`].
pub fn check(functions: &[Function], windows: &[Window], owner: usize, bar: &Bar) -> Result<Placement, Obstacle> {
    let range = placed(bar)?;
    let pages = pages_of(&range);
    for (position, function) in functions.iter().enumerate() {
        for other in function.bars.iter().flatten() {
            let own = position == owner;
            if own && other.index == bar.index || other.base == 0 {
                continue;
            }
            let Some(end) = other.end() else { continue };
            let others = other.base..end;
            if overlap(&range, &others) {
                return Err(Obstacle::Overlaps(function.address));
            }
            if !own && overlap(&pages, &pages_of(&others)) {
                return Err(Obstacle::SharesPage(function.address));
            }
        }
    }
    place(windows, &range, 0)
}

/// Pages with parts of the function's MSI-X table and pending bits, by address.
fn message_pages(function: &Function) -> impl Iterator<Item = Range<u64>> {
    let parts = function.msix.map(|msix| {
        [
            (msix.table_bar, msix.table_offset, msix.table_bytes()),
            (msix.pending_bar, msix.pending_offset, msix.pending_bytes()),
        ]
    });
    parts.into_iter().flatten().filter_map(|(index, offset, length)| {
        let bar = function.bars.get(usize::from(index))?.as_ref()?;
        let start = bar.base.checked_add(offset)?;
        Some(pages_of(&(start..start.checked_add(length)?)))
    })
}

/// The part of memory register `index` of `functions[owner]` that its driver may have: all of it, or the longest part
/// that has no page in common with the MSI-X table and its pending bits.
///
/// # Errors
/// [`Obstacle`].
pub fn for_driver(functions: &[Function], windows: &[Window], owner: usize, index: u8) -> Result<Placement, Obstacle> {
    let function = &functions[owner];
    let bar = function.bars.get(usize::from(index)).and_then(Option::as_ref).ok_or(Obstacle::NoBar)?;
    check(functions, windows, owner, bar)?;
    let whole = placed(bar)?;
    let mut best: Option<Range<u64>> = None;
    let mut start = whole.start;
    while start < whole.end {
        // Up to the next page of messages, or from behind the one in which `start` lies.
        let next = message_pages(function)
            .filter(|pages| pages.end > start && pages.start < whole.end)
            .min_by_key(|pages| pages.start);
        let (end, next) = match next {
            Some(pages) => (pages.start.max(start), pages.end.min(whole.end)),
            None => (whole.end, whole.end),
        };
        if end - start > best.as_ref().map_or(0, |best| best.end - best.start) {
            best = Some(start..end);
        }
        start = next;
    }
    let best = best.ok_or(Obstacle::OnlyMessages)?;
    place(windows, &best, best.start - whole.start)
}

/// Where the MSI-X table of `functions[owner]` lies.
///
/// # Errors
/// [`Obstacle`]; `TableOutside` if it does not lie all in its memory register.
pub fn message_table(functions: &[Function], windows: &[Window], owner: usize) -> Result<Placement, Obstacle> {
    let function = &functions[owner];
    let msix = function.msix.ok_or(Obstacle::TableOutside)?;
    let bar = function.bars.get(usize::from(msix.table_bar)).and_then(Option::as_ref).ok_or(Obstacle::NoBar)?;
    check(functions, windows, owner, bar)?;
    let whole = placed(bar)?;
    let start = whole.start + msix.table_offset;
    let end = start + msix.table_bytes();
    if end > whole.end {
        return Err(Obstacle::TableOutside);
    }
    place(windows, &(start..end), msix.table_offset)
}
