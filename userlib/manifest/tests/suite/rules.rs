//! Every rule of a system, by breaking it.

use crate::sample::{DISK, FILES, ONLOOKER, SHELL, SUPERVISOR_DOMAIN};
use manifest::{
    Bound, Bus, Device, DomainIndex, EndpointIndex, Grant, GroupIndex, Guest, Inconsistency, Kind, NotificationIndex,
    PortRange, Restart, RingIndex, System, name_is_valid,
};

fn broken(change: impl FnOnce(&mut System)) -> Inconsistency {
    let mut system = crate::sample::system();
    assert_eq!(system.check(), Ok(()));
    change(&mut system);
    system.check().expect_err("the change breaks a rule")
}

#[test]
fn the_first_domain_must_be_the_supervisor() {
    assert_eq!(broken(|system| system.domains.clear()), Inconsistency::NoSupervisor);
    assert_eq!(broken(|system| system.domains[0].name = "boss".into()), Inconsistency::NoSupervisor);
    let usage = crate::sample::system().domains[3].uses[0].clone();
    assert_eq!(broken(|system| system.domains[0].uses.push(usage)), Inconsistency::NoSupervisor);
}

#[test]
fn the_number_of_domains_is_bounded() {
    let refusal = broken(|system| {
        let template = system.domains[4].clone();
        for number in 0..manifest::MAX_DOMAINS {
            system.domains.push(manifest::Domain { name: format!("extra-{number}"), ..template.clone() });
        }
    });
    assert_eq!(refusal, Inconsistency::TooMany);
}

#[test]
fn names_are_valid_and_unique() {
    assert_eq!(broken(|system| system.domains[4].name = "shell".into()), Inconsistency::Name(ONLOOKER));
    assert_eq!(broken(|system| system.domains[4].name = "On Looker".into()), Inconsistency::Name(ONLOOKER));
    assert_eq!(broken(|system| system.domains[4].binary = "../init".into()), Inconsistency::Name(ONLOOKER));
    assert_eq!(broken(|system| system.domains[3].uses[0].name = "supervision".into()), Inconsistency::Name(SHELL));
}

#[test]
fn a_name_is_lowercase_letters_digits_and_inner_dashes() {
    for name in ["a", "virtio-blk", "e1000", "abcdefghijklmnopqrstuvwx"] {
        assert!(name_is_valid(name), "{name} is refused");
    }
    for name in ["", "1a", "-a", "a-", "A", "a_b", "a b", "é", "abcdefghijklmnopqrstuvwxy"] {
        assert!(!name_is_valid(name), "{name} is accepted");
    }
}

#[test]
fn amounts_are_in_range() {
    let amount = Inconsistency::Amount(DISK);
    assert_eq!(broken(|system| system.domains[1].memory += 1), amount);
    assert_eq!(broken(|system| system.domains[1].memory = 0), amount);
    assert_eq!(broken(|system| system.domains[1].vault = 5), amount);
    for slots in [0, 8, 100, 2048] {
        assert_eq!(broken(|system| system.domains[1].capabilities = slots), amount, "{slots} slots");
    }
    assert_eq!(broken(|system| system.domains[1].threads = 0), amount);
    assert_eq!(broken(|system| system.domains[1].time_slice_us = 0), amount);
    assert_eq!(broken(|system| system.domains[1].args.push("x".repeat(1024))), amount);
    let restart = Restart::OnDeath { limit: 1, window_ms: 1, backoff_ms: 2, max_backoff_ms: 1 };
    assert_eq!(broken(|system| system.domains[1].restart = restart), amount);
    assert_eq!(broken(|system| system.domains[1].cpu = 32), amount);
}

/// Bounds a domain, as far as its threads allow it.
fn bind(system: &mut System, domain: DomainIndex, cpu: u8, slice_us: u32, period_us: u32) {
    let domain = &mut system.domains[domain.position()];
    (domain.cpu, domain.threads, domain.bound) = (cpu, 1, Some(Bound { slice_us, period_us }));
}

