//! The states that were found, as a tree: from which state, by which event.

use crate::event::Event;
use crate::machine::Machine;
use crate::sizes::Tiny;

/// A breakage that tests of the search itself inflict on a machine after every event.
pub type Breakage = fn(&mut Machine<Tiny>);

struct Node {
    parent: u32,
    /// What leads here from the parent; of the root, which nothing leads to, any.
    event: Event,
}

/// States by number, each with the way to it. Children come after their parents, and the children of earlier states
/// before those of later ones.
pub(crate) struct Tree {
    nodes: Vec<Node>,
}

impl Tree {
    /// The number of the first state.
    pub(crate) const ROOT: u32 = 0;

    /// A tree of the first state.
    pub(crate) fn new() -> Self {
        Tree { nodes: vec![Node { parent: Self::ROOT, event: Event::SliceEnd }] }
    }

    /// How many states there are: their numbers are below.
    pub(crate) fn len(&self) -> u32 {
        self.nodes.len() as u32
    }

    pub(crate) fn push(&mut self, parent: u32, event: Event) {
        self.nodes.push(Node { parent, event });
    }

    /// The events that lead to a state.
    pub(crate) fn path(&self, state: u32) -> Vec<Event> {
        let mut events = Vec::new();
        let mut next = state;
        while next != Self::ROOT {
            events.push(self.nodes[next as usize].event);
            next = self.nodes[next as usize].parent;
        }
        events.reverse();
        events
    }
}

/// Makes the machines of states again. Kept are only those on the way to the last one that was asked for: states that
/// are asked for in the order of their numbers share most of their ways, so that few events happen more than once, and
/// the frontier of a search costs no memory for its machines.
pub(crate) struct Climber<'t> {
    tree: &'t Tree,
    breakage: Option<Breakage>,
    /// Numbers rise along the way.
    way: Vec<(u32, Machine<Tiny>)>,
}

impl<'t> Climber<'t> {
    pub(crate) fn new(tree: &'t Tree, start: &Machine<Tiny>, breakage: Option<Breakage>) -> Self {
        Climber { tree, breakage, way: vec![(Tree::ROOT, start.clone())] }
    }

    /// The machine in this state.
    pub(crate) fn machine(&mut self, state: u32) -> &Machine<Tiny> {
        let mut missing = Vec::new();
        let mut next = state;
        let known = loop {
            match self.way.binary_search_by_key(&next, |(number, _)| *number) {
                Ok(place) => break place,
                Err(_) => {
                    missing.push(next);
                    next = self.tree.nodes[next as usize].parent;
                }
            }
        };
        self.way.truncate(known + 1);
        for number in missing.into_iter().rev() {
            let mut machine = self.way[self.way.len() - 1].1.clone();
            self.tree.nodes[number as usize].event.apply(&mut machine);
            if let Some(breakage) = self.breakage {
                breakage(&mut machine);
            }
            self.way.push((number, machine));
        }
        &self.way[self.way.len() - 1].1
    }
}
