//! A 16550 that sends and receives by interrupts.
//!
//! The interrupt line is edge-triggered: it must fall before another interrupt can come. So every service goes on until
//! the device itself says that nothing is pending, and the line is acknowledged before, not after.

use crate::queue::Queue;
use crate::registers::{
    DATA_READY, DIVISOR, EIGHT_BITS, ENABLE_RECEIVED, ENABLE_TRANSMITTER, FIFO_ENABLE, FIFO_LENGTH, MODEM_ON,
    NO_INTERRUPT, Register, Registers, SELECT_DIVISOR, TRANSMITTER_IDLE, TRANSMITTER_ROOM,
};
use core::fmt;

/// Most rounds of one service. A device that still claims to have something to say then is broken; the next interrupt, or
/// the next service on request, goes on with it.
const ROUNDS_MAX: usize = 4096;

/// Why the device cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceError<E> {
    /// Nobody answers at the device's ports.
    Absent,
    /// The registers cannot be reached.
    Registers(E),
}

impl<E: fmt::Display> fmt::Display for DeviceError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceError::Absent => f.write_str("there is no serial port of type 16550 at the given ports"),
            DeviceError::Registers(error) => write!(f, "the serial port's registers cannot be used: {error}"),
        }
    }
}

impl<E> From<E> for DeviceError<E> {
    fn from(error: E) -> Self {
        DeviceError::Registers(error)
    }
}

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
pub struct Uart<R> {
    registers: R,
    enabled: u8,
    /// Bytes to send.
    pub to_send: Queue,
    /// Bytes received.
    pub received: Queue,
}

