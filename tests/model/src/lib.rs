//! The kernel's decisions on a machine made of maps, and a search through everything that can happen on it.
//!
//! [`Machine`] plays the hardware shell: it brings system calls, faults, interrupts and time to the real core and
//! carries its effects out on [`world::FakeWorld`]. Tests drive it by hand; [`search`] drives it exhaustively.
//!
//! # What is searched
//!
//! A [scenario](scenarios) is a small machine to start from and an [alphabet] of what can happen on it: system calls
//! of whoever runs, with every argument from a small domain, the end of a slice, the first deadline, interrupts, faults,
//! and on two processors which of them enters the kernel next. The tables have a few slots, the code is the kernel's own.
//! Time is only what events let pass.
//!
//! # What is checked
//!
//! * Every **state** by each of the core's invariants, and by comparing page tables and what processors remember of them
//!   with what the core believes.
//! * Every **transition** by the [laws](law), among them the [reference model](mod@reference) of authority, which says which
//!   capabilities and mappings a call gives and takes, and with which rights it may be made.
//! * Every **refused call** by comparing all tables with what they were: nothing but the clock may differ.
//!
//! A panic of the core is a violation as well. The first violation ends the search, which goes broad first, and is told as
//! a shortest script of events.
//!
//! # How to read the figures
//!
//! `cargo xtask test model` prints a line for each scenario. *States* are distinct ones: what differs only in the names of
//! past things (generations, call numbers, times) counts once. *Transitions* are all events tried in all states that were
//! expanded, *refused* those of them that were refused calls. *Depth* is the number of events that the farthest state is
//! away from the start. *Complete* means that there is nothing beyond: every state that can be reached was visited. *Cut*
//! means that the number of states was reached first; then the farthest states were visited but not expanded.
//!
//! # Why to believe them
//!
//! Which states count as one is the weak point of every such search: what is taken for the same too often is not visited.
//! So there is a [second searcher](depth_first) with nothing in common but the machine and the alphabet. Both count the
//! same states, to the end where there is one and to a depth where not, and states that count as one are compared by all
//! that can become of them. That the checks see something is shown by planting bugs into the core (feature
//! `seeded-bugs`): each has to be found.
#![forbid(unsafe_code)]

pub mod alphabet;
pub mod depth_first;
pub mod event;
pub mod fingerprint;
pub mod law;
pub mod machine;
pub mod reference;
pub mod scenarios;
pub mod script;
pub mod search;
pub mod sizes;
pub mod table;
pub mod tree;
pub mod view;
pub mod walk;
mod watch;
pub mod world;

pub use machine::{Machine, Outcome};
pub use watch::explain_panics;
