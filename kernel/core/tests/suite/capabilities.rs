//! Capabilities: copying, granting, moving, deleting, revoking.

use crate::scene::{
    ALL, BADGE, INTERFACE, M, SPARE, boot, by, endpoint, grant, notification, peer, refused, stage, stale,
};
use abi::rights::{DomainRights, EndpointRights, Kind, MemoryRights, NotificationRights};
use abi::syscall::MapAccess;
use abi::time::NEVER;
use abi::{Error, Handle, Syscall};
use model::machine::{BUFFER, own};

/// Kind, rights and badge of a capability of the running thread.
fn about(m: &mut M, handle: Handle) -> [u64; 3] {
    let [kind, rights, badge, _] = m.sys(Syscall::CapInfo, &[handle.0]).expect("the capability is there");
    [kind, rights, badge]
}

#[test]
fn a_copy_has_a_subset_of_the_rights() {
    let mut m = boot();
    let original = endpoint(&mut m, 3, 0);
    let call = EndpointRights::CALL.bits().into();
    let copy = m.make(Syscall::CapCopy, &[original.0, call, 0]);
    assert_eq!(about(&mut m, copy), [Kind::Endpoint as u64, call, 0]);
    let wider = m.make(Syscall::CapCopy, &[copy.0, ALL, 0]);
    assert_eq!(about(&mut m, wider)[1], call, "rights do not come back");
}

#[test]
fn minting_gives_a_badge_that_stays() {
    let mut m = boot();
    let root = m.root.thread;
    let original = endpoint(&mut m, 3, 0);
    let badged = m.make(Syscall::CapCopy, &[original.0, ALL, 7]);
    assert_eq!(about(&mut m, badged)[2], 7);
    let copy = m.make(Syscall::CapCopy, &[badged.0, ALL, 0]);
    assert_eq!(about(&mut m, copy)[2], 7);
    refused(&mut m, root, Syscall::CapCopy, &[badged.0, ALL, 8], Error::BadArgument);
    let weak = m.make(Syscall::CapCopy, &[original.0, EndpointRights::CALL.bits().into(), 0]);
    refused(&mut m, root, Syscall::CapCopy, &[weak.0, ALL, 8], Error::MissingRight);
    // Only endpoints and notifications have badges.
    refused(&mut m, root, Syscall::CapCopy, &[own::SPACE.0, ALL, 8], Error::BadArgument);
    refused(&mut m, root, Syscall::CapCopy, &[own::RAM.0, ALL, 8], Error::BadArgument);
}

#[test]
fn a_copy_is_refused_for_bad_handles_and_rights_and_full_tables() {
    let mut m = boot();
    let root = m.root.thread;
    let original = endpoint(&mut m, 3, 0);
    refused(&mut m, root, Syscall::CapCopy, &[0, ALL, 0], Error::BadHandle);
    refused(&mut m, root, Syscall::CapCopy, &[128, ALL, 0], Error::BadHandle);
    refused(&mut m, root, Syscall::CapCopy, &[stale(original), ALL, 0], Error::StaleHandle);
    refused(&mut m, root, Syscall::CapCopy, &[Handle::new(100, 1).0, ALL, 0], Error::StaleHandle);
    refused(&mut m, root, Syscall::CapCopy, &[original.0, 0x1_0000, 0], Error::BadArgument);
    while m.sys(Syscall::CapCopy, &[original.0, ALL, 0]).is_ok() {}
    refused(&mut m, root, Syscall::CapCopy, &[original.0, ALL, 0], Error::TableFull);
    refused(&mut m, root, Syscall::NotificationCreate, &[own::ACCOUNT.0], Error::TableFull);
    refused(&mut m, root, Syscall::MemorySplit, &[own::RAM.0, 0, 1, ALL], Error::TableFull);
    refused(&mut m, root, Syscall::CapMove, &[own::DOMAIN.0, original.0], Error::NotSoleOwner);
}

#[test]
fn a_copy_of_a_capability_whose_object_is_gone_is_refused() {
    let mut m = boot();
    let root = m.root.thread;
    let original = endpoint(&mut m, 3, 0);
    let copy = m.make(Syscall::CapCopy, &[original.0, ALL, 0]);
    m.sys(Syscall::Destroy, &[copy.0]).unwrap();
    refused(&mut m, root, Syscall::CapCopy, &[original.0, ALL, 0], Error::StaleHandle);
    refused(&mut m, root, Syscall::CapMove, &[own::DOMAIN.0, original.0], Error::StaleHandle);
    // It can still be looked at and deleted.
    about(&mut m, original);
    m.sys(Syscall::CapDelete, &[original.0]).unwrap();
    m.sys(Syscall::CapDelete, &[copy.0]).unwrap();
}

