//! Collecting what the firmware's tables say into the form in which the kernel gets it.

use crate::sleep_state::SleepTypes;
use abi::boot::{
    Cpu, DeviceRegion, EcamWindow, Extent, InterruptOverride, IoApic, Iommu, IommuKind, List, NO_SOURCE, Platform,
    PmTimer, Polarity, PowerOff, Registers, ResetRegister, ResetSpace, Trigger,
};
use abi::device::SourceId;

/// Most ACPI tables whose memory is made readable.
pub const TABLES_MAX: usize = 64;

/// Most pieces of memory that the firmware reserves for devices.
const RESERVED_MAX: usize = 64;

/// Largest identifier by which an xAPIC addresses one CPU (Intel SDM volume 3A, 10.6.1).
const APIC_ID_MAX: u32 = 254;

/// What a table says contradicts itself, or what was said before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contradiction;

/// The machine as far as it is known.
#[derive(Clone, Debug)]
pub struct Machine {
    platform: Platform,
    hpet_number: u8,
    tables: List<Extent, TABLES_MAX>,
    reserved_memory: List<Extent, RESERVED_MAX>,
    left_out: u32,
}

impl Machine {
    /// A machine of which only the CPU is known that runs, and the ACPI root pointer.
    pub fn new(boot_cpu: u32, rsdp: u64) -> Self {
        let mut platform = Platform::EMPTY;
        platform.rsdp = rsdp;
        let mut machine = Self {
            platform,
            hpet_number: 0,
            tables: List::new(Extent::default()),
            reserved_memory: List::new(Extent::default()),
            left_out: 0,
        };
        machine.add_cpu(boot_cpu, true);
        machine
    }

    /// What the kernel gets.
    pub fn platform(&self) -> &Platform {
        &self.platform
    }

    /// Where the tables lie.
    pub fn tables(&self) -> &[Extent] {
        self.tables.as_slice()
    }

    /// Memory that devices use on behalf of the firmware, in whole pages.
    pub fn reserved_memory(&self) -> &[Extent] {
        self.reserved_memory.as_slice()
    }

    /// How many CPUs, interrupt controllers and the like were left out because there are too many of them, or because
    /// the kernel cannot be told where they are.
    pub fn left_out(&self) -> u32 {
        self.left_out
    }

    /// Notes where a table lies.
    pub fn add_table(&mut self, extent: Extent) {
        // A table whose memory stays unreadable is no loss to the kernel, which reads none.
        let _ = self.tables.push(extent);
    }

    /// Adds a CPU, unless it is known already or cannot be used.
    pub fn add_cpu(&mut self, apic_id: u32, enabled: bool) {
        let known = self.platform.cpus.as_slice().iter().any(|cpu| cpu.apic_id == apic_id);
        if known || !enabled {
            return;
        }
        if apic_id > APIC_ID_MAX || self.platform.cpus.push(Cpu { apic_id }).is_err() {
            self.left_out += 1;
        }
    }

    /// Says where the local APIC's registers are.
    pub fn set_local_apic(&mut self, phys: u64) {
        self.platform.local_apic = Registers { phys, virt: 0 };
    }

    /// Adds an I/O APIC.
    pub fn add_io_apic(&mut self, id: u8, phys: u64, gsi_base: u32) {
        let registers = Registers { phys, virt: 0 };
        let io_apic = IoApic { registers, gsi_base, id: u32::from(id), source: NO_SOURCE, reserved: 0 };
        if self.platform.io_apics.push(io_apic).is_err() {
            self.left_out += 1;
        }
    }

    /// Adds an override of an interrupt; `flags` are the MPS INTI flags (ACPI 6.4, table 5.26). Only the ISA bus, number
    /// 0, has any.
    pub fn add_override(&mut self, bus: u8, isa: u8, gsi: u32, flags: u16) {
        if bus != 0 {
            return;
        }
        let item = InterruptOverride {
            gsi,
            isa,
            polarity: match flags & 3 {
                3 => Polarity::ActiveLow,
                _ => Polarity::ActiveHigh,
            },
            trigger: match flags >> 2 & 3 {
                3 => Trigger::Level,
                _ => Trigger::Edge,
            },
            reserved: 0,
        };
        if self.platform.overrides.push(item).is_err() {
            self.left_out += 1;
        }
    }

    /// Adds a window of PCI Express configuration space, whose table gives the address of bus 0.
    pub fn add_ecam(&mut self, bus_0: u64, segment: u16, first_bus: u8, last_bus: u8) {
        let start = bus_0.checked_add(u64::from(first_bus) << 20);
        let (Some(phys), true) = (start, first_bus <= last_bus && bus_0 != 0) else {
            return;
        };
        let window = EcamWindow { phys, segment, first_bus, last_bus, reserved: 0 };
        if self.platform.ecam.push(window).is_err() {
            self.left_out += 1;
        }
    }

