//! Sizes, durations and numbers as people write and read them.

use alloc::format;
use alloc::string::String;
use core::time::Duration;

/// Bytes written as a number with an optional unit K, M or G (of 1024 each).
pub fn parse_size(text: &str) -> Option<u64> {
    let (digits, unit) = match text.strip_suffix(['K', 'k', 'M', 'm', 'G', 'g']) {
        Some(digits) => (digits, text[digits.len()..].to_ascii_uppercase()),
        None => (text, String::new()),
    };
    let factor: u64 = match unit.as_str() {
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => 1,
    };
    parse_number(digits)?.checked_mul(factor)
}

/// A number, decimal or with `0x` in front.
pub fn parse_number(text: &str) -> Option<u64> {
    let plain = |text: &str, radix| {
        // `from_str_radix` accepts a sign.
        text.bytes().all(|byte| byte.is_ascii_alphanumeric()).then(|| u64::from_str_radix(text, radix).ok()).flatten()
    };
    match text.strip_prefix("0x") {
        Some(digits) => plain(digits, 16),
        None => plain(text, 10),
    }
}

/// A duration: a number, with at most nine decimals, of `us`, `ms`, `s`, `min` or `h`; seconds if there is no unit.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let end = text.find(|character: char| character.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let nanoseconds: u64 = match unit {
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" | "" => 1_000_000_000,
        "min" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    if decimals.len() > 9 || decimals.is_empty() {
        return None;
    }
    let digits =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    let whole = digits(whole)?.checked_mul(nanoseconds)?;
    let part = u128::from(digits(decimals)?) * u128::from(nanoseconds) / 10_u128.pow(decimals.len() as u32);
    Some(Duration::from_nanos(whole.checked_add(u64::try_from(part).ok()?)?))
}

/// Bytes with the largest unit of which there is at least one, to a tenth.
pub fn show_size(bytes: u64) -> String {
    for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if bytes >> shift > 0 {
            let tenths = (u128::from(bytes) * 10) >> shift;
            return match tenths % 10 {
                0 => format!("{} {unit}", tenths / 10),
                tenth => format!("{}.{tenth} {unit}", tenths / 10),
            };
        }
    }
    if bytes == 1 { "1 byte".into() } else { format!("{bytes} bytes") }
}

/// A duration in the unit that suits it, to three or four digits.
pub fn show_duration(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    match nanoseconds {
        0..10_000 => format!("{nanoseconds} ns"),
        10_000..10_000_000 => format!("{} us", nanoseconds / 1_000),
        10_000_000..1_000_000_000 => format!("{} ms", nanoseconds / 1_000_000),
        1_000_000_000..60_000_000_000 => {
            format!("{}.{:03} s", nanoseconds / 1_000_000_000, nanoseconds / 1_000_000 % 1_000)
        }
        _ => {
            let seconds = nanoseconds / 1_000_000_000;
            let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
            let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
            match (days, hours) {
                (0, 0) => format!("{minutes} min {seconds} s"),
                (0, _) => format!("{hours} h {minutes} min {seconds} s"),
                _ => format!("{days} d {hours} h {minutes} min"),
            }
        }
    }
}

