//! Functions of the PCI bus that the IOMMU cannot tell apart.

use abi::device::{SourceId, SourceRange};

/// Functions that the IOMMU cannot tell apart, and so have one space: a function alone, or all behind a bridge that passes
/// their accesses on as its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    sources: SourceRange,
    bridge: Option<Bridge>,
}

/// A bridge that passes accesses on as its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bridge {
    place: SourceId,
    /// The first bus behind it.
    secondary: u8,
    /// The last one.
    subordinate: u8,
}

impl Group {
    /// A function whose accesses arrive under its own number.
    pub const fn alone(function: SourceId) -> Self {
        Group { sources: SourceRange::one(function), bridge: None }
    }

    /// All behind the bridge at `place`, to which the buses from `secondary` to `subordinate` belong, and whose accesses
    /// arrive as `sources`; those of interrupts as the first of these.
    pub const fn behind(place: SourceId, secondary: u8, subordinate: u8, sources: SourceRange) -> Self {
        Group { sources, bridge: Some(Bridge { place, secondary, subordinate }) }
    }

    /// The numbers under which the IOMMU sees them.
    pub const fn sources(self) -> SourceRange {
        self.sources
    }

    /// The number under which it sees their interrupts.
    pub const fn interrupt_source(self) -> SourceId {
        self.sources.first()
    }

    /// The bridge that makes them one.
    pub fn bridge(self) -> Option<SourceId> {
        self.bridge.map(|bridge| bridge.place)
    }

    /// Whether a number is one of theirs: one under which the IOMMU sees them, or that of a function behind the bridge.
    pub fn has(self, source: SourceId) -> bool {
        let behind = |bridge: Bridge| (bridge.secondary..=bridge.subordinate).contains(&source.bus());
        self.sources.contains(source) || self.bridge.is_some_and(behind)
    }

    /// Whether the numbers from `first` to `last` have one of theirs among them.
    pub fn is_among(self, first: SourceId, last: SourceId) -> bool {
        let meets = |own_first: SourceId, own_last: SourceId| own_first <= last && first <= own_last;
        let behind = |bridge: Bridge| {
            meets(SourceId::new(bridge.secondary, 0, 0), SourceId::new(bridge.subordinate, u8::MAX, u8::MAX))
        };
        meets(self.sources.first(), self.sources.last()) || self.bridge.is_some_and(behind)
    }
}
