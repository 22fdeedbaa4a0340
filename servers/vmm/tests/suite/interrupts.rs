use proptest::prelude::*;
use vmm::interrupt::{Fabric, MIN_PERIOD_NS, Pending, Signal};

const TASK_PRIORITY: u16 = 0x80;
const END: u16 = 0xb0;
const LOGICAL_DESTINATION: u16 = 0xd0;
const DESTINATION_FORMAT: u16 = 0xe0;
const SPURIOUS: u16 = 0xf0;
const ERROR_STATUS: u16 = 0x280;
const COMMAND: u16 = 0x300;
const COMMAND_DESTINATION: u16 = 0x310;
const TIMER: u16 = 0x320;
const LINT0: u16 = 0x350;
const INITIAL_COUNT: u16 = 0x380;
const CURRENT_COUNT: u16 = 0x390;
const DIVIDE: u16 = 0x3e0;

/// A machine of so many processors, whose local APICs are on and whose old controllers are silent.
fn started(processors: u8) -> Fabric {
    let mut fabric = Fabric::new(processors);
    for processor in 0..usize::from(processors) {
        fabric.write_local(processor, SPURIOUS, 0x1ff, 0);
        fabric.write_local(processor, LINT0, 0x1_0000, 0);
        fabric.write_local(processor, LOGICAL_DESTINATION, 1 << (24 + processor), 0);
    }
    fabric
}

fn redirect(fabric: &mut Fabric, pin: u32, entry: u64) {
    fabric.write_io(0, 0x11 + 2 * pin);
    fabric.write_io(0x10, (entry >> 32) as u32);
    fabric.write_io(0, 0x10 + 2 * pin);
    fabric.write_io(0x10, entry as u32);
}

fn entry(fabric: &mut Fabric, pin: u32) -> u32 {
    fabric.write_io(0, 0x10 + 2 * pin);
    fabric.read_io(0x10)
}

fn send(fabric: &mut Fabric, from: usize, to: u32, command: u32) {
    fabric.write_local(from, COMMAND_DESTINATION, to << 24, 0);
    fabric.write_local(from, COMMAND, command, 0);
}

fn interrupt(vector: u8) -> Option<Pending> {
    Some(Pending::Interrupt(vector))
}

#[test]
fn an_edge_at_a_pin_interrupts_once_and_a_new_one_again() {
    let mut fabric = started(2);
    redirect(&mut fabric, 4, 0x34);
    fabric.set_line(4, true);
    assert_eq!(fabric.accept(0), interrupt(0x34));
    assert_eq!(fabric.accept(0), None);
    assert_eq!(fabric.accept(1), None, "it was for the first one");
    fabric.write_local(0, END, 0, 0);
    assert_eq!(fabric.accept(0), None, "the line did not fall");
    fabric.set_line(4, false);
    fabric.set_line(4, true);
    assert_eq!(fabric.accept(0), interrupt(0x34));
}

#[test]
fn an_end_for_which_something_waits_is_to_be_told() {
    let mut fabric = started(1);
    assert!(!fabric.can_end_unseen(0), "it works on nothing");
    redirect(&mut fabric, 4, 0x34);
    redirect(&mut fabric, 11, 0x8041);
    fabric.set_line(4, true);
    assert_eq!(fabric.accept(0), interrupt(0x34));
    assert!(fabric.can_end_unseen(0), "an event");
    send(&mut fabric, 0, 0, 0x33);
    assert!(!fabric.can_end_unseen(0), "another one of its class waits");
    fabric.end_interrupt(0);
    assert_eq!(fabric.accept(0), interrupt(0x33));
    fabric.end_interrupt(0);
    fabric.set_line(11, true);
    assert_eq!(fabric.accept(0), interrupt(0x41));
    assert!(!fabric.can_end_unseen(0), "a state, which the I/O APIC keeps back until it ends");
    fabric.end_interrupt(0);
    assert_eq!(fabric.accept(0), interrupt(0x41));
}

#[test]
fn a_state_interrupts_again_after_its_end_while_it_holds() {
    let mut fabric = started(1);
    redirect(&mut fabric, 11, 0x8041);
    fabric.set_line(11, true);
    assert_eq!(fabric.accept(0), interrupt(0x41));
    assert_ne!(entry(&mut fabric, 11) & 1 << 14, 0, "the processor works on it");
    fabric.set_line(11, true);
    assert_eq!(fabric.accept(0), None);
    fabric.write_local(0, END, 0, 0);
    assert_eq!(fabric.accept(0), interrupt(0x41));
    fabric.set_line(11, false);
    fabric.write_local(0, END, 0, 0);
    assert_eq!(fabric.accept(0), None);
    assert_eq!(entry(&mut fabric, 11) & 1 << 14, 0);
}

