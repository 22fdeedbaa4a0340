//! Which records of deaths are kept.

use alloc::collections::VecDeque;
use interfaces::crash::CrashRecord;

/// Records that are kept.
const KEPT: usize = 32;

/// The last deaths. Of a domain that dies again and again they are the first to go: others' are not hidden behind them.
#[derive(Debug, Default)]
pub struct CrashRecords {
    count: u64,
    records: VecDeque<CrashRecord>,
}

impl CrashRecords {
    /// None yet, but so many that a former supervisor had: whoever asks for the next ones goes on by their numbers.
    pub fn behind(count: u64) -> Self {
        CrashRecords { count, records: VecDeque::new() }
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The record with this number, or the first one behind it that is left.
    pub fn from(&self, number: u64) -> Option<&CrashRecord> {
        self.records.iter().find(|record| record.number >= number)
    }

    /// Keeps one more, and gives it its number.
    pub fn keep(&mut self, record: CrashRecord) {
        self.count = self.count.saturating_add(1);
        self.records.push_back(CrashRecord { number: self.count, ..record });
        if self.records.len() > KEPT {
            let of = |domain: &str| self.records.iter().filter(|record| record.domain == domain).count();
            let most = self.records.iter().map(|record| of(&record.domain)).max();
            let oldest = self.records.iter().position(|record| Some(of(&record.domain)) == most);
            oldest.and_then(|oldest| self.records.remove(oldest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;
    use alloc::vec::Vec;

    fn record(domain: impl Into<String>) -> CrashRecord {
        CrashRecord { domain: domain.into(), ..CrashRecord::default() }
    }

    /// What somebody gets who asks for one after the other.
    fn told(records: &CrashRecords) -> Vec<(u64, String)> {
        let (mut told, mut next) = (Vec::new(), 0);
        while let Some(record) = records.from(next) {
            told.push((record.number, record.domain.clone()));
            next = record.number + 1;
        }
        told
    }

    #[test]
    fn numbers_go_on_behind_those_of_a_former_supervisor() {
        let mut records = CrashRecords::behind(7);
        assert_eq!(records.from(0), None);
        records.keep(record("fat"));
        assert_eq!((records.count(), told(&records)), (8, [(8, "fat".into())].into()));
    }

    #[test]
    fn who_dies_again_and_again_hides_no_other_death() {
        let mut records = CrashRecords::default();
        records.keep(record("fat"));
        records.keep(record("uart"));
        for _ in 0..1000 {
            records.keep(record("loop"));
        }
        let told = told(&records);
        assert_eq!(told.len(), KEPT);
        assert_eq!(told[..2], [(1, "fat".into()), (2, "uart".into())]);
        assert_eq!(told.last(), Some(&(1002, "loop".into())), "the last ones of it are kept");
    }

    #[test]
    fn however_many_die_no_more_than_so_many_are_kept() {
        let mut records = CrashRecords::behind(u64::MAX - 1);
        for number in 0..100 {
            records.keep(record(format!("d{number}")));
        }
        assert_eq!(records.records.len(), KEPT);
        assert_eq!(records.count(), u64::MAX);
    }
}
