//! The choices a person makes about the machine, read and checked before anything is built.

use std::fmt;
use std::str::FromStr;

/// Why an option's value is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// Not a number with an optional unit.
    #[error("`{0}` is not an amount of memory; write a number with M or G, such as 256M")]
    NotMemory(String),
    /// Less than the system needs.
    #[error("{0} is too little memory: Bulkhead needs at least 64M")]
    TooLittle(Memory),
    /// More than the chosen machine has addresses for.
    #[error("{0} is too much memory: Bulkhead uses at most 64G")]
    TooMuch(Memory),
    /// A processor count outside of what the system supports.
    #[error("`{0}` is not a number of processors from 1 to 32")]
    NotCpus(String),
}

const MIB: u64 = 1 << 20;

/// An amount of memory, in whole mebibytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Memory {
    mebibytes: u64,
}

impl Memory {
    /// The least that Bulkhead boots in.
    pub const LEAST: Self = Self::mebibytes(64);
    /// The most that Bulkhead makes use of.
    pub const MOST: Self = Self::mebibytes(64 * 1024);

    /// An amount in mebibytes, unchecked: what a test wants may be what a person may not have.
    pub const fn mebibytes(mebibytes: u64) -> Self {
        Self { mebibytes }
    }

    /// So many bytes more, rounded up.
    pub const fn and_bytes(self, bytes: u64) -> Self {
        Self { mebibytes: self.mebibytes + bytes.div_ceil(MIB) }
    }

    /// The amount in bytes.
    pub const fn bytes(self) -> u64 {
        self.mebibytes * MIB
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::mebibytes(256)
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.mebibytes > 0 && self.mebibytes.is_multiple_of(1024) {
            write!(f, "{}G", self.mebibytes / 1024)
        } else {
            write!(f, "{}M", self.mebibytes)
        }
    }
}

impl FromStr for Memory {
    type Err = OptionError;

    fn from_str(text: &str) -> Result<Self, OptionError> {
        let refused = || OptionError::NotMemory(text.to_owned());
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match text[digits.len()..].to_ascii_uppercase().as_str() {
            // QEMU's own option takes a bare number for mebibytes.
            "" | "M" | "MB" | "MIB" => 1,
            "G" | "GB" | "GIB" => 1024,
            _ => return Err(refused()),
        };
        let number: u64 = digits.parse().map_err(|_| refused())?;
        let memory = Self::mebibytes(number.checked_mul(unit).ok_or_else(refused)?);
        if memory < Self::LEAST {
            return Err(OptionError::TooLittle(memory));
        }
        if memory > Self::MOST {
            return Err(OptionError::TooMuch(memory));
        }
        Ok(memory)
    }
}

/// A number of processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpus(pub u32);

impl Default for Cpus {
    fn default() -> Self {
        Self(1)
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Cpus {
    type Err = OptionError;

    fn from_str(text: &str) -> Result<Self, OptionError> {
        match text.parse() {
            Ok(count @ 1..=32) => Ok(Self(count)),
            _ => Err(OptionError::NotCpus(text.to_owned())),
        }
    }
}

/// The kind of PC that QEMU presents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Chipset {
    /// A PC with PCI Express, whose configuration space lies in memory: what Bulkhead's drivers need
    #[default]
    Q35,
    /// A PC of 1996 with plain PCI: boots to the shell, without disks
    Pc,
}

impl fmt::Display for Chipset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Q35 => "q35",
            Self::Pc => "pc",
        })
    }
}

/// Which IOMMU the PC has, which confines what its devices do by themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Iommu {
    /// Intel's, and virtio devices keep to it; only a q35
    #[default]
    On,
    /// AMD's, likewise
    Amd,
    /// It has none: what a driver tells its device to reach, the device reaches
    Off,
}

/// Who executes the guest's instructions, as a person asks for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Accel {
    /// QEMU's own CPU emulation: works everywhere
    #[default]
    Tcg,
    /// The host's virtualization, whether or not it is known to work
    Kvm,
    /// KVM if a small guest was seen to run under it on this machine, TCG otherwise
    Auto,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_with_the_units_people_write() {
        for (text, mebibytes) in [("64M", 64), ("256", 256), ("1g", 1024), ("4GiB", 4096), ("96mb", 96)] {
            assert_eq!(text.parse(), Ok(Memory::mebibytes(mebibytes)), "{text}");
        }
    }

    #[test]
    fn memory_outside_of_what_the_system_can_use_is_refused_with_the_limit() {
        assert_eq!("63M".parse::<Memory>(), Err(OptionError::TooLittle(Memory::mebibytes(63))));
        assert_eq!("65G".parse::<Memory>(), Err(OptionError::TooMuch(Memory::mebibytes(65 * 1024))));
    }

    #[test]
    fn what_is_not_an_amount_of_memory_is_refused() {
        for text in ["", "M", "-1M", "1.5G", "256K", "99999999999999999999M", "18014398509481984G", "256 M"] {
            assert_eq!(text.parse::<Memory>(), Err(OptionError::NotMemory(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn memory_is_written_in_the_largest_whole_unit() {
        assert_eq!(Memory::mebibytes(1536).to_string(), "1536M");
        assert_eq!(Memory::mebibytes(4096).to_string(), "4G");
    }

    #[test]
    fn memory_for_guests_is_added_in_whole_mebibytes() {
        assert_eq!(Memory::mebibytes(256).and_bytes(0), Memory::mebibytes(256));
        assert_eq!(Memory::mebibytes(256).and_bytes((64 << 20) + 1), Memory::mebibytes(321));
    }

    #[test]
    fn one_to_thirty_two_processors_may_be_asked_for() {
        assert_eq!("1".parse(), Ok(Cpus(1)));
        assert_eq!("32".parse(), Ok(Cpus(32)));
        for text in ["0", "33", "", "two", "-1"] {
            assert_eq!(text.parse::<Cpus>(), Err(OptionError::NotCpus(text.to_owned())));
        }
    }
}