#[test]
fn a_state_at_a_masked_pin_interrupts_when_the_mask_goes() {
    let mut fabric = started(1);
    redirect(&mut fabric, 11, 0x1_8041);
    fabric.set_line(11, true);
    assert_eq!(fabric.accept(0), None);
    redirect(&mut fabric, 11, 0x8041);
    assert_eq!(fabric.accept(0), interrupt(0x41));
}

#[test]
fn a_state_waits_for_a_processor_that_is_switched_on_later() {
    let mut fabric = Fabric::new(1);
    redirect(&mut fabric, 11, 0x8041);
    fabric.set_pin(11, true);
    assert_eq!(fabric.accept(0), None);
    fabric.write_local(0, SPURIOUS, 0x1ff, 0);
    assert_eq!(fabric.accept(0), interrupt(0x41));
}

#[test]
fn remote_irr_and_reserved_bits_cannot_be_written() {
    let mut fabric = started(1);
    redirect(&mut fabric, 3, u64::MAX);
    fabric.write_io(0, 0x16);
    assert_eq!(fabric.read_io(0x10), 0x1_afff);
    fabric.write_io(0, 0x17);
    assert_eq!(fabric.read_io(0x10), 0xff00_0000);
    fabric.write_io(0, 1);
    assert_eq!(fabric.read_io(0x10), 0x0017_0011);
}

#[test]
fn the_timer_is_at_pin_two() {
    let mut fabric = started(1);
    redirect(&mut fabric, 2, 0x30);
    fabric.set_line(0, true);
    assert_eq!(fabric.accept(0), interrupt(0x30));
}

#[test]
fn the_more_urgent_interrupt_goes_first_and_interrupts_the_less_urgent_one() {
    let mut fabric = started(1);
    fabric.signal(0xfee0_0000, 0x51);
    fabric.signal(0xfee0_0000, 0x81);
    assert_eq!(fabric.accept(0), interrupt(0x81));
    assert_eq!(fabric.accept(0), None, "0x51 waits");
    fabric.signal(0xfee0_0000, 0x82);
    assert_eq!(fabric.accept(0), None, "of the same class");
    fabric.signal(0xfee0_0000, 0x91);
    assert_eq!(fabric.accept(0), interrupt(0x91));
    for vector in [0x82, 0x51] {
        fabric.write_local(0, END, 0, 0);
        if vector == 0x82 {
            fabric.write_local(0, END, 0, 0);
        }
        assert_eq!(fabric.accept(0), interrupt(vector));
    }
}

#[test]
fn the_task_priority_holds_interrupts_back() {
    let mut fabric = started(1);
    fabric.write_local(0, TASK_PRIORITY, 0x50, 0);
    assert_eq!(fabric.task_priority_class(0), 5);
    fabric.signal(0xfee0_0000, 0x51);
    assert_eq!(fabric.next_interrupt(0), None);
    fabric.set_task_priority_class(0, 4);
    assert_eq!(fabric.next_interrupt(0), interrupt(0x51));
    assert_eq!(fabric.read_local(0, 0xa0, 0), 0x40);
}

#[test]
fn processors_interrupt_one_another_by_every_shorthand() {
    let expectations: [(u32, [bool; 3]); 3] =
        [(0x4_0040, [true, false, false]), (0x8_0040, [true, true, true]), (0xc_0040, [false, true, true])];
    for (command, expected) in expectations {
        let mut fabric = started(3);
        send(&mut fabric, 0, 0, command);
        assert_eq!([0, 1, 2].map(|to| fabric.accept(to).is_some()), expected, "{command:#x}");
    }
}

#[test]
fn destinations_are_physical_or_logical_or_all() {
    for (command, to, expected) in [
        (0x40, 1, [false, true, false]),
        (0x40, 0xff, [true, true, true]),
        (0x840, 0b101, [true, false, true]),
        (0x840, 0, [false, false, false]),
        (0x40, 77, [false, false, false]),
    ] {
        let mut fabric = started(3);
        send(&mut fabric, 0, to, command);
        assert_eq!([0, 1, 2].map(|to| fabric.accept(to).is_some()), expected, "{command:#x} to {to}");
    }
}

