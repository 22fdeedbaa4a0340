//! Directory records: 32 bytes each, as in the specification's "FAT Directory Structure" and "Long Directory Entries".

use crate::boot::{le16, le32};
use crate::name::{FoldedName, NewName, ShortName, UNITS_PER_RECORD, short_name_checksum, show_short_name};
use crate::time::Timestamp;
use alloc::string::String;
use alloc::vec::Vec;

/// Bytes in a record.
pub(crate) const RECORD_SIZE: usize = 32;
/// First byte of a record that was deleted.
pub(crate) const DELETED: u8 = 0xe5;
/// First byte of the record after the last.
pub(crate) const END: u8 = 0;
/// Attribute byte of a long-name record.
const LONG_NAME: u8 = 0x0f;
/// Long-name records before one short record, at most.
const MAX_LONG_RECORDS: usize = 20;

pub(crate) type Record = [u8; RECORD_SIZE];

bitflags::bitflags! {
    /// A file's attributes.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Attributes: u8 {
        /// The file may not be changed or removed.
        const READ_ONLY = 0x01;
        /// Left out of ordinary listings by other systems.
        const HIDDEN = 0x02;
        /// Part of an operating system.
        const SYSTEM = 0x04;
        /// The volume's label, not a file.
        const LABEL = 0x08;
        /// A folder.
        const DIRECTORY = 0x10;
        /// Changed since a backup last cleared this.
        const ARCHIVE = 0x20;
    }
}

/// What a short record says, but for its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordData {
    pub(crate) attributes: Attributes,
    pub(crate) first_cluster: u32,
    pub(crate) size: u32,
    pub(crate) created: Timestamp,
    pub(crate) modified: Timestamp,
    /// Only the date is stored.
    pub(crate) accessed: Timestamp,
}

impl RecordData {
    /// Reads a short record. The upper half of the cluster number counts on FAT32 only.
    pub(crate) fn read(record: &Record, wide: bool) -> Self {
        let high = if wide { u32::from(le16(record, 20)) << 16 } else { 0 };
        Self {
            attributes: Attributes::from_bits_truncate(record[11]),
            first_cluster: high | u32::from(le16(record, 26)),
            size: le32(record, 28),
            created: Timestamp::from_fields(le16(record, 16), le16(record, 14), record[13]),
            modified: Timestamp::from_fields(le16(record, 24), le16(record, 22), 0),
            accessed: Timestamp::from_fields(le16(record, 18), 0, 0),
        }
    }

    /// A short record with this name.
    pub(crate) fn write(&self, name: &ShortName, case: u8) -> Record {
        let mut record = [0; RECORD_SIZE];
        record[..11].copy_from_slice(name);
        record[11] = self.attributes.bits();
        record[12] = case;
        record[13] = self.created.hundredths();
        record[14..16].copy_from_slice(&self.created.time().to_le_bytes());
        record[16..18].copy_from_slice(&self.created.date().to_le_bytes());
        record[18..20].copy_from_slice(&self.accessed.date().to_le_bytes());
        set_first_cluster(&mut record, self.first_cluster);
        set_modified(&mut record, self.modified);
        set_size(&mut record, self.size);
        record
    }
}

pub(crate) fn set_first_cluster(record: &mut [u8], cluster: u32) {
    record[20..22].copy_from_slice(&((cluster >> 16) as u16).to_le_bytes());
    record[26..28].copy_from_slice(&(cluster as u16).to_le_bytes());
}

pub(crate) fn set_size(record: &mut [u8], size: u32) {
    record[28..32].copy_from_slice(&size.to_le_bytes());
}

pub(crate) fn set_modified(record: &mut [u8], time: Timestamp) {
    record[22..24].copy_from_slice(&time.time().to_le_bytes());
    record[24..26].copy_from_slice(&time.date().to_le_bytes());
}

