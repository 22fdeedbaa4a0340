//! The real-time clock: a Motorola MC146818 at ports 0x70 and 0x71, with the century at 0x32 as PCs have it.
//!
//! It tells and takes the time of day. Its alarm and its interrupts are not modelled: the registers keep what is written,
//! and no flag is ever raised.

/// Seconds since 1970-01-01 00:00:00 UTC.
pub type UnixTime = u64;

const DAY: u64 = 86_400;
/// Registers (MC146818 data sheet, figure 9).
const SECONDS: u8 = 0x00;
const MINUTES: u8 = 0x02;
const HOURS: u8 = 0x04;
const WEEKDAY: u8 = 0x06;
const DAY_OF_MONTH: u8 = 0x07;
const MONTH: u8 = 0x08;
const YEAR: u8 = 0x09;
const STATUS_A: u8 = 0x0a;
const STATUS_B: u8 = 0x0b;
const STATUS_C: u8 = 0x0c;
const STATUS_D: u8 = 0x0d;
const CENTURY: u8 = 0x32;
/// Status B: 24 hours, binary instead of decimal digits.
const HOURS_24: u8 = 1 << 1;
const BINARY: u8 = 1 << 2;
/// Status D: the battery is good.
const VALID: u8 = 1 << 7;
/// Hours with 12 a day: it is afternoon.
const AFTERNOON: u8 = 1 << 7;

/// A date and time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Date {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
}

impl Date {
    /// After "chrono-Compatible Low-Level Date Algorithms" (Howard Hinnant): years begin in March, so that the day that
    /// not every year has is the last one.
    fn at(time: UnixTime) -> Self {
        let days = time / DAY + 719_468;
        let era = days / 146_097;
        let of_era = days % 146_097;
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * of_year + 2) / 153;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let second = time % DAY;
        Self {
            year: era * 400 + year_of_era + u64::from(month <= 2),
            month,
            day: of_year - (153 * shifted + 2) / 5 + 1,
            hour: second / 3600,
            minute: second / 60 % 60,
            second: second % 60,
        }
    }

    /// The time, if there is such a date from 1970 on.
    fn time(self) -> Option<UnixTime> {
        let Self { year, month, day, hour, minute, second } = self;
        if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        let shifted_year = year - u64::from(month <= 2);
        let (era, year_of_era) = (shifted_year / 400, shifted_year % 400);
        let shifted = (month + 9) % 12;
        let of_year = (153 * shifted + 2) / 5 + day - 1;
        let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
        let days = (era * 146_097 + of_era).checked_sub(719_468)?;
        let time = days * DAY + hour * 3600 + minute * 60 + second;
        // The 31st of a month that has 30 days is another day.
        (Date::at(time) == self).then_some(time)
    }
}

/// The real-time clock and its 128 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealTimeClock {
    /// The time of day when the clock of the machine said `since`, in nanoseconds.
    base: UnixTime,
    since: u64,
    index: u8,
    bytes: [u8; 128],
}

impl RealTimeClock {
    /// A clock that says `time` at `now` (nanoseconds) and goes on from there. Later than the year 9999 it is not.
    #[must_use]
    pub fn new(time: UnixTime, now: u64) -> Self {
        const LAST: UnixTime = 253_402_300_799;
        let mut bytes = [0; 128];
        bytes[usize::from(STATUS_A)] = 0x26;
        bytes[usize::from(STATUS_B)] = HOURS_24;
        Self { base: time.min(LAST), since: now, index: 0, bytes }
    }

    /// What the guest reads from a port, if it is one of these.
    #[must_use]
    pub fn read(&self, port: u16, now: u64) -> Option<u8> {
        match port {
            // The index cannot be read.
            0x70 => Some(0xff),
            0x71 => Some(self.register(now)),
            _ => None,
        }
    }

    /// The guest writes to a port. Returns whether it is one of these.
    ///
    /// A field of the time takes effect at once; a field with which there is no such date is ignored.
    pub fn write(&mut self, port: u16, value: u8, now: u64) -> bool {
        match port {
            // The highest bit masks non-maskable interrupts, of which the clock sends none.
            0x70 => self.index = value & 0x7f,
            0x71 => self.set_register(value, now),
            _ => return false,
        }
        true
    }

    fn time(&self, now: u64) -> UnixTime {
        self.base + now.saturating_sub(self.since) / 1_000_000_000
    }

    fn register(&self, now: u64) -> u8 {
        let time = self.time(now);
        let date = Date::at(time);
        match self.index {
            SECONDS => self.digits(date.second),
            MINUTES => self.digits(date.minute),
            HOURS if self.status_b() & HOURS_24 != 0 => self.digits(date.hour),
            HOURS => {
                let afternoon = if date.hour >= 12 { AFTERNOON } else { 0 };
                self.digits((date.hour + 11) % 12 + 1) | afternoon
            }
            // 1970 began on a Thursday; Sunday is 1.
            WEEKDAY => self.digits((time / DAY + 4) % 7 + 1),
            DAY_OF_MONTH => self.digits(date.day),
            MONTH => self.digits(date.month),
            YEAR => self.digits(date.year % 100),
            CENTURY => self.digits(date.year / 100 % 100),
            STATUS_C => 0,
            STATUS_D => VALID,
            index => self.bytes[usize::from(index & 0x7f)],
        }
    }

    fn set_register(&mut self, value: u8, now: u64) {
        let mut date = Date::at(self.time(now));
        let number = self.number(value);
        match self.index {
            SECONDS => date.second = number,
            MINUTES => date.minute = number,
            HOURS if self.status_b() & HOURS_24 != 0 => date.hour = number,
            HOURS => date.hour = self.number(value & !AFTERNOON) % 12 + if value & AFTERNOON == 0 { 0 } else { 12 },
            DAY_OF_MONTH => date.day = number,
            MONTH => date.month = number,
            YEAR => date.year = date.year / 100 * 100 + number,
            CENTURY => date.year = number * 100 + date.year % 100,
            WEEKDAY | STATUS_C | STATUS_D => return,
            // No update is ever in progress.
            STATUS_A => self.bytes[usize::from(STATUS_A)] = value & 0x7f,
            index => {
                self.bytes[usize::from(index & 0x7f)] = value;
                return;
            }
        }
        let in_range = date.hour < 24 && date.minute < 60 && date.second < 60;
        if let Some(time) = date.time().filter(|_| in_range) {
            (self.base, self.since) = (time, now);
        }
    }

    fn status_b(&self) -> u8 {
        self.bytes[usize::from(STATUS_B)]
    }

    fn digits(&self, number: u64) -> u8 {
        let number = number as u8;
        if self.status_b() & BINARY != 0 { number } else { ((number / 10) << 4) | (number % 10) }
    }

    fn number(&self, value: u8) -> u64 {
        u64::from(if self.status_b() & BINARY != 0 { value } else { (value >> 4) * 10 + (value & 0x0f) })
    }
}
