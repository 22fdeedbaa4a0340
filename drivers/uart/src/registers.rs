//! The 16550's registers (National Semiconductor PC16550D, chapter 8).

/// A register, by its offset from the first port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Register {
    /// Received byte on reading, byte to send on writing; low half of the divisor while that is selected.
    Data = 0,
    /// Which interrupts may come; high half of the divisor while that is selected.
    InterruptEnable = 1,
    /// Cause of the interrupt on reading, control of the queues (FIFOs) on writing.
    InterruptAndFifo = 2,
    /// Format of a character, and selection of the divisor.
    LineControl = 3,
    /// Outputs to a modem; one of them gates the interrupt line.
    ModemControl = 4,
    /// What can be read and written, and errors.
    LineStatus = 5,
    /// Inputs from a modem.
    ModemStatus = 6,
    /// Holds any byte.
    Scratch = 7,
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

/// A way to the registers of one device.
pub trait Registers {
    /// Why a register could not be reached.
    type Error;

    /// Reads a register.
    ///
    /// # Errors
    /// If the register cannot be reached.
    fn read(&self, register: Register) -> Result<u8, Self::Error>;

    /// Writes a register.
    ///
    /// # Errors
    /// If the register cannot be reached.
    fn write(&self, register: Register, value: u8) -> Result<(), Self::Error>;
}
