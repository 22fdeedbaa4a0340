//! What a device can be made to do by a driver that means harm: each attack is shown to succeed in a machine without an IOMMU,
//! where that is safe to show, and to be refused and reported in one with it.
//!
//! The suite plays the driver, with all authority that there is: what keeps the device from what it is told to do is the
//! IOMMU alone. Each attack writes a line `attack NAME: reached` or `attack NAME: blocked, told N times`.

mod edu;

use crate::actor::Memory;
use crate::bench::{Bench, WINDOW};
use crate::call::{call, now, results, sleep, soon, wait};
use crate::cases::Case;
use crate::console::print;
use crate::outcome::{Failure, Outcome, holds};
use abi::boot::RegionKind;
use abi::device::{SourceId, SourceRange, Stray};
use abi::syscall::{InterruptSource, MapAccess, Syscall};
use abi::time::NOW;
use abi::{Error, PAGE_SIZE, root};
use edu::Edu;

/// Lists attacks as cases under their own names.
macro_rules! attacks {
    ($($name:ident),* $(,)?) => {
        /// The attacks.
        pub(crate) const CASES: &[Case] = &[$(Case { name: stringify!($name), run: |bench| {
            let mut lab = Lab::open(bench)?;
            let outcome = $name(bench, &mut lab).and_then(|reached| lab.judge(stringify!($name), reached));
            lab.close()?;
            outcome
        } }),*];
    };
}

attacks![
    write_memory_that_nobody_has_shared,
    write_before_any_driver_has_the_device,
    read_the_kernels_text,
    overwrite_the_kernels_text,
    overwrite_a_page_table,
    read_a_page_table,
    overwrite_memory_of_another_domain,
    write_its_own_memory_after_it_was_unmapped,
    write_memory_that_was_revoked_and_given_to_another,
    write_memory_that_may_only_be_read,
    write_after_its_driver_is_gone,
    overwrite_the_registers_of_the_iommu,
    forge_an_interrupt_of_another_device,
];

/// What became of an attack.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reached {
    Yes,
    No,
    /// In a machine without an IOMMU this would break the machine, or there is nothing to attack.
    NotTried,
}

impl From<bool> for Reached {
    fn from(reached: bool) -> Self {
        if reached { Reached::Yes } else { Reached::No }
    }
}

const READ_WRITE: u64 = MapAccess::ReadWrite as u64;
/// Where the own page is mapped for the processor, and others beside it.
const OWN: Memory = Memory(WINDOW);
const OTHER: Memory = Memory(WINDOW + PAGE_SIZE);
/// Where devices find the own page in a machine with an IOMMU, and the next page.
const SHOWN: u64 = 0x20_0000;
const NEXT: u64 = SHOWN + PAGE_SIZE;
/// Bytes that are copied.
const BYTES: u64 = 512;
const LENGTH: usize = BYTES as usize;

/// The device and what it may use.
struct Lab {
    edu: Edu,
    has_iommu: bool,
    /// The device's space, if there is an IOMMU.
    space: u64,
    /// A page that the device may use, and where it finds it.
    own: u64,
    shown: u64,
}

/// Where memory lies.
fn place_of(memory: u64) -> Result<u64, Failure> {
    let info = results(Syscall::MemoryInfo, [memory]);
    Ok(info.value()? * PAGE_SIZE)
}

impl Lab {
    fn open(bench: &mut Bench) -> Result<Self, Failure> {
        let has_iommu = call(Syscall::DeviceInfo, [root::DEVICES.0])? > 0;
        let edu = Edu::find(bench)?;
        let own = bench.memory(1)?;
        bench.map(own, OWN.0, 1)?;
        let mut lab = Lab { edu, has_iommu, space: 0, own, shown: place_of(own)? };
        lab.attach(bench)?;
        lab.forget_strays();
        Ok(lab)
    }

    /// Gives the device a space that shows its own page.
    fn attach(&mut self, bench: &mut Bench) -> Outcome {
        if !self.has_iommu {
            return Ok(());
        }
        let tables = bench.memory(5)?;
        let sources = SourceRange::one(self.edu.source).to_register();
        self.space = call(Syscall::DeviceSpaceCreate, [root::ACCOUNT.0, tables, 0, root::DEVICES.0, sources])?;
        call(Syscall::SpaceDonate, [self.space, tables, 1, 4])?;
        self.show(self.own, SHOWN, READ_WRITE)?;
        self.shown = SHOWN;
        Ok(())
    }

    /// Shows the device a page.
    fn show(&self, memory: u64, address: u64, access: u64) -> Result<u64, Error> {
        call(Syscall::Map, [self.space, memory, address, 0, 1, access])
    }

    /// Takes the device's space away.
    fn detach(&mut self) -> Outcome {
        if self.has_iommu {
            call(Syscall::Destroy, [self.space])?;
        }
        Ok(())
    }