#[test]
fn a_grant_puts_a_copy_into_another_domains_table() {
    let mut s = stage();
    s.m.switch_to(s.client.id);
    assert_eq!(about(&mut s.m, s.call)[2], BADGE);
    // The domain's own rights decide who may do it.
    s.m.switch_to(s.root);
    let no_grant = s.m.make(Syscall::CapCopy, &[s.client.domain.0, DomainRights::INSPECT.bits().into(), 0]);
    refused(&mut s.m, s.root, Syscall::CapGrant, &[no_grant.0, s.endpoint.0, ALL, 0], Error::MissingRight);
    refused(&mut s.m, s.root, Syscall::CapGrant, &[s.endpoint.0, s.endpoint.0, ALL, 0], Error::WrongKind);
    while s.m.sys(Syscall::CapGrant, &[s.client.domain.0, s.endpoint.0, ALL, 0]).is_ok() {}
    refused(&mut s.m, s.root, Syscall::CapGrant, &[s.client.domain.0, s.endpoint.0, ALL, 0], Error::TableFull);
    refused(&mut s.m, s.root, Syscall::CapMove, &[s.client.domain.0, no_grant.0], Error::TableFull);
    s.m.sys(Syscall::Destroy, &[s.client.domain.0]).unwrap();
    refused(&mut s.m, s.root, Syscall::CapGrant, &[s.client.domain.0, s.endpoint.0, ALL, 0], Error::StaleHandle);
}

#[test]
fn a_move_keeps_the_place_among_relatives() {
    let mut s = stage();
    s.m.switch_to(s.root);
    let original = notification(&mut s.m);
    let child = s.m.make(Syscall::CapCopy, &[original.0, ALL, 0]);
    let moved = s.m.make(Syscall::CapMove, &[s.client.domain.0, child.0]);
    refused(&mut s.m, s.root, Syscall::CapInfo, &[child.0], Error::StaleHandle);
    by(&mut s.m, s.client.id, Syscall::Notify, &[moved.0, 1]).unwrap();
    // It is still a child of the original.
    by(&mut s.m, s.root, Syscall::CapRevoke, &[original.0]).unwrap();
    refused(&mut s.m, s.client.id, Syscall::Notify, &[moved.0, 1], Error::StaleHandle);
}

#[test]
fn what_has_children_or_mappings_cannot_be_moved() {
    let mut s = stage();
    s.m.switch_to(s.root);
    refused(&mut s.m, s.root, Syscall::CapMove, &[s.client.domain.0, s.endpoint.0], Error::NotSoleOwner);
    let page = s.m.make(Syscall::MemorySplit, &[own::RAM.0, SPARE, 1, ALL]);
    s.m.sys(Syscall::Map, &[own::SPACE.0, page.0, 0x41_0000, 0, 1, MapAccess::Read as u64]).unwrap();
    refused(&mut s.m, s.root, Syscall::CapMove, &[s.client.domain.0, page.0], Error::NotSoleOwner);
}

#[test]
fn deleting_hands_children_to_the_parent() {
    let mut m = boot();
    let root = m.root.thread;
    let grandparent = notification(&mut m);
    let parent = m.make(Syscall::CapCopy, &[grandparent.0, ALL, 0]);
    let children: Vec<Handle> = (0..40).map(|_| m.make(Syscall::CapCopy, &[parent.0, ALL, 0])).collect();
    m.sys(Syscall::CapDelete, &[parent.0]).unwrap();
    for child in &children {
        m.sys(Syscall::Notify, &[child.0, 1]).expect("children live on");
    }
    m.sys(Syscall::CapRevoke, &[grandparent.0]).unwrap();
    for child in &children {
        refused(&mut m, root, Syscall::Notify, &[child.0, 1], Error::StaleHandle);
    }
    m.sys(Syscall::Notify, &[grandparent.0, 1]).expect("the capability itself stays");
}

