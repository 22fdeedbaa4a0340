//! What goes wrong between a client and the double of a server, as a test has planned it.

use crate::random::Random;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

/// Something that goes wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The server takes the call and dies before it does anything. The client is told that the server died.
    DiesBefore,
    /// The server dies where the work on the call first waits for something; a method that waits for nothing is done by
    /// then. The client is told that the server died.
    DiesDuring,
    /// The server carries the call out and dies before its answer has left. The client is told that the server died.
    DiesAfter,
    /// The server turns to the call only when the client has given up: what was lent is gone, and nobody takes the answer.
    /// The client's deadline passes.
    Late,
    /// The server carries the call out, and its answer is lost. The client's deadline passes.
    AnswerLost,
    /// The server gets the call twice, as if a client that was told of its death had repeated it; the second answer counts.
    Repeated,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 6] =
        [Fault::DiesBefore, Fault::DiesDuring, Fault::DiesAfter, Fault::Late, Fault::AnswerLost, Fault::Repeated];
}

/// The plan of faults of one double: the calls to come meet what was planned, in this order, and then chance.
#[derive(Debug)]
pub struct Faults {
    planned: RefCell<VecDeque<Option<Fault>>>,
    /// Of a hundred calls, how many meet a fault by chance.
    percent: Cell<u32>,
    random: RefCell<Random>,
    met: Cell<u64>,
}

impl Faults {
    pub(super) fn none() -> Self {
        Self {
            planned: RefCell::default(),
            percent: Cell::new(0),
            random: RefCell::new(Random::new(0)),
            met: Cell::new(0),
        }
    }

    /// The next call for which nothing is planned yet meets this.
    pub fn plan(&self, fault: Fault) {
        self.planned.borrow_mut().push_back(Some(fault));
    }

    /// The next `count` calls for which nothing is planned yet go well.
    pub fn plan_sound(&self, count: usize) {
        self.planned.borrow_mut().extend(std::iter::repeat_n(None, count));
    }

    /// Of a hundred calls, about `percent` meet one of all faults by chance. The same seed brings the same faults.
    pub fn by_chance(&self, percent: u32, seed: u64) {
        self.percent.set(percent);
        *self.random.borrow_mut() = Random::new(seed);
    }

    /// Nothing goes wrong any more.
    pub fn clear(&self) {
        self.planned.borrow_mut().clear();
        self.percent.set(0);
    }

    /// How many planned calls are still to come.
    pub fn left(&self) -> usize {
        self.planned.borrow().len()
    }

    /// How many calls have met a fault.
    pub fn met(&self) -> u64 {
        self.met.get()
    }

    /// What the next call meets.
    pub(super) fn next(&self) -> Option<Fault> {
        let fault = match self.planned.borrow_mut().pop_front() {
            Some(planned) => planned,
            None => {
                let mut random = self.random.borrow_mut();
                let unlucky = self.percent.get() > 0 && random.below(100) < u64::from(self.percent.get());
                unlucky.then(|| *random.one_of(&Fault::ALL))
            }
        };
        self.met.set(self.met.get() + u64::from(fault.is_some()));
        fault
    }
}
