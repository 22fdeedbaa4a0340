//! What calls, new domains and restarts cost beside few and beside many domains that do nothing: the same, or something looks
//! for what it wants among all there are.

use super::group::Group;
use super::row::{Figure, Row, lines};
use super::table::Table;
use super::{BenchError, counted_in};
use crate::machine::Memory;

/// What is measured beside each number of domains, as the suite in the machine names it, and for people.
const WORKS: [(&str, &str); 3] = [
    ("call", "call and answer, no words"),
    ("spawn", "a domain of 64 KiB, to its first message"),
    ("restart", "a driver with 512 KiB, destroyed, built and started"),
];
/// How much memory the machine has.
const MEMORY: Memory = Memory::mebibytes(1024);
/// How much more a work may cost than beside the fewest domains.
const FLAT: f64 = 1.05;

/// Measures it.
///
/// # Errors
///
/// [`BenchError`].
pub(super) fn density() -> Result<Table, BenchError> {
    let what = "Few domains and ten thousand in 1 GiB, counting instructions";
    Ok(table(&counted_in(MEMORY, "domains", "density", what)?))
}

fn table(text: &str) -> Table {
    let costs = lines("cost", text);
    let mut rows = Vec::new();
    for (work, what) in WORKS {
        let prefix = format!("density-{work}-");
        let beside = |name: &str| name.strip_prefix(&prefix)?.parse::<u64>().ok();
        let mut measured: Vec<_> = costs.iter().filter_map(|(name, cost)| Some((beside(name)?, *cost))).collect();
        measured.sort_unstable();
        let least = measured.first().map(|(_, cost)| *cost as f64);
        for (number, (domains, cost)) in measured.iter().enumerate() {
            let what = format!("{what}, beside {domains} domains");
            let row = Row::new(format!("{prefix}{domains}"), what, Some(Figure::instructions(*cost)));
            rows.push(match least.filter(|_| number > 0) {
                Some(least) => row.must((least * FLAT).floor()),
                None => row,
            });
        }
        if measured.is_empty() {
            rows.push(Row::new(format!("{prefix}0"), what, None));
        }
    }
    Table::new(Group::Density, rows)
        .note("The bar is a twentieth more than beside the fewest domains.")
        .note(memory(&costs))
}

/// Says how much memory the domains took.
fn memory(costs: &[(&str, u64)]) -> String {
    let pages = costs.iter().filter_map(|(name, pages)| {
        let domains = name.strip_prefix("density-pages-")?.parse::<u64>().ok()?;
        Some((domains, *pages))
    });
    match pages.max() {
        Some((domains, pages)) if domains > 0 => {
            format!("{domains} domains have {pages} pages of memory, their page tables among them.",)
        }
        _ => "It is not known how much memory they have.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_costs_more_beside_many_domains_is_not_good() {
        let text = |many| format!("cost density-call-100 {many}\ncost density-call-10 1000\ncost density-spawn-10 7\n");
        let good = |text: &str| table(text).rows.iter().filter(|row| row.is_good()).count();
        assert_eq!(good(&text(1050)), 3);
        assert_eq!(good(&text(1051)), 2);
    }

    #[test]
    fn memory_is_that_of_all_domains() {
        let costs = lines("cost", "cost density-pages-9 90\ncost density-pages-100 990\n");
        assert!(memory(&costs).starts_with("100 domains have 990 pages"));
    }
}
