//! Numbers that stand for interfaces: FNV-1a hashes, which need no table and never change.

/// 64 bits.
pub(crate) fn fnv64(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_that_everybody_calls_fnv_1a() {
        assert_eq!(fnv64("foobar"), 0x8594_4171_f739_67e8);
    }
}
