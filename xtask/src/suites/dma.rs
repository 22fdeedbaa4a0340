//! Attacks by a device whose driver means harm, in a machine without an IOMMU and in one with each kind.

use std::collections::BTreeMap;
use std::time::Duration;

use super::conformance::{count, machine};
use super::{SuiteError, Tally};
use crate::build;
use crate::console::Console;
use crate::machine::{Drive, Iommu, Plug};
use crate::progress::Step;
use crate::setup;

/// How long a machine may take: the device needs a tenth of a second for each copy.
const LIMIT: Duration = Duration::from_secs(300);

/// The device that does what it is told, with addresses of any length.
const DEVICE: &str = "edu,dma_mask=0xffffffffffffffff";

/// How many of them, so that some write at any moment; and as many processors, so that it is everybody's moment.
const DEVICES: usize = 8;
const PROCESSORS: u32 = 2;
/// Bytes of the disk that is misused.
const DISK_BYTES: u64 = 1 << 20;

/// The machines, and what stands above their columns.
const MACHINES: [(Iommu, &str); 3] =
    [(Iommu::Off, "without IOMMU"), (Iommu::On, "with Intel's"), (Iommu::Amd, "with AMD's")];

/// What a line says of an attack: its name, and what became of it.
fn attack(line: &str) -> Option<(&str, &str)> {
    line.trim().strip_prefix("attack ")?.split_once(": ")
}

/// Makes every attack, or those whose name contains `filter`, in each machine, and shows what became of them.
pub(super) fn run(filter: Option<&str>) -> Result<Tally, SuiteError> {
    let built = build::conformance(&setup::ensure()?)?;
    let words = format!("suite=dma case={}", filter.unwrap_or_default());
    let disk = built.image.with_file_name("misused.img");
    std::fs::File::create(&disk)?.set_len(DISK_BYTES)?;
    let mut total = Tally::default();
    let mut table: BTreeMap<String, [String; MACHINES.len()]> = BTreeMap::new();
    for (column, (iommu, heading)) in MACHINES.into_iter().enumerate() {
        let mut machine = machine(&built.image, PROCESSORS, &words);
        machine.iommu = iommu;
        machine.plugs = vec![Plug::parse(DEVICE).expect("it is well-formed"); DEVICES];
        machine.drives = vec![Drive::new(&disk)];
        let step = Step::start(format!("Attacks by a device, {heading}"));
        let mut console = Console::start(&machine, None)?;
        let mut shown = 0;
        let outcome = console.wait_for("the closing line of the dma suite", LIMIT, |screen| {
            for line in screen.lines().get(shown..).unwrap_or_default() {
                step.news(line);
                if line.starts_with("FAIL ") {
                    step.print(line);
                }
            }
            shown = screen.lines().len().max(shown);
            screen.lines().iter().any(|line| line.starts_with("dma: ")).then_some(())
        });
        step.quiet();
        outcome?;
        let text = console.transcript();
        for (name, fate) in text.lines().filter_map(attack) {
            table.entry(name.to_owned()).or_default()[column] = fate.to_owned();
        }
        total += count(&text).0;
    }
    println!("{}", row("attack", MACHINES.map(|(_, heading)| heading)));
    for (name, fates) in &table {
        println!("{}", row(&name.replace('_', " "), fates.each_ref().map(String::as_str)));
    }
    Ok(total)
}

/// A line of the table.
fn row(name: &str, [without, intel, amd]: [&str; MACHINES.len()]) -> String {
    format!("{name:<54} {without:<16} {intel:<46} {amd}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_became_of_an_attack() {
        assert_eq!(attack("attack read_it: blocked, reported 2x"), Some(("read_it", "blocked, reported 2x")));
        assert_eq!(attack("ok read_it"), None);
    }

    #[test]
    fn the_table_has_a_column_for_each_machine() {
        let line = row("read it", ["reached", "blocked, reported 2x", "blocked"]);
        let places: Vec<_> = ["reached", "blocked,", "blocked"].iter().filter_map(|fate| line.find(fate)).collect();
        assert_eq!(places[..2], [55, 72]);
        assert!(line.ends_with("2x                           blocked"), "{line}");
    }

    #[test]
    fn the_device_can_be_plugged_in() {
        assert!(Plug::parse(DEVICE).is_ok());
    }
}
