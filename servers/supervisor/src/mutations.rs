//! Which changes to a domain's code are under way, and which were executed.
//!
//! A change that is made when it is reached is first *armed*: an instruction that only the kernel may execute takes the place of
//! its first byte. The fault that this causes tells that the change is about to be executed; then its bytes are put in place,
//! and the thread executes them.

use alloc::vec;
use alloc::vec::Vec;
use interfaces::mutation::{Mutation, When};

/// What arms a change: `hlt`, a single byte that faults in user mode (Intel SDM volume 2, HLT) with the address of itself.
const ARM: u8 = 0xf4;

/// The changes that were made to one instance of a domain.
#[derive(Debug, Default)]
pub struct Mutations {
    /// Each with the how-manieth to be executed it was; 0 if it was not.
    list: Vec<(Mutation, u16)>,
    executed: u16,
}

impl Mutations {
    /// None of these was executed yet.
    pub fn new(list: Vec<Mutation>) -> Self {
        Mutations { list: list.into_iter().map(|mutation| (mutation, 0)).collect(), executed: 0 }
    }

    /// What is to be written before any of them is executed: those that are made at once, and then what arms the others, so that
    /// nobody is led to what is not there.
    pub fn preparations(&self) -> Vec<Mutation> {
        let made = |when| self.list.iter().map(|(mutation, _)| mutation).filter(move |mutation| mutation.when == when);
        let armed = made(When::Reached).map(|mutation| Mutation { bytes: vec![ARM], ..mutation.clone() });
        made(When::AtOnce).cloned().chain(armed).collect()
    }

    /// A thread has faulted at an address: the change that is armed there, which counts as executed from now on.
    pub fn reach(&mut self, address: u64) -> Option<&Mutation> {
        let (mutation, order) = self
            .list
            .iter_mut()
            .find(|(mutation, order)| mutation.when == When::Reached && mutation.address == address && *order == 0)?;
        self.executed += 1;
        *order = self.executed;
        Some(mutation)
    }

    /// The how-manieth to be executed each was, in the order of the list; 0 for those that were not.
    pub fn orders(&self) -> Vec<u16> {
        self.list.iter().map(|(_, order)| *order).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(address: u64, when: When) -> Mutation {
        Mutation { address, bytes: vec![0x90; 3], when }
    }

    #[test]
    fn a_change_is_reached_once_and_remembers_when() {
        let change = |address| change(address, When::Reached);
        let mut mutations = Mutations::new(vec![change(0x1000), change(0x2000), change(0x3000)]);
        assert_eq!(mutations.reach(0x3000), Some(&change(0x3000)));
        assert_eq!(mutations.reach(0x1000), Some(&change(0x1000)));
        assert_eq!(mutations.reach(0x3000), None, "what is in place now may well fault by itself");
        assert_eq!(mutations.reach(0x1001), None);
        assert_eq!(mutations.orders(), [2, 0, 1]);
    }

    #[test]
    fn what_is_made_at_once_is_there_before_anything_can_lead_to_it_and_is_never_reached() {
        let (armed, at_once) = (change(0x1000, When::Reached), change(0x9000, When::AtOnce));
        let mut mutations = Mutations::new(vec![armed, at_once.clone()]);
        let arm = Mutation { address: 0x1000, bytes: vec![ARM], when: When::Reached };
        assert_eq!(mutations.preparations(), [at_once, arm]);
        assert_eq!(mutations.reach(0x9000), None);
        assert_eq!(mutations.orders(), [0, 0]);
    }
}
