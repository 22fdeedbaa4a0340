//! Debian's packages without installing them: fetched by the machine's own apt through lists of the project's own, and
//! unpacked into a folder of the project's own. Needs no root and changes nothing of the machine's configuration.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::attempt;
use crate::progress::Step;
use crate::workspace::find_program;

/// The key that Debian's own installations verify their package lists with.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A folder that is gone when the work in it is over, however it ended.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// A new folder beside `path`, so that what is made in it can be renamed to `path`.
    pub(crate) fn beside(path: &Path) -> Result<Self, String> {
        let folder = path.with_extension(format!("part-{}", std::process::id()));
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Self(folder))
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What could not be removed is only disk space in a cache.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// apt, looking at certain package lists.
#[derive(Debug)]
pub(crate) struct Apt {
    options: Vec<String>,
}

impl Apt {
    /// Says what is missing on a machine that is no Debian.
    pub(crate) fn check() -> Result<(), String> {
        for program in ["apt-get", "apt-cache", "dpkg-deb", "tar"] {
            if find_program(program).is_none() {
                return Err(format!("there is no {program} to get Debian's package with"));
            }
        }
        if !Path::new(KEYRING).is_file() {
            return Err(format!("{KEYRING} is missing, without which Debian's packages cannot be verified"));
        }
        Ok(())
    }

    /// The package lists that the machine's apt has.
    pub(crate) fn of_machine() -> Self {
        Self { options: Vec::new() }
    }

    /// Fresh lists from where the machine's apt gets its own, kept in `scratch`: on a machine that has none yet.
    pub(crate) fn of_machine_refreshed(step: &Step, scratch: &Path) -> Result<Self, String> {
        let apt = Self { options: private_options(&lists(scratch, "machine")?, scratch) };
        step.news("reading the package lists");
        attempt(step, apt.command("apt-get").arg("update"))?;
        Ok(apt)
    }

    /// Only the list of one suite of the mirror at `mirror`, kept in `scratch`.
    pub(crate) fn of_suite(step: &Step, scratch: &Path, mirror: &str, suite: &str) -> Result<Self, String> {
        let source = scratch.join(format!("{suite}.list"));
        let line = format!("deb [signed-by={KEYRING} target=Packages] {mirror} {suite} main\n");
        fs::write(&source, line).map_err(|error| format!("{}: {error}", source.display()))?;
        let mut options = private_options(&lists(scratch, suite)?, scratch);
        for option in
            [format!("Dir::Etc::sourcelist={}", source.display()), "Dir::Etc::sourceparts=/dev/null".to_owned()]
        {
            options.extend(["-o".to_owned(), option]);
        }
        let apt = Self { options };
        step.news(&format!("reading Debian's package list of {suite}"));
        attempt(step, apt.command("apt-get").args(["update", "--error-on=any"]))?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(&self.options);
        command
    }

    fn ask(&self, program: &str, arguments: &[&str]) -> String {
        self.command(program)
            .args(arguments)
            .stderr(Stdio::null())
            .output()
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
            .unwrap_or_default()
    }

    /// The base address of Debian's main archive, as these lists know it.
    pub(crate) fn mirror(&self) -> Option<String> {
        let format = "$(REPO_URI)|$(COMPONENT)|$(ORIGIN)|$(LABEL)";
        choose_mirror(&self.ask("apt-get", &["indextargets", "--format", format, "Created-By: Packages"]))
    }

    /// The version of `package` that packages exactly `release`, if these lists have one.
    pub(crate) fn version_of(&self, package: &str, release: &str) -> Option<String> {
        choose_version(&self.ask("apt-cache", &["madison", package]), release)
    }

    /// The first package that `package` depends on.
    pub(crate) fn dependency_of(&self, package: &str) -> Option<String> {
        self.ask("apt-cache", &["depends", package])
            .lines()
            .find_map(|line| line.trim().strip_prefix("Depends: ").map(str::to_owned))
    }

    /// Downloads `package` (or `package=version`) into `folder` and returns the file.
    pub(crate) fn download(&self, step: &Step, package: &str, folder: &Path) -> Result<PathBuf, String> {
        step.news(&format!("downloading {package}"));
        let place = folder.join("download");
        fs::create_dir_all(&place).map_err(|error| format!("{}: {error}", place.display()))?;
        attempt(
            step,
            self.command("apt-get")
                .args(["-q", "-o", "APT::Sandbox::User=root", "download", package])
                .current_dir(&place),
        )?;
        fs::read_dir(&place)
            .map_err(|error| error.to_string())?
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .ok_or_else(|| format!("apt-get left no package for {package}"))
    }
}

/// Unpacks the files of `package` that match `pattern` into `folder`, without the first `strip` parts of their paths.
pub(crate) fn unpack(package: &Path, pattern: &str, strip: u32, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut files = Command::new("dpkg-deb").arg("--fsys-tarfile").arg(package).stdout(Stdio::piped()).spawn()?;
    let stream = files.stdout.take().expect("its output is a pipe");
    let unpacked = Command::new("tar")
        .args(["--extract", "--wildcards", &format!("--strip-components={strip}")])
        .arg("--directory")
        .arg(folder)
        .arg(pattern)
        .stdin(stream)
        .stderr(Stdio::null())
        .status()?;
    let read = files.wait()?;
    if !unpacked.success() || !read.success() {
        return Err(io::Error::other(format!("dpkg-deb: {read}, tar: {unpacked}")));
    }
    Ok(())
}

fn lists(scratch: &Path, name: &str) -> Result<PathBuf, String> {
    let lists = scratch.join("lists").join(name);
    fs::create_dir_all(lists.join("partial")).map_err(|error| format!("{}: {error}", lists.display()))?;
    Ok(lists)
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

/// Picks from `apt-cache madison` a version that packages exactly `release`.
fn choose_version(madison: &str, release: &str) -> Option<String> {
    madison
        .lines()
        .filter_map(|line| line.split('|').nth(1))
        .map(str::trim)
        .find(|version| version.strip_prefix(release).is_some_and(|rest| rest.starts_with(['+', '-', '~'])))
        .map(str::to_owned)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_main_archive_is_chosen_not_the_security_one_nor_a_third_party() {
        let targets = "http://a/node|main|Node|Node\n\
                       http://b/security|main|Debian|Debian-Security\n\
                       http://c/debian|contrib|Debian|Debian\n\
                       http://d/debian|main|Debian|Debian\n";
        assert_eq!(choose_mirror(targets).as_deref(), Some("http://d/debian"));
    }

    #[test]
    fn without_a_debian_mirror_none_is_chosen() {
        assert_eq!(choose_mirror("http://a/ubuntu|main|Ubuntu|Ubuntu\n"), None);
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