#[test]
fn clusters_match_by_number_and_member() {
    let mut fabric = started(2);
    for (processor, id) in [(0, 0x11), (1, 0x21)] {
        fabric.write_local(processor, DESTINATION_FORMAT, 0, 0);
        fabric.write_local(processor, LOGICAL_DESTINATION, id << 24, 0);
    }
    send(&mut fabric, 0, 0x23, 0x840);
    assert_eq!((fabric.accept(0), fabric.accept(1)), (None, interrupt(0x40)));
}

#[test]
fn lowest_priority_goes_to_who_does_the_least_urgent_work() {
    let mut fabric = started(3);
    fabric.write_local(0, TASK_PRIORITY, 0x20, 0);
    fabric.write_local(1, TASK_PRIORITY, 0x10, 0);
    fabric.write_local(2, TASK_PRIORITY, 0x30, 0);
    redirect(&mut fabric, 5, 0x0700_0000_0000_0944);
    fabric.set_line(5, true);
    assert_eq!([0, 1, 2].map(|to| fabric.accept(to).is_some()), [false, true, false]);
}

#[test]
fn a_second_processor_is_started_as_linux_does_it() {
    let mut fabric = started(2);
    fabric.take_changed(1);
    send(&mut fabric, 0, 1, 0xc500);
    assert!(fabric.take_changed(1));
    assert_eq!(fabric.take_signal(1), Some(Signal::Init));
    assert_eq!(fabric.read_local(1, SPURIOUS, 0), 0xff, "as after reset");
    send(&mut fabric, 0, 1, 0x8500);
    assert_eq!(fabric.take_signal(1), None, "de-assert is nothing");
    send(&mut fabric, 0, 1, 0x69a);
    send(&mut fabric, 0, 1, 0x69a);
    assert_eq!(fabric.take_signal(1), Some(Signal::StartUp { page: 0x9a }));
    assert_eq!(fabric.take_signal(1), None);
    assert_eq!(fabric.take_signal(0), None);
}

#[test]
fn a_non_maskable_interrupt_goes_before_all_others() {
    let mut fabric = started(2);
    send(&mut fabric, 0, 1, 0x0fd);
    send(&mut fabric, 0, 1, 0x400);
    assert_eq!(fabric.accept(1), Some(Pending::NonMaskable));
    assert_eq!(fabric.accept(1), interrupt(0xfd));
}

#[test]
fn vectors_of_exceptions_are_errors_and_no_interrupts() {
    let mut fabric = started(1);
    fabric.write_local(0, 0x370, 0xfe, 0);
    send(&mut fabric, 0, 0, 0x0f);
    fabric.write_local(0, ERROR_STATUS, 0, 0);
    assert_eq!(fabric.read_local(0, ERROR_STATUS, 0), 1 << 5);
    fabric.signal(0xfee0_0000, 3);
    fabric.write_local(0, ERROR_STATUS, 0, 0);
    assert_eq!(fabric.read_local(0, ERROR_STATUS, 0), 1 << 6);
    assert_eq!(fabric.accept(0), interrupt(0xfe), "the error's own interrupt");
    assert_eq!(fabric.accept(0), None);
}

#[test]
fn an_error_vector_that_is_itself_illegal_ends() {
    let mut fabric = started(1);
    fabric.write_local(0, 0x370, 0x05, 0);
    send(&mut fabric, 0, 0, 0x0f);
    assert_eq!(fabric.accept(0), None);
}

#[test]
fn the_timer_counts_down_once() {
    let mut fabric = started(1);
    fabric.write_local(0, TIMER, 0xec, 0);
    fabric.write_local(0, DIVIDE, 0b0011, 0);
    fabric.write_local(0, INITIAL_COUNT, 1000, 50);
    assert_eq!(fabric.next_deadline(0), Some(16_050), "16 ns a count");
    assert_eq!(fabric.read_local(0, CURRENT_COUNT, 8_050), 500);
    fabric.advance(0, 16_049);
    assert_eq!(fabric.accept(0), None);
    fabric.take_changed(0);
    fabric.advance(0, 16_050);
    assert!(fabric.take_changed(0), "a processor that halts has to be woken");
    assert_eq!(fabric.accept(0), interrupt(0xec));
    assert_eq!((fabric.next_deadline(0), fabric.read_local(0, CURRENT_COUNT, 20_000)), (None, 0));
}

