//! A 16550 that sends and receives by interrupts.
//!
//! The interrupt line is edge-triggered: it must fall before another interrupt can come. So every service goes on until
//! the device itself says that nothing is pending, and the line is acknowledged before, not after.

use crate::queue::Queue;
use crate::registers::{
    DATA_READY, DIVISOR, EIGHT_BITS, ENABLE_RECEIVED, ENABLE_TRANSMITTER, FIFO_ENABLE, FIFO_LENGTH, MODEM_ON,
    NO_INTERRUPT, Registers, SELECT_DIVISOR, TRANSMITTER_IDLE, TRANSMITTER_ROOM,
};
use driver::AttachError;

/// Most rounds of one service. A device that still claims to have something to say then is broken; the next interrupt, or
/// the next service on request, goes on with it.
const ROUNDS_MAX: usize = 4096;

/// What is wrong with ports at which nobody answers.
pub const ABSENT: AttachError = AttachError::Unfit("there is no serial port of type 16550 at the given ports");

/// What a service has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes were received.
    pub received: bool,
    /// The queue of bytes to send got shorter.
    pub sent: bool,
}

/// The device and the queues on both sides of it.
#[derive(Debug)]
pub struct Uart {
    registers: Registers,
    enabled: u8,
    /// Bytes to send.
    pub to_send: Queue,
    /// Bytes received.
    pub received: Queue,
}

impl Uart {
    /// Brings the device to work: 115,200 baud, eight bits, FIFOs on. What a former driver has left in the FIFOs stays
    /// there and is sent, or read, as if nothing had happened.
    ///
    /// # Errors
    /// [`ABSENT`].
    pub fn start(registers: Registers, to_send: Queue, received: Queue) -> Result<Self, AttachError> {
        for probe in [0x5a, 0xa5] {
            registers.scratch().write(probe);
            if registers.scratch().read() != probe {
                return Err(ABSENT);
            }
        }
        registers.line_control().write(EIGHT_BITS);
        registers.interrupt_enable().write(0);
        registers.line_control().write(EIGHT_BITS | SELECT_DIVISOR);
        let [low, high] = DIVISOR.to_le_bytes();
        registers.send().write(low);
        registers.interrupt_enable().write(high);
        registers.line_control().write(EIGHT_BITS);
        registers.fifo_control().write(FIFO_ENABLE);
        registers.modem_control().write(MODEM_ON);
        let mut uart = Self { registers, enabled: 0, to_send, received };
        uart.enable(ENABLE_RECEIVED);
        Ok(uart)
    }

    /// Lets exactly these interrupts come.
    fn enable(&mut self, interrupts: u8) {
        if self.enabled != interrupts {
            self.registers.interrupt_enable().write(interrupts);
            self.enabled = interrupts;
        }
    }

    /// Moves bytes in both directions until the device has nothing more to say; called for each interrupt, and whenever a
    /// queue has changed from outside.
    pub fn service(&mut self) -> Progress {
        let mut progress = Progress::default();
        for _ in 0..ROUNDS_MAX {
            progress.received |= self.receive();
            progress.sent |= self.send();
            // With a full queue, received bytes stay in the device, which holds the sender back; and a transmitter to
            // which there is nothing to give need not say that it has room.
            let mut wanted = 0;
            if self.received.room() > 0 {
                wanted |= ENABLE_RECEIVED;
            }
            if !self.to_send.is_empty() {
                wanted |= ENABLE_TRANSMITTER;
            }
            self.enable(wanted);
            // Reading the cause also withdraws a transmitter's interrupt, so it is looked at once a round and last.
            let quiet = self.registers.interrupt_cause().read() & NO_INTERRUPT != 0;
            let status = self.registers.line_status().read();
            let can_receive = status & DATA_READY != 0 && self.received.room() > 0;
            let can_send = status & TRANSMITTER_ROOM != 0 && !self.to_send.is_empty();
            if quiet && !can_receive && !can_send {
                break;
            }
        }
        progress
    }

