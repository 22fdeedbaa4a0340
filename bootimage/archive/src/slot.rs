//! The place in the loader's image that says where an embedded archive lies.

/// Marks the slot in the loader's image; it must occur there exactly once.
pub const SLOT_MAGIC: [u8; 16] = *b"bulkhead:archive";

/// Filled in by `embed`, read by the loader. A length of 0 means that nothing is embedded.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchiveSlot {
    /// [`SLOT_MAGIC`].
    pub magic: [u8; 16],
    /// Physical address of the archive.
    pub start: u64,
    /// Bytes of the archive.
    pub len: u64,
}

impl ArchiveSlot {
    /// A slot without an archive.
    pub const EMPTY: Self = Self { magic: SLOT_MAGIC, start: 0, len: 0 };
}

const _: () = assert!(size_of::<ArchiveSlot>() == 32);