#[test]
fn the_periodic_timer_keeps_its_phase_and_does_not_catch_up() {
    let mut fabric = started(1);
    fabric.write_local(0, TIMER, 0x2_00ec, 0);
    fabric.write_local(0, DIVIDE, 0b1011, 0);
    fabric.write_local(0, INITIAL_COUNT, 1_000_000, 0);
    fabric.advance(0, 3_400_000);
    assert_eq!(fabric.next_deadline(0), Some(4_000_000));
    assert_eq!(fabric.accept(0), interrupt(0xec));
    fabric.write_local(0, END, 0, 0);
    assert_eq!(fabric.accept(0), None);
}

#[test]
fn a_short_period_does_not_keep_the_monitor_busy() {
    let mut fabric = started(1);
    fabric.write_local(0, TIMER, 0x2_00ec, 0);
    fabric.write_local(0, DIVIDE, 0b1011, 0);
    fabric.write_local(0, INITIAL_COUNT, 1, 0);
    fabric.advance(0, 1000);
    assert!(fabric.next_deadline(0).unwrap() >= 1000.max(MIN_PERIOD_NS));
}

#[test]
fn the_timer_interrupts_at_a_deadline_in_the_mode_for_that() {
    const BY_DEADLINE: u32 = 2 << 17;
    let mut fabric = started(1);
    fabric.write_local(0, TIMER, 0x50, 0);
    fabric.set_deadline(0, 1000, 10);
    assert_eq!((fabric.deadline(0), fabric.next_deadline(0)), (0, None), "it counts");
    fabric.write_local(0, TIMER, BY_DEADLINE | 0x50, 0);
    fabric.write_local(0, INITIAL_COUNT, 100, 0);
    assert_eq!(fabric.next_deadline(0), None, "it does not count");
    fabric.set_deadline(0, 1000, 10);
    fabric.write_local(0, DIVIDE, 0b1011, 5);
    assert_eq!((fabric.deadline(0), fabric.next_deadline(0)), (1000, Some(10)));
    assert_eq!(fabric.read_local(0, CURRENT_COUNT, 5), 0);
    fabric.advance(0, 10);
    assert_eq!(fabric.accept(0), interrupt(0x50));
    assert_eq!((fabric.deadline(0), fabric.next_deadline(0)), (0, None), "it has passed");
    for end in [
        |fabric: &mut Fabric| fabric.set_deadline(0, 0, 0),
        |fabric: &mut Fabric| fabric.write_local(0, TIMER, 0x50, 0),
    ] {
        fabric.set_deadline(0, 2000, 20);
        assert_eq!(fabric.next_deadline(0), Some(20));
        end(&mut fabric);
        assert_eq!((fabric.deadline(0), fabric.next_deadline(0)), (0, None));
    }
}

#[test]
fn a_masked_timer_has_no_deadline() {
    let mut fabric = started(1);
    fabric.write_local(0, INITIAL_COUNT, 1000, 0);
    assert_eq!(fabric.next_deadline(0), None);
    fabric.advance(0, 5000);
    assert_eq!(fabric.accept(0), None);
}

#[test]
fn a_switched_off_apic_takes_nothing_and_masks_its_own() {
    let mut fabric = started(1);
    fabric.write_local(0, TIMER, 0xec, 0);
    fabric.write_local(0, SPURIOUS, 0xff, 0);
    assert_eq!(fabric.read_local(0, TIMER, 0), 0x1_00ec);
    fabric.signal(0xfee0_0000, 0x51);
    fabric.write_local(0, SPURIOUS, 0x1ff, 0);
    assert_eq!(fabric.accept(0), None);
}

#[test]
fn only_the_page_of_interrupts_takes_messages() {
    let mut fabric = started(1);
    assert!(!fabric.signal(0xfec0_0000, 0x51));
    assert!(!fabric.signal(0x1_fee0_0000, 0x51));
    assert_eq!(fabric.accept(0), None);
}

#[derive(Clone, Debug)]
enum Action {
    WriteLocal(usize, u16, u32),
    ReadLocal(usize, u16),
    WriteIo(u16, u32),
    Port(u16, Option<u8>),
    Line(u8, bool),
    Pin(usize, bool),
    Signal(u64, u32),
    Accept(usize),
    End(usize),
    Deadline(usize, u32),
    Advance(u64),
}

