//! The registers of a guest that its control block has no room for: general ones, and the extended state (AMD64 manual volume 2,
//! 11.5; volume 4, XSAVE).
//!
//! The kernel and user space have no extended state. So what is in the processor outside of a guest is the last guest's, and out of
//! reach: `CR0.TS` is set, `CR4.OSXSAVE` is not.

use crate::ram::RamPage;
use abi::vcpu::offset;
use core::arch::asm;
use core::arch::x86_64::__cpuid_count;
use core::sync::atomic::{AtomicU64, Ordering};
use kernel_core::Frame;
use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags};

/// Components of the state that guests have: x87, SSE, AVX, AVX-512 in three parts, protection keys.
const COMPONENTS: u64 = 0b10_1110_0111;
const AVX512: u64 = 0b1110_0000;

/// Byte offsets in the page, behind the state that the processor saves.
pub(super) mod place {
    /// General registers, in the order of [`abi::vcpu::VcpuState::general`]; rax and rsp are in the control block.
    pub(in crate::svm) const GENERAL: usize = 0xe00;
    /// What the guest has switched on.
    pub(super) const XCR0: usize = 0xe80;
}

/// The control and status register after reset.
const MXCSR_RESET: u64 = 0x1f80;
/// Where it lies in the state: the lower half of this word.
const MXCSR: usize = 24;

/// The page with these registers.
#[derive(Clone, Copy, Debug)]
pub struct ExtendedState(RamPage);

/// What [`detect`] has found: asking the processor is slow.
static FOUND: AtomicU64 = AtomicU64::new(0);

/// The components that every guest's state has.
pub(super) fn components() -> u64 {
    FOUND.load(Ordering::Relaxed)
}

/// What the processor has, of what guests may have; 0 if it cannot save it, or has no room for it in the page.
pub(super) fn detect() -> u64 {
    let leaf = __cpuid_count(0xd, 0);
    let all = (u64::from(leaf.edx) << 32 | u64::from(leaf.eax)) & COMPONENTS;
    let end = (2..10).filter(|number| all & 1 << number != 0).map(|number| {
        let part = __cpuid_count(0xd, number);
        part.eax + part.ebx
    });
    let found = if all & 0b11 == 0b11 && end.max().unwrap_or(576) as usize <= place::GENERAL { all } else { 0 };
    FOUND.store(found, Ordering::Relaxed);
    found
}

/// Whether the processor takes these components, of those that it has.
const fn is_acceptable(wanted: u64, components: u64) -> bool {
    let avx512 = wanted & AVX512;
    wanted & 1 != 0
        && wanted & !components == 0
        && (wanted & 0b100 == 0 || wanted & 0b10 != 0)
        && (avx512 == 0 || avx512 == AVX512 && wanted & 0b100 != 0)
}

/// # Safety
/// The processor has XSAVE, it is switched on, and takes the value.
unsafe fn set_components(value: u64) {
    // SAFETY: the caller vouches for the value.
    unsafe { asm!("xsetbv", in("ecx") 0, in("eax") value as u32, in("edx") (value >> 32) as u32, options(nostack)) }
}

impl ExtendedState {
    /// The one in this frame.
    ///
    /// # Safety
    /// The frame was donated for it.
    pub const unsafe fn at(frame: Frame) -> Self {
        // SAFETY: a donated frame is RAM without Rust objects.
        ExtendedState(unsafe { RamPage::new(frame) })
    }

    /// Writes what a guest begins with.
    pub fn prepare(self) {
        self.0.zero();
        self.0.set_word(MXCSR / 8, MXCSR_RESET);
        self.0.set_word(place::XCR0 / 8, 1);
    }

    /// Where it lies in the kernel's address space.
    pub(super) fn address(self) -> u64 {
        self.0.address_of(0)
    }

    /// Takes registers over from the monitor.
    pub(super) fn import(self, word: impl Fn(usize) -> u64) {
        for index in 0..16 {
            self.0.set_word(place::GENERAL / 8 + index, word(8 * index));
        }
        let wanted = word(offset::XCR0);
        if is_acceptable(wanted, components()) {
            self.0.set_word(place::XCR0 / 8, wanted);
        }
    }

    /// Shows them to it.
    pub(super) fn export(self, set: impl Fn(usize, u64)) {
        for index in 0..16 {
            set(8 * index, self.0.word(place::GENERAL / 8 + index));
        }
        set(offset::XCR0, self.0.word(place::XCR0 / 8));
    }

    /// Loads the guest's extended state into the processor.
    ///
    /// # Safety
    /// The page was prepared and nobody but [`ExtendedState::save`] has written the state in it since; `all` is
    /// [`components`]; and the processor enters the guest next.
    pub(super) unsafe fn load(self, all: u64) {
        // SAFETY: the kernel has no extended state that would be lost. What is loaded was saved by the processor or is what
        // `prepare` wrote, so that it does not fault, and the components were checked when they came.
        unsafe {
            Cr0::update(|flags| flags.remove(Cr0Flags::TASK_SWITCHED));
            Cr4::update(|flags| flags.insert(Cr4Flags::OSXSAVE));
            set_components(all);
            asm!("xrstor64 [{}]", in(reg) self.address(), in("eax") all as u32, in("edx") (all >> 32) as u32,
                options(nostack));
            set_components(self.0.word(place::XCR0 / 8));
        }
    }

    /// Saves it, and makes every further use a fault.
    ///
    /// # Safety
    /// As for [`ExtendedState::load`], which was called before on this processor, with the guest in between.
    pub(super) unsafe fn save(self, all: u64) {
        let (low, high): (u32, u32);
        // SAFETY: the area is a page's beginning and `components` has found that the state has room in it.
        unsafe {
            // The guest may have switched components on by itself: not every processor lets that be intercepted.
            asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nostack, nomem));
            set_components(all);
            asm!("xsave64 [{}]", in(reg) self.address(), in("eax") all as u32, in("edx") (all >> 32) as u32,
                options(nostack));
            // Both, because an emulated XSAVE does not mind the first.
            Cr0::update(|flags| flags.insert(Cr0Flags::TASK_SWITCHED));
            Cr4::update(|flags| flags.remove(Cr4Flags::OSXSAVE));
        }
        let own = u64::from(high) << 32 | u64::from(low);
        self.0.set_word(place::XCR0 / 8, if is_acceptable(own, all) { own } else { 1 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_are_switched_on_as_the_processor_accepts_them() {
        for wanted in [0b1, 0b11, 0b111, 0b1110_0111, 0b10_0000_0001] {
            assert!(is_acceptable(wanted, COMPONENTS), "{wanted:#b}");
        }
        for wanted in [0, 0b10, 0b101, 0b110_0111, 0b1110_0011, 1 << 62 | 1] {
            assert!(!is_acceptable(wanted, COMPONENTS), "{wanted:#b}");
        }
        assert!(!is_acceptable(0b111, 0b11), "a component that the processor has not");
    }
}
