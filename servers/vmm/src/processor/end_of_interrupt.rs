//! Ends of interrupts that a guest tells by clearing a bit in its memory, as KVM offers it (Linux,
//! Documentation/virt/kvm/x86/msr.rst, MSR_KVM_EOI_EN): a write to the local APIC would leave the guest each time.

use super::model_specific::NoRegister;
use crate::interrupt::Fabric;
use crate::memory::GuestMemory;

/// Model-specific register by which a guest says where the bit is.
pub(super) const END_OF_INTERRUPT: u32 = 0x4b56_4d04;
/// In the register: that the bit is wanted.
const ENABLED: u64 = 1;
const RESERVED: u64 = 1 << 1;
/// The word in memory: the guest may clear this instead of telling the local APIC.
const OFFERED: u32 = 1;
const WORD_BYTES: u64 = 4;

/// What is agreed on with one processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct EndOfInterrupt {
    /// The guest-physical address of the word.
    place: Option<u64>,
    /// The bit was set when the guest was entered.
    is_offered: bool,
}

impl EndOfInterrupt {
    /// The guest writes the register.
    ///
    /// # Errors
    /// If it has no memory there, or says what means nothing.
    pub(super) fn agree(&mut self, value: u64, memory: &dyn GuestMemory) -> Result<(), NoRegister> {
        let place = value & !(ENABLED | RESERVED);
        let is_enabled = value & ENABLED != 0;
        if value & RESERVED != 0 || is_enabled && !memory.contains(place, WORD_BYTES) {
            return Err(NoRegister);
        }
        *self = Self { place: is_enabled.then_some(place), is_offered: false };
        Ok(())
    }

    /// Sets the bit before the guest is entered, if nobody has to know at once when the interrupt ends on which the processor
    /// works.
    pub(super) fn offer(&mut self, processor: usize, fabric: &Fabric, memory: &mut dyn GuestMemory) {
        let Some(place) = self.place.filter(|_| fabric.can_end_unseen(processor)) else { return };
        self.is_offered = set(place, true, memory).is_some();
    }

    /// Looks after the guest was left whether it has cleared the bit, and takes the offer back if not.
    pub(super) fn take_back(&mut self, processor: usize, fabric: &mut Fabric, memory: &mut dyn GuestMemory) {
        let Some(place) = self.place.filter(|_| core::mem::take(&mut self.is_offered)) else { return };
        if set(place, false, memory) == Some(false) {
            fabric.end_interrupt(processor);
        }
    }
}

/// Changes the bit. Returns what it was; none if there is no memory.
fn set(place: u64, offered: bool, memory: &mut dyn GuestMemory) -> Option<bool> {
    let word = memory.read_u32(place).ok()?;
    let changed = if offered { word | OFFERED } else { word & !OFFERED };
    if changed != word {
        memory.write(place, &changed.to_le_bytes()).ok()?;
    }
    Some(word & OFFERED != 0)
}
