//! Amounts as people write them: sizes such as `"6M"` and durations such as `"20ms"`.

use manifest::PAGE_BYTES;

/// Why a text is no amount; the text names the remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Malformed {
    /// There are no digits at the beginning.
    NoNumber,
    /// The unit is none of those known.
    Unit,
    /// The amount does not fit 64 bits.
    TooLarge,
    /// The size is no whole number of pages.
    PartialPage,
}

/// Bytes of a size that must be a whole number of pages.
pub(super) fn parse_size(text: &str) -> Result<u64, Malformed> {
    let (number, unit) = split(text)?;
    let shift = match unit {
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        _ => return Err(Malformed::Unit),
    };
    let bytes = number.checked_mul(1 << shift).ok_or(Malformed::TooLarge)?;
    if bytes.is_multiple_of(PAGE_BYTES) { Ok(bytes) } else { Err(Malformed::PartialPage) }
}

/// Microseconds of a duration.
pub(super) fn parse_duration(text: &str) -> Result<u64, Malformed> {
    let (number, unit) = split(text)?;
    let microseconds = match unit {
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        "min" => 60_000_000,
        _ => return Err(Malformed::Unit),
    };
    number.checked_mul(microseconds).ok_or(Malformed::TooLarge)
}

/// A size in the largest unit that says it exactly.
pub(super) fn show_size(bytes: u64) -> String {
    for (shift, unit) in [(30, "G"), (20, "M"), (10, "K")] {
        if bytes > 0 && bytes.is_multiple_of(1 << shift) {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    format!("{bytes} bytes")
}

/// A duration in the largest unit that says it exactly.
pub(super) fn show_duration(microseconds: u64) -> String {
    for (length, unit) in [(60_000_000, "min"), (1_000_000, "s"), (1_000, "ms")] {
        if microseconds > 0 && microseconds.is_multiple_of(length) {
            return format!("{}{unit}", microseconds / length);
        }
    }
    format!("{microseconds}us")
}

fn split(text: &str) -> Result<(u64, &str), Malformed> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(Malformed::NoNumber);
    }
    let number = number.parse().map_err(|_| Malformed::TooLarge)?;
    Ok((number, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_whole_pages_in_binary_units() {
        assert_eq!(parse_size("4K"), Ok(4096));
        assert_eq!(parse_size("6M"), Ok(6 << 20));
        assert_eq!(parse_size("2 GiB"), Ok(2 << 30));
        assert_eq!(parse_size("0K"), Ok(0));
        assert_eq!(parse_size("5K"), Err(Malformed::PartialPage));
        assert_eq!(parse_size("4096"), Err(Malformed::Unit));
        assert_eq!(parse_size("4k"), Err(Malformed::Unit));
        assert_eq!(parse_size("M"), Err(Malformed::NoNumber));
        assert_eq!(parse_size("-1M"), Err(Malformed::NoNumber));
        assert_eq!(parse_size("99999999999999999999M"), Err(Malformed::TooLarge));
        assert_eq!(parse_size("17179869184G"), Err(Malformed::TooLarge));
    }

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(parse_duration("500us"), Ok(500));
        assert_eq!(parse_duration("20ms"), Ok(20_000));
        assert_eq!(parse_duration("2s"), Ok(2_000_000));
        assert_eq!(parse_duration("1min"), Ok(60_000_000));
        assert_eq!(parse_duration("1m"), Err(Malformed::Unit));
        assert_eq!(parse_duration("1"), Err(Malformed::Unit));
        assert_eq!(parse_duration(""), Err(Malformed::NoNumber));
    }

    #[test]
    fn amounts_are_shown_as_they_are_written() {
        for size in ["4K", "6M", "3G", "1028K"] {
            assert_eq!(parse_size(size).map(show_size).as_deref(), Ok(size));
        }
        for duration in ["1us", "20ms", "2s", "1min", "90s"] {
            assert_eq!(parse_duration(duration).map(show_duration).as_deref(), Ok(duration));
        }
    }
}
