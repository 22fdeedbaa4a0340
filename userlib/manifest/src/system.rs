//! The whole composition and the references within it.

use alloc::{string::String, vec::Vec};
use core::{fmt, ops::Index};

use serde::{Deserialize, Serialize};

use crate::{Domain, Group, PAGE_BYTES};

macro_rules! index {
    ($(#[$doc:meta])* $name:ident, $field:ident, $element:ty) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub struct $name(pub u16);

        impl $name {
            /// The position as a `usize`.
            pub const fn position(self) -> usize {
                self.0 as usize
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }

        /// Panics if the index is none of this system's; those found in a decoded system are.
        impl Index<$name> for System {
            type Output = $element;

            fn index(&self, index: $name) -> &$element {
                &self.$field[index.position()]
            }
        }
    };
}

index!(
    /// Position in [`System::domains`].
    DomainIndex, domains, Domain
);
index!(
    /// Position in [`System::endpoints`].
    EndpointIndex, endpoints, Endpoint
);
index!(
    /// Position in [`System::notifications`].
    NotificationIndex, notifications, Notification
);
index!(
    /// Position in [`System::rings`].
    RingIndex, rings, Ring
);
index!(
    /// Position in [`System::groups`].
    GroupIndex, groups, Group
);

impl DomainIndex {
    /// The supervisor's.
    pub const SUPERVISOR: Self = Self(0);
}

/// A system's composition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct System {
    /// The supervisor first, then the others in the order in which they are written.
    pub domains: Vec<Domain>,
    /// Every endpoint; they outlive the instances of their servers.
    pub endpoints: Vec<Endpoint>,
    /// One for each domain that the manifest lets somebody signal; they outlive the instances of their owners.
    pub notifications: Vec<Notification>,
    /// Memory shared by two domains; it outlives both.
    pub rings: Vec<Ring>,
    /// Domains that are restarted together; a group comes behind the one to which it belongs.
    pub groups: Vec<Group>,
    /// Bytes of the machine's memory that the manifest sets aside for kernel, loader, boot archive and `init`.
    pub reserve: u64,
}

/// An endpoint, served by one domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Name of the interface.
    pub interface: String,
    /// Id of the interface, that the kernel compares on every call.
    pub interface_id: u64,
    /// The server.
    pub server: DomainIndex,
    /// The server's level.
    pub level: u8,
    /// Priority at which calls are served: no lower than that of any client, of any client's clients, or the server.
    pub ceiling: u8,
}

/// A word of event bits that belongs to one domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// The domain that waits for it.
    pub owner: DomainIndex,
    /// Bits that the manifest assigned to senders; the owner may use the others for interrupts and timers.
    pub assigned: u64,
}

/// The right to set one event bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Signal {
    /// The notification.
    pub notification: NotificationIndex,
    /// The bit's number, 0 to 63.
    pub bit: u8,
}

impl Signal {
    /// The bit as a mask; 0 if the number is beyond the word.
    pub const fn mask(self) -> u64 {
        match 1_u64.checked_shl(self.bit as u32) {
            Some(mask) => mask,
            None => 0,
        }
    }
}

/// Memory shared by a client and the driver (or server) that works for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ring {
    /// The endpoint at which the client sets the ring up; it says the interface.
    pub endpoint: EndpointIndex,
    /// Who submits requests.
    pub client: DomainIndex,
    /// The endpoint's server, which completes them, or says what whom it lends the ring to may do for them.
    pub driver: DomainIndex,
    /// Bytes, a multiple of the page size.
    pub bytes: u64,
    /// Posted by the client: there are new requests.
    pub doorbell: Signal,
    /// Posted to the client: there are new completions.
    pub completion: Signal,
    /// Who completes requests in the server's place, and whose device reads and writes the memory.
    pub lent_to: Option<DomainIndex>,
}

impl Ring {
    /// Who takes requests from it and completes them.
    pub fn worker(&self) -> DomainIndex {
        self.lent_to.unwrap_or(self.driver)
    }
}

