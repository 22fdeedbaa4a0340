use super::*;
use proptest::prelude::*;

const READ_EXECUTE: u32 = 5;
const READ: u32 = 4;
const READ_WRITE: u32 = 6;

/// A program header: type, flags, offset in the file, address, bytes in the file, bytes in memory.
type Header = (u32, u32, u64, u64, u64, u64);

/// An ELF file of 0x3000 bytes with these program headers.
fn file(entry: u64, headers: &[Header]) -> Vec<u8> {
    let mut file = vec![0; 64];
    file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    file[16..18].copy_from_slice(&2u16.to_le_bytes());
    file[18..20].copy_from_slice(&62u16.to_le_bytes());
    file[20..24].copy_from_slice(&1u32.to_le_bytes());
    file[24..32].copy_from_slice(&entry.to_le_bytes());
    file[32..40].copy_from_slice(&64u64.to_le_bytes());
    file[52..54].copy_from_slice(&64u16.to_le_bytes());
    file[54..56].copy_from_slice(&56u16.to_le_bytes());
    file[56..58].copy_from_slice(&(headers.len() as u16).to_le_bytes());
    for &(kind, flags, offset, virt, filesz, memsz) in headers {
        file.extend_from_slice(&kind.to_le_bytes());
        file.extend_from_slice(&flags.to_le_bytes());
        for field in [offset, virt, virt, filesz, memsz, 4096] {
            file.extend_from_slice(&field.to_le_bytes());
        }
    }
    file.resize(0x3000, 0);
    file
}

fn plan(entry: u64, headers: &[Header]) -> Result<Executable, ExecutableError> {
    Executable::plan(&file(entry, headers), Window::KERNEL, SEGMENTS_MAX)
}

const TEXT: Header = (PT_LOAD, READ_EXECUTE, 0x1000, KERNEL_BASE, 0x800, 0x800);

#[test]
fn segments_are_placed_one_after_the_other_in_whole_pages() {
    let data = (PT_LOAD, READ_WRITE, 0x2010, KERNEL_BASE + 0x5010, 0x20, 0x2000);
    let image = plan(KERNEL_BASE + 4, &[TEXT, data]).unwrap();
    assert_eq!(image.entry, KERNEL_BASE + 4);
    assert_eq!(image.memory_len(), 0x4000);
    let placed: Vec<_> = image.placed(0x10_0000).map(|(segment, extent)| (segment.first_page(), extent)).collect();
    assert_eq!(
        placed,
        [
            (KERNEL_BASE, Extent { start: 0x10_0000, len: 0x1000 }),
            (KERNEL_BASE + 0x5000, Extent { start: 0x10_1000, len: 0x3000 }),
        ]
    );
    let access: Vec<_> = image.segments().iter().map(|segment| (segment.writable, segment.executable)).collect();
    assert_eq!(access, [(false, true), (true, false)]);
}

#[test]
fn a_segment_of_zeros_may_claim_to_start_after_the_files_end() {
    let zeros = (PT_LOAD, READ_WRITE, 0x10_0000, KERNEL_BASE + 0x4000, 0, 0x1000);
    assert!(plan(KERNEL_BASE, &[TEXT, zeros]).is_ok());
}

#[test]
fn what_is_no_static_executable_for_this_machine_is_refused() {
    let refusal = |file: &[u8]| Executable::plan(file, Window::KERNEL, SEGMENTS_MAX).unwrap_err();
    assert_eq!(refusal(b""), ExecutableError::NotElf);
    assert_eq!(refusal(b"#!/bin/sh\n"), ExecutableError::NotElf);
    let mut arm = file(KERNEL_BASE, &[TEXT]);
    arm[18] = 183;
    assert_eq!(refusal(&arm), ExecutableError::WrongType);
    let mut relocatable = file(KERNEL_BASE, &[TEXT]);
    relocatable[16] = 1;
    assert_eq!(refusal(&relocatable), ExecutableError::WrongType);
    assert_eq!(refusal(&file(KERNEL_BASE, &[])), ExecutableError::NoSegments);
    let cut = &file(KERNEL_BASE, &[TEXT])[..100];
    assert_eq!(refusal(cut), ExecutableError::NotElf);
    let interpreter = (PT_INTERP, READ, 0, 0, 1, 1);
    assert_eq!(plan(KERNEL_BASE, &[TEXT, interpreter]).unwrap_err(), ExecutableError::NotSelfContained { segment: 1 });
}

