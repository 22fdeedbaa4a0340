//! Devices that the IOMMU cannot tell apart.

use std::time::{Duration, Instant};

use system_tests::{Bench, Shell, assert_clean};
use xtask::machine::Iommu;

use crate::copy::bench_with_commands;

/// Drivers of `edu` devices, in the order of these, and where each has its device in [`DEVICES`].
const DRIVERS: [&str; 5] = ["behind", "beside", "deeper", "apart", "olden"];

/// Two devices behind a bridge to conventional PCI and a third behind another bridge there; one behind a port of PCI
/// Express; one behind a bridge that is conventional on both sides.
const DEVICES: [&str; 9] = [
    "pcie-pci-bridge,id=wide,addr=0x10",
    "pci-bridge,id=inner,bus=wide,addr=5,chassis_nr=9",
    "pcie-root-port,id=lane,addr=0x11,chassis=1",
    "i82801b11-bridge,id=old,addr=0x12",
    "edu,bus=wide,addr=1,dma_mask=0xffffffffffffffff",
    "edu,bus=wide,addr=3,dma_mask=0xffffffffffffffff",
    "edu,bus=inner,addr=1,dma_mask=0xffffffffffffffff",
    "edu,bus=lane,dma_mask=0xffffffffffffffff",
    "edu,bus=old,addr=1,dma_mask=0xffffffffffffffff",
];

/// How long it may take until what must happen has happened.
const SOON: Duration = Duration::from_secs(30);

/// A machine with these devices and drivers.
fn bench() -> Bench {
    let driver = |(index, name): (usize, &&str)| {
        format!(
            "[domain.{name}]\nbinary = \"stray\"\nkind = \"driver\"\nprovides = [\"command\"]\nuses = [\"pci\"]\n\
             device = {{ pci = {{ vendor = 0x1234, devices = [0x11e8], index = {index}, interrupts = 1 }} }}\n\
             priority = 140\nheartbeat = \"none\"\n\n"
        )
    };
    let entries: String = DRIVERS.iter().enumerate().map(driver).collect();
    let mut bench = bench_with_commands(&DRIVERS, &entries);
    bench.machine.extra = DEVICES.iter().flat_map(|device| ["-device".into(), device.into()]).collect();
    bench
}

/// The line of a domain in the table of `ps`.
fn domain(shell: &mut Shell, name: &str) -> String {
    let list = shell.must("ps");
    list.lines().find(|line| line.starts_with(name)).expect("the domain is listed").to_owned()
}

fn works(shell: &mut Shell, name: &str) {
    let said = shell.must(&format!("{name} work"));
    assert!(said.contains("10! is 3628800, and what was copied came back"), "{name}: {said}");
}

#[test]
fn devices_behind_a_bridge_belong_to_one_driver() {
    let bench = bench();
    let mut shell = bench.boot();
    assert!(shell.must("ps").contains("DMA is confined"));
    // Each has a space of its own, and memory and interrupts work whatever number the device has to the IOMMU.
    for name in ["behind", "apart", "olden"] {
        works(&mut shell, name);
    }
    let log = shell.must("log supervisor");
    for (name, place) in [("beside", "01:03.0"), ("deeper", "02:01.0")] {
        assert!(domain(&mut shell, name).contains("refused"), "{}", domain(&mut shell, name));
        let why = format!(
            "{name}: the IOMMU cannot tell its device {place} from 01:01.0, which behind drives: all behind the \
             bridge 00:10.0 are one to it"
        );
        assert!(log.contains(&why), "{log}");
        shell.must_fail(&format!("{name} work"));
        shell.must_fail(&format!("restart {name}"));
    }
    shell.shut_down();
    assert_clean(bench.disk());
}

#[test]
fn who_strays_under_the_number_of_a_bridge_is_found_by_it() {
    let bench = bench();
    let mut shell = bench.boot();
    for (name, seen, hidden) in [
        ("behind", "01:00.0", " (the bridge 00:10.0 hides 01:01.0)"),
        ("olden", "00:12.0", " (the bridge 00:12.0 hides 04:01.0)"),
        ("apart", "03:00.0", ""),
    ] {
        works(&mut shell, name);
        shell.must(&format!("{name} 0x7ffffff000"));
        let until = Instant::now() + SOON;
        while !domain(&mut shell, name).contains("1  device strayed, 0x7ffffff000") {
            assert!(Instant::now() < until, "{}", domain(&mut shell, name));
        }
        let told = format!("{name}: its device strayed: {seen} wanted to write 0x7ffffff000");
        let log = shell.must("log supervisor");
        let line = log.lines().find(|line| line.contains(&told));
        assert!(line.is_some_and(|line| line.trim_end().ends_with(&format!("){hidden}"))), "{log}");
        // It is started again, with the same group.
        works(&mut shell, name);
    }
    assert!(domain(&mut shell, "beside").contains("refused"));
    shell.shut_down();
    assert_clean(bench.disk());
}

#[test]
fn without_an_iommu_every_driver_has_its_device() {
    let mut bench = bench();
    bench.machine.iommu = Iommu::Off;
    let mut shell = bench.boot();
    assert!(shell.must("ps").contains("DMA is not confined"));
    for name in DRIVERS {
        works(&mut shell, name);
    }
    shell.shut_down();
}
