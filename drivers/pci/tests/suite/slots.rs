//! Slots whose devices come and go, and who is told of it.

use crate::claims::{first, system};
use crate::machine::{Machine, Registers, SLOT_PORT, address};
use pci::bus::{Bus, Start};
use pci::config::{ConfigSpace, Width};
use pci::function::Function;
use pci::hotplug::{Drivers, Slots};
use pci::slot::{Port, Slot, Task};
use proptest::prelude::*;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use userlib::time::{Duration, Instant};

const PORT: (u8, u8, u8) = (0, 4, 0);
const CARD: (u8, u8, u8) = (1, 0, 0);
const CONTROL: u16 = SLOT_PORT + 0x18;
const STATUS: u16 = SLOT_PORT + 0x1a;
const LINK: u16 = SLOT_PORT + 0x12;

const BUTTON: u16 = 1;
const CHANGED: u16 = 1 << 3;
const PRESENT: u16 = 1 << 6;
const POWER_OFF: u16 = 1 << 10;
const INDICATOR: u16 = 0b11 << 8;
const ON: u16 = 0b01 << 8;
const BLINKS: u16 = 0b10 << 8;
const OFF: u16 = 0b11 << 8;

fn machine() -> Machine {
    Machine::new([(PORT, Registers::slot_port(1))])
}

fn port(machine: &Machine) -> Option<Port> {
    Port::of(&machine, &Function::read(&machine, address(PORT.0, PORT.1, PORT.2)))
}

fn word(machine: &Machine, offset: u16) -> u16 {
    machine.read(address(PORT.0, PORT.1, PORT.2), offset, Width::Word) as u16
}

fn set(machine: &Machine, offset: u16, value: u16) {
    machine.set(PORT, offset, &value.to_le_bytes());
}

/// Somebody puts a card in.
fn put_in(machine: &Machine) {
    machine.add(CARD, Registers::disk(0));
    set(machine, STATUS, word(machine, STATUS) | PRESENT | CHANGED);
}

/// The card gets a link once it has power.
fn link_up(machine: &Machine) {
    assert_eq!(word(machine, CONTROL) & POWER_OFF, 0, "it has no power");
    set(machine, LINK, 1 << 13);
}

/// Somebody takes the card out.
fn take_out(machine: &Machine) {
    machine.remove(CARD);
    set(machine, STATUS, word(machine, STATUS) & !PRESENT | CHANGED);
    set(machine, LINK, 0);
}

fn press(machine: &Machine) {
    set(machine, STATUS, word(machine, STATUS) | BUTTON);
}

/// Time since the machine's start, in milliseconds.
fn at(milliseconds: u64) -> Instant {
    Instant(milliseconds * 1_000_000)
}

/// A machine with a card in its slot that is in use from 2 s on.
fn in_use() -> (Machine, Slot) {
    let machine = machine();
    let mut slot = Slot::find(&&machine, port(&machine).unwrap(), true);
    put_in(&machine);
    assert_eq!(slot.advance(&&machine, at(0)), Task::Nothing);
    link_up(&machine);
    assert_eq!(slot.advance(&&machine, at(20)), Task::Nothing);
    assert_eq!(slot.advance(&&machine, at(1_000)), Task::TakeIn);
    (machine, slot)
}

#[test]
fn what_is_put_in_gets_power_and_is_left_alone_until_it_has_settled() {
    let machine = machine();
    let mut slot = Slot::find(&&machine, port(&machine).unwrap(), true);
    assert_eq!(slot.advance(&&machine, at(0)), Task::Nothing);
    assert_ne!(word(&machine, CONTROL) & POWER_OFF, 0, "an empty slot gets no power");
    put_in(&machine);
    assert_eq!(slot.advance(&&machine, at(250)), Task::Nothing);
    assert_eq!(word(&machine, CONTROL) & (POWER_OFF | INDICATOR), ON);
    assert_eq!(word(&machine, STATUS), PRESENT, "the event is taken note of");
    assert_eq!(slot.advance(&&machine, at(400)), Task::Nothing);
    link_up(&machine);
    assert_eq!(slot.advance(&&machine, at(500)), Task::Nothing);
    assert_eq!(slot.advance(&&machine, at(599)), Task::Nothing, "a tenth of a second after its link is up");
    assert_eq!(slot.advance(&&machine, at(600)), Task::TakeIn);
    assert_eq!(slot.advance(&&machine, at(700)), Task::Nothing);
}

