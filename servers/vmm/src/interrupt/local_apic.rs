//! A local APIC in xAPIC mode (Intel SDM 3A, chapter 11), whose registers are a page of memory.
//!
//! It has no TSC-deadline mode and no x2APIC: the processor's identification must not promise them.

use super::message::{Delivery, Destination, Message, Trigger};

/// Frequency of the bus clock, from which the timer's divider makes its own.
pub const BUS_HERTZ: u64 = 1_000_000_000;
/// A periodic timer interrupts no more often: a guest must not keep its monitor busy by that alone.
pub const MIN_PERIOD_NS: u64 = 100_000;

/// Offsets of registers in the page (table 11-1).
mod register {
    pub(super) const ID: u16 = 0x20;
    pub(super) const VERSION: u16 = 0x30;
    pub(super) const TASK_PRIORITY: u16 = 0x80;
    pub(super) const PROCESSOR_PRIORITY: u16 = 0xa0;
    pub(super) const END_OF_INTERRUPT: u16 = 0xb0;
    pub(super) const LOGICAL_DESTINATION: u16 = 0xd0;
    pub(super) const DESTINATION_FORMAT: u16 = 0xe0;
    pub(super) const SPURIOUS: u16 = 0xf0;
    pub(super) const IN_SERVICE: u16 = 0x100;
    pub(super) const TRIGGER_MODE: u16 = 0x180;
    pub(super) const REQUEST: u16 = 0x200;
    pub(super) const ERROR_STATUS: u16 = 0x280;
    pub(super) const COMMAND_LOW: u16 = 0x300;
    pub(super) const COMMAND_HIGH: u16 = 0x310;
    pub(super) const LOCAL_VECTORS: u16 = 0x320;
    pub(super) const INITIAL_COUNT: u16 = 0x380;
    pub(super) const CURRENT_COUNT: u16 = 0x390;
    pub(super) const DIVIDE: u16 = 0x3e0;
}

/// Version 0x14 (integrated), highest local vector 5.
const VERSION: u32 = 5 << 16 | 0x14;
/// Places in the table of local vectors: timer, thermal, performance, LINT0, LINT1, error.
const TIMER: usize = 0;
const LINT0: usize = 3;
const ERROR: usize = 5;
/// What can be written in each of them (figure 11-8).
const WRITABLE: [u32; 6] = [0x0007_00ff, 0x0001_07ff, 0x0001_07ff, 0x0001_a7ff, 0x0001_a7ff, 0x0001_00ff];
const MASKED: u32 = 1 << 16;
/// Modes of the timer (section 11.5.4), in its local vector.
const TIMER_MODE: u32 = 3 << 17;
const PERIODIC: u32 = 1 << 17;
const BY_DEADLINE: u32 = 2 << 17;
const SOFTWARE_ENABLED: u32 = 1 << 8;
/// Error status (figure 11-9): an illegal vector was sent or received, a reserved register accessed.
const SEND_ILLEGAL_VECTOR: u32 = 1 << 5;
const RECEIVE_ILLEGAL_VECTOR: u32 = 1 << 6;
const ILLEGAL_REGISTER: u32 = 1 << 7;
/// Vectors below are exceptions (section 11.5.2).
const FIRST_VECTOR: u8 = 16;

/// 256 bits, one a vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Vectors([u32; 8]);

impl Vectors {
    fn set(&mut self, vector: u8) {
        self.0[usize::from(vector / 32)] |= 1 << (vector % 32);
    }

    fn clear(&mut self, vector: u8) {
        self.0[usize::from(vector / 32)] &= !(1 << (vector % 32));
    }

    fn contains(&self, vector: u8) -> bool {
        self.0[usize::from(vector / 32)] & 1 << (vector % 32) != 0
    }

    fn highest(&self) -> Option<u8> {
        let (index, word) = self.0.iter().enumerate().rev().find(|(_, word)| **word != 0)?;
        Some((index * 32) as u8 + word.ilog2() as u8)
    }
}

/// What a write to a local APIC leaves for others to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Consequence {
    /// Nothing.
    Nothing,
    /// This goes to other processors, or to this one.
    Send(Message),
    /// The work on a level-triggered interrupt has ended: the I/O APIC has to know.
    EndOfLevel(u8),
}

/// The timer while it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Countdown {
    /// When the count is 0, in nanoseconds.
    zero_at: u64,
}

