//! The processor's own interrupt controller and its one-shot timer (Intel SDM volume 3A, chapter 11), by memory-mapped
//! registers.

use crate::registers::RegisterPage;
use abi::boot::Registers;
use x86_64::registers::model_specific::Msr;

/// Vector of the timer.
pub const TIMER_VECTOR: u8 = 0xf0;
/// Vector by which one processor asks another to enter the kernel.
pub const KICK_VECTOR: u8 = 0xf1;
/// Vector by which the IOMMU says that it has refused a device something.
pub const STRAY_VECTOR: u8 = 0xf2;
/// Vector of interrupts that were withdrawn before they could be delivered. They want no end of interrupt.
pub const SPURIOUS_VECTOR: u8 = 0xff;

/// Physical address to which message-signalled interrupts are written; bits 12 to 19 choose the processor.
const MESSAGE_ADDRESS: u64 = 0xfee0_0000;

const APIC_BASE: u32 = 0x1b;
const APIC_BASE_ENABLE: u64 = 1 << 11;
const APIC_BASE_X2: u64 = 1 << 10;

/// Offsets of registers.
mod register {
    pub(super) const TASK_PRIORITY: usize = 0x80;
    pub(super) const END_OF_INTERRUPT: usize = 0xb0;
    pub(super) const SPURIOUS: usize = 0xf0;
    /// The first of eight with a bit for each vector.
    pub(super) const IN_SERVICE: usize = 0x100;
    pub(super) const COMMAND: usize = 0x300;
    pub(super) const COMMAND_TARGET: usize = 0x310;
    pub(super) const TIMER: usize = 0x320;
    pub(super) const LINE_0: usize = 0x350;
    pub(super) const LINE_1: usize = 0x360;
    pub(super) const ERROR: usize = 0x370;
    pub(super) const TIMER_INITIAL: usize = 0x380;
    pub(super) const TIMER_CURRENT: usize = 0x390;
    pub(super) const TIMER_DIVIDE: usize = 0x3e0;
}

const MASKED: u32 = 1 << 16;
const NON_MASKABLE: u32 = 4 << 8;
const SOFTWARE_ENABLE: u32 = 1 << 8;
/// The timer counts every sixteenth tick of its clock, which stretches 32 bits to more than a minute at 1 GHz.
const DIVIDE_BY_16: u32 = 0b0011;

/// Bits of the interrupt command register (Intel SDM volume 3A, 11.6.1).
mod command {
    pub(super) const INIT: u32 = 5 << 8;
    pub(super) const STARTUP: u32 = 6 << 8;
    pub(super) const NON_MASKABLE: u32 = 4 << 8;
    pub(super) const PENDING: u32 = 1 << 12;
    pub(super) const ASSERT: u32 = 1 << 14;
    pub(super) const LEVEL: u32 = 1 << 15;
    pub(super) const ALL_OTHERS: u32 = 3 << 18;
}

/// Why the local interrupt controller cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// The firmware's tables name none.
    Missing,
    /// The firmware has switched it to the mode without memory-mapped registers.
    RegistersUnmapped,
}

impl core::fmt::Display for Unusable {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Unusable::Missing => "the firmware's tables name no local APIC",
            Unusable::RegistersUnmapped => {
                "the firmware has switched the local APIC to x2APIC mode, which this kernel does not use; switch x2APIC \
                 off in the firmware's set-up"
            }
        })
    }
}

/// The local interrupt controller of whichever processor uses it: each finds its own at the same address.
#[derive(Debug)]
pub struct LocalApic {
    registers: RegisterPage,
}

