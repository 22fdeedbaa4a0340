//! The IOMMU: it confines what devices do by themselves, as page tables confine what threads do.
//!
//! All units of a machine get the same tables and are told the same, so that to the rest of the kernel there is one. The
//! kernel's own tables for it (who sees which space, who raises which interrupt) are pages of the kernel's image that no
//! Rust code refers to; a space's page tables are donated frames like any other space's.

pub mod amdvi;
pub mod domain;
pub mod memory;
pub mod tree;
pub mod vtd;

use crate::clock;
use abi::boot::{IOMMUS_MAX, IoApic, IommuKind, Platform, Trigger};
use abi::device::{SourceId, SourceRange, Stray};
use amdvi::AmdVi;
use core::fmt;
use kernel_core::{Frame, IommuInfo, SpaceId};
use tree::Format;
use vtd::Vtd;

/// Why an IOMMU that the firmware names is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It lacks something that the kernel needs.
    Lacks(&'static str),
    /// It does not do what it is told.
    Silent(&'static str),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unusable::Lacks(what) => write!(f, "it lacks {what}"),
            Unusable::Silent(what) => write!(f, "it does not {what} when told to"),
        }
    }
}

/// Waits until something has come about that the hardware does by itself; tells whether it has within seconds.
fn comes_about(condition: impl Fn() -> bool) -> bool {
    /// In ticks of the time-stamp counter.
    const PATIENCE: u64 = 1 << 34;
    let begun = clock::time_stamp();
    while !condition() {
        if clock::time_stamp().wrapping_sub(begun) > PATIENCE {
            return false;
        }
        core::hint::spin_loop();
    }
    true
}

/// What the kernel wants of an IOMMU. Only used while the big lock is held.
pub trait Remapping {
    /// What it can do.
    fn info(&self) -> IommuInfo;

    /// How the page tables of device spaces look.
    fn format(&self) -> &Format;

    /// Whether functions with these numbers can be given a space.
    fn has_sources(&self, sources: SourceRange) -> bool;

    /// Whether an interrupt can be routed to this function.
    fn can_route(&self, source: SourceId) -> bool;

    /// From now on these functions see a space.
    fn attach(&self, sources: SourceRange, space: SpaceId, root: Frame);

    /// From now on these functions see nothing. Returns when none of their accesses that began before is under way.
    fn detach(&self, sources: SourceRange, space: SpaceId);

    /// Forgets what was mapped in a space. Returns when no access that used it is under way.
    fn forget(&self, space: SpaceId, address: u64, pages: u16);

    /// Something was mapped in a space where nothing was.
    fn notice(&self, space: SpaceId, address: u64, pages: u16);

    /// Lets a function, or whoever there is if none is named, raise an interrupt at a processor.
    fn route(&self, vector: u8, source: Option<SourceId>, trigger: Trigger, processor: u8);

    /// Lets nobody raise an interrupt any more.
    fn unroute(&self, vector: u8);

    /// The write (address, data) by which a device raises an interrupt that was routed to it.
    fn message(&self, vector: u8) -> (u64, u32);

    /// The entry of an I/O APIC, but for mask and mode, that raises an interrupt that was routed to it.
    fn line(&self, vector: u8) -> u64;

    /// Makes refused accesses interrupt the processor by this vector.
    fn hear(&self, vector: u8, processor: u8);

    /// Takes the earliest refused access that was not told yet. After the first interrupt there is no other until
    /// [`Remapping::hear_again`].
    fn take_stray(&self) -> Option<Stray>;

    /// Lets refused accesses interrupt again.
    fn hear_again(&self);
}

/// The machine's IOMMU.
#[derive(Debug)]
pub enum Iommu {
    /// Intel's.
    Intel(Vtd),
    /// AMD's.
    Amd(AmdVi),
}

impl Iommu {
    /// Makes the machine's IOMMU block every device. `None` if it has none that can be used, of which the log tells.
    ///
    /// # Safety
    /// Called once, at boot, while nothing else uses the IOMMU; the loader has mapped its registers; `root` is the
    /// kernel's root table.
    pub unsafe fn start(platform: &Platform, root: Frame) -> Option<Self> {
        let units = platform.iommus.as_slice();
        let kind = units.first()?.kind;
        // Whose interrupts they are is all that it goes by: nobody's could not be told from another's.
        let lines = platform.io_apics.as_slice().iter().map(IoApic::source);
        let remaps = platform.interrupt_remapping != 0 && lines.clone().all(|source| source.is_some());
        let started = match kind {
            // The loader may have found more, and before which devices those stand nobody knows.
            _ if units.len() >= IOMMUS_MAX => Err(Unusable::Lacks("few enough units")),
            IommuKind::IntelVtd => {
                // SAFETY: as the caller vouches.
                unsafe { Vtd::start(units, remaps, root) }.map(Iommu::Intel)
            }
            IommuKind::AmdVi => {
                // SAFETY: as the caller vouches.
                unsafe { AmdVi::start(units, lines, remaps, root) }.map(Iommu::Amd)
            }
        };
        match started {
            Ok(iommu) => {
                let IommuInfo { address_bits, remaps_interrupts, reports_refusals } = iommu.get().info();
                let interrupts = if remaps_interrupts { "and" } else { "but not" };
                log::info!("IOMMU: {kind:?}, {address_bits} bits; it confines devices' memory {interrupts} interrupts");
                if !reports_refusals {
                    log::info!("what this IOMMU refuses devices is not reported");
                }
                Some(iommu)
            }
            Err(reason) => {
                log::warn!("the IOMMU ({kind:?}) is not used: {reason}; what is switched on of it blocks its devices");
                None
            }
        }
    }

    /// Whatever kind it is.
    pub fn get(&self) -> &dyn Remapping {
        match self {
            Iommu::Intel(units) => units,
            Iommu::Amd(units) => units,
        }
    }
}
