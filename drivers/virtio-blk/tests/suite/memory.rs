use crate::rig::memory;
use userlib::memory::SharedMemory;
use virtio_blk::dma::Pool;
use virtio_blk::region::Region;

fn pool(pages: usize) -> (Pool, usize) {
    let words = memory((pages + 1) * 4096);
    let address = (words.as_ptr() as usize).next_multiple_of(4096);
    let pool = Pool::new();
    // SAFETY: the words last for ever, and nobody else uses them.
    unsafe { pool.provide(address, 0x10_0000, pages) };
    (pool, address)
}

#[test]
fn pages_are_given_out_once_zeroed_and_lie_together() {
    let (pool, address) = pool(4);
    let (bus, start) = pool.allocate(3).unwrap();
    assert_eq!((bus, start.as_ptr() as usize), (0x10_0000, address));
    assert_eq!(pool.allocate(2), None);
    let (last, _) = pool.allocate(1).unwrap();
    assert_eq!(last, 0x10_3000);
    // SAFETY: the page is this test's.
    unsafe { start.as_ptr().write(7) };
    pool.free(start, 3);
    let (_, again) = pool.allocate(2).unwrap();
    assert_eq!(again, start);
    // SAFETY: as before.
    assert_eq!(unsafe { again.as_ptr().read() }, 0);
}

#[test]
fn a_pool_of_nothing_gives_nothing() {
    let pool = Pool::new();
    assert_eq!(pool.allocate(1), None);
}

#[test]
fn at_most_64_pages_of_a_pool_are_used() {
    let (pool, _) = pool(70);
    assert!(pool.allocate(65).is_none());
    assert!(pool.allocate(64).is_some());
    assert!(pool.allocate(1).is_none());
}

#[test]
fn a_region_keeps_accesses_inside() {
    let words = memory(64);
    let region = Region::new(SharedMemory::new(words), 0x5000);
    let part = region.part(16..20).unwrap();
    part.write(2, &[1, 2, 3, 4]);
    assert_eq!((0..5).map(|offset| part.read(offset)).collect::<Vec<_>>(), [0, 0, 1, 2, 0xff]);
    assert_eq!(region.read(20), 0, "what did not fit is not written");
    assert_eq!((part.len(), part.part(3..5).is_none(), region.part(60..65).is_none()), (4, true, true));
}
