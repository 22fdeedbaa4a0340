//! What the host asks of this run: words `KEY=VALUE` that QEMU carries into the machine
//! (`-fw_cfg name=opt/bulkhead/suite,string=...`).
//!
//! A machine without QEMU's configuration device, or one that was started without the option, asks for nothing: then
//! every case runs.

use crate::call::{port_in, port_out};
use abi::root;
use alloc::string::String;

/// Where QEMU's configuration device listens: a 16-bit port that selects an item, and one that gives its next byte
/// (QEMU, `docs/specs/fw_cfg`).
const SELECT: u64 = 0x510;
const DATA: u64 = 0x511;
/// The item that names the others.
const DIRECTORY: u16 = 0x19;
/// The item that says that the device is there.
const SIGNATURE: u16 = 0;
/// The item with the words.
const NAME: &[u8] = b"opt/bulkhead/suite";
/// Bytes of a name in the directory.
const NAME_BYTES: usize = 56;
/// More items than QEMU has.
const MOST_ITEMS: u32 = 256;
/// More bytes than the host asks with.
const MOST_BYTES: u32 = 1024;

/// The words.
pub(crate) struct Parameters(String);

impl Parameters {
    /// Reads them, if there are any.
    pub(crate) fn read() -> Self {
        Parameters(item().unwrap_or_default())
    }

    /// The value of a word.
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        self.0.split_ascii_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    /// The value of a word, as a decimal number.
    pub(crate) fn number(&self, key: &str) -> Option<u64> {
        self.value(key)?.parse().ok()
    }
}

fn select(item: u16) -> Option<()> {
    port_out(root::PORTS.0, SELECT, 2, item.into()).ok().map(|_| ())
}

fn bytes<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    for byte in &mut bytes {
        *byte = port_in(root::PORTS.0, DATA, 1).ok()? as u8;
    }
    Some(bytes)
}

fn item() -> Option<String> {
    select(SIGNATURE)?;
    if &bytes::<4>()? != b"QEMU" {
        return None;
    }
    select(DIRECTORY)?;
    for _ in 0..u32::from_be_bytes(bytes()?).min(MOST_ITEMS) {
        let length = u32::from_be_bytes(bytes()?).min(MOST_BYTES);
        let number = u16::from_be_bytes(bytes()?);
        bytes::<2>()?;
        let name = bytes::<NAME_BYTES>()?;
        if name.split(|byte| *byte == 0).next() == Some(NAME) {
            select(number)?;
            return (0..length).map(|_| bytes::<1>().map(|[byte]| char::from(byte))).collect();
        }
    }
    None
}