/// The records of a new file or folder: long-name records, if the name needs them, and the short record.
pub(crate) fn new_records(name: &NewName, short: &ShortName, data: &RecordData) -> Vec<Record> {
    if let Some((exact, case)) = name.exact {
        return Vec::from([data.write(&exact, case)]);
    }
    let checksum = short_name_checksum(short);
    let parts = name.units.len().div_ceil(UNITS_PER_RECORD);
    let mut records: Vec<Record> = (1..=parts)
        .rev()
        .map(|ordinal| {
            let mut record = [0; RECORD_SIZE];
            record[0] = ordinal as u8 | if ordinal == parts { 0x40 } else { 0 };
            record[11] = LONG_NAME;
            record[13] = checksum;
            let from = (ordinal - 1) * UNITS_PER_RECORD;
            for (index, place) in UNIT_PLACES.into_iter().enumerate() {
                // After the last unit comes one 0, then 0xffff.
                let unit = match name.units.get(from + index) {
                    Some(unit) => *unit,
                    None if from + index == name.units.len() => 0,
                    None => 0xffff,
                };
                record[place..place + 2].copy_from_slice(&unit.to_le_bytes());
            }
            record
        })
        .collect();
    records.push(data.write(short, 0));
    records
}

/// How many records a name takes.
pub(crate) fn records_needed(name: &NewName) -> u32 {
    if name.exact.is_some() {
        return 1;
    }
    name.units.len().div_ceil(UNITS_PER_RECORD) as u32 + 1
}

/// Offsets of the thirteen UTF-16 units in a long-name record.
const UNIT_PLACES: [usize; UNITS_PER_RECORD] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];

/// What one record turned out to be.
#[derive(Debug)]
pub(crate) enum Seen<'a> {
    /// The end: this slot and all that follow are unused.
    End,
    /// Unused.
    Free,
    /// Part of a long name.
    LongName,
    /// The volume label.
    Label,
    /// A file or folder, complete with its name.
    Entry(SeenEntry<'a>),
}

/// A file or folder that the scanner came across.
#[derive(Debug)]
pub(crate) struct SeenEntry<'a> {
    /// Its first slot (of the long name, if there is one).
    pub(crate) first_slot: u32,
    pub(crate) short: ShortName,
    case: u8,
    long: Option<&'a [u16]>,
}

impl SeenEntry<'_> {
    pub(crate) fn name(&self) -> String {
        match self.long {
            Some(units) => char::decode_utf16(units.iter().copied())
                .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
                .collect(),
            None => show_short_name(&self.short, self.case),
        }
    }

    pub(crate) fn matches(&self, name: &FoldedName) -> bool {
        self.long
            .is_some_and(|units| name.matches_units(units) || (has_lone_surrogate(units) && name.matches(&self.name())))
            || (name.could_be_short() && name.matches(&show_short_name(&self.short, 0)))
    }

    /// Whether this is a folder's reference to itself or to its parent.
    pub(crate) fn is_dot(&self) -> bool {
        self.short == *b".          " || self.short == *b"..         "
    }
}

/// Such a name is shown with replacement characters, and must be found by what is shown.
fn has_lone_surrogate(units: &[u16]) -> bool {
    units.iter().any(|unit| (0xd800..0xe000).contains(unit))
        && char::decode_utf16(units.iter().copied()).any(|unit| unit.is_err())
}

/// Puts long names together from the records of a folder, in order. Long-name records that do not fit are ignored.
#[derive(Debug)]
pub(crate) struct Scanner {
    units: [u16; MAX_LONG_RECORDS * UNITS_PER_RECORD],
    length: usize,
    /// The ordinal seen last; 0 when no long name is under way.
    ordinal: u8,
    checksum: u8,
    first_slot: u32,
}

impl Scanner {
    pub(crate) fn new() -> Self {
        Self { units: [0; MAX_LONG_RECORDS * UNITS_PER_RECORD], length: 0, ordinal: 0, checksum: 0, first_slot: 0 }
    }

