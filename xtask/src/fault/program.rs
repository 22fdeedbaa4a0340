//! The instructions of a program.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use elf::ElfBytes;
use elf::abi::{SHF_EXECINSTR, STT_FUNC};
use elf::endian::LittleEndian;
use iced_x86::{Decoder, DecoderOptions, Instruction};

use super::FaultError;

/// The code of a program, instruction by instruction.
#[derive(Debug)]
pub(super) struct Program {
    /// In the order of their addresses.
    pub(super) instructions: Vec<Placed>,
    functions: BTreeMap<u64, String>,
}

/// An instruction as it stands in a program.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) instruction: Instruction,
    pub(super) bytes: Vec<u8>,
    /// How many instructions of the same function stand before it.
    pub(super) from_entry: usize,
}

impl Placed {
    pub(super) fn address(&self) -> u64 {
        self.instruction.ip()
    }
}

impl Program {
    /// Reads the ELF file at `path`.
    ///
    /// # Errors
    ///
    /// [`FaultError::Program`].
    pub(super) fn read(path: &Path) -> Result<Self, FaultError> {
        let wrong = |why: String| FaultError::Program { path: path.to_owned(), why };
        let file = fs::read(path).map_err(|error| wrong(error.to_string()))?;
        let elf = ElfBytes::<LittleEndian>::minimal_parse(&file).map_err(|error| wrong(error.to_string()))?;
        let mut functions = BTreeMap::new();
        if let Some((symbols, names)) = elf.symbol_table().map_err(|error| wrong(error.to_string()))? {
            for symbol in symbols.iter().filter(|symbol| symbol.st_symtype() == STT_FUNC && !symbol.is_undefined()) {
                let name = names.get(symbol.st_name as usize).unwrap_or("?");
                functions.insert(symbol.st_value, format!("{:#}", rustc_demangle::demangle(name)));
            }
        }
        let mut program = Self { instructions: Vec::new(), functions };
        for section in elf.section_headers().into_iter().flatten() {
            if section.sh_flags & u64::from(SHF_EXECINSTR) != 0 {
                let (bytes, _) = elf.section_data(&section).map_err(|error| wrong(error.to_string()))?;
                program.decode(section.sh_addr, bytes);
            }
        }
        match program.instructions.is_empty() {
            true => Err(wrong("it has no code".to_owned())),
            false => Ok(program),
        }
    }

    /// A program of nothing but these bytes.
    #[cfg(test)]
    pub(super) fn of(address: u64, bytes: &[u8]) -> Self {
        let mut program = Self { instructions: Vec::new(), functions: BTreeMap::from([(address, "f".to_owned())]) };
        program.decode(address, bytes);
        program
    }

    fn decode(&mut self, address: u64, bytes: &[u8]) {
        let mut decoder = Decoder::with_ip(64, bytes, address, DecoderOptions::NONE);
        let mut from_entry = 0;
        while decoder.can_decode() {
            let start = decoder.position();
            let instruction = decoder.decode();
            if self.functions.contains_key(&instruction.ip()) {
                from_entry = 0;
            }
            if !instruction.is_invalid() {
                let bytes = bytes[start..decoder.position()].to_vec();
                self.instructions.push(Placed { instruction, bytes, from_entry });
            }
            from_entry += 1;
        }
    }

    /// The function in which an address lies.
    pub(super) fn function(&self, address: u64) -> &str {
        self.functions.range(..=address).next_back().map_or("?", |(_, name)| name)
    }
}