#[test]
fn who_presses_the_button_waits_until_everybody_has_let_go() {
    let (machine, mut slot) = in_use();
    press(&machine);
    assert_eq!(slot.advance(&&machine, at(2_000)), Task::Release);
    assert_eq!(word(&machine, CONTROL) & (POWER_OFF | INDICATOR), BLINKS, "it is asked for, and has power");
    press(&machine);
    assert_eq!(slot.advance(&&machine, at(2_020)), Task::Release, "it is asked for already");
    slot.release(&&machine);
    assert_eq!(word(&machine, CONTROL) & (POWER_OFF | INDICATOR), POWER_OFF | OFF);
    // It stays off for as long as nobody touches it.
    assert_eq!(slot.advance(&&machine, at(2_040)), Task::Nothing);
    assert_eq!(slot.advance(&&machine, at(9_000)), Task::Nothing);
    assert_ne!(word(&machine, CONTROL) & POWER_OFF, 0);
    press(&machine);
    slot.advance(&&machine, at(9_100));
    assert_eq!(word(&machine, CONTROL) & POWER_OFF, 0, "the button gives it power again");
}

#[test]
fn without_a_power_controller_what_was_let_go_of_is_left_alone_until_it_is_touched() {
    let machine = machine();
    let uncontrolled = Registers::slot_port(1).with(SLOT_PORT + 0x14, &[0x79]).with(CONTROL, &[0xc0, 0x01]);
    machine.add(PORT, uncontrolled.with(STATUS, &PRESENT.to_le_bytes()).with(LINK, &[0, 0x20]));
    let mut slot = Slot::find(&&machine, port(&machine).unwrap(), true);
    press(&machine);
    assert_eq!(slot.advance(&&machine, at(2_000)), Task::Release);
    slot.release(&&machine);
    for now in [2_100, 3_000, 9_000] {
        assert_eq!(slot.advance(&&machine, at(now)), Task::Nothing);
    }
    press(&machine);
    assert_eq!(slot.advance(&&machine, at(10_000)), Task::Nothing);
    assert_eq!(slot.advance(&&machine, at(10_100)), Task::TakeIn);
}

#[test]
fn nobody_lets_go_of_what_was_not_asked_for() {
    let (machine, mut slot) = in_use();
    slot.release(&&machine);
    assert_eq!(word(&machine, CONTROL) & POWER_OFF, 0);
    assert!(slot.is_in_use());
}

#[test]
fn what_is_pulled_out_is_lost_and_what_is_put_in_is_another_one() {
    let (machine, mut slot) = in_use();
    take_out(&machine);
    assert_eq!(slot.advance(&&machine, at(2_000)), Task::Lost);
    assert_eq!(word(&machine, CONTROL) & (POWER_OFF | INDICATOR), POWER_OFF | OFF);
    assert_eq!(slot.advance(&&machine, at(2_250)), Task::Nothing);
    put_in(&machine);
    slot.advance(&&machine, at(2_500));
    link_up(&machine);
    slot.advance(&&machine, at(2_520));
    assert_eq!(slot.advance(&&machine, at(2_620)), Task::TakeIn);
}

#[test]
fn a_card_that_was_changed_between_two_looks_is_lost_too_and_gets_power_again() {
    let (machine, mut slot) = in_use();
    take_out(&machine);
    put_in(&machine);
    set(&machine, LINK, 1 << 13);
    assert_eq!(slot.advance(&&machine, at(2_000)), Task::Lost);
    assert_eq!(slot.advance(&&machine, at(2_900)), Task::Nothing);
    set(&machine, LINK, 0);
    assert_ne!(word(&machine, CONTROL) & POWER_OFF, 0, "power stays away for a second");
    slot.advance(&&machine, at(3_000));
    assert_eq!(word(&machine, CONTROL) & POWER_OFF, 0);
}

#[test]
fn what_loses_its_power_is_lost() {
    let (machine, mut slot) = in_use();
    set(&machine, CONTROL, word(&machine, CONTROL) | POWER_OFF);
    assert_eq!(slot.advance(&&machine, at(2_000)), Task::Lost);
}

#[test]
fn what_does_not_come_to_life_loses_its_power_and_says_so() {
    let machine = machine();
    let mut slot = Slot::find(&&machine, port(&machine).unwrap(), true);
    put_in(&machine);
    slot.advance(&&machine, at(0));
    assert_eq!(slot.advance(&&machine, at(999)), Task::Nothing);
    assert_eq!(slot.advance(&&machine, at(1_000)), Task::Dead);
    assert_eq!(word(&machine, CONTROL) & (POWER_OFF | INDICATOR), POWER_OFF | OFF);
    assert_eq!(word(&machine, CONTROL) >> 6 & 0b11, 0b01, "the attention indicator is on");
    assert_eq!(slot.advance(&&machine, at(5_000)), Task::Nothing);
}

