//! Mapping, unmapping, donating.

use crate::scene::{ALL, M, SPARE, boot, by, grant, peer, refused, stage, statistics};
use abi::rights::{MemoryRights, SpaceRights};
use abi::syscall::{DONATION_MAX, MapAccess};
use abi::{Error, PAGE_SIZE, Syscall, USER_END};
use kernel_core::Frame;
use model::machine::{DATA, Machine, Plan, own};

const READ: u64 = MapAccess::Read as u64;
const WRITE: u64 = MapAccess::ReadWrite as u64;
const EXECUTE: u64 = MapAccess::ReadExecute as u64;
/// Where nothing is mapped and no table is missing.
const PLACE: u64 = 0x41_0000;

fn map(place: u64, first: u64, pages: u64, access: u64) -> [u64; 6] {
    [own::SPACE.0, own::RAM.0, place, first, pages, access]
}

#[test]
fn a_map_shows_the_memory_and_an_unmap_hides_it() {
    let mut m = boot();
    let id = m.sys(Syscall::Map, &map(PLACE, SPARE, 3, WRITE)).unwrap()[0];
    m.store(PLACE + 2 * PAGE_SIZE, b"here");
    assert_eq!(m.frame_behind(PLACE), Some(Frame(20 + SPARE as u32)));
    m.sys(Syscall::Unmap, &[own::SPACE.0, id]).unwrap();
    assert_eq!(m.frame_behind(PLACE), None);
    let root = m.root.thread;
    refused(&mut m, root, Syscall::Unmap, &[own::SPACE.0, id], Error::StaleHandle);
}

#[test]
fn two_mappings_show_the_same_memory() {
    let mut m = boot();
    let (first, second) = (map(PLACE, SPARE, 1, WRITE), map(PLACE + PAGE_SIZE, SPARE, 1, READ));
    m.sys(Syscall::Map, &first).unwrap();
    m.sys(Syscall::Map, &second).unwrap();
    m.store(PLACE, b"shared");
    assert_eq!(m.load(PLACE + PAGE_SIZE, 6), b"shared");
}

#[test]
fn a_map_may_fill_a_window_of_2_mib_and_no_more() {
    let mut m: M = Machine::boot(Plan { frames: 720, tables: 16, table_length: 128 });
    let root = m.root.thread;
    for (place, pages) in [(0x60_0000, 513), (0x60_1000, 512), (0x7f_f000, 2)] {
        refused(&mut m, root, Syscall::Map, &map(place, SPARE, pages, READ), Error::BadAddress);
    }
    for (place, pages) in [(0x60_0000, 512), (0x5f_f000, 1), (0x80_0000, 1), (PAGE_SIZE, 1)] {
        m.sys(Syscall::Map, &map(place, SPARE, pages, READ)).unwrap();
    }
}

#[test]
fn a_map_outside_of_what_may_be_mapped_is_refused() {
    let mut m = boot();
    let root = m.root.thread;
    let cases = [
        (map(PLACE + 1, SPARE, 1, READ), Error::BadAddress),
        (map(0, SPARE, 1, READ), Error::BadAddress),
        (map(USER_END, SPARE, 1, READ), Error::BadAddress),
        (map(0xffff_8000_0000_0000, SPARE, 1, READ), Error::BadAddress),
        (map(u64::MAX - PAGE_SIZE + 1, SPARE, 1, READ), Error::BadAddress),
        // Across a window of 2 MiB.
        (map(0x60_0000 - PAGE_SIZE, SPARE, 2, READ), Error::BadAddress),
        (map(PLACE, SPARE, 0, READ), Error::BadArgument),
        (map(PLACE, 140, 1, READ), Error::BadArgument),
        (map(PLACE, 139, 2, READ), Error::BadArgument),
        (map(PLACE, u64::MAX, 2, READ), Error::BadArgument),
        (map(PLACE, SPARE, 1, 0), Error::BadArgument),
        (map(PLACE, SPARE, 1, 2), Error::BadArgument),
        // Writable and executable at once does not exist.
        (map(PLACE, SPARE, 1, 7), Error::BadArgument),
        (map(DATA, SPARE, 1, READ), Error::AlreadyMapped),
        (map(DATA - PAGE_SIZE, SPARE, 3, READ), Error::BadAddress),
    ];
    for (arguments, error) in cases {
        refused(&mut m, root, Syscall::Map, &arguments, error);
    }
}

