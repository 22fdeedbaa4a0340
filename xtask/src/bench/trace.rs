//! Where the instructions of one round of a work go: by function, from QEMU's record of every block of instructions that it
//! executes.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use elf::ElfBytes;
use elf::abi::{STT_FUNC, STT_NOTYPE};
use elf::endian::LittleEndian;

use super::linux::Costs;
use super::{BenchError, run_suite};
use crate::build;
use crate::setup;
use crate::suites;
use crate::workspace;

/// Where the kernel's half of the addresses begins.
const KERNEL: u64 = 1 << 63;
/// More blocks than a round has: what is longer is the machine's start.
const MOST_BLOCKS: usize = 100_000;
/// Bits of a block's flags that say after how many instructions it was cut off, if not zero (QEMU, `CF_COUNT_MASK`).
const CUT_OFF: u32 = 0x1ff;

/// A block that was executed: where it begins, and how many instructions it has.
type Step = (u64, u64);

/// A line of QEMU's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line<'a> {
    /// A block begins that was translated for the first time.
    Block,
    /// An instruction of it.
    Instruction { address: u64, name: &'a str },
    /// A block was executed, cut off after so many instructions if not zero.
    Executed { address: u64, limit: u32 },
}

impl<'a> Line<'a> {
    fn read(line: &'a str) -> Option<Self> {
        if line.starts_with("IN:") {
            return Some(Self::Block);
        }
        if let Some(rest) = line.strip_prefix("Trace ") {
            // `Trace 0: 0x7f2b4c000100 [cs_base/pc/flags/cflags] symbol`
            let mut fields = rest.split_once('[')?.1.split_once(']')?.0.split('/');
            let address = u64::from_str_radix(fields.nth(1)?, 16).ok()?;
            let flags = u32::from_str_radix(fields.nth(1)?, 16).ok()?;
            return Some(Self::Executed { address, limit: flags & CUT_OFF });
        }
        // `0xffffffff80100000:  0f 01 f8                 swapgs`; bytes of long ones go on in a line without a name.
        let (address, rest) = line.strip_prefix("0x")?.split_once(':')?;
        let is_byte = |word: &&str| word.len() == 2 && u8::from_str_radix(word, 16).is_ok();
        let name = rest.split_whitespace().find(|word| !is_byte(word))?;
        Some(Self::Instruction { address: u64::from_str_radix(address, 16).ok()?, name })
    }
}

/// What has been read of the record: rounds, which are what is executed between two reads of the counter by a program.
#[derive(Default)]
struct Record {
    lengths: HashMap<u64, u64>,
    /// Blocks of programs that read the counter.
    readers: HashMap<u64, bool>,
    /// The block that is being described.
    block: Option<u64>,
    round: Vec<Step>,
    too_long: bool,
    /// One round of each length.
    rounds: BTreeMap<u64, Vec<Step>>,
}

impl Record {
    fn take(&mut self, line: Line<'_>) {
        match line {
            Line::Block => self.block = None,
            Line::Instruction { address, name } => {
                let first = *self.block.get_or_insert(address);
                let length = self.lengths.entry(first).or_default();
                if address == first {
                    // A block that was cut off before is described anew when it is translated whole.
                    *length = 0;
                }
                *length += 1;
                if name == "rdtsc" && address < KERNEL {
                    self.readers.insert(first, true);
                }
            }
            Line::Executed { address, limit } => {
                let length = self.lengths.get(&address).copied().unwrap_or(1);
                let count = if limit == 0 { length } else { length.min(limit.into()) };
                self.too_long |= self.round.len() >= MOST_BLOCKS;
                if !self.too_long {
                    self.round.push((address, count));
                }
                if self.readers.contains_key(&address) {
                    let round = std::mem::take(&mut self.round);
                    if !std::mem::take(&mut self.too_long) {
                        self.rounds.entry(round.iter().map(|(_, count)| count).sum()).or_insert(round);
                    }
                }
            }
        }
    }

    /// The round whose length is nearest to this.
    fn nearest(mut self, length: u64) -> Vec<Step> {
        let nearest = self.rounds.keys().copied().min_by_key(|other| other.abs_diff(length));
        nearest.and_then(|length| self.rounds.remove(&length)).unwrap_or_default()
    }
}

/// Functions by their addresses.
#[derive(Default)]
struct Symbols(BTreeMap<u64, String>);

impl Symbols {
    fn add(&mut self, program: &Path) -> io::Result<()> {
        let file = fs::read(program)?;
        let wrong = |error: elf::ParseError| io::Error::other(format!("{}: {error}", program.display()));
        let parsed = ElfBytes::<LittleEndian>::minimal_parse(&file).map_err(wrong)?;
        let Some((symbols, names)) = parsed.symbol_table().map_err(wrong)? else { return Ok(()) };
        // What is written in assembly is of no kind.
        let is_code = |kind| kind == STT_FUNC || kind == STT_NOTYPE;
        for symbol in symbols.iter().filter(|symbol| is_code(symbol.st_symtype()) && !symbol.is_undefined()) {
            let name = names.get(symbol.st_name as usize).map_err(wrong)?;
            self.0.insert(symbol.st_value, format!("{:#}", rustc_demangle::demangle(name)));
        }
        Ok(())
    }

    fn of(&self, address: u64) -> &str {
        self.0.range(..=address).next_back().map_or("?", |(_, name)| name)
    }
}

/// Instructions of a round by function.
#[derive(Clone, Debug)]
pub struct Trace {
    work: String,
    total: u64,
    /// Functions with how often they were come into and how many instructions were theirs, the most first.
    functions: Vec<(String, u64, u64)>,
}

