//! Interrupt lines: I/O APICs (82093AA data sheet, 3.2), and the legacy controllers, which are silenced.

use crate::iommu::Remapping;
use crate::registers::RegisterPage;
use abi::boot::{IO_APICS_MAX, InterruptOverride, List, OVERRIDES_MAX, Platform, Polarity, Trigger};
use abi::device::SourceId;
use x86_64::instructions::port::Port;

const SELECT: usize = 0x00;
const WINDOW: usize = 0x10;
const VERSION: u32 = 1;
const FIRST_ENTRY: u32 = 0x10;

const MASKED: u32 = 1 << 16;
const LEVEL_TRIGGERED: u32 = 1 << 15;
const ACTIVE_LOW: u32 = 1 << 13;

/// An I/O APIC.
#[derive(Clone, Copy, Debug)]
struct Controller {
    registers: RegisterPage,
    first_interrupt: u32,
    entries: u32,
    /// Who it is to the IOMMU.
    source: Option<SourceId>,
}

impl Controller {
    fn read(&self, index: u32) -> u32 {
        self.registers.write(SELECT, index);
        self.registers.read(WINDOW)
    }

    fn write(&self, index: u32, value: u32) {
        self.registers.write(SELECT, index);
        self.registers.write(WINDOW, value);
    }
}

/// One line of one controller.
#[derive(Clone, Copy, Debug)]
struct Line<'a> {
    controller: &'a Controller,
    entry: u32,
    mode: u32,
}

impl Line<'_> {
    fn low(&self) -> u32 {
        FIRST_ENTRY + 2 * self.entry
    }
}

/// How an ISA interrupt arrives: its global interrupt number and the mode bits of its entry.
fn wiring(isa: u8, overrides: &[InterruptOverride]) -> (u32, u32) {
    match overrides.iter().find(|wired| wired.isa == isa) {
        None => (u32::from(isa), 0),
        Some(wired) => {
            let mut mode = 0;
            if wired.trigger == Trigger::Level {
                mode |= LEVEL_TRIGGERED;
            }
            if wired.polarity == Polarity::ActiveLow {
                mode |= ACTIVE_LOW;
            }
            (wired.gsi, mode)
        }
    }
}

/// All interrupt lines of the machine.
#[derive(Debug)]
pub struct InterruptLines {
    controllers: [Option<Controller>; IO_APICS_MAX],
    overrides: List<InterruptOverride, OVERRIDES_MAX>,
}

impl InterruptLines {
    /// No lines.
    pub const NONE: Self = InterruptLines { controllers: [None; IO_APICS_MAX], overrides: Platform::EMPTY.overrides };

    /// Masks every line, those of the legacy controllers included.
    ///
    /// # Safety
    /// Called once; the loader has mapped the controllers' registers.
    pub unsafe fn start(&mut self, platform: &Platform) {
        // SAFETY: nothing else uses the legacy controllers, and nobody waits for an interrupt yet.
        unsafe { silence_legacy_controllers() };
        self.overrides = platform.overrides;
        for (place, described) in self.controllers.iter_mut().zip(platform.io_apics.as_slice()) {
            // SAFETY: the caller vouches for the mapping.
            let Some(registers) = (unsafe { RegisterPage::new(&described.registers) }) else {
                continue;
            };
            let mut controller =
                Controller { registers, first_interrupt: described.gsi_base, entries: 0, source: described.source() };
            controller.entries = ((controller.read(VERSION) >> 16) & 0xff) + 1;
            for entry in 0..controller.entries {
                controller.write(FIRST_ENTRY + 2 * entry, MASKED);
            }
            *place = Some(controller);
        }
    }

    fn line(&self, isa: u8) -> Option<Line<'_>> {
        let (interrupt, mode) = wiring(isa, self.overrides.as_slice());
        self.controllers.iter().flatten().find_map(|controller| {
            let entry = interrupt.checked_sub(controller.first_interrupt)?;
            (entry < controller.entries).then_some(Line { controller, entry, mode })
        })
    }

    /// Whether an ISA interrupt reaches a controller.
    pub fn has(&self, isa: u8) -> bool {
        self.line(isa).is_some()
    }

    /// Whether an ISA interrupt is asserted until its device is served.
    pub fn is_level_triggered(&self, isa: u8) -> bool {
        wiring(isa, self.overrides.as_slice()).1 & LEVEL_TRIGGERED != 0
    }

    /// Connects an ISA interrupt to a vector of the processor with this identifier, masked. Where interrupts are remapped,
    /// the IOMMU is told who raises it.
    pub fn connect(&self, isa: u8, vector: u8, processor: u8, remapping: Option<&dyn Remapping>) {
        if let Some(line) = self.line(isa) {
            let entry = match remapping {
                Some(iommu) => {
                    let level = line.mode & LEVEL_TRIGGERED != 0;
                    let trigger = if level { Trigger::Level } else { Trigger::Edge };
                    iommu.route(vector, line.controller.source, trigger, processor);
                    iommu.line(vector)
                }
                None => u64::from(processor) << 56 | u64::from(vector),
            };
            line.controller.write(line.low(), MASKED);
            line.controller.write(line.low() + 1, (entry >> 32) as u32);
            line.controller.write(line.low(), MASKED | line.mode | entry as u32);
        }
    }

    /// Masks an ISA interrupt or lets it come.
    pub fn set_masked(&self, isa: u8, masked: bool) {
        if let Some(line) = self.line(isa) {
            let entry = line.controller.read(line.low());
            let changed = if masked { entry | MASKED } else { entry & !MASKED };
            if changed != entry {
                line.controller.write(line.low(), changed);
            }
        }
    }
}

/// Moves the legacy controllers' vectors out of the exceptions' way and masks all their lines (8259A data sheet).
///
/// # Safety
/// Nothing else uses them.
unsafe fn silence_legacy_controllers() {
    const FIRST: (u16, u16) = (0x20, 0x21);
    const SECOND: (u16, u16) = (0xa0, 0xa1);
    let first_vector = crate::interrupt_table::LEGACY_FIRST;
    let steps = [
        (FIRST.0, 0x11),
        (SECOND.0, 0x11),
        (FIRST.1, first_vector),
        (SECOND.1, first_vector + 8),
        (FIRST.1, 4),
        (SECOND.1, 2),
        (FIRST.1, 1),
        (SECOND.1, 1),
        (FIRST.1, 0xff),
        (SECOND.1, 0xff),
    ];
    for (port, value) in steps {
        // SAFETY: the ports are the legacy controllers', which the caller leaves to this function; reads of the unused
        // port 0x80 give slow ones time.
        unsafe {
            Port::<u8>::new(port).write(value);
            let _ = Port::<u8>::new(0x80).read();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIRED: InterruptOverride =
        InterruptOverride { gsi: 9, isa: 9, polarity: Polarity::ActiveLow, trigger: Trigger::Level, reserved: 0 };

    #[test]
    fn an_isa_line_without_override_is_edge_triggered_and_active_high() {
        assert_eq!(wiring(4, &[WIRED]), (4, 0));
    }

    #[test]
    fn an_override_changes_number_and_mode() {
        let timer =
            InterruptOverride { gsi: 2, isa: 0, polarity: Polarity::ActiveHigh, trigger: Trigger::Edge, reserved: 0 };
        assert_eq!(wiring(9, &[timer, WIRED]), (9, LEVEL_TRIGGERED | ACTIVE_LOW));
        assert_eq!(wiring(0, &[timer, WIRED]), (2, 0));
    }
}