#[test]
fn a_map_over_an_existing_one_is_refused_wherever_they_meet() {
    let mut m = boot();
    let root = m.root.thread;
    m.sys(Syscall::Map, &map(PLACE + PAGE_SIZE, SPARE, 2, READ)).unwrap();
    for (place, pages) in [(PLACE, 2), (PLACE + PAGE_SIZE, 1), (PLACE + 2 * PAGE_SIZE, 3), (PLACE, 4)] {
        refused(&mut m, root, Syscall::Map, &map(place, SPARE, pages, READ), Error::AlreadyMapped);
    }
    let beside = map(PLACE, SPARE, 1, READ);
    m.sys(Syscall::Map, &beside).unwrap();
}

#[test]
fn access_needs_the_rights_of_the_memory() {
    let mut m = boot();
    let root = m.root.thread;
    for (rights, allowed) in [
        (MemoryRights::READ, vec![READ]),
        (MemoryRights::READ | MemoryRights::WRITE, vec![READ, WRITE]),
        (MemoryRights::READ | MemoryRights::EXECUTE, vec![READ, EXECUTE]),
        (MemoryRights::WRITE | MemoryRights::EXECUTE, vec![]),
    ] {
        let memory = m.make(Syscall::CapCopy, &[own::RAM.0, rights.bits().into(), 0]);
        for access in [READ, WRITE, EXECUTE] {
            let arguments = [own::SPACE.0, memory.0, PLACE, SPARE, 1, access];
            if allowed.contains(&access) {
                let id = m.sys(Syscall::Map, &arguments).unwrap()[0];
                m.sys(Syscall::Unmap, &[own::SPACE.0, id]).unwrap();
            } else {
                refused(&mut m, root, Syscall::Map, &arguments, Error::MissingRight);
            }
        }
    }
}

#[test]
fn mapping_needs_the_right_to_the_space() {
    let mut m = boot();
    let root = m.root.thread;
    let weak = m.make(Syscall::CapCopy, &[own::SPACE.0, SpaceRights::DESTROY.bits().into(), 0]);
    refused(&mut m, root, Syscall::Map, &[weak.0, own::RAM.0, PLACE, SPARE, 1, READ], Error::MissingRight);
    refused(&mut m, root, Syscall::SpaceDonate, &[weak.0, own::RAM.0, SPARE, 1], Error::MissingRight);
    refused(&mut m, root, Syscall::Map, &[own::SPACE.0, own::SPACE.0, PLACE, SPARE, 1, READ], Error::WrongKind);
}

#[test]
fn an_unmap_names_a_mapping_of_that_very_space() {
    let mut m = boot();
    let root = m.root.thread;
    let other = peer(&mut m, 1, 0);
    let id = m.sys(Syscall::Map, &map(PLACE, SPARE, 1, READ)).unwrap()[0];
    refused(&mut m, root, Syscall::Unmap, &[other.space.0, id], Error::StaleHandle);
    for forged in [0, id + (1 << 16), id | 1 << 48, u64::MAX, 0xffff] {
        refused(&mut m, root, Syscall::Unmap, &[own::SPACE.0, forged], Error::StaleHandle);
    }
}

#[test]
fn a_map_without_tables_says_how_many_are_missing() {
    let mut m = boot();
    let root = m.root.thread;
    let space = m.make(Syscall::SpaceCreate, &[own::ACCOUNT.0, own::RAM.0, SPARE]);
    let arguments = [space.0, own::RAM.0, PLACE, SPARE + 20, 1, READ];
    let missing = |m: &mut M, number: u64| {
        assert_eq!(m.sys(Syscall::Map, &arguments), Err(Error::NeedTables));
        assert_eq!(m.context(root).result.unwrap()[1], number);
    };
    missing(&mut m, 3);
    m.sys(Syscall::SpaceDonate, &[space.0, own::RAM.0, SPARE + 1, 2]).unwrap();
    missing(&mut m, 1);
    m.sys(Syscall::SpaceDonate, &[space.0, own::RAM.0, SPARE + 3, 1]).unwrap();
    m.sys(Syscall::Map, &arguments).unwrap();
    // The next in the same window needs none, one in the next window one.
    m.sys(Syscall::Map, &[space.0, own::RAM.0, PLACE + PAGE_SIZE, SPARE + 20, 1, READ]).unwrap();
    refused(&mut m, root, Syscall::Map, &[space.0, own::RAM.0, 0x60_0000, SPARE + 20, 1, READ], Error::NeedTables);
}

