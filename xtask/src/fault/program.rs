//! The instructions of a program.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::Path;

use elf::ElfBytes;
use elf::abi::{SHF_ALLOC, SHF_EXECINSTR, SHT_NOBITS, STT_FUNC};
use elf::endian::LittleEndian;
use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, OpKind};

use super::FaultError;

/// The code of a program, instruction by instruction.
#[derive(Debug)]
pub(super) struct Program {
    /// In the order of their addresses.
    pub(super) instructions: Vec<Placed>,
    functions: BTreeMap<u64, String>,
    /// Addresses of instructions to which something else may lead than the one before: functions, targets of jumps, whatever stands
    /// in tables.
    landings: BTreeSet<u64>,
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
        let mut program = Self { instructions: Vec::new(), functions, landings: BTreeSet::new() };
        for section in elf.section_headers().into_iter().flatten() {
            let has = |flag: u32| section.sh_flags & u64::from(flag) != 0;
            if !has(SHF_ALLOC) || section.sh_type == SHT_NOBITS {
                continue;
            }
            let (bytes, _) = elf.section_data(&section).map_err(|error| wrong(error.to_string()))?;
            if has(SHF_EXECINSTR) {
                program.decode(section.sh_addr, bytes);
            } else {
                // Tables of jumps have whole addresses: programs are linked where they run.
                program.landings.extend(bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)));
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
        let functions = BTreeMap::from([(address, "f".to_owned())]);
        let mut program = Self { instructions: Vec::new(), functions, landings: BTreeSet::new() };
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
            if (0..instruction.op_count()).any(|number| instruction.op_kind(number) == OpKind::NearBranch64) {
                self.landings.insert(instruction.near_branch_target());
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

    /// The positions of functions' first instructions whose names end like this.
    pub(super) fn entries(&self, ending: &str) -> Vec<usize> {
        let named = self.functions.iter().filter(|(_, name)| name.ends_with(ending));
        named.filter_map(|(address, _)| self.instructions.binary_search_by_key(address, Placed::address).ok()).collect()
    }

    /// The bytes of as many whole instructions from an address on as there are in `length` bytes.
    pub(super) fn bytes(&self, address: u64, length: usize) -> Vec<u8> {
        let first = self.instructions.partition_point(|placed| placed.address() < address);
        let end = address + length as u64;
        let within = self.instructions[first..].iter().take_while(|placed| placed.instruction.next_ip() <= end);
        within.flat_map(|placed| placed.bytes.clone()).collect()
    }

    /// The fewest instructions that end with the one at a position and have room for `length` bytes, if nothing leads to any of
    /// them but to the first one, and each leads to the next one.
    pub(super) fn run_up_to(&self, position: usize, length: usize) -> Option<Range<usize>> {
        let end = self.instructions[position].instruction.next_ip();
        let first = (0..=position).rev().find(|first| end - self.instructions[*first].address() >= length as u64)?;
        self.is_run(first..position + 1).then_some(first..position + 1)
    }

    /// As [`Program::run_up_to`], of those that begin with the one at a position.
    pub(super) fn run_from(&self, position: usize, length: usize) -> Option<Range<usize>> {
        let start = self.instructions[position].address();
        let reaches = |last: &usize| self.instructions[*last].instruction.next_ip() - start >= length as u64;
        let last = (position..self.instructions.len()).find(reaches)?;
        // What follows the last one is led to by nothing else either: it goes on there.
        (self.is_run(position..last + 1) && self.instructions[last].instruction.flow_control() == FlowControl::Next)
            .then_some(position..last + 1)
    }

    /// Whether each of some instructions leads to the next one, and nothing else leads there.
    pub(super) fn is_run(&self, range: Range<usize>) -> bool {
        self.instructions[range].windows(2).all(|pair| {
            pair[0].instruction.flow_control() == FlowControl::Next
                && pair[0].instruction.next_ip() == pair[1].address()
                && !self.landings.contains(&pair[1].address())
                && !self.functions.contains_key(&pair[1].address())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `xor edx, edx; xor r9d, r9d; syscall; ret; jmp` to an address.
    fn program(target: u8) -> Program {
        Program::of(0x20_1000, &[0x31, 0xd2, 0x45, 0x31, 0xc9, 0x0f, 0x05, 0xc3, 0xeb, target])
    }

    #[test]
    fn the_shortest_run_with_room_is_found() {
        let program = program(0xf6);
        assert_eq!(program.instructions.len(), 5);
        assert_eq!(program.run_up_to(2, 5), Some(1..3));
        assert_eq!(program.run_up_to(2, 6), Some(0..3));
        assert_eq!(program.run_up_to(2, 8), None, "there is nothing before it");
        assert_eq!(program.run_from(0, 5), Some(0..2));
        assert_eq!(program.run_from(0, 6), None, "a system call is no instruction that just goes on");
        assert_eq!(program.bytes(0x20_1002, 5), [0x45, 0x31, 0xc9, 0x0f, 0x05]);
    }

    #[test]
    fn no_run_has_a_landing_in_its_middle() {
        // It jumps to `xor r9d, r9d`, and then to the system call.
        assert_eq!((program(0xf8).run_up_to(2, 5), program(0xf8).run_up_to(2, 7)), (Some(1..3), None));
        assert_eq!(program(0xfb).run_up_to(2, 5), None);
        let mut table = program(0xf6);
        table.landings.insert(0x20_1005);
        assert_eq!(table.run_up_to(2, 5), None);
    }

    #[test]
    fn functions_are_found_by_the_end_of_their_names() {
        let program = program(0xf6);
        assert_eq!((program.entries("f"), program.entries("g")), (vec![0], vec![]));
    }
}