#[test]
fn deleting_hands_mappings_to_the_parent() {
    let mut m = boot();
    let part = m.make(Syscall::MemorySplit, &[own::RAM.0, SPARE, 4, ALL]);
    let copy = m.make(Syscall::CapCopy, &[part.0, ALL, 0]);
    m.sys(Syscall::Map, &[own::SPACE.0, copy.0, 0x41_0000, 0, 2, MapAccess::ReadWrite as u64]).unwrap();
    m.sys(Syscall::CapDelete, &[copy.0]).unwrap();
    m.store(0x41_0000, b"still there");
    m.sys(Syscall::CapRevoke, &[part.0]).unwrap();
    assert_eq!(m.frame_behind(0x41_0000), None);
}

#[test]
fn deleting_the_last_capability_of_memory_unmaps_it() {
    let mut m = boot();
    // The root's own data page is mapped from this very capability.
    assert!(m.frame_behind(BUFFER).is_some());
    m.sys(Syscall::CapDelete, &[own::RAM.0]).unwrap();
    assert_eq!(m.frame_behind(BUFFER), None);
}

#[test]
fn revoking_removes_descendants_of_every_generation_and_their_mappings() {
    let mut s = stage();
    s.m.switch_to(s.root);
    let part = s.m.make(Syscall::MemorySplit, &[own::RAM.0, SPARE, 4, ALL]);
    let child = s.m.make(Syscall::MemorySplit, &[part.0, 1, 2, ALL]);
    let theirs = grant(&mut s.m, &s.client, child, MemoryRights::all().bits(), 0);
    let map = [s.client.space.0, child.0, 0x41_0000, 0, 2, MapAccess::ReadWrite as u64];
    s.m.sys(Syscall::Map, &map).unwrap();
    s.m.sys(Syscall::CapRevoke, &[part.0]).unwrap();
    refused(&mut s.m, s.root, Syscall::CapInfo, &[child.0], Error::StaleHandle);
    refused(&mut s.m, s.client.id, Syscall::CapInfo, &[theirs.0], Error::StaleHandle);
    assert_eq!(s.m.frame_behind(0x41_0000), None, "gone from the client's space");
}

#[test]
fn revoking_takes_message_buffers_too() {
    let mut s = stage();
    s.m.switch_to(s.root);
    let page = s.m.make(Syscall::MemorySplit, &[own::RAM.0, SPARE, 1, ALL]);
    s.m.sys(Syscall::ThreadBuffer, &[s.client.thread.0, page.0, 0, BUFFER]).unwrap();
    s.m.sys(Syscall::CapRevoke, &[page.0]).unwrap();
    let long = crate::scene::info(0, 7);
    refused(&mut s.m, s.client.id, Syscall::Call, &[s.call.0, long, NEVER, INTERFACE], Error::NoBuffer);
}

#[test]
fn a_slot_is_used_again_under_another_generation() {
    let mut m = boot();
    let root = m.root.thread;
    let first = notification(&mut m);
    m.sys(Syscall::CapDelete, &[first.0]).unwrap();
    let second = notification(&mut m);
    assert_eq!(first.index(), second.index());
    assert_ne!(first, second);
    refused(&mut m, root, Syscall::Notify, &[first.0, 1], Error::StaleHandle);
    refused(&mut m, root, Syscall::CapDelete, &[first.0], Error::StaleHandle);
    refused(&mut m, root, Syscall::CapRevoke, &[first.0], Error::StaleHandle);
    refused(&mut m, root, Syscall::Destroy, &[first.0], Error::StaleHandle);
}

#[test]
fn a_stale_capability_does_not_name_the_object_that_came_into_its_objects_slot() {
    let mut m = boot();
    let root = m.root.thread;
    let first = notification(&mut m);
    let copy = m.make(Syscall::CapCopy, &[first.0, ALL, 0]);
    m.sys(Syscall::Destroy, &[first.0]).unwrap();
    let second = notification(&mut m);
    refused(&mut m, root, Syscall::Notify, &[copy.0, 1], Error::StaleHandle);
    m.sys(Syscall::CapDelete, &[copy.0]).unwrap();
    m.sys(Syscall::CapDelete, &[first.0]).unwrap();
    m.sys(Syscall::Notify, &[second.0, 1]).expect("the second is untouched");
}

#[test]
fn a_domain_does_not_delete_the_last_capability_of_itself() {
    let mut m = boot();
    let root = m.root.thread;
    refused(&mut m, root, Syscall::CapDelete, &[own::DOMAIN.0], Error::WrongState);
    let copy = m.make(Syscall::CapCopy, &[own::DOMAIN.0, ALL, 0]);
    m.sys(Syscall::CapDelete, &[own::DOMAIN.0]).unwrap();
    refused(&mut m, root, Syscall::CapDelete, &[copy.0], Error::WrongState);
    refused(&mut m, root, Syscall::Destroy, &[copy.0], Error::WrongState);
}

