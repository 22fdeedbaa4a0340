//! A link: Ethernet frames between domains that know nothing else of each other.
//!
//! A client has a ring with its use of `link`. It attaches once, by a call, and is told its address; from then on frames go
//! through the ring's memory, of which each [`Channel`] is one end, and no calls are made. The memory is in three parts:
//! [`PortStatistics`], frames of the client's, and frames for the client.
//!
//! Neither side believes the other. A frame is copied once and then checked; counts that make no sense end what goes through
//! this ring, and nothing else. If the server dies, its next instance goes on with the frames that are in the rings.

use crate::sentences;
use core::fmt;
use core::sync::atomic::Ordering;
use userlib::environment::RingResources;
use userlib::memory::SharedMemory;
use userlib::ring::{AttachError, Broken, HEADER_WORDS, PushError, Receiver, Sender};
use userlib::{Value, interface};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Bytes that a frame carries at most.
pub const MTU: u16 = 1500;
/// Bytes of the longest frame: what it carries behind two addresses, a VLAN tag and a type.
pub const MOST_FRAME_BYTES: usize = 18 + MTU as usize;
/// Bytes of the shortest: two addresses and a type.
pub const LEAST_FRAME_BYTES: usize = 14;
/// Bytes of the ring's memory in which its server tells what it has done.
const STATISTICS_BYTES: usize = 64;

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Value)]
pub struct Address(pub [u8; 6]);

impl Address {
    /// That of the domain which has this number in the manifest: locally administered, of one interface, and nobody else's in
    /// the system.
    pub const fn of_domain(number: u16) -> Self {
        let [high, low] = number.to_be_bytes();
        Self([0x02, b'b', b'h', 0, high, low])
    }

    /// Whether it means several interfaces, or all.
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, last] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{last:02x}")
    }
}

/// A frame as it lies in a ring.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Frame {
    length: u16,
    bytes: [u8; MOST_FRAME_BYTES],
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({} bytes)", self.length)
    }
}

impl Frame {
    /// A frame of these bytes, from the first address on. `None` if it is too short or too long for one.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let length = u16::try_from(bytes.len()).ok()?;
        let mut frame = Self { length, bytes: [0; MOST_FRAME_BYTES] };
        frame.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        frame.bytes().is_some().then_some(frame)
    }

    /// Its bytes. `None` if whoever put it into the ring says that they are fewer or more than a frame has.
    pub fn bytes(&self) -> Option<&[u8]> {
        self.bytes.get(..self.length.into()).filter(|bytes| bytes.len() >= LEAST_FRAME_BYTES)
    }

    /// For whom it is.
    pub fn destination(&self) -> Address {
        let [a, b, c, d, e, last, ..] = self.bytes;
        Address([a, b, c, d, e, last])
    }

    /// Of whom it says it is.
    pub fn source(&self) -> Address {
        let [_, _, _, _, _, _, a, b, c, d, e, last, ..] = self.bytes;
        Address([a, b, c, d, e, last])
    }
}

/// What a link's server has done for one client since that has attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Value)]
pub struct PortStatistics {
    /// Frames that it has taken of the client and passed on.
    pub passed_on: u64,
    /// Frames that it has put into the client's ring.
    pub delivered: u64,
    /// Frames for the client that are lost, because the client has not taken those before.
    pub lost: u64,
    /// Frames of the client that were not from the client's address, and went nowhere.
    pub forged: u64,
    /// Frames of the client for an address that nobody has, which went nowhere.
    pub unknown: u64,
    /// Frames of the client that were too short or too long.
    pub malformed: u64,
}

impl PortStatistics {
    fn words(&self) -> [u64; 6] {
        let Self { passed_on, delivered, lost, forged, unknown, malformed } = *self;
        [passed_on, delivered, lost, forged, unknown, malformed]
    }
}

/// The side of a ring that somebody has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Who uses the link.
    Client,
    /// Who provides it.
    Server,
}

/// One side of a ring of a link.
#[derive(Debug)]
pub struct Channel {
    outgoing: Sender<Frame>,
    incoming: Receiver<Frame>,
    statistics: SharedMemory<'static>,
}

/// The three parts of a ring's memory: statistics, frames of the client's, frames for the client.
fn parts(memory: SharedMemory<'static>) -> Result<[SharedMemory<'static>; 3], AttachError> {
    // Rings consist of words.
    let half = memory.len().saturating_sub(STATISTICS_BYTES) / 16 * 8;
    let part = |range| memory.part(range).ok_or(AttachError::TooShort);
    let second = STATISTICS_BYTES + half;
    Ok([part(0..STATISTICS_BYTES)?, part(STATISTICS_BYTES..second)?, part(second..second + half)?])
}

