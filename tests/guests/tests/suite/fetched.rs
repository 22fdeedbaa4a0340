//! The kernels that are fetched come up in machines of their own, so that a test of a guest that fails says something of the guest.

use std::fs;

use guest_tests::{BOOT_LIMIT, COMMAND_LIMIT, fetched, sha256};
use system_tests::filling;
use xtask::console::Console;
use xtask::guest::{COMMAND_LINE, Dialogue, Kernel};
use xtask::machine::{Cpus, Drive, Iommu, Machine, Memory};
use xtask::workspace;

/// Bytes of the disk that each reads.
const DISK: usize = 1 << 20;

/// Boots a kernel in a machine without Bulkhead, and has it read a disk.
fn comes_up_by_itself(kernel: Kernel, cpus: u32) {
    let linux = fetched(kernel);
    let folder = tempfile::tempdir_in(workspace::system_target()).expect("a folder for the disk");
    let (image, contents) = (folder.path().join("disk.img"), filling(DISK, 3));
    fs::write(&image, &contents).expect("a disk");
    let mut machine = Machine::new(&linux.kernel);
    machine.cpus = Cpus(cpus);
    machine.iommu = Iommu::Off;
    machine.memory = Memory::mebibytes(128);
    machine.drives = vec![Drive::new(image)];
    machine.extra = vec!["-initrd".into(), linux.initrd.clone().into(), "-append".into(), COMMAND_LINE.into()];
    let mut console = Console::start(&machine, None).unwrap_or_else(|error| panic!("{error}"));
    let mut dialogue = Dialogue::begin(&mut console, BOOT_LIMIT).unwrap_or_else(|error| panic!("{error}"));
    let mut ask = |command: &str| dialogue.run(command, COMMAND_LIMIT).unwrap_or_else(|error| panic!("{error}")).text;
    assert_eq!(ask("uname -r").trim(), linux.version);
    assert_eq!(ask("nproc").trim(), cpus.to_string());
    assert!(ask("sha256sum /dev/vda").starts_with(&sha256(&contents)));
    dialogue.say("exit").unwrap_or_else(|error| panic!("{error}"));
    let ended = console.wait_for_end(COMMAND_LIMIT).unwrap_or_else(|error| panic!("{error}"));
    assert!(ended.success(), "{ended}");
}

#[test]
fn the_kernel_of_this_machines_debian_comes_up_by_itself() {
    comes_up_by_itself(Kernel::Linux, 2);
}

#[test]
fn the_same_kernel_unpacked_comes_up_by_itself() {
    comes_up_by_itself(Kernel::Unpacked, 1);
}

#[test]
fn the_kernel_of_another_debian_comes_up_by_itself() {
    comes_up_by_itself(Kernel::Other, 1);
    assert_ne!(fetched(Kernel::Other).version, fetched(Kernel::Linux).version);
}