#[test]
fn a_server_that_comes_back_goes_on_where_the_one_before_stood() {
    let (machine, mut slot) = in_use();
    press(&machine);
    slot.advance(&&machine, at(2_000));
    let mut next = Slot::find(&&machine, port(&machine).unwrap(), false);
    assert_eq!(next.advance(&&machine, at(2_100)), Task::Release, "somebody still waits for the device");
    next.release(&&machine);
    assert_ne!(word(&machine, CONTROL) & POWER_OFF, 0);

    let (machine, _) = in_use();
    take_out(&machine);
    put_in(&machine);
    set(&machine, LINK, 1 << 13);
    let mut next = Slot::find(&&machine, port(&machine).unwrap(), false);
    assert_eq!(next.advance(&&machine, at(2_100)), Task::Lost, "it was changed while nobody looked");
}

#[test]
fn a_port_without_such_a_slot_or_with_nonsense_is_none() {
    let port_with =
        |offset: u16, bytes: &[u8]| port(&Machine::new([(PORT, Registers::slot_port(1).with(offset, bytes))]));
    assert!(port_with(0, &[]).is_some());
    assert_eq!(port_with(SLOT_PORT + 0x14, &[0x1b]), None, "no hot plug");
    assert_eq!(port_with(SLOT_PORT + 0x14, &[0xff; 4]), None, "nonsense");
    assert_eq!(port_with(SLOT_PORT + 0x02, &[0x42, 0]), None, "no slot");
    assert_eq!(port_with(SLOT_PORT + 0x02, &[0x72, 1]), None, "a bridge to conventional PCI");
    assert_eq!(port_with(0x19, &[0]), None, "a bus that cannot be behind it");
    let at_the_end = Registers::bridge(1, 1).capability(0xf0, 0x10, &[]).with(0xf2, &[0x42, 1]);
    assert_eq!(port(&Machine::new([(PORT, at_the_end)])), None, "registers beyond the last one");
}

#[test]
fn a_port_that_is_gone_itself_is_left_alone() {
    let (machine, mut slot) = in_use();
    machine.remove(PORT);
    machine.writes.borrow_mut().clear();
    assert_eq!(slot.advance(&&machine, at(2_000)), Task::Nothing);
    assert_eq!(*machine.writes.borrow(), []);
}

proptest! {
    /// Whatever a port answers: nothing panics, its lock is never moved, and only events that were there are cleared.
    #[test]
    fn whatever_a_port_says_it_is_told_nothing_but_power_and_indicators(
        says in proptest::collection::vec((any::<u16>(), any::<u16>(), any::<u16>(), 0u64..3_000), 1..60),
        releases in any::<u64>(),
    ) {
        let machine = machine();
        let mut slot = Slot::find(&&machine, port(&machine).unwrap(), releases & 1 == 0);
        let mut now = 0;
        for (turn, (control, status, link, pause)) in says.into_iter().enumerate() {
            set(&machine, CONTROL, control);
            set(&machine, STATUS, status);
            set(&machine, LINK, link);
            machine.writes.borrow_mut().clear();
            now += pause;
            let task = slot.advance(&&machine, at(now));
            if task == Task::Release && releases >> (turn % 64) & 1 == 1 {
                slot.release(&&machine);
                prop_assert!(!slot.is_in_use());
            }
            for write in machine.writes.borrow().iter() {
                match write.offset {
                    CONTROL => prop_assert_eq!(write.value & 1 << 11, 0),
                    STATUS => prop_assert_eq!(write.value & !(u32::from(status) & 0x11f), 0),
                    other => prop_assert!(false, "a write to {:#x}", other),
                }
            }
        }
    }
}

/// A supervisor that a test plays.
#[derive(Default)]
struct Told {
    released: Cell<bool>,
    is_away: Cell<bool>,
    said: RefCell<Vec<&'static str>>,
}

#[derive(Clone, Default)]
struct Supervisor(Rc<Told>);

impl Supervisor {
    fn said(&self) -> Vec<&'static str> {
        self.0.said.take()
    }

    fn say<T>(&self, what: &'static str, answer: T) -> Result<T, &'static str> {
        if self.0.is_away.get() {
            return Err("it is away");
        }
        self.0.said.borrow_mut().push(what);
        Ok(answer)
    }
}

