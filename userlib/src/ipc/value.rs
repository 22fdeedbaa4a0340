//! Values that travel in messages: how each becomes words and capabilities, and comes back out of bytes that nobody
//! vouches for.

mod bounded;
mod capability;
mod compound;
mod scalar;

pub use bounded::{List, Text};

use crate::cap::{self, Cap};
use abi::Handle;
use abi::message::MAX_CAPS;
use core::fmt;

/// The words of a message do not make sense as what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the message's words do not encode the expected values")
    }
}

/// Something of fixed size that travels in a message. Derive it with [`macro@crate::Value`] for structures and enums.
///
/// | type | words |
/// | --- | --- |
/// | integers up to 64 bits, `bool`, `char` | 1 |
/// | `u128`, `i128`, [`core::time::Duration`] | 2 |
/// | `()` | 0 |
/// | tuples of up to eight values, structures | those of their fields |
/// | `[T; N]` | `N` times those of `T`; bytes are packed, eight to a word |
/// | [`List<T, N>`](List), [`Text<N>`](Text) | 1, and those of an array of `N` |
/// | `Option<T>` | 1, and those of `T` |
/// | `Result<T, E>` | 1, and the larger of both |
/// | enums | 1, and those of the largest variant |
/// | [`Cap<K>`](crate::cap::Cap), [`Owned<K>`](crate::cap::Owned) | 0, and one capability |
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel in a message",
    label = "this is no `Value`",
    note = "structures and enums travel if they have `#[derive(userlib::Value)]`",
    note = "memory is lent as `&[u8]`, `&mut [u8]` or `&str`; a short text is a `Text<N>`, a short list a `List<T, N>`"
)]
pub trait Value: Sized {
    /// Words it takes, always.
    const WORDS: usize;
    /// The most capabilities it takes.
    const CAPS: usize = 0;
    /// What it looks like, as a number ([`super::shape`]): part of the label of every method that takes or gives it.
    const SHAPE: u64;
    /// How many of them share a word in arrays and lists; more than one only for bytes.
    const PER_WORD: usize = 1;

    /// Appends the value.
    fn encode(&self, out: &mut Encoder<'_>);

    /// Takes the value.
    ///
    /// # Errors
    /// [`Malformed`] if what comes next is not such a value.
    fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed>;

    /// Appends the elements of an array or list.
    #[inline]
    fn encode_each(values: &[Self], out: &mut Encoder<'_>) {
        for value in values {
            value.encode(out);
        }
    }

    /// Takes the elements of an array.
    ///
    /// # Errors
    /// [`Malformed`] if there are not `N` of them.
    #[inline]
    fn decode_array<const N: usize>(input: &mut Decoder<'_>) -> Result<[Self; N], Malformed> {
        Self::decode_list(input, N)?.into_array()
    }

    /// Takes `count` elements of a list.
    ///
    /// # Errors
    /// [`Malformed`] if there are not as many, or if they are more than the list may have.
    #[inline]
    fn decode_list<const N: usize>(input: &mut Decoder<'_>, count: usize) -> Result<List<Self, N>, Malformed> {
        if count > N {
            return Err(Malformed);
        }
        let mut list = List::new();
        for _ in 0..count {
            list.push(Self::decode(input)?).map_err(|_| Malformed)?;
        }
        Ok(list)
    }
}

/// Words of `count` values in a row, for constants.
pub const fn words_of<T: Value>(count: usize) -> usize {
    if T::PER_WORD > 1 { count.div_ceil(T::PER_WORD) } else { count * T::WORDS }
}

/// Where a message is put together.
#[derive(Debug)]
pub struct Encoder<'a> {
    words: &'a mut [u64],
    used: usize,
    caps: [Handle; MAX_CAPS],
    caps_used: usize,
}

impl<'a> Encoder<'a> {
    /// An empty message with room for `words.len()` words.
    #[inline]
    pub fn new(words: &'a mut [u64]) -> Self {
        Self { words, used: 0, caps: [Handle::NONE; MAX_CAPS], caps_used: 0 }
    }

