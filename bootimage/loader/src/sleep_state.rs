//! Finding the values that turn a machine off, in the byte code of its ACPI tables.
//!
//! The object `\_S5_` is a package of constants (ACPI 6.4, 7.4.2), so that its place in the byte code can be found
//! without an interpreter (ACPI 6.4, 20.2).

/// The values of state S5 for the two halves of the power-management control register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SleepTypes {
    /// `SLP_TYPa`, 0 to 7.
    pub a: u8,
    /// `SLP_TYPb`, 0 to 7.
    pub b: u8,
}

const NAME_OP: u8 = 0x08;
const PACKAGE_OP: u8 = 0x12;
const ROOT_CHAR: u8 = b'\\';

/// The first well-formed definition of `_S5_` in `code`, the byte code of a DSDT or SSDT.
pub fn find_s5(code: &[u8]) -> Option<SleepTypes> {
    let name = b"_S5_";
    let places = code.windows(name.len()).enumerate().filter(|(_, window)| *window == name).map(|(at, _)| at);
    for at in places {
        let before = &code[..at];
        let before = before.strip_suffix(&[ROOT_CHAR]).unwrap_or(before);
        if before.last() != Some(&NAME_OP) {
            continue;
        }
        if let Some(types) = package(&code[at + name.len()..]) {
            return Some(types);
        }
    }
    None
}

/// The first two elements of the package that `code` starts with.
fn package(code: &[u8]) -> Option<SleepTypes> {
    let (&operation, code) = code.split_first()?;
    if operation != PACKAGE_OP {
        return None;
    }
    // The length counts from its own first byte; two bits there say how many bytes more it has.
    let lead = *code.first()?;
    let more = usize::from(lead >> 6);
    let mut len = usize::from(if more == 0 { lead & 0x3f } else { lead & 0x0f });
    for (index, &byte) in code.get(1..1 + more)?.iter().enumerate() {
        len |= usize::from(byte) << (4 + 8 * index);
    }
    let body = code.get(1 + more..len)?;
    let (&count, mut elements) = body.split_first()?;
    if count == 0 {
        return None;
    }
    let a = constant(&mut elements)?;
    // Machines with one register only may leave the second value out.
    let b = if count > 1 { constant(&mut elements)? } else { 0 };
    (a <= 7 && b <= 7).then_some(SleepTypes { a: a as u8, b: b as u8 })
}

/// Takes an integer constant off the start of `code`.
fn constant(code: &mut &[u8]) -> Option<u64> {
    let (&prefix, rest) = code.split_first()?;
    let len = match prefix {
        0x00 | 0x01 => {
            *code = rest;
            return Some(u64::from(prefix));
        }
        0x0a => 1,
        0x0b => 2,
        0x0c => 4,
        0x0e => 8,
        _ => return None,
    };
    let (bytes, rest) = rest.split_at_checked(len)?;
    *code = rest;
    Some(bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Name (\_S5, Package (4) { 0, 0, 0, 0 })`, as QEMU's machine q35 has it.
    const Q35: &[u8] = b"\x10\x12\\_SB_\x08_S5_\x12\x06\x04\x00\x00\x00\x00\x5b\x82";

    #[test]
    fn constants_of_every_width_are_understood() {
        assert_eq!(find_s5(Q35), Some(SleepTypes { a: 0, b: 0 }));
        let bytes = b"\x08\\_S5_\x12\x09\x04\x0a\x05\x0b\x07\x00\x00\x00";
        assert_eq!(find_s5(bytes), Some(SleepTypes { a: 5, b: 7 }));
        let wide = b"\x08_S5_\x12\x0f\x02\x0c\x03\x00\x00\x00\x0e\x04\0\0\0\0\0\0\0";
        assert_eq!(find_s5(wide), None, "the package ends within its second element");
        let wide = b"\x08_S5_\x12\x10\x02\x0c\x03\x00\x00\x00\x0e\x04\0\0\0\0\0\0\0";
        assert_eq!(find_s5(wide), Some(SleepTypes { a: 3, b: 4 }));
    }

    #[test]
    fn a_length_of_several_bytes_is_understood() {
        let code = b"\x08_S5_\x12\x47\x00\x04\x01\x01\x00\x00\x00";
        assert_eq!(find_s5(code), Some(SleepTypes { a: 1, b: 1 }));
    }

    #[test]
    fn mere_mentions_of_the_name_are_passed_over() {
        let mut code = b"\x70_S5_\x12\x06\x04\x01\x01\x00\x00 ".to_vec();
        assert_eq!(find_s5(&code), None);
        code.extend_from_slice(Q35);
        assert_eq!(find_s5(&code), Some(SleepTypes { a: 0, b: 0 }));
    }

    #[test]
    fn values_that_the_register_cannot_hold_are_refused() {
        assert_eq!(find_s5(b"\x08_S5_\x12\x06\x02\x0a\x08\x00\x00"), None);
        assert_eq!(find_s5(b"\x08_S5_\x12\x02\x00"), None);
    }

    #[test]
    fn byte_code_cut_off_anywhere_is_no_answer_and_no_panic() {
        for end in 0..Q35.len() - 2 {
            assert_eq!(find_s5(&Q35[..end]), None, "cut at {end}");
        }
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_byte_code_never_panics(
            tail in proptest::collection::vec(proptest::num::u8::ANY, 0..40)
        ) {
            let mut code = b"\x08_S5_\x12".to_vec();
            code.extend_from_slice(&tail);
            let _ = find_s5(&code);
        }
    }
}
