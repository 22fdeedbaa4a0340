//! Values that travel in messages: how each becomes words and capabilities, and comes back out of bytes that nobody
//! vouches for.

use crate::cap::{self, Cap, ObjectKind, Owned};
use abi::message::MAX_CAPS;
use abi::{Handle, message::MAX_WORDS};
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
pub trait Value: Sized {
    /// Words it takes, always.
    const WORDS: usize;
    /// The most capabilities it takes.
    const CAPS: usize = 0;

    /// Appends the value.
    fn encode(&self, out: &mut Encoder<'_>);

    /// Takes the value.
    ///
    /// # Errors
    /// [`Malformed`] if what comes next is not such a value.
    fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed>;
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
    pub fn pad_to(&mut self, end: usize) {
        while self.used < end.min(self.words.len()) {
            self.word(0);
        }
    }

    /// How many words there are.
    pub fn len(&self) -> usize {
        self.used
    }

    /// Whether there is no word yet.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Appends a capability, of which the receiver gets a copy.
    pub fn cap(&mut self, handle: Handle) {
        if let Some(place) = self.caps.get_mut(self.caps_used) {
            *place = handle;
            self.caps_used += 1;
        }
    }

    /// The words and capabilities so far.
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
    pub fn skip_to(&mut self, end: usize) {
        self.at = self.at.max(end);
    }

    /// How many words were read.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The next capability.
    ///
    /// # Errors
    /// [`Malformed`] if there is none.
    pub fn cap(&mut self) -> Result<Handle, Malformed> {
        self.caps.take().ok_or(Malformed)
    }

    /// Ends the message.
    ///
    /// # Errors
    /// [`Malformed`] if there is more in it than was read.
    pub fn finish(self) -> Result<(), Malformed> {
        if self.at == self.words.len() && self.caps.remaining() == 0 { Ok(()) } else { Err(Malformed) }
    }
}

macro_rules! integers {
    ($($type:ty),*) => {
        $(impl Value for $type {
            const WORDS: usize = 1;
            #[inline]
            fn encode(&self, out: &mut Encoder<'_>) {
                out.word(*self as u64);
            }
            #[inline]
            fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed> {
                <$type>::try_from(input.word()?).map_err(|_| Malformed)
            }
        })*
    };
}

integers!(u8, u16, u32, u64, usize);

impl Value for i64 {
    const WORDS: usize = 1;
    fn encode(&self, out: &mut Encoder<'_>) {
        out.word(*self as u64);
    }
    fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(input.word()? as i64)
    }
}

impl Value for i32 {
    const WORDS: usize = 1;
    fn encode(&self, out: &mut Encoder<'_>) {
        i64::from(*self).encode(out);
    }
    fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed> {
        i32::try_from(i64::decode(input)?).map_err(|_| Malformed)
    }
}

impl Value for bool {
    const WORDS: usize = 1;
    fn encode(&self, out: &mut Encoder<'_>) {
        out.word(u64::from(*self));
    }
    fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed> {
        match input.word()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }
}

impl Value for char {
    const WORDS: usize = 1;
    fn encode(&self, out: &mut Encoder<'_>) {
        out.word(u64::from(u32::from(*self)));
    }
    fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed> {
        char::from_u32(u32::decode(input)?).ok_or(Malformed)
    }
}

impl Value for () {
    const WORDS: usize = 0;
    fn encode(&self, _: &mut Encoder<'_>) {}
    fn decode(_: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(())
    }
}

impl Value for core::convert::Infallible {
    const WORDS: usize = 0;
    fn encode(&self, _: &mut Encoder<'_>) {}
    fn decode(_: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Err(Malformed)
    }
}

impl<T: Value> Value for Option<T> {
    const WORDS: usize = 1 + T::WORDS;
    const CAPS: usize = T::CAPS;
    fn encode(&self, out: &mut Encoder<'_>) {
        let end = out.len() + Self::WORDS;
        out.word(u64::from(self.is_some()));
        if let Some(value) = self {
            value.encode(out);
        }
        out.pad_to(end);
    }
    fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let end = input.position() + Self::WORDS;
        let value = match input.word()? {
            0 => None,
            1 => Some(T::decode(input)?),
            _ => return Err(Malformed),
        };
        input.skip_to(end);
        Ok(value)
    }
}

impl<const N: usize> Value for [u8; N] {
    const WORDS: usize = N.div_ceil(8);
    fn encode(&self, out: &mut Encoder<'_>) {
        for chunk in self.chunks(8) {
            let mut bytes = [0; 8];
            bytes[..chunk.len()].copy_from_slice(chunk);
            out.word(u64::from_le_bytes(bytes));
        }
    }
    fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let mut value = [0; N];
        for chunk in value.chunks_mut(8) {
            let bytes = input.word()?.to_le_bytes();
            let (used, rest) = bytes.split_at(chunk.len());
            if rest.iter().any(|&byte| byte != 0) {
                return Err(Malformed);
            }
            chunk.copy_from_slice(used);
        }
        Ok(value)
    }
}

macro_rules! word_arrays {
    ($($type:ty),*) => {
        $(impl<const N: usize> Value for [$type; N] {
            const WORDS: usize = N * <$type>::WORDS;
            fn encode(&self, out: &mut Encoder<'_>) {
                for value in self {
                    value.encode(out);
                }
            }
            fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed> {
                let mut values = [<$type>::default(); N];
                for value in &mut values {
                    *value = <$type>::decode(input)?;
                }
                Ok(values)
            }
        })*
    };
}

word_arrays!(u16, u32, u64);

macro_rules! tuples {
    ($(($($name:ident),*))*) => {
        $(impl<$($name: Value),*> Value for ($($name,)*) {
            const WORDS: usize = 0 $(+ $name::WORDS)*;
            const CAPS: usize = 0 $(+ $name::CAPS)*;
            #[allow(non_snake_case, reason = "each field is bound under its type's name")]
            fn encode(&self, out: &mut Encoder<'_>) {
                let ($($name,)*) = self;
                $($name.encode(out);)*
            }
            fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed> {
                Ok(($($name::decode(input)?,)*))
            }
        })*
    };
}

tuples! { (A) (A, B) (A, B, C) (A, B, C, D) (A, B, C, D, E) (A, B, C, D, E, F) }

/// Sending: the receiver gets a copy. (What is received is [`Owned`].)
impl<K: ObjectKind> Value for Cap<K> {
    const WORDS: usize = 0;
    const CAPS: usize = 1;
    fn encode(&self, out: &mut Encoder<'_>) {
        out.cap(self.handle());
    }
    fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Owned::decode(input)?.leak())
    }
}

/// The kind is checked on arrival. Sending leaves the sender its own.
impl<K: ObjectKind> Value for Owned<K> {
    const WORDS: usize = 0;
    const CAPS: usize = 1;
    fn encode(&self, out: &mut Encoder<'_>) {
        out.cap(self.handle());
    }
    fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let owned = Cap::from_handle(input.cap()?).into_owned();
        match owned.info() {
            Ok(_) => Ok(owned),
            Err(_) => Err(Malformed),
        }
    }
}

/// A short text of at most `N` bytes that travels within the message itself.
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
    const WORDS: usize = 1 + N.div_ceil(8);
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

/// The larger of two sizes, for constants.
pub const fn larger(a: usize, b: usize) -> usize {
    if a > b { a } else { b }
}

/// Whether a message of this size can be sent, for constants.
pub const fn fits(words: usize, caps: usize) -> bool {
    words <= MAX_WORDS && caps <= MAX_CAPS
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
