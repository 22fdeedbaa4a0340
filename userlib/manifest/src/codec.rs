//! Bytes: a header with magic, version, length and checksum, then the system in postcard's format.

use alloc::vec::Vec;
use core::fmt;

use crc::{CRC_32_ISO_HDLC, Crc, Table};

use crate::{Inconsistency, System};

/// The first bytes of an encoded manifest.
pub const MAGIC: [u8; 8] = *b"BULKHEAD";
/// The version of the format; a reader accepts its own only, since manifest and reader are built together.
pub const VERSION: u32 = 7;
/// Bytes before the body: magic, version, length of the body, checksum (little-endian, 4 bytes each after the magic).
pub const HEADER_BYTES: usize = 20;
/// Most bytes of an encoded manifest, so that a reader's memory is bounded before it trusts a length.
pub const MAX_ENCODED_BYTES: usize = 64 * 1024;

const CHECKSUM_OFFSET: usize = 16;
const CRC: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&CRC_32_ISO_HDLC);

/// Why bytes are not a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecodeError {
    /// Fewer bytes than a header.
    Truncated {
        /// Bytes present.
        present: usize,
    },
    /// More bytes than any manifest has.
    TooLarge {
        /// Bytes present.
        present: usize,
    },
    /// The magic is not there: something else was put in the manifest's place.
    NotAManifest,
    /// Written for another version of the format.
    Version {
        /// The version found.
        found: u32,
    },
    /// The header's length disagrees with the number of bytes.
    Length {
        /// Bytes of body that the header states.
        stated: u32,
        /// Bytes of body that are there.
        present: usize,
    },
    /// The bytes changed after they were written.
    Checksum {
        /// The checksum that the header states.
        stated: u32,
        /// The checksum of what is there.
        computed: u32,
    },
    /// The body is not an encoded system, though its checksum is right.
    Malformed,
    /// The body is a system that breaks its own rules.
    Inconsistent(Inconsistency),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { present } => {
                write!(formatter, "the manifest has {present} bytes, fewer than its header of {HEADER_BYTES}")
            }
            Self::TooLarge { present } => {
                write!(formatter, "the manifest has {present} bytes, more than the {MAX_ENCODED_BYTES} that are read")
            }
            Self::NotAManifest => formatter.write_str("the file is not a compiled manifest: its magic is missing"),
            Self::Version { found } => write!(
                formatter,
                "the manifest has format version {found}, this program reads version {VERSION}: rebuild the image"
            ),
            Self::Length { stated, present } => {
                write!(formatter, "the manifest states {stated} bytes of body and has {present}")
            }
            Self::Checksum { stated, computed } => write!(
                formatter,
                "the manifest is damaged: its checksum is {computed:#010x} and should be {stated:#010x}"
            ),
            Self::Malformed => formatter.write_str("the manifest's body does not decode: rebuild the image"),
            Self::Inconsistent(inconsistency) => write!(formatter, "the manifest contradicts itself: {inconsistency}"),
        }
    }
}

impl core::error::Error for DecodeError {}

/// Why a system has no encoded form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EncodeError {
    /// It breaks its own rules.
    Inconsistent(Inconsistency),
    /// It would need more than [`MAX_ENCODED_BYTES`].
    TooLarge {
        /// Bytes that it would need.
        bytes: usize,
    },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inconsistent(inconsistency) => {
                write!(formatter, "the system contradicts itself: {inconsistency}")
            }
            Self::TooLarge { bytes } => write!(
                formatter,
                "the compiled manifest would have {bytes} bytes, more than the {MAX_ENCODED_BYTES} that are read"
            ),
        }
    }
}

impl core::error::Error for EncodeError {}

impl System {
    /// The system as bytes for the boot archive; the same system always gives the same bytes.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if [`System::decode`] would refuse the bytes.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        self.check().map_err(EncodeError::Inconsistent)?;
        let mut bytes = Vec::with_capacity(4096);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; HEADER_BYTES - 12]);
        // Writing to a growing vector fails only where a type has no serialised form, which none of ours lacks.
        let mut bytes = postcard::to_extend(self, bytes).map_err(|_| EncodeError::TooLarge { bytes: usize::MAX })?;
        if bytes.len() > MAX_ENCODED_BYTES {
            return Err(EncodeError::TooLarge { bytes: bytes.len() });
        }
        let length = (bytes.len() - HEADER_BYTES) as u32;
        bytes[12..16].copy_from_slice(&length.to_le_bytes());
        let checksum = checksum(&bytes);
        bytes[CHECKSUM_OFFSET..HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
        Ok(bytes)
    }

    /// The system that `bytes` encode.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]; no input makes it panic, and what it returns satisfies [`System::check`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_ENCODED_BYTES {
            return Err(DecodeError::TooLarge { present: bytes.len() });
        }
        let Some((header, body)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Err(DecodeError::Truncated { present: bytes.len() });
        };
        let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        if !header.starts_with(&MAGIC) {
            return Err(DecodeError::NotAManifest);
        }
        if word(8) != VERSION {
            return Err(DecodeError::Version { found: word(8) });
        }
        if usize::try_from(word(12)) != Ok(body.len()) {
            return Err(DecodeError::Length { stated: word(12), present: body.len() });
        }
        let (stated, computed) = (word(CHECKSUM_OFFSET), checksum(bytes));
        if stated != computed {
            return Err(DecodeError::Checksum { stated, computed });
        }
        match postcard::take_from_bytes::<Self>(body) {
            Ok((system, [])) => {
                system.check().map_err(DecodeError::Inconsistent)?;
                Ok(system)
            }
            _ => Err(DecodeError::Malformed),
        }
    }
}

/// The checksum of everything but the checksum's own place.
fn checksum(bytes: &[u8]) -> u32 {
    let mut digest = CRC.digest();
    digest.update(&bytes[..CHECKSUM_OFFSET]);
    digest.update(&bytes[HEADER_BYTES..]);
    digest.finalize()
}
