//! The status page: what a domain writes, a supervisor reads, whatever else may stand there.

use proptest::prelude::*;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use userlib::log::Level;
use userlib::memory::SharedMemory;
use userlib::status::{PANIC_MAX, Phase, RECORD_MAX, Reader, Writer};
use userlib::time::Instant;

fn page() -> Vec<AtomicU64> {
    (0..512).map(|_| AtomicU64::new(0)).collect()
}

#[test]
fn phase_heartbeats_and_panic_are_read_as_written() {
    let page = page();
    let shared = SharedMemory::new(&page);
    let reader = Reader::new(shared).unwrap();
    assert!(!reader.is_started());
    let writer = Writer::start(shared).unwrap();
    assert!(reader.is_started());
    assert_eq!((reader.phase(), reader.heartbeats(), reader.panic_message()), (Phase::Starting, 0, None));
    for phase in [Phase::Ready, Phase::Stopping, Phase::Stopped] {
        writer.set_phase(phase);
        assert_eq!(reader.phase(), phase);
    }
    writer.beat();
    writer.beat();
    assert_eq!(reader.heartbeats(), 2);
    writer.panic(format_args!("index {} out of {} at main.rs:1:2", 3, 2));
    assert_eq!(reader.phase(), Phase::Panicked);
    assert_eq!(reader.panic_message().unwrap(), "index 3 out of 2 at main.rs:1:2");
}

#[test]
fn a_panic_message_that_is_too_long_is_cut_between_characters() {
    let page = page();
    let shared = SharedMemory::new(&page);
    Writer::start(shared).unwrap().panic(format_args!("x{}", "ä".repeat(PANIC_MAX)));
    let message = Reader::new(shared).unwrap().panic_message().unwrap();
    assert_eq!(message.len(), PANIC_MAX - 1);
    assert!(message.ends_with('ä'));
}

#[test]
fn records_are_read_once_each_and_in_order() {
    let page = page();
    let shared = SharedMemory::new(&page);
    let writer = Writer::start(shared).unwrap();
    let reader = Reader::new(shared).unwrap();
    let mut position = 0;
    let mut written = 0;
    for batch in [0, 1, 5, 3, 20] {
        for _ in 0..batch {
            writer.log(Instant(written), Level::Info, format_args!("record {written}"));
            written += 1;
        }
        let (records, next) = reader.records(position);
        position = next;
        let texts: Vec<String> = records.iter().map(|record| record.text.clone()).collect();
        let expected: Vec<String> = (written - batch..written).map(|number| format!("record {number}")).collect();
        assert_eq!(texts, expected);
        assert!(records.iter().all(|record| record.level == Level::Info));
    }
}

#[test]
fn a_reader_that_is_slow_loses_the_oldest_records_only() {
    let page = page();
    let shared = SharedMemory::new(&page);
    let writer = Writer::start(shared).unwrap();
    let reader = Reader::new(shared).unwrap();
    for number in 0..1000 {
        let length = number % 90;
        writer.log(Instant(number as u64), Level::Warn, format_args!("{number} {}", "y".repeat(length)));
        let (records, _) = reader.records(0);
        assert_eq!(records.last().unwrap().time, Instant(number as u64));
        assert!(records.windows(2).all(|pair| pair[0].time.0 + 1 == pair[1].time.0));
        assert!(number < 100 || records.len() > 20);
    }
    writer.log(Instant(1), Level::Error, format_args!("{}", "z".repeat(5000)));
    assert_eq!(reader.records(0).0.last().unwrap().text.len(), RECORD_MAX);
}

#[test]
fn records_read_while_they_are_written_are_whole() {
    let page = page();
    let shared = SharedMemory::new(&page);
    let writer = Writer::start(shared).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..10_000_u64 {
                let letter = char::from(b'a' + (number % 26) as u8);
                let text: String = std::iter::repeat_n(letter, (number % 200) as usize).collect();
                writer.log(Instant(number), Level::Debug, format_args!("{text}"));
            }
            done.store(true, Ordering::Release);
        });
        let reader = Reader::new(shared).unwrap();
        let mut position = 0;
        let mut last = None;
        while !done.load(Ordering::Acquire) {
            let (records, next) = reader.records(position);
            position = next;
            for record in records {
                let number = record.time.0;
                assert!(last < Some(number), "{number} after {last:?}");
                last = Some(number);
                assert_eq!(record.text.len() as u64, number % 200);
                let letter = char::from(b'a' + (number % 26) as u8);
                assert!(record.text.chars().all(|c| c == letter), "{number}: {:?}", record.text);
            }
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_page_is_read_as_something(
        words in proptest::collection::vec(prop_oneof![any::<u64>(), 0..5000_u64, Just(u64::MAX)], 512),
        start in prop_oneof![any::<u64>(), 0..10_000_u64],
    ) {
        let page: Vec<AtomicU64> = words.into_iter().map(AtomicU64::new).collect();
        let reader = Reader::new(SharedMemory::new(&page)).unwrap();
        let mut position = start;
        for _ in 0..4 {
            let (records, next) = reader.records(position);
            prop_assert!(records.len() <= 4096 / 16);
            position = next;
        }
        reader.phase();
        if let Some(message) = reader.panic_message() {
            // Each bad byte is shown as one replacement character of three bytes.
            prop_assert!(message.len() <= 3 * PANIC_MAX);
        }
    }
}
