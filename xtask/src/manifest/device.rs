//! Devices: what a domain says about the hardware that it drives.

use std::ops::Range;

use manifest::{Bus, Device, PortRange};
use toml::{Spanned, de::DeValue};

use crate::machine::Plug;

use super::{
    diagnostic::{Diagnostic, Rule},
    reader::{self, Section},
};

/// A device, with the places of its parts.
pub(super) struct DeviceDeclaration {
    pub(super) device: Device,
    pub(super) span: Range<usize>,
    pub(super) ports: Vec<Spanned<PortRange>>,
    pub(super) irqs: Vec<Spanned<u8>>,
    /// How QEMU is to plug it in.
    pub(super) plug: Option<Plug>,
}

/// The device that the section declares, if it declares one that can be read.
pub(super) fn read_device(section: &Section<'_>) -> Option<DeviceDeclaration> {
    let device = section.section("device", "`device`", &["legacy", "pci", "required", "iommu"])?;
    let required = device.flag("required").unwrap_or(true);
    let needs_iommu = read_iommu(&device);
    let legacy = device.section("legacy", "`legacy`", &["ports", "irqs"]);
    let pci = device.section("pci", "`pci`", &["vendor", "devices", "index", "interrupts", "qemu"]);
    match (legacy, pci) {
        (Some(legacy), None) => Some(read_legacy(&device, &legacy, required)),
        (None, Some(pci)) => read_pci(&device, &pci, required).map(|mut read| {
            read.device.needs_iommu = needs_iommu;
            read
        }),
        (Some(_), Some(_)) => {
            report_no_bus(&device, "a device is either `legacy` or `pci`, not both");
            None
        }
        (None, None) => {
            // A value of the wrong type is reported already.
            if device.value("legacy").is_none() && device.value("pci").is_none() {
                report_no_bus(&device, "the device is neither `legacy` nor `pci`");
            }
            None
        }
    }
}

/// Whether the driver is not to be started on a machine that cannot confine its device.
fn read_iommu(device: &Section<'_>) -> bool {
    let written = device.text("iommu");
    let name = |required| if required { "required" } else { "optional" };
    written
        .and_then(|written| reader::word("iommu", &written, &[true, false], name, device.findings()))
        .unwrap_or(false)
}

fn report_no_bus(device: &Section<'_>, message: &str) {
    device.findings().report(Diagnostic::new(Rule::MissingKey, device.span(), message).hint(
        "write { legacy = { ports = [{ base = 0x3f8, count = 8 }], irqs = [4] } } or \
             { pci = { vendor = 0x1af4, devices = [0x1042] } }",
    ));
}

fn read_legacy(device: &Section<'_>, legacy: &Section<'_>, required: bool) -> DeviceDeclaration {
    let findings = device.findings();
    let mut ports = Vec::new();
    for value in legacy.list("ports") {
        let keys = &["base", "count"];
        let Some(entry) = reader::section("ports", value, "a range of ports", keys, findings) else {
            continue;
        };
        for key in keys.iter().filter(|key| entry.value(key).is_none()) {
            entry.report_missing(key, "8");
        }
        let base = entry.number("base", 0..=0xffff);
        let count = entry.number("count", 1..=0xffff);
        let (Some(base), Some(count)) = (base, count) else {
            continue;
        };
        let range = PortRange { base: *base.get_ref() as u16, count: *count.get_ref() as u16 };
        if range.is_valid() {
            ports.push(Spanned::new(value.span(), range));
        } else {
            findings.report(
                Diagnostic::new(Rule::InvalidNumber, value.span(), "the range ends after the last port, 0xffff")
                    .hint("lower `count`"),
            );
        }
    }
    let irqs: Vec<_> = legacy
        .list("irqs")
        .iter()
        .filter_map(|value| reader::number("irqs", value, 0..=15, findings))
        .map(|irq| Spanned::new(irq.span(), *irq.get_ref() as u8))
        .collect();
    if legacy.list("ports").is_empty() && legacy.list("irqs").is_empty() {
        legacy.report_missing("ports", "[{ base = 0x3f8, count = 8 }]");
    }
    let bus = Bus::Legacy {
        ports: ports.iter().map(|range| *range.get_ref()).collect(),
        irqs: irqs.iter().map(|irq| *irq.get_ref()).collect(),
    };
    if let Some(iommu) = device.value("iommu") {
        let message = "an IOMMU confines devices on the PCI bus only";
        let report = Diagnostic::new(Rule::InvalidDevice, iommu.span(), message);
        findings.report(report.hint("leave `iommu` out: a device at ports cannot access memory by itself"));
    }
    let device_read = Device { bus, required, needs_iommu: false };
    DeviceDeclaration { device: device_read, span: device.span(), ports, irqs, plug: None }
}

fn read_pci(device: &Section<'_>, pci: &Section<'_>, required: bool) -> Option<DeviceDeclaration> {
    let findings = device.findings();
    if pci.value("vendor").is_none() {
        pci.report_missing("vendor", "0x1af4");
    }
    if pci.value("devices").is_none() {
        pci.report_missing("devices", "[0x1042]");
    }
    let vendor = pci.number("vendor", 0..=0xfffe);
    let written = pci.list("devices");
    let devices: Vec<_> = written
        .iter()
        .filter_map(|value| reader::number("devices", value, 0..=0xffff, findings))
        .map(|device| *device.get_ref() as u16)
        .collect();
    if let Some(value) =
        pci.value("devices").filter(|value| matches!(value.get_ref(), DeValue::Array(_)) && written.is_empty())
    {
        findings.report(
            Diagnostic::new(Rule::InvalidNumber, value.span(), "`devices` lists no device id")
                .hint("list the device ids that the driver knows, such as [0x1042, 0x1001]"),
        );
    }
    let index = pci.number("index", 0..=255).map_or(0, |index| *index.get_ref() as u8);
    let interrupts = pci.number("interrupts", 0..=32).map_or(0, |count| *count.get_ref() as u8);
    let plug = pci.text("qemu").and_then(|written| {
        let plug = Plug::parse(written.get_ref());
        if let Err(fault) = &plug {
            findings.report(
                Diagnostic::new(Rule::InvalidDevice, written.span(), fault.to_string())
                    .hint("write the device as QEMU names it, and its properties: \"edu,dma_mask=0xffffffff\""),
            );
        }
        plug.ok()
    });
    let vendor = *vendor?.get_ref() as u16;
    let bus = Bus::Pci { vendor, devices, index, interrupts };
    bus.is_valid().then(|| DeviceDeclaration {
        device: Device { bus, required, needs_iommu: false },
        span: device.span(),
        ports: Vec::new(),
        irqs: Vec::new(),
        plug,
    })
}
