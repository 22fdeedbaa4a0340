//! Where things are: the source tree, cargo's target folder and the project's own cache.

use std::collections::BTreeMap;
use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The root of the source tree: the folder that holds `system.toml` and the workspace's `Cargo.toml`.
pub fn root() -> PathBuf {
    // The manifest folder is known when the crate is compiled; a tree that was moved since is found again because
    // cargo recompiles a crate whose path changed.
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the xtask crate lies in a folder of the workspace")
        .to_path_buf()
}

/// Cargo's target folder: `CARGO_TARGET_DIR` if it is set, `target/` in the source tree otherwise.
pub fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(folder) if !folder.is_empty() => root().join(folder),
        _ => root().join("target"),
    }
}

/// The folder for everything that is built for the machine: ELF files, boot archive, images, the default disk.
pub fn system_target() -> PathBuf {
    target().join("bulkhead")
}

/// The project's cache for what it downloads: `$BULKHEAD_CACHE`, or `bulkhead/` below `$XDG_CACHE_HOME` or
/// `~/.cache`; the target folder where there is no home.
pub fn cache() -> PathBuf {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(folder) = absolute("BULKHEAD_CACHE") {
        return folder;
    }
    if let Some(folder) = absolute("XDG_CACHE_HOME") {
        return folder.join("bulkhead");
    }
    match absolute("HOME") {
        Some(home) => home.join(".cache/bulkhead"),
        None => target().join("cache"),
    }
}

/// The `cargo` that runs this program, so that what it starts is the same toolchain.
pub fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    // What an outer cargo said about its own build is not true of the builds started from here.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_")
            || text.starts_with("CARGO_MANIFEST_")
            || text.starts_with("CARGO_BIN_")
            || matches!(
                text.as_ref(),
                "RUSTFLAGS" | "CARGO_ENCODED_RUSTFLAGS" | "CARGO_BUILD_TARGET" | "CARGO_CRATE_NAME"
            )
        {
            cargo.env_remove(&name);
        }
    }
    cargo
}

/// The workspace as cargo describes it.
#[derive(Clone, Debug)]
pub struct Members {
    metadata: Value,
}

impl Members {
    /// Asks cargo.
    ///
    /// # Errors
    ///
    /// If cargo cannot be started or does not understand the workspace.
    pub fn ask() -> io::Result<Self> {
        Self::of(&root())
    }

    /// Asks cargo about the workspace in `folder`.
    ///
    /// # Errors
    ///
    /// As [`Members::ask`].
    pub fn of(folder: &Path) -> io::Result<Self> {
        let output = cargo()
            .args(["metadata", "--no-deps", "--format-version=1", "--offline", "--manifest-path"])
            .arg(folder.join("Cargo.toml"))
            .output()?;
        if !output.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        Ok(Self { metadata: serde_json::from_slice(&output.stdout)? })
    }

    fn packages(&self) -> impl Iterator<Item = &Value> {
        self.metadata["packages"].as_array().into_iter().flatten()
    }

    /// Every program that a crate of the workspace builds, by name, with the crate's name.
    pub fn programs(&self) -> BTreeMap<String, String> {
        let is_program =
            |target: &Value| target["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "bin"));
        let mut programs = BTreeMap::new();
        for package in self.packages() {
            for target in package["targets"].as_array().into_iter().flatten().filter(|target| is_program(target)) {
                if let (Some(program), Some(package)) = (target["name"].as_str(), package["name"].as_str()) {
                    programs.insert(program.to_owned(), package.to_owned());
                }
            }
        }
        programs
    }

    /// The crates that a plain `cargo test` covers: those that run on the host.
    pub fn of_host(&self) -> Vec<String> {
        self.folders_of_host().into_iter().map(|(name, _)| name).collect()
    }

    /// The same with their folders.
    pub fn folders_of_host(&self) -> Vec<(String, PathBuf)> {
        let defaults = self.metadata["workspace_default_members"].as_array();
        self.packages()
            .filter(|package| defaults.is_some_and(|ids| ids.contains(&package["id"])))
            .filter_map(|package| {
                let folder = Path::new(package["manifest_path"].as_str()?).parent()?;
                Some((package["name"].as_str()?.to_owned(), folder.to_path_buf()))
            })
            .collect()
    }
}

/// A program found on `PATH` or, since Debian keeps disk tools out of a user's `PATH`, in the `sbin` folders.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
}
