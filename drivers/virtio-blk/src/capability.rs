//! Where a virtio device's registers are (Virtual I/O Device 1.2, 4.1.4).

use core::fmt;

/// Id of a vendor's own capability.
const VENDOR: u8 = 0x09;
/// Offset of the first capability's offset.
const CAPABILITIES: u16 = 0x34;
/// Status register; bit 4 says that there are capabilities.
const STATUS: u16 = 0x06;
const HAS_CAPABILITIES: u32 = 1 << 4;
/// Capabilities lie behind the header.
const FIRST: u16 = 0x40;
/// Structures that a driver needs.
const COMMON: u8 = 1;
const NOTIFY: u8 = 2;
const DEVICE: u8 = 4;

/// Reads `width` bytes of the device's configuration space.
pub type ReadConfig<'a, E> = &'a dyn Fn(u16, u8) -> Result<u32, E>;

/// One structure of registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Structure {
    /// Base address register behind which it lies.
    pub bar: u8,
    /// Where it begins there.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
}

/// The structures of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Structures {
    /// What all virtio devices have.
    pub common: Structure,
    /// Where the driver tells of new requests.
    pub notify: Structure,
    /// Bytes between the registers of two queues there.
    pub notify_multiplier: u32,
    /// What is the disk's own; a device need not have it.
    pub device: Option<Structure>,
}

/// Why structures were not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing<E> {
    /// Configuration space could not be read.
    Config(E),
    /// There is no such structure: the device is a legacy one, or none of virtio.
    Structure(&'static str),
}

impl<E: fmt::Display> fmt::Display for Missing<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Missing::Config(error) => write!(f, "its configuration space cannot be read: {error}"),
            Missing::Structure(name) => write!(
                f,
                "it has no {name} registers, as devices of virtio 1.0 and later have (QEMU: `disable-modern=off`)"
            ),
        }
    }
}

/// Finds the structures. The first of each kind that makes sense counts, as the manual says.
///
/// # Errors
/// [`Missing`].
pub fn find<E>(read: ReadConfig<'_, E>) -> Result<Structures, Missing<E>> {
    let config = |offset, width| read(offset, width).map_err(Missing::Config);
    let (mut common, mut notify, mut device) = (None, None, None);
    let mut offset = 0;
    if config(STATUS, 2)? & HAS_CAPABILITIES != 0 {
        offset = config(CAPABILITIES, 1)? as u16 & 0xfc;
    }
    // A list that runs in a circle has been followed all around after this many steps.
    for _ in 0..48 {
        if offset < FIRST {
            break;
        }
        let header = config(offset, 4)?;
        if header as u8 == VENDOR {
            let [_, _, length, kind] = header.to_le_bytes();
            let structure = Structure {
                bar: config(offset + 4, 1)? as u8,
                offset: config(offset + 8, 4)?.into(),
                length: config(offset + 12, 4)?.into(),
            };
            let is_usable = structure.bar < 6 && structure.length > 0 && length >= 16;
            match kind {
                COMMON if is_usable && common.is_none() => common = Some(structure),
                NOTIFY if is_usable && length >= 20 && notify.is_none() => {
                    notify = Some((structure, config(offset + 16, 4)?));
                }
                DEVICE if is_usable && device.is_none() => device = Some(structure),
                _ => {}
            }
        }
        offset = (header >> 8) as u16 & 0xfc;
    }
    let (notify, notify_multiplier) = notify.ok_or(Missing::Structure("notification"))?;
    let common = common.ok_or(Missing::Structure("common"))?;
    Ok(Structures { common, notify, notify_multiplier, device })
}