    /// Appends a word. What does not fit is dropped: the sizes are constants ([`Value::WORDS`]), checked where a message
    /// is declared.
    #[inline]
    pub fn word(&mut self, word: u64) {
        if let Some(place) = self.words.get_mut(self.used) {
            *place = word;
            self.used += 1;
        }
    }

    /// Appends zeros up to `end` words.
    #[inline]
    pub fn pad_to(&mut self, end: usize) {
        while self.used < end.min(self.words.len()) {
            self.word(0);
        }
    }

    /// How many words there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.used
    }

    /// Whether there is no word yet.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Appends a capability, of which the receiver gets a copy.
    #[inline]
    pub fn cap(&mut self, handle: Handle) {
        if let Some(place) = self.caps.get_mut(self.caps_used) {
            *place = handle;
            self.caps_used += 1;
        }
    }

    /// The words and capabilities so far.
    #[inline]
    pub fn parts(&self) -> (&[u64], &[Handle]) {
        (&self.words[..self.used], &self.caps[..self.caps_used])
    }
}

/// Capabilities that came with a message: those that nobody takes are deleted.
#[derive(Debug, Default)]
pub struct ReceivedCaps {
    handles: [u64; MAX_CAPS],
    next: usize,
    count: usize,
}

impl ReceivedCaps {
    /// The first `count` of the handles.
    pub(crate) fn new(handles: [u64; MAX_CAPS], count: usize) -> Self {
        Self { handles, next: 0, count: count.min(MAX_CAPS) }
    }

    /// Takes the next one.
    pub fn take(&mut self) -> Option<Handle> {
        if self.next == self.count {
            return None;
        }
        self.next += 1;
        Some(Handle(self.handles[self.next - 1]))
    }

    /// How many are left.
    pub fn remaining(&self) -> usize {
        self.count - self.next
    }
}

impl Drop for ReceivedCaps {
    fn drop(&mut self) {
        while let Some(handle) = self.take() {
            // The kind does not matter for deleting.
            drop(Cap::<cap::Memory>::from_handle(handle).into_owned());
        }
    }
}

/// Where a message is taken apart.
#[derive(Debug)]
pub struct Decoder<'a> {
    words: &'a [u64],
    at: usize,
    caps: &'a mut ReceivedCaps,
}

impl<'a> Decoder<'a> {
    /// Reads `words` and `caps` from the start.
    #[inline]
    pub fn new(words: &'a [u64], caps: &'a mut ReceivedCaps) -> Self {
        Self { words, at: 0, caps }
    }

    /// The next word.
    ///
    /// # Errors
    /// [`Malformed`] at the end.
    #[inline]
    pub fn word(&mut self) -> Result<u64, Malformed> {
        let word = self.words.get(self.at).copied().ok_or(Malformed)?;
        self.at += 1;
        Ok(word)
    }

    /// Goes on at word `end`.
    #[inline]
    pub fn skip_to(&mut self, end: usize) {
        self.at = self.at.max(end);
    }

    /// How many words were read.
    #[inline]
    pub fn position(&self) -> usize {
        self.at
    }

    /// The next capability.
    ///
    /// # Errors
    /// [`Malformed`] if there is none.
    #[inline]
    pub fn cap(&mut self) -> Result<Handle, Malformed> {
        self.caps.take().ok_or(Malformed)
    }

    /// Ends the message.
    ///
    /// # Errors
    /// [`Malformed`] if there is more in it than was read.
    #[inline]
    pub fn finish(self) -> Result<(), Malformed> {
        if self.at == self.words.len() && self.caps.remaining() == 0 { Ok(()) } else { Err(Malformed) }
    }
}

/// The larger of two sizes, for constants.
pub const fn larger(a: usize, b: usize) -> usize {
    if a > b { a } else { b }
}

/// The largest of some sizes, for constants.
pub const fn largest(sizes: &[usize]) -> usize {
    let mut most = 0;
    let mut index = 0;
    while index < sizes.len() {
        most = larger(most, sizes[index]);
        index += 1;
    }
    most
}
