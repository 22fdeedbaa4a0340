//! Devices of a PC.

use super::steps;
use crate::bytes::Bytes;
use vmm::interrupt::{Fabric, Pending};
use vmm::power::Power;
use vmm::serial::{INPUT_BYTES, OUTPUT_BYTES, Uart};
use vmm::timer::{IntervalTimer, PmTimer, RealTimeClock};

pub(super) fn serial(bytes: &mut Bytes<'_>) -> usize {
    let mut uart = Uart::new();
    for _ in 0..OUTPUT_BYTES - 16 {
        uart.write(0, 0);
    }
    steps(bytes, |bytes| {
        let what = bytes.byte();
        let port = u16::from(what & 7);
        match what >> 3 & 7 {
            0 | 1 => {
                uart.read(port);
            }
            2 => {
                let offered = [what; 40];
                let taken = uart.receive(&offered);
                assert!(taken <= INPUT_BYTES && (taken == 0 || uart.read(5) & 1 != 0));
            }
            3 => assert!(uart.take_output().len() <= OUTPUT_BYTES),
            _ => uart.write(port, bytes.byte()),
        }
        assert!(uart.input_room() <= INPUT_BYTES);
        // What interrupts is named as the cause, and the other way round.
        if uart.interrupt_level() {
            assert_eq!(uart.read(2) & 1, 0);
        }
    })
}

pub(super) fn interrupts(bytes: &mut Bytes<'_>) -> usize {
    let mut fabric = Fabric::new(3);
    let mut now = 0_u64;
    let ports = [0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1, 0x22, 0x23];
    steps(bytes, |bytes| {
        let what = bytes.byte();
        let processor = usize::from(what >> 6);
        match what & 15 {
            0..4 => fabric.write_local(processor, u16::from(bytes.byte()) * 16, bytes.double(), now),
            4 => match what >> 4 & 3 {
                0 | 1 => {
                    fabric.read_local(processor, bytes.short(), now);
                }
                2 => {
                    let deadline = u64::from(bytes.double());
                    fabric.set_deadline(processor, deadline, now.saturating_add(deadline));
                }
                _ => {
                    let (unseen, next) = (fabric.can_end_unseen(processor), fabric.next_interrupt(processor));
                    fabric.end_interrupt(processor);
                    assert!(!unseen || fabric.next_interrupt(processor) == next, "something has waited for that end");
                }
            },
            5 | 6 => {
                fabric.write_io(0, u32::from(bytes.byte()));
                fabric.write_io(0x10, bytes.double());
            }
            7 => {
                let _value = fabric.read_io(u16::from(what & 0x10));
            }
            8 => {
                fabric.write_port(ports[usize::from(what >> 4 & 7)], bytes.byte());
            }
            9 => {
                fabric.read_port(ports[usize::from(what >> 4 & 7)]);
            }
            10 => fabric.set_line(bytes.byte() & 31, what & 0x10 != 0),
            11 => fabric.set_pin(usize::from(bytes.byte() & 31), what & 0x10 != 0),
            12 => {
                fabric.signal(0xfee0_0000 | u64::from(bytes.double()), bytes.double());
            }
            13 => {
                now = now.saturating_add(u64::from(bytes.double()) << ((what >> 4 & 3) * 8));
                (0..4).for_each(|processor| fabric.advance(processor, now));
            }
            14 => {
                fabric.take_signal(processor);
                fabric.take_changed(processor);
                fabric.set_task_priority_class(processor, what >> 4);
            }
            _ => {
                let next = fabric.next_interrupt(processor);
                assert_eq!(fabric.accept(processor), next);
                if let (1.., Some(Pending::Interrupt(vector))) = (processor, next) {
                    assert!(vector >= 16, "an exception's vector was delivered");
                    if let Some(Pending::Interrupt(other)) = fabric.next_interrupt(processor) {
                        assert!(other >> 4 > vector >> 4, "{other} interrupts {vector}");
                    }
                }
            }
        }
    })
}

pub(super) fn clocks(bytes: &mut Bytes<'_>) -> usize {
    let (mut pit, mut clock) = (IntervalTimer::new(), RealTimeClock::new(bytes.word(), 0));
    let (mut power, timer) = (Power::new(), PmTimer::new(0));
    let mut now = 0_u64;
    let ports = [0x40, 0x41, 0x42, 0x43, 0x61, 0x70, 0x71, 0x600, 0x601, 0x602, 0x603, 0x604, 0x605, 0x64];
    steps(bytes, |bytes| {
        let what = bytes.byte();
        let port = ports[usize::from(what & 15) % ports.len()];
        match what >> 4 & 3 {
            0 => {
                let read = pit.read(port, now).or_else(|| clock.read(port, now)).or_else(|| power.read(port));
                assert!(read.is_some());
            }
            1 => now = now.saturating_add(u64::from(bytes.double()) << ((what & 3) * 8)),
            2 => {
                power.press_button();
                power.take_request();
                let _level = power.interrupt_level();
                let _count = timer.read(now);
            }
            _ => {
                let value = bytes.byte();
                assert!(pit.write(port, value, now) || clock.write(port, value, now) || power.write(port, value));
            }
        }
        let _due = pit.advance(now);
        assert!(now == u64::MAX || pit.next_deadline().is_none_or(|due| due > now), "what is due has happened");
    })
}
