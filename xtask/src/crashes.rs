//! `cargo xtask crashes DISK`: the deaths that a disk's log keeps, with the names of functions, files and lines.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use addr2line::Loader;
use interfaces::crash::CrashRecord;
use interfaces::{crash_log, crash_report};
use toml_edit::{DocumentMut, Item};

use crate::build::{self, BuildError};
use crate::disk::{self, DiskError};
use crate::setup::{self, SetupError};
use crate::workspace;

/// Why the deaths cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum CrashesError {
    /// The machine is not set up.
    #[error("{0}")]
    Setup(#[from] SetupError),
    /// The programs whose functions are named cannot be built.
    #[error("{0}")]
    Build(#[from] BuildError),
    /// The disk holds no log, or none that can be read.
    #[error("{0}; a system that was asked to shut down after somebody died, or ran for some seconds more, leaves one")]
    Disk(#[from] DiskError),
}

/// The symbols of the programs of a system.
struct Symbols<'a> {
    programs: &'a BTreeMap<String, PathBuf>,
    /// Domains whose program has another name.
    binaries: BTreeMap<String, String>,
    read: RefCell<BTreeMap<String, Option<Loader>>>,
}

impl<'a> Symbols<'a> {
    fn new(programs: &'a BTreeMap<String, PathBuf>, manifest: &str) -> Self {
        let document = manifest.parse::<DocumentMut>().unwrap_or_default();
        let domains = document.get("domain").and_then(Item::as_table_like);
        let binary =
            |(name, domain): (&str, &Item)| Some((name.to_owned(), domain.get("binary")?.as_str()?.to_owned()));
        let binaries = domains.map(|domains| domains.iter().filter_map(binary).collect()).unwrap_or_default();
        Self { programs, binaries, read: RefCell::default() }
    }

    /// The function, file and line of an address of a domain's program. What was inlined there is named, and where.
    fn place(&self, domain: &str, address: u64) -> Option<String> {
        let program = self.binaries.get(domain).map_or(domain, String::as_str);
        let mut read = self.read.borrow_mut();
        let loader = read
            .entry(program.to_owned())
            .or_insert_with(|| self.programs.get(program).and_then(|path| Loader::new(path).ok()));
        let loader = loader.as_ref()?;
        let mut text = String::new();
        let mut frames = loader.find_frames(address).ok()?;
        while let Ok(Some(frame)) = frames.next() {
            let name =
                frame.function.as_ref().and_then(|function| function.demangle().ok().map(|name| name.into_owned()));
            let name = name.or_else(|| symbol(loader, address)).unwrap_or_else(|| "?".to_owned());
            let separator = if text.is_empty() { "in " } else { ", inlined into " };
            // Writing to a string cannot fail.
            let _ = write!(text, "{separator}{name}");
            if let Some(location) = frame.location
                && let (Some(file), Some(line)) = (location.file, location.line)
            {
                let _ = write!(text, " ({file}:{line})");
            }
        }
        if text.is_empty() { symbol(loader, address).map(|name| format!("in {name}")) } else { Some(text) }
    }
}

fn symbol(loader: &Loader, address: u64) -> Option<String> {
    loader.find_symbol(address).map(|name| format!("{:#}", rustc_demangle::demangle(name)))
}

/// The text of the records, each with what the symbols name.
fn text(records: &[(u64, CrashRecord)], symbols: &Symbols<'_>) -> String {
    let reports = records
        .iter()
        .map(|(_, record)| crash_report::report(record, &|address| symbols.place(&record.domain, address)));
    // Whoever wrote the disk is not to steer the terminal.
    reports.collect::<Vec<_>>().join("\n").replace(|c: char| c.is_control() && c != '\n', "?")
}

/// What the log on a disk says, with the names of functions as the tree is built now: of a system that was built from other
/// sources they are wrong.
///
/// # Errors
///
/// [`CrashesError`].
pub fn of_disk(image: &Path) -> Result<String, CrashesError> {
    let records = crash_log::records(&disk::read_file(image, crash_log::PATH)?);
    let built = build::system(&setup::ensure()?)?;
    let manifest = std::fs::read_to_string(workspace::root().join("system.toml")).unwrap_or_default();
    Ok(text(&records, &Symbols::new(&built.programs, &manifest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_finds_the_program_that_the_manifest_names() {
        let programs = BTreeMap::new();
        let symbols = Symbols::new(&programs, "[domain.a]\nbinary = \"b\"\n[domain.c]\nmemory = \"1M\"\n");
        assert_eq!(symbols.binaries, BTreeMap::from([("a".to_owned(), "b".to_owned())]));
        assert_eq!(symbols.place("a", 0x20_0000), None, "there is no such program");
    }

    /// A function that has an address of its own, whatever the compiler does to its caller.
    #[inline(never)]
    fn landmark() -> u32 {
        std::hint::black_box(7)
    }

    #[test]
    fn an_address_of_a_program_is_a_function_with_file_and_line() {
        let own = std::env::current_exe().expect("tests have a program");
        let programs = BTreeMap::from([("tests".to_owned(), own.clone())]);
        let symbols = Symbols::new(&programs, "");
        let loader = Loader::new(&own).expect("it has symbols");
        // Where this program was loaded does not matter: the file's own address of a function of it is asked for.
        let file = std::fs::read(&own).expect("it is there");
        let elf = elf::ElfBytes::<elf::endian::AnyEndian>::minimal_parse(&file).expect("it is an ELF file");
        let (table, names) = elf.symbol_table().expect("it is readable").expect("it has symbols");
        let meant =
            table.iter().find(|symbol| names.get(symbol.st_name as usize).is_ok_and(|name| name.contains("landmark")));
        assert_eq!(landmark(), 7);
        let address = meant.expect("the function is there").st_value;
        assert!(loader.find_symbol(address).is_some());
        let place = symbols.place("tests", address).expect("it is named");
        assert!(place.contains("landmark") && place.contains("crashes.rs:"), "{place}");
    }
}