#[test]
fn a_bound_is_a_part_of_a_period_for_one_thread() {
    let amount = Inconsistency::Amount(DISK);
    for (slice, period) in [(9, 100), (101, 100), (0, 0), (10, 3_600_000_001)] {
        assert_eq!(broken(|system| bind(system, DISK, 0, slice, period)), amount, "{slice} of {period}");
    }
    let refusal = broken(|system| {
        bind(system, DISK, 0, 2_000, 10_000);
        system.domains[1].threads = 2;
    });
    assert_eq!(refusal, amount, "a second thread would have a second budget");
    let mut system = crate::sample::system();
    for (slice, period) in [(10, 10), (10, 3_600_000_000), (3_600_000_000, 3_600_000_000)] {
        bind(&mut system, DISK, 31, slice, period);
        assert_eq!(system.check(), Ok(()), "{slice} of {period}");
    }
}

#[test]
fn the_bounded_domains_of_a_processor_are_promised_no_more_than_all_of_it() {
    let mut system = crate::sample::system();
    for domain in [DISK, FILES, SHELL] {
        bind(&mut system, domain, 1, 10, 30);
    }
    assert_eq!(system.check(), Ok(()), "three thirds are one processor");
    bind(&mut system, ONLOOKER, 0, 10, 10);
    assert_eq!(system.check(), Ok(()), "another processor has its own time");
    bind(&mut system, ONLOOKER, 1, 10, 3_600_000);
    assert_eq!(system.check(), Err(Inconsistency::Processor(ONLOOKER)));
}

#[test]
fn references_lead_to_what_they_are_meant_for() {
    assert_eq!(broken(|system| system.domains[3].uses[0].endpoint = EndpointIndex(9)), Inconsistency::Reference(SHELL));
    assert_eq!(broken(|system| system.domains[2].uses[0].ring = Some(RingIndex(9))), Inconsistency::Reference(FILES));
    assert_eq!(broken(|system| system.domains[3].uses[0].ring = Some(RingIndex(0))), Inconsistency::Reference(SHELL));
    assert_eq!(broken(|system| system.domains[4].provides.push(EndpointIndex(1))), Inconsistency::Reference(ONLOOKER));
}

#[test]
fn every_use_goes_strictly_down() {
    let refusal = broken(|system| {
        system.domains[2].level = 3;
        system.endpoints[2].level = 3;
    });
    assert_eq!(refusal, Inconsistency::Level(SHELL));
    assert_eq!(broken(|system| system.domains[4].level = 0), Inconsistency::Level(ONLOOKER));
}

#[test]
fn a_badge_names_its_client() {
    assert_eq!(broken(|system| system.domains[3].uses[0].badge = 2), Inconsistency::Badge(SHELL));
}

#[test]
fn hardware_belongs_to_one_domain() {
    let device = |ports: &[(u16, u16)], irqs: &[u8]| {
        let ports = ports.iter().map(|&(base, count)| PortRange { base, count }).collect();
        Some(Device { bus: Bus::Legacy { ports, irqs: irqs.to_vec() }, required: true, needs_iommu: false })
    };
    let refusal = Inconsistency::Device(ONLOOKER);
    assert_eq!(broken(|system| system.domains[4].device = device(&[(0x1f7, 1)], &[])), refusal);
    assert_eq!(broken(|system| system.domains[4].device = device(&[], &[14])), refusal);
    assert_eq!(broken(|system| system.domains[4].device = device(&[], &[16])), refusal);
    assert_eq!(broken(|system| system.domains[4].device = device(&[(0xffff, 2)], &[])), refusal);
    assert_eq!(broken(|system| system.domains[4].device = device(&[], &[])), refusal);
    assert_eq!(broken(|system| system.domains[4].device = device(&[(1, 2), (2, 1)], &[])), refusal);

    let mut system = crate::sample::system();
    system.domains[4].device = device(&[(0x1f8, 8), (0x1e8, 8)], &[15]);
    assert_eq!(system.check(), Ok(()), "neighbouring ranges do not overlap");
}

