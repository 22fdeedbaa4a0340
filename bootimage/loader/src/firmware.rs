//! Reading the firmware's ACPI tables with the crate `acpi`.

use crate::entry::fail;
use crate::machine::{self, Memory};
use abi::boot::Extent;
use acpi::address::{AddressSpace, GenericAddress};
use acpi::rsdp::Rsdp;
use acpi::sdt::fadt::Fadt;
use acpi::sdt::hpet::HpetTable;
use acpi::sdt::madt::{Madt, MadtEntry};
use acpi::sdt::mcfg::Mcfg;
use acpi::sdt::{SdtHeader, Signature};
use acpi::{AcpiTable, AcpiTables, Handler, PciAddress, PhysicalMapping};
use core::ptr::NonNull;
use loader::dma_remapping::{read_dmar, read_ivrs};
use loader::error::LoadError;
use loader::memory::PhysicalMemory;
use loader::platform::{self, Contradiction, Machine};
use loader::sleep_state::{SleepTypes, find_s5};

/// Bytes of the header that every table starts with.
const HEADER: u64 = size_of::<SdtHeader>() as u64;
/// Bytes of the fixed description table in ACPI 1.0, up to its flags.
const FADT_MIN: u32 = 116;
/// Bytes of it with the reset register and its value.
const FADT_WITH_RESET: u32 = 129;
/// Bytes of it in ACPI 2.0 and later, where 64-bit addresses were added.
const FADT_EXTENDED: u32 = 244;

/// Describes the machine by the tables to which the root pointer at `rsdp` leads; with 0, it is searched for where a
/// BIOS puts it.
pub(crate) fn discover(memory: &Memory, rsdp: u64) -> Result<Machine, LoadError> {
    let reader = Reader { memory };
    let rsdp = if rsdp != 0 {
        rsdp
    } else {
        // SAFETY: on a machine whose loader cannot say where the pointer is, there was a BIOS, and its areas are RAM or
        // ROM below 1 MiB, which reading does not change.
        let found = unsafe { Rsdp::search_for_on_bios(reader.clone()) };
        found.map_err(|_| LoadError::NoAcpi)?.physical_start as u64
    };
    // SAFETY: the address was handed over as that of the root pointer, or found by its signature; the reader stops the
    // boot where it leads out of memory.
    let tables = unsafe { AcpiTables::from_rsdp(reader, rsdp as usize) };
    let tables = tables.map_err(|_| LoadError::BadTable { signature: "RSDP", at: rsdp })?;
    let mut machine = Machine::new(machine::boot_cpu(), rsdp);
    for at in tables.table_entries() {
        machine.add_table(table_extent(memory, at as u64)?);
    }

    interrupts(&tables, &mut machine)?;
    configuration_space(&tables, &mut machine)?;
    power(memory, &tables, &mut machine)?;
    if let Some(hpet) = table::<HpetTable>(&tables, "HPET", size_of::<HpetTable>())? {
        let base = hpet.base_address;
        if base.address_space == 0 {
            machine.set_hpet(hpet.hpet_number, base.address);
        }
    }
    // Last, because these tables say more about devices that the others name.
    dma_remapping(memory, &tables, &mut machine)?;
    Ok(machine)
}

/// IOMMUs; many machines have none.
fn dma_remapping(memory: &Memory, tables: &AcpiTables<Reader<'_>>, machine: &mut Machine) -> Result<(), LoadError> {
    type Read = fn(&[u8], &mut Machine) -> Result<(), Contradiction>;
    let known: [(_, _, Read); 2] = [("DMAR", Signature::DMAR, read_dmar), ("IVRS", Signature::IVRS, read_ivrs)];
    for (signature, wanted, read) in known {
        let Some((at, _)) = tables.table_headers().find(|(_, header)| header.signature == wanted) else { continue };
        let at = at as u64;
        let bytes = memory.bytes(table_extent(memory, at)?).ok_or(Contradiction);
        bytes.and_then(|table| read(table, machine)).map_err(|_| LoadError::BadTable { signature, at })?;
    }
    Ok(())
}