impl Drivers for Supervisor {
    type Error = &'static str;

    fn release(&self, port: &Port) -> Result<bool, &'static str> {
        assert_eq!(port.buses(), 1..=1);
        self.say("release", self.0.released.get())
    }

    fn look(&self, _: &Port) -> Result<(), &'static str> {
        self.say("look", ())
    }
}

/// A machine with a disk in its slot that belongs to the only driver, as a server has it that has just started.
fn attended(start: Start<'_>) -> (&'static Machine, Rc<RefCell<Bus<&'static Machine>>>) {
    let port = Registers::slot_port(1).with(CONTROL, &[0xc0, 0x01]).with(STATUS, &[0x40]).with(LINK, &[0, 0x20]);
    let functions = [(PORT, port), (CARD, Registers::disk(0xc800_0000))];
    let machine: &'static Machine = Box::leak(Box::new(Machine::new(functions)));
    let system = system(&[(0x1af4, &[0x1042], 0)]);
    let bus = match start {
        Start::First => first(machine, &system),
        again => {
            let mut bus = Bus::find(machine, vec![crate::machine::WINDOW], again);
            bus.assign(&system);
            bus
        }
    };
    (machine, Rc::new(RefCell::new(bus)))
}

/// Lets the slots be looked at as often as they want, for so long; returns whether the bus has changed.
fn pass<C: ConfigSpace>(slots: &mut Slots<C, Supervisor>, now: &mut Instant, time: Duration) -> bool {
    let end = *now + time;
    let mut has_changed = false;
    while *now < end {
        let (wait, changed) = slots.advance(*now);
        has_changed |= changed;
        slots.announce();
        assert!(wait > Duration::ZERO && wait <= Duration::from_millis(250), "{wait:?}");
        *now = *now + wait;
    }
    has_changed
}

#[test]
fn a_disk_leaves_when_its_driver_has_let_go_and_is_announced_when_it_is_back() {
    let (machine, bus) = attended(Start::First);
    let supervisor = Supervisor::default();
    let mut slots = Slots::find(bus.clone(), supervisor.clone(), true);
    slots.take_in();
    let mut now = at(0);
    bus.borrow_mut().claim(1).unwrap();
    assert!(!pass(&mut slots, &mut now, Duration::from_secs(2)));
    assert!(supervisor.said().is_empty(), "nothing has happened");

    press(machine);
    pass(&mut slots, &mut now, Duration::from_secs(1));
    assert!(supervisor.said().iter().all(|said| *said == "release"));
    assert!(bus.borrow().owned_by(1).is_ok(), "the driver is still at work");
    assert_eq!(word(machine, CONTROL) & POWER_OFF, 0);
    supervisor.0.released.set(true);
    assert!(pass(&mut slots, &mut now, Duration::from_secs(1)));
    assert_ne!(word(machine, CONTROL) & POWER_OFF, 0);
    assert!(bus.borrow().owned_by(1).is_err());
    take_out(machine);
    pass(&mut slots, &mut now, Duration::from_secs(1));
    assert!(!supervisor.said().contains(&"look"), "everybody knows");

    put_in(machine);
    pass(&mut slots, &mut now, Duration::from_millis(300));
    link_up(machine);
    assert!(pass(&mut slots, &mut now, Duration::from_secs(1)));
    assert_eq!(supervisor.said(), ["look"]);
    bus.borrow_mut().claim(1).unwrap();
    assert_eq!(bus.borrow().bar(1, 4).unwrap().0.length, 0x4000);
}

#[test]
fn who_could_not_be_told_is_told_again() {
    let (machine, bus) = attended(Start::First);
    let supervisor = Supervisor::default();
    let mut slots = Slots::find(bus, supervisor.clone(), true);
    let mut now = at(0);
    supervisor.0.is_away.set(true);
    take_out(machine);
    assert!(pass(&mut slots, &mut now, Duration::from_secs(2)));
    assert!(supervisor.said().is_empty());
    supervisor.0.is_away.set(false);
    pass(&mut slots, &mut now, Duration::from_secs(1));
    assert_eq!(supervisor.said(), ["look"]);
}

#[test]
fn a_server_that_comes_back_says_once_more_what_there_is() {
    let (_, bus) = attended(Start::Again(&[]));
    let supervisor = Supervisor::default();
    let mut slots = Slots::find(bus, supervisor.clone(), false);
    pass(&mut slots, &mut at(0), Duration::from_secs(1));
    assert_eq!(supervisor.said(), ["look"]);
}