#[test]
fn pci_matches_collide_if_they_may_be_the_same_function() {
    let pci = |vendor, devices: &[u16], index| Bus::Pci { vendor, devices: devices.to_vec(), index, interrupts: 1 };
    let one = pci(0x1af4, &[0x1042, 0x1001], 0);
    assert!(one.collides_with(&pci(0x1af4, &[0x1001, 0x1042], 0)), "the order of a list means nothing");
    assert!(!one.collides_with(&pci(0x1af4, &[0x1042, 0x1001], 1)));
    assert!(one.collides_with(&pci(0x1af4, &[0x1042], 1)), "indices into different lists say nothing");
    assert!(!one.collides_with(&pci(0x1af4, &[0x1041], 0)));
    assert!(!one.collides_with(&pci(0x8086, &[0x1042, 0x1001], 0)));
}

#[test]
fn exclusive_grants_have_one_holder_and_supervision_is_the_supervisors() {
    let refusal = broken(|system| {
        system.domains[1].grants.push(Grant::Ecam);
        system.domains[4].grants.push(Grant::Ecam);
    });
    assert_eq!(refusal, Inconsistency::Grant(ONLOOKER));
    let refusal = broken(|system| {
        system.domains[0].grants.clear();
        system.domains[4].grants.push(Grant::Supervision);
    });
    assert_eq!(refusal, Inconsistency::Grant(ONLOOKER));
}

#[test]
fn endpoints_fit_their_servers() {
    assert_eq!(broken(|system| system.endpoints[1].level = 2), Inconsistency::Endpoint(EndpointIndex(1)));
    assert_eq!(
        broken(|system| system.endpoints[1].server = DomainIndex(77)),
        Inconsistency::Endpoint(EndpointIndex(1))
    );
    assert_eq!(broken(|system| system.endpoints[1].ceiling = 99), Inconsistency::Endpoint(EndpointIndex(1)));
    assert_eq!(
        broken(|system| system.endpoints[1].interface = "supervision".into()),
        Inconsistency::Endpoint(EndpointIndex(1))
    );
}

/// The sample's files as the monitor of a guest whose disk is the driver's, changed.
fn with_guest(change: impl FnOnce(&mut System)) -> Result<(), Inconsistency> {
    let mut system = crate::sample::system();
    let monitor = &mut system.domains[2];
    monitor.kind = Kind::Guest;
    monitor.uses[0].name = "disk0".into();
    monitor.guest = Some(Guest {
        memory: 64 << 20,
        processors: 2,
        cpu: 1,
        priority: 99,
        time_slice_us: 5000,
        command_line: "console=ttyS0".into(),
        starts: true,
        disks: vec!["disk0".into()],
        is_linked: false,
    });
    monitor.guest_memory = (64 << 20) + (40 << 12);
    change(&mut system);
    system.check()
}

/// The same with another machine.
fn with_machine(change: impl FnOnce(&mut Guest)) -> Result<(), Inconsistency> {
    with_guest(|system| change(system.domains[2].guest.as_mut().unwrap()))
}