    fn receive(&mut self) -> bool {
        let mut any = false;
        while self.received.room() > 0 && self.registers.line_status().read() & DATA_READY != 0 {
            self.received.push(&[self.registers.received().read()]);
            any = true;
        }
        any
    }

    fn send(&mut self) -> bool {
        if self.to_send.is_empty() || self.registers.line_status().read() & TRANSMITTER_ROOM == 0 {
            return false;
        }
        for _ in 0..FIFO_LENGTH {
            let Some(byte) = self.to_send.pop() else {
                break;
            };
            self.registers.send().write(byte);
        }
        true
    }

    /// Whether everything has left the device.
    pub fn is_idle(&self) -> bool {
        self.to_send.is_empty() && self.registers.line_status().read() & TRANSMITTER_IDLE != 0
    }

    /// Brings the device to rest: no more interrupts.
    pub fn stop(&mut self) {
        self.enable(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::VecDeque;
    use alloc::rc::Rc;
    use alloc::vec::Vec;
    use core::cell::{Cell, RefCell};
    use driver::double::{self, RegisterDouble};
    use proptest::prelude::*;

    /// A 16550 with an edge-triggered line.
    #[derive(Default)]
    struct Chip {
        absent: bool,
        scratch: Cell<u8>,
        line_control: Cell<u8>,
        enabled: Cell<u8>,
        transmitter_pending: Cell<bool>,
        fifo_out: RefCell<VecDeque<u8>>,
        fifo_in: RefCell<VecDeque<u8>>,
        wire: RefCell<Vec<u8>>,
        line_was_high: Cell<bool>,
        edges: Cell<u32>,
    }

    impl Chip {
        fn line(&self) -> bool {
            let received = self.enabled.get() & ENABLE_RECEIVED != 0 && !self.fifo_in.borrow().is_empty();
            received || (self.enabled.get() & ENABLE_TRANSMITTER != 0 && self.transmitter_pending.get())
        }

        fn settle(&self) {
            let high = self.line();
            if high && !self.line_was_high.get() {
                self.edges.set(self.edges.get() + 1);
            }
            self.line_was_high.set(high);
        }

        /// Sends what is in the FIFO.
        fn drain(&self) {
            let mut fifo = self.fifo_out.borrow_mut();
            if !fifo.is_empty() {
                self.wire.borrow_mut().extend(fifo.drain(..));
                self.transmitter_pending.set(true);
            }
            drop(fifo);
            self.settle();
        }

        /// Something is typed; what does not fit waits at the sender.
        fn type_bytes(&self, bytes: &mut VecDeque<u8>) {
            let mut fifo = self.fifo_in.borrow_mut();
            while fifo.len() < FIFO_LENGTH
                && let Some(byte) = bytes.pop_front()
            {
                fifo.push_back(byte);
            }
            drop(fifo);
            self.settle();
        }
    }

    impl RegisterDouble for Chip {
        fn length(&self) -> usize {
            8
        }

        fn read(&self, offset: usize, width: usize) -> u64 {
            assert_eq!(width, 1);
            if self.absent {
                return 0xff;
            }
            let value = match offset {
                0 => self.fifo_in.borrow_mut().pop_front().unwrap_or(0),
                2 => {
                    let received = self.enabled.get() & ENABLE_RECEIVED != 0 && !self.fifo_in.borrow().is_empty();
                    if received {
                        0b100
                    } else if self.enabled.get() & ENABLE_TRANSMITTER != 0 && self.transmitter_pending.get() {
                        self.transmitter_pending.set(false);
                        0b010
                    } else {
                        NO_INTERRUPT
                    }
                }
                5 => {
                    let empty = self.fifo_out.borrow().is_empty();
                    let ready = if self.fifo_in.borrow().is_empty() { 0 } else { DATA_READY };
                    ready | if empty { TRANSMITTER_ROOM | TRANSMITTER_IDLE } else { 0 }
                }
                7 => self.scratch.get(),
                _ => 0,
            };
            self.settle();
            value.into()
        }

        fn write(&self, offset: usize, width: usize, value: u64) {
            assert_eq!(width, 1);
            let value = value as u8;
            let divisor = self.line_control.get() & SELECT_DIVISOR != 0;
            match offset {
                0 if !divisor => {
                    let mut fifo = self.fifo_out.borrow_mut();
                    assert!(fifo.len() < FIFO_LENGTH, "a byte is lost in the transmitter");
                    fifo.push_back(value);
                    self.transmitter_pending.set(false);
                }
                1 if !divisor => {
                    let newly = value & !self.enabled.get();
                    self.enabled.set(value);
                    if newly & ENABLE_TRANSMITTER != 0 && self.fifo_out.borrow().is_empty() {
                        self.transmitter_pending.set(true);
                    }
                }
                3 => self.line_control.set(value),
                7 => self.scratch.set(value),
                _ => {}
            }
            self.settle();
        }
    }

    fn registers(chip: &Rc<Chip>) -> Registers {
        double::window(chip.clone()).block().expect("the chip has all registers")
    }

    fn started(chip: &Rc<Chip>) -> Uart {
        Uart::start(registers(chip), Queue::new(64), Queue::new(32)).expect("the chip is there")
    }

    #[test]
    fn ports_at_which_nobody_answers_are_told_from_a_device() {
        let chip = Rc::new(Chip { absent: true, ..Chip::default() });
        assert_eq!(Uart::start(registers(&chip), Queue::new(1), Queue::new(1)).map(drop), Err(ABSENT));
    }

    #[test]
    fn what_a_former_driver_left_in_the_device_is_received() {
        let chip = Rc::new(Chip::default());
        chip.type_bytes(&mut VecDeque::from(*b"left"));
        let mut uart = started(&chip);
        assert!(uart.service().received);
        assert_eq!(uart.received.len(), 4);
    }

    #[test]
    fn a_stopped_device_raises_no_interrupts() {
        let chip = Rc::new(Chip::default());
        let mut uart = started(&chip);
        uart.stop();
        let before = chip.edges.get();
        chip.type_bytes(&mut VecDeque::from(*b"x"));
        chip.drain();
        assert_eq!(chip.edges.get(), before);
    }

    proptest! {
        /// However interrupts, typing and writing fall together: as long as the driver serves each edge of the line,
        /// nothing is lost, nothing changes its order and nothing gets stuck.
        #[test]
        fn every_byte_arrives_in_order_in_both_directions(
            steps in proptest::collection::vec(0..5_u8, 1..400),
            typed in proptest::collection::vec(any::<u8>(), 0..300),
            written in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let chip = Rc::new(Chip::default());
            let mut uart = started(&chip);
            let (mut to_type, mut to_write) = (VecDeque::from(typed.clone()), &written[..]);
            let mut read = Vec::new();
            let mut served = 0;
            // After the random steps, enough regular ones to let everything through.
            let tail = (0..400).flat_map(|_| 0..5);
            for step in steps.iter().copied().chain(tail) {
                match step {
                    0 => chip.drain(),
                    1 => chip.type_bytes(&mut to_type),
                    2 => {
                        let count = uart.to_send.push(&to_write[..to_write.len().min(7)]);
                        to_write = &to_write[count..];
                        uart.service();
                    }
                    3 => {
                        let count = uart.received.len().min(5);
                        if count > 0 {
                            read.extend((0..count).filter_map(|_| uart.received.pop()));
                            uart.service();
                        }
                    }
                    _ => {
                        if chip.edges.get() != served {
                            served = chip.edges.get();
                            uart.service();
                        }
                    }
                }
            }
            prop_assert_eq!(&*chip.wire.borrow(), &written);
            prop_assert_eq!(read, typed);
            prop_assert!(uart.is_idle());
        }
    }
}
