//! Cargo's further subcommands, which are installed into the target folder when they are first needed.

use std::env;
use std::ffi::OsString;
use std::process::Stdio;

use crate::workspace;

/// A subcommand of cargo's.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    /// Its crate, and its program.
    pub name: &'static str,
    /// The release that is installed where there is none.
    pub version: &'static str,
    /// What it is needed for.
    pub purpose: &'static str,
}

/// It is missing and cannot be installed.
#[derive(Debug, thiserror::Error)]
#[error("{name} is missing and could not be installed; `cargo install {name} --version {version}` installs it")]
pub struct NoTool {
    name: &'static str,
    version: &'static str,
}

impl Tool {
    /// Makes sure that it is there; returns the search path on which it is.
    ///
    /// # Errors
    ///
    /// [`NoTool`].
    pub fn install(&self) -> Result<OsString, NoTool> {
        let Self { name, version, purpose } = *self;
        let tools = workspace::target().join("tools");
        let bin = tools.join("bin");
        let old = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths(std::iter::once(bin.clone()).chain(env::split_paths(&old))).unwrap_or(old);
        if bin.join(name).is_file() || workspace::find_program(name).is_some() {
            return Ok(path);
        }
        eprintln!("Installing {name} {version} into {}\n  because {purpose}.", tools.display());
        let mut cargo = workspace::cargo();
        cargo.args(["install", "--quiet", "--locked", name, "--version", version, "--root"]).arg(&tools);
        cargo.arg("--target-dir").arg(tools.join("build")).stdin(Stdio::null());
        let installed = cargo.status().is_ok_and(|status| status.success());
        if installed { Ok(path) } else { Err(NoTool { name, version }) }
    }
}