    /// Says where the registers of the HPET with this number are.
    pub fn set_hpet(&mut self, number: u8, phys: u64) {
        self.hpet_number = number;
        self.platform.hpet = Registers { phys, virt: 0 };
    }

    /// Adds an IOMMU; one by AMD may be described several times.
    ///
    /// # Errors
    /// If an IOMMU that is known has the same registers or the same source, and is not this one.
    pub fn add_iommu(&mut self, unit: Iommu) -> Result<(), Contradiction> {
        let amd = unit.kind == IommuKind::AmdVi;
        for known in self.platform.iommus.as_slice() {
            let same_place = known.registers.phys == unit.registers.phys;
            let same_source = amd && known.kind == unit.kind && known.source == unit.source;
            if same_place && same_source && known.capability_offset == unit.capability_offset {
                return Ok(());
            }
            if same_place || same_source {
                return Err(Contradiction);
            }
        }
        if self.platform.iommus.push(unit).is_err() {
            self.left_out += 1;
        }
        Ok(())
    }

    /// Says that interrupts can be remapped.
    pub fn set_interrupt_remapping(&mut self) {
        self.platform.interrupt_remapping = 1;
    }

    /// Says with which source the interrupts of the I/O APIC with this identifier arrive at the IOMMU. It must have
    /// been added before.
    ///
    /// # Errors
    /// If another source was said before.
    pub fn set_io_apic_source(&mut self, id: u8, source: SourceId) -> Result<(), Contradiction> {
        let io_apics = self.platform.io_apics.as_mut_slice().iter_mut();
        io_apics
            .filter(|io_apic| io_apic.id == u32::from(id))
            .try_for_each(|found| set_source(&mut found.source, source))
    }

    /// Says with which source the interrupts of the HPET with this number arrive at the IOMMU. Where it is must have
    /// been said before.
    ///
    /// # Errors
    /// If another source was said before.
    pub fn set_hpet_source(&mut self, number: u8, source: SourceId) -> Result<(), Contradiction> {
        if self.platform.hpet.is_present() && self.hpet_number == number {
            set_source(&mut self.platform.hpet_source, source)?;
        }
        Ok(())
    }

    /// Adds memory, of whole pages, that devices use on behalf of the firmware, whichever devices these are.
    ///
    /// # Errors
    /// If there are so many pieces that this cannot be true.
    pub fn reserve_memory(&mut self, extent: Extent) -> Result<(), Contradiction> {
        if self.reserved_memory().contains(&extent) {
            return Ok(());
        }
        self.reserved_memory.push(extent).map_err(|_| Contradiction)
    }

    /// Says that the devices from `first` to `last` use this memory, which is reserved, on behalf of the firmware.
    pub fn add_device_region(&mut self, first: SourceId, last: SourceId, extent: Extent) {
        let region = DeviceRegion { source: first, last, reserved: 0, extent };
        if self.platform.device_regions.push(region).is_err() {
            self.left_out += 1;
        }
    }

    /// Counts something that the kernel cannot be told.
    pub fn leave_out(&mut self) {
        self.left_out += 1;
    }

    /// Says where the power-management timer is.
    pub fn set_pm_timer(&mut self, port: u64, wide: bool) {
        if let Some(port) = port_number(port) {
            let bits = if wide { 32 } else { 24 };
            self.platform.pm_timer = PmTimer { port, bits };
        }
    }

    /// Says how to power off.
    pub fn set_power_off(&mut self, pm1a: u64, pm1b: u64, types: SleepTypes) {
        if let Some(pm1a_port) = port_number(pm1a) {
            self.platform.power_off = PowerOff {
                pm1a_port,
                pm1b_port: port_number(pm1b).unwrap_or(0),
                sleep_type_a: types.a,
                sleep_type_b: types.b,
                reserved: 0,
            };
        }
    }

    /// Says how to reset; `space` is an ACPI address space (ACPI 6.4, 5.2.3.2).
    pub fn set_reset(&mut self, space: u8, address: u64, value: u8) {
        let space = match space {
            0 if address != 0 => ResetSpace::Memory,
            1 if port_number(address).is_some() => ResetSpace::Port,
            _ => return,
        };
        self.platform.reset = ResetRegister { address, space, value, reserved: [0; 6] };
    }
}

/// Writes a source to a field that has none, or the same.
fn set_source(field: &mut u32, source: SourceId) -> Result<(), Contradiction> {
    let source = u32::from(source.0);
    if *field != NO_SOURCE && *field != source {
        return Err(Contradiction);
    }
    *field = source;
    Ok(())
}

