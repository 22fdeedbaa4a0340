//! The tables, and where they are.

use super::super::Image;
use super::aml::{self, RangeOf};
use crate::memory::{GuestMemory, OutsideMemory};
use crate::power::{
    CONTROL_INTERRUPT, CONTROL_PORT, EVENT_PORT, KEYBOARD_PORT, KEYBOARD_RESET, SLEEP_TYPE_OFF, TIMER_PORT,
};
use alloc::vec::Vec;

/// Where the first table is: systems look for it here, too.
pub const RSDP: u64 = 0xe_0000;
/// Where the others begin.
const TABLES: u64 = 0xe_0040;

const LOCAL_APIC: u32 = 0xfee0_0000;
const IO_APIC: u32 = 0xfec0_0000;
/// Level triggered, active high (section 5.2.12.5).
const LEVEL_HIGH: u16 = 0b1101;
/// FADT flags (table 5.10): WBINVD works, C1 works, no sleep button, no wake-up flag of the clock, a timer of 32 bits, a
/// reset register. That the bit for the power button is clear says that there is one.
const FLAGS: u32 = 1 | 1 << 2 | 1 << 5 | 1 << 6 | 1 << 8 | 1 << 10;
/// Boot architecture (table 5.11): devices on the old ports, and no VGA; no keyboard controller.
const ARCHITECTURE: u16 = 1 | 1 << 2;

/// What the tables tell of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Devices {
    /// Processors, with APIC ids from 0 on.
    pub processors: u8,
    /// Addresses that functions of the PCI bus may have: the first and the last.
    pub pci_memory: (u32, u32),
}

impl Devices {
    /// The I/O APIC's pin at which the function in a slot of the bus arrives, by its pin INTA.
    #[must_use]
    pub fn pin_of_slot(slot: u8) -> u8 {
        16 + slot % 8
    }
}

/// Writes the tables. Returns where they begin.
///
/// # Errors
/// If the guest has no memory there.
pub fn write(devices: Devices, memory: &mut dyn GuestMemory) -> Result<u64, OutsideMemory> {
    let mut place = TABLES;
    let mut put = |table: &[u8]| {
        let at = place;
        place = (at + table.len() as u64).next_multiple_of(64);
        memory.write(at, table).map(|()| at)
    };
    let facs = put(&facs())?;
    let dsdt = put(&table(*b"DSDT", 2, &dsdt(devices)))?;
    let fadt = put(&table(*b"FACP", 6, &fadt(facs as u32, dsdt)))?;
    let madt = put(&table(*b"APIC", 5, &madt(devices)))?;
    let xsdt = put(&table(*b"XSDT", 1, &[fadt.to_le_bytes(), madt.to_le_bytes()].concat()))?;
    memory.write(RSDP, &rsdp(xsdt))?;
    Ok(RSDP)
}

/// The bytes that make a sum of 0.
fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg()
}

/// A table with its header (section 5.2.6).
fn table(signature: [u8; 4], revision: u8, body: &[u8]) -> Vec<u8> {
    let length = (36 + body.len()) as u32;
    let head =
        [&signature[..], &length.to_le_bytes(), &[revision, 0], b"BULKHDVIRTUAL \x01\0\0\0BULK\x01\0\0\0"].concat();
    let mut whole = [&head[..], body].concat();
    whole[9] = checksum(&whole);
    whole
}

/// Section 5.2.5.3.
fn rsdp(xsdt: u64) -> [u8; 36] {
    let mut image = Image([0; 36]);
    image.put(0, b"RSD PTR ");
    image.put(9, b"BULKHD\x02");
    image.put(20, &36_u32.to_le_bytes());
    image.put(24, &xsdt.to_le_bytes());
    image.0[8] = checksum(&image.0[..20]);
    image.0[32] = checksum(&image.0);
    image.0
}

/// Section 5.2.10: nobody wakes up, and nobody locks.
fn facs() -> [u8; 64] {
    let mut image = Image([0; 64]);
    image.put(0, b"FACS");
    image.put(4, &64_u32.to_le_bytes());
    image.put(32, &[2]);
    image.0
}

