//! The rules that every system keeps, whoever wrote its bytes.

use core::fmt;

use crate::{
    ASSIGNABLE_BITS, BLOCK, Bound, Bus, Domain, DomainIndex, EndpointIndex, Grant, GroupIndex, Kind, LINK,
    MAX_ARGUMENT_BYTES, MAX_CAPABILITIES, MAX_DOMAINS, MAX_GROUPS, MAX_NAME_BYTES, MAX_PROCESSORS, MIN_CAPABILITIES,
    Restart, RingIndex, SUPERVISION, SUPERVISOR, Signal, System, system::is_page_multiple,
};

/// A rule that a system breaks, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inconsistency {
    /// Domain 0 is missing, is not called `supervisor`, uses something, or does not provide `supervision`.
    NoSupervisor,
    /// There are more domains, endpoints, notifications, rings or groups than the format allows.
    TooMany,
    /// A name of the domain's is not valid, or not its own.
    Name(DomainIndex),
    /// The domain's memory, vault, capability table, threads, processor, time slice, bound, arguments or restart policy
    /// is out of range.
    Amount(DomainIndex),
    /// With this domain, the bounded ones of its processor are promised more than all of it.
    Processor(DomainIndex),
    /// The domain refers to an endpoint or ring that is not there or is not meant for it.
    Reference(DomainIndex),
    /// The domain's level is not above that of one of its providers, or it is at the supervisor's.
    Level(DomainIndex),
    /// A badge is not its client's index.
    Badge(DomainIndex),
    /// The domain's device is not well described, or another domain has a part of it.
    Device(DomainIndex),
    /// The domain has a grant that is another's alone.
    Grant(DomainIndex),
    /// The domain's guest is not well described, is none of its kind, or lacks a disk, its link or memory.
    Guest(DomainIndex),
    /// The endpoint's server, level or interface is wrong.
    Endpoint(EndpointIndex),
    /// The ring's ends, size or signals are wrong.
    Ring(RingIndex),
    /// The group's name, parent, members or window are wrong.
    Group(GroupIndex),
    /// A notification has no owner, shares its owner with another, or its bits are not those of its senders.
    Notification,
}

impl fmt::Display for Inconsistency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSupervisor => formatter.write_str("domain 0 is not a supervisor"),
            Self::TooMany => formatter.write_str("it has more parts than the format allows"),
            Self::Name(domain) => {
                write!(formatter, "domain {domain} has an invalid or repeated name")
            }
            Self::Amount(domain) => write!(formatter, "domain {domain} has a size, limit or duration out of range"),
            Self::Processor(domain) => {
                write!(formatter, "domain {domain} is promised more of its processor than others leave")
            }
            Self::Reference(domain) => write!(formatter, "domain {domain} refers to something that is not there"),
            Self::Level(domain) => write!(formatter, "domain {domain} is not above what it uses"),
            Self::Badge(domain) => {
                write!(formatter, "domain {domain} carries another domain's badge")
            }
            Self::Device(domain) => write!(formatter, "domain {domain} has a malformed device, or one of another's"),
            Self::Grant(domain) => write!(formatter, "domain {domain} has a grant that belongs to another"),
            Self::Guest(domain) => {
                write!(formatter, "domain {domain} has a malformed guest, or one that is not its own")
            }
            Self::Endpoint(endpoint) => {
                write!(formatter, "endpoint {endpoint} does not fit its server")
            }
            Self::Ring(ring) => write!(formatter, "ring {ring} does not fit its two ends"),
            Self::Group(group) => write!(formatter, "group {group} has a wrong name, parent, member or window"),
            Self::Notification => formatter.write_str("a notification does not fit its senders"),
        }
    }
}

impl core::error::Error for Inconsistency {}

