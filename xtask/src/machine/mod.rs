//! The machine that QEMU is asked for, and its command line.

mod accel;
pub(crate) mod handmade;
mod monitor;
mod options;
mod plug;
mod slot;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

pub use accel::{Accelerator, Kvm};
pub use monitor::{DiskCounts, Monitor, MonitorError, socket};
pub use options::{Accel, Chipset, Cpus, Iommu, Memory, OptionError};
pub use plug::{Plug, PlugError};
pub use slot::Slot;

use crate::setup::QEMU;
use crate::workspace::find_program;

/// The I/O port of QEMU's `isa-debug-exit` device: a byte `n` written there ends QEMU with status `2n + 1`.
pub const EXIT_PORT: u16 = 0xf4;

/// The port at which QEMU waits for a debugger.
pub const DEBUGGER_PORT: u16 = 1234;

/// QEMU's name for the model of the machine's processor: whatever QEMU can emulate, but for `cmpxchg16b`. QEMU 7.2 leaves a wrong
/// RFLAGS behind that instruction (it works them out by an operation that is not the last one), with the bits of an address where
/// IOPL and VM belong. Linux from 6.12 on allocates memory with it, and a timer's interrupt right behind it ends Linux now
/// and then, by itself as in a guest. Without it Linux does the same in several instructions.
pub const CPU_MODEL: &str = "max,-cx16";

/// Where the serial line of the machine leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serial {
    /// To QEMU's standard input and output, byte for byte, for a program at the other end.
    Pipe,
    /// To the terminal, with QEMU's monitor behind Ctrl-A C and the way out behind Ctrl-A X.
    Terminal,
}

/// A raw disk image behind a virtio block device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drive {
    /// The image.
    pub image: PathBuf,
    /// Whether the device refuses writes.
    pub read_only: bool,
    /// Where the device is.
    pub seat: Seat,
}

/// Where a device is in the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Seat {
    /// On the first bus, for ever.
    #[default]
    RootBus,
    /// In a slot behind a root port of PCI Express, out of which it can be taken while the machine runs ([`Monitor::take_out`]):
    /// only in a [`Chipset::Q35`].
    Slot,
}

impl Drive {
    /// A drive that may be written.
    pub fn new(image: impl Into<PathBuf>) -> Self {
        Self { image: image.into(), read_only: false, seat: Seat::RootBus }
    }

    /// A drive in a slot, which may be written.
    pub fn in_slot(image: impl Into<PathBuf>) -> Self {
        Self { seat: Seat::Slot, ..Self::new(image) }
    }

    /// A drive that refuses writes.
    pub fn read_only(image: impl Into<PathBuf>) -> Self {
        Self { image: image.into(), read_only: true, seat: Seat::RootBus }
    }
}

/// A machine to be started: what [`Machine::command`] turns into a command line.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The bootable file.
    pub image: PathBuf,
    /// The kind of PC.
    pub chipset: Chipset,
    /// Which IOMMU it has.
    pub iommu: Iommu,
    /// How much memory it has.
    pub memory: Memory,
    /// How many processors it has.
    pub cpus: Cpus,
    /// QEMU's name for the processor's model.
    pub cpu_model: String,
    /// Who executes its instructions.
    pub accelerator: Accelerator,
    /// Whether one thread of the host emulates all of its processors, in turn. A processor that waits for another one then
    /// gives way to it, however many cores the host has to spare.
    pub in_turn: bool,
    /// Its disks, in the order of their PCI addresses.
    pub drives: Vec<Drive>,
    /// Further devices on its PCI bus, but for those that are in `extra` already.
    pub plugs: Vec<Plug>,
    /// Where its serial line leads.
    pub serial: Serial,
    /// Whether a reset starts it again; otherwise it ends QEMU, so that a triple fault does not start over for ever.
    pub restarts: bool,
    /// Whether it waits for a debugger before the first instruction.
    pub debugger: bool,
    /// Whether it has a device by which a test suite ends QEMU with a status (at [`EXIT_PORT`]).
    pub exit_device: bool,
    /// Where QEMU listens for a [`Monitor`], if it does.
    pub monitor: Option<PathBuf>,
    /// Further arguments for QEMU, as they are.
    pub extra: Vec<OsString>,
}

