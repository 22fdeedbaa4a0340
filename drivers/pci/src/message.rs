//! Entries of an MSI-X table (PCI 3.0, 6.8.2): each is the write by which the function raises one interrupt.

use crate::capability::Msix;

/// Registers of a table, at byte offsets that are multiples of four.
pub trait TableRegisters {
    /// Reads one.
    fn read(&self, offset: u64) -> u32;
    /// Writes one.
    fn write(&self, offset: u64, value: u32);
}

const ADDRESS_LOW: u64 = 0;
const ADDRESS_HIGH: u64 = 4;
const DATA: u64 = 8;
const CONTROL: u64 = 12;
const MASKED: u32 = 1;

const fn offset(entry: u16) -> u64 {
    entry as u64 * Msix::ENTRY_BYTES
}

/// Masks an entry.
pub fn mask(table: &impl TableRegisters, entry: u16) {
    let control = offset(entry) + CONTROL;
    table.write(control, table.read(control) | MASKED);
    // Read back, so that the write has arrived.
    table.read(control);
}

/// Makes an entry write `data` to `address`, and unmasks it. It is masked while it changes: half of an address is
/// another address.
pub fn program(table: &impl TableRegisters, entry: u16, address: u64, data: u32) {
    mask(table, entry);
    let at = offset(entry);
    table.write(at + ADDRESS_LOW, address as u32);
    table.write(at + ADDRESS_HIGH, (address >> 32) as u32);
    table.write(at + DATA, data);
    table.write(at + CONTROL, table.read(at + CONTROL) & !MASKED);
    table.read(at + CONTROL);
}
