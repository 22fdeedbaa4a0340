use proptest::prelude::*;
use std::convert::Infallible;
use virtio_blk::capability::{Missing, Structure, Structures, find};

fn list(config: &[u8]) -> Result<Structures, Missing<Infallible>> {
    find(&|offset, width| {
        let offset = usize::from(offset);
        let mut bytes = [0; 4];
        bytes[..width.into()].copy_from_slice(&config[offset..offset + usize::from(width)]);
        Ok(u32::from_le_bytes(bytes))
    })
}

/// Capabilities at 0x40, 0x60, … with `(kind, bar, offset, length)`.
fn config(structures: &[(u8, u8, u32, u32)]) -> Vec<u8> {
    let mut config = vec![0; 256];
    config[6] = 1 << 4;
    config[0x34] = 0x40;
    for (index, (kind, bar, offset, length)) in structures.iter().enumerate() {
        let at = 0x40 + index * 0x18;
        let next = if index + 1 < structures.len() { at as u8 + 0x18 } else { 0 };
        config[at..at + 5].copy_from_slice(&[9, next, 0x14, *kind, *bar]);
        config[at + 8..at + 12].copy_from_slice(&offset.to_le_bytes());
        config[at + 12..at + 16].copy_from_slice(&length.to_le_bytes());
        config[at + 16..at + 20].copy_from_slice(&4u32.to_le_bytes());
    }
    config
}

const COMMON: (u8, u8, u32, u32) = (1, 4, 0, 0x1000);
const NOTIFY: (u8, u8, u32, u32) = (2, 4, 0x3000, 0x1000);
const DEVICE: (u8, u8, u32, u32) = (4, 4, 0x2000, 0x1000);

#[test]
fn the_structures_of_a_disk_are_where_its_capabilities_say() {
    let found = list(&config(&[(5, 0, 0, 0), DEVICE, NOTIFY, COMMON])).unwrap();
    assert_eq!(found.common, Structure { bar: 4, offset: 0, length: 0x1000 });
    assert_eq!(found.notify, Structure { bar: 4, offset: 0x3000, length: 0x1000 });
    assert_eq!(found.notify_multiplier, 4);
    assert_eq!(found.device, Some(Structure { bar: 4, offset: 0x2000, length: 0x1000 }));
}

#[test]
fn the_first_of_several_that_make_sense_counts() {
    let found = list(&config(&[(1, 7, 0, 0x1000), (1, 2, 0, 0), COMMON, (1, 0, 0, 0x1000), NOTIFY])).unwrap();
    assert_eq!(found.common.bar, 4);
    assert_eq!(found.device, None);
}

#[test]
fn a_legacy_device_has_not_what_is_needed() {
    assert_eq!(list(&[0; 256]), Err(Missing::Structure("notification")));
    assert_eq!(list(&config(&[NOTIFY])), Err(Missing::Structure("common")));
}

proptest! {
    #[test]
    fn whatever_bytes_a_device_answers_the_search_ends(bytes in proptest::collection::vec(any::<u8>(), 256)) {
        let mut bytes = bytes;
        bytes[6] |= 1 << 4;
        // The last capability may reach behind what the shortest configuration space has.
        bytes.extend_from_slice(&[0; 32]);
        if let Ok(found) = list(&bytes) {
            prop_assert!(found.common.bar < 6 && found.notify.bar < 6);
        }
    }
}
