//! The programs that come from the distribution's packages.

use std::fs;
use std::process::Command;

use super::{announce, attempt};
use crate::progress::Step;
use crate::workspace::find_program;

/// The emulator's program name.
pub const QEMU: &str = "qemu-system-x86_64";

/// A program, the Debian package it comes from, and what it is for.
#[derive(Clone, Copy, Debug)]
struct Need {
    program: &'static str,
    package: &'static str,
    why: &'static str,
}

const NEEDS: [Need; 3] = [
    Need { program: QEMU, package: "qemu-system-x86", why: "it is the machine that Bulkhead boots in" },
    Need {
        program: "fsck.fat",
        package: "dosfstools",
        why: "the tests check with it that Bulkhead leaves its disks in order",
    },
    Need {
        program: "mkfs.ext4",
        package: "e2fsprogs",
        why: "the tests make disks for guests with it, and check what guests leave on them",
    },
];

/// The programs that come from packages, as found on this machine.
#[derive(Debug)]
pub struct Packages;

/// Programs that are missing and could not be installed.
#[derive(Debug)]
pub(super) struct MissingPackages {
    pub(super) reason: String,
    pub(super) commands: Vec<String>,
}

impl Packages {
    /// Each program, where it is (or not), and the package that has it.
    pub fn survey() -> Vec<(&'static str, Option<std::path::PathBuf>, &'static str)> {
        NEEDS.iter().map(|need| (need.program, find_program(need.program), need.package)).collect()
    }

    /// Installs what is missing, if this user and this machine can.
    pub(super) fn ensure() -> Result<(), MissingPackages> {
        let missing: Vec<Need> = NEEDS.into_iter().filter(|need| find_program(need.program).is_none()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
        let by_hand = |why: &str| {
            let programs: Vec<&str> = missing.iter().map(|need| need.program).collect();
            let packages = packages.join(" ");
            MissingPackages {
                reason: format!("Missing: {} ({why}).", programs.join(", ")),
                commands: if find_program("apt-get").is_some() {
                    let sudo = if is_root() { "" } else { "sudo " };
                    vec![
                        format!("{sudo}apt-get update"),
                        format!("{sudo}apt-get install --no-install-recommends {packages}"),
                    ]
                } else {
                    vec![format!("# with this system's package manager, what Debian calls: {packages}")]
                },
            }
        };
        if find_program("apt-get").is_none() {
            return Err(by_hand("this system has no apt-get to install it with"));
        }
        if !is_root() {
            return Err(by_hand("only root may install packages"));
        }
        for need in &missing {
            announce(&format!("the package {}", need.package), need.why);
        }
        let step = Step::start(format!("Installing {}", packages.join(", ")));
        let outcome = install(&step, &packages);
        match outcome {
            Ok(()) if missing.iter().all(|need| find_program(need.program).is_some()) => {
                step.done("");
                Ok(())
            }
            Ok(()) => {
                step.quiet();
                Err(by_hand("apt-get says that it is installed, but it is not on PATH"))
            }
            Err(error) => {
                step.quiet();
                Err(by_hand(&error))
            }
        }
    }
}

fn install(step: &Step, packages: &[&str]) -> Result<(), String> {
    let apt = || {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive").args([
            "-y",
            "-o",
            "Acquire::Retries=2",
            "-o",
            "Acquire::http::Timeout=30",
        ]);
        apt
    };
    let install = || {
        let mut install = apt();
        install.args(["install", "--no-install-recommends"]).args(packages);
        install
    };
    // A fresh machine has no package lists, one in use has them: the short way first.
    if attempt(step, &mut install()).is_ok() {
        return Ok(());
    }
    attempt(step, apt().arg("update"))?;
    attempt(step, &mut install()).map(drop)
}

/// Whether this process may install packages.
pub(super) fn is_root() -> bool {
    // The line reads `Uid:` and then the real, effective, saved and filesystem user ids.
    fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
            ids.split_whitespace().nth(1).map(|effective| effective == "0")
        })
        .unwrap_or(false)
}
