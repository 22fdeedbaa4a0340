//! Finding the word that was meant.

/// The word among `known` that is nearest to `written`, if one is near enough to be meant.
pub(super) fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lowercase = written.to_lowercase().replace('_', "-");
    let tolerance = (lowercase.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|word| (strsim::osa_distance(&lowercase, word), word))
        .filter(|(distance, word)| *distance <= tolerance || is_shortened(&lowercase, word))
        .min()
        .map(|(_, word)| word)
}

/// Whether one is the other's beginning, and long enough to say something.
fn is_shortened(written: &str, word: &str) -> bool {
    let shorter = written.len().min(word.len());
    shorter >= 3 && (word.starts_with(written) || written.starts_with(word))
}

/// A hint that names the nearest word, or else lists all of them.
pub(super) fn hint<'a>(written: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> Option<String> {
    if let Some(word) = nearest(written, known.clone()) {
        return Some(format!("did you mean `{word}`?"));
    }
    let all: Vec<_> = known.into_iter().map(|word| format!("`{word}`")).collect();
    (!all.is_empty()).then(|| format!("there are {}", all.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_its_word() {
        let words = ["console", "filesystem", "block", "pci"];
        for (written, meant) in [
            ("consoel", "console"),
            ("Console", "console"),
            ("files", "filesystem"),
            ("file_system", "filesystem"),
            ("blokc", "block"),
            ("pic", "pci"),
        ] {
            assert_eq!(nearest(written, words), Some(meant), "for {written}");
        }
    }

    #[test]
    fn a_word_of_another_kind_finds_none_and_is_told_them_all() {
        assert_eq!(nearest("network", ["console", "pci"]), None);
        assert_eq!(hint("network", ["console", "pci"]).as_deref(), Some("there are `console`, `pci`"));
        assert_eq!(hint("network", []), None);
    }
}