impl Channel {
    /// Goes on with a ring as it stands.
    ///
    /// # Errors
    /// [`AttachError`].
    pub fn attach(resources: RingResources, side: Side) -> Result<Self, AttachError> {
        let [statistics, from_client, to_client] = parts(resources.shared)?;
        let (outgoing, incoming) = match side {
            Side::Client => (from_client, to_client),
            Side::Server => (to_client, from_client),
        };
        Ok(Self {
            outgoing: Sender::attach(RingResources { shared: outgoing, ..resources })?,
            incoming: Receiver::attach(RingResources { shared: incoming, ..resources })?,
            statistics,
        })
    }

    /// Empties a ring, whatever stands in it, and begins anew: for the server, before its client begins.
    ///
    /// # Errors
    /// [`AttachError::TooShort`].
    pub fn begin(resources: RingResources) -> Result<Self, AttachError> {
        let [statistics, from_client, to_client] = parts(resources.shared)?;
        statistics.fill_zero();
        for part in [from_client, to_client] {
            part.part(0..HEADER_WORDS * 8).ok_or(AttachError::TooShort)?.fill_zero();
        }
        Self::attach(resources, Side::Server)
    }

    /// Puts a frame in, if there is room.
    ///
    /// # Errors
    /// [`PushError`].
    pub fn send(&mut self, frame: &Frame) -> Result<(), PushError> {
        self.outgoing.try_send(frame)
    }

    /// Says that the ring's bits are to tell of room, and whether they will: not if there is room.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn may_wait_for_room(&mut self) -> Result<bool, Broken> {
        self.outgoing.may_wait()
    }

    /// Takes a frame out, if there is one.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn receive(&mut self) -> Result<Option<Frame>, Broken> {
        self.incoming.try_receive()
    }

    /// Takes out every frame that is there, unread.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn forget_incoming(&mut self) -> Result<(), Broken> {
        for _ in 0..self.incoming.available()? {
            self.incoming.try_receive()?;
        }
        Ok(())
    }

    /// Says that the ring's bits are to tell of a frame, and whether they will: not if there is one.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn may_wait_for_frames(&mut self) -> Result<bool, Broken> {
        self.incoming.may_wait()
    }

    /// What the server says that it has done for this client.
    pub fn statistics(&self) -> PortStatistics {
        let word = |index: usize| self.statistics.load(8 * index, Ordering::Relaxed).unwrap_or(0);
        PortStatistics {
            passed_on: word(0),
            delivered: word(1),
            lost: word(2),
            forged: word(3),
            unknown: word(4),
            malformed: word(5),
        }
    }

    /// Tells the client what was done for it: for the server.
    pub fn tell(&self, statistics: &PortStatistics) {
        for (index, word) in statistics.words().into_iter().enumerate() {
            // There are more words than numbers.
            let _ = self.statistics.store(8 * index, word, Ordering::Relaxed);
        }
    }
}

/// Why a client cannot attach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
pub enum LinkError {
    /// It has no ring.
    NoRing,
    /// Its ring is too short for frames.
    RingTooShort,
}

sentences!(LinkError {
    NoRing => "the manifest gives this client of the link no ring, so it has no place to put frames",
    RingTooShort => "the ring that the manifest gives this client of the link is too short for a frame each way",
});

/// What a client is on its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
pub struct Port {
    /// The address of the client: frames from another one go nowhere.
    pub address: Address,
    /// Bytes that a frame carries at most.
    pub mtu: u16,
}

/// A link between domains.
#[interface(name = "link", version = 1)]
pub trait Link {
    /// Connects the client anew: what was in its ring is forgotten. The client does not touch the ring before it is answered.
    #[idempotent]
    fn attach() -> Result<Port, LinkError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_as_long_as_frames_are() {
        for (length, is_frame) in [(0, false), (13, false), (14, true), (1518, true), (1519, false), (70_000, false)] {
            assert_eq!(Frame::new(&vec![7; length]).is_some(), is_frame, "{length} bytes");
        }
        let bytes: Vec<u8> = (0..60).collect();
        let frame = Frame::new(&bytes).unwrap();
        assert_eq!(frame.bytes(), Some(&bytes[..]));
        assert_eq!(frame.destination(), Address([0, 1, 2, 3, 4, 5]));
        assert_eq!(frame.source(), Address([6, 7, 8, 9, 10, 11]));
    }

    #[test]
    fn a_length_that_somebody_else_wrote_is_not_believed() {
        for length in [13, 1519, u16::MAX] {
            assert_eq!(Frame { length, bytes: [0; MOST_FRAME_BYTES] }.bytes(), None);
        }
    }

    #[test]
    fn every_domain_has_an_address_of_its_own_that_means_one_interface() {
        let mut known = std::collections::BTreeSet::new();
        for number in 0..=u16::MAX {
            let address = Address::of_domain(number);
            assert!(!address.is_group() && address.0[0] & 2 != 0, "{address}");
            assert!(known.insert(address));
        }
        assert_eq!(Address::of_domain(0x109).to_string(), "02:62:68:00:01:09");
    }
}
