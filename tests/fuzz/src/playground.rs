//! The machine that every sequence starts from.

use abi::fault::FAULT_INTERFACE;
use abi::rights::RawRights;
use abi::syscall::Charge;
use abi::{Handle, Syscall, root};
use kernel_core::CpuId;
use model::machine::{DATA, PEER_PAGES, Peer, PeerPlan, Plan, own};
use model::sizes::Small;
use std::cell::OnceCell;

/// The machine of every sequence.
pub(crate) type Machine = model::Machine<Small>;

/// The interface of endpoints.
pub(crate) const INTERFACE: u64 = 77;

thread_local! {
    static START: OnceCell<Machine> = const { OnceCell::new() };
}

/// A root and three domains below each other that share most of what there is; the lowest runs on the second
/// processor.
pub(crate) fn playground() -> Machine {
    START.with(|start| start.get_or_init(build).clone())
}

fn build() -> Machine {
    let mut machine = Machine::boot(Plan { frames: 96, tables: 12, table_length: 64 });
    let second = machine.start_cpu(1);
    let faults = machine.make(Syscall::EndpointCreate, &[own::ACCOUNT.0, FAULT_INTERFACE, 0, 0]);
    let low = machine.make(Syscall::EndpointCreate, &[own::ACCOUNT.0, INTERFACE, 2, 0]);
    let middle = machine.make(Syscall::EndpointCreate, &[own::ACCOUNT.0, INTERFACE, 5, 252]);
    let bits = machine.make(Syscall::NotificationCreate, &[own::ACCOUNT.0]);
    // What an account is made from, should somebody pass this address.
    machine.store_words(DATA, &[4 | (4 << 32); Charge::COUNT / 2]);
    let mut page = 2;
    let mut peer = |machine: &mut Machine, level: u8, cpu: CpuId, handler: Handle| {
        let plan = PeerPlan {
            account: own::ACCOUNT,
            level,
            priority: root::PRIORITY,
            cpu,
            handler: (handler, level.into()),
            page,
        };
        page += PEER_PAGES;
        machine.make_peer(plan)
    };
    let client = peer(&mut machine, 9, CpuId::BOOT, faults);
    let server = peer(&mut machine, 5, CpuId::BOOT, faults);
    let lowest = peer(&mut machine, 2, second, Handle::NONE);
    let memory = machine.make(Syscall::MemorySplit, &[machine.ram.0, page, 8, RawRights::MAX.into()]);
    let grant = |machine: &mut Machine, to: &Peer, capability: Handle| {
        machine.make(Syscall::CapGrant, &[to.domain.0, capability.0, RawRights::MAX.into(), 0]);
    };
    for peer in [client, server, lowest] {
        for shared in [low, middle, bits, peer.domain, peer.space, peer.thread] {
            grant(&mut machine, &peer, shared);
        }
    }
    for everything in [own::ACCOUNT, memory, own::PORTS, root::INTERRUPTS, own::SYSTEM, faults] {
        grant(&mut machine, &server, everything);
    }
    grant(&mut machine, &lowest, own::ACCOUNT);
    grant(&mut machine, &lowest, memory);
    add_guest(&mut machine, &lowest, page + 8);
    machine.checking = false;
    machine.obedient = false;
    machine
}

/// The lowest becomes the monitor of a guest, in whose space there are pages for another virtual processor, and there is a thread
/// that could become one.
fn add_guest(machine: &mut Machine, monitor: &Peer, page: u64) {
    let memory = machine.make(Syscall::MemorySplit, &[machine.ram.0, page, 8, RawRights::MAX.into()]);
    let space = machine.make(Syscall::GuestSpaceCreate, &[own::ACCOUNT.0, memory.0, 0]);
    machine.make(Syscall::SpaceDonate, &[space.0, memory.0, 1, 7]);
    machine.make(Syscall::ThreadStop, &[monitor.thread.0]);
    machine.make(Syscall::VcpuCreate, &[monitor.thread.0, space.0]);
    machine.start(monitor.thread);
    let (priority, slice) = (u64::from(root::PRIORITY), model::machine::SLICE);
    let budget = machine.make(Syscall::BudgetCreate, &[own::ACCOUNT.0, priority, slice, slice, 0]);
    machine.make(Syscall::ThreadCreate, &[own::ACCOUNT.0, own::DOMAIN.0, budget.0]);
}
