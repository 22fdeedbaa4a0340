//! Domains: making them.

use crate::scene::{boot, peer, refused, stale};
use abi::rights::{DomainRights, SpaceRights};
use abi::{Error, Syscall};
use model::machine::own;

fn order(length: u64) -> [u64; 6] {
    [own::ACCOUNT.0, own::SPACE.0, 1, length, 0, 0]
}

#[test]
fn a_capability_table_has_a_power_of_two_of_slots_from_16_to_1024() {
    let mut m = boot();
    let root = m.root.thread;
    for wrong in [0, 1, 8, 15, 17, 24, 1000, 2048, 65536, u64::MAX] {
        refused(&mut m, root, Syscall::DomainCreate, &order(wrong), Error::BadArgument);
    }
    for right in [16, 32, 64, 512] {
        let made = m.make(Syscall::DomainCreate, &order(right));
        m.sys(Syscall::Destroy, &[made.0]).unwrap();
    }
}

#[test]
fn a_level_is_a_byte() {
    let mut m = boot();
    let root = m.root.thread;
    for level in [256, u64::MAX] {
        let arguments = [own::ACCOUNT.0, own::SPACE.0, level, 16, 0, 0];
        refused(&mut m, root, Syscall::DomainCreate, &arguments, Error::BadArgument);
        refused(&mut m, root, Syscall::EndpointCreate, &[own::ACCOUNT.0, 1, level, 0], Error::BadArgument);
        refused(&mut m, root, Syscall::EndpointCreate, &[own::ACCOUNT.0, 1, 0, level], Error::BadArgument);
    }
}

#[test]
fn a_domain_needs_a_space_that_its_maker_may_map_into() {
    let mut m = boot();
    let root = m.root.thread;
    let weak = m.make(Syscall::CapCopy, &[own::SPACE.0, SpaceRights::DESTROY.bits().into(), 0]);
    refused(&mut m, root, Syscall::DomainCreate, &[own::ACCOUNT.0, weak.0, 1, 16, 0, 0], Error::MissingRight);
    refused(&mut m, root, Syscall::DomainCreate, &[own::ACCOUNT.0, own::DOMAIN.0, 1, 16, 0, 0], Error::WrongKind);
    refused(&mut m, root, Syscall::DomainCreate, &[own::ACCOUNT.0, stale(own::SPACE), 1, 16, 0, 0], Error::StaleHandle);
}

#[test]
fn tables_that_do_not_fit_into_the_arena_any_more_are_refused() {
    let mut m = boot();
    let root = m.root.thread;
    // 1024 slots, of which the root has 128.
    refused(&mut m, root, Syscall::DomainCreate, &order(1024), Error::QuotaExceeded);
    let [first, between, second, ..] =
        [256, 128, 256, 128, 128].map(|length| m.make(Syscall::DomainCreate, &order(length)));
    refused(&mut m, root, Syscall::DomainCreate, &order(16), Error::QuotaExceeded);
    // Enough slots in sum, but not in a row.
    m.sys(Syscall::Destroy, &[first.0]).unwrap();
    m.sys(Syscall::Destroy, &[second.0]).unwrap();
    refused(&mut m, root, Syscall::DomainCreate, &order(512), Error::KernelTableFull);
    m.sys(Syscall::Destroy, &[between.0]).unwrap();
    m.make(Syscall::DomainCreate, &order(512));
}

#[test]
fn a_domain_in_a_used_table_starts_with_fresh_slots() {
    let mut m = boot();
    let first = peer(&mut m, 1, 0);
    for _ in 0..5 {
        let held = crate::scene::notification(&mut m);
        m.make(Syscall::CapGrant, &[first.domain.0, held.0, crate::scene::ALL, 0]);
    }
    m.sys(Syscall::Destroy, &[first.domain.0]).unwrap();
    m.sys(Syscall::CapDelete, &[first.space.0]).unwrap();
    let second = peer(&mut m, 1, 0);
    assert_eq!(m.kernel.held_by(second.id).count(), 0);
    let held = crate::scene::notification(&mut m);
    let first_slot = m.make(Syscall::CapGrant, &[second.domain.0, held.0, crate::scene::ALL, 0]);
    assert_eq!(first_slot.index(), 1);
}

#[test]
fn nobody_else_gets_the_roots_level() {
    let mut m = boot();
    let root = m.root.thread;
    let mut order = order(16);
    order[2] = u64::from(abi::root::LEVEL);
    refused(&mut m, root, Syscall::DomainCreate, &order, Error::BadArgument);
    order[2] -= 1;
    m.make(Syscall::DomainCreate, &order);
}

#[test]
fn spawning_granting_inspecting_and_destroying_are_rights_of_their_own() {
    let mut m = boot();
    let root = m.root.thread;
    let domain = m.make(Syscall::DomainCreate, &order(16));
    let budget = crate::scene::budget(&mut m);
    for (right, allowed) in [
        (DomainRights::GRANT, Syscall::CapGrant),
        (DomainRights::SPAWN, Syscall::ThreadCreate),
        (DomainRights::INSPECT, Syscall::CapInspect),
        (DomainRights::DESTROY, Syscall::Destroy),
    ] {
        let weak = m.make(Syscall::CapCopy, &[domain.0, right.bits().into(), 0]);
        let tries = [
            (Syscall::CapGrant, [weak.0, own::SPACE.0, 0, 0]),
            (Syscall::ThreadCreate, [own::ACCOUNT.0, weak.0, budget.0, 0]),
            (Syscall::CapInspect, [weak.0, 1, 0, 0]),
            (Syscall::Destroy, [weak.0, 0, 0, 0]),
        ];
        for (syscall, arguments) in tries {
            if syscall == allowed {
                m.sys(syscall, &arguments).unwrap();
            } else {
                refused(&mut m, root, syscall, &arguments, Error::MissingRight);
            }
        }
    }
}
