use super::{MEGABYTE, boot};
use proptest::prelude::*;
use vmm::boot::{Boot, BootError, load};
use vmm::memory::{FlatMemory, GuestMemory};

const SETUP: usize = 5 * 512;
const PLACE: u64 = 2 * MEGABYTE;

/// The smallest bzImage: four sectors of setup, and some bytes for a kernel.
pub(super) fn image() -> Vec<u8> {
    let mut image = vec![0; SETUP];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(0x1f1, &[4]);
    put(0x1fe, &[0x55, 0xaa]);
    put(0x201, &[0x6a]);
    put(0x202, b"HdrS");
    put(0x206, &0x020f_u16.to_le_bytes());
    put(0x211, &[1]);
    put(0x22c, &0x7fff_ffff_u32.to_le_bytes());
    put(0x236, &1_u16.to_le_bytes());
    put(0x238, &2047_u32.to_le_bytes());
    put(0x258, &PLACE.to_le_bytes());
    put(0x260, &(MEGABYTE as u32).to_le_bytes());
    image.extend(b"the kernel");
    image
}

fn with(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut image = image();
    image[at..at + bytes.len()].copy_from_slice(bytes);
    image
}

#[test]
fn the_kernel_finds_itself_and_what_it_is_to_know() {
    let mut memory = FlatMemory::new(8 << 20);
    let (image, files) = (image(), vec![7; 5000]);
    let state = load(&boot(&image, Some(&files), 8), &mut memory).unwrap();
    assert_eq!(state.instruction, PLACE + 0x200);
    assert_eq!(&memory.bytes()[PLACE as usize..][..10], b"the kernel");
    let page = state.general[6];
    assert_eq!(memory.read_u32(page + 0x202).unwrap(), u32::from_le_bytes(*b"HdrS"));
    let line = u64::from(memory.read_u32(page + 0x228).unwrap());
    assert_eq!(&memory.bytes()[line as usize..][..14], b"console=ttyS0\0");
    let (at, length) = (memory.read_u32(page + 0x218).unwrap(), memory.read_u32(page + 0x21c).unwrap());
    assert_eq!((at, length), ((8 << 20) - 8192, 5000));
    assert_eq!(&memory.bytes()[at as usize..][..5000], files);
    assert_eq!(memory.read_u64(page + 0x70), Ok(0xe_0000));
    assert_eq!(memory.bytes()[page as usize + 0x1e8], 3);
    let last = page + 0x2d0 + 40;
    assert_eq!((memory.read_u64(last), memory.read_u64(last + 8)), (Ok(MEGABYTE), Ok(7 * MEGABYTE)));
    assert_eq!(memory.read_u32(last + 16), Ok(1));
}

#[test]
fn it_starts_in_64_bit_mode_with_every_address_below_4_gigabytes_mapped_to_itself() {
    let mut memory = FlatMemory::new(8 << 20);
    let image = image();
    let state = load(&boot(&image, None, 8), &mut memory).unwrap();
    assert_eq!((state.cr0 & 0x8000_0001, state.cr4, state.efer), (0x8000_0001, 0x20, 0x500));
    assert_eq!(state.flags, 2, "interrupts are off");
    assert_eq!((state.segments[1].selector, state.segments[3].selector), (0x10, 0x18));
    let descriptor = memory.read_u64(state.descriptors.base + 0x10).unwrap();
    let attributes = (descriptor >> 40 & 0xff | descriptor >> 44 & 0xf00) as u16;
    assert_eq!(attributes, state.segments[1].attributes, "what is cached is what is in the table");
    for address in [0, PLACE, 0xc000_0000, 0xffff_f000_u64] {
        let entry = |table: u64, shift: u32| {
            let entry = memory.read_u64(table + (address >> shift & 511) * 8).unwrap();
            assert_eq!(entry & 3, 3, "{address:#x}");
            entry
        };
        let page = entry(entry(entry(state.cr3, 39) & !0xfff, 30) & !0xfff, 21);
        assert_eq!((page & 0x80, page & !0xfff), (0x80, address & !0x1f_ffff));
    }
}

#[test]
fn the_initial_files_stay_below_what_the_image_allows_and_above_it() {
    let mut memory = FlatMemory::new(8 << 20);
    let image = with(0x22c, &0x3f_ffff_u32.to_le_bytes());
    let state = load(&boot(&image, Some(&[1; 100]), 8), &mut memory).unwrap();
    assert_eq!(memory.read_u32(state.general[6] + 0x218), Ok(0x3f_f000));
    let files = vec![1; 2 << 20];
    let refused = load(&boot(&image, Some(&files), 8), &mut memory);
    assert_eq!(refused, Err(BootError::NoRoomForFiles { length: 2 * MEGABYTE }));
}

#[test]
fn an_image_that_is_none_or_too_old_or_too_big_is_refused() {
    let bad_place = |address, length| BootError::BadPlace { address, length };
    for (image, error) in [
        (Vec::new(), BootError::Truncated),
        (vec![0; 4096], BootError::NotThisKind),
        (with(0x202, b"HdrX"), BootError::NotThisKind),
        (with(0x206, &[0x0b, 0x02]), BootError::TooOld),
        (with(0x236, &[0]), BootError::TooOld),
        (with(0x1f1, &[200]), BootError::Truncated),
        (image()[..SETUP].to_vec(), BootError::Truncated),
        (with(0x258, &[0; 8]), bad_place(0, MEGABYTE)),
        (with(0x258, &u64::MAX.to_le_bytes()), bad_place(u64::MAX, MEGABYTE)),
        (with(0x260, &u32::MAX.to_le_bytes()), bad_place(PLACE, u64::from(u32::MAX))),
    ] {
        assert_eq!(load(&boot(&image, None, 8), &mut FlatMemory::new(8 << 20)), Err(error));
    }
}

#[test]
fn a_command_line_that_is_too_long_or_has_a_zero_is_refused() {
    let image = image();
    for command_line in ["x".repeat(2048), "a\0b".to_owned()] {
        let boot = Boot { command_line: &command_line, ..boot(&image, None, 8) };
        assert_eq!(load(&boot, &mut FlatMemory::new(8 << 20)), Err(BootError::BadCommandLine));
    }
}

#[test]
fn a_map_of_more_memory_than_there_is_is_refused() {
    let image = image();
    let refused = load(&boot(&image, Some(&[1; 100]), 16), &mut FlatMemory::new(8 << 20));
    assert!(matches!(refused, Err(BootError::NoMemory(_))), "{refused:?}");
}

proptest! {
    #[test]
    fn no_image_does_more_than_being_refused(
        changes in prop::collection::vec((0x1f0_usize..0x268, any::<u8>()), 0..12),
        cut in 0_usize..3000,
        command_line in ".{0,3000}",
    ) {
        let mut image = image();
        for (at, byte) in changes {
            image[at] = byte;
        }
        image.truncate(image.len() - cut.saturating_sub(2000).min(image.len()));
        let boot = Boot { command_line: &command_line, ..boot(&image, Some(&[1; 4096]), 4) };
        let mut memory = FlatMemory::new(4 << 20);
        if let Ok(state) = load(&boot, &mut memory) {
            prop_assert!(state.instruction >= MEGABYTE && state.instruction < 5 * MEGABYTE);
        }
    }
}