#[test]
fn a_donated_page_is_the_kernels_until_the_space_dies() {
    let mut m = boot();
    let root = m.root.thread;
    let id = m.sys(Syscall::Map, &map(PLACE, SPARE, 1, WRITE)).unwrap()[0];
    m.store(PLACE, b"secret of user space");
    m.sys(Syscall::Unmap, &[own::SPACE.0, id]).unwrap();
    let kernel = statistics(&mut m)[1];
    let space = m.make(Syscall::SpaceCreate, &[own::ACCOUNT.0, own::RAM.0, SPARE]);
    m.sys(Syscall::SpaceDonate, &[space.0, own::RAM.0, SPARE + 1, 3]).unwrap();
    assert_eq!(statistics(&mut m)[1], kernel + 4);
    for page in SPARE..SPARE + 4 {
        assert!(m.world.is_zero(Frame(20 + page as u32)));
        refused(&mut m, root, Syscall::Map, &map(PLACE, page, 1, READ), Error::KernelPage);
        refused(&mut m, root, Syscall::SpaceDonate, &[space.0, own::RAM.0, page, 1], Error::KernelPage);
        refused(&mut m, root, Syscall::SpaceCreate, &[own::ACCOUNT.0, own::RAM.0, page], Error::KernelPage);
        refused(&mut m, root, Syscall::ThreadBuffer, &[own::THREAD.0, own::RAM.0, page, PLACE], Error::KernelPage);
    }
    // A range that touches one is refused too.
    refused(&mut m, root, Syscall::Map, &map(PLACE, SPARE - 1, 2, READ), Error::KernelPage);
    m.sys(Syscall::Destroy, &[space.0]).unwrap();
    assert_eq!(statistics(&mut m)[1], kernel);
    m.sys(Syscall::Map, &map(PLACE, SPARE, 4, WRITE)).unwrap();
    assert_eq!(m.load(PLACE, 4 * PAGE_SIZE), vec![0; 4 * PAGE_SIZE as usize]);
}

#[test]
fn only_memory_that_nobody_uses_can_be_donated() {
    let mut m = boot();
    let root = m.root.thread;
    let space = own::SPACE.0;
    m.sys(Syscall::Map, &map(PLACE, SPARE + 1, 1, READ)).unwrap();
    refused(&mut m, root, Syscall::SpaceDonate, &[space, own::RAM.0, SPARE, 2], Error::NotSoleOwner);
    // A message buffer is in use, too: page 1 is the root's.
    refused(&mut m, root, Syscall::SpaceDonate, &[space, own::RAM.0, 1, 1], Error::NotSoleOwner);
    refused(&mut m, root, Syscall::SpaceCreate, &[own::ACCOUNT.0, own::RAM.0, 1], Error::NotSoleOwner);
    refused(&mut m, root, Syscall::SpaceDonate, &[space, own::DEVICE.0, 0, 1], Error::BadArgument);
    refused(&mut m, root, Syscall::SpaceDonate, &[space, own::RAM.0, SPARE + 2, DONATION_MAX + 1], Error::BadArgument);
    refused(&mut m, root, Syscall::SpaceDonate, &[space, own::RAM.0, SPARE + 2, 0], Error::BadArgument);
    refused(&mut m, root, Syscall::SpaceDonate, &[space, own::RAM.0, 200, 1], Error::BadArgument);
    let kept = m.make(Syscall::CapCopy, &[own::RAM.0, (MemoryRights::READ | MemoryRights::WRITE).bits().into(), 0]);
    refused(&mut m, root, Syscall::SpaceDonate, &[space, kept.0, SPARE + 2, 1], Error::MissingRight);
}