/// CPUs and interrupt controllers.
fn interrupts(tables: &AcpiTables<Reader<'_>>, machine: &mut Machine) -> Result<(), LoadError> {
    let signature = "APIC";
    let madt = table::<Madt>(tables, signature, size_of::<Madt>())?.ok_or(LoadError::NoTable { signature })?;
    let header = madt.get();
    let at = madt.physical_start as u64;
    let entries = Extent {
        start: at + size_of::<Madt>() as u64,
        len: u64::from(header.header.length) - size_of::<Madt>() as u64,
    };
    let memory = madt.handler.memory;
    let sound = entries.len == 0 || memory.bytes(entries).is_some_and(platform::madt_entries_are_sound);
    if !sound {
        return Err(LoadError::BadTable { signature, at });
    }

    machine.set_local_apic(u64::from(header.local_apic_address));
    for entry in header.entries() {
        match entry {
            MadtEntry::LocalApic(cpu) => {
                machine.add_cpu(u32::from(cpu.apic_id), cpu.flags & 1 != 0);
            }
            MadtEntry::LocalX2Apic(cpu) => machine.add_cpu(cpu.x2apic_id, cpu.flags & 1 != 0),
            MadtEntry::IoApic(io_apic) => machine.add_io_apic(
                io_apic.io_apic_id,
                u64::from(io_apic.io_apic_address),
                io_apic.global_system_interrupt_base,
            ),
            MadtEntry::InterruptSourceOverride(item) => {
                machine.add_override(item.bus, item.irq, item.global_system_interrupt, item.flags);
            }
            MadtEntry::LocalApicAddressOverride(item) => {
                machine.set_local_apic(item.local_apic_address);
            }
            _ => {}
        }
    }
    Ok(())
}

/// PCI Express configuration space; machines of an older kind have no such table.
fn configuration_space(tables: &AcpiTables<Reader<'_>>, machine: &mut Machine) -> Result<(), LoadError> {
    if let Some(mcfg) = table::<Mcfg>(tables, "MCFG", size_of::<Mcfg>())? {
        for window in mcfg.entries() {
            machine.add_ecam(
                window.base_address,
                window.pci_segment_group,
                window.bus_number_start,
                window.bus_number_end,
            );
        }
    }
    Ok(())
}

/// The power-management timer, power-off and reset.
fn power(memory: &Memory, tables: &AcpiTables<Reader<'_>>, machine: &mut Machine) -> Result<(), LoadError> {
    let Some(fadt) = table::<Fadt>(tables, "FACP", FADT_MIN as usize)? else {
        return Ok(());
    };
    let len = fadt.header.length;
    let flags = fadt.flags;
    // Registers of ACPI 1.0 are I/O ports, given by number. Later tables have them twice; a shorter table must not be
    // asked for the second form, which would lie after its end.
    let port = |extended: Option<GenericAddress>, number: u32| match extended {
        Some(address) if address.address_space == AddressSpace::SystemIo => address.address,
        Some(_) => 0,
        None => u64::from(number),
    };
    let extended = len >= FADT_EXTENDED;
    let timer = extended.then(|| fadt.pm_timer_block().ok().flatten());
    if fadt.pm_timer_length == 4 {
        machine.set_pm_timer(port(timer.flatten(), fadt.pm_timer_block), flags.pm_timer_is_32_bit());
    }
    if len >= FADT_WITH_RESET && flags.supports_system_reset_via_fadt() {
        let register = fadt.reset_reg;
        machine.set_reset(register.address_space, register.address, fadt.reset_value);
    }

    let dsdt_at = if extended { fadt.dsdt_address().unwrap_or(0) as u64 } else { u64::from(fadt.dsdt_address) };
    if let Some(types) = sleep_types(memory, tables, machine, dsdt_at)? {
        let pm1a = extended.then(|| fadt.pm1a_control_block().ok());
        let pm1b = extended.then(|| fadt.pm1b_control_block().ok().flatten());
        machine.set_power_off(
            port(pm1a.flatten(), fadt.pm1a_control_block),
            port(pm1b.flatten(), fadt.pm1b_control_block),
            types,
        );
    }
    Ok(())
}

