//! What is done with the device.

use crate::EduError;
use crate::registers::{
    COMPUTING, DEVICE_MEMORY, EDU, FROM_DEVICE, INTERRUPT_WHEN_COMPUTED, INTERRUPT_WHEN_COPIED, RUN, Registers,
};
use alloc::vec;
use alloc::vec::Vec;
use driver::{AttachError, Dma, Interrupt};
use userlib::executor::{before, sleep};
use userlib::sync::Mutex;
use userlib::time::{Duration, Instant};

/// Bits of an address on the bus that the device can use.
pub const ADDRESS_BITS: u32 = 28;
/// The most bytes that are copied at once. The device has twice as many.
pub const PIECE: usize = 2048;
/// The largest number whose factorial has 32 bits.
pub const FACTORIAL_MAX: u32 = 12;

/// How long the device may take. It takes a tenth of a second to copy.
const PATIENCE: Duration = Duration::from_secs(2);

/// The device, and the memory that it shares with its driver.
#[derive(Debug)]
pub struct Device {
    registers: Registers,
    interrupt: Interrupt,
    to_device: Dma<u8>,
    from_device: Dma<u8>,
    /// It does one thing at a time.
    turn: Mutex<()>,
}

impl Device {
    /// Brings the device to work. A former driver may have left it while it was copying: that ends here, before this one
    /// lets it use memory.
    ///
    /// # Errors
    /// [`AttachError::Unfit`] if it is another device, or does not come to an end.
    pub async fn start(
        registers: Registers,
        interrupt: Interrupt,
        to_device: Dma<u8>,
        from_device: Dma<u8>,
    ) -> Result<Self, AttachError> {
        registers.liveness().write(0x0f0f_1234);
        if registers.identification().read() & 0xff != EDU || registers.liveness().read() != !0x0f0f_1234 {
            return Err(AttachError::Unfit("it is no `edu`"));
        }
        let device = Self { registers, interrupt, to_device, from_device, turn: Mutex::new(()) };
        let deadline = Instant::now() + PATIENCE;
        while device.is_busy() {
            if Instant::now() > deadline {
                return Err(AttachError::Unfit("it does not finish what a former driver has begun"));
            }
            sleep(Duration::from_millis(10)).await;
        }
        device.registers.status().write(INTERRUPT_WHEN_COMPUTED);
        Ok(device)
    }

    fn is_busy(&self) -> bool {
        self.registers.status().read() & COMPUTING != 0 || self.registers.command().read() & RUN != 0
    }

    /// Waits until the device has done what it was told. An interrupt says only that it is worth looking.
    async fn done(&self) -> Result<(), EduError> {
        let deadline = Instant::now() + PATIENCE;
        while self.is_busy() {
            before(deadline, self.interrupt.next()).await.map_err(|_| EduError::Silent)?;
            self.registers.acknowledge().write(u32::MAX);
        }
        Ok(())
    }

    /// Lets the device compute a factorial.
    ///
    /// # Errors
    /// [`EduError`].
    pub async fn compute(&self, n: u32) -> Result<u32, EduError> {
        if n > FACTORIAL_MAX {
            return Err(EduError::TooLarge);
        }
        let _turn = self.turn.lock().await;
        if self.is_busy() {
            return Err(EduError::Busy);
        }
        self.registers.factorial().write(n);
        self.done().await?;
        Ok(self.registers.factorial().read())
    }

    /// Lets the device copy bytes to its own memory and back, and compares them.
    ///
    /// # Errors
    /// [`EduError`].
    pub async fn there_and_back(&self, bytes: &[u8]) -> Result<Vec<u8>, EduError> {
        if bytes.is_empty() {
            // QEMU ends when the device is told to transfer nothing.
            return Ok(Vec::new());
        }
        let _turn = self.turn.lock().await;
        if self.is_busy() {
            return Err(EduError::Busy);
        }
        self.to_device.write(0, bytes).map_err(|_| EduError::BadLease)?;
        self.copy(self.to_device.bus_address(), DEVICE_MEMORY, bytes.len(), 0).await?;
        self.copy(DEVICE_MEMORY, self.from_device.bus_address(), bytes.len(), FROM_DEVICE).await?;
        let mut back = vec![0; bytes.len()];
        self.from_device.read(0, &mut back).map_err(|_| EduError::BadLease)?;
        if back == bytes { Ok(back) } else { Err(EduError::Garbled) }
    }

    async fn copy(&self, source: u64, destination: u64, count: usize, direction: u64) -> Result<(), EduError> {
        self.registers.source().write(source);
        self.registers.destination().write(destination);
        self.registers.count().write(count as u64);
        self.registers.command().write(RUN | direction | INTERRUPT_WHEN_COPIED);
        self.done().await
    }
}
