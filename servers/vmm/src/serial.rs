//! A serial port: the 16550A (National Semiconductor PC16550D data sheet), as PCs have it at port 0x3f8.
//!
//! A byte is sent in no time. The output is bounded: while nobody takes it away the transmitter stays busy, which a
//! driver sees and waits for. One that does not look loses its bytes, as on hardware.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use bitflags::bitflags;

/// How many bytes of output wait for being taken before the transmitter is busy.
pub const OUTPUT_BYTES: usize = 4096;
/// How many bytes of input the port holds (section 8.4.2: the receiver's FIFO).
pub const INPUT_BYTES: usize = 16;
/// How many ports it occupies.
pub const PORTS: u16 = 8;

bitflags! {
    /// Which events interrupt (section 8.6.7).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    struct Enabled: u8 {
        const RECEIVED = 1;
        const TRANSMITTER_EMPTY = 1 << 1;
        const LINE_STATUS = 1 << 2;
        const MODEM_STATUS = 1 << 3;
    }

    /// Line status (section 8.6.3).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct LineStatus: u8 {
        const DATA_READY = 1;
        const OVERRUN = 1 << 1;
        const HOLDING_EMPTY = 1 << 5;
        const TRANSMITTER_EMPTY = 1 << 6;
    }

    /// Modem control (section 8.6.8).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    struct ModemControl: u8 {
        const TERMINAL_READY = 1;
        const REQUEST_TO_SEND = 1 << 1;
        const OUT1 = 1 << 2;
        /// On a PC it lets the interrupt through.
        const OUT2 = 1 << 3;
        const LOOP = 1 << 4;
    }
}

/// Bit of the line control register that shows the divisor in place of data and interrupt enable.
const DIVISOR_LATCH: u8 = 1 << 7;
/// The FIFO control register's bits: on, and empty the receiver's.
const FIFO_ENABLE: u8 = 1;
const FIFO_CLEAR_RECEIVER: u8 = 1 << 1;
/// What the interrupt identification register says (section 8.6.6).
const NONE_PENDING: u8 = 0b0001;
const LINE_STATUS_CHANGED: u8 = 0b0110;
const DATA_AVAILABLE: u8 = 0b0100;
const HOLDING_EMPTIED: u8 = 0b0010;
const FIFOS_ENABLED: u8 = 0b1100_0000;
/// Modem status of a peer that is there: clear to send, data set ready, carrier.
const PEER_PRESENT: u8 = 0b1011_0000;

/// A serial port.
#[derive(Clone, Debug)]
pub struct Uart {
    output: VecDeque<u8>,
    input: VecDeque<u8>,
    lost: u64,
    enabled: Enabled,
    /// The holding register has become empty since the guest was last told.
    emptied: bool,
    overrun: bool,
    fifo: bool,
    line_control: u8,
    modem_control: ModemControl,
    divisor: [u8; 2],
    scratch: u8,
}

impl Default for Uart {
    fn default() -> Self {
        Self::new()
    }
}

impl Uart {
    /// A port after reset (section 8.2).
    #[must_use]
    pub fn new() -> Self {
        Self {
            output: VecDeque::new(),
            input: VecDeque::new(),
            lost: 0,
            enabled: Enabled::empty(),
            emptied: false,
            overrun: false,
            fifo: false,
            line_control: 0,
            modem_control: ModemControl::empty(),
            divisor: [12, 0],
            scratch: 0,
        }
    }

    /// What the guest reads from the port with this number, of which only the last three bits matter.
    pub fn read(&mut self, port: u16) -> u8 {
        let latch = self.line_control & DIVISOR_LATCH != 0;
        match port % PORTS {
            0 | 1 if latch => self.divisor[usize::from(port % PORTS)],
            0 => self.input.pop_front().unwrap_or(0),
            1 => self.enabled.bits(),
            2 => {
                let cause = self.cause();
                // Being told is what takes this cause back (table 3).
                if cause == HOLDING_EMPTIED {
                    self.emptied = false;
                }
                cause | if self.fifo { FIFOS_ENABLED } else { 0 }
            }
            3 => self.line_control,
            4 => self.modem_control.bits(),
            5 => {
                let status = self.line_status().bits();
                self.overrun = false;
                status
            }
            6 => self.modem_status(),
            _ => self.scratch,
        }
    }

