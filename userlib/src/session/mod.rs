//! What a server keeps for each of its clients, for as long as the client lives.
//!
//! The kernel vouches for the badge of each call. The builder of a domain has put two numbers into it ([`ClientId`]): which
//! domain the client is, and which life of it. When a domain is dead, the supervisor writes into a page of each server that
//! it used ([`Register`]) that no life up to this one goes on, and sets [`CLIENTS_BIT`](crate::status::CLIENTS_BIT) of the
//! server's notification. So a server needs no message from anybody to know for certain that a client is gone, and nothing
//! that a late call of it leaves behind stays.
//!
//! * [`Clients`] keeps one value for each client: made at its first call, dropped after its death.
//! * [`Sessions`] keeps things that clients open and close, such as files, under numbers that name the client's server too:
//!   at most so many for each client, and those of another client or of a former instance of the server are not known.

mod clients;
mod register;
mod sessions;

pub use clients::{ClientGone, Clients};
pub use register::{CLIENTS_MAX, Register, RegisterWriter};
pub use sessions::{OpenError, Place, SessionId, Sessions, UnknownSession};

/// One life of one client, as the badge of its calls names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId {
    domain: u32,
    instance: u32,
}

impl ClientId {
    /// The life `instance` (the first one is 0) of the domain that has this number in the manifest; 0 is nobody's.
    pub const fn new(domain: u32, instance: u32) -> Self {
        Self { domain, instance }
    }

    /// The client whose calls have this badge.
    pub const fn from_badge(badge: u64) -> Self {
        Self { domain: badge as u32, instance: (badge >> 32) as u32 }
    }

    /// The badge of its calls.
    pub const fn badge(self) -> u64 {
        (self.instance as u64) << 32 | self.domain as u64
    }

    /// Which domain it is: its number in the manifest.
    pub const fn domain(self) -> u32 {
        self.domain
    }

    /// Which life of it: how often the domain was started before.
    pub const fn instance(self) -> u32 {
        self.instance
    }
}