impl Machine {
    /// The default machine, started from `image`: q35 with an IOMMU, 256 MiB, one emulated [`CPU_MODEL`], no disk.
    pub fn new(image: impl Into<PathBuf>) -> Self {
        Self {
            image: image.into(),
            chipset: Chipset::default(),
            iommu: Iommu::default(),
            memory: Memory::default(),
            cpus: Cpus::default(),
            cpu_model: CPU_MODEL.to_owned(),
            accelerator: Accelerator::Tcg,
            in_turn: false,
            drives: Vec::new(),
            plugs: Vec::new(),
            serial: Serial::Pipe,
            restarts: false,
            debugger: false,
            exit_device: false,
            monitor: None,
            extra: Vec::new(),
        }
    }

    /// The command that starts the machine.
    pub fn command(&self) -> Command {
        let mut qemu = Command::new(find_program(QEMU).unwrap_or_else(|| QEMU.into()));
        qemu.args(self.arguments());
        qemu
    }

    /// The same as a line for a shell, which needs nothing of this project but the files that it names.
    pub fn command_line(&self) -> String {
        std::iter::once(QEMU.to_owned())
            .chain(self.arguments().iter().map(|argument| quoted(&argument.to_string_lossy())))
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        let mut add = |option: &str, value: OsString| {
            arguments.push(option.into());
            if !value.is_empty() {
                arguments.push(value);
            }
        };
        add("-machine", self.chipset.to_string().into());
        let in_turn = if self.in_turn { ",thread=single" } else { "" };
        add("-accel", format!("{}{in_turn}", self.accelerator.name()).into());
        add("-cpu", self.cpu_model.clone().into());
        add("-smp", self.cpus.to_string().into());
        add("-m", self.memory.to_string().into());
        // Nothing that was not asked for: no default devices, no window, no file of the user's with more options.
        add("-nodefaults", OsString::new());
        add("-no-user-config", OsString::new());
        add("-display", "none".into());
        if !self.restarts {
            add("-no-reboot", OsString::new());
        }
        match self.serial {
            Serial::Pipe => add("-serial", "stdio".into()),
            Serial::Terminal => add("-serial", "mon:stdio".into()),
        }
        let unit = match self.iommu {
            Iommu::On => Some("intel-iommu,intremap=on"),
            Iommu::Amd => Some("amd-iommu,intremap=on"),
            Iommu::Off => None,
        };
        let unit = unit.filter(|_| self.chipset == Chipset::Q35);
        if let Some(unit) = unit {
            // First: devices that come before it do not know of it.
            add("-device", unit.into());
        }
        if self.drives.iter().any(|drive| drive.seat == Seat::Slot) {
            // Else devices come and go by ACPI, which only the machine's firmware understands, and not by the port's registers.
            add("-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off".into());
        }
        for (number, drive) in self.drives.iter().enumerate() {
            if drive.seat == Seat::Slot {
                let mut backend = OsString::from(format!("driver=raw,node-name=disk{number},"));
                if drive.read_only {
                    backend.push("read-only=on,");
                }
                backend.push("file.driver=file,file.filename=");
                backend.push(comma_escaped(&drive.image));
                // Not `-drive`: that goes with the device.
                add("-blockdev", backend);
                let slot = Slot::of_drive(number);
                add("-device", slot.port().into());
                add("-device", slot.disk(unit.is_some()).into());
                continue;
            }
            let mut backend = OsString::from(format!("if=none,id=disk{number},format=raw,"));
            if drive.read_only {
                backend.push("readonly=on,");
            }
            backend.push("file=");
            backend.push(comma_escaped(&drive.image));
            add("-drive", backend);
            let platform = if unit.is_some() { ",iommu_platform=on" } else { "" };
            let device = format!("virtio-blk-pci,drive=disk{number},disable-legacy=on{platform}");
            add("-device", device.into());
        }
        for plug in self.plugs.iter().filter(|plug| !plug.is_among(&self.extra)) {
            add("-device", plug.to_string().into());
        }
        if self.exit_device {
            let device = format!("isa-debug-exit,iobase={EXIT_PORT:#x},iosize=0x04");
            add("-device", device.into());
        }
        if let Some(socket) = &self.monitor {
            let mut place = OsString::from("unix:");
            place.push(comma_escaped(socket));
            place.push(",server=on,wait=off");
            add("-qmp", place);
        }
        if self.debugger {
            add("-gdb", format!("tcp:127.0.0.1:{DEBUGGER_PORT}").into());
            add("-S", OsString::new());
        }
        add("-kernel", self.image.clone().into());
        arguments.extend(self.extra.iter().cloned());
        arguments
    }
}

