//! How big the kernel's image is.

use std::fs;
use std::path::PathBuf;

use elf::ElfBytes;
use elf::abi::{SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE, SHT_NOBITS};
use elf::endian::LittleEndian;

use crate::build::KERNEL;
use crate::workspace;

/// Sizes of what an ELF file loads, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImageSize {
    /// Instructions.
    pub text: u64,
    /// Constants.
    pub constants: u64,
    /// Variables with a value.
    pub data: u64,
    /// Variables that start as zero.
    pub zero: u64,
}

impl ImageSize {
    /// The kernel's, as it was built last; `None` if it was not built yet.
    pub fn of_last_kernel() -> Option<Self> {
        Self::of(&fs::read(kernel_path()).ok()?)
    }

    /// Those of this file; `None` if it is not a 64-bit ELF file with sections.
    pub fn of(file: &[u8]) -> Option<Self> {
        let elf = ElfBytes::<LittleEndian>::minimal_parse(file).ok()?;
        let mut sizes = Self::default();
        for section in elf.section_headers()?.iter() {
            let has = |flag: u32| section.sh_flags & u64::from(flag) != 0;
            let size = match (has(SHF_ALLOC), has(SHF_EXECINSTR), has(SHF_WRITE), section.sh_type == SHT_NOBITS) {
                (false, ..) => continue,
                (_, true, ..) => &mut sizes.text,
                (_, _, true, true) => &mut sizes.zero,
                (_, _, true, false) => &mut sizes.data,
                _ => &mut sizes.constants,
            };
            *size += section.sh_size;
        }
        Some(sizes)
    }
}

/// Where the build leaves the kernel with its sections.
fn kernel_path() -> PathBuf {
    workspace::system_target().join("x86_64-unknown-none/release").join(KERNEL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_has_instructions_and_constants() {
        let file = fs::read(std::env::current_exe().unwrap()).unwrap();
        let sizes = ImageSize::of(&file).unwrap();
        assert!(sizes.text > 100_000 && sizes.constants > 10_000, "{sizes:?}");
        assert!(sizes.text + sizes.constants + sizes.data < file.len() as u64, "{sizes:?}");
        assert_eq!(ImageSize::of(b"no program"), None);
    }
}
