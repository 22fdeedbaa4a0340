//! The interrupt descriptor table (AMD64 manual volume 2, 8.2 and 4.8.4).

use crate::segment::{InterruptStack, KERNEL_CODE};
use crate::{entry, local_apic};
use core::cell::UnsafeCell;
use x86_64::VirtAddr;
use x86_64::structures::DescriptorTablePointer;

/// Exceptions by vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "each is the exception of that name in the processor's manual")]
pub enum Exception {
    DivideError = 0,
    Debug = 1,
    NonMaskableInterrupt = 2,
    Breakpoint = 3,
    InvalidOpcode = 6,
    DeviceNotAvailable = 7,
    DoubleFault = 8,
    PageFault = 14,
    MachineCheck = 18,
}

/// Vectors below this are exceptions.
pub const EXCEPTIONS: u8 = 32;

/// The legacy interrupt controllers are masked, but one of them may still raise a spurious interrupt at its line 7.
pub const LEGACY_FIRST: u8 = 0x20;
/// Last vector of the legacy interrupt controllers.
pub const LEGACY_LAST: u8 = 0x2f;

/// A gate of the table.
#[repr(C)]
#[derive(Clone, Copy)]
struct Gate {
    low: u64,
    high: u64,
}

impl Gate {
    const EMPTY: Gate = Gate { low: 0, high: 0 };
    /// Present, 64-bit interrupt gate: it turns interrupts off.
    const INTERRUPT: u64 = 0x8e << 40;
    /// The instruction `int` may use the gate in user mode.
    const USER: u64 = 3 << 45;

    const fn new(handler: u64, stack: Option<InterruptStack>, user: bool) -> Self {
        let stack = match stack {
            Some(stack) => (stack as u64) << 32,
            None => 0,
        };
        let access = if user { Self::INTERRUPT | Self::USER } else { Self::INTERRUPT };
        Gate {
            low: (handler & 0xffff) | (KERNEL_CODE as u64) << 16 | stack | access | ((handler >> 16) & 0xffff) << 48,
            high: handler >> 32,
        }
    }
}

#[repr(C, align(16))]
struct Gates([Gate; 256]);

struct GatesCell(UnsafeCell<Gates>);

// SAFETY: written once by `fill`, before any processor uses it; the processors only read it.
unsafe impl Sync for GatesCell {}

static GATES: GatesCell = GatesCell(UnsafeCell::new(Gates([Gate::EMPTY; 256])));

/// Fills the table.
///
/// # Safety
/// Called once, before any processor uses the table.
pub unsafe fn fill() {
    // SAFETY: the caller vouches that nobody else uses the table yet.
    let gates = unsafe { &mut *GATES.0.get() };
    for (vector, gate) in gates.0.iter_mut().enumerate() {
        let stack = match vector {
            1 => Some(InterruptStack::Debug),
            2 => Some(InterruptStack::NonMaskable),
            8 => Some(InterruptStack::DoubleFault),
            18 => Some(InterruptStack::MachineCheck),
            _ => None,
        };
        let user = vector == Exception::Breakpoint as usize;
        *gate = Gate::new(entry::vector_entry(vector as u8), stack, user);
    }
}

/// Makes this processor use the table.
///
/// # Safety
/// The table is filled, and interrupts are off.
pub unsafe fn load() {
    let pointer =
        DescriptorTablePointer { limit: (size_of::<Gates>() - 1) as u16, base: VirtAddr::new(GATES.0.get() as u64) };
    // SAFETY: the table is static and every gate in it leads to the kernel's entry code.
    unsafe { x86_64::instructions::tables::lidt(&pointer) }
}

// The vectors that the shell keeps for itself lie above those that the core gives to interrupt objects.
static_assertions::const_assert!(kernel_core::InterruptId::from_vector(local_apic::TIMER_VECTOR).is_none());
static_assertions::const_assert!(kernel_core::InterruptId::from_vector(local_apic::KICK_VECTOR).is_none());
static_assertions::const_assert!(kernel_core::InterruptId::from_vector(local_apic::STRAY_VECTOR).is_none());
static_assertions::const_assert!(kernel_core::InterruptId::from_vector(local_apic::SPURIOUS_VECTOR).is_none());
static_assertions::const_assert!(kernel_core::InterruptId::from_vector(LEGACY_LAST).is_none());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_spreads_the_handlers_address_as_the_processor_wants_it() {
        let gate = Gate::new(0xffff_ffff_8012_3456, Some(InterruptStack::Debug), false);
        assert_eq!(gate.low, 0x8012_8e04_0008_3456);
        assert_eq!(gate.high, 0xffff_ffff);
    }

    #[test]
    fn only_the_breakpoint_instruction_may_use_its_gate_in_user_mode() {
        assert_eq!(Gate::new(0, None, true).low >> 45 & 3, 3);
        assert_eq!(Gate::new(0, None, false).low >> 45 & 3, 0);
    }
}