#[test]
fn a_table_can_be_inspected_slot_by_slot() {
    let mut s = stage();
    s.m.switch_to(s.root);
    let [kind, rights, badge, handle] = s.m.sys(Syscall::CapInspect, &[s.client.domain.0, 1]).unwrap();
    assert_eq!((kind, badge, Handle(handle)), (Kind::Endpoint as u64, BADGE, s.call));
    assert_eq!(rights, u64::from((EndpointRights::CALL | EndpointRights::GRANT).bits()));
    assert_eq!(s.m.sys(Syscall::CapInspect, &[s.client.domain.0, 0]), Ok([0; 4]));
    assert_eq!(s.m.sys(Syscall::CapInspect, &[s.client.domain.0, 15]), Ok([0; 4]));
    refused(&mut s.m, s.root, Syscall::CapInspect, &[s.client.domain.0, 16], Error::BadArgument);
    let weak = s.m.make(Syscall::CapCopy, &[s.client.domain.0, DomainRights::GRANT.bits().into(), 0]);
    refused(&mut s.m, s.root, Syscall::CapInspect, &[weak.0, 1], Error::MissingRight);
}

#[test]
fn where_memory_lies_is_only_for_those_who_may_tell_devices() {
    let mut m = boot();
    let root = m.root.thread;
    let [frame, pages, device, _] = m.sys(Syscall::MemoryInfo, &[own::RAM.0]).unwrap();
    assert_eq!((frame, pages, device), (20, 140, 0));
    let [frame, _, device, _] = m.sys(Syscall::MemoryInfo, &[own::DEVICE.0]).unwrap();
    assert_eq!((frame, device), (0x1000, 1));
    let plain = m.make(Syscall::CapCopy, &[own::RAM.0, MemoryRights::READ.bits().into(), 0]);
    assert_eq!(m.sys(Syscall::MemoryInfo, &[plain.0]).unwrap()[..2], [0, 140]);
    assert_eq!(about(&mut m, plain)[2], 140, "nor does its badge tell");
    refused(&mut m, root, Syscall::MemoryInfo, &[own::SPACE.0], Error::WrongKind);
}

#[test]
fn memory_can_be_split_but_not_grown() {
    let mut m = boot();
    let root = m.root.thread;
    let part = m.make(Syscall::MemorySplit, &[own::RAM.0, SPARE, 4, ALL]);
    assert_eq!(m.sys(Syscall::MemoryInfo, &[part.0]).unwrap()[..2], [20 + SPARE, 4]);
    for (first, pages) in [(0, 5), (4, 1), (1, 4), (0, 0), (u64::MAX, 1), (1, u64::MAX), (1 << 32, 1)] {
        refused(&mut m, root, Syscall::MemorySplit, &[part.0, first, pages, ALL], Error::BadArgument);
    }
    let fixed = m.make(Syscall::CapCopy, &[part.0, MemoryRights::READ.bits().into(), 0]);
    refused(&mut m, root, Syscall::MemorySplit, &[fixed.0, 0, 1, ALL], Error::MissingRight);
    refused(&mut m, root, Syscall::MemorySplit, &[part.0, 0, 1, 1 << 16], Error::BadArgument);
    refused(&mut m, root, Syscall::MemorySplit, &[own::PORTS.0, 0, 1, ALL], Error::WrongKind);
}

#[test]
fn a_notification_granted_with_a_badge_can_set_only_that() {
    let mut s = stage();
    s.m.switch_to(s.root);
    let bits = notification(&mut s.m);
    let theirs = grant(&mut s.m, &s.client, bits, NotificationRights::NOTIFY.bits(), 4);
    refused(&mut s.m, s.client.id, Syscall::Notify, &[theirs.0, 1], Error::BadArgument);
    by(&mut s.m, s.client.id, Syscall::Notify, &[theirs.0, 4]).unwrap();
}

#[test]
fn a_second_domain_has_nothing_it_was_not_given() {
    let mut m = boot();
    let other = peer(&mut m, 1, 0);
    for index in 1..16 {
        for generation in 1..3 {
            let handle = Handle::new(index, generation).0;
            refused(&mut m, other.id, Syscall::CapInfo, &[handle], Error::StaleHandle);
        }
    }
}
