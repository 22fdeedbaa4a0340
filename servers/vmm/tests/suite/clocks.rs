use proptest::prelude::*;
use vmm::power::{Power, PowerRequest};
use vmm::timer::{IntervalTimer, MIN_PERIOD_NS, PmTimer, RealTimeClock};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

#[test]
fn linux_calibrates_by_the_speaker_channel() {
    // pit_calibrate_tsc in arch/x86/kernel/tsc.c: 10 ms in mode 0, seen at port 0x61.
    let mut pit = IntervalTimer::new();
    let gated = pit.read(0x61, 0).unwrap() & !2 | 1;
    pit.write(0x61, gated, 0);
    pit.write(0x43, 0xb0, 0);
    pit.write(0x42, 0x9b, 0);
    pit.write(0x42, 0x2e, 0);
    assert_eq!(pit.read(0x61, 9 * MS).unwrap() & 0x20, 0);
    assert_eq!(pit.read(0x61, 10 * MS + 1000).unwrap() & 0x20, 0x20);
}

#[test]
fn linux_calibrates_quickly_by_the_high_byte() {
    // quick_pit_calibrate: mode 0, the whole range, two reads a value.
    let mut pit = IntervalTimer::new();
    pit.write(0x61, 1, 0);
    pit.write(0x43, 0xb0, 0);
    pit.write(0x42, 0xff, 0);
    pit.write(0x42, 0xff, 0);
    let mut high = |now| {
        pit.read(0x42, now);
        pit.read(0x42, now).unwrap()
    };
    assert_eq!(high(1000), 0xff);
    // 256 ticks are 214.6 us.
    assert_eq!((high(210_000), high(220_000), high(434_000)), (0xff, 0xfe, 0xfd));
}

#[test]
fn channel_0_interrupts_at_its_rate() {
    let mut pit = IntervalTimer::new();
    pit.write(0x43, 0x34, 0);
    pit.write(0x40, 0x9c, 0);
    assert_eq!(pit.next_deadline(), None, "half a count");
    pit.write(0x40, 0x2e, 0);
    let first = pit.next_deadline().unwrap();
    assert!((9_999_000..10_001_000).contains(&first), "{first}");
    assert!(!pit.advance(first - 1));
    assert!(pit.advance(first));
    assert!(!pit.advance(first));
    assert!(pit.next_deadline().unwrap() > first);
    assert!(pit.advance(SECOND));
    assert!(pit.next_deadline().unwrap() > SECOND);
}

#[test]
fn channel_0_strikes_once_as_linux_uses_it_for_single_events() {
    let mut pit = IntervalTimer::new();
    pit.write(0x43, 0x38, 0);
    pit.write(0x40, 0x00, 500);
    pit.write(0x40, 0x10, 500);
    let due = pit.next_deadline().unwrap();
    assert!(pit.advance(due));
    assert_eq!(pit.next_deadline(), None);
    // What stops it.
    pit.write(0x40, 0x00, due);
    pit.write(0x40, 0x10, due);
    pit.write(0x43, 0x30, due);
    assert_eq!(pit.next_deadline(), None);
}

#[test]
fn a_latched_count_stays_until_it_is_read() {
    let mut pit = IntervalTimer::new();
    pit.write(0x43, 0x34, 0);
    pit.write(0x40, 0, 0);
    pit.write(0x40, 0, 0);
    pit.write(0x43, 0x00, MS);
    let expected = (0x10000 - 1193_u32) as u16;
    let read = [pit.read(0x40, 5 * MS).unwrap(), pit.read(0x40, 6 * MS).unwrap()];
    assert_eq!(u16::from_le_bytes(read), expected);
    pit.write(0x43, 0xe2, MS);
    assert_eq!(pit.read(0x40, MS).unwrap(), 0b1011_0100, "status: high, loaded, mode 2");
}

#[test]
fn the_power_management_timer_counts_and_wraps() {
    let timer = PmTimer::new(SECOND);
    assert_eq!(timer.read(SECOND), 0);
    assert_eq!(timer.read(2 * SECOND), 3_579_545);
    assert_eq!(timer.read(1201 * SECOND), (1200_u64 * 3_579_545) as u32);
}

fn read_clock(clock: &mut RealTimeClock, now: u64) -> [u8; 8] {
    [0, 2, 4, 6, 7, 8, 9, 0x32].map(|register| {
        clock.write(0x70, register, now);
        clock.read(0x71, now).unwrap()
    })
}