/// The values that power the machine off, from the first table of byte code that has them.
fn sleep_types(
    memory: &Memory,
    tables: &AcpiTables<Reader<'_>>,
    machine: &mut Machine,
    dsdt_at: u64,
) -> Result<Option<SleepTypes>, LoadError> {
    let rest = tables.ssdts().map(|table| table.phys_address as u64);
    let first = (dsdt_at != 0).then_some(dsdt_at);
    for at in first.into_iter().chain(rest) {
        let extent = table_extent(memory, at)?;
        machine.add_table(extent);
        let types = memory.bytes(extent).and_then(|table| {
            let code = table.get(HEADER as usize..)?;
            find_s5(code)
        });
        if types.is_some() {
            return Ok(types);
        }
    }
    Ok(None)
}

/// The memory that the table at `at` says it takes.
fn table_extent(memory: &Memory, at: u64) -> Result<Extent, LoadError> {
    let refused = LoadError::BadTable { signature: "listed in the RSDT or XSDT", at };
    let header = Extent { start: at, len: HEADER };
    let header = memory.bytes(header).ok_or(refused)?;
    let len = header[4..8].iter().rev().fold(0, |len, &byte| len << 8 | u64::from(byte));
    let extent = Extent { start: at, len };
    if len < HEADER || !memory.reaches(extent) {
        return Err(refused);
    }
    Ok(extent)
}

/// The first table of a type, if there is one, with at least `len` bytes and the right checksum.
fn table<'a, T: AcpiTable>(
    tables: &AcpiTables<Reader<'a>>,
    signature: &'static str,
    len: usize,
) -> Result<Option<PhysicalMapping<Reader<'a>, T>>, LoadError> {
    let Some(found) = tables.find_table::<T>() else {
        return Ok(None);
    };
    let sound = found.region_length >= len && found.get().validate().is_ok();
    if sound { Ok(Some(found)) } else { Err(LoadError::BadTable { signature, at: found.physical_start as u64 }) }
}

/// Operations that a handler must have and that reading tables never uses.
macro_rules! not_for_tables {
    ($($name:ident($($argument:ty),*) -> $result:ty;)*) => {
        $(fn $name(&self, $(_: $argument),*) -> $result {
            panic!(concat!("reading ACPI tables does not need ", stringify!($name)))
        })*
    };
}

/// Gives the crate `acpi` the memory it asks for, and nothing else: only its interpreter, which is not compiled in,
/// would use ports, clocks or locks.
#[derive(Clone)]
struct Reader<'a> {
    memory: &'a Memory,
}

impl Handler for Reader<'_> {
    unsafe fn map_physical_region<T>(&self, physical_address: usize, size: usize) -> PhysicalMapping<Self, T> {
        let extent = Extent { start: physical_address as u64, len: size as u64 };
        let start = NonNull::new(physical_address as *mut T);
        let (Some(virtual_start), true) = (start, self.memory.reaches(extent)) else {
            fail(&LoadError::Unreadable { what: "an ACPI table", extent })
        };
        PhysicalMapping {
            physical_start: physical_address,
            virtual_start,
            region_length: size,
            mapped_length: size,
            handler: self.clone(),
        }
    }

    fn unmap_physical_region<T>(_region: &PhysicalMapping<Self, T>) {}

    not_for_tables! {
        read_u8(usize) -> u8;
        read_u16(usize) -> u16;
        read_u32(usize) -> u32;
        read_u64(usize) -> u64;
        write_u8(usize, u8) -> ();
        write_u16(usize, u16) -> ();
        write_u32(usize, u32) -> ();
        write_u64(usize, u64) -> ();
        read_io_u8(u16) -> u8;
        read_io_u16(u16) -> u16;
        read_io_u32(u16) -> u32;
        write_io_u8(u16, u8) -> ();
        write_io_u16(u16, u16) -> ();
        write_io_u32(u16, u32) -> ();
        read_pci_u8(PciAddress, u16) -> u8;
        read_pci_u16(PciAddress, u16) -> u16;
        read_pci_u32(PciAddress, u16) -> u32;
        write_pci_u8(PciAddress, u16, u8) -> ();
        write_pci_u16(PciAddress, u16, u16) -> ();
        write_pci_u32(PciAddress, u16, u32) -> ();
        nanos_since_boot() -> u64;
        stall(u64) -> ();
        sleep(u64) -> ();
    }
}