#[test]
fn writable_code_is_refused() {
    let both = (PT_LOAD, 7, 0x1000, KERNEL_BASE, 16, 16);
    assert_eq!(plan(KERNEL_BASE, &[both]).unwrap_err(), ExecutableError::WritableAndExecutable { segment: 0 });
}

#[test]
fn segments_that_share_a_page_or_go_back_are_refused() {
    for virt in [KERNEL_BASE + 0x800, KERNEL_BASE + 0xfff, KERNEL_BASE] {
        let second = (PT_LOAD, READ, 0x2000, virt, 16, 16);
        assert_eq!(plan(KERNEL_BASE, &[TEXT, second]).unwrap_err(), ExecutableError::Overlapping { segment: 1, virt });
    }
}

#[test]
fn segments_outside_of_the_kernels_addresses_are_refused() {
    for (virt, len) in [(0x40_0000, 16), (KERNEL_BASE - 1, 16), (DEVICE_BASE - 8, 16), (u64::MAX - 8, 16)] {
        let segment = (PT_LOAD, READ_EXECUTE, 0x1000, virt, 8, len);
        let window = Window::KERNEL;
        assert_eq!(
            plan(virt, &[segment]).unwrap_err(),
            ExecutableError::SegmentOutsideWindow { segment: 0, virt, window }
        );
    }
}

#[test]
fn bytes_that_are_not_in_the_file_are_refused() {
    for (offset, filesz, memsz) in [(0x2800, 0x801, 0x1000), (u64::MAX, 2, 2), (0x1000, 32, 16)] {
        let segment = (PT_LOAD, READ_EXECUTE, offset, KERNEL_BASE, filesz, memsz);
        assert_eq!(plan(KERNEL_BASE, &[segment]).unwrap_err(), ExecutableError::SegmentOutsideFile { segment: 0 });
    }
}

#[test]
fn the_entry_point_must_lie_in_executable_bytes_of_the_file() {
    let data = (PT_LOAD, READ, 0x2000, KERNEL_BASE + 0x4000, 16, 16);
    for entry in [0, KERNEL_BASE - 1, KERNEL_BASE + 0x800, KERNEL_BASE + 0x4000] {
        assert_eq!(plan(entry, &[TEXT, data]).unwrap_err(), ExecutableError::BadEntry { entry });
    }
}

#[test]
fn more_segments_than_wanted_are_refused() {
    let segments: Vec<_> =
        (0..3).map(|index| (PT_LOAD, READ_EXECUTE, 0x1000, KERNEL_BASE + index * 0x1000, 16, 16)).collect();
    assert_eq!(
        Executable::plan(&file(KERNEL_BASE, &segments), Window::KERNEL, 2).unwrap_err(),
        ExecutableError::TooManySegments { most: 2 }
    );
}

/// A kernel with 64 pages of zeros that it may write, and this list of tables.
fn with_tables(list: &[u64]) -> Result<Executable, ExecutableError> {
    let zeros = (PT_LOAD, READ_WRITE, 0, TABLES, 0, 64 * PAGE_SIZE);
    let header = (PT_TABLES, READ, 0x2000, 0, 8 * list.len() as u64, 8 * list.len() as u64);
    let mut bytes = file(KERNEL_BASE, &[TEXT, zeros, header]);
    for (place, word) in list.iter().enumerate() {
        bytes[0x2000 + 8 * place..][..8].copy_from_slice(&word.to_le_bytes());
    }
    Executable::plan(&bytes, Window::KERNEL, SEGMENTS_MAX)
}

const TABLES: u64 = KERNEL_BASE + 0x10_0000;
const BY_MEMORY: u64 = 0;
const BY_PROCESSORS: u64 = 1;