impl System {
    /// The domain called `name`.
    pub fn domain_named(&self, name: &str) -> Option<DomainIndex> {
        self.domains().find(|(_, domain)| domain.name == name).map(|(index, _)| index)
    }

    /// Every domain with its index, the supervisor first.
    pub fn domains(&self) -> impl Iterator<Item = (DomainIndex, &Domain)> {
        (0_u16..).map(DomainIndex).zip(&self.domains)
    }

    /// The notification that belongs to `domain`.
    pub fn notification_of(&self, domain: DomainIndex) -> Option<NotificationIndex> {
        self.notifications
            .iter()
            .zip(0_u16..)
            .find(|(notification, _)| notification.owner == domain)
            .map(|(_, index)| NotificationIndex(index))
    }

    /// Rings in which `domain` takes part, as client or as driver.
    pub fn rings_of(&self, domain: DomainIndex) -> impl Iterator<Item = (RingIndex, &Ring)> {
        (0_u16..)
            .map(RingIndex)
            .zip(&self.rings)
            .filter(move |(_, ring)| ring.client == domain || ring.driver == domain)
    }

    /// Rings of others in which `domain` completes requests. Their order numbers them, from 1 on.
    pub fn rings_lent_to(&self, domain: DomainIndex) -> impl Iterator<Item = (RingIndex, &Ring)> {
        (0_u16..).map(RingIndex).zip(&self.rings).filter(move |(_, ring)| ring.lent_to == Some(domain))
    }

    /// The number by which whom a ring is lent to, and its server, call it as an area of memory; 0 if it is not lent.
    pub fn area_of(&self, index: RingIndex) -> u16 {
        let lent_to = self.rings.get(index.position()).and_then(|ring| ring.lent_to);
        let place = |domain| self.rings_lent_to(domain).position(|(other, _)| other == index);
        lent_to.and_then(place).map_or(0, |place| place as u16 + 1)
    }

    /// Whether `from` holds a capability to call an endpoint of `to`.
    pub fn may_call(&self, from: DomainIndex, to: DomainIndex) -> bool {
        self.domains.get(from.position()).is_some_and(|domain| {
            domain.uses.iter().any(|usage| {
                self.endpoints.get(usage.endpoint.position()).is_some_and(|endpoint| endpoint.server == to)
            })
        })
    }

    /// Whether `from` can affect `to` in any way without a third domain's doing: by a call, or by shared memory and
    /// the signals that go with it. The supervisor reaches everybody, and everybody reaches the supervisor, which reads
    /// the status page of each domain and takes its faults.
    ///
    /// Everything else is isolation: a test that finds a way from one domain to another for which this is `false`
    /// has found a hole.
    pub fn may_reach(&self, from: DomainIndex, to: DomainIndex) -> bool {
        let exists = |domain: DomainIndex| domain.position() < self.domains.len();
        if !exists(from) || !exists(to) {
            return false;
        }
        from == to
            || from == DomainIndex::SUPERVISOR
            || to == DomainIndex::SUPERVISOR
            || self.may_call(from, to)
            || self.rings.iter().any(|ring| {
                (ring.client == from && ring.driver == to)
                    || (ring.driver == from && ring.client == to)
                    || (ring.lent_to == Some(from) && (ring.client == to || ring.driver == to))
                    || (ring.lent_to == Some(to) && ring.client == from)
            })
    }

    /// Bytes that the domains' memory, what they share with devices, the vaults, the guests and the rings take together;
    /// [`System::reserve`] is not included.
    pub fn memory_bytes(&self) -> u64 {
        let domains = self.domains.iter().map(|domain| {
            let parts = [domain.memory, domain.vault, domain.dma_bytes(), domain.guest_memory];
            parts.into_iter().fold(0, u64::saturating_add)
        });
        let rings = self.rings.iter().map(|ring| ring.bytes);
        domains.chain(rings).fold(0, u64::saturating_add)
    }
}

/// Whether `bytes` is a whole number of pages.
pub(crate) const fn is_page_multiple(bytes: u64) -> bool {
    bytes.is_multiple_of(PAGE_BYTES)
}
