//! The packages of Debian's that kernels and their userland come in.

use std::path::{Path, PathBuf};

use crate::progress::Step;
use crate::setup::apt::Apt;

/// The package that depends on the current one of Debian's kernels for cloud machines.
pub(super) const KERNEL: &str = "linux-image-cloud-amd64";
/// How the package of a kernel is called, up to its version.
const KERNEL_OF: &str = "linux-image-";
/// The package of a userland in one program.
pub(super) const BUSYBOX: &str = "busybox-static";

/// Suites of Debian that may have another kernel than this machine's, the likeliest to stay first.
const SUITES: [&str; 3] = ["trixie", "forky", "bookworm"];

/// Downloads into `folder` what `choose` finds: among the lists that the machine's apt has, or if it is not to be had by those, which
/// may be old or not there at all, among fresh ones.
fn of_machine(step: &Step, folder: &Path, choose: impl Fn(&Apt) -> Option<String>) -> Result<PathBuf, String> {
    Apt::check()?;
    let known = Apt::of_machine();
    if let Some(file) = choose(&known).and_then(|package| known.download(step, &package, folder).ok()) {
        return Ok(file);
    }
    let fresh = Apt::of_machine_refreshed(step, folder)?;
    let package = choose(&fresh).ok_or("this machine's apt does not know it")?;
    fresh.download(step, &package, folder)
}

/// Downloads this machine's kernel.
pub(super) fn kernel(step: &Step, folder: &Path) -> Result<PathBuf, String> {
    of_machine(step, folder, |apt| apt.dependency_of(KERNEL))
}

/// Downloads the userland.
pub(super) fn busybox(step: &Step, folder: &Path) -> Result<PathBuf, String> {
    of_machine(step, folder, |_| Some(BUSYBOX.to_owned()))
}

/// Downloads a kernel that is not of this machine's version.
pub(super) fn other_kernel(step: &Step, folder: &Path) -> Result<PathBuf, String> {
    Apt::check()?;
    let machine = Apt::of_machine();
    let (own, mirror) = match (machine.dependency_of(KERNEL), machine.mirror()) {
        (own @ Some(_), Some(mirror)) => (own, mirror),
        // Before the first `apt-get update` the machine's lists say nothing.
        _ => {
            let fresh = Apt::of_machine_refreshed(step, folder)?;
            let mirror = fresh.mirror().ok_or("this machine's apt is not configured with a Debian mirror")?;
            (fresh.dependency_of(KERNEL), mirror)
        }
    };
    let series = |package: &str| series(package).map(str::to_owned);
    let own = own.as_deref().and_then(series);
    let mut refusals = Vec::new();
    for suite in SUITES {
        let fetched = Apt::of_suite(step, folder, &mirror, suite).and_then(|apt| {
            let package = apt.dependency_of(KERNEL).ok_or("it has no such package")?;
            if series(&package) == own {
                return Err(format!("it has {package}, as this machine has"));
            }
            apt.download(step, &package, folder)
        });
        match fetched {
            Ok(file) => return Ok(file),
            Err(reason) => refusals.push(format!("{suite}: {reason}")),
        }
    }
    Err(refusals.join("\n  "))
}

/// The series of a kernel by its package: 6.1 of linux-image-6.1.0-48-cloud-amd64.
fn series(package: &str) -> Option<&str> {
    let version = package.strip_prefix(KERNEL_OF)?;
    let (end, _) = version.match_indices('.').nth(1)?;
    Some(&version[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_told_apart_by_their_series() {
        assert_eq!(series("linux-image-6.1.0-48-cloud-amd64"), Some("6.1"));
        assert_eq!(series("linux-image-6.12.107+deb13-cloud-amd64"), Some("6.12"));
        assert_eq!(series("linux-image-cloud-amd64"), None);
        assert_eq!(series("busybox-static"), None);
    }
}
