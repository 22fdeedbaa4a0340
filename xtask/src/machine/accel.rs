//! Finding out whether KVM runs guests on this machine.
//!
//! A device node that opens proves nothing: nested and paravirtual KVMs exist that accept a guest and then never get
//! anywhere. So `auto` believes only what it saw: a guest of a few instructions that ends QEMU with a status of its
//! own. The answer is kept in the project's cache, for this boot of this machine.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::handmade::executable;
use super::{Accel, EXIT_PORT};
use crate::setup::QEMU;
use crate::workspace::{self, find_program};

/// How long the small guest may take. Where KVM works it needs a few tenths of a second.
const PROBE_LIMIT: Duration = Duration::from_secs(5);

/// The byte that the small guest writes to the exit port.
const PROBE_BYTE: u8 = 0x10;

/// Who executes the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// QEMU's own CPU emulation.
    Tcg,
    /// The host's virtualization.
    Kvm,
}

impl Accelerator {
    /// QEMU's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcg => "tcg",
            Self::Kvm => "kvm",
        }
    }

    /// What a person's choice comes to on this machine. Only [`Accel::Auto`] looks at the machine.
    pub fn choose(wish: Accel) -> Self {
        match wish {
            Accel::Tcg => Self::Tcg,
            Accel::Kvm => Self::Kvm,
            Accel::Auto => match Kvm::remembered_or_probed() {
                Kvm::Works => Self::Kvm,
                _ => Self::Tcg,
            },
        }
    }
}

/// What is known about this machine's KVM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kvm {
    /// There is no `/dev/kvm`.
    Absent,
    /// `/dev/kvm` may not be opened; holds the reason.
    Forbidden(String),
    /// QEMU refuses to use it; holds what it said.
    Refused(String),
    /// A guest of a few instructions did not come to its end within the limit.
    Stuck,
    /// The small guest ran.
    Works,
}

impl Kvm {
    /// The answer of an earlier probe on this boot of this machine, or of one made now (at most 5 s).
    pub fn remembered_or_probed() -> Self {
        let device = Path::new("/dev/kvm");
        if !device.exists() {
            return Self::Absent;
        }
        if let Err(error) = fs::OpenOptions::new().read(true).write(true).open(device) {
            return Self::Forbidden(error.to_string());
        }
        let memory = memory_file();
        match fs::read_to_string(&memory).as_deref().map(str::trim) {
            Ok("works") => return Self::Works,
            Ok("stuck") => return Self::Stuck,
            _ => {}
        }
        let answer = Self::probe().unwrap_or_else(|error| Self::Refused(error.to_string()));
        let word = match answer {
            Self::Works => "works\n",
            Self::Stuck => "stuck\n",
            // A refusal is quick to find out again, and may have been mended.
            _ => return answer,
        };
        // An answer that cannot be kept is asked for again, nothing worse.
        let _ = fs::create_dir_all(workspace::cache()).and_then(|()| fs::write(memory, word));
        answer
    }

    fn probe() -> io::Result<Self> {
        let guest = workspace::cache().join(format!("kvm-probe-{}.elf", std::process::id()));
        fs::create_dir_all(workspace::cache())?;
        fs::write(&guest, small_guest())?;
        let answer = Self::run_small_guest(&guest);
        fs::remove_file(&guest)?;
        answer
    }

    fn run_small_guest(guest: &Path) -> io::Result<Self> {
        let mut qemu = Command::new(find_program(QEMU).unwrap_or_else(|| QEMU.into()))
            .args(["-machine", "q35", "-accel", "kvm", "-cpu", "max", "-m", "64M"])
            .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
            .args(["-device", &format!("isa-debug-exit,iobase={EXIT_PORT:#x},iosize=0x04")])
            .arg("-kernel")
            .arg(guest)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let deadline = Instant::now() + PROBE_LIMIT;
        while qemu.try_wait()?.is_none() {
            if Instant::now() > deadline {
                qemu.kill()?;
                qemu.wait()?;
                return Ok(Self::Stuck);
            }
            thread::sleep(Duration::from_millis(20));
        }
        let output = qemu.wait_with_output()?;
        if output.status.code() == Some(i32::from(PROBE_BYTE) * 2 + 1) {
            return Ok(Self::Works);
        }
        Ok(Self::Refused(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}

impl std::fmt::Display for Kvm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Absent => f.write_str("there is no /dev/kvm"),
            Self::Forbidden(reason) => write!(f, "/dev/kvm cannot be opened: {reason}"),
            Self::Refused(reason) => write!(f, "QEMU does not use it: {reason}"),
            Self::Stuck => {
                write!(f, "it opens, but a guest of a few instructions did not finish in {} s", PROBE_LIMIT.as_secs())
            }
            Self::Works => f.write_str("works: a small guest ran"),
        }
    }
}

/// Where the answer is kept: it is true of this boot of this machine only.
fn memory_file() -> PathBuf {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    workspace::cache().join(format!("kvm-{}", boot.trim()))
}

/// A guest of a few instructions: reads the CPU's identity and a register of its interrupt controller, both of which
/// need the hypervisor's help, then writes [`PROBE_BYTE`] to the exit port.
fn small_guest() -> Vec<u8> {
    const LOAD_ADDRESS: u32 = 0x10_0000;
    #[rustfmt::skip]
    let code = [
        0x31, 0xc0,                               // xor  eax, eax
        0x0f, 0xa2,                               // cpuid
        0xa1, 0x30, 0x00, 0xe0, 0xfe,             // mov  eax, [0xfee00030]   version of the local APIC
        0xb0, PROBE_BYTE,                         // mov  al, PROBE_BYTE
        0xe6, EXIT_PORT as u8,                    // out  EXIT_PORT, al
        0xf4,                                     // hlt
        0xeb, 0xfd,                               // jmp  to the hlt
    ];
    executable(LOAD_ADDRESS, &code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_small_guest_ends_qemu_with_its_own_status_where_the_cpu_is_emulated() {
        let Some(qemu) = find_program(QEMU) else {
            panic!("{QEMU} is missing: run `cargo xtask setup`");
        };
        let folder = tempfile::tempdir().unwrap();
        let guest = folder.path().join("guest.elf");
        fs::write(&guest, small_guest()).unwrap();
        let status = Command::new(qemu)
            .args(["-machine", "q35", "-accel", "tcg", "-cpu", "max", "-nodefaults"])
            .args(["-display", "none", "-no-reboot"])
            .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04", "-kernel"])
            .arg(&guest)
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(0x21));
    }

    #[test]
    fn what_a_person_asks_for_outright_is_not_questioned() {
        assert_eq!(Accelerator::choose(Accel::Tcg), Accelerator::Tcg);
        assert_eq!(Accelerator::choose(Accel::Kvm), Accelerator::Kvm);
    }
}