#[test]
fn a_guest_is_a_machine_that_there_can_be() {
    let refusal = Err(Inconsistency::Guest(FILES));
    assert_eq!(with_guest(|_| ()), Ok(()));
    for memory in [0, 14 << 20, 63 << 20, (64 << 20) + 4096, (3 << 30) + (2 << 20)] {
        assert_eq!(with_machine(|guest| guest.memory = memory), refusal, "{memory} bytes");
    }
    for processors in [0, 17] {
        assert_eq!(with_machine(|guest| guest.processors = processors), refusal);
    }
    assert_eq!(with_machine(|guest| guest.cpu = 32), refusal);
    assert_eq!(with_machine(|guest| guest.time_slice_us = 0), refusal);
    assert_eq!(with_machine(|guest| guest.priority = 100), refusal, "it would keep its monitor from running");
    assert_eq!(with_machine(|guest| guest.command_line = "x".repeat(2048)), refusal);
    assert_eq!(with_machine(|guest| guest.command_line = "a\0b".into()), refusal);
    let guest_memory = |bytes| with_guest(|system| system.domains[2].guest_memory = bytes);
    assert_eq!(guest_memory((64 << 20) - 4096), refusal, "it has not even the guest's own");
    assert_eq!(guest_memory((64 << 20) + 100), refusal);
}

#[test]
fn a_guest_has_disks_that_its_monitor_reaches_by_rings() {
    let refusal = Err(Inconsistency::Guest(FILES));
    assert_eq!(with_machine(|guest| guest.disks = vec!["disk1".into()]), refusal);
    assert_eq!(with_machine(|guest| guest.disks.push("disk1".into())), refusal, "nobody is called that");
    assert_eq!(with_guest(|system| system.domains[2].uses[0].name = "disk1".into()), refusal);
    assert_eq!(with_guest(|system| system.endpoints[1].interface = "echo".into()), refusal);
    let without_ring = with_guest(|system| {
        system.domains[2].uses[0].ring = None;
        system.rings.clear();
        system.notifications.clear();
    });
    assert_eq!(without_ring, refusal);
}

#[test]
fn a_guest_has_a_link_that_its_monitor_reaches_by_a_ring() {
    let refusal = Err(Inconsistency::Guest(FILES));
    assert_eq!(with_machine(|guest| guest.is_linked = true), refusal, "nobody is called that");
    let linked = |change: fn(&mut System)| {
        with_guest(|system| {
            let guest = system.domains[2].guest.as_mut().unwrap();
            (guest.is_linked, guest.disks) = (true, Vec::new());
            system.domains[2].uses[0].name = "link".into();
            system.endpoints[1].interface = "link".into();
            change(system);
        })
    };
    assert_eq!(linked(|_| ()), Ok(()));
    assert_eq!(linked(|system| system.endpoints[1].interface = "block".into()), refusal);
    let without_ring = linked(|system| {
        system.domains[2].uses[0].ring = None;
        system.rings.clear();
        system.notifications.clear();
    });
    assert_eq!(without_ring, refusal);
}

#[test]
fn monitors_and_nobody_else_have_guests() {
    let refusal = Err(Inconsistency::Guest(FILES));
    assert_eq!(with_guest(|system| system.domains[2].kind = Kind::Server), refusal);
    assert_eq!(with_guest(|system| system.domains[2].guest = None), refusal);
    assert_eq!(broken(|system| system.domains[2].guest_memory = 4096), Inconsistency::Guest(FILES));
}

#[test]
fn the_memory_of_guests_is_in_the_sum() {
    let without = crate::sample::system().memory_bytes();
    let with = with_guest(|system| assert_eq!(system.memory_bytes(), without + (64 << 20) + (40 << 12)));
    assert_eq!(with, Ok(()));
}

#[test]
fn the_machine_of_a_guest_survives_the_round_trip() {
    let survives = with_machine(|guest| {
        let mut bytes = guest.encode().unwrap();
        bytes.extend([0; 100]);
        assert_eq!(Guest::decode(&bytes), Ok(guest.clone()));
        assert!(Guest::decode(&bytes[..3]).is_err());
    });
    assert_eq!(survives, Ok(()));
}

#[test]
fn rings_fit_their_two_ends() {
    let refusal = Inconsistency::Ring(RingIndex(0));
    assert_eq!(broken(|system| system.rings[0].bytes = 100), refusal);
    assert_eq!(broken(|system| system.rings[0].driver = SHELL), refusal);
    assert_eq!(broken(|system| system.rings[0].doorbell = crate::sample::signal(1, 1)), refusal);
    assert_eq!(broken(|system| system.domains[2].uses[0].ring = None), refusal);
}