#[test]
fn the_clock_tells_the_date_in_decimal_digits() {
    // 2024-02-29 23:59:58 UTC, a Thursday.
    let mut clock = RealTimeClock::new(1_709_251_198, 0);
    assert_eq!(read_clock(&mut clock, 0), [0x58, 0x59, 0x23, 5, 0x29, 0x02, 0x24, 0x20]);
    assert_eq!(read_clock(&mut clock, 2 * SECOND), [0, 0, 0, 6, 0x01, 0x03, 0x24, 0x20]);
}

#[test]
fn the_clock_tells_binary_numbers_and_half_days_when_it_is_told_to() {
    let mut clock = RealTimeClock::new(1_709_251_198, 0);
    clock.write(0x70, 0x0b, 0);
    clock.write(0x71, 0x04, 0);
    assert_eq!(read_clock(&mut clock, 0), [58, 59, 0x80 | 11, 5, 29, 2, 24, 20]);
}

#[test]
fn the_clock_can_be_set_but_not_to_a_day_that_does_not_exist() {
    let mut clock = RealTimeClock::new(0, 0);
    for (register, value) in [(0x32, 0x20), (9, 0x26), (8, 0x11), (7, 0x22), (4, 0x13), (2, 0x01), (0, 0x42)] {
        clock.write(0x70, register, 0);
        clock.write(0x71, value, 0);
    }
    let set = [0x42, 0x01, 0x13, 1, 0x22, 0x11, 0x26, 0x20];
    assert_eq!(read_clock(&mut clock, 0), set);
    for (register, value) in [(7, 0x31), (8, 0x13), (4, 0x24), (2, 0x60), (0x32, 0x19)] {
        clock.write(0x70, register, 0);
        clock.write(0x71, value, 0);
    }
    assert_eq!(read_clock(&mut clock, 0), set);
}

#[test]
fn a_guest_switches_off_and_resets() {
    let mut power = Power::new();
    assert_eq!(power.read(0x604), Some(1), "ACPI is on from the start");
    power.write(0x604, 0x00);
    power.write(0x605, 0x34);
    assert_eq!(power.take_request(), Some(PowerRequest::Off));
    assert_eq!(power.take_request(), None);
    power.write(0x605, 0x24);
    assert_eq!(power.take_request(), None, "another sleep type is none");
    power.write(0x64, 0xfe);
    assert_eq!(power.take_request(), Some(PowerRequest::Reset));
}

#[test]
fn the_power_button_interrupts_who_asked_for_it_until_it_is_acknowledged() {
    let mut power = Power::new();
    power.press_button();
    assert!(!power.interrupt_level());
    power.write(0x603, 0x01);
    assert!(power.interrupt_level());
    assert_eq!(power.read(0x601), Some(1));
    power.write(0x601, 1);
    assert!(!power.interrupt_level());
}

proptest! {
    #[test]
    fn any_accesses_leave_clocks_that_tell_a_time_and_do_not_interrupt_without_end(
        accesses in prop::collection::vec((0_usize..9, any::<Option<u8>>(), 0_u64..1 << 40), 0..200)
    ) {
        let ports = [0x40, 0x41, 0x42, 0x43, 0x61, 0x70, 0x71, 0x604, 0x605];
        let (mut pit, mut clock, mut power) = (IntervalTimer::new(), RealTimeClock::new(0, 0), Power::new());
        let mut now = 0;
        let mut last = None;
        for (port, value, passed) in accesses {
            now += passed;
            let port = ports[port];
            match value {
                Some(value) => {
                    prop_assert!(pit.write(port, value, now) || clock.write(port, value, now) || power.write(port, value));
                    last = None;
                }
                None => {
                    let read = pit.read(port, now).or_else(|| clock.read(port, now)).or_else(|| power.read(port));
                    prop_assert!(read.is_some());
                }
            }
            if pit.advance(now) {
                if let (Some(last), Some(next)) = (last, pit.next_deadline()) {
                    prop_assert!(next >= last + MIN_PERIOD_NS);
                }
                last = Some(now);
            }
            prop_assert!(pit.next_deadline().is_none_or(|due| due > now));
            let date = read_clock(&mut clock, now);
            prop_assert!(date[0] < 0x60 && date[5] > 0 && date[4] > 0);
        }
    }
}
