//! Putting the compiled form together from declarations in which nothing was found wrong.

use manifest::{
    ASSIGNABLE_BITS, Domain, DomainIndex, Endpoint, EndpointIndex, MAX_DOMAINS, Notification, NotificationIndex, Ring,
    RingIndex, Signal, System, Use,
};

use super::{
    Environment,
    declaration::{Declaration, Declarations},
    diagnostic::{Diagnostic, Rule},
    graph::Graph,
    groups,
    guests::GuestDeclaration,
    reader::Findings,
};

/// Builds the system; `None` if it is too large, which is reported.
pub(super) fn assemble(
    declarations: &Declarations,
    graph: &Graph,
    environment: &Environment<'_>,
    findings: &Findings,
) -> Option<System> {
    let domains = &declarations.domains;
    if let Some(beyond) = domains.get(MAX_DOMAINS) {
        findings.report(
            Diagnostic::new(
                Rule::TooMany,
                beyond.name.span(),
                format!("a system has at most {MAX_DOMAINS} domains, the supervisor among them"),
            )
            .label("one too many")
            .hint("merge or remove domains"),
        );
        return None;
    }
    let levels = graph.levels();
    let mut system = System {
        domains: Vec::new(),
        endpoints: Vec::new(),
        notifications: Vec::new(),
        rings: Vec::new(),
        groups: groups::assemble(&declarations.groups, domains),
        reserve: declarations.reserve,
    };
    for (position, (domain, &level)) in domains.iter().zip(&levels).enumerate() {
        add_domain(&mut system, index(position), domain, level, environment);
    }
    for (position, domain) in domains.iter().enumerate() {
        connect(&mut system, position, domain, domains, graph, findings)?;
    }
    raise_ceilings(&mut system);
    Some(system)
}

/// The index of the domain at `position`, which [`MAX_DOMAINS`] bounds.
fn index(position: usize) -> DomainIndex {
    DomainIndex(position as u16)
}

fn add_domain(
    system: &mut System,
    index: DomainIndex,
    declaration: &Declaration,
    level: u8,
    environment: &Environment<'_>,
) {
    let resources = &declaration.resources;
    let mut grants: Vec<_> = declaration.grants.iter().map(|grant| *grant.get_ref()).collect();
    grants.sort_unstable();
    let mut provides = Vec::new();
    for interface in &declaration.provides {
        provides.push(EndpointIndex(system.endpoints.len() as u16));
        system.endpoints.push(Endpoint {
            interface: interface.get_ref().clone(),
            // Every interface was found when the uses were resolved.
            interface_id: environment.interface_id(interface.get_ref()).unwrap_or_default(),
            server: index,
            level,
            ceiling: resources.priority,
        });
    }
    system.domains.push(Domain {
        name: declaration.name.get_ref().clone(),
        binary: declaration.binary.get_ref().clone(),
        kind: declaration.kind,
        level,
        priority: resources.priority,
        cpu: resources.cpu,
        time_slice_us: resources.time_slice_us,
        bound: declaration.bound.as_ref().map(|bound| *bound.get_ref()),
        memory: resources.memory,
        vault: declaration.vault,
        capabilities: resources.capabilities,
        threads: resources.threads,
        restart: resources.restart,
        heartbeat_ms: resources.heartbeat_ms,
        provides,
        uses: Vec::new(),
        device: declaration.device.as_ref().map(|device| device.device.clone()),
        args: declaration.args.clone(),
        grants,
        guest: declaration.guest.as_ref().map(|declared| declared.guest.clone()),
        guest_memory: declaration.guest.as_ref().map_or(0, GuestDeclaration::memory_bytes),
    });
}

/// Adds the uses and rings of one domain.
fn connect(
    system: &mut System,
    position: usize,
    declaration: &Declaration,
    declarations: &[Declaration],
    graph: &Graph,
    findings: &Findings,
) -> Option<()> {
    let client = index(position);
    for (number, declared) in declaration.uses.iter().enumerate() {
        let driver = index(graph.provider(position, number)?);
        let endpoint = *system[driver]
            .provides
            .iter()
            .find(|&&provided| system[provided].interface == *declared.interface.get_ref())?;
        let ring = match &declared.ring {
            None => None,
            Some(bytes) => {
                let full = |owner: DomainIndex| report_full(&declarations[owner.position()], findings);
                let lent_to = borrower(graph, declarations, driver, declared.interface.get_ref());
                let worker = lent_to.unwrap_or(driver);
                let doorbell = assign(system, worker).or_else(|| full(worker))?;
                let completion = assign(system, client).or_else(|| full(client))?;
                let bytes = *bytes.get_ref();
                let ring = Ring { endpoint, client, driver, bytes, doorbell, completion, lent_to };
                system.rings.push(ring);
                Some(RingIndex((system.rings.len() - 1) as u16))
            }
        };
        system.domains[position].uses.push(Use {
            endpoint,
            name: declared.name.get_ref().clone(),
            badge: u64::from(client.0),
            ring,
            on_death: declared.on_death,
        });
    }
    Some(())
}

/// Whom `server` lends the rings of its clients of `interface`, if it does.
fn borrower(graph: &Graph, declarations: &[Declaration], server: DomainIndex, interface: &str) -> Option<DomainIndex> {
    let uses = &declarations[server.position()].uses;
    let lends =
        uses.iter().position(|declared| declared.lends.as_ref().is_some_and(|lent| lent.get_ref() == interface))?;
    graph.provider(server.position(), lends).map(index)
}

/// The next free bit of the notification of `owner`, which is created if it has none.
fn assign(system: &mut System, owner: DomainIndex) -> Option<Signal> {
    let notification = system.notification_of(owner).unwrap_or_else(|| {
        system.notifications.push(Notification { owner, assigned: 0 });
        NotificationIndex((system.notifications.len() - 1) as u16)
    });
    let word = &mut system.notifications[notification.position()];
    let bit = word.assigned.trailing_ones() as u8;
    if bit >= ASSIGNABLE_BITS {
        return None;
    }
    word.assigned |= 1 << bit;
    Some(Signal { notification, bit })
}

fn report_full(owner: &Declaration, findings: &Findings) -> Option<Signal> {
    findings.report(
        Diagnostic::new(
            Rule::TooMany,
            owner.name.span(),
            format!(
                "`{}` takes part in more rings than the {ASSIGNABLE_BITS} event bits of a domain can tell apart",
                owner.name.get_ref()
            ),
        )
        .hint("remove rings, or spread them over several domains"),
    );
    None
}

/// Lets every server work at the priority of the most urgent client that may be waiting for it, directly or through
/// other servers: it would else be held up by domains that matter less than that client.
fn raise_ceilings(system: &mut System) {
    let mut from_the_top: Vec<_> = (0..system.domains.len()).collect();
    from_the_top.sort_by_key(|&domain| std::cmp::Reverse(system.domains[domain].level));
    for domain in from_the_top {
        // All clients are at higher levels, so the ceilings of this domain's own endpoints are final.
        let urgency = system.domains[domain]
            .provides
            .iter()
            .map(|&endpoint| system[endpoint].ceiling)
            .fold(system.domains[domain].priority, u8::max);
        let used: Vec<_> = system.domains[domain].uses.iter().map(|usage| usage.endpoint).collect();
        for endpoint in used {
            let ceiling = &mut system.endpoints[endpoint.position()].ceiling;
            *ceiling = urgency.max(*ceiling);
        }
    }
}
