//! What is told of a campaign: a table for the terminal, a page, data, and test results for other tools.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use serde_json::json;

use super::FaultError;
use super::operator::Operator;
use super::record::{Batch, Header};
use super::verdict::Verdict;

/// How often each verdict was given, in the order of [`Verdict::ALL`].
type Counts = [u64; Verdict::ALL.len()];

/// A campaign in numbers.
pub(super) struct Summary {
    header: Header,
    /// Batches by their target.
    targets: BTreeMap<String, Counts>,
    /// Faults by their kind: how many were injected, how many of them executed, and the effects of those that had one alone.
    operators: BTreeMap<Operator, (u64, u64, Counts)>,
    faults: u64,
    executed: u64,
    batches: u64,
    /// Nanoseconds from a death to the end of the workload's first round after it, the shortest first.
    recoveries: Vec<u64>,
}

impl Summary {
    pub(super) fn of(header: &Header, batches: &[Batch]) -> Self {
        let mut summary = Self {
            header: header.clone(),
            targets: header.targets.iter().map(|target| (target.clone(), Counts::default())).collect(),
            operators: BTreeMap::new(),
            faults: 0,
            executed: 0,
            batches: batches.len() as u64,
            recoveries: batches.iter().filter_map(|batch| batch.recovered).collect(),
        };
        summary.recoveries.sort_unstable();
        for batch in batches {
            summary.targets.entry(batch.target.clone()).or_default()[batch.verdict as usize] += 1;
            for (position, fault) in batch.faults.iter().enumerate() {
                let (injected, executed, effects) = summary.operators.entry(fault.operator).or_default();
                *injected += 1;
                *executed += u64::from(fault.order > 0);
                if batch.culprit == Some(position) {
                    effects[batch.verdict as usize] += 1;
                }
                summary.faults += 1;
                summary.executed += u64::from(fault.order > 0);
            }
        }
        summary
    }

    fn is_survived(&self) -> bool {
        self.survivals().values().all(|survived| *survived)
    }

    /// Each target, and whether everything was survived that was done to it.
    pub(super) fn survivals(&self) -> BTreeMap<String, bool> {
        let survived = |counts: &Counts| {
            Verdict::ALL.iter().zip(counts).all(|(verdict, count)| verdict.is_survived() || *count == 0)
        };
        self.targets.iter().map(|(target, counts)| (target.clone(), survived(counts))).collect()
    }

    fn count(&self, verdict: Verdict) -> u64 {
        self.targets.values().map(|counts| counts[verdict as usize]).sum()
    }

    /// A recovery time such that so many of a hundred are not longer, in milliseconds.
    fn recovery(&self, of_hundred: usize) -> Option<f64> {
        let last = self.recoveries.len().checked_sub(1)?;
        Some(self.recoveries[last * of_hundred / 100] as f64 / 1e6)
    }

    /// How many recoveries took less than each power of two of milliseconds, and more than the one before.
    fn histogram(&self) -> BTreeMap<u64, u64> {
        let mut bars = BTreeMap::new();
        for nanoseconds in &self.recoveries {
            *bars.entry((nanoseconds / 1_000_000 + 1).next_power_of_two()).or_default() += 1;
        }
        bars
    }

    /// One sentence about what was survived.
    fn conclusion(&self) -> String {
        let died = self.count(Verdict::Recovered);
        let not = self.count(Verdict::NotRecovered);
        format!(
            "{} faults in {} batches, {} of them executed: {died} deaths, {not} not recovered from; wrong data {} times, \
             found out by the workload; other domains harmed {} times, the kernel {} times.",
            self.faults,
            self.batches,
            self.executed,
            self.count(Verdict::WrongData),
            self.count(Verdict::OtherHarmed),
            self.count(Verdict::KernelHarmed),
        )
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n  {:<14}", "batches into")?;
        for verdict in Verdict::ALL {
            write!(f, "{:>17}", verdict.name())?;
        }
        writeln!(f)?;
        for (target, counts) in &self.targets {
            write!(f, "  {target:<14}")?;
            for count in counts {
                write!(f, "{count:>17}")?;
            }
            writeln!(f)?;
        }
        writeln!(f, "\n  {:<24}{:>10}{:>10}   of one fault alone", "kind of fault", "injected", "executed")?;
        for (operator, (injected, executed, effects)) in &self.operators {
            write!(f, "  {:<24}{injected:>10}{executed:>10}  ", operator.name())?;
            for (verdict, count) in Verdict::ALL.iter().zip(effects).filter(|(_, count)| **count > 0) {
                write!(f, " {} {count};", verdict.name())?;
            }
            writeln!(f)?;
        }
        if let (Some(median), Some(most), Some(last)) = (self.recovery(50), self.recovery(99), self.recovery(100)) {
            writeln!(
                f,
                "\n  From a death to the end of the workload's first round after it: median {median:.0} ms, 99 of 100 within \
                 {most:.0} ms, all within {last:.0} ms (of the emulated machine's clock)."
            )?;
        }
        writeln!(f, "\n  {}", self.conclusion())
    }
}

