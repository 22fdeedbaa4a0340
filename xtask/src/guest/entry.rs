//! A guest as a section of a manifest, and as a person asks for one.

use std::fmt::{self, Write as _};
use std::path::PathBuf;
use std::str::FromStr;

use toml_edit::Value;

use super::{GuestError, Kernel, check_kernel};

/// What a kernel is told unless a person says otherwise: every character that it writes costs time.
pub const COMMAND_LINE: &str = "console=ttyS0 quiet";

/// Why an option's value is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// It is no amount of memory.
    #[error("`{0}` is not an amount of memory; write a number with M or G, such as 128M")]
    NotMemory(String),
    /// No guest has as much or as little.
    #[error("{0} is not what a guest can have: 16M to 3G, in steps of 2M")]
    OutOfRange(Memory),
    /// It is no number of processors.
    #[error("`{0}` is not a number of processors from 1 to 16")]
    NotProcessors(String),
}

/// Memory of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    mebibytes: u64,
}

impl Memory {
    /// So many mebibytes, unchecked: whoever reads the manifest checks it again.
    pub const fn mebibytes(mebibytes: u64) -> Self {
        Self { mebibytes }
    }

    /// The amount in bytes.
    pub const fn bytes(self) -> u64 {
        self.mebibytes << 20
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::mebibytes(128)
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}M", self.mebibytes)
    }
}

impl FromStr for Memory {
    type Err = OptionError;

    fn from_str(text: &str) -> Result<Self, OptionError> {
        let refused = || OptionError::NotMemory(text.to_owned());
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match &text[digits.len()..] {
            "M" => 1,
            "G" => 1024,
            _ => return Err(refused()),
        };
        let number: u64 = digits.parse().map_err(|_| refused())?;
        let memory = Self::mebibytes(number.checked_mul(unit).ok_or_else(refused)?);
        let can_be = (16..=3 * 1024).contains(&memory.mebibytes) && memory.mebibytes.is_multiple_of(2);
        if can_be { Ok(memory) } else { Err(OptionError::OutOfRange(memory)) }
    }
}

/// Processors of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Processors(pub u8);

impl Default for Processors {
    fn default() -> Self {
        Self(1)
    }
}

impl fmt::Display for Processors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Processors {
    type Err = OptionError;

    fn from_str(text: &str) -> Result<Self, OptionError> {
        match text.parse() {
            Ok(count @ 1..=16) => Ok(Self(count)),
            _ => Err(OptionError::NotProcessors(text.to_owned())),
        }
    }
}

/// What a person wants to run as a guest, whose kernel is fetched if none is named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Its kernel.
    pub kernel: Option<PathBuf>,
    /// What that finds first.
    pub initrd: Option<PathBuf>,
    /// What it is told.
    pub command_line: Option<String>,
    /// Its memory.
    pub memory: Memory,
    /// Its processors.
    pub processors: Processors,
}

impl Wish {
    /// Checks the files that a person has named, before anything is built.
    ///
    /// # Errors
    ///
    /// [`GuestError`] if one cannot be read or is no kernel.
    pub fn check(&self) -> Result<(), GuestError> {
        if let Some(kernel) = &self.kernel {
            check_kernel(kernel)?;
        }
        self.initrd.as_ref().map_or(Ok(()), |path| std::fs::File::open(path).map(drop).map_err(GuestError::file(path)))
    }

    /// The guest, with a kernel that was fetched if none is named.
    ///
    /// # Errors
    ///
    /// [`GuestError`].
    pub fn fulfil(self) -> Result<Entry, GuestError> {
        let (kernel, initrd) = match self.kernel {
            Some(kernel) => (kernel, self.initrd),
            None => {
                let fetched = Kernel::Linux.obtain()?;
                (fetched.kernel, Some(self.initrd.unwrap_or(fetched.initrd)))
            }
        };
        Ok(Entry {
            kernel,
            initrd,
            command_line: self.command_line.unwrap_or_else(|| COMMAND_LINE.to_owned()),
            memory: self.memory,
            processors: self.processors,
            ..Entry::default()
        })
    }
}

/// What a section `[guest.NAME]` of a manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its kernel.
    pub kernel: PathBuf,
    /// What that finds first, if anything.
    pub initrd: Option<PathBuf>,
    /// What it is told.
    pub command_line: String,
    /// Its memory.
    pub memory: Memory,
    /// Its processors.
    pub processors: Processors,
    /// The domains whose disks it has.
    pub disks: Vec<String>,
    /// The domain that is the link on which it is, if it has a network card.
    pub link: Option<String>,
    /// Whether it is switched on with the system.
    pub starts: bool,
    /// The domain that may operate it.
    pub console: String,
    /// Further keys, a line each, as they are to stand there.
    pub more: String,
}