    /// Where the device finds a page of its driver's that is not the own one.
    fn lend(&self, memory: u64, access: u64) -> Result<u64, Failure> {
        if self.has_iommu {
            self.show(memory, NEXT, access)?;
            Ok(NEXT)
        } else {
            place_of(memory)
        }
    }

    /// Fills the device's own memory with a pattern.
    fn load(&self, seed: u8) -> Outcome {
        OWN.fill(0, LENGTH, seed);
        self.edu.take(self.shown, BYTES)
    }

    /// Has the device copy what it has in its own memory to the own page.
    fn fetch(&self) -> Outcome {
        OWN.fill(0, LENGTH, 0);
        self.edu.give(self.shown, BYTES)
    }

    /// Whether the device can write to a page that the processor sees at [`OTHER`], by the address `to`.
    fn writes(&self, to: u64) -> Result<Reached, Failure> {
        self.load(0x51)?;
        OTHER.fill(0, LENGTH, 0x17);
        self.edu.give(to, BYTES)?;
        Ok((!OTHER.holds(0, LENGTH, 0x17)).into())
    }

    fn take_stray(&self) -> Option<Stray> {
        let told = results(Syscall::DeviceStray, [root::DEVICES.0]);
        told.value().ok()?;
        Stray::from_registers(told.rsi, told.rdi)
    }

    fn forget_strays(&self) {
        while self.take_stray().is_some() {}
    }

    /// How often it was told that the device was refused something; what is told comes soon.
    fn strays(&self) -> u64 {
        let (until, mut told) = (now() + 50_000_000, 0);
        while now() < until {
            match self.take_stray() {
                Some(stray) if stray.source == self.edu.source => told += 1,
                Some(_) => {}
                None => sleep(1_000_000),
            }
        }
        told
    }

    fn judge(&self, name: &str, reached: Reached) -> Outcome {
        let told = self.strays();
        match reached {
            Reached::Yes => print(format_args!("attack {name}: reached\n")),
            Reached::No => print(format_args!("attack {name}: blocked, told {told} times\n")),
            Reached::NotTried => print(format_args!("attack {name}: not tried\n")),
        }
        if !self.has_iommu {
            return holds(reached != Reached::No, "without an IOMMU the attack succeeds");
        }
        holds(reached == Reached::No, "the attack is blocked")?;
        holds(told > 0, "it is told that the device was refused something")
    }

    fn close(self) -> Outcome {
        self.edu.leave()
    }
}

fn write_memory_that_nobody_has_shared(bench: &mut Bench, lab: &mut Lab) -> Result<Reached, Failure> {
    let other = bench.memory(1)?;
    bench.map(other, OTHER.0, 1)?;
    lab.writes(place_of(other)?)
}

fn write_before_any_driver_has_the_device(bench: &mut Bench, lab: &mut Lab) -> Result<Reached, Failure> {
    let other = bench.memory(1)?;
    bench.map(other, OTHER.0, 1)?;
    lab.load(0x51)?;
    lab.detach()?;
    OTHER.fill(0, LENGTH, 0x17);
    lab.edu.give(place_of(other)?, BYTES)?;
    Ok((!OTHER.holds(0, LENGTH, 0x17)).into())
}

/// Whether the device has read something else than what it had before.
fn reads(lab: &Lab, from: u64) -> Result<Reached, Failure> {
    lab.load(0x33)?;
    lab.edu.take(from, BYTES)?;
    lab.fetch()?;
    // What the bus gives for a refused read is nothing: all zeros or all ones.
    let nothing = OWN.is_all(0, LENGTH, 0) || OWN.is_all(0, LENGTH, 0xff);
    Ok((!nothing && !OWN.holds(0, LENGTH, 0x33)).into())
}

fn read_the_kernels_text(bench: &mut Bench, lab: &mut Lab) -> Result<Reached, Failure> {
    reads(lab, bench.boot_info().kernel_image.start)
}

fn overwrite_the_kernels_text(bench: &mut Bench, lab: &mut Lab) -> Result<Reached, Failure> {
    if !lab.has_iommu {
        return Ok(Reached::NotTried);
    }
    // Were it not blocked, nobody would be left to say so.
    lab.load(0)?;
    lab.edu.give(bench.boot_info().kernel_image.start, BYTES)?;
    Ok(Reached::No)
}

/// A page that the kernel has for page tables and does not use yet, and where it lies.
fn page_table(bench: &mut Bench) -> Result<u64, Failure> {
    let space = bench.space()?;
    let table = bench.memory(1)?;
    let place = place_of(table)?;
    call(Syscall::SpaceDonate, [space, table, 0, 1])?;
    Ok(place)
}

fn overwrite_a_page_table(bench: &mut Bench, lab: &mut Lab) -> Result<Reached, Failure> {
    let place = page_table(bench)?;
    lab.load(0x77)?;
    lab.edu.give(place, BYTES)?;
    if lab.has_iommu {
        // The device cannot read it either, and the kernel shows it to nobody. It gives it back zeroed.
        return Ok(Reached::No);
    }
    lab.load(0)?;
    lab.edu.take(place, BYTES)?;
    lab.fetch()?;
    Ok(OWN.holds(0, LENGTH, 0x77).into())
}