impl Trace {
    fn new(work: &str, round: &[Step], symbols: &Symbols) -> Self {
        let mut functions = BTreeMap::<&str, (u64, u64)>::new();
        let mut last = "";
        for (address, count) in round {
            let name = symbols.of(*address);
            let entry = functions.entry(name).or_default();
            entry.0 += u64::from(name != last);
            entry.1 += count;
            last = name;
        }
        let mut functions: Vec<_> =
            functions.into_iter().map(|(name, (entered, count))| (name.to_owned(), entered, count)).collect();
        functions.sort_by_key(|(_, _, count)| std::cmp::Reverse(*count));
        Self { work: work.to_owned(), total: round.iter().map(|(_, count)| count).sum(), functions }
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} guest instructions of one round, by function\n", self.work, self.total)?;
        writeln!(f, "  {:>6}  {:>5}  {:>7}  function", "instr.", "of all", "entered")?;
        for (name, entered, count) in &self.functions {
            let share = *count as f64 * 100.0 / self.total.max(1) as f64;
            writeln!(f, "  {count:>6}  {share:>4.1} %  {entered:>7}  {name}")?;
        }
        Ok(())
    }
}

/// A pipe with a name, into which QEMU writes its record; gone when this is.
struct Pipe(PathBuf);

impl Pipe {
    fn new() -> io::Result<Self> {
        let folder = workspace::system_target();
        fs::create_dir_all(&folder)?;
        let path = folder.join(format!("trace-{}", std::process::id()));
        let made = Command::new("mkfifo").arg(&path).status()?;
        if made.success() {
            Ok(Self(path))
        } else {
            Err(io::Error::other(format!("mkfifo {}: {made}", path.display())))
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        // What is left is an empty file in the target folder.
        let _ = fs::remove_file(&self.0);
    }
}

/// Runs one work of the suite `costs`, by its exact name, and says where its instructions go.
///
/// # Errors
///
/// [`BenchError`]; [`BenchError::NoFigures`] if there is no such work.
pub fn trace(work: &str) -> Result<Trace, BenchError> {
    let built = build::conformance(&setup::ensure()?)?;
    let mut symbols = Symbols::default();
    for program in [build::KERNEL, build::CONFORMANCE] {
        let path = built.programs.get(program).ok_or_else(|| BenchError::NoFigures(program.to_owned()))?;
        symbols.add(path).map_err(BenchError::Trace)?;
    }
    let pipe = Pipe::new().map_err(BenchError::Trace)?;
    let mut machine = suites::counting_machine(&built.image, &format!("suite=costs case={work}"));
    // Blocks that are chained to each other would be written down once.
    machine.extra.extend(["-d", "exec,in_asm,nochain", "-D"].map(Into::into));
    machine.extra.push(pipe.0.clone().into());
    let path = pipe.0.clone();
    let reader = thread::spawn(move || -> io::Result<Record> {
        let mut record = Record::default();
        let mut lines = BufReader::with_capacity(1 << 20, File::open(path)?);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line)? > 0 {
            if let Some(line) = Line::read(&String::from_utf8_lossy(&line)) {
                record.take(line);
            }
            line.clear();
        }
        Ok(record)
    });
    let text = run_suite(&machine, "costs", &format!("One round of {work}, block by block"))?;
    let record = reader.join().unwrap_or_else(|_| Err(io::Error::other("the record could not be read")));
    let record = record.map_err(BenchError::Trace)?;
    let costs = Costs::read(&text);
    let cost = costs.fewest.get(work).ok_or_else(|| BenchError::NoFigures(text.clone()))?;
    Ok(Trace::new(work, &record.nearest(*cost), &symbols))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_record_are_told_apart() {
        let executed = "Trace 0: 0x7f2b4c000100 [0000000000000000/ffffffff80100000/0040c0b3/ff020003] entry";
        assert_eq!(Line::read(executed), Some(Line::Executed { address: 0xffff_ffff_8010_0000, limit: 3 }));
        assert_eq!(Line::read("IN: entry"), Some(Line::Block));
        let instruction = "0xffffffff80100000:  0f 01 f8                 swapgs   ";
        assert_eq!(Line::read(instruction), Some(Line::Instruction { address: 0xffff_ffff_8010_0000, name: "swapgs" }));
        assert_eq!(Line::read("0x00200008:  ff ff"), None, "the rest of a long instruction");
        assert_eq!(Line::read("----------------"), None);
    }

    #[test]
    fn a_round_lies_between_two_reads_of_the_counter() {
        let mut record = Record::default();
        let text = "IN: \n0x00200000:  0f 31  rdtsc\n\
                    IN: \n0x00200002:  90  nop\n0x00200003:  90  nop\n0x00200004:  0f 05  syscall\n\
                    Trace 0: 0x1 [0/00200000/0/0]\n\
                    Trace 0: 0x1 [0/00200002/0/0]\nTrace 0: 0x1 [0/00200002/0/1]\nTrace 0: 0x1 [0/00200000/0/0]\n";
        for line in text.lines().filter_map(Line::read) {
            record.take(line);
        }
        assert_eq!(record.nearest(6), [(0x20_0002, 3), (0x20_0002, 1), (0x20_0000, 1)]);
    }

    #[test]
    fn instructions_are_counted_by_function_the_most_first() {
        let symbols = Symbols([(0x100, "enter".to_owned()), (0x200, "find".to_owned())].into());
        let trace = Trace::new("ipc-call-0", &[(0x100, 5), (0x210, 20), (0x220, 10), (0x104, 5)], &symbols);
        assert_eq!(trace.functions, [("find".to_owned(), 1, 30), ("enter".to_owned(), 2, 10)]);
        let text = trace.to_string();
        assert!(text.contains("      30  75.0 %        1  find"), "{text}");
    }
}
