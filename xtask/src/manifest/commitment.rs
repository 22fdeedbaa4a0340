//! Whether the machine has the memory that the manifest promises.

use std::ops::Range;

use super::{
    declaration::Declarations,
    diagnostic::{Diagnostic, Rule},
    quantity::show_size,
    reader::Findings,
};

/// Consumers that the report names, the largest first.
const NAMED: usize = 5;

/// Something that takes memory.
struct Consumer {
    what: String,
    bytes: u64,
    span: Range<usize>,
}

/// Reports a system that needs more memory than `machine_memory` bytes.
pub(super) fn check(declarations: &Declarations, machine_memory: u64, findings: &Findings) {
    let mut consumers = Vec::new();
    for domain in &declarations.domains {
        let name = domain.name.get_ref();
        let mut add = |what: String, bytes: u64, span: Range<usize>| {
            if bytes > 0 {
                consumers.push(Consumer { what, bytes, span });
            }
        };
        let memory = domain.resources.memory;
        add(format!("`{name}`"), memory + bookkeeping(memory), domain.memory_span.clone());
        let dma = domain.device.as_ref().map_or(0, |declared| declared.device.dma_bytes());
        add(format!("what `{name}` shares with its device"), dma, domain.memory_span.clone());
        add(format!("the vault of `{name}`"), domain.vault, domain.memory_span.clone());
        for ring in domain.uses.iter().filter_map(|usage| usage.ring.as_ref()) {
            add(format!("a ring of `{name}`"), *ring.get_ref(), ring.span());
        }
    }
    let needed = consumers.iter().map(|consumer| consumer.bytes).fold(declarations.reserve, u64::saturating_add);
    if needed <= machine_memory {
        return;
    }
    // The largest first; of equals the one written first.
    consumers.sort_by_key(|consumer| std::cmp::Reverse(consumer.bytes));
    let Some(largest) = consumers.first() else {
        return;
    };
    let mut diagnostic = Diagnostic::new(
        Rule::OverCommitted,
        largest.span.clone(),
        format!("the system needs {} of memory, the machine has {}", show(needed), show(machine_memory)),
    )
    .label("the largest part");
    for consumer in consumers.iter().take(NAMED) {
        diagnostic = diagnostic.note(format!("{} takes {}", consumer.what, show(consumer.bytes)));
    }
    if let Some(others) = consumers.get(NAMED..).filter(|others| !others.is_empty()) {
        let bytes = others.iter().map(|consumer| consumer.bytes).fold(0, u64::saturating_add);
        diagnostic = diagnostic.note(format!("{} others take {}", others.len(), show(bytes)));
    }
    findings.report(
        diagnostic
            .note(format!("kernel, loader, boot archive and `init` take {}", show(declarations.reserve)))
            .hint(format!("give the domains less, or the machine at least {}", show(needed))),
    );
}

/// Pages that a domain needs beside its memory: page tables, capability table, message buffers.
fn bookkeeping(memory: u64) -> u64 {
    (128 << 10) + memory / 512 / 4096 * 4096
}

/// A size in mebibytes, rounded up to tenths, if it is not shorter without.
fn show(bytes: u64) -> String {
    let tenths = (u128::from(bytes) * 10).div_ceil(1 << 20);
    match tenths % 10 {
        _ if bytes < 1 << 20 => show_size(bytes),
        0 => format!("{}M", tenths / 10),
        tenth => format!("{}.{tenth}M", tenths / 10),
    }
}