fn any_action() -> impl Strategy<Value = Action> {
    let offset = prop_oneof![(0_u16..0x40).prop_map(|index| index * 16), any::<u16>()];
    let value = prop_oneof![any::<u32>(), 0_u32..0x200, (0_u32..0x10_0000)];
    let port = prop_oneof![Just(0x20_u16), Just(0x21), Just(0xa0), Just(0xa1), Just(0x4d0), Just(0x4d1)];
    prop_oneof![
        4 => (0_usize..4, offset.clone(), value.clone()).prop_map(|(p, o, v)| Action::WriteLocal(p, o, v)),
        1 => (0_usize..4, offset).prop_map(|(p, o)| Action::ReadLocal(p, o)),
        4 => (prop_oneof![Just(0_u16), Just(0x10), any::<u16>()], value.clone()).prop_map(|(o, v)| Action::WriteIo(o, v)),
        2 => (port, any::<Option<u8>>()).prop_map(|(p, v)| Action::Port(p, v)),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(l, a)| Action::Line(l % 18, a)),
        2 => (0_usize..26, any::<bool>()).prop_map(|(l, a)| Action::Pin(l, a)),
        1 => (any::<u32>(), value).prop_map(|(a, v)| Action::Signal(0xfee0_0000 | u64::from(a), v)),
        2 => (0_usize..4).prop_map(Action::Accept),
        2 => (0_usize..4).prop_map(Action::End),
        1 => (0_usize..4, any::<u32>()).prop_map(|(p, d)| Action::Deadline(p, d)),
        1 => any::<u64>().prop_map(Action::Advance),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_what_is_pending_can_be_taken_and_no_vector_is_an_exception_of_the_apic(
        actions in prop::collection::vec(any_action(), 0..300)
    ) {
        let mut fabric = Fabric::new(3);
        let mut now = 0_u64;
        // The PICs may name any vector: it is the guest that gives them their base.
        for action in actions {
            match action {
                Action::WriteLocal(processor, offset, value) => fabric.write_local(processor, offset, value, now),
                Action::ReadLocal(processor, offset) => { fabric.read_local(processor, offset, now); }
                Action::WriteIo(offset, value) => fabric.write_io(offset, value),
                Action::Port(port, Some(value)) => { fabric.write_port(port, value); }
                Action::Port(port, None) => { fabric.read_port(port); }
                Action::Line(line, asserted) => fabric.set_line(line, asserted),
                Action::Pin(pin, asserted) => fabric.set_pin(pin, asserted),
                Action::Signal(address, data) => { fabric.signal(address, data); }
                Action::Accept(processor) => {
                    let next = fabric.next_interrupt(processor);
                    prop_assert_eq!(fabric.accept(processor), next);
                    if let (1.., Some(Pending::Interrupt(vector))) = (processor, next) {
                        prop_assert!(vector >= 16);
                        // It is in service now: nothing of its class or below comes before its end.
                        if let Some(Pending::Interrupt(other)) = fabric.next_interrupt(processor) {
                            prop_assert!(other >> 4 > vector >> 4);
                        }
                    }
                }
                Action::End(processor) => {
                    let (unseen, next) = (fabric.can_end_unseen(processor), fabric.next_interrupt(processor));
                    fabric.end_interrupt(processor);
                    prop_assert!(!unseen || fabric.next_interrupt(processor) == next, "something has waited for that");
                }
                Action::Deadline(processor, deadline) => {
                    fabric.set_deadline(processor, deadline.into(), now.saturating_add(deadline.into()));
                }
                Action::Advance(by) => {
                    now = now.saturating_add(by);
                    for processor in 0..4 {
                        fabric.advance(processor, now);
                        if now < u64::MAX / 2 && let Some(deadline) = fabric.next_deadline(processor) {
                            prop_assert!(deadline > now, "a timer that is due has interrupted");
                        }
                    }
                }
            }
            for processor in 0..4 {
                fabric.take_signal(processor);
            }
        }
    }
}

#[test]
fn a_device_names_processors_by_their_logical_numbers_with_and_without_the_hint() {
    let mut fabric = started(2);
    for (address, processor, vector) in [(0xfee0_1004, 0, 0x31), (0xfee0_200c, 1, 0x32), (0xfee0_1000, 1, 0x33)] {
        fabric.signal(address, vector);
        assert_eq!(fabric.accept(processor), interrupt(vector as u8), "{address:#x}");
        fabric.write_local(processor, END, 0, 0);
        assert_eq!(fabric.accept(1 - processor), None);
    }
}
