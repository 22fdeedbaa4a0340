//! Values made of other values.

use super::{Decoder, Encoder, Malformed, Value, larger, words_of};
use crate::ipc::shape;

/// Present or not. What is not there still has its place, so that whatever follows is where it always is.
impl<T: Value> Value for Option<T> {
    const WORDS: usize = 1 + T::WORDS;
    const CAPS: usize = T::CAPS;
    const SHAPE: u64 = shape::composed("Option", &[T::SHAPE]);
    #[inline]
    fn encode(&self, out: &mut Encoder<'_>) {
        let end = out.len() + Self::WORDS;
        out.word(u64::from(self.is_some()));
        if let Some(value) = self {
            value.encode(out);
        }
        out.pad_to(end);
    }
    #[inline]
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

/// As a value among others: within a structure, an option, a list. What a *method* returns as `Result` is told apart in
/// the reply's label, without a word of its own.
impl<T: Value, E: Value> Value for Result<T, E> {
    const WORDS: usize = 1 + larger(T::WORDS, E::WORDS);
    const CAPS: usize = larger(T::CAPS, E::CAPS);
    const SHAPE: u64 = shape::composed("Result", &[T::SHAPE, E::SHAPE]);
    #[inline]
    fn encode(&self, out: &mut Encoder<'_>) {
        let end = out.len() + Self::WORDS;
        out.word(u64::from(self.is_err()));
        match self {
            Ok(value) => value.encode(out),
            Err(error) => error.encode(out),
        }
        out.pad_to(end);
    }
    #[inline]
    fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let end = input.position() + Self::WORDS;
        let value = match input.word()? {
            0 => Ok(T::decode(input)?),
            1 => Err(E::decode(input)?),
            _ => return Err(Malformed),
        };
        input.skip_to(end);
        Ok(value)
    }
}

impl<T: Value, const N: usize> Value for [T; N] {
    const WORDS: usize = words_of::<T>(N);
    const CAPS: usize = N * T::CAPS;
    const SHAPE: u64 = shape::composed("array", &[T::SHAPE, N as u64]);
    #[inline]
    fn encode(&self, out: &mut Encoder<'_>) {
        T::encode_each(self, out);
    }
    #[inline]
    fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed> {
        T::decode_array(input)
    }
}

macro_rules! tuples {
    ($(($($name:ident),*))*) => {
        $(impl<$($name: Value),*> Value for ($($name,)*) {
            const WORDS: usize = 0 $(+ $name::WORDS)*;
            const CAPS: usize = 0 $(+ $name::CAPS)*;
            const SHAPE: u64 = shape::composed("tuple", &[$($name::SHAPE),*]);
            #[allow(non_snake_case, reason = "each field is bound under its type's name")]
            #[inline]
            fn encode(&self, out: &mut Encoder<'_>) {
                let ($($name,)*) = self;
                $($name.encode(out);)*
            }
            #[inline]
            fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed> {
                Ok(($($name::decode(input)?,)*))
            }
        })*
    };
}

tuples! {
    (A) (A, B) (A, B, C) (A, B, C, D) (A, B, C, D, E) (A, B, C, D, E, F) (A, B, C, D, E, F, G) (A, B, C, D, E, F, G, H)
}
