//! File names: which FAT can store, how they compare, and the short names beside the long ones.

use crate::error::{Error, NameFault};
use alloc::string::String;
use alloc::vec::Vec;

/// Longest long name in UTF-16 units.
pub(crate) const MAX_UNITS: usize = 255;
/// UTF-16 units in one long-name record.
pub(crate) const UNITS_PER_RECORD: usize = 13;

/// A short name as stored: eight characters and three, upper case, padded with spaces.
pub(crate) type ShortName = [u8; 11];

/// Bit of a record's case byte: the short name's first part is shown in lower case.
pub(crate) const LOWER_BASE: u8 = 0x08;
/// Bit of a record's case byte: the short name's extension is shown in lower case.
pub(crate) const LOWER_EXTENSION: u8 = 0x10;

/// The upper half of code page 437, which short names are read in.
const CODE_PAGE_437: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

/// Upper case of one UTF-16 unit, where it is one unit too.
fn fold(unit: u16) -> u16 {
    if unit < 128 {
        return u16::from((unit as u8).to_ascii_uppercase());
    }
    let Some(character) = char::from_u32(u32::from(unit)) else {
        return unit;
    };
    let mut upper = character.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(single), None) => u16::try_from(u32::from(single)).unwrap_or(unit),
        _ => unit,
    }
}

/// A name to look for: compares without regard to case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FoldedName(Vec<u16>);

impl FoldedName {
    pub(crate) fn new(name: &str) -> Self {
        Self(name.encode_utf16().map(fold).collect())
    }

    pub(crate) fn matches_units(&self, units: &[u16]) -> bool {
        self.0.len() == units.len() && self.0.iter().zip(units).all(|(folded, unit)| *folded == fold(*unit))
    }

    /// Whether the name is short enough for a short name.
    pub(crate) fn could_be_short(&self) -> bool {
        self.0.len() <= 12
    }

    pub(crate) fn matches(&self, name: &str) -> bool {
        let mut units = name.encode_utf16().map(fold);
        self.0.iter().all(|folded| units.next() == Some(*folded)) && units.next().is_none()
    }
}

/// A name that FAT can store, with what its directory records need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewName {
    pub(crate) units: Vec<u16>,
    /// The short name that says it all, if there is one, with its case byte.
    pub(crate) exact: Option<(ShortName, u8)>,
    /// What numbered short names are made from: up to eight characters and three.
    basis: ShortName,
    /// Whether the basis lost something, so that it must be numbered.
    lossy: bool,
}

fn is_short_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || "!#$%&'()-@^_`{}~".contains(character)
}

impl NewName {
    /// Checks a name for a new file.
    pub(crate) fn new(name: &str) -> Result<Self, Error> {
        let invalid = |fault| Error::InvalidName { name: name.into(), fault };
        if name.is_empty() {
            return Err(invalid(NameFault::Empty));
        }
        if let Some(bad) = name.chars().find(|c| (*c as u32) < 32 || "\"*/:<>?\\|\u{7f}".contains(*c)) {
            return Err(invalid(NameFault::Character(bad)));
        }
        if name.ends_with(['.', ' ']) {
            return Err(invalid(NameFault::Ending));
        }
        let units: Vec<u16> = name.encode_utf16().collect();
        if units.len() > MAX_UNITS {
            return Err(invalid(NameFault::TooLong));
        }
        let (basis, lossy) = short_basis(name);
        Ok(Self { exact: exact_short_name(name), units, basis, lossy })
    }

    /// The short name to store, given those that the folder has already; `None` if all numbers are taken.
    pub(crate) fn short_name(&self, taken: &[ShortName]) -> Option<ShortName> {
        if let Some((exact, _)) = self.exact {
            return Some(exact);
        }
        if !self.lossy && !taken.contains(&self.basis) {
            return Some(self.basis);
        }
        let numbers: Vec<u32> = taken.iter().filter_map(tail_number).collect();
        let mut used = Vec::new();
        used.resize(numbers.len() + 2, false);
        for number in numbers {
            if let Some(slot) = used.get_mut(number as usize) {
                *slot = true;
            }
        }
        // Among n taken numbers, one of 1..=n+1 is free, whatever names they belong to.
        let number = (1..used.len()).find(|number| !used[*number])?;
        (number <= 999_999).then(|| self.numbered(number as u32))
    }

