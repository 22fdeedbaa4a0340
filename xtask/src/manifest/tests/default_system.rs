//! The project's own `system.toml`.

use manifest::{Bound, Bus, DomainIndex, Grant, Kind, PortRange, Restart};

use super::*;

/// The text, without what `cargo xtask new` has put into it since.
fn source() -> String {
    crate::scaffold::without_made(include_str!("../../../../system.toml"))
}

fn system() -> System {
    compiled(&source())
}

fn domain(system: &System, name: &str) -> DomainIndex {
    system.domain_named(name).unwrap_or_else(|| panic!("there is no domain `{name}`"))
}

#[test]
fn it_compiles_without_a_warning_for_the_smallest_machine() {
    assert_eq!(mistakes(&source()), Vec::<String>::new());
}

#[test]
fn its_domains_are_at_the_levels_that_their_uses_imply() {
    let system = system();
    let levels: Vec<_> =
        system.domains.iter().map(|domain| (domain.name.as_str(), domain.kind, domain.level)).collect();
    let expected = [
        ("supervisor", Kind::Server, 0),
        ("uart", Kind::Driver, 1),
        ("shell", Kind::App, 4),
        ("pci", Kind::Driver, 1),
        ("virtio-blk", Kind::Driver, 2),
        ("fat", Kind::Server, 3),
        ("echo", Kind::Server, 1),
        ("crashlog", Kind::Server, 4),
    ];
    assert_eq!(levels, expected);
    assert!(system.domains.iter().all(|domain| domain.binary == domain.name));
}

#[test]
fn its_uses_lead_to_their_providers_under_the_clients_badge() {
    let system = system();
    let uses: Vec<_> = system
        .domains()
        .flat_map(|(_, domain)| domain.uses.iter().map(move |usage| (domain, usage)))
        .map(|(client, usage)| {
            let endpoint = &system[usage.endpoint];
            let server = system[endpoint.server].name.as_str();
            (client.name.as_str(), usage.name.as_str(), server, endpoint.interface_id, usage.badge)
        })
        .collect();
    let expected = [
        ("shell", "console", "uart", 0xa1, 2),
        ("shell", "filesystem", "fat", 0xa4, 2),
        ("shell", "block", "virtio-blk", 0xa3, 2),
        ("shell", "echo", "echo", 0xa5, 2),
        ("shell", "supervision", "supervisor", 0xa0, 2),
        ("pci", "supervision", "supervisor", 0xa0, 3),
        ("virtio-blk", "pci", "pci", 0xa2, 4),
        ("fat", "block", "virtio-blk", 0xa3, 5),
        ("crashlog", "filesystem", "fat", 0xa4, 7),
        ("crashlog", "supervision", "supervisor", 0xa0, 7),
    ];
    assert_eq!(uses, expected);
}

#[test]
fn it_says_of_every_use_what_the_death_of_the_provider_means() {
    let source = include_str!("../../../../system.toml");
    let system = system();
    // Nobody waits for what `crashlog` does.
    let clients = system.domains.iter().filter(|domain| domain.name != "crashlog");
    let uses: usize = clients.map(|domain| domain.uses.len()).sum();
    assert_eq!(source.matches("on-death = \"").count(), uses, "nothing is left to what holds if nothing is written");
}

#[test]
fn its_ring_joins_filesystem_and_block_driver() {
    let system = system();
    let (fat, disk) = (domain(&system, "fat"), domain(&system, "virtio-blk"));
    let [ring] = &system.rings[..] else { panic!("one ring, not {}", system.rings.len()) };
    assert_eq!((ring.client, ring.driver, ring.bytes), (fat, disk, 5 << 20));
    assert_eq!(system[ring.endpoint].interface, "block");
    assert_eq!(system[ring.doorbell.notification].owner, disk);
    assert_eq!(system[ring.completion.notification].owner, fat);
    assert_eq!(system[fat].uses[0].ring, Some(manifest::RingIndex(0)));
}

#[test]
fn its_devices_are_the_serial_port_and_an_optional_disk() {
    let system = system();
    let device = |name| system[domain(&system, name)].device.as_ref().expect("it drives a device");
    let ports = vec![PortRange { base: 0x3f8, count: 8 }];
    assert_eq!(device("uart").bus, Bus::Legacy { ports, irqs: vec![4] });
    assert!(device("uart").required);
    let devices = vec![0x1042, 0x1001];
    assert_eq!(device("virtio-blk").bus, Bus::Pci { vendor: 0x1af4, devices, index: 0, interrupts: 2 });
    assert!(system[domain(&system, "virtio-blk")].is_optional());
}

#[test]
fn power_and_the_log_are_the_supervisors_and_device_memory_is_pcis() {
    let system = system();
    for (index, domain) in system.domains() {
        let expected: &[Grant] = match domain.name.as_str() {
            "supervisor" => &[Grant::Power, Grant::KernelLog, Grant::Supervision],
            "pci" => &[Grant::Ecam],
            _ => &[],
        };
        assert_eq!(domain.grants, expected, "of {index}, {}", domain.name);
    }
}

#[test]
fn everybody_but_the_supervisor_is_restarted_and_all_but_the_shell_have_a_heartbeat() {
    let system = system();
    for (_, domain) in system.domains().skip(1) {
        assert!(matches!(domain.restart, Restart::OnDeath { .. }), "{} is restarted", domain.name);
        let beats = domain.name != "shell";
        assert_eq!(domain.heartbeat_ms, if beats { 2000 } else { 0 }, "of {}", domain.name);
    }
}

#[test]
fn its_echo_server_has_a_bound_and_a_processor_of_its_own() {
    let system = system();
    for (_, domain) in system.domains() {
        let bound = (domain.name == "echo").then_some(Bound { slice_us: 2_000, period_us: 10_000 });
        let expected = (u8::from(domain.name == "echo"), bound);
        assert_eq!((domain.cpu, domain.bound), expected, "of {}", domain.name);
    }
}

#[test]
fn its_authority_is_no_more_than_the_picture_in_ones_head() {
    let system = system();
    let expected = [
        ("virtio-blk", "pci"),
        ("fat", "virtio-blk"),
        ("virtio-blk", "fat"), // memory of the ring
        ("shell", "uart"),
        ("shell", "fat"),
        ("shell", "virtio-blk"), // what it has done; the ring is not shared with the shell
        ("shell", "echo"),
        ("crashlog", "fat"),
    ];
    for (from, sender) in system.domains().skip(1) {
        for (to, receiver) in system.domains() {
            let pair = (sender.name.as_str(), receiver.name.as_str());
            // Everybody's status and faults go to the supervisor.
            let reaches = from == to || to == DomainIndex::SUPERVISOR || expected.contains(&pair);
            assert_eq!(system.may_reach(from, to), reaches, "{pair:?}");
        }
    }
}

#[test]
fn its_compiled_form_survives_the_boot_archive() {
    let system = system();
    let bytes = system.encode().expect("the compiler's systems are consistent");
    assert_eq!(System::decode(&bytes), Ok(system));
}

#[test]
fn whoever_the_disk_needs_is_in_a_group() {
    let system = system();
    let [storage] = &system.groups[..] else { panic!("one group, not {}", system.groups.len()) };
    assert_eq!(storage.strategy, manifest::Strategy::RestForOne);
    assert_eq!(storage.members, ["pci", "virtio-blk", "fat"].map(|name| domain(&system, name)));
}
