//! What a supervisor notes is found by the next one, whatever it was doing when it died.

use std::sync::atomic::{AtomicU64, Ordering};

use abi::message::REGISTER_WORDS;
use manifest::DomainIndex;
use proptest::prelude::*;
use spawn::{Custody, ENTRY_MAX, Ledger, LedgerError, Obituary, ledger_pages};
use userlib::log::Level;
use userlib::memory::SharedMemory;
use userlib::status;
use userlib::time::Instant;

const DOMAINS: usize = 3;
const ONE: DomainIndex = DomainIndex(1);

fn memory() -> Vec<AtomicU64> {
    (0..ledger_pages(DOMAINS) * 512).map(|_| AtomicU64::new(0)).collect()
}

fn ledger(memory: &[AtomicU64]) -> Ledger<'_> {
    Ledger::new(SharedMemory::new(memory), DOMAINS).expect("it is long enough")
}

/// Handles as `init` could have them.
fn custody(first: u64) -> Custody {
    let bytes = postcard::to_allocvec(&[first, first + 1, 0, first + 3]).expect("numbers can be written");
    postcard::from_bytes(&bytes).expect("a custody is four handles")
}

#[test]
fn the_newest_entry_is_read() {
    let memory = memory();
    let ledger = ledger(&memory);
    assert_eq!(ledger.read::<u32>(ONE), None);
    for number in 1..20 {
        let kept = (number % 3 != 0).then(|| custody(number));
        ledger.write(ONE, kept.as_ref(), &number).unwrap();
        assert_eq!(ledger.read::<u64>(ONE), Some((kept, number)));
        assert_eq!(ledger.custody(ONE), kept);
    }
    assert_eq!(ledger.read::<u32>(DomainIndex(2)), None, "every domain has its own");
}

#[test]
fn an_entry_that_is_not_whole_leaves_the_one_before() {
    let memory = memory();
    let ledger = ledger(&memory);
    ledger.write(ONE, Some(&custody(7)), &"first").unwrap();
    let before: Vec<u64> = memory.iter().map(|word| word.load(Ordering::Relaxed)).collect();
    ledger.write(ONE, Some(&custody(8)), &"second").unwrap();
    let after: Vec<u64> = memory.iter().map(|word| word.load(Ordering::Relaxed)).collect();
    let changed: Vec<usize> = (0..memory.len()).filter(|index| before[*index] != after[*index]).collect();
    assert!(changed.len() > 4);
    for index in changed {
        memory[index].store(before[index], Ordering::Relaxed);
        assert_eq!(ledger.read::<String>(ONE), Some((Some(custody(7)), "first".into())), "without word {index}");
        memory[index].store(after[index], Ordering::Relaxed);
    }
    assert_eq!(ledger.read::<String>(ONE), Some((Some(custody(8)), "second".into())));
}

#[test]
fn what_is_too_long_or_of_nobody_is_refused_and_changes_nothing() {
    let memory = memory();
    let ledger = ledger(&memory);
    ledger.write(ONE, None, &5_u8).unwrap();
    assert_eq!(ledger.write(ONE, None, &"x".repeat(ENTRY_MAX)), Err(LedgerError::TooLong));
    assert_eq!(ledger.write(DomainIndex(DOMAINS as u16), None, &5_u8), Err(LedgerError::NoSuchDomain));
    assert_eq!(ledger.read::<u8>(ONE), Some((None, 5)));
    assert!(ledger.history(DomainIndex(DOMAINS as u16)).is_none());
    assert!(Ledger::new(SharedMemory::new(&memory[8..]), DOMAINS).is_none(), "the memory is too short");
}

#[test]
fn entries_can_be_forgotten_and_the_logs_stay() {
    let memory = memory();
    let ledger = ledger(&memory);
    ledger.write(ONE, Some(&custody(1)), &1_u8).unwrap();
    let history = ledger.history(ONE).unwrap();
    for number in 0..1000 {
        history.append(Instant(number), Level::Warn, format_args!("line {number}"));
    }
    ledger.forget_entries();
    assert_eq!(ledger.read::<u8>(ONE), None);
    let (records, _) = ledger.history(ONE).unwrap().records(0);
    assert!(records.len() > 256, "{} records are left", records.len());
    assert_eq!(records.last().unwrap().text, "line 999");
    ledger.clear();
    assert_eq!(history.records(0).0, []);
}

#[test]
fn the_last_words_of_a_supervisor_are_kept() {
    let memory = memory();
    let ledger = ledger(&memory);
    assert_eq!(ledger.obituary(), None);
    let page: Vec<AtomicU64> = (0..512).map(|_| AtomicU64::new(0)).collect();
    let writer = status::Writer::start(SharedMemory::new(&page)).unwrap();
    writer.log(Instant(5), Level::Info, format_args!("all is well"));
    writer.panic(format_args!("it was not"));
    let obituary = Obituary { label: Some(3), words: [9; REGISTER_WORDS] };
    ledger.bury_supervisor(SharedMemory::new(&page), &obituary);
    assert_eq!(ledger.obituary(), Some(obituary));
    let words = ledger.last_words().unwrap();
    assert_eq!(words.panic_message().unwrap(), "it was not");
    assert_eq!(words.records(0).0[0].text, "all is well");
}

proptest! {
    #[test]
    fn any_memory_is_read_without_harm(words in prop::collection::vec(any::<u64>(), 512), at in 0usize..20) {
        let memory = memory();
        for (index, word) in words.iter().enumerate() {
            memory[(at * 512 + index) % memory.len()].store(*word, Ordering::Relaxed);
        }
        let ledger = ledger(&memory);
        for index in (0..=DOMAINS as u16).map(DomainIndex) {
            let _ = ledger.read::<(u32, String, Vec<u64>)>(index);
            let _ = ledger.custody(index);
            if let Some(history) = ledger.history(index) {
                let _ = history.records(0);
                history.append(Instant(1), Level::Info, format_args!("and on"));
            }
            if index.position() < DOMAINS {
                ledger.write(index, None, &7_u8).unwrap();
                prop_assert_eq!(ledger.read::<u8>(index), Some((None, 7)));
            }
        }
        let _ = (ledger.obituary(), ledger.last_words().map(|words| words.records(0)));
    }
}
