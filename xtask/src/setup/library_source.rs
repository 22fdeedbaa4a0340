//! The source of the Rust library, from which `core` and `alloc` are built for the bare machine.
//!
//! rustup's `rust-src` component is the ordinary place. Where rustup cannot or may not fetch it, Debian packages the
//! same source; it is then taken from the mirror that the machine's apt already uses, through a package list of the
//! project's own, and unpacked into the project's cache. Nothing of the machine's configuration is changed.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::apt::{self, Apt, Scratch};
use super::{ByHand, SetupError, announce, attempt};
use crate::progress::Step;
use crate::workspace::{self, find_program};

/// Suites of Debian that may hold the source of this compiler, the likeliest first.
const SUITES: [&str; 3] = ["trixie-backports", "forky", "sid"];

/// The variable by which cargo takes the library's source from elsewhere than the toolchain.
const SOURCE_VARIABLE: &str = "__CARGO_TESTS_ONLY_SRC_ROOT";

/// The compiler that builds the system.
#[derive(Clone, Debug)]
pub struct Toolchain {
    /// The release, such as `1.95.0`.
    pub release: String,
    /// The commit, which tells two builds of a release apart.
    pub commit: String,
    /// The folder the toolchain is installed in.
    pub sysroot: PathBuf,
}

impl Toolchain {
    /// The toolchain that this source tree asks for, as `rustc` itself describes it.
    ///
    /// # Errors
    ///
    /// [`SetupError::Start`] if there is no `rustc`, [`SetupError::UnknownCompiler`] if its answer is not understood.
    pub fn of_this_build() -> Result<Self, SetupError> {
        let ask = |arguments: &[&str]| {
            Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
                .args(arguments)
                .current_dir(workspace::root())
                .stderr(Stdio::inherit())
                .output()
                .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
                .map_err(|source| SetupError::Start { program: "rustc", source })
        };
        let answer = ask(&["-vV"])?;
        let field =
            |name: &str| answer.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned());
        let sysroot = PathBuf::from(ask(&["--print", "sysroot"])?.trim());
        match (field("release:"), field("commit-hash:")) {
            (Some(release), Some(commit)) if sysroot.is_absolute() => Ok(Self { release, commit, sysroot }),
            _ => Err(SetupError::UnknownCompiler(answer)),
        }
    }
}

/// Where cargo finds the source of the Rust library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LibrarySource {
    /// In the toolchain itself, as rustup's component `rust-src` puts it.
    Toolchain(PathBuf),
    /// In a folder that whoever started us named.
    Given(PathBuf),
    /// In the project's cache.
    Cached(PathBuf),
}

impl LibrarySource {
    /// Looks for a source of `toolchain`'s library that is already there.
    pub fn find(toolchain: &Toolchain) -> Option<Self> {
        let complete = |library: &Path| library.join("core/src/lib.rs").is_file();
        if let Some(given) = env::var_os(SOURCE_VARIABLE).map(PathBuf::from)
            && complete(&given)
        {
            return Some(Self::Given(given));
        }
        let own = toolchain.sysroot.join("lib/rustlib/src/rust/library");
        if complete(&own) {
            return Some(Self::Toolchain(own));
        }
        let cached = cached_library(toolchain);
        complete(&cached).then_some(Self::Cached(cached))
    }

    /// Fetches the source of `toolchain`'s library: by rustup if it may, from Debian otherwise.
    ///
    /// # Errors
    ///
    /// [`SetupError::ByHand`] if neither way works here.
    pub fn fetch(toolchain: &Toolchain) -> Result<Self, SetupError> {
        announce(
            &format!("the source of the Rust library {}", toolchain.release),
            "the parts of it that need no operating system are built for the bare machine",
        );
        let mut reasons = Vec::new();
        match from_rustup() {
            Ok(()) => {
                if let Some(source) = Self::find(toolchain) {
                    return Ok(source);
                }
                reasons.push("rustup did not put it where this compiler looks".to_owned());
            }
            Err(reason) => reasons.push(reason),
        }
        match from_debian(toolchain) {
            Ok(()) => {
                if let Some(source) = Self::find(toolchain) {
                    return Ok(source);
                }
                reasons.push("Debian's package does not hold the library".to_owned());
            }
            Err(reason) => reasons.push(reason),
        }
        Err(SetupError::ByHand(ByHand {
            reasons: vec![format!(
                "Missing: the source of the Rust library {}.\n  {}",
                toolchain.release,
                reasons.join("\n  ")
            )],
            commands: vec!["rustup component add rust-src".to_owned()],
        }))
    }