fn read_a_page_table(bench: &mut Bench, lab: &mut Lab) -> Result<Reached, Failure> {
    let regions = bench.boot_info().memory.as_slice();
    let tables = regions.iter().find(|region| region.kind == RegionKind::PageTables);
    let tables = tables.ok_or_else(|| Failure::new("no page tables are described".into()))?;
    reads(lab, tables.extent.start)
}

fn overwrite_memory_of_another_domain(bench: &mut Bench, lab: &mut Lab) -> Result<Reached, Failure> {
    let (child, other) = (bench.child(10)?, bench.memory(1)?);
    call(Syscall::Map, [child.space, other, 0x4000_0000, 0, 1, READ_WRITE])?;
    bench.map(other, OTHER.0, 1)?;
    lab.writes(place_of(other)?)
}

fn write_its_own_memory_after_it_was_unmapped(bench: &mut Bench, lab: &mut Lab) -> Result<Reached, Failure> {
    let other = bench.memory(1)?;
    bench.map(other, OTHER.0, 1)?;
    if !lab.has_iommu {
        return lab.writes(place_of(other)?);
    }
    let mapping = lab.show(other, NEXT, READ_WRITE)?;
    holds(lab.writes(NEXT)? == Reached::Yes, "it was its own until then")?;
    call(Syscall::Unmap, [lab.space, mapping])?;
    lab.forget_strays();
    lab.writes(NEXT)
}

fn write_memory_that_was_revoked_and_given_to_another(bench: &mut Bench, lab: &mut Lab) -> Result<Reached, Failure> {
    let whole = bench.memory(1)?;
    let drivers = call(Syscall::MemorySplit, [whole, 0, 1, u16::MAX.into()])?;
    let to = lab.lend(drivers, READ_WRITE)?;
    lab.load(0x51)?;
    lab.edu.give(to, BYTES)?;
    call(Syscall::CapRevoke, [whole])?;
    bench.map(whole, OTHER.0, 1)?;
    lab.forget_strays();
    lab.writes(to)
}

fn write_memory_that_may_only_be_read(bench: &mut Bench, lab: &mut Lab) -> Result<Reached, Failure> {
    let other = bench.memory(1)?;
    bench.map(other, OTHER.0, 1)?;
    let to = lab.lend(other, MapAccess::Read as u64)?;
    lab.writes(to)
}

fn write_after_its_driver_is_gone(bench: &mut Bench, lab: &mut Lab) -> Result<Reached, Failure> {
    let other = bench.memory(1)?;
    bench.map(other, OTHER.0, 1)?;
    let to = lab.lend(other, READ_WRITE)?;
    holds(lab.writes(to)? == Reached::Yes, "it was its own until then")?;
    lab.detach()?;
    lab.forget_strays();
    OTHER.fill(0, LENGTH, 0x17);
    lab.edu.give(to, BYTES)?;
    Ok((!OTHER.holds(0, LENGTH, 0x17)).into())
}

fn overwrite_the_registers_of_the_iommu(bench: &mut Bench, lab: &mut Lab) -> Result<Reached, Failure> {
    let Some(iommu) = bench.boot_info().platform.iommus.as_slice().first() else {
        return Ok(Reached::NotTried);
    };
    lab.load(0)?;
    lab.edu.give(iommu.registers.phys, 64)?;
    // It still translates.
    lab.fetch()?;
    Ok((!OWN.holds(0, LENGTH, 0)).into())
}

fn forge_an_interrupt_of_another_device(bench: &mut Bench, lab: &mut Lab) -> Result<Reached, Failure> {
    let interrupt = call(Syscall::InterruptCreate, [root::INTERRUPTS.0, InterruptSource::Message.to_register()])?;
    let bits = bench.notification()?;
    call(Syscall::InterruptBind, [interrupt, bits, 1])?;
    call(Syscall::InterruptAck, [interrupt])?;
    if lab.has_iommu {
        let another = SourceId(lab.edu.source.0 + 8);
        call(Syscall::DeviceRoute, [root::DEVICES.0, interrupt, another.0.into()])?;
    }
    let message = results(Syscall::InterruptMessage, [interrupt]);
    let (address, data) = (message.value()?, message.rdi as u32);
    data.to_le_bytes().iter().enumerate().for_each(|(place, byte)| OWN.set_byte(place, *byte));
    lab.edu.take(lab.shown, 4)?;
    lab.edu.give(address, 4)?;
    let deadline = if lab.has_iommu { now() + 100_000_000 } else { soon() };
    let arrived = wait(bits, deadline).is_ok();
    let _ = wait(bits, NOW);
    Ok(arrived.into())
}