impl LocalApic {
    /// Switches the boot processor's controller on with every local source masked but non-maskable interrupts.
    ///
    /// # Errors
    /// [`Unusable`] if the machine has none, or none with memory-mapped registers.
    ///
    /// # Safety
    /// Called once; the loader has mapped the registers.
    pub unsafe fn start(registers: &Registers) -> Result<Self, Unusable> {
        // SAFETY: the caller vouches for the mapping.
        let registers = unsafe { RegisterPage::new(registers) }.ok_or(Unusable::Missing)?;
        let mut base = Msr::new(APIC_BASE);
        // SAFETY: every 64-bit processor has this register; setting the enable bit changes nothing but that.
        unsafe {
            let value = base.read();
            if value & APIC_BASE_X2 != 0 {
                return Err(Unusable::RegistersUnmapped);
            }
            base.write(value | APIC_BASE_ENABLE);
        }
        let apic = LocalApic { registers };
        apic.start_here();
        Ok(apic)
    }

    /// Switches this processor's controller on, as [`LocalApic::start`] does the boot processor's.
    pub fn start_here(&self) {
        let registers = self.registers;
        registers.write(register::SPURIOUS, SOFTWARE_ENABLE | u32::from(SPURIOUS_VECTOR));
        registers.write(register::TASK_PRIORITY, 0);
        registers.write(register::LINE_0, MASKED);
        registers.write(register::LINE_1, NON_MASKABLE);
        registers.write(register::ERROR, MASKED);
        registers.write(register::TIMER_DIVIDE, DIVIDE_BY_16);
        registers.write(register::TIMER, MASKED | u32::from(TIMER_VECTOR));
    }

    /// Sends a command and waits until it is on its way.
    fn command(&self, target: u8, value: u32) {
        self.registers.write(register::COMMAND_TARGET, u32::from(target) << 24);
        self.registers.write(register::COMMAND, value);
        while self.registers.read(register::COMMAND) & command::PENDING != 0 {
            core::hint::spin_loop();
        }
    }

    /// Raises a vector on the processor with this identifier.
    pub fn interrupt(&self, target: u8, vector: u8) {
        self.command(target, command::ASSERT | u32::from(vector));
    }

    /// Resets the processor with this identifier: it waits for a start-up interrupt then.
    pub fn reset_processor(&self, target: u8) {
        self.command(target, command::INIT | command::LEVEL | command::ASSERT);
        self.command(target, command::INIT | command::LEVEL);
    }

    /// Lets a processor that has been reset begin in real mode at this page.
    pub fn start_processor(&self, target: u8, page: u8) {
        self.command(target, command::STARTUP | command::ASSERT | u32::from(page));
    }

    /// Interrupts all other processors in a way that they cannot refuse.
    pub fn interrupt_others_now(&self) {
        self.command(0, command::NON_MASKABLE | command::ASSERT | command::ALL_OTHERS);
    }

    /// Whether an interrupt with this vector is in service.
    pub fn is_in_service(&self, vector: u8) -> bool {
        let word = self.registers.read(register::IN_SERVICE + 0x10 * usize::from(vector / 32));
        word & 1 << (vector % 32) != 0
    }

    /// The interrupt in service has been taken care of.
    pub fn end_of_interrupt(&self) {
        self.registers.write(register::END_OF_INTERRUPT, 0);
    }

    /// Ends the measurement: from now on the timer interrupts.
    pub fn enable_timer(&self) {
        self.registers.write(register::TIMER_INITIAL, 0);
        self.registers.write(register::TIMER, u32::from(TIMER_VECTOR));
    }

    /// Lets the timer interrupt once after this many of its ticks, at least one.
    pub fn start_timer(&self, ticks: u32) {
        self.registers.write(register::TIMER_INITIAL, ticks.max(1));
    }

    /// Lets the timer run down from its highest value without an interrupt, to be measured.
    pub fn start_measurement(&self) {
        self.registers.write(register::TIMER, MASKED | u32::from(TIMER_VECTOR));
        self.registers.write(register::TIMER_INITIAL, u32::MAX);
    }

    /// How many ticks have passed since [`LocalApic::start_measurement`].
    pub fn measured(&self) -> u32 {
        u32::MAX - self.registers.read(register::TIMER_CURRENT)
    }
}

/// The write (address, data) that raises a vector on the processor with this identifier (Intel SDM volume 3A, 11.11).
pub const fn message(id: u8, vector: u8) -> (u64, u32) {
    (MESSAGE_ADDRESS | (id as u64) << 12, vector as u32)
}