/// A path as the value of one of QEMU's comma-separated options: a comma in it is doubled.
fn comma_escaped(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_only_what_was_asked_for() {
        let line = Machine::new("/tmp/bulkhead.elf").command_line();
        assert_eq!(
            line,
            "qemu-system-x86_64 -machine q35 -accel tcg -cpu max,-cx16 -smp 1 -m 256M -nodefaults -no-user-config \
             -display none -no-reboot -serial stdio -device intel-iommu,intremap=on -kernel /tmp/bulkhead.elf"
        );
    }

    #[test]
    fn devices_keep_to_the_iommu_that_the_machine_has_if_it_has_one() {
        let mut machine = Machine::new("image");
        machine.drives = vec![Drive::new("a.img")];
        for (chipset, iommu, unit) in [
            (Chipset::Q35, Iommu::On, Some("intel")),
            (Chipset::Q35, Iommu::Amd, Some("amd")),
            (Chipset::Q35, Iommu::Off, None),
            (Chipset::Pc, Iommu::On, None),
            (Chipset::Pc, Iommu::Amd, None),
        ] {
            (machine.chipset, machine.iommu) = (chipset, iommu);
            let line = machine.command_line();
            for maker in ["intel", "amd"] {
                assert_eq!(line.contains(&format!("-device {maker}-iommu,intremap=on")), unit == Some(maker), "{line}");
            }
            assert_eq!(line.contains("iommu_platform=on"), unit.is_some(), "{line}");
        }
    }

    #[test]
    fn a_drive_is_a_modern_virtio_device() {
        let mut machine = Machine::new("image");
        machine.drives = vec![Drive::new("a.img"), Drive::read_only("b.img")];
        let line = machine.command_line();
        assert!(line.contains("-drive if=none,id=disk0,format=raw,file=a.img"), "{line}");
        assert!(line.contains("-drive if=none,id=disk1,format=raw,readonly=on,file=b.img"), "{line}");
        assert!(line.contains("-device virtio-blk-pci,drive=disk1,disable-legacy=on"), "{line}");
    }

    #[test]
    fn a_drive_in_a_slot_is_behind_a_port_and_its_image_outlives_it() {
        let mut machine = Machine::new("image");
        machine.drives = vec![Drive::new("a.img"), Drive::in_slot("b.img")];
        let line = machine.command_line();
        assert!(line.contains("-blockdev driver=raw,node-name=disk1,file.driver=file,file.filename=b.img"), "{line}");
        assert!(line.contains("-device pcie-root-port,id=slot1,"), "{line}");
        assert!(line.contains("-device virtio-blk-pci,id=card1,bus=slot1,drive=disk1,disable-legacy=on"), "{line}");
        assert_eq!(line.matches("acpi-pci-hotplug-with-bridge-support=off").count(), 1, "{line}");
        machine.drives.pop();
        assert!(!machine.command_line().contains("hotplug"), "a machine without slots is as it was");
    }

    #[test]
    fn a_comma_in_a_path_does_not_end_the_option() {
        let mut machine = Machine::new("image");
        machine.drives = vec![Drive::new("a,readonly=on.img")];
        assert!(machine.command_line().contains("file=a,,readonly=on.img"));
    }

    #[test]
    fn a_device_of_the_manifest_is_plugged_in_unless_the_person_has_done_so() {
        let mut machine = Machine::new("image");
        machine.plugs = vec![Plug::parse("edu,dma_mask=0xffffffff").unwrap()];
        assert!(machine.command_line().contains("-device edu,dma_mask=0xffffffff"));
        machine.extra = vec!["-device".into(), "edu".into()];
        let line = machine.command_line();
        assert!(line.ends_with("-device edu") && !line.contains("dma_mask"), "{line}");
    }

    #[test]
    fn a_word_with_spaces_or_quotes_survives_a_shell() {
        assert_eq!(quoted("it's here"), r"'it'\''s here'");
        assert_eq!(quoted("plain-word"), "plain-word");
        assert_eq!(quoted(""), "''");
    }
}