    /// The guest writes to the port with this number, of which only the last three bits matter.
    pub fn write(&mut self, port: u16, value: u8) {
        let latch = self.line_control & DIVISOR_LATCH != 0;
        match port % PORTS {
            0 | 1 if latch => self.divisor[usize::from(port % PORTS)] = value,
            0 => self.transmit(value),
            1 => {
                let enabled = Enabled::from_bits_truncate(value);
                // Enabling it while the register is empty interrupts at once: drivers start sending by that.
                if (enabled - self.enabled).contains(Enabled::TRANSMITTER_EMPTY) && self.has_room() {
                    self.emptied = true;
                }
                self.enabled = enabled;
            }
            2 => {
                self.fifo = value & FIFO_ENABLE != 0;
                if value & FIFO_CLEAR_RECEIVER != 0 {
                    self.input.clear();
                }
            }
            3 => self.line_control = value,
            4 => self.modem_control = ModemControl::from_bits_truncate(value),
            // Line status and modem status are for reading.
            5 | 6 => {}
            _ => self.scratch = value,
        }
    }

    /// Whether the port asks for an interrupt.
    #[must_use]
    pub fn interrupt_level(&self) -> bool {
        self.modem_control.contains(ModemControl::OUT2) && self.cause() != NONE_PENDING
    }

    /// How many bytes [`Uart::receive`] would take.
    #[must_use]
    pub fn input_room(&self) -> usize {
        let capacity = if self.fifo { INPUT_BYTES } else { 1 };
        capacity.saturating_sub(self.input.len())
    }

    /// Input for the guest. Returns how many bytes were taken; the rest is to be offered again later.
    pub fn receive(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.input_room());
        self.input.extend(&bytes[..taken]);
        taken
    }

    /// Takes away what the guest has sent.
    pub fn take_output(&mut self) -> Vec<u8> {
        if !self.has_room() {
            self.emptied = true;
        }
        self.output.drain(..).collect()
    }

    /// How many bytes the guest has sent while the transmitter was busy, which are lost.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    fn has_room(&self) -> bool {
        self.output.len() < OUTPUT_BYTES
    }

    fn transmit(&mut self, byte: u8) {
        if self.modem_control.contains(ModemControl::LOOP) {
            if self.receive(&[byte]) == 0 {
                self.overrun = true;
            }
            self.emptied = true;
        } else if self.has_room() {
            self.output.push_back(byte);
            self.emptied = self.has_room();
        } else {
            self.lost += 1;
        }
    }

    fn line_status(&self) -> LineStatus {
        let mut status = LineStatus::empty();
        status.set(LineStatus::DATA_READY, !self.input.is_empty());
        status.set(LineStatus::OVERRUN, self.overrun);
        status.set(LineStatus::HOLDING_EMPTY | LineStatus::TRANSMITTER_EMPTY, self.has_room());
        status
    }

    /// In a loop, the modem's outputs are its inputs (section 8.6.8).
    fn modem_status(&self) -> u8 {
        let control = self.modem_control;
        if !control.contains(ModemControl::LOOP) {
            return PEER_PRESENT;
        }
        let pairs = [
            (ModemControl::REQUEST_TO_SEND, 1 << 4),
            (ModemControl::TERMINAL_READY, 1 << 5),
            (ModemControl::OUT1, 1 << 6),
            (ModemControl::OUT2, 1 << 7),
        ];
        pairs.iter().filter(|(output, _)| control.contains(*output)).map(|(_, input)| input).sum()
    }

    /// The most urgent cause of an interrupt (table 3).
    fn cause(&self) -> u8 {
        if self.enabled.contains(Enabled::LINE_STATUS) && self.overrun {
            LINE_STATUS_CHANGED
        } else if self.enabled.contains(Enabled::RECEIVED) && !self.input.is_empty() {
            DATA_AVAILABLE
        } else if self.enabled.contains(Enabled::TRANSMITTER_EMPTY) && self.emptied {
            HOLDING_EMPTIED
        } else {
            NONE_PENDING
        }
    }
}