#[test]
fn an_event_bit_has_one_sender() {
    assert_eq!(broken(|system| system.notifications[1].assigned = 3), Inconsistency::Notification);
    let refusal = broken(|system| {
        let mut second = system.rings[0].clone();
        system.domains[3].uses[0].ring = Some(RingIndex(1));
        (second.client, second.driver, second.endpoint) = (SHELL, FILES, EndpointIndex(2));
        second.doorbell = system.rings[0].completion;
        second.completion = crate::sample::signal(2, 0);
        system.notifications.push(manifest::Notification { owner: SHELL, assigned: 1 });
        system.rings.push(second);
    });
    assert_eq!(refusal, Inconsistency::Notification, "two rings signal the same bit");
    let refusal = broken(|system| {
        let again = system.notifications[0].clone();
        system.notifications.push(manifest::Notification { assigned: 0, ..again });
    });
    assert_eq!(refusal, Inconsistency::Notification);
}

#[test]
fn authority_flows_only_along_what_is_written() {
    let system = crate::sample::system();
    let reaches = [
        // The supervisor's authority is over everyone.
        (SUPERVISOR_DOMAIN, DISK),
        (SUPERVISOR_DOMAIN, FILES),
        (SUPERVISOR_DOMAIN, SHELL),
        (SUPERVISOR_DOMAIN, ONLOOKER),
        // Its page for each domain's status, and the domain's faults.
        (DISK, SUPERVISOR_DOMAIN),
        (FILES, SUPERVISOR_DOMAIN),
        (SHELL, SUPERVISOR_DOMAIN),
        (ONLOOKER, SUPERVISOR_DOMAIN),
        // Ring in both directions, call.
        (FILES, DISK),
        (DISK, FILES),
        (SHELL, FILES),
    ];
    for (from, _) in system.domains() {
        for (to, _) in system.domains() {
            let expected = from == to || reaches.contains(&(from, to));
            assert_eq!(system.may_reach(from, to), expected, "from {from} to {to}");
        }
    }
    assert!(system.may_call(SHELL, FILES));
    assert!(!system.may_call(FILES, SHELL));
    assert!(!system.may_call(DISK, FILES), "a ring is no right to call");
    assert!(!system.may_reach(DomainIndex(9), DISK));
    assert!(!system.may_reach(SUPERVISOR_DOMAIN, DomainIndex(9)));
}

#[test]
fn parts_are_found_by_name_and_owner() {
    let system = crate::sample::system();
    assert_eq!(system.domain_named("files"), Some(FILES));
    assert_eq!(system.domain_named("file"), None);
    assert_eq!(system.notification_of(FILES), Some(NotificationIndex(1)));
    assert_eq!(system.notification_of(SHELL), None);
    assert_eq!(system.rings_of(FILES).map(|(index, _)| index).collect::<Vec<_>>(), [RingIndex(0)]);
    assert_eq!(system.rings_of(SHELL).count(), 0);
    assert_eq!(system.memory_bytes(), (5 << 20) + 4096 + (5 << 20));
    assert!(system[DISK].is_optional());
    assert!(!system[SHELL].is_optional());
}

#[test]
fn a_driver_on_the_pci_bus_has_memory_to_share_with_its_device() {
    let mut system = crate::sample::system();
    let without = system.memory_bytes();
    assert_eq!(system[DISK].dma_bytes(), 0, "it is driven through ports");
    let bus = Bus::Pci { vendor: 0x1af4, devices: vec![0x1042], index: 0, interrupts: 1 };
    system.domains[1].device = Some(Device { bus, required: true, needs_iommu: false });
    assert_eq!(system[DISK].dma_bytes(), 64 * 4096);
    assert_eq!(system.memory_bytes(), without + 64 * 4096);
}