#[test]
fn pages_of_tables_for_which_there_is_no_memory_are_left_out() {
    let list =
        [TABLES + 0x800, 32 * PAGE_SIZE, BY_MEMORY, TABLES + 32 * PAGE_SIZE + 0x800, 16 * PAGE_SIZE, BY_PROCESSORS];
    let kernel = with_tables(&list).unwrap();
    assert_eq!((kernel.memory_len(), kernel.holes()), (65 * PAGE_SIZE, [].as_slice()));
    let part = kernel.with_parts_of_tables(4, 2).unwrap();
    // Eight pages of the first and one of the second are there, and none begins where a page does.
    let holes =
        [(9, 32), (34, 48)].map(|(first, end)| Extent::between(TABLES + first * PAGE_SIZE, TABLES + end * PAGE_SIZE));
    assert_eq!(part.holes(), holes);
    let pages: Vec<_> = part
        .segments()
        .iter()
        .filter(|segment| segment.writable)
        .map(|segment| ((segment.first_page() - TABLES) / PAGE_SIZE, segment.pages_len() / PAGE_SIZE))
        .collect();
    assert_eq!(pages, [(0, 9), (32, 2), (48, 16)]);
    assert_eq!(part.memory_len(), 28 * PAGE_SIZE);
    let whole = kernel.with_parts_of_tables(16, 32).unwrap();
    assert_eq!((whole.memory_len(), whole.holes()), (65 * PAGE_SIZE, [].as_slice()));
}

#[test]
fn tables_that_do_not_lie_among_zeros_are_refused() {
    let refused = |list: &[u64]| match with_tables(list) {
        Ok(kernel) => kernel.with_parts_of_tables(1, 1).err(),
        Err(error) => Some(error),
    };
    let bad = Some(ExecutableError::BadTables);
    assert_eq!(refused(&[TABLES, 64 * PAGE_SIZE, 7]), bad, "an unknown measure");
    assert_eq!(refused(&[TABLES, 64 * PAGE_SIZE]), bad, "half an entry");
    assert_eq!(refused(&[KERNEL_BASE, 64 * PAGE_SIZE, BY_MEMORY]), bad, "code");
    assert_eq!(refused(&[TABLES + PAGE_SIZE, 64 * PAGE_SIZE, BY_MEMORY]), bad, "partly outside");
    assert_eq!(refused(&[u64::MAX - 4, 64 * PAGE_SIZE, BY_MEMORY]), bad, "behind the last address");
    assert_eq!(refused(&[TABLES, u64::MAX - TABLES, BY_MEMORY]), bad, "up to the last address");
    let twice = [TABLES, 64 * PAGE_SIZE, BY_MEMORY].repeat(2);
    assert_eq!(refused(&twice), bad, "two in one place");
    assert_eq!(refused(&[TABLES, 32 * PAGE_SIZE, BY_MEMORY].repeat(17)), bad, "more than there can be");
}

proptest! {
    #[test]
    fn damaged_headers_never_panic_and_accepted_ones_keep_the_rules(
        changes in prop::collection::vec((0usize..300, any::<u8>()), 1..6)
    ) {
        let data = (PT_LOAD, READ_WRITE, 0x2010, KERNEL_BASE + 0x5010, 0x20, 0x2000);
        let mut bytes = file(KERNEL_BASE, &[TEXT, data]);
        for (at, value) in changes {
            bytes[at] = value;
        }
        if let Ok(image) = Executable::plan(&bytes, Window::KERNEL, SEGMENTS_MAX) {
            let mut free = KERNEL_BASE;
            for segment in image.segments() {
                prop_assert!(segment.first_page() >= free && segment.end_page() <= DEVICE_BASE);
                prop_assert!(!(segment.writable && segment.executable));
                prop_assert!(segment.file_len <= segment.len);
                prop_assert!(segment.file_len == 0 || segment.file_offset + segment.file_len <= bytes.len() as u64);
                free = segment.end_page();
            }
        }
    }
}
