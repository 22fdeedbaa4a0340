//! Where attacks are made: a device, what it is shown, and what is told of it.

use super::Reached;
use super::edu::Edu;
use crate::actor::Memory;
use crate::bench::{Bench, WINDOW};
use crate::call::{call, now, results, sleep};
use crate::outcome::{Failure, Outcome, holds};
use abi::device::{SourceId, SourceRange, Stray};
use abi::syscall::{MapAccess, Syscall};
use abi::{Error, PAGE_SIZE, root};

/// Where the own page is mapped for the processor, and others beside it.
pub(super) const OWN: Memory = Memory(WINDOW);
pub(super) const OTHER: Memory = Memory(WINDOW + PAGE_SIZE);
/// Where devices find the own page in a machine with an IOMMU, and the next page.
pub(super) const SHOWN: u64 = 0x20_0000;
pub(super) const NEXT: u64 = SHOWN + PAGE_SIZE;
/// Bytes that are copied.
pub(super) const BYTES: u64 = 512;
pub(super) const LENGTH: usize = BYTES as usize;
/// Pages for a device space's tables: the root's, and what leads to one window at four levels, and to another.
pub(super) const TABLES: u64 = 6;

/// A device that can be told to reach for memory.
pub(super) trait Device: Sized {
    /// Finds it in the machine.
    fn find(bench: &mut Bench) -> Result<Self, Failure>;

    /// Who it is to the IOMMU.
    fn source(&self) -> SourceId;

    /// Gives back what it has of the own space.
    fn leave(&self) -> Outcome;
}

/// A device and what it may use.
pub(super) struct Lab<D> {
    pub(super) device: D,
    pub(super) has_iommu: bool,
    /// It tells what it has refused.
    pub(super) reports: bool,
    /// The device's space, if there is an IOMMU.
    pub(super) space: u64,
    /// A page that the device may use, and where it finds it.
    own: u64,
    pub(super) shown: u64,
}

/// Where memory lies.
pub(super) fn place_of(memory: u64) -> Result<u64, Failure> {
    let info = results(Syscall::MemoryInfo, [memory]);
    Ok(info.value()? * PAGE_SIZE)
}

/// Whether the machine confines devices, and whether it tells what they were refused.
fn iommu() -> Result<(bool, bool), Failure> {
    let info = results(Syscall::DeviceInfo, [root::DEVICES.0]);
    Ok((info.value()? > 0, info.rsi != 0))
}

/// A space for a function, which shows nothing yet, with these [`TABLES`] pages for its tables.
pub(super) fn device_space(tables: u64, source: SourceId) -> Result<u64, Error> {
    let sources = SourceRange::one(source).to_register();
    let space = call(Syscall::DeviceSpaceCreate, [root::ACCOUNT.0, tables, 0, root::DEVICES.0, sources])?;
    call(Syscall::SpaceDonate, [space, tables, 1, TABLES - 1])?;
    Ok(space)
}

/// The earliest refusal that was not told yet.
pub(super) fn take_stray() -> Option<Stray> {
    let told = results(Syscall::DeviceStray, [root::DEVICES.0]);
    told.value().ok()?;
    Stray::from_registers(told.rsi, told.rdi)
}

/// Forgets what was refused until now.
pub(super) fn forget_strays() {
    while take_stray().is_some() {}
}

impl<D: Device> Lab<D> {
    /// Finds the device and gives it a space that shows a page of its own.
    pub(super) fn open(bench: &mut Bench) -> Result<Self, Failure> {
        let device = D::find(bench)?;
        let own = bench.memory(1)?;
        bench.map(own, OWN.0, 1)?;
        let (has_iommu, reports) = iommu()?;
        let mut lab = Lab { device, has_iommu, reports, space: 0, own, shown: place_of(own)? };
        lab.attach(bench)?;
        forget_strays();
        Ok(lab)
    }

    fn attach(&mut self, bench: &mut Bench) -> Outcome {
        if !self.has_iommu {
            return Ok(());
        }
        self.space = device_space(bench.memory(TABLES)?, self.device.source())?;
        self.show(self.own, SHOWN, MapAccess::ReadWrite)?;
        self.shown = SHOWN;
        Ok(())
    }

    /// Shows the device a page.
    pub(super) fn show(&self, memory: u64, address: u64, access: MapAccess) -> Result<u64, Error> {
        call(Syscall::Map, [self.space, memory, address, 0, 1, access as u64])
    }

    /// Takes the device's space away.
    pub(super) fn detach(&mut self) -> Outcome {
        if self.has_iommu {
            call(Syscall::Destroy, [self.space])?;
        }
        Ok(())
    }

    /// Where the device finds a page of its driver's that is not the own one.
    pub(super) fn lend(&self, memory: u64, access: MapAccess) -> Result<u64, Failure> {
        if self.has_iommu {
            self.show(memory, NEXT, access)?;
            Ok(NEXT)
        } else {
            place_of(memory)
        }
    }

    /// How often it was told that the device was refused something; what is told comes soon.
    pub(super) fn strays(&self) -> u64 {
        let (until, mut told) = (now() + 50_000_000, 0);
        while now() < until {
            match take_stray() {
                Some(stray) if stray.source == self.device.source() => told += 1,
                Some(_) => {}
                None => sleep(1_000_000),
            }
        }
        told
    }

    /// Gives everything back that is no object.
    pub(super) fn close(self) -> Outcome {
        self.device.leave()
    }
}

impl Lab<Edu> {
    /// Fills the device's own memory with a pattern.
    pub(super) fn load(&self, seed: u8) -> Outcome {
        OWN.fill(0, LENGTH, seed);
        self.device.take(self.shown, BYTES)
    }

    /// Has the device copy what it has in its own memory to the own page.
    pub(super) fn fetch(&self) -> Outcome {
        OWN.fill(0, LENGTH, 0);
        self.device.give(self.shown, BYTES)
    }

    /// Whether the device can write to a page that the processor sees at [`OTHER`], by the address `to`.
    pub(super) fn writes(&self, to: u64) -> Result<Reached, Failure> {
        self.load(0x51)?;
        OTHER.fill(0, LENGTH, 0x17);
        self.device.give(to, BYTES)?;
        Ok((!OTHER.holds(0, LENGTH, 0x17)).into())
    }

    /// Whether the device can read something else than what it had before.
    pub(super) fn reads(&self, from: u64) -> Result<Reached, Failure> {
        self.load(0x33)?;
        self.device.take(from, BYTES)?;
        self.fetch()?;
        // What the bus gives for a refused read is nothing: all zeros or all ones.
        let nothing = OWN.is_all(0, LENGTH, 0) || OWN.is_all(0, LENGTH, 0xff);
        Ok((!nothing && !OWN.holds(0, LENGTH, 0x33)).into())
    }

    /// Whether the device still finds its own page.
    pub(super) fn still_works(&self) -> Outcome {
        self.load(0x5a)?;
        self.fetch()?;
        holds(OWN.holds(0, LENGTH, 0x5a), "what the device may do it still can")
    }
}
