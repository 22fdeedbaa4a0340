use super::{MEGABYTE, boot};
use proptest::prelude::*;
use vmm::boot::{BootError, load};
use vmm::memory::{FlatMemory, GuestMemory};

const ENTRY: u64 = 2 * MEGABYTE + 0x40;
/// Where the parts of the file are.
const HEADERS: usize = 64;
const NOTE: usize = 0x100;
const CODE: usize = 0x200;

/// The smallest kernel with a PVH note, whose content has so many bytes.
fn image(content: &[u8]) -> Vec<u8> {
    let mut image = vec![0; CODE];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &[0x7f, b'E', b'L', b'F', 2, 1, 1]);
    put(16, &[2, 0, 62, 0, 1]);
    put(32, &(HEADERS as u64).to_le_bytes());
    put(52, &[64, 0, 56, 0, 2, 0]);
    let mut segment = |index: usize, kind: u32, offset: u64, place: u64, file: u64, memory: u64| {
        let at = HEADERS + 56 * index;
        put(at, &kind.to_le_bytes());
        for (field, value) in [(8, offset), (16, place), (24, place), (32, file), (40, memory), (48, 4)] {
            put(at + field, &value.to_le_bytes());
        }
    };
    segment(0, 1, CODE as u64, 2 * MEGABYTE, 8, 0x3000);
    segment(1, 4, NOTE as u64, 0, 36 + content.len() as u64, 0);
    // A note of somebody else comes first.
    let head = |kind: u32, length: u32| [4_u32, length, kind].map(u32::to_le_bytes).concat();
    put(NOTE, &[&head(18, 4)[..], b"GNU\0", &[0; 4]].concat());
    put(NOTE + 20, &[&head(18, content.len() as u32)[..], b"Xen\0", content].concat());
    image.extend(b"the code");
    image
}

fn with(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut image = image(&(ENTRY as u32).to_le_bytes());
    image[at..at + bytes.len()].copy_from_slice(bytes);
    image
}

#[test]
fn the_kernel_starts_in_flat_protected_mode_and_finds_what_it_is_to_know() {
    for image in [image(&(ENTRY as u32).to_le_bytes()), image(&ENTRY.to_le_bytes())] {
        let mut memory = FlatMemory::new(8 << 20);
        memory.write(2 * MEGABYTE + 0x100, &[9; 16]).unwrap();
        let state = load(&boot(&image, Some(b"files"), 8), &mut memory).unwrap();
        assert_eq!((state.instruction, state.cr0 & 0x8000_0001, state.cr4, state.flags), (ENTRY, 1, 0, 2));
        assert_eq!((state.segments[1].limit, state.segments[1].base), (u32::MAX, 0));
        assert_eq!(&memory.bytes()[2 << 20..][..8], b"the code");
        assert_eq!(memory.read_u64(2 * MEGABYTE + 0x100), Ok(0), "what the image leaves out is zero");
        let info = state.general[3];
        assert_eq!((memory.read_u32(info), memory.read_u32(info + 12)), (Ok(0x336e_c578), Ok(1)));
        let module = memory.read_u64(info + 16).unwrap();
        let (at, length) = (memory.read_u64(module).unwrap() as usize, memory.read_u64(module + 8));
        assert_eq!((&memory.bytes()[at..at + 5], length), (&b"files"[..], Ok(5)));
        let line = memory.read_u64(info + 24).unwrap() as usize;
        assert_eq!(&memory.bytes()[line..][..14], b"console=ttyS0\0");
        assert_eq!((memory.read_u64(info + 32), memory.read_u32(info + 48)), (Ok(0xe_0000), Ok(3)));
        let map = memory.read_u64(info + 40).unwrap();
        assert_eq!((memory.read_u64(map + 48), memory.read_u32(map + 64)), (Ok(MEGABYTE), Ok(1)));
    }
}

#[test]
fn an_image_that_cannot_be_started_is_refused() {
    let segment = |field: usize, value: u64| with(HEADERS + field, &value.to_le_bytes());
    for (image, error) in [
        (with(0, b"\x7fELF\x01"), BootError::NotThisKind),
        (with(18, &[183]), BootError::NotThisKind),
        (image(&[0; 5]), BootError::NoEntry),
        (image(&(1_u64 << 32).to_le_bytes()), BootError::NoEntry),
        (with(HEADERS + 56, &[0]), BootError::NoEntry),
        (segment(8, u64::MAX), BootError::Truncated),
        (segment(32, 9), BootError::Truncated),
        (segment(24, 0x1000), BootError::BadPlace { address: 0x1000, length: 0x3000 }),
        (segment(24, u64::MAX), BootError::BadPlace { address: u64::MAX, length: 0x3000 }),
        (segment(40, 7 * MEGABYTE), BootError::BadPlace { address: 2 * MEGABYTE, length: 7 * MEGABYTE }),
        (segment(40, 7), BootError::BadPlace { address: 2 * MEGABYTE, length: 7 }),
    ] {
        assert_eq!(load(&boot(&image, None, 8), &mut FlatMemory::new(8 << 20)), Err(error));
    }
}

proptest! {
    #[test]
    fn no_image_does_more_than_being_refused(
        changes in prop::collection::vec((4_usize..CODE, any::<u8>()), 0..12),
        cut in 0_usize..600,
    ) {
        let mut image = image(&(ENTRY as u32).to_le_bytes());
        for (at, byte) in changes {
            image[at] = byte;
        }
        image.truncate(image.len() - cut.saturating_sub(400));
        let mut memory = FlatMemory::new(4 << 20);
        let _outcome = load(&boot(&image, None, 4), &mut memory);
    }
}
