//! The time of day, read once at boot from the machine's battery-backed clock (Motorola MC146818A, "Register description").

use userlib::abi::root;
use userlib::cap::{Cap, PortWidth, Ports};
use userlib::time::Instant;

const INDEX: u16 = 0x70;
const DATA: u16 = 0x71;
/// Registers of the clock.
const SECONDS: u8 = 0x00;
const MINUTES: u8 = 0x02;
const HOURS: u8 = 0x04;
const DAY: u8 = 0x07;
const MONTH: u8 = 0x08;
const YEAR: u8 = 0x09;
const STATUS_A: u8 = 0x0a;
const STATUS_B: u8 = 0x0b;

/// Register A: the time is being counted on and must not be read.
const UPDATING: u8 = 1 << 7;
/// Register B: hours from 0 to 23, numbers in binary.
const TWENTY_FOUR_HOURS: u8 = 1 << 1;
const BINARY: u8 = 1 << 2;
/// Hours: afternoon, where hours count to 12.
const AFTERNOON: u8 = 1 << 7;

/// How often the clock is looked at before it is given up: a machine without one must not hang here.
const PATIENCE: u32 = 100_000;

/// The time of day at boot, in seconds since 1970 in the zone in which the clock runs; 0 if there is no clock.
pub(crate) fn boot_time() -> u64 {
    let Some(now) = read_clock() else { return 0 };
    now.saturating_sub(Instant::now().nanoseconds() / 1_000_000_000)
}

fn register(number: u8) -> Option<u8> {
    let ports = Cap::<Ports>::from_handle(root::PORTS);
    ports.write(INDEX, PortWidth::Byte, number.into()).ok()?;
    ports.read(DATA, PortWidth::Byte).ok().map(|value| value as u8)
}

/// Reads until two readings agree, so that none fell into a change.
fn read_clock() -> Option<u64> {
    let mut last = None;
    for _ in 0..PATIENCE {
        if register(STATUS_A)? & UPDATING != 0 {
            continue;
        }
        let reading = [SECONDS, MINUTES, HOURS, DAY, MONTH, YEAR].map(|number| register(number).unwrap_or(u8::MAX));
        if last == Some(reading) {
            return seconds_since_1970(reading, register(STATUS_B)?);
        }
        last = Some(reading);
    }
    None
}

fn seconds_since_1970([second, minute, hour, day, month, year]: [u8; 6], format: u8) -> Option<u64> {
    let number = |value: u8| u64::from(if format & BINARY != 0 { value } else { (value >> 4) * 10 + (value & 15) });
    let mut hours = number(hour & !AFTERNOON);
    if format & TWENTY_FOUR_HOURS == 0 {
        hours = hours % 12 + if hour & AFTERNOON != 0 { 12 } else { 0 };
    }
    // The clock knows two digits of the year; it was not built before 2000.
    let (year, month, day) = (2000 + number(year), number(month), number(day));
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hours > 23 {
        return None;
    }
    // Days in the Gregorian calendar, counted in eras of 400 years that begin on the first of March.
    let shifted = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let year_of_era = shifted % 400;
    let days =
        shifted / 400 * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
    Some(days * 86_400 + hours * 3_600 + number(minute) * 60 + number(second))
}
