//! The kernel's decisions.
//!
//! This crate decides and touches nothing: no I/O, no clock, no address is dereferenced, no `unsafe`. A system call is
//! [`Kernel::decode`], which only reads and may refuse, then [`Kernel::perform`], which cannot fail and returns an
//! [`Effect`] for the hardware shell to carry out. Whoever runs next is told by [`Kernel::schedule`]. The same code
//! runs in the machine, under `cargo test` and under the model checker.
#![no_std]
#![forbid(unsafe_code)]
// What may panic or lose part of a number is excepted where it stands, with a reason; `cargo xtask audit` lists those.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::disallowed_macros,
        clippy::indexing_slicing,
        clippy::string_slice,
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss
    )
)]

#[cfg(test)]
extern crate std;

#[macro_use]
mod seed;

mod account;
mod boot;
mod budget;
mod capability;
mod command;
mod comparison;
mod cpu;
mod decode;
mod device;
mod domain;
mod effect;
mod endpoint;
mod fast;
mod fault;
mod frame;
mod identity;
mod interrupt;
mod invariant;
mod ipc;
mod kernel;
mod loan;
mod memory;
mod normal;
mod observe;
mod perform;
mod queue;
mod reach;
mod schedule;
mod shootdown;
mod signal;
mod space;
mod standing;
mod table;
mod teardown;
mod thread;
mod timer;
mod vcpu;
mod world;

pub use account::Account;
pub use boot::{Root, RootPlan};
pub use budget::Budget;
pub use capability::{CapSlot, ShortWays};
pub use command::{Command, Refusal, Request};
pub use cpu::{Cpu, Shootdown};
pub use domain::{Domain, Interrupt, Notification};
pub use effect::{
    Effect, FaultReport, LeaseCopy, MapPiece, Next, Resume, Stay, Transfer, TransferSource, Tree, UnmapPiece,
};
pub use endpoint::Endpoint;
pub use fast::{Delivery, InBuffers, InRegisters, Medium, is_plain};
pub use frame::{Frame, FrameEntry, FrameState};
pub use identity::{
    AccountId, BudgetId, CapId, CpuId, CpuSet, DomainId, EndpointId, InterruptId, MappingId, NotificationId, SpaceId,
    ThreadId,
};
pub use invariant::{Contradiction, Invariant, Violation};
pub use ipc::CopyFault;
pub use kernel::{Kernel, MachineTables, SPACES_MAX, Tables};
pub use reach::{Activity, CapName, Holding, Wait, Window};
#[cfg(feature = "seeded-bugs")]
pub use seed::{Bug, plant};
pub use signal::{Interrupted, Received, Signal, Woken};
pub use space::{Mapping, Space};
pub use standing::ObjectName;
pub use table::{FrameStore, Slot, Slots, Vacant};
pub use thread::Thread;
pub use vcpu::Guest;
pub use world::{IommuInfo, Probe, World};