    /// Whether `short` could collide with a numbered name of ours: same extension.
    pub(crate) fn concerns(&self, short: &ShortName) -> bool {
        short[8..] == self.basis[8..]
    }

    fn numbered(&self, number: u32) -> ShortName {
        let mut tail = [0; 7];
        let mut start = tail.len();
        let mut rest = number;
        while rest > 0 {
            start -= 1;
            tail[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        start -= 1;
        tail[start] = b'~';
        let tail = &tail[start..];
        let base = self.basis[..8].iter().position(|byte| *byte == b' ').unwrap_or(8);
        let keep = base.min(8 - tail.len());
        let mut short = self.basis;
        short[keep..8].fill(b' ');
        short[keep..keep + tail.len()].copy_from_slice(tail);
        short
    }
}

/// The number in a short name's `~N` tail.
fn tail_number(short: &ShortName) -> Option<u32> {
    let base = &short[..8];
    let tilde = base.iter().rposition(|byte| *byte == b'~')?;
    let digits = base[tilde + 1..].trim_ascii_end();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0')))
}

/// The short name that shows exactly as `name`, if each of its parts is of one case.
fn exact_short_name(name: &str) -> Option<(ShortName, u8)> {
    let (base, extension) = name.split_once('.').unwrap_or((name, ""));
    if base.is_empty() || base.len() > 8 || extension.len() > 3 {
        return None;
    }
    if name.contains('.') && extension.is_empty() {
        return None;
    }
    let mut short = *b"           ";
    let mut case = 0;
    for (part, place, bit) in [(base, 0, LOWER_BASE), (extension, 8, LOWER_EXTENSION)] {
        if !part.chars().all(is_short_character) {
            return None;
        }
        let lower = part.bytes().any(|byte| byte.is_ascii_lowercase());
        if lower && part.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return None;
        }
        case |= if lower { bit } else { 0 };
        for (slot, byte) in short[place..].iter_mut().zip(part.bytes()) {
            *slot = byte.to_ascii_uppercase();
        }
    }
    Some((short, case))
}

/// The basis of numbered short names: the specification's "basis-name generation".
fn short_basis(name: &str) -> (ShortName, bool) {
    let stripped = name.trim_start_matches(['.', ' ']);
    let mut lossy = stripped.len() != name.len();
    let (base, extension) = stripped.rsplit_once('.').unwrap_or((stripped, ""));
    let mut short = *b"           ";
    for (part, place, room) in [(base, 0, 8), (extension, 8, 3)] {
        let mut used = 0;
        for character in part.chars() {
            if matches!(character, ' ' | '.') {
                lossy = true;
                continue;
            }
            if used == room {
                lossy = true;
                break;
            }
            short[place + used] = if is_short_character(character) {
                character.to_ascii_uppercase() as u8
            } else {
                lossy = true;
                b'_'
            };
            used += 1;
        }
    }
    if short[0] == b' ' {
        short[0] = b'_';
        lossy = true;
    }
    (short, lossy)
}

/// A short name as people read it.
pub(crate) fn show_short_name(short: &ShortName, case: u8) -> String {
    let mut name = String::new();
    for (part, bit) in [(&short[..8], LOWER_BASE), (&short[8..], LOWER_EXTENSION)] {
        let part = match part.iter().rposition(|byte| *byte != b' ') {
            Some(last) => &part[..=last],
            None => continue,
        };
        if bit == LOWER_EXTENSION {
            name.push('.');
        }
        for (index, byte) in part.iter().enumerate() {
            // The first byte 0xE5 would mean "deleted"; a name that starts with it stores 0x05 instead.
            let byte = if bit == LOWER_BASE && index == 0 && *byte == 0x05 { 0xe5 } else { *byte };
            let character = match byte {
                0..32 | 127 | b'/' | b'\\' => char::REPLACEMENT_CHARACTER,
                32..127 if case & bit != 0 => byte.to_ascii_lowercase() as char,
                32..127 => byte as char,
                _ => CODE_PAGE_437.chars().nth(usize::from(byte - 128)).unwrap_or(char::REPLACEMENT_CHARACTER),
            };
            name.push(character);
        }
    }
    name
}

/// The checksum of a short name that ties long-name records to it.
pub(crate) fn short_name_checksum(short: &ShortName) -> u8 {
    short.iter().fold(0u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte))
}

