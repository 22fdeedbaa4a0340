//! QEMU's device `edu`, which copies between memory and itself to and from whatever address it is told (QEMU,
//! `docs/specs/edu.txt`).

use super::function::Function;
use super::lab::Device;
use super::registers::Registers;
use crate::bench::Bench;
use crate::call::until;
use crate::outcome::{Failure, Outcome, holds};
use abi::device::SourceId;
use alloc::vec::Vec;

/// Vendor and device.
const IDENTITY: u32 = 0x11e8_1234;
/// Where its own memory begins, as it counts; a page.
const OWN: u64 = 0x4_0000;

/// Raises its interrupt, for the reasons that are written, and takes reasons back.
const RAISE: usize = 0x60;
const LOWER: usize = 0x64;
/// Registers of its copying engine.
const FROM: usize = 0x80;
const TO: usize = 0x88;
const COUNT: usize = 0x90;
const START: usize = 0x98;
const RUNNING: u64 = 1;
const TO_MEMORY: u64 = 2;

/// Where its pages are mapped: registers from here on, configuration spaces behind.
const PLACE: u64 = 0;
const MOST: usize = 8;

/// The device.
pub(super) struct Edu {
    pub(super) function: Function,
    registers: Registers,
}

impl Edu {
    /// All that the machine has, up to eight.
    pub(super) fn all(bench: &Bench) -> Result<Vec<Self>, Failure> {
        let functions = Function::find(bench, IDENTITY, MOST, PLACE + MOST as u64)?;
        let with_registers = (PLACE..).zip(functions).map(|(place, function)| {
            let registers = Registers::map(bench, function.base(0), place)?;
            Ok(Edu { function, registers })
        });
        with_registers.collect()
    }

    /// Has it copy `count` bytes from memory to itself.
    pub(super) fn take(&self, from: u64, count: u64) -> Outcome {
        self.start(from, OWN, count, RUNNING);
        self.finish()
    }

    /// Has it copy `count` bytes from itself to memory.
    pub(super) fn give(&self, to: u64, count: u64) -> Outcome {
        self.start_giving(to, count);
        self.finish()
    }

    /// Begins to copy from itself to memory: it waits a tenth of a second, and then copies at once.
    pub(super) fn start_giving(&self, to: u64, count: u64) {
        self.start(OWN, to, count, RUNNING | TO_MEMORY);
    }

    fn start(&self, from: u64, to: u64, count: u64, start: u64) {
        self.registers.write(FROM, from);
        self.registers.write(TO, to);
        self.registers.write(COUNT, count);
        self.registers.write(START, start);
    }

    /// Waits until it has copied.
    pub(super) fn finish(&self) -> Outcome {
        holds(until(|| !self.is_copying()), "the device has copied")
    }

    /// Whether it has yet to copy.
    pub(super) fn is_copying(&self) -> bool {
        self.registers.read::<u64>(START) & RUNNING != 0
    }

    /// Has it raise its interrupt once.
    pub(super) fn interrupt(&self) {
        self.registers.write(RAISE, 1_u32);
        self.registers.write(LOWER, 1_u32);
    }
}

impl Device for Edu {
    fn find(bench: &mut Bench) -> Result<Self, Failure> {
        let mut all = Self::all(bench)?.into_iter();
        let first = all.next().ok_or_else(|| Failure::new("the machine has no device `edu`".into()))?;
        all.try_for_each(|other| other.leave())?;
        Ok(first)
    }

    fn source(&self) -> SourceId {
        self.function.source
    }

    fn leave(&self) -> Outcome {
        self.registers.unmap()?;
        self.function.leave()
    }
}

/// All of them.
pub(super) struct Fleet(pub(super) Vec<Edu>);

impl Device for Fleet {
    fn find(bench: &mut Bench) -> Result<Self, Failure> {
        let all = Edu::all(bench)?;
        holds(!all.is_empty(), "the machine has devices `edu`")?;
        Ok(Fleet(all))
    }

    fn source(&self) -> SourceId {
        self.0[0].source()
    }

    fn leave(&self) -> Outcome {
        self.0.iter().try_for_each(Device::leave)
    }
}
