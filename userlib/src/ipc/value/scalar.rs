//! Numbers, truth values, characters, nothing, and spans of time.

use super::{Decoder, Encoder, List, Malformed, Value};
use crate::ipc::shape;
use core::convert::Infallible;
use core::time::Duration;

/// Integers of at most one word, which travel as the word's number of the same sign.
macro_rules! one_word {
    ($word:ident: $($type:ident),*) => {
        $(impl Value for $type {
            const WORDS: usize = 1;
            const SHAPE: u64 = shape::named(stringify!($type));
            #[inline]
            fn encode(&self, out: &mut Encoder<'_>) {
                out.word(*self as $word as u64);
            }
            #[inline]
            fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed> {
                <$type>::try_from(input.word()? as $word).map_err(|_| Malformed)
            }
        })*
    };
}

one_word!(u64: u16, u32, u64, usize);
one_word!(i64: i8, i16, i32, i64, isize);

macro_rules! double_words {
    ($($type:ident),*) => {
        $(impl Value for $type {
            const WORDS: usize = 2;
            const SHAPE: u64 = shape::named(stringify!($type));
            #[inline]
            fn encode(&self, out: &mut Encoder<'_>) {
                out.word(*self as u64);
                out.word((*self >> 64) as u64);
            }
            #[inline]
            fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed> {
                let (low, high) = (input.word()?, input.word()?);
                Ok(((u128::from(high) << 64) | u128::from(low)) as $type)
            }
        })*
    };
}

double_words!(u128, i128);

/// Bytes of one word, as packed bytes travel.
const BYTES: usize = 8;

/// In arrays and lists eight of them share a word.
impl Value for u8 {
    const WORDS: usize = 1;
    const SHAPE: u64 = shape::named("u8");
    const PER_WORD: usize = BYTES;
    #[inline]
    fn encode(&self, out: &mut Encoder<'_>) {
        out.word(u64::from(*self));
    }
    #[inline]
    fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed> {
        u8::try_from(input.word()?).map_err(|_| Malformed)
    }
    #[inline]
    fn encode_each(values: &[u8], out: &mut Encoder<'_>) {
        for chunk in values.chunks(BYTES) {
            let mut bytes = [0; BYTES];
            bytes[..chunk.len()].copy_from_slice(chunk);
            out.word(u64::from_le_bytes(bytes));
        }
    }
    #[inline]
    fn decode_array<const N: usize>(input: &mut Decoder<'_>) -> Result<[u8; N], Malformed> {
        let mut value = [0; N];
        for chunk in value.chunks_mut(BYTES) {
            let bytes = input.word()?.to_le_bytes();
            let (used, rest) = bytes.split_at(chunk.len());
            if rest.iter().any(|&byte| byte != 0) {
                return Err(Malformed);
            }
            chunk.copy_from_slice(used);
        }
        Ok(value)
    }
    #[inline]
    fn decode_list<const N: usize>(input: &mut Decoder<'_>, count: usize) -> Result<List<u8, N>, Malformed> {
        let all: [u8; N] = u8::decode_array(input)?;
        let used = all.get(..count).ok_or(Malformed)?;
        List::try_from(used).map_err(|_| Malformed)
    }
}

impl Value for bool {
    const WORDS: usize = 1;
    const SHAPE: u64 = shape::named("bool");
    #[inline]
    fn encode(&self, out: &mut Encoder<'_>) {
        out.word(u64::from(*self));
    }
    #[inline]
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
    const SHAPE: u64 = shape::named("char");
    #[inline]
    fn encode(&self, out: &mut Encoder<'_>) {
        out.word(u64::from(u32::from(*self)));
    }
    #[inline]
    fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed> {
        char::from_u32(u32::decode(input)?).ok_or(Malformed)
    }
}

impl Value for () {
    const WORDS: usize = 0;
    const SHAPE: u64 = shape::named("()");
    #[inline]
    fn encode(&self, _: &mut Encoder<'_>) {}
    #[inline]
    fn decode(_: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(())
    }
}

/// What never travels: the error of a method that has none.
impl Value for Infallible {
    const WORDS: usize = 0;
    const SHAPE: u64 = shape::named("!");
    #[inline]
    fn encode(&self, _: &mut Encoder<'_>) {
        match *self {}
    }
    #[inline]
    fn decode(_: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Err(Malformed)
    }
}

/// Whole seconds, and nanoseconds below a second.
impl Value for Duration {
    const WORDS: usize = 2;
    const SHAPE: u64 = shape::named("Duration");
    #[inline]
    fn encode(&self, out: &mut Encoder<'_>) {
        out.word(self.as_secs());
        out.word(u64::from(self.subsec_nanos()));
    }
    #[inline]
    fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let (seconds, nanoseconds) = (input.word()?, u32::decode(input)?);
        if nanoseconds < 1_000_000_000 { Ok(Duration::new(seconds, nanoseconds)) } else { Err(Malformed) }
    }
}
