//! Attacks by interrupts: a message-signalled interrupt is a write, which a device can also make by copying.

use super::Reached;
use super::edu::Edu;
use super::lab::{Lab, OWN};
use crate::bench::Bench;
use crate::call::{call, now, results, soon, wait};
use crate::outcome::{Failure, Outcome, holds};
use abi::PAGE_SIZE;
use abi::device::SourceId;
use abi::root;
use abi::syscall::{InterruptSource, Syscall};
use abi::time::NOW;

type Attack = Result<Reached, Failure>;

/// Where messages are written that are not remapped (Intel SDM 3, 11.11.1), to the processor that bits 12 to 19 name: not the
/// first one, whose registers are where its messages would go.
const OLD_FORMAT: u64 = 0xfee0_1000;
/// The distance of writes of a copy that are such messages: between them, address bits say something else.
const STRIDE: usize = 32;
/// Words of the longest copy: the device does not take the last word of its own page.
const WORDS: usize = PAGE_SIZE as usize / 4 - 1;
/// The lowest vector that is no exception.
const FIRST_VECTOR: usize = 32;
const VECTORS: usize = 256;

/// An interrupt that waits to be raised.
struct Target {
    interrupt: u64,
    bits: u64,
    has_iommu: bool,
}

impl Target {
    /// Raised by nobody yet, on a machine on which that can be said.
    fn new(bench: &Bench, lab: &Lab<Edu>) -> Result<Self, Failure> {
        let interrupt = call(Syscall::InterruptCreate, [root::INTERRUPTS.0, InterruptSource::Message.to_register()])?;
        let bits = bench.notification()?;
        call(Syscall::InterruptBind, [interrupt, bits, 1])?;
        call(Syscall::InterruptAck, [interrupt])?;
        Ok(Target { interrupt, bits, has_iommu: lab.has_iommu })
    }

    /// From now on a function, and no other, may raise it.
    fn route(&self, source: SourceId) -> Outcome {
        if self.has_iommu {
            call(Syscall::DeviceRoute, [root::DEVICES.0, self.interrupt, source.0.into()])?;
        }
        Ok(())
    }

    /// The write that raises it.
    fn message(&self) -> Result<(u64, u32), Failure> {
        let message = results(Syscall::InterruptMessage, [self.interrupt]);
        Ok((message.value()?, message.rdi as u32))
    }

    /// Whether it comes. What is to be blocked is waited for as long as what is not would take many times over.
    fn comes(&self) -> Result<bool, Failure> {
        let deadline = if self.has_iommu { now() + 200_000_000 } else { soon() };
        let came = wait(self.bits, deadline).is_ok();
        if came {
            call(Syscall::InterruptAck, [self.interrupt])?;
            let _ = wait(self.bits, NOW);
        }
        Ok(came)
    }
}

/// Another device than the one of the lab.
fn another(lab: &Lab<Edu>) -> SourceId {
    SourceId(lab.device.function.source.0 ^ 8)
}

/// Sets a word of the own page.
fn set_word(place: usize, word: u32) {
    word.to_le_bytes().iter().enumerate().for_each(|(byte, value)| OWN.set_byte(4 * place + byte, *value));
}

/// Writes a word by the device's copying engine.
fn write(lab: &Lab<Edu>, address: u64, data: u32) -> Outcome {
    set_word(0, data);
    lab.device.take(lab.shown, 4)?;
    lab.device.give(address, 4)
}

pub(super) fn raise_an_interrupt_of_another_device(bench: &mut Bench, lab: &mut Lab<Edu>) -> Attack {
    let target = Target::new(bench, lab)?;
    target.route(lab.device.function.source)?;
    let (address, data) = target.message()?;
    lab.device.function.set_message(address, data)?;
    lab.device.interrupt();
    holds(target.comes()?, "the device can raise what it may")?;
    target.route(another(lab))?;
    lab.device.interrupt();
    let came = target.comes()?;
    lab.device.function.silence();
    Ok(if came { Reached::Yes } else { Reached::NoInterrupt })
}

pub(super) fn write_an_interrupt_that_nobody_may_raise(bench: &mut Bench, lab: &mut Lab<Edu>) -> Attack {
    let target = Target::new(bench, lab)?;
    let (address, data) = target.message()?;
    write(lab, address, data)?;
    Ok(if target.comes()? { Reached::Yes } else { Reached::NoInterrupt })
}

pub(super) fn write_an_interrupt_of_another_device(bench: &mut Bench, lab: &mut Lab<Edu>) -> Attack {
    let target = Target::new(bench, lab)?;
    target.route(another(lab))?;
    let (address, data) = target.message()?;
    write(lab, address, data)?;
    Ok(match (target.comes()?, lab.has_iommu) {
        (false, _) => Reached::NoInterrupt,
        (true, false) => Reached::Yes,
        (true, true) => Reached::Unchecked("QEMU does not say who copies"),
    })
}

pub(super) fn write_every_interrupt_in_the_old_format(bench: &mut Bench, lab: &mut Lab<Edu>) -> Attack {
    let target = Target::new(bench, lab)?;
    target.route(another(lab))?;
    let at_once = PAGE_SIZE as usize / STRIDE;
    for first in (0..VECTORS).step_by(at_once) {
        for word in 0..WORDS {
            let vector = first + word * 4 / STRIDE;
            // The lower vectors are left to the processor: no kernel could tell them from exceptions.
            set_word(word, vector.max(FIRST_VECTOR) as u32);
        }
        lab.device.take(lab.shown, 4 * WORDS as u64)?;
        lab.device.give(OLD_FORMAT, 4 * WORDS as u64)?;
    }
    let came = target.comes()?;
    lab.still_works()?;
    Ok(match (came, lab.has_iommu) {
        (false, _) => Reached::NoInterrupt,
        (true, false) => Reached::Yes,
        (true, true) => Reached::Unchecked("QEMU 7.2 lets the old format pass"),
    })
}