/// The waits before the restarts of a domain each of whose lives lasts so many milliseconds.
fn waits(policy: Restart, lives: &[u64]) -> Vec<Option<u32>> {
    let mut waited = 0;
    let mut wait_after = |(deaths, lived): (u32, &u64)| {
        let wait = policy.backoff_after(deaths, *lived, waited);
        waited = wait.unwrap_or(waited);
        wait
    };
    (1..).zip(lives).map(&mut wait_after).collect()
}

const POLICY: Restart = Restart::OnDeath { limit: 40, window_ms: 60_000, backoff_ms: 20, max_backoff_ms: 2000 };

#[test]
fn waits_before_restarts_double_up_to_the_maximum_until_the_limit() {
    let waits = waits(POLICY, &[0; 41]);
    let expected = [20, 40, 80, 160, 320, 640, 1280, 2000, 2000].map(Some);
    assert_eq!(waits[..9], expected);
    assert_eq!(waits[39..], [Some(2000), None]);
    assert_eq!(Restart::Never.backoff_after(1, u64::MAX, 0), None);
}

#[test]
fn who_had_lived_as_long_as_the_longest_wait_does_not_wait() {
    assert_eq!(waits(POLICY, &[2000; 5]), [Some(0); 5]);
    assert_eq!(waits(POLICY, &[1999, 0, 0, 2000, 0]), [20, 40, 80, 0, 20].map(Some));
}

#[test]
fn who_lives_for_ten_times_its_wait_never_waits_longer_than_for_the_first_one() {
    assert_eq!(waits(POLICY, &[200; 5]), [Some(20); 5]);
    assert_eq!(waits(POLICY, &[199; 5]), [20, 40, 80, 160, 320].map(Some));
    assert_eq!(waits(POLICY, &[0, 0, 0, 800, 10]), [20, 40, 80, 20, 40].map(Some));
}

#[test]
fn a_policy_without_a_wait_never_waits() {
    let policy = Restart::OnDeath { limit: 40, window_ms: 60_000, backoff_ms: 0, max_backoff_ms: 0 };
    assert_eq!(waits(policy, &[0, 1000, 0]), [Some(0); 3]);
}

#[test]
fn groups_are_trees_of_which_a_domain_is_a_member_once() {
    let wrong = |index| Inconsistency::Group(GroupIndex(index));
    assert_eq!(broken(|system| system.groups[0].parent = Some(GroupIndex(1))), wrong(0));
    assert_eq!(broken(|system| system.groups[1].parent = Some(GroupIndex(1))), wrong(1));
    assert_eq!(broken(|system| system.groups[1].members.push(FILES)), wrong(1));
    assert_eq!(broken(|system| system.groups[0].members.push(FILES)), wrong(0));
    assert_eq!(broken(|system| system.groups[0].members = vec![SUPERVISOR_DOMAIN]), wrong(0));
    assert_eq!(broken(|system| system.groups[0].members = vec![DomainIndex(99)]), wrong(0));
    assert_eq!(broken(|system| system.groups[1].name = "storage".into()), wrong(1));
    assert_eq!(broken(|system| system.groups[1].window_ms = 0), wrong(1));
    let many = broken(|system| system.groups = vec![system.groups[0].clone(); manifest::MAX_GROUPS + 1]);
    assert_eq!(many, Inconsistency::TooMany);
}

#[test]
fn a_group_has_the_domains_of_those_within_it() {
    let system = crate::sample::system();
    let (storage, hardware) = (GroupIndex(0), GroupIndex(1));
    assert_eq!(system.domains_in(storage), [DISK, FILES]);
    assert_eq!(system.domains_in(hardware), [DISK]);
    assert_eq!((system.group_of(DISK), system.group_of(FILES)), (Some(hardware), Some(storage)));
    assert_eq!(system.group_of(SHELL), None);
    assert!(system.is_within(hardware, storage) && !system.is_within(storage, hardware));
}
