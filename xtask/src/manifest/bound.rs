//! How much of its processor a domain may use: reading it, and whether the processors have what is promised.

use manifest::Bound;
use toml::Spanned;

use super::{
    declaration::Declaration,
    diagnostic::{Diagnostic, Rule},
    quantity::{self, Malformed, show_duration},
    reader::{Findings, Section},
    resources::Resources,
};

const HOW: &str = "write how much in how long, such as \"2ms / 10ms\"";

/// The bound at `budget`. Who has one has one thread, and no use for a time slice.
pub(super) fn read_bound(section: &Section<'_>, resources: &mut Resources) -> Option<Spanned<Bound>> {
    let written = section.text("budget")?;
    let findings = section.findings();
    let bound = match parse(written.get_ref()) {
        Ok(bound) => bound,
        Err((message, hint)) => {
            findings.report(Diagnostic::new(Rule::InvalidDuration, written.span(), message).hint(hint));
            return None;
        }
    };
    if let Some(threads) = section.value("threads").filter(|_| resources.threads > 1) {
        findings.report(
            Diagnostic::new(
                Rule::Contradiction,
                threads.span(),
                format!("{} threads would have {} budgets", resources.threads, resources.threads),
            )
            .related(written.span(), "one is bounded here")
            .hint("a domain with `budget` has one thread: remove `threads`"),
        );
    }
    if let Some(slice) = section.value("time-slice") {
        findings.report(
            Diagnostic::new(Rule::Contradiction, slice.span(), "`time-slice` means nothing beside `budget`")
                .related(written.span(), "a run ends when this is used up")
                .hint("remove one of them"),
        );
    }
    resources.threads = 1;
    Some(Spanned::new(written.span(), bound))
}

/// What `SLICE / PERIOD` means, or what is wrong with it and what to do.
fn parse(text: &str) -> Result<Bound, (String, String)> {
    let malformed = || (format!("`budget` is no part of a processor's time: {text:?}"), HOW.to_owned());
    let (slice, period) = text.split_once('/').ok_or_else(malformed)?;
    let (least, most) = (u64::from(Bound::MIN_US), u64::from(Bound::MAX_US));
    let duration = |what: &str, text: &str| match quantity::parse_duration(text.trim()) {
        Ok(microseconds) if (least..=most).contains(&microseconds) => Ok(microseconds as u32),
        Ok(_) | Err(Malformed::TooLarge) => Err((
            format!(
                "the {what} of `budget`, {}, is out of range: {} to {} are possible",
                text.trim(),
                show_duration(least),
                show_duration(most)
            ),
            "choose a duration within the range".to_owned(),
        )),
        Err(_) => Err(malformed()),
    };
    let bound = Bound { slice_us: duration("slice", slice)?, period_us: duration("period", period)? };
    if !bound.is_valid() {
        return Err((
            format!("`budget` promises {} of every {}", slice.trim(), period.trim()),
            "what comes before the stroke is a part of what comes behind it".to_owned(),
        ));
    }
    Ok(bound)
}

/// Reports every domain with which a processor's bounded domains are promised more than all of it.
pub(super) fn check(domains: &[Declaration], findings: &Findings) {
    for (position, domain) in domains.iter().enumerate() {
        let Some(bound) = &domain.bound else { continue };
        let cpu = domain.resources.cpu;
        let promised: Vec<(&str, u64)> = domains[..=position]
            .iter()
            .filter(|other| other.resources.cpu == cpu)
            .filter_map(|other| Some((other.name.get_ref().as_str(), other.bound.as_ref()?.get_ref().share())))
            .collect();
        let sum: u64 = promised.iter().map(|(_, share)| share).sum();
        if sum <= Bound::WHOLE {
            continue;
        }
        let mut diagnostic = Diagnostic::new(
            Rule::OverCommitted,
            bound.span(),
            format!("the bounded domains of processor {cpu} are promised {} of it", percent(sum)),
        )
        .label("with this one it is too much");
        for (name, share) in &promised {
            diagnostic = diagnostic.note(format!("`{name}` is promised {}", percent(*share)));
        }
        findings.report(diagnostic.hint("promise less, or give one of them another `cpu`"));
    }
}

/// A share in per cent, rounded up to tenths if it is not whole.
fn percent(share: u64) -> String {
    let tenths = share.div_ceil(Bound::WHOLE / 1000);
    match tenths % 10 {
        0 => format!("{} %", tenths / 10),
        tenth => format!("{}.{tenth} %", tenths / 10),
    }
}
