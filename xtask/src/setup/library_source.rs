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

use super::{ByHand, SetupError, announce, attempt};
use crate::progress::Step;
use crate::workspace::{self, find_program};

/// Suites of Debian that may hold the source of this compiler, the likeliest first.
const SUITES: [&str; 3] = ["trixie-backports", "forky", "sid"];

/// The key that Debian's own installations verify their package lists with.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

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
    for program in ["apt-get", "apt-cache", "dpkg-deb", "tar"] {
        if find_program(program).is_none() {
            return Err(format!("there is no {program} to get Debian's package with"));
        }
    }
    if !Path::new(KEYRING).is_file() {
        return Err(format!("{KEYRING} is missing, without which Debian's packages cannot be verified"));
    }
    let step = Step::start("Fetching the library's source from Debian's package rust-src");
    let outcome = fetch_package(&step, toolchain);
    match outcome {
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
    let scratch = Scratch::create(home).map_err(|e| format!("{}: {e}", home.display()))?;
    let mirror = mirror(step, scratch.path())?;
    let mut refusals = Vec::new();
    for suite in SUITES {
        let apt = match PrivateList::read(step, scratch.path(), &mirror, suite) {
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
        step.news(&format!("downloading rust-src {version}"));
        attempt(
            step,
            apt.apt("apt-get").args(["-q", "download", &format!("rust-src={version}")]).current_dir(scratch.path()),
        )?;
        step.news("unpacking");
        unpack(scratch.path(), home).map_err(|e| format!("cannot unpack rust-src {version}: {e}"))?;
        return Ok(version);
    }
    Err(refusals.join("\n  "))
}

/// A folder that is gone when the work in it is over, however it ended.
struct Scratch(PathBuf);

impl Scratch {
    fn create(beside: &Path) -> io::Result<Self> {
        let folder = beside.with_extension(format!("part-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What could not be removed is only disk space in a cache.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The base address of the Debian mirror that this machine's apt is configured with.
fn mirror(step: &Step, scratch: &Path) -> Result<String, String> {
    let targets = |options: &[String]| -> Option<String> {
        let output = Command::new("apt-get")
            .args(options)
            .args([
                "indextargets",
                "--format",
                "$(REPO_URI)|$(COMPONENT)|$(ORIGIN)|$(LABEL)|$(SIGNED_BY)",
                "Created-By: Packages",
            ])
            .output()
            .ok()?;
        choose_mirror(&String::from_utf8_lossy(&output.stdout))
    };
    if let Some(mirror) = targets(&[]) {
        return Ok(mirror);
    }
    // Before the first `apt-get update` the lists say nothing about who signed them; read them into a folder of our
    // own, which needs no root.
    let lists = scratch.join("machine-lists");
    fs::create_dir_all(lists.join("partial")).map_err(|e| format!("{}: {e}", lists.display()))?;
    let options = private_options(&lists, scratch);
    attempt(step, Command::new("apt-get").args(&options).arg("update"))?;
    targets(&options).ok_or_else(|| "this machine's apt is not configured with a Debian mirror".to_owned())
}

/// Picks Debian's main archive, not its security archive nor somebody else's, from what apt knows.
fn choose_mirror(targets: &str) -> Option<String> {
    targets.lines().find_map(|line| {
        let mut fields = line.split('|');
        let uri = fields.next()?;
        let (component, origin, label) = (fields.next()?, fields.next()?, fields.next()?);
        (component == "main" && origin == "Debian" && label == "Debian").then(|| uri.to_owned())
    })
}

/// Options by which apt keeps its lists and downloads in folders of the project.
fn private_options(lists: &Path, cache: &Path) -> Vec<String> {
    [
        format!("Dir::State::Lists={}", lists.display()),
        format!("Dir::Cache={}", cache.display()),
        // Downloads happen as the user who asked: `_apt` may not enter a home folder.
        "APT::Sandbox::User=root".to_owned(),
        "Acquire::Languages=none".to_owned(),
        "Acquire::Retries=1".to_owned(),
        "Acquire::http::Timeout=30".to_owned(),
        "Acquire::https::Timeout=30".to_owned(),
    ]
    .into_iter()
    .flat_map(|option| ["-o".to_owned(), option])
    .collect()
}

/// apt, looking only at one suite of one mirror.
struct PrivateList {
    options: Vec<String>,
}

impl PrivateList {
    fn read(step: &Step, scratch: &Path, mirror: &str, suite: &str) -> Result<Self, String> {
        let lists = scratch.join(suite);
        fs::create_dir_all(lists.join("partial")).map_err(|e| format!("{}: {e}", lists.display()))?;
        let source = scratch.join(format!("{suite}.list"));
        let line = format!("deb [signed-by={KEYRING} target=Packages] {mirror} {suite} main\n");
        fs::write(&source, line).map_err(|e| format!("{}: {e}", source.display()))?;
        let mut options = private_options(&lists, scratch);
        for option in
            [format!("Dir::Etc::sourcelist={}", source.display()), "Dir::Etc::sourceparts=/dev/null".to_owned()]
        {
            options.extend(["-o".to_owned(), option]);
        }
        let list = Self { options };
        step.news(&format!("reading Debian's package list of {suite}"));
        attempt(step, list.apt("apt-get").args(["update", "--error-on=any"]))?;
        Ok(list)
    }

    fn apt(&self, program: &str) -> Command {
        let mut apt = Command::new(program);
        apt.args(&self.options);
        apt
    }

    /// The version of `package` that packages `release`, if the suite has it.
    fn version_of(&self, package: &str, release: &str) -> Option<String> {
        let output = self.apt("apt-cache").args(["madison", package]).output().ok()?;
        choose_version(&String::from_utf8_lossy(&output.stdout), release)
    }
}

/// Picks from `apt-cache madison` a version that packages exactly `release`.
fn choose_version(madison: &str, release: &str) -> Option<String> {
    madison
        .lines()
        .filter_map(|line| line.split('|').nth(1))
        .map(str::trim)
        .find(|version| version.strip_prefix(release).is_some_and(|rest| rest.starts_with(['+', '-', '~'])))
        .map(str::to_owned)
}

/// Unpacks `library/` of the package in `scratch` so that `home` appears complete or not at all.
fn unpack(scratch: &Path, home: &Path) -> io::Result<()> {
    let package = fs::read_dir(scratch)?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .ok_or_else(|| io::Error::other("apt-get left no package"))?;
    let tree = scratch.join("tree");
    fs::create_dir_all(&tree)?;
    let mut files = Command::new("dpkg-deb").arg("--fsys-tarfile").arg(&package).stdout(Stdio::piped()).spawn()?;
    let stream = files.stdout.take().expect("its output is a pipe");
    let unpacked = Command::new("tar")
        .args(["--extract", "--wildcards", "--strip-components=4"])
        .arg("--directory")
        .arg(&tree)
        .arg("./usr/src/*/library/*")
        .stdin(stream)
        .stderr(Stdio::null())
        .status()?;
    let read = files.wait()?;
    if !unpacked.success() || !read.success() {
        return Err(io::Error::other(format!("dpkg-deb: {read}, tar: {unpacked}")));
    }
    if !tree.join("library/core/src/lib.rs").is_file() {
        return Err(io::Error::other("the package holds no library/core"));
    }
    match fs::remove_dir_all(home) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::rename(tree, home)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_main_archive_is_chosen_not_the_security_one_nor_a_third_party() {
        let targets = "http://a/node|main|Node|Node|x\n\
                       http://b/security|main|Debian|Debian-Security|x\n\
                       http://c/debian|contrib|Debian|Debian|x\n\
                       http://d/debian|main|Debian|Debian|x\n";
        assert_eq!(choose_mirror(targets).as_deref(), Some("http://d/debian"));
    }

    #[test]
    fn without_a_debian_mirror_none_is_chosen() {
        assert_eq!(choose_mirror("http://a/ubuntu|main|Ubuntu|Ubuntu|x\n"), None);
        assert_eq!(choose_mirror(""), None);
        assert_eq!(choose_mirror("http://c/debian\n"), None);
    }

    #[test]
    fn only_the_very_release_is_taken() {
        let madison = " rust-src | 1.95.01+dfsg1-1 | x\n rust-src | 1.95.0+dfsg1-2~bpo13+1 | x\n";
        assert_eq!(choose_version(madison, "1.95.0").as_deref(), Some("1.95.0+dfsg1-2~bpo13+1"));
        assert_eq!(choose_version(madison, "1.94.0"), None);
    }
}
