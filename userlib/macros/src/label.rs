//! Numbers that stand for names in messages: FNV-1a hashes, which need no table and never change.

/// 32 bits, for methods.
pub(crate) fn fnv32(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// 64 bits, for interfaces.
pub(crate) fn fnv64(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_that_everybody_calls_fnv_1a() {
        assert_eq!(fnv32(""), 0x811c_9dc5);
        assert_eq!(fnv32("foobar"), 0xbf9c_f968);
        assert_eq!(fnv64("foobar"), 0x8594_4171_f739_67e8);
    }
}
