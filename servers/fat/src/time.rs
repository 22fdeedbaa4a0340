//! Time stamps as FAT stores them: local time without a zone, from 1980 to 2107.

/// A point in time, in the zone of whoever supplied it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// 1980 to 2107; other years are stored as the nearest of these.
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59; modification times are stored in steps of two seconds.
    pub second: u8,
}

/// Where the file server takes the time from; it has no clock of its own.
pub trait Clock {
    /// The time now.
    fn now(&self) -> Timestamp;
}

impl<F: Fn() -> Timestamp> Clock for F {
    fn now(&self) -> Timestamp {
        self()
    }
}

impl Timestamp {
    /// The earliest time that FAT can store, for systems that do not know the time.
    pub const EPOCH: Self = Self { year: 1980, month: 1, day: 1, hour: 0, minute: 0, second: 0 };

    /// The time `seconds` after 1970-01-01 00:00:00.
    #[must_use]
    pub fn from_unix(seconds: u64) -> Self {
        let (days, rest) = (seconds / 86_400, seconds % 86_400);
        // Days to civil date in the proleptic Gregorian calendar, counted in eras of 400 years from 0000-03-01.
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = era.saturating_mul(400) + year_of_era + u64::from(month <= 2);
        Self {
            year: u16::try_from(year).unwrap_or(u16::MAX),
            month: month as u8,
            day: day as u8,
            hour: (rest / 3_600) as u8,
            minute: (rest / 60 % 60) as u8,
            second: (rest % 60) as u8,
        }
    }

    /// Seconds since 1970-01-01 00:00:00; the inverse of [`from_unix`](Self::from_unix) for every time that FAT can store.
    #[must_use]
    pub fn to_unix(self) -> u64 {
        let (year, month) = (u64::from(self.year.max(1970)), u64::from(self.month.clamp(1, 12)));
        // The same eras of 400 years that begin on the first of March.
        let shifted_year = if month <= 2 { year - 1 } else { year };
        let month_from_march = (month + 9) % 12;
        let day_of_year = (153 * month_from_march + 2) / 5 + u64::from(self.day.max(1)) - 1;
        let (era, year_of_era) = (shifted_year / 400, shifted_year % 400);
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = era * 146_097 + day_of_era - 719_468;
        days * 86_400 + u64::from(self.hour) * 3_600 + u64::from(self.minute) * 60 + u64::from(self.second)
    }

    /// The date field of a directory record.
    pub(crate) fn date(self) -> u16 {
        let year = self.year.clamp(1980, 2107) - 1980;
        year << 9 | u16::from(self.month.clamp(1, 12)) << 5 | u16::from(self.day.clamp(1, 31))
    }

    /// The time field of a directory record: steps of two seconds.
    pub(crate) fn time(self) -> u16 {
        u16::from(self.hour.min(23)) << 11 | u16::from(self.minute.min(59)) << 5 | u16::from(self.second.min(59) / 2)
    }

    /// The extra field of a creation time: hundredths of a second beyond the two-second step.
    pub(crate) fn hundredths(self) -> u8 {
        self.second % 2 * 100
    }

    /// From the fields of a directory record; values that no calendar has are moved to the nearest that it has.
    pub(crate) fn from_fields(date: u16, time: u16, hundredths: u8) -> Self {
        Self {
            year: 1980 + (date >> 9),
            month: ((date >> 5 & 15) as u8).clamp(1, 12),
            day: ((date & 31) as u8).clamp(1, 31),
            hour: ((time >> 11) as u8).min(23),
            minute: ((time >> 5 & 63) as u8).min(59),
            second: ((time & 31) as u8 * 2 + hundredths / 100).min(59),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unix_seconds_become_the_civil_date() {
        let leap = Timestamp::from_unix(1_709_210_096);
        assert_eq!(leap, Timestamp { year: 2024, month: 2, day: 29, hour: 12, minute: 34, second: 56 });
        assert_eq!(Timestamp::from_unix(315_532_800), Timestamp::EPOCH);
        assert_eq!(Timestamp::from_unix(u64::MAX).year, u16::MAX);
    }

    #[test]
    fn unix_seconds_come_back_from_the_civil_date() {
        for seconds in [315_532_800, 951_782_399, 951_782_400, 1_709_210_096, 4_354_819_199] {
            assert_eq!(Timestamp::from_unix(seconds).to_unix(), seconds);
        }
    }

    #[test]
    fn fields_keep_a_time_to_the_second() {
        let time = Timestamp { year: 2043, month: 12, day: 31, hour: 23, minute: 59, second: 59 };
        assert_eq!(Timestamp::from_fields(time.date(), time.time(), time.hundredths()), time);
    }

    #[test]
    fn fields_of_all_ones_still_are_a_time() {
        let time = Timestamp::from_fields(0xffff, 0xffff, 0xff);
        assert_eq!((time.year, time.month, time.hour, time.minute, time.second), (2107, 12, 23, 59, 59));
    }
}