/// A number that can be an I/O port, 0 excepted.
fn port_number(number: u64) -> Option<u16> {
    u16::try_from(number).ok().filter(|&port| port != 0)
}

/// Whether the entries of an interrupt controller table, `(type, length)` and contents each, follow one another without
/// a gap to the end, each long enough for what it claims to be (ACPI 6.4, 5.2.12). The reader of the entries relies on
/// it.
pub fn madt_entries_are_sound(entries: &[u8]) -> bool {
    let mut rest = entries;
    while !rest.is_empty() {
        let &[kind, len, ..] = rest else { return false };
        let least = match kind {
            0x0 => 8,
            0x1 => 12,
            0x2 => 10,
            0x3 => 8,
            0x4 => 6,
            0x5 => 12,
            0x9 => 16,
            0xa => 12,
            _ => 2,
        };
        let len = usize::from(len);
        if len < least || len > rest.len() {
            return false;
        }
        rest = &rest[len..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_cpu_comes_first_and_none_twice() {
        let mut machine = Machine::new(2, 0);
        for apic_id in 0..4 {
            machine.add_cpu(apic_id, true);
        }
        machine.add_cpu(9, false);
        let ids = machine.platform().cpus.as_slice().iter();
        assert_eq!(ids.map(|cpu| cpu.apic_id).collect::<Vec<_>>(), [2, 0, 1, 3]);
    }

    #[test]
    fn cpus_beyond_the_limit_or_out_of_address_are_left_out_and_counted() {
        let mut machine = Machine::new(0, 0);
        for apic_id in 0..40 {
            machine.add_cpu(apic_id, true);
        }
        machine.add_cpu(255, true);
        assert_eq!(machine.platform().cpus.as_slice().len(), 32);
        assert_eq!(machine.left_out(), 9);
    }

    #[test]
    fn overrides_conform_to_the_isa_bus_unless_they_say_otherwise() {
        let mut machine = Machine::new(0, 0);
        machine.add_override(0, 0, 2, 0);
        machine.add_override(0, 9, 9, 0xd);
        machine.add_override(0, 10, 10, 0xf);
        machine.add_override(1, 3, 3, 0xf);
        let overrides = machine.platform().overrides;
        let seen: Vec<_> =
            overrides.as_slice().iter().map(|item| (item.isa, item.gsi, item.polarity, item.trigger)).collect();
        assert_eq!(
            seen,
            [
                (0, 2, Polarity::ActiveHigh, Trigger::Edge),
                (9, 9, Polarity::ActiveHigh, Trigger::Level),
                (10, 10, Polarity::ActiveLow, Trigger::Level),
            ]
        );
    }

    #[test]
    fn a_window_of_configuration_space_starts_at_its_first_bus() {
        let mut machine = Machine::new(0, 0);
        machine.add_ecam(0xb000_0000, 0, 16, 31);
        machine.add_ecam(0xb000_0000, 0, 5, 4);
        let windows = machine.platform().ecam;
        assert_eq!(windows.as_slice().len(), 1);
        assert_eq!(windows.as_slice()[0].phys, 0xb100_0000);
        assert_eq!(windows.as_slice()[0].len(), 16 << 20);
    }

    #[test]
    fn numbers_that_are_no_port_are_not_taken_for_one() {
        let mut machine = Machine::new(0, 0);
        machine.set_pm_timer(0x1_0608, false);
        machine.set_power_off(0, 0x604, SleepTypes { a: 5, b: 5 });
        machine.set_reset(1, 0x1_0000, 6);
        machine.set_reset(2, 0xcf9, 6);
        assert_eq!(machine.platform().pm_timer, PmTimer::default());
        assert_eq!(machine.platform().power_off, PowerOff::default());
        assert_eq!(machine.platform().reset, ResetRegister::default());
        machine.set_reset(1, 0xcf9, 0xf);
        assert_eq!(machine.platform().reset.space, ResetSpace::Port);
    }

    #[test]
    fn interrupt_controller_entries_must_fill_their_table_exactly() {
        assert!(madt_entries_are_sound(&[]));
        assert!(madt_entries_are_sound(&[0, 8, 0, 0, 1, 0, 0, 0, 0x80, 2]));
        assert!(!madt_entries_are_sound(&[0x80, 0]), "would never end");
        assert!(!madt_entries_are_sound(&[0, 7, 0, 0, 1, 0, 0]));
        assert!(!madt_entries_are_sound(&[0, 9, 0, 0, 1, 0, 0, 0]));
        assert!(!madt_entries_are_sound(&[0]));
    }
}
