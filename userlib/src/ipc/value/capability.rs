//! Capabilities, whose kind is part of the type and is checked on arrival.

use super::{Decoder, Encoder, Malformed, Value};
use crate::cap::{Cap, ObjectKind, Owned};
use crate::ipc::shape;
use core::marker::PhantomData;

/// Shape of a capability of kind `K`, whoever owns it.
const fn shape_of<K: ObjectKind>() -> u64 {
    shape::composed("capability", &[K::KIND as u64])
}

/// Stands for the mistake of receiving something without becoming its owner.
struct WithoutOwner<K>(PhantomData<K>);

impl<K: ObjectKind> WithoutOwner<K> {
    const MISTAKE: () = panic!("a capability that is received has an owner: write `Owned` instead of `Cap`");
}

/// Sending: the receiver gets a copy. What is received is [`Owned`], as which an interface's `Cap` arrives.
impl<K: ObjectKind> Value for Cap<K> {
    const WORDS: usize = 0;
    const CAPS: usize = 1;
    const SHAPE: u64 = shape_of::<K>();
    #[inline]
    fn encode(&self, out: &mut Encoder<'_>) {
        out.cap(self.handle());
    }
    fn decode(_: &mut Decoder<'_>) -> Result<Self, Malformed> {
        const { WithoutOwner::<K>::MISTAKE };
        Err(Malformed)
    }
}

/// The kind is checked on arrival: a capability of another one is deleted, and the message is malformed. Sending leaves
/// the sender its own.
impl<K: ObjectKind> Value for Owned<K> {
    const WORDS: usize = 0;
    const CAPS: usize = 1;
    const SHAPE: u64 = shape_of::<K>();
    #[inline]
    fn encode(&self, out: &mut Encoder<'_>) {
        out.cap(self.handle());
    }
    #[inline]
    fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let owned = Cap::from_handle(input.cap()?).into_owned();
        match owned.info() {
            Ok(_) => Ok(owned),
            Err(_) => Err(Malformed),
        }
    }
}