/// A local APIC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalApic {
    id: u8,
    task_priority: u8,
    logical_destination: u32,
    destination_format: u32,
    spurious: u32,
    request: Vectors,
    in_service: Vectors,
    level: Vectors,
    /// What a read shows, and what was met with since it was last latched by a write.
    error_status: u32,
    errors: u32,
    command: [u32; 2],
    local_vectors: [u32; 6],
    initial_count: u32,
    divide: u32,
    countdown: Option<Countdown>,
    /// What the guest's time-stamp counter says when the timer interrupts; 0 if there is no such time.
    deadline: u64,
}

impl LocalApic {
    /// After reset (section 11.4.7.1), for the processor with this APIC id.
    #[must_use]
    pub fn new(id: u8) -> Self {
        Self {
            id,
            task_priority: 0,
            logical_destination: 0,
            destination_format: u32::MAX,
            spurious: 0xff,
            request: Vectors::default(),
            in_service: Vectors::default(),
            level: Vectors::default(),
            error_status: 0,
            errors: 0,
            command: [0; 2],
            local_vectors: [MASKED; 6],
            initial_count: 0,
            divide: 0,
            countdown: None,
            deadline: 0,
        }
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> u8 {
        self.id
    }

    /// The state after an INIT message: as after reset, the number stays (section 11.4.7.3).
    pub fn initialise(&mut self) {
        *self = Self::new(self.id);
    }

    /// Whether the software has switched it on.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.spurious & SOFTWARE_ENABLED != 0
    }

    /// What the guest reads at `offset` in the page. An offset that is no register's gives 0 and is an error for the
    /// error status register.
    pub fn read(&mut self, offset: u16, now: u64) -> u32 {
        let words = |vectors: &Vectors, base| vectors.0[usize::from((offset - base) / 16)];
        match offset {
            _ if !offset.is_multiple_of(16) => 0,
            register::ID => u32::from(self.id) << 24,
            register::VERSION => VERSION,
            register::TASK_PRIORITY => u32::from(self.task_priority),
            register::PROCESSOR_PRIORITY => u32::from(self.processor_priority()),
            register::END_OF_INTERRUPT => 0,
            register::LOGICAL_DESTINATION => self.logical_destination,
            register::DESTINATION_FORMAT => self.destination_format,
            register::SPURIOUS => self.spurious,
            register::IN_SERVICE..register::TRIGGER_MODE => words(&self.in_service, register::IN_SERVICE),
            register::TRIGGER_MODE..register::REQUEST => words(&self.level, register::TRIGGER_MODE),
            register::REQUEST..register::ERROR_STATUS => words(&self.request, register::REQUEST),
            register::ERROR_STATUS => self.error_status,
            register::COMMAND_LOW => self.command[0],
            register::COMMAND_HIGH => self.command[1],
            register::LOCAL_VECTORS..register::INITIAL_COUNT => {
                self.local_vectors[usize::from((offset - register::LOCAL_VECTORS) / 16)]
            }
            register::INITIAL_COUNT => self.initial_count,
            register::CURRENT_COUNT => self.current_count(now),
            register::DIVIDE => self.divide,
            _ => {
                self.meet_error(ILLEGAL_REGISTER);
                0
            }
        }
    }

    /// The guest writes at `offset` in the page.
    pub fn write(&mut self, offset: u16, value: u32, now: u64) -> Consequence {
        match offset {
            _ if !offset.is_multiple_of(16) => {}
            // What follows is for reading, or was for processors that are long gone.
            register::ID
            | register::VERSION
            | register::PROCESSOR_PRIORITY
            | register::IN_SERVICE..register::ERROR_STATUS
            | register::CURRENT_COUNT => {}
            register::TASK_PRIORITY => self.task_priority = value as u8,
            register::END_OF_INTERRUPT => return self.end_of_interrupt(),
            register::LOGICAL_DESTINATION => self.logical_destination = value & 0xff00_0000,
            register::DESTINATION_FORMAT => self.destination_format = value | 0x0fff_ffff,
            register::SPURIOUS => {
                self.spurious = value & 0x1ff;
                if !self.is_enabled() {
                    // Section 11.4.7.2: local vectors are masked and stay so.
                    self.local_vectors.iter_mut().for_each(|vector| *vector |= MASKED);
                }
            }
            register::ERROR_STATUS => self.error_status = core::mem::take(&mut self.errors),
            register::COMMAND_LOW => return self.command(value),
            register::COMMAND_HIGH => self.command[1] = value & 0xff00_0000,
            register::LOCAL_VECTORS..register::INITIAL_COUNT => {
                let index = usize::from((offset - register::LOCAL_VECTORS) / 16);
                let masked = if self.is_enabled() { 0 } else { MASKED };
                let changed = value & WRITABLE[index] | masked;
                // Counts and deadlines do not outlive each other's mode.
                if index == TIMER && (changed & TIMER_MODE == BY_DEADLINE) != self.is_by_deadline() {
                    (self.countdown, self.deadline) = (None, 0);
                }
                self.local_vectors[index] = changed;
            }
            register::INITIAL_COUNT if self.is_by_deadline() => {}
            register::INITIAL_COUNT => {
                self.initial_count = value;
                self.countdown = (value != 0).then(|| Countdown { zero_at: now.saturating_add(self.period()) });
            }
            register::DIVIDE => self.set_divide(value & 0b1011, now),
            _ => self.meet_error(ILLEGAL_REGISTER),
        }
        Consequence::Nothing
    }

