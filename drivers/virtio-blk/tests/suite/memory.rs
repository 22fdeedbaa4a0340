use crate::rig::memory;
use userlib::memory::SharedMemory;
use virtio_blk::region::{Region, Span};

#[test]
fn a_region_keeps_accesses_inside() {
    let words = memory(64);
    let region = Region::new(SharedMemory::new(words), 0x5000);
    let part = region.part(16..24).unwrap();
    part.set::<u16>(6, 0x0201);
    assert_eq!((part.get::<u8>(6), part.get::<u8>(7), part.get::<u8>(8)), (1, 2, 0xff));
    assert_eq!((part.len(), part.bus(), part.part(0..16).is_none()), (8, 0x5010, true));
    assert_eq!(region.get::<u64>(16), 0x0201 << 48);
}

#[test]
fn a_span_has_no_part_outside_of_it() {
    let span = Span { bus: 0x5000, length: 0x3000 };
    assert_eq!(span.part(0x1000, 0x2000), Some(Span { bus: 0x6000, length: 0x2000 }));
    assert_eq!((span.part(0x1001, 0x2000), span.part(usize::MAX, 2)), (None, None));
}
