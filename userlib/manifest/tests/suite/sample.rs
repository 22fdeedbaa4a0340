//! A small consistent system: supervisor, a block driver, a filesystem with a ring to it, an app, an onlooker.

use manifest::{
    Bus, Device, Domain, DomainIndex, Endpoint, EndpointIndex, Grant, Group, GroupIndex, Kind, Notification,
    NotificationIndex, OnDeath, PortRange, Restart, Ring, RingIndex, SUPERVISION, SUPERVISOR, Signal, Strategy, System,
    Use,
};

pub(crate) const SUPERVISOR_DOMAIN: DomainIndex = DomainIndex::SUPERVISOR;
pub(crate) const DISK: DomainIndex = DomainIndex(1);
pub(crate) const FILES: DomainIndex = DomainIndex(2);
pub(crate) const SHELL: DomainIndex = DomainIndex(3);
pub(crate) const ONLOOKER: DomainIndex = DomainIndex(4);

fn domain(name: &str, kind: Kind, level: u8) -> Domain {
    Domain {
        name: name.into(),
        binary: name.into(),
        kind,
        level,
        priority: 100,
        cpu: 0,
        time_slice_us: 5000,
        bound: None,
        memory: 1 << 20,
        vault: 0,
        capabilities: 256,
        threads: 4,
        restart: Restart::OnDeath { limit: 10, window_ms: 60_000, backoff_ms: 20, max_backoff_ms: 2000 },
        heartbeat_ms: 0,
        provides: vec![],
        uses: vec![],
        device: None,
        args: vec![],
        grants: vec![],
        guest: None,
        guest_memory: 0,
    }
}

fn endpoint(interface: &str, interface_id: u64, server: DomainIndex, level: u8) -> Endpoint {
    Endpoint { interface: interface.into(), interface_id, server, level, ceiling: 100 }
}

fn usage(client: DomainIndex, endpoint: u16, name: &str, ring: Option<u16>) -> Use {
    let (badge, ring) = (u64::from(client.0), ring.map(RingIndex));
    Use { endpoint: EndpointIndex(endpoint), name: name.into(), badge, ring, on_death: OnDeath::Error }
}

pub(crate) fn signal(notification: u16, bit: u8) -> Signal {
    Signal { notification: NotificationIndex(notification), bit }
}

fn group(name: &str, parent: Option<GroupIndex>, members: &[DomainIndex]) -> Group {
    let strategy = Strategy::RestForOne;
    Group { name: name.into(), parent, members: members.to_vec(), strategy, limit: 3, window_ms: 60_000 }
}

pub(crate) fn system() -> System {
    let supervisor = Domain {
        provides: vec![EndpointIndex(0)],
        grants: vec![Grant::Power, Grant::Supervision],
        ..domain(SUPERVISOR, Kind::Server, 0)
    };
    let disk = Domain {
        provides: vec![EndpointIndex(1)],
        device: Some(Device {
            bus: Bus::Legacy { ports: vec![PortRange { base: 0x1f0, count: 8 }], irqs: vec![14] },
            required: false,
            needs_iommu: false,
        }),
        heartbeat_ms: 2000,
        ..domain("disk", Kind::Driver, 1)
    };
    let files = Domain {
        provides: vec![EndpointIndex(2)],
        uses: vec![usage(FILES, 1, "block", Some(0))],
        args: vec!["--cache".into(), "4M".into()],
        vault: 4096,
        ..domain("files", Kind::Server, 2)
    };
    let shell = Domain {
        uses: vec![usage(SHELL, 2, "filesystem", None), usage(SHELL, 0, "supervision", None)],
        restart: Restart::Never,
        ..domain("shell", Kind::App, 3)
    };
    System {
        domains: vec![supervisor, disk, files, shell, domain("onlooker", Kind::App, 1)],
        endpoints: vec![
            endpoint(SUPERVISION, 0x51, SUPERVISOR_DOMAIN, 0),
            endpoint("block", 0x52, DISK, 1),
            endpoint("filesystem", 0x53, FILES, 2),
        ],
        notifications: vec![Notification { owner: DISK, assigned: 1 }, Notification { owner: FILES, assigned: 1 }],
        rings: vec![Ring {
            endpoint: EndpointIndex(1),
            client: FILES,
            driver: DISK,
            bytes: 5 << 20,
            doorbell: signal(0, 0),
            completion: signal(1, 0),
            lent_to: None,
        }],
        groups: vec![group("storage", None, &[FILES]), group("hardware", Some(GroupIndex(0)), &[DISK])],
        reserve: 24 << 20,
    }
}