#[test]
fn device_registers_are_mapped_uncached_and_never_pinned() {
    let mut m = boot();
    let before = statistics(&mut m)[2];
    m.sys(Syscall::Map, &[own::SPACE.0, own::DEVICE.0, PLACE, 2, 2, WRITE]).unwrap();
    let leaf = m.world.spaces[&Frame(4)].leaves[&(PLACE / PAGE_SIZE)];
    assert!(leaf.device && leaf.frame == Frame(0x1002));
    assert_eq!(statistics(&mut m)[2], before);
    let root = m.root.thread;
    refused(&mut m, root, Syscall::ThreadBuffer, &[own::THREAD.0, own::DEVICE.0, 0, PLACE], Error::BadArgument);
}

#[test]
fn a_message_buffer_can_be_replaced() {
    let mut m = boot();
    let root = m.root.thread;
    let before = statistics(&mut m);
    m.sys(Syscall::ThreadBuffer, &[own::THREAD.0, own::RAM.0, SPARE, PLACE]).unwrap();
    m.sys(Syscall::ThreadBuffer, &[own::THREAD.0, own::RAM.0, 1, PLACE]).unwrap();
    assert_eq!(statistics(&mut m), before);
    let read_only = m.make(Syscall::CapCopy, &[own::RAM.0, MemoryRights::READ.bits().into(), 0]);
    refused(&mut m, root, Syscall::ThreadBuffer, &[own::THREAD.0, read_only.0, 1, PLACE], Error::MissingRight);
    refused(&mut m, root, Syscall::ThreadBuffer, &[own::THREAD.0, own::RAM.0, 140, PLACE], Error::BadArgument);
    refused(&mut m, root, Syscall::ThreadBuffer, &[own::THREAD.0, own::RAM.0, 1, u64::MAX], Error::BadAddress);
}

#[test]
fn destroying_a_space_takes_its_mappings_with_it() {
    let mut m = boot();
    let before = statistics(&mut m);
    let space = m.make(Syscall::SpaceCreate, &[own::ACCOUNT.0, own::RAM.0, SPARE]);
    m.sys(Syscall::SpaceDonate, &[space.0, own::RAM.0, SPARE + 1, 8]).unwrap();
    for index in 0..4 {
        m.sys(Syscall::Map, &[space.0, own::RAM.0, PLACE + index * PAGE_SIZE, SPARE + 20, 1, READ]).unwrap();
    }
    m.sys(Syscall::CapDelete, &[space.0]).unwrap();
    assert_eq!(statistics(&mut m), before);
}

#[test]
fn a_space_that_domains_run_in_cannot_be_destroyed_and_lives_without_capabilities() {
    let mut s = stage();
    refused(&mut s.m, s.root, Syscall::Destroy, &[s.client.space.0], Error::WrongState);
    s.m.sys(Syscall::CapDelete, &[s.client.space.0]).unwrap();
    by(&mut s.m, s.client.id, Syscall::Clock, &[]).unwrap();
    by(&mut s.m, s.root, Syscall::Destroy, &[s.client.domain.0]).unwrap();
    let spaces = statistics(&mut s.m)[3 + abi::syscall::Charge::Spaces as usize];
    assert_eq!(spaces, 2, "the space has gone with its last domain");
}

#[test]
fn a_holder_of_a_part_maps_that_part_only() {
    let mut s = stage();
    s.m.switch_to(s.root);
    let part = s.m.make(Syscall::MemorySplit, &[own::RAM.0, SPARE, 2, ALL]);
    let theirs = grant(&mut s.m, &s.client, part, MemoryRights::READ.bits(), 0);
    let space = grant(&mut s.m, &s.client, s.client.space, SpaceRights::MAP.bits(), 0);
    let client = s.client.id;
    refused(&mut s.m, client, Syscall::Map, &[space.0, theirs.0, PLACE, 2, 1, READ], Error::BadArgument);
    refused(&mut s.m, client, Syscall::Map, &[space.0, theirs.0, PLACE, 0, 1, WRITE], Error::MissingRight);
    s.m.sys(Syscall::Map, &[space.0, theirs.0, PLACE, 1, 1, READ]).unwrap();
    assert_eq!(s.m.frame_behind(PLACE), Some(Frame(20 + SPARE as u32 + 1)));
}
