//! What each domain holds is what `system.toml` gives it, and nothing more.

use std::collections::BTreeMap;
use std::iter;

use manifest::{Bus, DomainIndex, Grant, PAGE_BYTES, System};
use system_tests::{Bench, Shell};
use userlib::session::ClientId;
use xtask::build::Composition;

/// How many of each capability there are, by the words in which `caps` shows one: kind, badge, rights.
type Held = BTreeMap<String, usize>;

/// Pages of page tables for what a domain maps itself, at least: it gets what its own space has left over.
const TABLES: u64 = 8;
/// Rights on a window in which devices have their registers, of which `pci` hands out parts.
const WINDOW: &str = "read write dma split";

/// Adds a capability. What is shown as the badge of memory is how many pages it has.
fn add(held: &mut Held, kind: &str, badge: u64, rights: &str) {
    let badge = if badge == 0 { "-".into() } else { format!("{badge:#x}") };
    *held.entry(format!("{kind} {badge} {rights}")).or_default() += 1;
}

/// The manifest in its compiled form.
fn compiled() -> Vec<u8> {
    let composition = Composition::of_system().unwrap_or_else(|error| panic!("{error}"));
    composition.manifest.expect("the system has a manifest")
}

fn manifest_pages() -> u64 {
    (compiled().len() as u64).div_ceil(PAGE_BYTES)
}

pub(crate) fn composed() -> System {
    System::decode(&compiled()).expect("the manifest can be read")
}

/// What a domain must hold, device registers aside: where and how large these are depends on the machine.
fn due(system: &System, index: DomainIndex) -> Held {
    let domain = &system[index];
    let mut held = Held::new();
    // Itself: making objects within its quota, its space, pages for tables of that, its thread, and events.
    add(&mut held, "account", 0, "create");
    add(&mut held, "space", 0, "map");
    add(&mut held, "memory", TABLES, "donate");
    add(&mut held, "thread", 0, "control inspect");
    add(&mut held, "notification", 0, "notify wait");
    for _ in &domain.provides {
        add(&mut held, "endpoint", 0, "receive");
    }
    for usage in &domain.uses {
        add(&mut held, "endpoint", usage.badge, "call grant");
    }
    for (_, ring) in system.rings_of(index) {
        // Only the driver, whose device fills the ring, learns where it lies.
        let (rights, peer) =
            if ring.driver == index { ("read write dma", ring.completion) } else { ("read write", ring.doorbell) };
        add(&mut held, "memory", ring.bytes / PAGE_BYTES, rights);
        add(&mut held, "notification", peer.mask(), "notify");
    }
    match domain.device.as_ref().map(|device| &device.bus) {
        Some(Bus::Legacy { ports, irqs }) => {
            for range in ports {
                let shown = u64::from(range.count) << 32 | u64::from(range.base);
                add(&mut held, "ports", shown, "in out");
            }
            for _ in irqs {
                add(&mut held, "interrupt", 0, "handle message");
            }
        }
        Some(Bus::Pci { interrupts, .. }) => {
            for _ in 0..*interrupts {
                add(&mut held, "interrupt", 0, "handle message");
            }
            add(&mut held, "memory", domain.dma_bytes() / PAGE_BYTES, "read write dma");
            // What its device sees, since the machine has an IOMMU.
            add(&mut held, "space", 0, "map");
        }
        None => {}
    }
    for grant in &domain.grants {
        match grant {
            // The manifest says whose each device is.
            Grant::Ecam => add(&mut held, "memory", manifest_pages(), "read"),
            other => panic!("{} is granted {}, of which this test knows nothing", domain.name, other.name()),
        }
    }
    held
}

/// What a domain holds.
fn held(shell: &mut Shell, domain: &str) -> Held {
    let shown = shell.must(&format!("caps {domain}"));
    let mut lines = shown.lines();
    assert_eq!(
        lines.next().unwrap_or_default().split_whitespace().collect::<Vec<_>>(),
        ["SLOT", "KIND", "BADGE", "RIGHTS"]
    );
    let mut held = Held::new();
    for line in lines {
        let mut words: Vec<String> = line.split_whitespace().skip(1).map(Into::into).collect();
        if let [kind, badge, ..] = &mut words[..]
            && kind == "endpoint"
            && let Some(number) = badge.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok())
        {
            // Servers tell the lives of their clients apart; which one it is does not matter here.
            *badge = format!("{:#x}", ClientId::from_badge(number).domain());
        }
        if let [kind, pages, rights] = &mut words[..]
            && (kind.as_str(), rights.as_str()) == ("memory", "donate")
            && let Some(number) = pages.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok())
        {
            *pages = format!("{:#x}", number.min(TABLES));
        }
        *held.entry(words.join(" ")).or_default() += 1;
    }
    held
}

/// Takes the memory with these rights out of what a domain holds, and tells how many pages each has.
fn take_memory(held: &mut Held, rights: &str) -> Vec<u64> {
    let mut pages = Vec::new();
    held.retain(|capability, count| {
        let words: Vec<&str> = capability.splitn(3, ' ').collect();
        let ["memory", badge, shown] = words[..] else { return true };
        if shown != rights {
            return true;
        }
        let number = u64::from_str_radix(badge.trim_start_matches("0x"), 16).expect("memory has pages");
        pages.extend(iter::repeat_n(number, *count));
        false
    });
    pages
}

#[test]
fn every_domain_holds_what_the_manifest_gives_it_and_nothing_more() {
    let system = composed();
    let mut shell = Bench::with_default_disk().boot();
    // Now the driver has its device, and has given back what it needed to get it.
    shell.must("ls /disk");
    for (index, domain) in system.domains().skip(1) {
        let mut held = held(&mut shell, &domain.name);
        if domain.holds(Grant::Ecam) {
            let windows = take_memory(&mut held, WINDOW);
            assert!((1..=8).contains(&windows.len()), "{} windows for devices' registers", windows.len());
            // One MiB for every bus.
            let space = take_memory(&mut held, "read write");
            assert!(matches!(space[..], [pages] if pages > 0 && pages % 256 == 0), "configuration space: {space:?}");
        }
        if matches!(domain.device.as_ref().map(|device| &device.bus), Some(Bus::Pci { .. })) {
            // The registers of its own device, from `pci`, which knows from the manifest whose they are.
            let registers = take_memory(&mut held, "read write");
            assert!(matches!(registers[..], [1..=16]), "registers of {}: {registers:?} pages", domain.name);
        }
        assert_eq!(held, due(&system, index), "of {}", domain.name);
    }
    shell.shut_down();
}

#[test]
fn a_domain_that_was_started_again_holds_the_same_as_before() {
    let system = composed();
    let mut shell = Bench::with_default_disk().boot();
    shell.must("ls /disk");
    for (_, domain) in system.domains().skip(1).filter(|(_, domain)| domain.name != "shell") {
        let before = held(&mut shell, &domain.name);
        shell.must(&format!("restart {}", domain.name));
        // These need all domains: when they are done, it has what it needs.
        shell.must("sync");
        shell.must("ping");
        assert_eq!(held(&mut shell, &domain.name), before, "of {}", domain.name);
    }
    shell.shut_down();
}

#[test]
fn without_its_device_a_driver_leaves_nothing_to_call() {
    let mut shell = Bench::without_disk().boot();
    let refusal = shell.must_fail("disk");
    assert!(refusal.contains("the machine has no disk"), "{refusal}");
    // Whoever would have called it can be started again all the same.
    shell.must("kill fat");
    let refusal = shell.must_fail("ls /disk");
    assert!(refusal.contains("there is no disk"), "{refusal}");
    shell.shut_down();
}
