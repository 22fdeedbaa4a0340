//! What becomes of frames.

use alloc::vec::Vec;
use interfaces::link::{Address, Frame, PortStatistics};

/// Frames that are taken of one port before it is the next one's turn.
pub const ROUND_FRAMES: usize = 32;

/// Whoever is at the other end does not keep to the rules: nothing more comes from there, or goes there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineClosed;

/// What became of a frame for a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// It was put where the client finds it.
    Delivered,
    /// There was no room.
    NoRoom,
}

/// What is between a port and its client.
pub trait Line {
    /// The next frame of the client, if there is one. Its length may be wrong.
    ///
    /// # Errors
    /// [`LineClosed`].
    fn take(&mut self) -> Result<Option<Frame>, LineClosed>;

    /// Offers a frame to the client. It never waits.
    ///
    /// # Errors
    /// [`LineClosed`].
    fn offer(&mut self, frame: &Frame) -> Result<Offered, LineClosed>;

    /// Says that the client's next frame is to be told of, and whether it will be: not if there is one already.
    ///
    /// # Errors
    /// [`LineClosed`].
    fn may_wait(&mut self) -> Result<bool, LineClosed>;

    /// Shows the client what was done for it.
    fn show(&mut self, statistics: &PortStatistics);
}

#[derive(Debug)]
struct Port<L> {
    address: Address,
    /// None if it is closed.
    line: Option<L>,
    statistics: PortStatistics,
    /// What the client was shown last.
    shown: PortStatistics,
}

impl<L: Line> Port<L> {
    fn attempt<T>(&mut self, act: impl FnOnce(&mut L) -> Result<T, LineClosed>) -> Option<T> {
        let done = act(self.line.as_mut()?).ok();
        if done.is_none() {
            self.line = None;
        }
        done
    }

    fn offer(&mut self, frame: &Frame) {
        match self.attempt(|line| line.offer(frame)) {
            Some(Offered::Delivered) => count(&mut self.statistics.delivered),
            Some(Offered::NoRoom) => count(&mut self.statistics.lost),
            None => {}
        }
    }

    fn show(&mut self) {
        if self.shown != self.statistics
            && let Some(line) = &mut self.line
        {
            line.show(&self.statistics);
            self.shown = self.statistics;
        }
    }
}

/// One more. Numbers may begin with what a client has written.
fn count(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}

/// The switch.
#[derive(Debug)]
pub struct Switch<L> {
    ports: Vec<Port<L>>,
    /// The port whose turn comes first in the next round.
    first: usize,
}

impl<L> Default for Switch<L> {
    fn default() -> Self {
        Self { ports: Vec::new(), first: 0 }
    }
}

impl<L: Line> Switch<L> {
    /// Connects a port anew, whose statistics begin with these. There is one for each address.
    pub fn connect(&mut self, address: Address, line: Option<L>, statistics: PortStatistics) {
        let fresh = Port { address, line, statistics, shown: statistics };
        match self.ports.iter_mut().find(|port| port.address == address) {
            Some(port) => *port = fresh,
            None => self.ports.push(fresh),
        }
    }

    /// The statistics of the port with an address.
    #[must_use]
    pub fn statistics(&self, address: Address) -> Option<PortStatistics> {
        self.ports.iter().find(|port| port.address == address).map(|port| port.statistics)
    }

    /// Whether frames go through the port with an address.
    #[must_use]
    pub fn is_open(&self, address: Address) -> bool {
        self.ports.iter().any(|port| port.address == address && port.line.is_some())
    }

    /// Lets every port have a turn of [`ROUND_FRAMES`] frames. Returns whether there may be more to do: if not, everybody has
    /// been asked to tell of the next frame.
    pub fn round(&mut self) -> bool {
        let count = self.ports.len();
        for turn in 0..count {
            let from = (self.first + turn) % count;
            for _ in 0..ROUND_FRAMES {
                let Some(Some(frame)) = self.ports[from].attempt(Line::take) else { break };
                self.forward(from, &frame);
            }
        }
        self.first = (self.first + 1) % count.max(1);
        let mut may_wait = true;
        for port in &mut self.ports {
            port.show();
            may_wait &= port.attempt(Line::may_wait).unwrap_or(true);
        }
        !may_wait
    }

    /// Brings a frame from a port to where it belongs.
    fn forward(&mut self, from: usize, frame: &Frame) {
        let destination = frame.destination();
        let is_for =
            |number: usize, port: &Port<L>| number != from && (destination.is_group() || port.address == destination);
        let is_known = destination.is_group() || (0..).zip(&self.ports).any(|(number, port)| is_for(number, port));
        let Port { address, statistics, .. } = &mut self.ports[from];
        if frame.bytes().is_none() {
            count(&mut statistics.malformed);
        } else if frame.source() != *address {
            count(&mut statistics.forged);
        } else if !is_known {
            count(&mut statistics.unknown);
        } else {
            count(&mut statistics.passed_on);
            for (number, port) in (0..).zip(&mut self.ports) {
                if is_for(number, port) {
                    port.offer(frame);
                }
            }
        }
    }
}
