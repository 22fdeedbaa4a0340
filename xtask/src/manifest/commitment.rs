//! Whether the machine has the memory that the manifest promises.

use std::ops::Range;

use manifest::PAGE_BYTES;

use super::{
    declaration::Declarations,
    diagnostic::{Diagnostic, Rule},
    guests::GuestDeclaration,
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

/// Bytes that the guests and their files take.
pub(super) fn guest_memory(declarations: &Declarations) -> u64 {
    let guests = declarations.domains.iter().filter_map(|domain| domain.guest.as_ref());
    guests.flat_map(guest_parts).map(|(_, bytes, _)| bytes).fold(0, u64::saturating_add)
}

/// What one guest takes: each part, its bytes, and where it is written.
fn guest_parts(guest: &GuestDeclaration) -> impl Iterator<Item = (&'static str, u64, Range<usize>)> {
    // Files share no page in the archive.
    let files = guest
        .files
        .iter()
        .map(|(file, declared)| (file.name(), declared.bytes.next_multiple_of(PAGE_BYTES), declared.path.span()));
    std::iter::once(("guest", guest.memory_bytes(), guest.memory_span.clone())).chain(files)
}

/// Reports a system that needs more memory than `machine_memory` bytes. What guests take, the machine has beside.
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
        for (part, bytes, span) in domain.guest.iter().flat_map(guest_parts) {
            add(format!("the {part} of `{name}`"), bytes, span);
        }
        for ring in domain.uses.iter().filter_map(|usage| usage.ring.as_ref()) {
            add(format!("a ring of `{name}`"), *ring.get_ref(), ring.span());
        }
    }
    let machine_memory = machine_memory.saturating_add(guest_memory(declarations));
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