/// The parts of a path, `.` and `..` resolved. Paths are absolute, with or without the leading slash.
pub(crate) fn components(path: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::vec;

    fn short(name: &str, taken: &[ShortName]) -> String {
        let name = NewName::new(name).expect("a name that FAT can store");
        show_short_name(&name.short_name(taken).expect("a number is free"), 0)
    }

    #[test]
    fn names_of_one_case_a_part_need_no_long_name() {
        for (name, case) in
            [("README", 0), ("readme.TXT", LOWER_BASE), ("kernel.bin", LOWER_BASE | LOWER_EXTENSION), ("A~1.C", 0)]
        {
            let exact = NewName::new(name).expect("valid").exact.expect("exact");
            assert_eq!(exact.1, case, "{name}");
            assert_eq!(show_short_name(&exact.0, exact.1), name);
        }
        for name in ["Readme", "a.b.c", ".profile", "ninechars", "a.text", "a b", "é", "a+b"] {
            assert_eq!(NewName::new(name).expect("valid").exact, None, "{name}");
        }
    }

    #[test]
    fn long_names_get_numbered_short_ones() {
        assert_eq!(short("The quick brown.fox", &[]), "THEQUI~1.FOX");
        assert_eq!(short("Readme.txt", &[]), "README.TXT");
        assert_eq!(short("Readme.txt", &[*b"README  TXT"]), "README~1.TXT");
        assert_eq!(short(".bashrc", &[]), "BASHRC~1");
        assert_eq!(short("日本", &[]), "__~1");
        let taken: Vec<ShortName> = (1..=99)
            .map(|number| {
                let mut name = *b"LONGN      ";
                let tail = format!("~{number}");
                name[8 - tail.len()..8].copy_from_slice(tail.as_bytes());
                name
            })
            .collect();
        assert_eq!(short("long names are long", &taken), "LONG~100");
    }

    #[test]
    fn names_that_other_systems_cannot_have_are_refused() {
        let fault = |name: &str| match NewName::new(name) {
            Err(Error::InvalidName { fault, .. }) => fault,
            other => panic!("{name:?} gave {other:?}"),
        };
        assert_eq!(fault(""), NameFault::Empty);
        assert_eq!(fault("a:b"), NameFault::Character(':'));
        assert_eq!(fault("a\u{1}"), NameFault::Character('\u{1}'));
        assert_eq!(fault("end."), NameFault::Ending);
        assert_eq!(fault("end "), NameFault::Ending);
        assert_eq!(fault(&"x".repeat(256)), NameFault::TooLong);
        assert!(NewName::new(&"ä".repeat(255)).is_ok());
    }

    #[test]
    fn names_compare_without_regard_to_case() {
        let name = FoldedName::new("Größe Ωmega.TXT");
        assert!(name.matches("gRÖßE ωMEGA.txt"));
        assert!(!name.matches("gRÖßE ωMEGA.tx"));
        assert!(!name.matches("gRÖßE ωMEGA.txtt"));
        let units: Vec<u16> = "größe ωmega.txt".encode_utf16().collect();
        assert!(name.matches_units(&units));
    }

    #[test]
    fn paths_fall_into_their_parts() {
        assert_eq!(components("/a//b/./c/../d/"), vec!["a", "b", "d"]);
        assert_eq!(components("/../.."), Vec::<&str>::new());
    }

    #[test]
    fn the_code_page_has_its_128_characters() {
        assert_eq!(CODE_PAGE_437.chars().count(), 128);
        assert_eq!(show_short_name(b"\x05\x84      T\xe1 ", 0), "σä.Tß");
    }
}
