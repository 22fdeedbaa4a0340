//! Which of the typed bytes were delivered, to whom, and whether they have arrived.
//!
//! An answer can come too late for its caller, and nobody tells the server. So what an answer held is kept until the reader
//! asks for what lies behind it.

use userlib::session::ClientId;

/// Each instance of the driver counts from its own number on, shifted by so much: a position that an earlier one has named
/// is none of this one's. Nobody types a million megabytes.
const INSTANCE_SHIFT: u32 = 40;

/// What becomes of the bytes at the front of the queue. Positions count all that was typed.
#[derive(Debug)]
pub struct Delivery {
    /// Where this instance began.
    begin: u64,
    /// Where the first byte lies that is kept.
    first: u64,
    /// So many bytes from there on were delivered.
    delivered: usize,
    /// To whom.
    reader: Option<ClientId>,
}

/// What a question says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// So many bytes have arrived, from the first one that was kept: nobody asks for them again.
    pub arrived: usize,
    /// What it asks for.
    pub wanted: Wanted,
}

/// What a question asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// What lies behind the bytes that have arrived.
    Rest,
    /// Something at a position that this instance has never told anybody.
    Unknown,
}

impl Delivery {
    /// Nothing was typed yet, for all that this instance knows.
    pub const fn new(instance: u32) -> Self {
        let begin = (instance as u64) << INSTANCE_SHIFT;
        Self { begin, first: begin, delivered: 0, reader: None }
    }

    /// Where the first byte lies that is kept, or will be.
    pub const fn first(&self) -> u64 {
        self.first
    }

    /// `reader` asks for what lies from `from` on.
    pub fn ask(&mut self, reader: ClientId, from: u64) -> Asked {
        let mut arrived = 0;
        if self.reader != Some(reader) {
            arrived += self.forget(self.delivered);
            self.reader = Some(reader);
        }
        let wanted = match from.checked_sub(self.first) {
            Some(distance) if distance <= self.delivered as u64 => {
                arrived += self.forget(distance as usize);
                Wanted::Rest
            }
            None if from >= self.begin => Wanted::Rest,
            _ => Wanted::Unknown,
        };
        Asked { arrived, wanted }
    }

    /// The first `count` bytes are delivered to who has asked last. Tells where the next one lies.
    pub fn deliver(&mut self, count: usize) -> u64 {
        // Another answer may have held more of them.
        self.delivered = self.delivered.max(count);
        self.first + count as u64
    }

    fn forget(&mut self, count: usize) -> usize {
        self.first += count as u64;
        self.delivered -= count;
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READER: ClientId = ClientId::new(7, 0);
    const NEXT_LIFE: ClientId = ClientId::new(7, 1);

    fn rest_after(arrived: usize) -> Asked {
        Asked { arrived, wanted: Wanted::Rest }
    }

    #[test]
    fn what_was_delivered_is_kept_until_its_reader_asks_for_more() {
        let mut delivery = Delivery::new(0);
        assert_eq!(delivery.ask(READER, 0), rest_after(0));
        assert_eq!(delivery.deliver(5), 5);
        assert_eq!(delivery.ask(READER, 0), rest_after(0));
        assert_eq!(delivery.deliver(3), 3, "to a reader with less room");
        assert_eq!(delivery.ask(READER, 3), rest_after(3));
        assert_eq!(delivery.ask(READER, 5), rest_after(2), "the first answer has arrived after all");
        assert_eq!(delivery.first(), 5);
        assert_eq!(delivery.ask(READER, 3), rest_after(0), "what is forgotten is passed over");
    }

    #[test]
    fn what_another_one_was_delivered_counts_as_arrived() {
        let mut delivery = Delivery::new(0);
        delivery.ask(READER, 0);
        delivery.deliver(5);
        assert_eq!(delivery.ask(NEXT_LIFE, 0), rest_after(5));
        assert_eq!(delivery.deliver(1), 6);
        assert_eq!(delivery.ask(READER, 5), rest_after(1));
    }

    #[test]
    fn a_position_that_was_told_nobody_takes_nothing() {
        let unknown = Asked { arrived: 0, wanted: Wanted::Unknown };
        let told_before = Delivery::new(2).deliver(5);
        let mut delivery = Delivery::new(3);
        assert_eq!(delivery.ask(READER, told_before), unknown);
        delivery.ask(READER, delivery.first());
        let told = delivery.deliver(5);
        assert_eq!(delivery.ask(READER, told_before), unknown, "however many bytes were typed since");
        assert_eq!(delivery.ask(READER, 0), unknown);
        assert_eq!(delivery.ask(READER, told + 1), unknown);
        assert_eq!(delivery.ask(READER, u64::MAX), unknown);
        assert_eq!(delivery.ask(READER, told), rest_after(5));
    }
}
