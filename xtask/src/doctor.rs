//! `cargo xtask doctor`: what this machine has, what it lacks, and what its acceleration can do.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use crate::machine::Kvm;
use crate::setup::{LibrarySource, Packages, QEMU, Toolchain};
use crate::workspace;

/// Looks at the machine and writes down what it finds; `healthy` is whether nothing is missing.
#[derive(Debug)]
pub struct Examination {
    /// The findings, one to a line.
    pub text: String,
    /// Whether everything is there that building and booting needs.
    pub healthy: bool,
}

impl Examination {
    /// Examines this machine. Takes up to 5 s the first time, for the acceleration.
    pub fn make() -> Self {
        let mut found = Self { text: String::new(), healthy: true };
        found.toolchain();
        for (program, path, package) in Packages::survey() {
            match path {
                Some(path) => {
                    let version = version(&path).unwrap_or_default();
                    found.line("ok", program, &format!("{} {version}", path.display()));
                }
                None => found.missing(program, &format!("not found; Debian's package {package} has it")),
            }
        }
        found.acceleration();
        found.disk();
        if !found.healthy {
            found.text.push_str("\n`cargo xtask setup` installs what is missing.\n");
        }
        found
    }

    fn line(&mut self, mark: &str, what: &str, text: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{mark:>8}  {what:<20} {}", text.trim_end());
    }

    fn missing(&mut self, what: &str, text: &str) {
        self.healthy = false;
        self.line("MISSING", what, text);
    }

    fn toolchain(&mut self) {
        let toolchain = match Toolchain::of_this_build() {
            Ok(toolchain) => toolchain,
            Err(error) => return self.missing("rustc", &error.to_string()),
        };
        self.line("ok", "rustc", &format!("{} in {}", toolchain.release, toolchain.sysroot.display()));
        match LibrarySource::find(&toolchain) {
            Some(source) => {
                let origin = match &source {
                    LibrarySource::Toolchain(_) => "in the toolchain",
                    LibrarySource::Given(_) => "given by the environment",
                    LibrarySource::Cached(_) => "in the project's cache",
                };
                self.line("ok", "Rust library source", &format!("{origin}: {}", source.path().display()));
            }
            None => self.missing("Rust library source", "neither in the toolchain nor in the project's cache"),
        }
    }

    fn acceleration(&mut self) {
        if crate::workspace::find_program(QEMU).is_none() {
            return;
        }
        self.line("ok", "tcg", "QEMU's own CPU emulation: works everywhere; the default");
        let kvm = Kvm::remembered_or_probed();
        let (mark, choice) = match kvm {
            Kvm::Works => ("ok", "`--accel auto` uses it"),
            _ => ("no", "`--accel auto` uses tcg instead"),
        };
        self.line(mark, "kvm", &format!("{kvm}; {choice}"));
    }

    fn disk(&mut self) {
        let disk = workspace::system_target().join("disk.img");
        let text = if disk.exists() {
            format!("{}; delete it to get a fresh one", disk.display())
        } else {
            "not there yet: the first run makes it".to_owned()
        };
        self.line("ok", "default disk", &text);
        self.line("ok", "cache", &workspace::cache().display().to_string());
    }
}

/// The first line of what a program says about its version.
fn version(program: &Path) -> Option<String> {
    // Asking fsck.fat for its version without a disk is an error to it, but it answers.
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    let line = String::from_utf8_lossy(&text).lines().next()?.trim().to_owned();
    line.contains(|c: char| c.is_ascii_digit()).then(|| format!("({line})"))
}