impl<R: Registers> Uart<R> {
    /// Brings the device to work: 115,200 baud, eight bits, FIFOs on. What a former driver has left in the FIFOs stays
    /// there and is sent, or read, as if nothing had happened.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn start(registers: R, to_send: Queue, received: Queue) -> Result<Self, DeviceError<R::Error>> {
        for probe in [0x5a, 0xa5] {
            registers.write(Register::Scratch, probe)?;
            if registers.read(Register::Scratch)? != probe {
                return Err(DeviceError::Absent);
            }
        }
        registers.write(Register::LineControl, EIGHT_BITS)?;
        registers.write(Register::InterruptEnable, 0)?;
        registers.write(Register::LineControl, EIGHT_BITS | SELECT_DIVISOR)?;
        let [low, high] = DIVISOR.to_le_bytes();
        registers.write(Register::Data, low)?;
        registers.write(Register::InterruptEnable, high)?;
        registers.write(Register::LineControl, EIGHT_BITS)?;
        registers.write(Register::InterruptAndFifo, FIFO_ENABLE)?;
        registers.write(Register::ModemControl, MODEM_ON)?;
        let mut uart = Self { registers, enabled: 0, to_send, received };
        uart.enable(ENABLE_RECEIVED)?;
        Ok(uart)
    }

    /// Lets exactly these interrupts come.
    fn enable(&mut self, interrupts: u8) -> Result<(), R::Error> {
        if self.enabled != interrupts {
            self.registers.write(Register::InterruptEnable, interrupts)?;
            self.enabled = interrupts;
        }
        Ok(())
    }

    /// Moves bytes in both directions until the device has nothing more to say; called for each interrupt, and whenever a
    /// queue has changed from outside.
    ///
    /// # Errors
    /// If the registers cannot be reached.
    pub fn service(&mut self) -> Result<Progress, R::Error> {
        let mut progress = Progress::default();
        for _ in 0..ROUNDS_MAX {
            progress.received |= self.receive()?;
            progress.sent |= self.send()?;
            // With a full queue, received bytes stay in the device, which holds the sender back; and a transmitter to
            // which there is nothing to give need not say that it has room.
            let mut wanted = 0;
            if self.received.room() > 0 {
                wanted |= ENABLE_RECEIVED;
            }
            if !self.to_send.is_empty() {
                wanted |= ENABLE_TRANSMITTER;
            }
            self.enable(wanted)?;
            // Reading the cause also withdraws a transmitter's interrupt, so it is looked at once a round and last.
            let quiet = self.registers.read(Register::InterruptAndFifo)? & NO_INTERRUPT != 0;
            let status = self.registers.read(Register::LineStatus)?;
            let can_receive = status & DATA_READY != 0 && self.received.room() > 0;
            let can_send = status & TRANSMITTER_ROOM != 0 && !self.to_send.is_empty();
            if quiet && !can_receive && !can_send {
                break;
            }
        }
        Ok(progress)
    }

    fn receive(&mut self) -> Result<bool, R::Error> {
        let mut any = false;
        while self.received.room() > 0 && self.registers.read(Register::LineStatus)? & DATA_READY != 0 {
            self.received.push(&[self.registers.read(Register::Data)?]);
            any = true;
        }
        Ok(any)
    }

    fn send(&mut self) -> Result<bool, R::Error> {
        if self.to_send.is_empty() || self.registers.read(Register::LineStatus)? & TRANSMITTER_ROOM == 0 {
            return Ok(false);
        }
        for _ in 0..FIFO_LENGTH {
            let Some(byte) = self.to_send.pop() else {
                break;
            };
            self.registers.write(Register::Data, byte)?;
        }
        Ok(true)
    }

    /// Whether everything has left the device.
    ///
    /// # Errors
    /// If the registers cannot be reached.
    pub fn is_idle(&self) -> Result<bool, R::Error> {
        Ok(self.to_send.is_empty() && self.registers.read(Register::LineStatus)? & TRANSMITTER_IDLE != 0)
    }

    /// Brings the device to rest: no more interrupts.
    ///
    /// # Errors
    /// If the registers cannot be reached.
    pub fn stop(&mut self) -> Result<(), R::Error> {
        self.enable(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::VecDeque;
    use alloc::vec::Vec;
    use core::cell::{Cell, RefCell};
    use core::convert::Infallible;
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

    impl Registers for &Chip {
        type Error = Infallible;

        fn read(&self, register: Register) -> Result<u8, Infallible> {
            if self.absent {
                return Ok(0xff);
            }
            let value = match register {
                Register::Data => self.fifo_in.borrow_mut().pop_front().unwrap_or(0),
                Register::InterruptAndFifo => {
                    let received = self.enabled.get() & ENABLE_RECEIVED != 0 && !self.fifo_in.borrow().is_empty();
                    if received {
                        0b100
                    } else if self.line() {
                        self.transmitter_pending.set(false);
                        0b010
                    } else {
                        NO_INTERRUPT
                    }
                }
                Register::LineStatus => {
                    let empty = self.fifo_out.borrow().is_empty();
                    let ready = if self.fifo_in.borrow().is_empty() { 0 } else { DATA_READY };
                    ready | if empty { TRANSMITTER_ROOM | TRANSMITTER_IDLE } else { 0 }
                }
                Register::Scratch => self.scratch.get(),
                _ => 0,
            };
            self.settle();
            Ok(value)
        }

        fn write(&self, register: Register, value: u8) -> Result<(), Infallible> {
            let divisor = self.line_control.get() & SELECT_DIVISOR != 0;
            match register {
                Register::Data if !divisor => {
                    let mut fifo = self.fifo_out.borrow_mut();
                    assert!(fifo.len() < FIFO_LENGTH, "a byte is lost in the transmitter");
                    fifo.push_back(value);
                    self.transmitter_pending.set(false);
                }
                Register::InterruptEnable if !divisor => {
                    let newly = value & !self.enabled.get();
                    self.enabled.set(value);
                    if newly & ENABLE_TRANSMITTER != 0 && self.fifo_out.borrow().is_empty() {
                        self.transmitter_pending.set(true);
                    }
                }
                Register::LineControl => self.line_control.set(value),
                Register::Scratch => self.scratch.set(value),
                _ => {}
            }
            self.settle();
            Ok(())
        }
    }

    fn started(chip: &Chip) -> Uart<&Chip> {
        Uart::start(chip, Queue::new(64), Queue::new(32)).expect("the chip is there")
    }

    #[test]
    fn ports_at_which_nobody_answers_are_told_from_a_device() {
        let chip = Chip { absent: true, ..Chip::default() };
        assert_eq!(Uart::start(&chip, Queue::new(1), Queue::new(1)).map(drop), Err(DeviceError::Absent));
    }

    #[test]
    fn what_a_former_driver_left_in_the_device_is_received() {
        let chip = Chip::default();
        chip.type_bytes(&mut VecDeque::from(*b"left"));
        let mut uart = started(&chip);
        assert!(uart.service().unwrap().received);
        assert_eq!(uart.received.len(), 4);
    }

    #[test]
    fn a_stopped_device_raises_no_interrupts() {
        let chip = Chip::default();
        let mut uart = started(&chip);
        uart.stop().unwrap();
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
            let chip = Chip::default();
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
                        uart.service().unwrap();
                    }
                    3 => {
                        let count = uart.received.len().min(5);
                        if count > 0 {
                            read.extend((0..count).filter_map(|_| uart.received.pop()));
                            uart.service().unwrap();
                        }
                    }
                    _ => {
                        if chip.edges.get() != served {
                            served = chip.edges.get();
                            uart.service().unwrap();
                        }
                    }
                }
            }
            prop_assert_eq!(&*chip.wire.borrow(), &written);
            prop_assert_eq!(read, typed);
            prop_assert!(uart.is_idle().unwrap());
        }
    }
}
