//! A sequence of bytes that never comes to an unexpected end.

/// Bytes that are left. Behind the last one there are zeroes for ever.
pub(crate) struct Bytes<'b>(&'b [u8]);

impl<'b> Bytes<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        Bytes(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub(crate) fn word(&mut self) -> u64 {
        u64::from_le_bytes([(); 8].map(|()| self.byte()))
    }

    pub(crate) fn short(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    pub(crate) fn double(&mut self) -> u32 {
        u32::from_le_bytes([(); 4].map(|()| self.byte()))
    }

    /// What is left.
    pub(crate) fn rest(self) -> &'b [u8] {
        self.0
    }

    /// One of some values, or 0 if there are none.
    pub(crate) fn one_of(index: u8, values: &[u64]) -> u64 {
        values.get(usize::from(index) % values.len().max(1)).copied().unwrap_or(0)
    }
}
