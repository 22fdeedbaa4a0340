use proptest::prelude::*;
use vmm::interrupt::{Fabric, Pending, PicPair};

/// Set up as Linux does: vectors 0x30 and 0x38, everything open.
fn started() -> PicPair {
    let mut pics = PicPair::new();
    for (port, value) in [
        (0x20, 0x11),
        (0x21, 0x30),
        (0x21, 0x04),
        (0x21, 0x01),
        (0xa0, 0x11),
        (0xa1, 0x38),
        (0xa1, 0x02),
        (0xa1, 0x01),
        (0x21, 0x00),
        (0xa1, 0x00),
    ] {
        assert!(pics.write(port, value));
    }
    pics
}

#[test]
fn linux_finds_the_pics() {
    // probe_8259A in arch/x86/kernel/i8259.c.
    let mut pics = PicPair::new();
    pics.write(0xa1, 0xff);
    pics.write(0x21, !(1 << 2));
    assert_eq!(pics.read(0x21), Some(!(1 << 2)));
}

#[test]
fn an_interrupt_is_taken_with_its_vector_and_once() {
    let mut pics = started();
    pics.set(4, true);
    assert_eq!(pics.accept(), Some(0x34));
    assert_eq!(pics.next_interrupt(), None);
    pics.write(0x20, 0x20);
    assert_eq!(pics.next_interrupt(), None, "the line did not rise again");
}

#[test]
fn the_second_ones_lines_come_through_the_first() {
    let mut pics = started();
    pics.set(8, true);
    pics.set(12, true);
    assert_eq!(pics.accept(), Some(0x38));
    pics.write(0xa0, 0x20);
    pics.write(0x20, 0x20);
    assert_eq!(pics.accept(), Some(0x3c));
    pics.write(0xa0, 0x64);
    pics.write(0x20, 0x62);
    assert_eq!(pics.next_interrupt(), None);
}

#[test]
fn lower_lines_are_more_urgent() {
    let mut pics = started();
    pics.set(5, true);
    assert_eq!(pics.accept(), Some(0x35));
    pics.set(7, true);
    assert_eq!(pics.next_interrupt(), None);
    pics.set(1, true);
    assert_eq!(pics.accept(), Some(0x31));
    pics.write(0x20, 0x0b);
    assert_eq!(pics.read(0x20), Some(0b10_0010), "both are in service");
    pics.write(0x20, 0x20);
    pics.write(0x20, 0x20);
    assert_eq!(pics.accept(), Some(0x37));
}

#[test]
fn a_masked_line_waits() {
    let mut pics = started();
    pics.write(0x21, 0x10);
    pics.set(4, true);
    assert_eq!(pics.next_interrupt(), None);
    pics.write(0x21, 0);
    assert_eq!(pics.next_interrupt(), Some(0x34));
    pics.set(4, false);
    assert_eq!(pics.next_interrupt(), None, "it fell before anybody took it");
}

#[test]
fn a_state_comes_again_after_its_end() {
    let mut pics = started();
    pics.write(0x4d1, 0x08);
    pics.set(11, true);
    assert_eq!(pics.accept(), Some(0x3b));
    assert_eq!(pics.next_interrupt(), None);
    pics.write(0xa0, 0x20);
    pics.write(0x20, 0x20);
    assert_eq!(pics.accept(), Some(0x3b));
}

#[test]
fn the_first_processor_listens_to_the_pics_until_it_closes_its_wire() {
    let mut fabric = Fabric::new(2);
    for (port, value) in [(0x20, 0x11), (0x21, 0x30), (0x21, 0x04), (0x21, 0x01), (0x21, 0x00)] {
        assert!(fabric.write_port(port, value));
    }
    fabric.set_line(0, true);
    assert_eq!(fabric.next_interrupt(0), Some(Pending::Interrupt(0x30)));
    assert_eq!(fabric.next_interrupt(1), None);
    fabric.write_local(0, 0xf0, 0x1ff, 0);
    assert_eq!(fabric.next_interrupt(0), None);
    fabric.write_local(0, 0x350, 0x700, 0);
    assert_eq!(fabric.accept(0), Some(Pending::Interrupt(0x30)));
    assert_eq!(fabric.accept(0), None);
}

proptest! {
    #[test]
    fn any_commands_leave_pics_whose_next_interrupt_is_the_one_that_is_taken(
        actions in prop::collection::vec((0_u8..9, any::<u8>()), 0..200)
    ) {
        let ports = [0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1];
        let mut pics = PicPair::new();
        for (action, value) in actions {
            match action {
                0..6 => { pics.write(ports[usize::from(action)], value); }
                6 => { pics.read(ports[usize::from(value % 6)]); }
                7 => pics.set(value % 18, value & 0x80 != 0),
                _ => {
                    let next = pics.next_interrupt();
                    prop_assert_eq!(pics.accept(), next);
                }
            }
        }
    }
}
