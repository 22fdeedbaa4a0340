//! How user space names a capability.

/// Names one slot of the calling domain's capability table: the slot's index and the slot's generation.
///
/// A slot's generation rises each time it is emptied, so a handle kept after its capability was deleted or revoked is
/// refused with [`crate::Error::StaleHandle`] instead of meaning whatever came to live in the slot next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Handle(pub u64);

impl Handle {
    /// Names nothing; generation 0 is never live.
    pub const NONE: Handle = Handle(0);

    /// The handle of slot `index` in its `generation`.
    pub const fn new(index: u16, generation: u32) -> Self {
        Handle(((generation as u64) << 16) | index as u64)
    }

    /// The slot's index.
    pub const fn index(self) -> u16 {
        (self.0 & 0xffff) as u16
    }

    /// The slot's generation, or `None` if the upper bits, which must be zero, are not.
    pub const fn generation(self) -> Option<u32> {
        if self.0 >> 48 == 0 { Some((self.0 >> 16) as u32) } else { None }
    }

    /// Whether this names nothing.
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
}

impl core::fmt::Debug for Handle {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "#{}.{}", self.index(), self.0 >> 16)
    }
}
