//! A Linux kernel to compare with: Debian's for cloud machines, with a first user process of a few instructions.

use std::fs;
use std::path::{Path, PathBuf};

use crate::machine::Machine;
use crate::machine::handmade::executable;
use crate::progress::Step;
use crate::setup::apt::{self, Apt, Scratch};
use crate::workspace;

/// What the first user process says.
pub(super) const FIRST_WORDS: &str = "first user process";

/// The kernel's command line: `quiet`, because every character on an emulated serial line costs time.
pub(super) const COMMAND_LINE: &str = "console=ttyS0 quiet";

/// The package that depends on the current one of Debian's kernels for cloud machines.
const PACKAGE: &str = "linux-image-cloud-amd64";

/// The kernel, unpacked into the project's cache.
#[derive(Debug)]
pub(super) struct Linux {
    /// Its version, as its file is called.
    pub(super) version: String,
    kernel: PathBuf,
    initial_disk: PathBuf,
}

impl Linux {
    /// The kernel in the cache, downloaded first if there is none.
    pub(super) fn fetch() -> Result<Self, String> {
        let home = workspace::cache().join("linux");
        let version = match version_in(&home) {
            Some(version) => version,
            None => {
                let step = Step::start(format!("Fetching Debian's {PACKAGE} to compare with"));
                match download(&step, &home) {
                    Ok(()) => step.done(""),
                    Err(reason) => {
                        step.quiet();
                        return Err(reason);
                    }
                }
                version_in(&home).ok_or("the package holds no kernel")?
            }
        };
        let initial_disk = home.join("first-process.cpio");
        fs::write(&initial_disk, initial_disk_archive())
            .map_err(|error| format!("{}: {error}", initial_disk.display()))?;
        Ok(Self { kernel: home.join(format!("vmlinuz-{version}")), initial_disk, version })
    }

    /// The same machine that Bulkhead gets, with this kernel.
    pub(super) fn machine(&self) -> Machine {
        let mut machine = Machine::new(&self.kernel);
        machine.extra = vec!["-initrd".into(), self.initial_disk.clone().into(), "-append".into(), COMMAND_LINE.into()];
        machine
    }
}

fn version_in(home: &Path) -> Option<String> {
    fs::read_dir(home)
        .ok()?
        .filter_map(Result::ok)
        .find_map(|entry| entry.file_name().to_str()?.strip_prefix("vmlinuz-").map(str::to_owned))
}

fn download(step: &Step, home: &Path) -> Result<(), String> {
    Apt::check()?;
    let scratch = Scratch::beside(home)?;
    let mut apt = Apt::of_machine();
    let package = match apt.dependency_of(PACKAGE) {
        Some(package) => package,
        None => {
            apt = Apt::of_machine_refreshed(step, scratch.path())?;
            apt.dependency_of(PACKAGE).ok_or_else(|| format!("this machine's apt does not know {PACKAGE}"))?
        }
    };
    let file = apt.download(step, &package, scratch.path())?;
    let tree = scratch.path().join("tree");
    apt::unpack(&file, "./boot/vmlinuz-*", 2, &tree)
        .and_then(|()| match fs::remove_dir_all(home) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => fs::rename(&tree, home),
        })
        .map_err(|error| format!("cannot unpack {package}: {error}"))
}

/// The archive from which Linux fills its first filesystem: the console and the program.
fn initial_disk_archive() -> Vec<u8> {
    const FOLDER: u32 = 0o040_755;
    const CHARACTER_DEVICE: u32 = 0o020_600;
    const PROGRAM: u32 = 0o100_755;
    let mut archive = Vec::new();
    for (number, (name, mode, device, contents)) in [
        ("dev", FOLDER, (0, 0), Vec::new()),
        ("dev/console", CHARACTER_DEVICE, (5, 1), Vec::new()),
        ("init", PROGRAM, (0, 0), first_process()),
        ("TRAILER!!!", 0, (0, 0), Vec::new()),
    ]
    .into_iter()
    .enumerate()
    {
        // The "new ASCII" format of cpio: a magic number and 13 fields of eight hexadecimal digits.
        archive.extend(*b"070701");
        let fields = [
            number as u32 + 1,
            mode,
            0, // user
            0, // group
            1, // links
            0, // time
            contents.len() as u32,
            0, // major and minor number of the device that it lay on
            0,
            device.0,
            device.1,
            name.len() as u32 + 1,
            0, // checksum, not used
        ];
        for field in fields {
            archive.extend(format!("{field:08x}").bytes());
        }
        archive.extend(name.bytes());
        archive.push(0);
        archive.resize(archive.len().next_multiple_of(4), 0);
        archive.extend(contents);
        archive.resize(archive.len().next_multiple_of(4), 0);
    }
    archive
}

/// A program that writes [`FIRST_WORDS`] and then waits for signals for ever.
fn first_process() -> Vec<u8> {
    const LOAD_ADDRESS: u32 = 0x40_0000;
    let text = format!("{FIRST_WORDS}\n");
    #[rustfmt::skip]
    let mut code = vec![
        0xb8, 1, 0, 0, 0,                         // mov  eax, 1       write
        0xbf, 1, 0, 0, 0,                         // mov  edi, 1       to standard output
        0x48, 0x8d, 0x35, 16, 0, 0, 0,            // lea  rsi, [rip + 16]
        0xba, text.len() as u8, 0, 0, 0,          // mov  edx, length
        0x0f, 0x05,                               // syscall
        0xb8, 34, 0, 0, 0,                        // mov  eax, 34      pause
        0x0f, 0x05,                               // syscall
        0xeb, 0xf7,                               // jmp  back to the pause
    ];
    code.extend(text.bytes());
    executable(LOAD_ADDRESS, &code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::process::{Command, Stdio};

    #[test]
    fn the_first_process_says_its_words_and_waits() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("init");
        fs::write(&program, first_process()).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let mut process = Command::new(&program).stdout(Stdio::piped()).spawn().unwrap();
        let mut words = vec![0; FIRST_WORDS.len()];
        std::io::Read::read_exact(process.stdout.as_mut().unwrap(), &mut words).unwrap();
        assert_eq!(words, FIRST_WORDS.as_bytes());
        assert!(process.try_wait().unwrap().is_none(), "it ended");
        process.kill().unwrap();
        process.wait().unwrap();
    }

    #[test]
    fn the_archive_is_made_of_aligned_members_and_a_trailer() {
        let archive = initial_disk_archive();
        assert!(archive.len().is_multiple_of(4));
        assert!(archive.starts_with(b"070701"));
        let text = String::from_utf8_lossy(&archive);
        for name in ["dev\0", "dev/console\0", "init\0", "TRAILER!!!\0"] {
            assert!(text.contains(name), "{name}");
        }
    }
}
