//! What only one domain can have: names aside, hardware and the grants that are authority over all of something.

use std::ops::Range;

use toml::Spanned;

use super::{
    declaration::{Declaration, duplicate},
    diagnostic::{Diagnostic, Rule},
    reader::Findings,
};

/// A claim to a piece of hardware or to an exclusive grant.
struct Claim<'a, T> {
    domain: &'a str,
    what: T,
    span: Range<usize>,
}

/// Reports what two domains claim, or one domain twice.
pub(super) fn check(domains: &[Declaration], findings: &Findings) {
    let devices = || domains.iter().filter_map(|domain| Some((domain, domain.device.as_ref()?)));
    let ports = devices().flat_map(|(domain, device)| claims(domain, &device.ports));
    check_pairs(ports, findings, |one, other| {
        one.overlaps(*other).then(|| {
            let first = one.base.max(other.base);
            let last =
                (u32::from(one.base) + u32::from(one.count)).min(u32::from(other.base) + u32::from(other.count)) - 1;
            match u32::from(first) == last {
                true => format!("port {first:#x}"),
                false => format!("ports {first:#x} to {last:#x}"),
            }
        })
    });
    let irqs = devices().flat_map(|(domain, device)| claims(domain, &device.irqs));
    check_pairs(irqs, findings, |one, other| (one == other).then(|| format!("interrupt line {one}")));
    let functions =
        devices().filter(|(_, device)| device.ports.is_empty() && device.irqs.is_empty()).map(|(domain, device)| {
            Claim { domain: domain.name.get_ref(), what: &device.device.bus, span: device.span.clone() }
        });
    check_pairs(functions, findings, |one, other| {
        one.collides_with(other).then(|| match one == other {
            true => "one PCI device".to_owned(),
            false => "PCI devices that may be the same".to_owned(),
        })
    });
    let grants = domains.iter().flat_map(|domain| {
        // A misplaced `supervision` has its own report.
        domain
            .grants
            .iter()
            .filter(|grant| grant.get_ref().is_exclusive() && *grant.get_ref() != manifest::Grant::Supervision)
            .map(|grant| Claim { domain: domain.name.get_ref(), what: *grant.get_ref(), span: grant.span() })
    });
    check_pairs(grants, findings, |one, other| (one == other).then(|| format!("the grant `{}`", one.name())));
}

fn claims<'a, T: Copy>(domain: &'a Declaration, parts: &'a [Spanned<T>]) -> impl Iterator<Item = Claim<'a, T>> {
    parts.iter().map(|part| Claim { domain: domain.name.get_ref(), what: *part.get_ref(), span: part.span() })
}

/// Reports each claim that has something, named by `common`, in common with an earlier one.
fn check_pairs<'a, T>(
    claims: impl Iterator<Item = Claim<'a, T>>,
    findings: &Findings,
    common: impl Fn(&T, &T) -> Option<String>,
) {
    let mut earlier: Vec<Claim<'a, T>> = Vec::new();
    for claim in claims {
        let clash = earlier.iter().find_map(|other| common(&claim.what, &other.what).map(|what| (other, what)));
        if let Some((other, what)) = clash {
            let (span, first) = (claim.span.clone(), other.span.clone());
            findings.report(if other.domain == claim.domain {
                duplicate(span, first, format!("`{}` claims {what} twice", claim.domain))
            } else {
                Diagnostic::new(
                    Rule::ClaimedTwice,
                    span,
                    format!("`{}` and `{}` both claim {what}", other.domain, claim.domain),
                )
                .label(format!("claimed by `{}`", claim.domain))
                .related(first, format!("claimed by `{}` already", other.domain))
                .hint("two domains cannot share it: take it from one of them, or give one of them the other's work")
            });
        }
        earlier.push(claim);
    }
}
