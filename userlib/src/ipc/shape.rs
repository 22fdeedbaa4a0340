//! Shapes: numbers that stand for what a type looks like in a message.
//!
//! A shape is made at compile time from what can be misread: the kinds of numbers, how many there are, the names of
//! fields and variants and their order, the kind of a capability. What a type is *called*, and by which path, does not
//! matter. A method's label ([`label`]) is made of its name and the shapes of its arguments and results, so that a client
//! and a server that were built with different ideas of a structure do not misread each other: the server answers that
//! it knows no such method.

/// FNV-1a in 64 bits: a hash that needs no table and never changes.
struct Fnv(u64);

impl Fnv {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    const fn bytes(mut self, bytes: &[u8]) -> Self {
        let mut index = 0;
        while index < bytes.len() {
            self.0 = (self.0 ^ bytes[index] as u64).wrapping_mul(0x0000_0100_0000_01b3);
            index += 1;
        }
        self
    }

    const fn all(mut self, parts: &[u64]) -> Self {
        let mut index = 0;
        while index < parts.len() {
            self = self.bytes(&parts[index].to_le_bytes());
            index += 1;
        }
        self
    }
}

/// Bytes that are lent for reading.
pub const READ_BYTES: u64 = named("&[u8]");
/// Text that is lent for reading.
pub const READ_TEXT: u64 = named("&str");
/// Bytes that are lent for writing.
pub const WRITE_BYTES: u64 = named("&mut [u8]");

/// The shape that a name stands for: of a type that consists of nothing else, or a part of a larger one.
pub const fn named(name: &str) -> u64 {
    Fnv::new().bytes(name.as_bytes()).0
}

/// A shape of this sort (`struct`, `array`, …) that is made of others, in this order.
pub const fn composed(sort: &str, parts: &[u64]) -> u64 {
    Fnv::new().bytes(sort.as_bytes()).all(parts).0
}

/// The label of a method: 32 bits of a hash of its name and the shapes of what it takes and gives, in this order. Two
/// methods of one interface with the same label do not compile.
pub const fn label(name: &str, arguments: &[u64], value: u64, error: u64) -> u32 {
    // The number of arguments tells them from the results.
    let hash = Fnv::new().bytes(name.as_bytes()).all(&[arguments.len() as u64]).all(arguments).all(&[value, error]).0;
    (hash ^ (hash >> 32)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_that_everybody_calls_fnv_1a() {
        assert_eq!(named(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(named("foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn labels_tell_names_arguments_and_results_apart() {
        let [a, b] = [named("a"), named("b")];
        let labels = [
            label("f", &[a], a, b),
            label("g", &[a], a, b),
            label("f", &[a, a], a, b),
            label("f", &[b], a, b),
            label("f", &[a], b, a),
            label("f", &[], a, b),
        ];
        for (index, one) in labels.iter().enumerate() {
            assert!(!labels[index + 1..].contains(one));
        }
    }
}