impl Default for Entry {
    fn default() -> Self {
        Self {
            kernel: PathBuf::new(),
            initrd: None,
            command_line: COMMAND_LINE.to_owned(),
            memory: Memory::default(),
            processors: Processors::default(),
            disks: Vec::new(),
            link: None,
            starts: true,
            console: "shell".to_owned(),
            more: String::new(),
        }
    }
}

impl Entry {
    /// The section of a guest called `name`. Its files are found wherever the manifest is.
    ///
    /// # Errors
    ///
    /// [`GuestError::File`] if a file is not there.
    pub fn section(&self, name: &str) -> Result<String, GuestError> {
        let path = |path: &PathBuf| {
            let whole = path.canonicalize().map_err(GuestError::file(path))?;
            Ok::<_, GuestError>(Value::from(whole.to_string_lossy().into_owned()))
        };
        let mut text = format!("\n[guest.{name}]\nkernel = {}\n", path(&self.kernel)?);
        // Writing to a string cannot fail.
        if let Some(initrd) = &self.initrd {
            let _ = writeln!(text, "initrd = {}", path(initrd)?);
        }
        let _ = writeln!(text, "command-line = {}", Value::from(self.command_line.as_str()));
        let _ = writeln!(text, "memory = \"{}\"\ncpus = {}", self.memory, self.processors);
        if !self.disks.is_empty() {
            let _ = writeln!(text, "disks = {:?}", self.disks);
        }
        if let Some(link) = &self.link {
            let _ = writeln!(text, "link = {}", Value::from(link.as_str()));
        }
        let _ = writeln!(text, "console = \"{}\"\nautostart = {}\n{}", self.console, self.starts, self.more);
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guests_memory_and_processors_are_checked() {
        assert_eq!("128M".parse(), Ok(Memory::mebibytes(128)));
        assert_eq!("1G".parse(), Ok(Memory::mebibytes(1024)));
        for text in ["", "M", "128", "128K", "1.5G", "-2M", "99999999999999999999M", "18446744073709551615G"] {
            assert_eq!(text.parse::<Memory>(), Err(OptionError::NotMemory(text.to_owned())), "{text}");
        }
        for text in ["14M", "17M", "4G"] {
            assert!(matches!(text.parse::<Memory>(), Err(OptionError::OutOfRange(_))), "{text}");
        }
        assert_eq!("16".parse(), Ok(Processors(16)));
        for text in ["0", "17", "two", ""] {
            assert_eq!(text.parse::<Processors>(), Err(OptionError::NotProcessors(text.to_owned())));
        }
    }

    #[test]
    fn a_section_says_everything_and_what_people_write_stays_within_its_quotes() {
        let folder = tempfile::tempdir().unwrap();
        let kernel = folder.path().join("a \"kernel\"");
        std::fs::write(&kernel, "x").unwrap();
        let entry = Entry {
            kernel: kernel.clone(),
            command_line: "console=ttyS0 dyndbg=\"file a.c +p\"\n[domain.evil]".to_owned(),
            disks: vec!["virtio-blk".to_owned()],
            link: Some("switch".to_owned()),
            starts: false,
            more: "priority = 90".to_owned(),
            ..Entry::default()
        };
        let text = entry.section("linux").unwrap();
        let read: toml_edit::DocumentMut = text.parse().unwrap();
        let guest = &read["guest"]["linux"];
        let whole = kernel.canonicalize().unwrap();
        assert_eq!(read.iter().count(), 1, "{text}");
        assert_eq!(guest["kernel"].as_str(), whole.to_str());
        assert_eq!(guest["command-line"].as_str(), Some(entry.command_line.as_str()));
        assert_eq!(guest["memory"].as_str(), Some("128M"));
        assert_eq!(guest["cpus"].as_integer(), Some(1));
        assert_eq!(guest["disks"][0].as_str(), Some("virtio-blk"));
        assert_eq!(guest["link"].as_str(), Some("switch"));
        assert_eq!(guest["autostart"].as_bool(), Some(false));
        assert_eq!(guest["console"].as_str(), Some("shell"));
        assert_eq!(guest["priority"].as_integer(), Some(90));
        assert!(guest.get("initrd").is_none());
    }

    #[test]
    fn files_that_are_not_there_are_named_before_anything_is_built() {
        let missing = PathBuf::from("/nonexistent/kernel");
        let error = Entry { kernel: missing.clone(), ..Entry::default() }.section("linux").unwrap_err();
        assert!(error.to_string().contains("/nonexistent/kernel"), "{error}");
        let wish = Wish { kernel: Some(missing), ..Wish::default() };
        assert!(matches!(wish.check(), Err(GuestError::File { .. })));
        assert!(Wish::default().check().is_ok());
    }
}
