//! Attacks by a device whose driver means harm, in a machine without an IOMMU and in one with it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::conformance::{count, machine};
use super::{SuiteError, Tally};
use crate::build;
use crate::console::Console;
use crate::machine::{Iommu, Plug};
use crate::progress::Step;
use crate::setup;

/// How long a machine may take: the device needs a tenth of a second for each copy.
const LIMIT: Duration = Duration::from_secs(300);

/// The device that does what it is told, with addresses of any length.
const DEVICE: &str = "edu,dma_mask=0xffffffffffffffff";

/// What a line says of an attack: its name, and what became of it.
fn attack(line: &str) -> Option<(&str, &str)> {
    line.trim().strip_prefix("attack ")?.split_once(": ")
}

/// Makes every attack, or those whose name contains `filter`, in both machines, and shows what became of them.
pub(super) fn run(filter: Option<&str>) -> Result<Tally, SuiteError> {
    let built = build::conformance(&setup::ensure()?)?;
    let words = format!("suite=dma case={}", filter.unwrap_or_default());
    let mut total = Tally::default();
    let mut table: BTreeMap<String, [String; 2]> = BTreeMap::new();
    for (column, iommu) in [Iommu::Off, Iommu::On].into_iter().enumerate() {
        let mut machine = machine(&built.image, 1, &words);
        machine.iommu = iommu;
        machine.plugs = vec![Plug::parse(DEVICE).expect("it is well-formed")];
        let step = Step::start(format!("Attacks by a device, IOMMU {iommu:?}"));
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
    println!("{:<54} {:<16} with", "attack", "without IOMMU");
    for (name, [without, with]) in &table {
        println!("{:<54} {without:<16} {with}", name.replace('_', " "));
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_became_of_an_attack() {
        assert_eq!(attack("attack read_it: blocked, told 2 times"), Some(("read_it", "blocked, told 2 times")));
        assert_eq!(attack("ok read_it"), None);
    }

    #[test]
    fn the_device_can_be_plugged_in() {
        assert!(Plug::parse(DEVICE).is_ok());
    }
}