    /// An interrupt arrives. Returns whether it was taken: not while the APIC is switched off.
    pub fn deliver(&mut self, vector: u8, trigger: Trigger) -> bool {
        if !self.is_enabled() {
            return false;
        }
        if vector < FIRST_VECTOR {
            self.meet_error(RECEIVE_ILLEGAL_VECTOR);
            return false;
        }
        self.request.set(vector);
        match trigger {
            Trigger::Edge => self.level.clear(vector),
            Trigger::Level => self.level.set(vector),
        }
        true
    }

    /// The interrupt that the processor is to take, if one is urgent enough.
    #[must_use]
    pub fn next_interrupt(&self) -> Option<u8> {
        self.request.highest().filter(|vector| vector >> 4 > self.processor_priority() >> 4 && self.is_enabled())
    }

    /// The processor takes the interrupt that [`LocalApic::next_interrupt`] has named. Another vector changes nothing.
    pub fn accept(&mut self, vector: u8) {
        if self.request.contains(vector) {
            self.request.clear(vector);
            self.in_service.set(vector);
        }
    }

    /// When the timer interrupts next, in nanoseconds.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        let open = self.local_vectors[TIMER] & MASKED == 0;
        self.countdown.filter(|_| open).map(|countdown| countdown.zero_at)
    }

    /// The deadline that the guest has set and that has not passed, by its time-stamp counter (section 11.5.4.1); 0 if there is none.
    #[must_use]
    pub fn deadline(&self) -> u64 {
        self.deadline
    }

    /// The guest sets the deadline, which is at `at` in nanoseconds; 0 is none. In another mode of the timer that means nothing.
    pub fn set_deadline(&mut self, deadline: u64, at: u64) {
        if self.is_by_deadline() {
            self.deadline = deadline;
            self.countdown = (deadline != 0).then_some(Countdown { zero_at: at });
        }
    }

    /// Time has passed: the timer interrupts if it is due, once even if it was due several times. Returns whether it was.
    pub fn advance(&mut self, now: u64) -> bool {
        let Some(countdown) = self.countdown.filter(|countdown| countdown.zero_at <= now) else { return false };
        let periodic = self.local_vectors[TIMER] & TIMER_MODE == PERIODIC;
        self.deadline = 0;
        self.countdown = periodic.then(|| {
            let period = self.period().max(MIN_PERIOD_NS);
            let missed = (now - countdown.zero_at) / period;
            Countdown { zero_at: countdown.zero_at.saturating_add(period.saturating_mul(missed + 1)) }
        });
        self.deliver_local(TIMER);
        true
    }

    /// Whether the processor takes the PICs' interrupts, by its pin LINT0. It does so too before any software has
    /// switched the APIC on (section 11.4.7).
    #[must_use]
    pub fn listens_to_pics(&self) -> bool {
        let entry = self.local_vectors[LINT0];
        if entry & MASKED != 0 { !self.is_enabled() } else { Delivery::from_bits(entry >> 8) == Delivery::External }
    }

    /// The priority below which interrupts wait, as control register 8 has it: 0 to 15.
    #[must_use]
    pub fn task_priority_class(&self) -> u8 {
        self.task_priority >> 4
    }

    /// The guest writes control register 8.
    pub fn set_task_priority_class(&mut self, class: u8) {
        self.task_priority = class << 4;
    }

    /// The priority of what the processor does (section 11.8.3.1).
    #[must_use]
    pub fn processor_priority(&self) -> u8 {
        let serving = self.in_service.highest().unwrap_or(0);
        if self.task_priority >> 4 >= serving >> 4 { self.task_priority } else { serving & 0xf0 }
    }

    /// Whether a message is for this one, sent by the processor with the number `sender` if by one.
    #[must_use]
    pub fn is_meant(&self, destination: Destination, sender: Option<u8>) -> bool {
        let own = sender == Some(self.id);
        match destination {
            Destination::Physical(id) => id == 0xff || id == self.id,
            Destination::Logical(mask) => self.matches_logically(mask),
            Destination::Oneself => own,
            Destination::All => true,
            Destination::Others => !own,
        }
    }

    /// Section 11.6.2.2: flat, a bit a processor; or in clusters of four.
    fn matches_logically(&self, mask: u8) -> bool {
        let own = (self.logical_destination >> 24) as u8;
        let flat = self.destination_format >> 28 == 0xf;
        mask == 0xff || if flat { own & mask != 0 } else { own >> 4 == mask >> 4 && own & mask & 0x0f != 0 }
    }

    fn meet_error(&mut self, error: u32) {
        // One interrupt for each kind until the guest looks; the error's own vector being illegal adds nothing.
        if self.errors & error == 0 {
            self.errors |= error;
            self.deliver_local(ERROR);
        }
    }

    fn deliver_local(&mut self, index: usize) {
        let entry = self.local_vectors[index];
        if entry & MASKED == 0 {
            self.deliver(entry as u8, Trigger::Edge);
        }
    }

    /// Whether the processor works on an interrupt, of an event, whose end lets no other through.
    pub(super) fn can_end_unseen(&self) -> bool {
        self.request.highest().is_none() && self.in_service.highest().is_some_and(|vector| !self.level.contains(vector))
    }

    pub(super) fn end_of_interrupt(&mut self) -> Consequence {
        let Some(vector) = self.in_service.highest() else { return Consequence::Nothing };
        self.in_service.clear(vector);
        if self.level.contains(vector) { Consequence::EndOfLevel(vector) } else { Consequence::Nothing }
    }

    /// The interrupt command register (section 11.6.1).
    fn command(&mut self, value: u32) -> Consequence {
        // Delivery is at once, so its status bit is never seen set.
        self.command[0] = value & 0x000c_cfff;
        let delivery = Delivery::from_bits(value >> 8);
        let vector = value as u8;
        let level = value & (1 << 15) != 0;
        let asserted = value & (1 << 14) != 0;
        if delivery == Delivery::Init && level && !asserted {
            // De-assert synchronised the arbitration of processors before the Pentium 4.
            return Consequence::Nothing;
        }
        if matches!(delivery, Delivery::Fixed | Delivery::LowestPriority) && vector < FIRST_VECTOR {
            self.meet_error(SEND_ILLEGAL_VECTOR);
            return Consequence::Nothing;
        }
        let id = (self.command[1] >> 24) as u8;
        let destination = match value >> 18 & 3 {
            0 if value & (1 << 11) != 0 => Destination::Logical(id),
            0 => Destination::Physical(id),
            1 => Destination::Oneself,
            2 => Destination::All,
            _ => Destination::Others,
        };
        // Whatever it says, an interrupt between processors is an event.
        Consequence::Send(Message { vector, delivery, trigger: Trigger::Edge, destination })
    }

    fn is_by_deadline(&self) -> bool {
        self.local_vectors[TIMER] & TIMER_MODE == BY_DEADLINE
    }

    fn period(&self) -> u64 {
        u64::from(self.initial_count) * count_ns(self.divide)
    }

    fn current_count(&self, now: u64) -> u32 {
        let Some(countdown) = self.countdown.filter(|_| !self.is_by_deadline()) else { return 0 };
        let left = countdown.zero_at.saturating_sub(now).div_ceil(count_ns(self.divide));
        u32::try_from(left).unwrap_or(u32::MAX).min(self.initial_count)
    }

    /// What is left of the count is counted on in the new steps.
    fn set_divide(&mut self, divide: u32, now: u64) {
        let left = u64::from(self.current_count(now));
        self.divide = divide;
        let counts = !self.is_by_deadline();
        if let Some(countdown) = self.countdown.as_mut().filter(|_| counts) {
            countdown.zero_at = now.saturating_add(left * count_ns(divide));
        }
    }
}

/// Nanoseconds that one count takes with this divide configuration: 1 to 128 clocks of the bus (figure 11-10).
fn count_ns(divide: u32) -> u64 {
    let power = divide & 0b11 | (divide & 0b1000) >> 1;
    let divisor = if power == 7 { 1 } else { 2 << power };
    divisor * (1_000_000_000 / BUS_HERTZ)
}
