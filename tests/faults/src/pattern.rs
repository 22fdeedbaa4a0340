//! Bytes by which a workload knows what it reads.

/// What makes the words of a file differ.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
/// Bytes of a word.
pub const WORD: usize = 8;

/// The word with this number, of a file or of the version of one that `key` names. Those of key 0 are in the file that
/// campaigns read.
pub const fn word(key: u64, number: u64) -> u64 {
    (number + 1).wrapping_mul(STEP) ^ key.wrapping_mul(STEP).rotate_left(17)
}

/// Fills `bytes` with the words from `offset` on, a multiple of [`WORD`].
pub fn fill(key: u64, offset: u64, bytes: &mut [u8]) {
    for (number, place) in bytes.chunks_exact_mut(WORD).enumerate() {
        place.copy_from_slice(&word(key, offset / WORD as u64 + number as u64).to_le_bytes());
    }
}

/// Whether `bytes` are the words from `offset` on.
pub fn is_right(key: u64, offset: u64, bytes: &[u8]) -> bool {
    bytes
        .chunks_exact(WORD)
        .enumerate()
        .all(|(number, place)| place == word(key, offset / WORD as u64 + number as u64).to_le_bytes())
}

/// A line that says what it should say, for whoever sees what has come of it.
pub fn line(number: u64) -> alloc::string::String {
    alloc::format!("~{number:08x} {:016x}~", word(1, number))
}

/// Whether a text is such a line, whole and unchanged.
pub fn is_line(text: &str) -> bool {
    let number = text.get(1..9).and_then(|digits| u64::from_str_radix(digits, 16).ok());
    number.is_some_and(|number| line(number) == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_bit_and_a_misplaced_word_show() {
        let mut bytes = [0; 64];
        fill(3, 4096, &mut bytes);
        assert!(is_right(3, 4096, &bytes));
        assert!(!is_right(3, 4104, &bytes) && !is_right(4, 4096, &bytes) && !is_right(0, 4096, &bytes));
        bytes[63] ^= 1;
        assert!(!is_right(3, 4096, &bytes));
    }

    #[test]
    fn a_line_is_known_by_its_number() {
        assert!(is_line(&line(0)) && is_line(&line(0xfff_ffff)));
        let changed = line(5).replacen('5', "6", 1);
        assert!(!is_line(&changed) && !is_line("") && !is_line("~00000005"));
    }
}
