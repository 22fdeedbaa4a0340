//! What has a length of its own, up to a bound: lists and short texts.

use super::{Decoder, Encoder, Malformed, Value, words_of};
use crate::ipc::shape;
use arrayvec::ArrayVec;
use core::fmt;
use core::ops::{Deref, DerefMut};

/// A list of at most `N` values that travels within the message itself, and takes the room of `N` there. It is used as a
/// slice. What is longer is lent, as `&[u8]`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct List<T, const N: usize>(ArrayVec<T, N>);

/// More values than a list has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

impl fmt::Display for TooMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the list has no room for as many")
    }
}

impl core::error::Error for TooMany {}

impl<T, const N: usize> List<T, N> {
    /// An empty list.
    #[inline]
    pub fn new() -> Self {
        Self(ArrayVec::new())
    }

    /// Appends a value.
    ///
    /// # Errors
    /// The value comes back if the list is full.
    #[inline]
    pub fn push(&mut self, value: T) -> Result<(), T> {
        self.0.try_push(value).map_err(|full| full.element())
    }

    /// All values, if there are as many as there can be.
    #[inline]
    pub(super) fn into_array(self) -> Result<[T; N], Malformed> {
        self.0.into_inner().map_err(|_| Malformed)
    }
}

impl<T, const N: usize> Default for List<T, N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Clone, const N: usize> TryFrom<&[T]> for List<T, N> {
    type Error = TooMany;
    #[inline]
    fn try_from(values: &[T]) -> Result<Self, TooMany> {
        if values.len() > N {
            return Err(TooMany);
        }
        Ok(Self(values.iter().cloned().collect()))
    }
}

impl<T, const N: usize> Deref for List<T, N> {
    type Target = [T];
    #[inline]
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T, const N: usize> DerefMut for List<T, N> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

impl<T, const N: usize> IntoIterator for List<T, N> {
    type Item = T;
    type IntoIter = arrayvec::IntoIter<T, N>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, T, const N: usize> IntoIterator for &'a List<T, N> {
    type Item = &'a T;
    type IntoIter = core::slice::Iter<'a, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<T: fmt::Debug, const N: usize> fmt::Debug for List<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<T: Value, const N: usize> Value for List<T, N> {
    const WORDS: usize = 1 + words_of::<T>(N);
    const CAPS: usize = N * T::CAPS;
    const SHAPE: u64 = shape::composed("list", &[T::SHAPE, N as u64]);
    #[inline]
    fn encode(&self, out: &mut Encoder<'_>) {
        let end = out.len() + Self::WORDS;
        self.len().encode(out);
        T::encode_each(self, out);
        out.pad_to(end);
    }
    #[inline]
    fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let end = input.position() + Self::WORDS;
        let count = usize::decode(input)?;
        let list = T::decode_list(input, count)?;
        input.skip_to(end);
        Ok(list)
    }
}

/// A short text of at most `N` bytes that travels within the message itself. Longer ones are lent, as `&str`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Text<N> {
    /// The text, cut at the last character boundary that fits.
    pub fn new(text: &str) -> Self {
        let length = text.floor_char_boundary(N);
        let mut bytes = [0; N];
        bytes[..length].copy_from_slice(&text.as_bytes()[..length]);
        Self { bytes, length }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self::new("")
    }
}

impl<const N: usize> core::ops::Deref for Text<N> {
    type Target = str;
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

impl<const N: usize> Value for Text<N> {
    const WORDS: usize = 1 + words_of::<u8>(N);
    const SHAPE: u64 = shape::composed("text", &[N as u64]);
    fn encode(&self, out: &mut Encoder<'_>) {
        self.length.encode(out);
        self.bytes.encode(out);
    }
    fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let length = usize::decode(input)?;
        let bytes = <[u8; N]>::decode(input)?;
        let used = bytes.get(..length).ok_or(Malformed)?;
        let text = core::str::from_utf8(used).map_err(|_| Malformed)?;
        Ok(Self::new(text))
    }
}
