//! Executables of a few instructions, put together by hand: a guest that shows whether an accelerator works, and a
//! first user process for Linux to be compared with.

const ELF_HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
const NOTE: usize = 24;
const HEADERS: usize = ELF_HEADER + 2 * PROGRAM_HEADER + NOTE;

/// Where the code of an [`executable`] that is loaded at `address` begins.
pub(crate) const fn entry(address: u32) -> u32 {
    address + HEADERS as u32
}

/// A static x86-64 ELF executable that is loaded at `address` and starts with the first byte of `code`.
///
/// It carries the note by which QEMU starts a kernel at its 32-bit entry point; whoever else loads it ignores that.
pub(crate) fn executable(address: u32, code: &[u8]) -> Vec<u8> {
    let entry = entry(address);
    let total = (HEADERS + code.len()) as u64;
    let mut file = Vec::with_capacity(HEADERS + code.len());
    // ELF header: 64 bits, little-endian, executable, x86-64.
    file.extend([0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for half in [2_u16, 62, 1, 0] {
        file.extend(half.to_le_bytes());
    }
    for word in [u64::from(entry), ELF_HEADER as u64, 0] {
        file.extend(word.to_le_bytes());
    }
    file.extend(0_u32.to_le_bytes());
    for size in [ELF_HEADER as u16, PROGRAM_HEADER as u16, 2, 0, 0, 0] {
        file.extend(size.to_le_bytes());
    }
    // One segment to load, with everything in it, and one that points at the note.
    let note = (HEADERS - NOTE) as u64;
    for (kind, flags, offset, size, alignment) in [(1_u32, 5_u32, 0, total, 0x1000_u64), (4, 4, note, NOTE as u64, 4)] {
        file.extend(kind.to_le_bytes());
        file.extend(flags.to_le_bytes());
        for word in [offset, u64::from(address) + offset, u64::from(address) + offset, size, size, alignment] {
            file.extend(word.to_le_bytes());
        }
    }
    // XEN_ELFNOTE_PHYS32_ENTRY: the sizes of its name and contents, its type, and both.
    for word in [4_u32, 8, 18] {
        file.extend(word.to_le_bytes());
    }
    file.extend(*b"Xen\0");
    file.extend(u64::from(entry).to_le_bytes());
    file.extend(code);
    file
}