/// The faults of a batch that were executed, a line each.
pub(super) fn faults(batch: &Batch) -> String {
    let mut executed: Vec<_> = batch.faults.iter().enumerate().filter(|(_, fault)| fault.order > 0).collect();
    executed.sort_by_key(|(_, fault)| fault.order);
    let mut text = String::new();
    for (position, fault) in executed {
        let mark = if batch.culprit == Some(position) { "  <- has this effect alone" } else { "" };
        let what = match &fault.detour {
            Some(detour) => detour.what.clone(),
            None => format!("{} became {}", fault.old, fault.new),
        };
        text.push_str(&format!(
            "  {:>3}. {} at {:#x} in {}: {what}{mark}\n",
            fault.order,
            fault.operator.name(),
            fault.address,
            fault.function,
        ));
    }
    text
}

/// Writes `report.json`, `report.html` and `junit.xml` into a folder.
pub(super) fn write(summary: &Summary, batches: &[Batch], folder: &Path) -> Result<(), FaultError> {
    let named = |counts: &Counts| -> BTreeMap<&str, u64> {
        Verdict::ALL.iter().zip(counts).map(|(verdict, count)| (verdict.name(), *count)).collect()
    };
    let targets: BTreeMap<_, _> = summary.targets.iter().map(|(target, counts)| (target, named(counts))).collect();
    let operators: BTreeMap<_, _> = summary
        .operators
        .iter()
        .map(|(operator, (injected, executed, effects))| {
            (
                operator.name(),
                json!({ "injected": injected, "executed": executed, "effects of one alone": named(effects) }),
            )
        })
        .collect();
    let data = json!({
        "campaign": summary.header,
        "faults": summary.faults,
        "executed": summary.executed,
        "batches": summary.batches,
        "survived": summary.is_survived(),
        "targets": targets,
        "operators": operators,
        "recovery times below milliseconds": summary.histogram(),
    });
    fs::write(folder.join("report.json"), serde_json::to_string_pretty(&data)? + "\n")?;
    fs::write(folder.join("report.html"), page(summary, batches))?;
    fs::write(folder.join("junit.xml"), test_results(summary, batches))?;
    Ok(())
}

/// Text as it stands in HTML or XML.
fn escaped(text: &str) -> String {
    let visible = text.replace(|c: char| c.is_control() && c != '\n', "?");
    visible.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn page(summary: &Summary, batches: &[Batch]) -> String {
    let mut text = String::from(
        "<!doctype html><meta charset=utf-8><title>Fault-injection campaign</title>\n<style>body{font:15px sans-serif;\
         margin:2em;max-width:75em}table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em .8em;text-align:right;\
         border-bottom:1px solid #ccc}td:first-child,th:first-child{text-align:left}pre{background:#f4f4f4;padding:.6em;\
         overflow-x:auto}.bar{background:#47a;display:inline-block;height:.8em}</style>\n<h1>Fault-injection campaign</h1>\n",
    );
    text.push_str(&format!("<p>{}</p>\n<table><tr><th>batches into", escaped(&summary.conclusion())));
    for verdict in Verdict::ALL {
        text.push_str(&format!("<th>{}", verdict.name()));
    }
    for (target, counts) in &summary.targets {
        text.push_str(&format!("\n<tr><td>{}", escaped(target)));
        for count in counts {
            text.push_str(&format!("<td>{count}"));
        }
    }
    text.push_str("\n</table>\n<table><tr><th>kind of fault<th>injected<th>executed");
    for verdict in Verdict::ALL.iter().filter(|verdict| verdict.is_harmful()) {
        text.push_str(&format!("<th>{}, alone", verdict.name()));
    }
    for (operator, (injected, executed, effects)) in &summary.operators {
        text.push_str(&format!("\n<tr><td>{}<td>{injected}<td>{executed}", operator.name()));
        for (_, count) in Verdict::ALL.iter().zip(effects).filter(|(verdict, _)| verdict.is_harmful()) {
            text.push_str(&format!("<td>{count}"));
        }
    }
    text.push_str("\n</table>\n<h2>From a death to the end of the workload's first round after it</h2>\n<table>");
    let histogram = summary.histogram();
    let most = histogram.values().copied().max().unwrap_or(1);
    for (below, count) in histogram {
        let width = count * 400 / most + 1;
        text.push_str(&format!("\n<tr><td>below {below} ms<td>{count}<td style=text-align:left><span class=bar style=width:{width}px></span>"));
    }
    text.push_str("\n</table>\n<h2>What was not survived, and wrong data</h2>\n");
    let worse: Vec<_> = batches.iter().filter(|batch| batch.verdict > Verdict::Recovered).collect();
    if worse.is_empty() {
        text.push_str("<p>Nothing.</p>\n");
    }
    for batch in worse {
        text.push_str(&format!(
            "<h3>Batch {} into {}: {}</h3>\n<p>{}</p>\n<pre>{}</pre>\n<p>Again: <code>cargo xtask fault --replay records/batch-{}.json</code></p>\n",
            batch.number,
            escaped(&batch.target),
            batch.verdict.name(),
            escaped(&batch.story),
            escaped(&faults(batch)),
            batch.number
        ));
    }
    text
}

/// One test case for each target: that everything was survived.
fn test_results(summary: &Summary, batches: &[Batch]) -> String {
    let failed = |target: &str| -> Vec<&Batch> {
        batches.iter().filter(|batch| batch.target == target && !batch.verdict.is_survived()).collect()
    };
    let failures = summary.targets.keys().filter(|target| !failed(target).is_empty()).count();
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"fault\" tests=\"{}\" failures=\"{failures}\">\n",
        summary.targets.len()
    );
    for target in summary.targets.keys() {
        text.push_str(&format!("  <testcase classname=\"fault\" name=\"{}\">", escaped(target)));
        for batch in failed(target) {
            text.push_str(&format!(
                "\n    <failure message=\"batch {}: {}\">{}\n{}</failure>\n  ",
                batch.number,
                batch.verdict.name(),
                escaped(&batch.story),
                escaped(&faults(batch))
            ));
        }
        text.push_str("</testcase>\n");
    }
    text + "</testsuite>\n"
}

