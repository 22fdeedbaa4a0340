//! What a PVH boot leaves in memory (Xen's `start_info.h`): memory map, modules, command line, ACPI root pointer.

use crate::error::LoadError;
use crate::memory::PhysicalMemory;
use crate::memory_map::{FirmwareKind, FirmwareRegion};
use abi::boot::{COMMAND_LINE_MAX, Extent};

/// `XEN_HVM_START_MAGIC_VALUE`.
const MAGIC: u32 = 0x336e_c578;
/// Bytes of the structure in version 1, the first one with a memory map.
const LEN: u64 = 56;
/// Bytes of an entry of the memory map, and of the list of modules.
const MAP_ENTRY: u64 = 24;
const MODULE_ENTRY: u64 = 32;
/// More entries than any firmware has; a larger number is taken for garbage.
const MAP_ENTRIES_MAX: u32 = 1024;

/// The start information, by reference to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartInfo {
    /// Physical address of the ACPI root pointer, or 0.
    pub rsdp: u64,
    /// The first module.
    pub module: Option<Extent>,
    command_line: u64,
    map: Extent,
}

impl StartInfo {
    /// Reads the start information at `at`.
    ///
    /// # Errors
    /// If it is not there, or it or what it points at is out of reach.
    pub fn read(memory: &impl PhysicalMemory, at: u64) -> Result<Self, LoadError> {
        let bytes = read(memory, "the start information", at, LEN)?;
        if u32_at(bytes, 0) != MAGIC {
            return Err(LoadError::NotPvh { at });
        }
        let version = u32_at(bytes, 4);
        let modules = u32_at(bytes, 12);
        let module_list = u64_at(bytes, 16);
        let entries = u32_at(bytes, 48);
        if version < 1 || entries == 0 {
            return Err(LoadError::NoMemory);
        }
        if entries > MAP_ENTRIES_MAX {
            return Err(LoadError::TooManyRegions);
        }
        let info = Self {
            command_line: u64_at(bytes, 24),
            rsdp: u64_at(bytes, 32),
            map: Extent { start: u64_at(bytes, 40), len: u64::from(entries) * MAP_ENTRY },
            module: None,
        };
        let module = if modules > 0 {
            let entry = read(memory, "the list of modules", module_list, MODULE_ENTRY)?;
            Some(Extent { start: u64_at(entry, 0), len: u64_at(entry, 8) })
        } else {
            None
        };
        Ok(Self { module, ..info })
    }

    /// The regions of the firmware's memory map, in the firmware's order.
    ///
    /// # Errors
    /// If the memory map is out of reach.
    pub fn regions<'a, M: PhysicalMemory>(
        &self,
        memory: &'a M,
    ) -> Result<impl Iterator<Item = FirmwareRegion> + Clone + use<'a, M>, LoadError> {
        let bytes = read(memory, "the memory map", self.map.start, self.map.len)?;
        Ok(bytes.chunks_exact(MAP_ENTRY as usize).map(|entry| FirmwareRegion {
            extent: Extent { start: u64_at(entry, 0), len: u64_at(entry, 8) },
            kind: match u32_at(entry, 16) {
                1 => FirmwareKind::Ram,
                3 => FirmwareKind::AcpiReclaim,
                4 => FirmwareKind::AcpiNvs,
                _ => FirmwareKind::Reserved,
            },
        }))
    }

    /// Copies the command line and returns its length.
    ///
    /// # Errors
    /// If it is out of reach, too long or not UTF-8.
    pub fn command_line(
        &self,
        memory: &impl PhysicalMemory,
        line: &mut [u8; COMMAND_LINE_MAX],
    ) -> Result<u64, LoadError> {
        if self.command_line == 0 {
            return Ok(0);
        }
        let mut len = 0;
        loop {
            let at = self.command_line.saturating_add(len as u64);
            let byte = read(memory, "the command line", at, 1)?[0];
            if byte == 0 {
                break;
            }
            *line.get_mut(len).ok_or(LoadError::BadCommandLine)? = byte;
            len += 1;
        }
        match core::str::from_utf8(&line[..len]) {
            Ok(_) => Ok(len as u64),
            Err(_) => Err(LoadError::BadCommandLine),
        }
    }
}

fn read<'a>(memory: &'a impl PhysicalMemory, what: &'static str, start: u64, len: u64) -> Result<&'a [u8], LoadError> {
    let extent = Extent { start, len };
    memory.bytes(extent).ok_or(LoadError::Unreadable { what, extent })
}

/// The four bytes at a constant place in a structure whose size was checked.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut value = [0; 4];
    value.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(value)
}

/// The eight bytes at a constant place in a structure whose size was checked.
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(value)
}