/// So many nanoseconds of so many: `2/10ms`, or `500us/1s` if one unit does not say both.
pub fn show_share(part: u64, whole: u64) -> String {
    let unit_of = |nanoseconds: u64| {
        [(60_000_000_000, "min"), (1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")]
            .into_iter()
            .find(|(length, _)| nanoseconds > 0 && nanoseconds.is_multiple_of(*length))
            .unwrap_or((1, "ns"))
    };
    let ((length, unit), (whole_length, whole_unit)) = (unit_of(part), unit_of(whole));
    let whole = whole / whole_length;
    if unit == whole_unit {
        return format!("{}/{whole}{unit}", part / length);
    }
    format!("{}{unit}/{whole}{whole_unit}", part / length)
}

/// A moment in seconds since the start of 1970, as date and time of the same zone; a dash for 0, which is none.
pub fn show_moment(seconds: u64) -> String {
    if seconds == 0 {
        return "-".into();
    }
    let (year, month, day) = civil_date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

/// Year, month and day of the day with this number since 1970-01-01, in the Gregorian calendar.
fn civil_date(days: u64) -> (u64, u64, u64) {
    // Years are counted from March, so that the leap day is a year's last; 719468 days lie between the first of March
    // of the year 0 and 1970.
    let days = days.saturating_add(719_468);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_of_1024() {
        assert_eq!(parse_size("0"), Some(0));
        assert_eq!(parse_size("4096"), Some(4096));
        assert_eq!(parse_size("64K"), Some(65_536));
        assert_eq!(parse_size("16m"), Some(16 << 20));
        assert_eq!(parse_size("2G"), Some(2 << 30));
        assert_eq!(parse_size("0x10K"), Some(16_384));
        for wrong in ["", "K", "-1", "+1", "1T", "1.5K", "99999999999999999999", "99999999999G"] {
            assert_eq!(parse_size(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn durations_have_units_and_decimals() {
        assert_eq!(parse_duration("2"), Some(Duration::from_secs(2)));
        assert_eq!(parse_duration("1.5s"), Some(Duration::from_millis(1500)));
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse_duration("0.5min"), Some(Duration::from_secs(30)));
        assert_eq!(parse_duration("20us"), Some(Duration::from_micros(20)));
        for wrong in ["", "s", "1.", ".5", "1 s", "-1s", "+1s", "1x", "1.+5", "1.0000000001s", "999999999999h"] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes_are_shown_in_the_largest_unit() {
        assert_eq!(show_size(1), "1 byte");
        assert_eq!(show_size(1023), "1023 bytes");
        assert_eq!(show_size(1024), "1 KiB");
        assert_eq!(show_size(1536), "1.5 KiB");
        assert_eq!(show_size(16 << 20), "16 MiB");
        assert_eq!(show_size(u64::MAX), "17179869183.9 GiB");
    }

    #[test]
    fn durations_are_shown_in_the_unit_that_suits() {
        assert_eq!(show_duration(Duration::from_nanos(999)), "999 ns");
        assert_eq!(show_duration(Duration::from_micros(25)), "25 us");
        assert_eq!(show_duration(Duration::from_millis(320)), "320 ms");
        assert_eq!(show_duration(Duration::from_millis(1_234)), "1.234 s");
        assert_eq!(show_duration(Duration::from_secs(61)), "1 min 1 s");
        assert_eq!(show_duration(Duration::from_secs(3_723)), "1 h 2 min 3 s");
        assert_eq!(show_duration(Duration::from_secs(90_061)), "1 d 1 h 1 min");
    }

    #[test]
    fn shares_are_short() {
        assert_eq!(show_share(2_000_000, 10_000_000), "2/10ms");
        assert_eq!(show_share(500_000, 1_000_000_000), "500us/1s");
        assert_eq!(show_share(1_500_000, 10_000_000), "1500us/10ms");
        assert_eq!(show_share(3_600_000_000_000, 3_600_000_000_000), "60/60min");
        assert_eq!(show_share(0, 1), "0/1ns");
    }

    #[test]
    fn moments_are_dates_of_the_gregorian_calendar() {
        assert_eq!(show_moment(0), "-");
        assert_eq!(show_moment(1), "1970-01-01 00:00:01");
        assert_eq!(show_moment(951_782_400), "2000-02-29 00:00:00");
        assert_eq!(show_moment(1_709_210_096), "2024-02-29 12:34:56");
        assert_eq!(show_moment(4_107_542_399), "2100-02-28 23:59:59");
        assert_eq!(show_moment(4_107_542_400), "2100-03-01 00:00:00");
    }
}
