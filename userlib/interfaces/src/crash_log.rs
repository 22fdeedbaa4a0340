//! The file that keeps records of deaths: [`SLOTS`] places of [`SLOT`] bytes, which are written in turn, so that the file never
//! grows beyond them and a write that was cut short spoils one record at most.
//!
//! A place holds the number of its record, counted over all boots from 0 on, and the record ([`crate::crash`]), which has a
//! checksum. Record `n` lies in place `n % SLOTS`.

use alloc::vec;
use alloc::vec::Vec;

use crate::crash::{CrashRecord, RECORD_MAX};

/// Path of the file on its volume.
pub const PATH: &str = "/crashes.log";
/// Bytes of a place.
pub const SLOT: usize = 2048;
/// How many there are.
pub const SLOTS: u64 = 64;

const NUMBER: usize = 8;
const _: () = assert!(NUMBER + RECORD_MAX <= SLOT);

/// Where the place of a record begins.
pub const fn offset(number: u64) -> u64 {
    number % SLOTS * SLOT as u64
}

/// The bytes of a place.
pub fn slot(number: u64, record: &CrashRecord) -> Vec<u8> {
    let mut bytes = vec![0; SLOT];
    let record = record.encode();
    bytes[..NUMBER].copy_from_slice(&number.to_le_bytes());
    bytes[NUMBER..NUMBER + record.len()].copy_from_slice(&record);
    bytes
}

/// The number of the next record in a file with these; `None` if there is none, which only somebody else can have written.
pub fn next_number(records: &[(u64, CrashRecord)]) -> Option<u64> {
    records.iter().map(|(number, _)| *number).max().map_or(Some(0), |last| last.checked_add(1))
}

/// The records of a file, whoever has written it, the oldest first, each with its number.
pub fn records(file: &[u8]) -> Vec<(u64, CrashRecord)> {
    let slots = file.chunks(SLOT).zip(0..SLOTS);
    let mut found: Vec<_> = slots
        .filter_map(|(bytes, place)| {
            let (number, record) = bytes.split_first_chunk::<NUMBER>()?;
            let number = u64::from_le_bytes(*number);
            (number % SLOTS == place).then_some((number, CrashRecord::decode(record)?))
        })
        .collect();
    found.sort_by_key(|(number, _)| *number);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(numbers: core::ops::Range<u64>) -> Vec<u8> {
        let mut file = vec![0; SLOT * SLOTS as usize];
        for number in numbers {
            let record = CrashRecord { number: number + 1, ..CrashRecord::default() };
            let at = offset(number) as usize;
            file[at..at + SLOT].copy_from_slice(&slot(number, &record));
        }
        file
    }

    #[test]
    fn the_last_records_are_left_in_their_order() {
        let numbers = |file: &[u8]| records(file).iter().map(|(number, _)| *number).collect::<Vec<_>>();
        assert_eq!(numbers(&file(0..3)), [0, 1, 2]);
        assert_eq!(numbers(&file(0..SLOTS + 5)), (5..SLOTS + 5).collect::<Vec<_>>());
        assert_eq!(numbers(&[]), []);
    }

    #[test]
    fn a_place_that_was_half_written_spoils_no_other() {
        let mut file = file(0..3);
        file[SLOT + 20..SLOT + 40].fill(0xff);
        assert_eq!(records(&file).len(), 2);
        // One that lies where it does not belong is none.
        let moved = slot(7, &CrashRecord::default());
        assert_eq!(records(&moved), []);
    }

    #[test]
    fn a_record_with_the_last_of_all_numbers_has_no_next_one() {
        let mut written = file(0..3);
        assert_eq!(next_number(&records(&[])), Some(0));
        assert_eq!(next_number(&records(&written)), Some(3));
        let last = slot(u64::MAX, &CrashRecord::default());
        written[offset(u64::MAX) as usize..].copy_from_slice(&last);
        assert_eq!(records(&written).len(), 4, "it lies where it belongs");
        assert_eq!(next_number(&records(&written)), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_as_some_records(bytes in proptest::collection::vec(any::<u8>(), 0..5000)) {
            prop_assert!(records(&bytes).len() <= 3);
        }
    }
}