#[cfg(test)]
mod tests {
    use super::super::record::Fault;
    use super::*;

    fn batch(target: &str, verdict: Verdict, culprit: Option<usize>) -> Batch {
        let fault = |order| Fault {
            operator: Operator::FlipBit,
            address: 0x20_1000,
            function: "core::fmt<T>".to_owned(),
            old: "90".to_owned(),
            new: "91".to_owned(),
            detour: None,
            order,
        };
        Batch {
            number: 7,
            target: target.to_owned(),
            faults: vec![fault(0), fault(1)],
            verdict,
            story: "read at <0x0>".to_owned(),
            recovered: (verdict == Verdict::Recovered).then_some(3_500_000),
            culprit,
            workload: "work".to_owned(),
            asked: vec![],
            image: "abc".to_owned(),
        }
    }

    fn summary(batches: &[Batch]) -> Summary {
        let header = Header {
            targets: vec!["fat".to_owned(), "uart".to_owned()],
            faults: 100,
            batch: 2,
            seed: 1,
            operators: Operator::CODE.to_vec(),
            workload: "work".to_owned(),
            asked: vec![],
            image: "abc".to_owned(),
        };
        Summary::of(&header, batches)
    }

    #[test]
    fn the_figures_are_those_of_the_batches() {
        let batches = [batch("fat", Verdict::Recovered, Some(1)), batch("fat", Verdict::NoEffect, None)];
        let summary = summary(&batches);
        assert!(summary.is_survived());
        assert_eq!((summary.faults, summary.executed, summary.batches), (4, 2, 2));
        let (injected, executed, effects) = summary.operators[&Operator::FlipBit];
        assert_eq!((injected, executed, effects[Verdict::Recovered as usize]), (4, 2, 1));
        assert_eq!(summary.histogram(), BTreeMap::from([(4, 1)]));
        let shown = summary.to_string();
        assert!(shown.contains("1 deaths, 0 not recovered from") && shown.contains("median 4 ms"), "{shown}");
    }

    #[test]
    fn what_is_not_survived_fails_the_tests_of_its_target_alone() {
        let batches = [batch("fat", Verdict::OtherHarmed, None), batch("uart", Verdict::WrongData, Some(1))];
        let summary = summary(&batches);
        assert!(!summary.is_survived());
        let results = test_results(&summary, &batches);
        assert!(results.contains("tests=\"2\" failures=\"1\"") && results.contains("read at &lt;0x0&gt;"), "{results}");
        assert_eq!(results.matches("<failure").count(), 1);
        let page = page(&summary, &batches);
        assert!(page.contains("other harmed") && page.contains("core::fmt&lt;T&gt;"));
        assert!(page.contains("has this effect alone"));
    }
}