    /// Tells `cargo` to build the library from here.
    pub fn apply(&self, cargo: &mut Command) {
        match self {
            Self::Toolchain(_) => {}
            Self::Given(library) | Self::Cached(library) => {
                cargo.env(SOURCE_VARIABLE, library);
            }
        }
    }

    /// The folder that holds the library's crates.
    pub fn path(&self) -> &Path {
        match self {
            Self::Toolchain(path) | Self::Given(path) | Self::Cached(path) => path,
        }
    }
}

fn cached_library(toolchain: &Toolchain) -> PathBuf {
    let commit = &toolchain.commit[..toolchain.commit.len().min(9)];
    workspace::cache().join(format!("rust-{}-{commit}", toolchain.release)).join("library")
}

fn from_rustup() -> Result<(), String> {
    // Whoever sets this does not want the toolchain changed behind their back; the cache serves as well.
    if env::var_os("RUSTUP_AUTO_INSTALL").is_some_and(|value| value == "0") {
        return Err("rustup was not asked: RUSTUP_AUTO_INSTALL=0 says to leave the toolchain alone".to_owned());
    }
    if find_program("rustup").is_none() {
        return Err("there is no rustup to fetch it with".to_owned());
    }
    let step = Step::start("Fetching the library's source by rustup");
    let outcome = attempt(
        &step,
        Command::new("rustup")
            .args(["component", "add", "rust-src"])
            .env("RUSTUP_MAX_RETRIES", "1")
            .current_dir(workspace::root()),
    );
    match outcome {
        Ok(_) => {
            step.done("");
            Ok(())
        }
        Err(reason) => {
            step.quiet();
            Err(reason)
        }
    }
}

/// Downloads Debian's `rust-src` of exactly this release and unpacks its `library/` into the cache.
fn from_debian(toolchain: &Toolchain) -> Result<(), String> {
    Apt::check()?;
    let step = Step::start("Fetching the library's source from Debian's package rust-src");
    match fetch_package(&step, toolchain) {
        Ok(version) => {
            step.done(&version);
            Ok(())
        }
        Err(reason) => {
            step.quiet();
            Err(reason)
        }
    }
}

fn fetch_package(step: &Step, toolchain: &Toolchain) -> Result<String, String> {
    let library = cached_library(toolchain);
    let home = library.parent().expect("the library lies in a folder of its own");
    let scratch = Scratch::beside(home)?;
    let mirror = match Apt::of_machine().mirror() {
        Some(mirror) => mirror,
        // Before the first `apt-get update` the machine's lists do not say whose they are.
        None => Apt::of_machine_refreshed(step, scratch.path())?
            .mirror()
            .ok_or("this machine's apt is not configured with a Debian mirror")?,
    };
    let mut refusals = Vec::new();
    for suite in SUITES {
        let apt = match Apt::of_suite(step, scratch.path(), &mirror, suite) {
            Ok(apt) => apt,
            // A mirror that cannot be reached for one suite cannot be for the next.
            Err(reason) if refusals.is_empty() => return Err(reason),
            Err(reason) => {
                refusals.push(format!("{suite}: {reason}"));
                continue;
            }
        };
        let Some(version) = apt.version_of("rust-src", &toolchain.release) else {
            refusals.push(format!("{suite} has no rust-src {}", toolchain.release));
            continue;
        };
        let package = apt.download(step, &format!("rust-src={version}"), scratch.path())?;
        step.news("unpacking");
        unpack_library(&package, &scratch.path().join("tree"), home)
            .map_err(|error| format!("cannot unpack rust-src {version}: {error}"))?;
        return Ok(version);
    }
    Err(refusals.join("\n  "))
}

/// Unpacks `library/` of `package` so that `home` appears complete or not at all.
fn unpack_library(package: &Path, tree: &Path, home: &Path) -> io::Result<()> {
    apt::unpack(package, "./usr/src/*/library/*", 4, tree)?;
    if !tree.join("library/core/src/lib.rs").is_file() {
        return Err(io::Error::other("the package holds no library/core"));
    }
    match fs::remove_dir_all(home) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::rename(tree, home)
}
