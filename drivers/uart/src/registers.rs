//! The 16550's registers (National Semiconductor PC16550D, chapter 8).

driver::registers! {
    /// The registers, by their offset from the first port. While [`SELECT_DIVISOR`] is set, the first two are the divisor.
    pub struct Registers {
        /// The oldest byte received.
        0 => received: u8, read;
        /// A byte to send; the low half of the divisor while that is selected.
        0 => send: u8, write;
        /// Which interrupts may come; the high half of the divisor while that is selected.
        1 => interrupt_enable: u8, read write;
        /// Cause of the interrupt. Reading it withdraws that of a transmitter with room.
        2 => interrupt_cause: u8, read;
        /// Control of the queues (FIFOs).
        2 => fifo_control: u8, write;
        /// Format of a character, and selection of the divisor.
        3 => line_control: u8, read write;
        /// Outputs to a modem; one of them gates the interrupt line.
        4 => modem_control: u8, read write;
        /// What can be read and written, and errors.
        5 => line_status: u8, read;
        /// Inputs from a modem.
        6 => modem_status: u8, read;
        /// Holds any byte.
        7 => scratch: u8, read write;
    }
}

/// Interrupt enable: a byte has been received.
pub const ENABLE_RECEIVED: u8 = 1 << 0;
/// Interrupt enable: the transmitter has room.
pub const ENABLE_TRANSMITTER: u8 = 1 << 1;

/// Interrupt cause: none, if this bit is set.
pub const NO_INTERRUPT: u8 = 1 << 0;

/// FIFO control: use both FIFOs, interrupt at the first received byte.
pub const FIFO_ENABLE: u8 = 1 << 0;

/// Line control: eight bits, no parity, one stop bit.
pub const EIGHT_BITS: u8 = 0b11;
/// Line control: the first two registers are the divisor.
pub const SELECT_DIVISOR: u8 = 1 << 7;

/// Modem control: data terminal ready, request to send, and the output that lets interrupts through to the line.
pub const MODEM_ON: u8 = 0b1011;

/// Line status: a received byte can be read.
pub const DATA_READY: u8 = 1 << 0;
/// Line status: the transmitter's FIFO is empty.
pub const TRANSMITTER_ROOM: u8 = 1 << 5;
/// Line status: the last byte has left the device.
pub const TRANSMITTER_IDLE: u8 = 1 << 6;

/// Bytes that the transmitter's FIFO holds.
pub const FIFO_LENGTH: usize = 16;

/// Divisor for 115,200 baud with the clock of 1.8432 MHz.
pub const DIVISOR: u16 = 1;
