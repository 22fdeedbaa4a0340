//! Tables of the kernel of which a machine has as much as it has memory for.
//!
//! The kernel's tables are arrays whose lengths are known when it is compiled, as long as the largest machine wants them. A
//! smaller one has memory for the first part of each only; behind it there is one page of zeros again and again, which cannot
//! be written. So every index of a table can be read everywhere, and what is there says that nothing lives in that slot.

use super::CPUS_MAX;

/// Type of the program header, in the kernel's file, of the list of its tables: [`PartialTable`]s (types from `PT_LOOS` up
/// are each system's own: ELF-64 object file format, 6).
pub const PT_TABLES: u32 = 0x6000_0b01;

/// Into how many shares tables are divided.
pub const TABLE_SHARES: usize = 16;

/// Bytes of RAM for which a machine has one share of the tables, and at least one. With 1 GiB it has them all.
pub const RAM_OF_SHARE: u64 = 64 << 20;

/// Most tables in the list.
pub const PARTIAL_TABLES_MAX: usize = 16;

/// What it depends on how much of a table there is.
#[repr(u64)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// How much memory there is.
    Memory = 0,
    /// How many processors there are.
    Processors = 1,
}

/// A table, in the list: where it lies, and what it depends on how much of it there is.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartialTable<A = u64> {
    /// Its address.
    pub start: A,
    /// Its bytes, all of it: a multiple of [`TABLE_SHARES`] and of [`CPUS_MAX`] where it is divided by these.
    pub len: u64,
    /// What decides.
    pub measure: Measure,
}

impl PartialTable {
    /// Bytes of one in the list.
    pub const SIZE: usize = size_of::<Self>();

    /// Reads one from the list; `None` if it is none.
    pub fn read(bytes: &[u8; Self::SIZE]) -> Option<Self> {
        let word = |place: usize| bytes.get(place..place + 8)?.try_into().ok().map(u64::from_le_bytes);
        let measure = match word(16)? {
            0 => Measure::Memory,
            1 => Measure::Processors,
            _ => return None,
        };
        Some(Self { start: word(0)?, len: word(8)?, measure })
    }

    /// How many bytes of it there are in a machine with so many shares and processors.
    pub const fn present(&self, shares: usize, processors: usize) -> u64 {
        let (parts, present) = match self.measure {
            Measure::Memory => (TABLE_SHARES, shares),
            Measure::Processors => (CPUS_MAX, processors),
        };
        if present < parts { self.len / parts as u64 * present as u64 } else { self.len }
    }
}

/// How many shares of the tables a machine has with so many bytes of RAM.
pub const fn table_shares(ram: u64) -> usize {
    // Firmware keeps a little of what the machine was made with.
    let shares = ((ram + RAM_OF_SHARE / 2) / RAM_OF_SHARE) as usize;
    if shares < 1 {
        1
    } else if shares > TABLE_SHARES {
        TABLE_SHARES
    } else {
        shares
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_a_share_for_each_64_mib_and_one_at_least() {
        let mib = |mib: u64| table_shares(mib << 20);
        assert_eq!([0, 32, 63, 64, 255, 256, 1023, 4096].map(mib), [1, 1, 1, 1, 4, 4, 16, 16]);
    }

    #[test]
    fn what_is_there_of_a_table_is_whole_shares_of_it() {
        let by = |measure| PartialTable { start: 0, len: 32 * 48, measure };
        assert_eq!([1, 4, 16].map(|shares| by(Measure::Memory).present(shares, 1)), [96, 384, 1536]);
        assert_eq!([1, 4, 32].map(|processors| by(Measure::Processors).present(16, processors)), [48, 192, 1536]);
    }

    #[test]
    fn a_table_of_the_list_reads_back_and_one_of_an_unknown_measure_does_not() {
        let mut bytes = [0; PartialTable::SIZE];
        bytes[..8].copy_from_slice(&0x1000_u64.to_le_bytes());
        bytes[8..16].copy_from_slice(&64_u64.to_le_bytes());
        bytes[16] = 1;
        let table = PartialTable { start: 0x1000, len: 64, measure: Measure::Processors };
        assert_eq!(PartialTable::read(&bytes), Some(table));
        bytes[16] = 2;
        assert_eq!(PartialTable::read(&bytes), None);
    }
}
