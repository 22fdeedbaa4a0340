//! Devices that reach for what is not theirs.

use std::time::{Duration, Instant};

use system_tests::{Shell, assert_clean, pristine_disk};
use xtask::disk;
use xtask::machine::{Iommu, Memory};

use crate::copy::bench_with;

/// A driver whose device does what a person says.
const STRAY: &str = r#"
[domain.stray]
kind = "driver"
provides = ["command"]
uses = ["pci"]
device = { pci = { vendor = 0x1234, devices = [0x11e8], interrupts = 1, qemu = "edu,dma_mask=0xffffffffffffffff" }, iommu = "required" }
priority = 140
heartbeat = "none"
"#;

/// How long it may take until what must happen has happened.
const SOON: Duration = Duration::from_secs(30);

/// The line of a domain in the table of `ps`.
fn domain(shell: &mut Shell, name: &str) -> String {
    let list = shell.must("ps");
    list.lines().find(|line| line.starts_with(name)).expect("the domain is listed").to_owned()
}

#[test]
fn a_driver_whose_device_strays_is_named_and_started_again_and_nobody_else_notices() {
    let bench = bench_with("stray", STRAY);
    let mut shell = bench.boot();
    let sum = shell.must("sum /disk/big16m.bin");
    assert!(shell.must("ps").contains("DMA is confined"));
    for (life, address) in [(1, "0x1000000"), (2, "0xfed90000"), (3, "0x7ffffff000")] {
        shell.must(&format!("stray {address}"));
        let until = Instant::now() + SOON;
        let wanted = format!("{life}  device strayed, {address}");
        while !domain(&mut shell, "stray").contains(&wanted) {
            assert!(Instant::now() < until, "{}", domain(&mut shell, "stray"));
        }
    }
    let log = shell.must("log");
    assert!(log.contains("stray: its device strayed: 00:0"), "{log}");
    assert_eq!(shell.must("sum /disk/big16m.bin"), sum);
    for name in ["virtio-blk", "fat", "pci"] {
        assert!(domain(&mut shell, name).contains(" 0  -"), "{}", domain(&mut shell, name));
    }
    shell.shut_down();
    assert_clean(bench.disk());
}

#[test]
fn amds_iommu_lets_the_disk_be_read_and_a_device_stray_to_nothing_though_nobody_hears_of_it() {
    let mut bench = bench_with("stray", STRAY);
    bench.machine.iommu = Iommu::Amd;
    let mut shell = bench.boot();
    let listed = shell.must("ps");
    assert!(listed.contains("reaches only what the driver shares with it, and forges no interrupts."), "{listed}");
    assert!(listed.contains("This IOMMU does not report what it refuses a device."), "{listed}");
    assert!(shell.must("log").contains("nobody hears of a device that strays"));
    let sum = shell.must("sum /disk/big16m.bin");
    let files = disk::inventory(pristine_disk()).expect("the default disk is readable").files;
    assert!(sum.starts_with(&files["/big16m.bin"].hex()), "{sum}");
    for address in ["0x1000000", "0xfed80000", "0x7ffffff000"] {
        shell.must(&format!("stray {address}"));
    }
    for name in ["stray", "virtio-blk", "fat", "pci"] {
        assert!(domain(&mut shell, name).contains(" 0  -"), "{}", domain(&mut shell, name));
    }
    // Its next life has a space and interrupts of its own again.
    shell.must("crash virtio-blk panic");
    assert_eq!(shell.must("sum /disk/big16m.bin"), sum);
    assert!(domain(&mut shell, "virtio-blk").contains(" 1  panic"), "{}", domain(&mut shell, "virtio-blk"));
    shell.shut_down();
    assert_clean(bench.disk());
}

#[test]
fn a_driver_that_requires_an_iommu_is_not_started_without_one() {
    let mut bench = bench_with("stray", STRAY);
    bench.machine.iommu = Iommu::Off;
    let mut shell = bench.boot();
    assert!(domain(&mut shell, "stray").contains("refused"), "{}", domain(&mut shell, "stray"));
    assert!(shell.must("ps").contains("DMA is not confined"));
    assert!(shell.must("log").contains("stray: the manifest requires an IOMMU, which this machine does not have"));
    shell.must_fail("stray 0x1000");
    assert!(shell.must("ls /disk").contains("readme.txt"), "the others run as ever");
    shell.shut_down();
}

/// A driver of a device that knows no more than 28 bits of an address.
const SHORT: &str = r#"
[domain.stray]
kind = "driver"
provides = ["command"]
uses = ["pci"]
device = { pci = { vendor = 0x1234, devices = [0x11e8], interrupts = 1, qemu = "edu" } }
priority = 140
heartbeat = "none"
"#;

#[test]
fn a_device_that_knows_short_addresses_only_reaches_its_drivers_memory_on_every_machine() {
    for iommu in [Iommu::Off, Iommu::On] {
        let mut bench = bench_with("stray", SHORT);
        bench.machine.iommu = iommu;
        // Most of it lies where such a device finds nothing.
        bench.machine.memory = Memory::mebibytes(6144);
        let mut shell = bench.boot();
        let said = shell.must("stray work");
        assert!(said.contains("what was copied came back"), "IOMMU {iommu:?}: {said}");
        shell.shut_down();
    }
}