/// A generic address (section 5.2.3.2): ports, so many bits, accessed in units of 1 to 4 for 8 to 64 bits.
fn ports(address: u16, bits: u8, access: u8) -> [u8; 12] {
    let mut image = Image([0; 12]);
    image.put(0, &[1, bits, 0, access]);
    image.put(4, &u64::from(address).to_le_bytes());
    image.0
}

/// Section 5.2.9, behind the header.
fn fadt(facs: u32, dsdt: u64) -> [u8; 240] {
    const HEADER: usize = 36;
    let mut image = Image([0; 240]);
    let mut put = |at: usize, bytes: &[u8]| image.put(at - HEADER, bytes);
    put(36, &facs.to_le_bytes());
    put(40, &(dsdt as u32).to_le_bytes());
    put(46, &u16::from(CONTROL_INTERRUPT).to_le_bytes());
    put(56, &u32::from(EVENT_PORT).to_le_bytes());
    put(64, &u32::from(CONTROL_PORT).to_le_bytes());
    put(76, &u32::from(TIMER_PORT).to_le_bytes());
    // Lengths of event, control and timer registers.
    put(88, &[4, 2]);
    put(91, &[4]);
    // C2 and C3 are slower than anything: there are none.
    put(96, &0xfff_u16.to_le_bytes());
    put(98, &0xfff_u16.to_le_bytes());
    put(108, &[0x32]);
    put(109, &ARCHITECTURE.to_le_bytes());
    put(112, &FLAGS.to_le_bytes());
    put(116, &ports(KEYBOARD_PORT, 8, 1));
    put(128, &[KEYBOARD_RESET]);
    // Minor version of the specification.
    put(131, &[5]);
    put(140, &dsdt.to_le_bytes());
    put(148, &ports(EVENT_PORT, 32, 2));
    put(172, &ports(CONTROL_PORT, 16, 2));
    put(208, &ports(TIMER_PORT, 32, 3));
    image.0
}

/// Section 5.2.12, behind the header.
fn madt(devices: Devices) -> Vec<u8> {
    let mut body = [&LOCAL_APIC.to_le_bytes()[..], &1_u32.to_le_bytes()].concat();
    for id in 0..devices.processors {
        body.extend([0, 8, id, id, 1, 0, 0, 0]);
    }
    body.extend([1, 12, 0, 0]);
    body.extend(IO_APIC.to_le_bytes());
    body.extend([0; 4]);
    let [level, high] = LEVEL_HIGH.to_le_bytes();
    // The timer is at pin 2, and the control interrupt is a state.
    body.extend([2, 10, 0, 0, 2, 0, 0, 0, 0, 0]);
    body.extend([2, 10, 0, CONTROL_INTERRUPT, CONTROL_INTERRUPT, 0, 0, 0, level, high]);
    // LINT1 of all processors is the non-maskable interrupt.
    body.extend([4, 6, 0xff, 0, 0, 1]);
    body
}

fn dsdt(devices: Devices) -> Vec<u8> {
    let off = aml::integer(u32::from(SLEEP_TYPE_OFF));
    let sleep = aml::package(&[off.clone(), off, aml::integer(0), aml::integer(0)]);
    let (first, last) = devices.pci_memory;
    let passed_on = aml::resources(&[
        aml::word_range(RangeOf::Buses, 0, 0),
        aml::fixed_ports(0xcf8, 8),
        aml::word_range(RangeOf::Ports, 0, 0xcf7),
        aml::word_range(RangeOf::Ports, 0xd00, 0xffff),
        aml::memory_range(first, last),
    ]);
    let routes: Vec<Vec<u8>> = (0..32)
        .map(|slot| {
            let address = u32::from(slot) << 16 | 0xffff;
            let pin = u32::from(Devices::pin_of_slot(slot));
            aml::package(&[aml::integer(address), aml::integer(0), aml::integer(0), aml::integer(pin)])
        })
        .collect();
    let bus = aml::device(
        *b"PCI0",
        &[
            aml::name(*b"_HID", &aml::eisa_id(*b"PNP", 0x0a03)),
            aml::name(*b"_UID", &aml::integer(0)),
            aml::name(*b"_CRS", &passed_on),
            aml::name(*b"_PRT", &aml::package(&routes)),
        ],
    );
    // A table's own names begin at the root.
    [aml::name(*b"_S5_", &sleep), aml::scope(b"\\_SB_", &[bus])].concat()
}
