//! The little of ACPI's machine language (specification 6.5, chapter 20) that describes a bus.

use alloc::vec::Vec;

const ZERO_OP: u8 = 0x00;
const ONE_OP: u8 = 0x01;
const NAME_OP: u8 = 0x08;
const BYTE_PREFIX: u8 = 0x0a;
const WORD_PREFIX: u8 = 0x0b;
const DWORD_PREFIX: u8 = 0x0c;
const SCOPE_OP: u8 = 0x10;
const BUFFER_OP: u8 = 0x11;
const PACKAGE_OP: u8 = 0x12;
const DEVICE_OP: [u8; 2] = [0x5b, 0x82];

/// A number, in as few bytes as it takes.
pub(super) fn integer(value: u32) -> Vec<u8> {
    match value {
        0 => [ZERO_OP].to_vec(),
        1 => [ONE_OP].to_vec(),
        2..=0xff => [BYTE_PREFIX, value as u8].to_vec(),
        0x100..=0xffff => [&[WORD_PREFIX][..], &(value as u16).to_le_bytes()].concat(),
        _ => [&[DWORD_PREFIX][..], &value.to_le_bytes()].concat(),
    }
}

/// A value with a name of four characters.
pub(super) fn name(name: [u8; 4], value: &[u8]) -> Vec<u8> {
    [&[NAME_OP][..], &name, value].concat()
}

/// Values in a row.
pub(super) fn package(values: &[Vec<u8>]) -> Vec<u8> {
    let body = [&[values.len() as u8][..], &values.concat()].concat();
    [&[PACKAGE_OP][..], &with_length(&body)].concat()
}

/// What is in a scope that exists already; `path` as it is encoded.
pub(super) fn scope(path: &[u8], contents: &[Vec<u8>]) -> Vec<u8> {
    let body = [path, &contents.concat()].concat();
    [&[SCOPE_OP][..], &with_length(&body)].concat()
}

/// A device.
pub(super) fn device(name: [u8; 4], contents: &[Vec<u8>]) -> Vec<u8> {
    let body = [&name[..], &contents.concat()].concat();
    [&DEVICE_OP[..], &with_length(&body)].concat()
}

/// A compressed identifier: three letters and four hexadecimal digits (section 19.3.4, `EISAID`).
pub(super) fn eisa_id(letters: [u8; 3], product: u16) -> Vec<u8> {
    let [a, b, c] = letters.map(|letter| u16::from(letter - b'@'));
    let vendor = a << 10 | b << 5 | c;
    let bytes = [vendor.to_be_bytes(), product.to_be_bytes()].concat();
    [&[DWORD_PREFIX][..], &bytes].concat()
}

/// Resources in a row, with the tag at the end that says so (section 6.4.2.8), unchecked.
pub(super) fn resources(descriptors: &[Vec<u8>]) -> Vec<u8> {
    let list = [&descriptors.concat()[..], &[0x79, 0x00]].concat();
    let body = [&integer(list.len() as u32)[..], &list].concat();
    [&[BUFFER_OP][..], &with_length(&body)].concat()
}

/// Ports that the device uses itself (section 6.4.2.5).
pub(super) fn fixed_ports(first: u16, count: u8) -> Vec<u8> {
    let address = first.to_le_bytes();
    [&[0x47, 0x01][..], &address, &address, &[0x01, count]].concat()
}

/// Numbers of buses, or ports, that a bridge passes on (section 6.4.3.5.3).
pub(super) fn word_range(kind: RangeOf, first: u16, last: u16) -> Vec<u8> {
    let (kind, specific) = match kind {
        RangeOf::Ports => (1, 0x03),
        RangeOf::Buses => (2, 0x00),
    };
    let length = last.wrapping_sub(first).wrapping_add(1);
    let words = [0, first, last, 0, length];
    range(0x88, kind, specific, &words.map(u16::to_le_bytes).concat())
}

/// Addresses of memory that a bridge passes on (section 6.4.3.5.2): not cacheable, for reading and writing.
pub(super) fn memory_range(first: u32, last: u32) -> Vec<u8> {
    let words = [0, first, last, 0, last - first + 1];
    range(0x87, 0, 0x01, &words.map(u32::to_le_bytes).concat())
}

/// Of what there is a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RangeOf {
    Ports,
    Buses,
}

/// An address space descriptor: both ends fixed, decoded positively, produced for others.
fn range(tag: u8, kind: u8, specific: u8, words: &[u8]) -> Vec<u8> {
    let length = (3 + words.len()) as u16;
    [&[tag][..], &length.to_le_bytes(), &[kind, 0x0c, specific], words].concat()
}

/// A body behind its length, which counts itself (section 20.2.4).
fn with_length(body: &[u8]) -> Vec<u8> {
    // Of two bytes and more, the first has the number of the others and four bits.
    let mut length = Vec::new();
    if body.len() + 1 < 0x40 {
        length.push(body.len() as u8 + 1);
    } else {
        let more = if body.len() + 2 < 0x1000 { 1 } else { 2 };
        let total = body.len() + 1 + more;
        length.push((more as u8) << 6 | total as u8 & 0x0f);
        length.push((total >> 4) as u8);
        if more == 2 {
            length.push((total >> 12) as u8);
        }
    }
    [&length[..], body].concat()
}