    /// Takes the record in `slot`.
    pub(crate) fn feed(&mut self, slot: u32, record: &Record) -> Seen<'_> {
        match record[0] {
            END => {
                self.ordinal = 0;
                return Seen::End;
            }
            DELETED => {
                self.ordinal = 0;
                return Seen::Free;
            }
            _ => {}
        }
        if record[11] & 0x3f == LONG_NAME {
            self.feed_long(slot, record);
            return Seen::LongName;
        }
        let complete = self.ordinal == 1;
        self.ordinal = 0;
        if record[11] & Attributes::LABEL.bits() != 0 {
            return Seen::Label;
        }
        let mut short = [0; 11];
        short.copy_from_slice(&record[..11]);
        let units = &self.units[..self.length];
        // A long name that could not be written in a path is as good as none.
        let usable = complete
            && self.checksum == short_name_checksum(&short)
            && !units.is_empty()
            && !units.iter().any(|unit| *unit < 32 || *unit == u16::from(b'/'));
        Seen::Entry(SeenEntry {
            first_slot: if usable { self.first_slot } else { slot },
            short,
            case: record[12],
            long: usable.then_some(units),
        })
    }

    fn feed_long(&mut self, slot: u32, record: &Record) {
        let ordinal = record[0] & 0x3f;
        if record[0] & 0x40 != 0 {
            if ordinal == 0 || usize::from(ordinal) > MAX_LONG_RECORDS {
                self.ordinal = 0;
                return;
            }
            self.first_slot = slot;
            self.checksum = record[13];
            self.length = usize::from(ordinal) * UNITS_PER_RECORD;
        } else if ordinal == 0 || ordinal + 1 != self.ordinal || record[13] != self.checksum {
            self.ordinal = 0;
            return;
        }
        self.ordinal = ordinal;
        let from = usize::from(ordinal - 1) * UNITS_PER_RECORD;
        for (index, place) in UNIT_PLACES.into_iter().enumerate() {
            let unit = le16(record, place);
            self.units[from + index] = unit;
            if unit == 0 {
                self.length = self.length.min(from + index);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> RecordData {
        RecordData {
            attributes: Attributes::ARCHIVE,
            first_cluster: 0x0123_4567,
            size: 89,
            created: Timestamp { second: 33, ..Timestamp::EPOCH },
            modified: Timestamp { year: 2020, ..Timestamp::EPOCH },
            accessed: Timestamp::EPOCH,
        }
    }

    fn names(records: &[Record]) -> Vec<String> {
        let mut scanner = Scanner::new();
        let mut names = Vec::new();
        for (slot, record) in (0..).zip(records) {
            if let Seen::Entry(entry) = scanner.feed(slot, record) {
                names.push(entry.name());
            }
        }
        names
    }

    #[test]
    fn a_record_keeps_what_was_stored() {
        let record = data().write(b"A          ", 0);
        assert_eq!(RecordData::read(&record, true), data());
        assert_eq!(RecordData::read(&record, false).first_cluster, 0x4567);
    }

    #[test]
    fn long_names_of_every_length_come_back() {
        for length in 1..=255 {
            let text: String = ('а'..='я').cycle().take(length).collect();
            let name = NewName::new(&text).expect("valid");
            let records = new_records(&name, b"_~1        ", &data());
            assert_eq!(records.len() as u32, records_needed(&name));
            assert_eq!(names(&records), [text]);
        }
    }

    #[test]
    fn a_long_name_with_a_missing_or_foreign_part_falls_back_to_the_short_one() {
        let name = NewName::new("a name of three records, at the least").expect("valid");
        let records = new_records(&name, b"ANAME~1    ", &data());
        let mut missing = records.clone();
        missing.remove(1);
        assert_eq!(names(&missing), ["ANAME~1"]);
        let mut foreign = records.clone();
        foreign[1][13] ^= 1;
        assert_eq!(names(&foreign), ["ANAME~1"]);
        let mut renamed = records;
        renamed[3][1] = b'X';
        assert_eq!(names(&renamed), ["AXAME~1"]);
    }

    #[test]
    fn a_long_name_with_a_slash_is_not_believed() {
        let name = NewName::new("slashed name").expect("valid");
        let mut records = new_records(&name, b"SLASH~1    ", &data());
        records[0][1] = b'/';
        assert_eq!(names(&records), ["SLASH~1"]);
    }
}