/// Whether `name` may name a domain, a binary, an interface or a use: 1 to [`MAX_NAME_BYTES`] lowercase letters,
/// digits and dashes, the first a letter, the last no dash.
pub fn name_is_valid(name: &str) -> bool {
    name.len() <= MAX_NAME_BYTES
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

impl System {
    /// Checks the rules that the crate's page lists.
    ///
    /// # Errors
    ///
    /// The first rule found broken.
    pub fn check(&self) -> Result<(), Inconsistency> {
        let supervisor = self.domains.first().ok_or(Inconsistency::NoSupervisor)?;
        if supervisor.name != SUPERVISOR || !supervisor.uses.is_empty() || supervisor.level != 0 {
            return Err(Inconsistency::NoSupervisor);
        }
        let most = usize::from(u16::MAX);
        if self.domains.len() > MAX_DOMAINS
            || self.groups.len() > MAX_GROUPS
            || [self.endpoints.len(), self.notifications.len(), self.rings.len()].iter().any(|&len| len > most)
        {
            return Err(Inconsistency::TooMany);
        }
        self.check_endpoints()?;
        for (index, domain) in self.domains() {
            self.check_domain(index, domain)?;
            self.check_share(index, domain)?;
            self.check_uses(index, domain)?;
            self.check_claims(index, domain)?;
            self.check_guest(index, domain)?;
        }
        self.check_rings()?;
        self.check_groups()?;
        self.check_notifications()
    }

    /// Groups are trees whose roots come first, and a domain is a member of one at most.
    fn check_groups(&self) -> Result<(), Inconsistency> {
        for (index, group) in (0_u16..).map(GroupIndex).zip(&self.groups) {
            let earlier = &self.groups[..index.position()];
            let is_mortal =
                |member: &DomainIndex| *member != DomainIndex::SUPERVISOR && member.position() < self.domains.len();
            let is_free = |member: &DomainIndex| earlier.iter().all(|other| !other.members.contains(member));
            let is_sound = name_is_valid(&group.name)
                && earlier.iter().all(|other| other.name != group.name)
                && group.parent.is_none_or(|parent| parent < index)
                && group.members.is_sorted_by(|one, next| one < next)
                && group.members.iter().all(|member| is_mortal(member) && is_free(member))
                && group.window_ms > 0;
            if !is_sound {
                return Err(Inconsistency::Group(index));
            }
        }
        Ok(())
    }

    fn check_endpoints(&self) -> Result<(), Inconsistency> {
        for (position, endpoint) in (0_u16..).map(EndpointIndex).zip(&self.endpoints) {
            let fits = self.domains.get(endpoint.server.position()).is_some_and(|server| {
                server.level == endpoint.level
                    && endpoint.ceiling >= server.priority
                    && server.provides.iter().filter(|&&provided| provided == position).count() == 1
            });
            let supervises = endpoint.interface == SUPERVISION;
            let is_supervisors = endpoint.server == DomainIndex::SUPERVISOR;
            if !fits || supervises != is_supervisors || !name_is_valid(&endpoint.interface) {
                return Err(Inconsistency::Endpoint(position));
            }
        }
        Ok(())
    }

    fn check_domain(&self, index: DomainIndex, domain: &Domain) -> Result<(), Inconsistency> {
        let is_first = self.domain_named(&domain.name) == Some(index);
        if !is_first || !name_is_valid(&domain.name) || !name_is_valid(&domain.binary) {
            return Err(Inconsistency::Name(index));
        }
        let restart_is_sound = match domain.restart {
            Restart::Never => true,
            Restart::OnDeath { window_ms, backoff_ms, max_backoff_ms, .. } => {
                window_ms > 0 && backoff_ms <= max_backoff_ms
            }
        };
        let amounts_are_sound = domain.memory > 0
            && is_page_multiple(domain.memory)
            && is_page_multiple(domain.vault)
            && domain.capabilities.is_power_of_two()
            && (MIN_CAPABILITIES..=MAX_CAPABILITIES).contains(&domain.capabilities)
            && domain.threads > 0
            && domain.cpu < MAX_PROCESSORS
            && domain.time_slice_us > 0
            && domain.bound.is_none_or(|bound| bound.is_valid() && domain.threads == 1)
            && domain.args.iter().map(|arg| arg.len() + 1).sum::<usize>() <= MAX_ARGUMENT_BYTES
            && restart_is_sound;
        if !amounts_are_sound {
            return Err(Inconsistency::Amount(index));
        }
        if (domain.level == 0) != (index == DomainIndex::SUPERVISOR) {
            return Err(Inconsistency::Level(index));
        }
        let provides = &domain.provides;
        let belongs = |provided: &EndpointIndex| {
            self.endpoints.get(provided.position()).is_some_and(|endpoint| endpoint.server == index)
        };
        if !provides.iter().all(belongs) {
            return Err(Inconsistency::Reference(index));
        }
        if index == DomainIndex::SUPERVISOR && provides.len() != 1 {
            return Err(Inconsistency::NoSupervisor);
        }
        Ok(())
    }

    /// What the domain and those before it on its processor are promised is one processor at most.
    fn check_share(&self, index: DomainIndex, domain: &Domain) -> Result<(), Inconsistency> {
        let neighbours = self.domains[..=index.position()].iter().filter(|other| other.cpu == domain.cpu);
        let promised: u64 = neighbours.filter_map(|other| other.bound).map(Bound::share).sum();
        if domain.bound.is_some() && promised > Bound::WHOLE {
            return Err(Inconsistency::Processor(index));
        }
        Ok(())
    }

    fn check_uses(&self, index: DomainIndex, domain: &Domain) -> Result<(), Inconsistency> {
        for usage in &domain.uses {
            let endpoint = self.endpoints.get(usage.endpoint.position()).ok_or(Inconsistency::Reference(index))?;
            let ring_fits = usage.ring.is_none_or(|ring| {
                self.rings
                    .get(ring.position())
                    .is_some_and(|ring| ring.client == index && ring.endpoint == usage.endpoint)
            });
            if !ring_fits || domain.uses.iter().filter(|other| other.endpoint == usage.endpoint).count() != 1 {
                return Err(Inconsistency::Reference(index));
            }
            if endpoint.level >= domain.level {
                return Err(Inconsistency::Level(index));
            }
            if usage.badge != u64::from(index.0) {
                return Err(Inconsistency::Badge(index));
            }
            let is_first = domain.use_named(&usage.name) == Some(usage);
            if !is_first || !name_is_valid(&usage.name) {
                return Err(Inconsistency::Name(index));
            }
        }
        Ok(())
    }

    fn check_claims(&self, index: DomainIndex, domain: &Domain) -> Result<(), Inconsistency> {
        let earlier = &self.domains[..index.position()];
        if let Some(device) = &domain.device {
            let collides = earlier
                .iter()
                .filter_map(|other| other.device.as_ref())
                .any(|other| other.bus.collides_with(&device.bus));
            if collides || !device.bus.is_valid() {
                return Err(Inconsistency::Device(index));
            }
        }
        let takes_anothers = |grant: &Grant| {
            (grant.is_exclusive() && earlier.iter().any(|other| other.holds(*grant)))
                || (*grant == Grant::Supervision && index != DomainIndex::SUPERVISOR)
        };
        if domain.grants.iter().any(takes_anothers) || !domain.grants.is_sorted_by(|one, next| one < next) {
            return Err(Inconsistency::Grant(index));
        }
        Ok(())
    }

    /// A guest has memory, and disks and a link, each by a ring, and a domain that is for nothing else.
    fn check_guest(&self, index: DomainIndex, domain: &Domain) -> Result<(), Inconsistency> {
        let has_ring = |name: &str, interface: &str| {
            domain.use_named(name).is_some_and(|usage| {
                let endpoint = self.endpoints.get(usage.endpoint.position());
                usage.ring.is_some() && endpoint.is_some_and(|endpoint| endpoint.interface == interface)
            })
        };
        let is_sound = match &domain.guest {
            None => domain.kind != Kind::Guest && domain.guest_memory == 0,
            Some(guest) => {
                domain.kind == Kind::Guest
                    && guest.is_valid()
                    && guest.priority < domain.priority
                    && domain.guest_memory >= guest.memory
                    && is_page_multiple(domain.guest_memory)
                    && guest.disks.iter().all(|disk| has_ring(disk, BLOCK))
                    && (!guest.is_linked || has_ring(LINK, LINK))
            }
        };
        if is_sound { Ok(()) } else { Err(Inconsistency::Guest(index)) }
    }

    fn check_rings(&self) -> Result<(), Inconsistency> {
        for (position, ring) in (0_u16..).map(RingIndex).zip(&self.rings) {
            let belongs = self
                .domains
                .get(ring.client.position())
                .is_some_and(|client| client.uses.iter().filter(|usage| usage.ring == Some(position)).count() == 1);
            let serves = self
                .endpoints
                .get(ring.endpoint.position())
                .is_some_and(|endpoint| endpoint.server == ring.driver && ring.driver != DomainIndex::SUPERVISOR);
            let signals =
                self.signal_is_for(ring.doorbell, ring.worker()) && self.signal_is_for(ring.completion, ring.client);
            // Whoever is lent memory is asked for what goes through it by the ring's server, through another ring.
            let asks = |lent_to| self.rings.iter().any(|other| other.client == ring.driver && other.driver == lent_to);
            let is_lent_well = ring.lent_to.is_none_or(asks);
            if !belongs || !serves || !signals || !is_lent_well || ring.bytes == 0 || !is_page_multiple(ring.bytes) {
                return Err(Inconsistency::Ring(position));
            }
        }
        Ok(())
    }

    /// Every notification has an owner of its own, and its assigned bits are exactly its senders', one each.
    fn check_notifications(&self) -> Result<(), Inconsistency> {
        for (position, notification) in self.notifications.iter().enumerate() {
            let mut assigned = 0_u64;
            let signals = self.rings.iter().flat_map(|ring| [ring.doorbell, ring.completion]);
            for signal in signals.filter(|signal| signal.notification.position() == position) {
                if assigned & signal.mask() != 0 {
                    return Err(Inconsistency::Notification);
                }
                assigned |= signal.mask();
            }
            let others = &self.notifications[..position];
            if notification.assigned != assigned
                || notification.owner.position() >= self.domains.len()
                || others.iter().any(|other| other.owner == notification.owner)
            {
                return Err(Inconsistency::Notification);
            }
        }
        Ok(())
    }

    fn signal_is_for(&self, signal: Signal, owner: DomainIndex) -> bool {
        signal.bit < ASSIGNABLE_BITS
            && self
                .notifications
                .get(signal.notification.position())
                .is_some_and(|notification| notification.owner == owner)
    }
}

impl Bus {
    /// Whether one domain driving each would have the two drive the same hardware, or might.
    ///
    /// Two PCI descriptions with different lists of device ids that have one in common count matches differently,
    /// so whether their indices mean the same function is known only in the machine: they collide.
    pub fn collides_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Legacy { ports, irqs }, Self::Legacy { ports: other_ports, irqs: other_irqs }) => {
                ports.iter().any(|range| other_ports.iter().any(|other| range.overlaps(*other)))
                    || irqs.iter().any(|irq| other_irqs.contains(irq))
            }
            (
                Self::Pci { vendor, devices, index, .. },
                Self::Pci { vendor: other_vendor, devices: other_devices, index: other_index, .. },
            ) => {
                let one_in_common = devices.iter().any(|device| other_devices.contains(device));
                let same_list = devices.iter().all(|device| other_devices.contains(device))
                    && other_devices.iter().all(|device| devices.contains(device));
                vendor == other_vendor && one_in_common && (!same_list || index == other_index)
            }
            _ => false,
        }
    }

    /// Whether the description names a device at all, within the limits of its bus, and nothing twice.
    pub fn is_valid(&self) -> bool {
        match self {
            Self::Legacy { ports, irqs } => {
                !(ports.is_empty() && irqs.is_empty())
                    && ports.iter().all(|range| range.is_valid())
                    && irqs.iter().all(|irq| *irq < 16)
                    && (1..ports.len()).all(|at| ports[..at].iter().all(|range| !range.overlaps(ports[at])))
                    && (1..irqs.len()).all(|at| !irqs[..at].contains(&irqs[at]))
            }
            Self::Pci { devices, .. } => !devices.is_empty(),
        }
    }
}
