//! What a processor's registers hold when it begins.

/// A segment register with what it has cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its selector.
    pub selector: u16,
    /// Attributes as the VMCB has them (AMD64 APM volume 2, section 15.5.1): bits 40 to 47 of the descriptor, then bits
    /// 52 to 55.
    pub attributes: u16,
    /// The last address inside.
    pub limit: u32,
    /// The first address.
    pub base: u64,
}

/// A register that says where a table of descriptors is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableRegister {
    /// The last byte inside.
    pub limit: u16,
    /// The first byte.
    pub base: u64,
}

/// The registers of a processor. All that is not here is as after reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessorState {
    /// rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8 to r15.
    pub general: [u64; 16],
    /// rip.
    pub instruction: u64,
    /// rflags.
    pub flags: u64,
    /// Control register 0.
    pub cr0: u64,
    /// Control register 3.
    pub cr3: u64,
    /// Control register 4.
    pub cr4: u64,
    /// The extended feature enable register, as the guest sees it.
    pub efer: u64,
    /// es, cs, ss, ds, fs, gs.
    pub segments: [Segment; 6],
    /// The task register.
    pub task: Segment,
    /// The local descriptor table.
    pub local: Segment,
    /// The global descriptor table.
    pub descriptors: TableRegister,
    /// The interrupt descriptor table.
    pub interrupts: TableRegister,
}

/// Places in the array of segments.
pub(super) const CODE: usize = 1;
/// Places in the array of general registers.
pub(super) const RBX: usize = 3;
pub(super) const RSI: usize = 6;
/// Control register 0: protected, the coprocessor is a modern one, its errors are exceptions, paging.
pub(super) const PROTECTED: u64 = 1;
pub(super) const EXTENSION_TYPE: u64 = 1 << 4;
pub(super) const NUMERIC_ERROR: u64 = 1 << 5;
pub(super) const PAGING: u64 = 1 << 31;
/// Control register 4: wide page-table entries.
pub(super) const WIDE_ADDRESSES: u64 = 1 << 5;
/// EFER: long mode, and that it is active.
pub(super) const LONG_MODE: u64 = 1 << 8 | 1 << 10;
/// The bit of the flags that is always set.
pub(super) const FLAGS: u64 = 2;

const REAL_DATA: u16 = 0x093;
const REAL_CODE: u16 = 0x09b;
const REAL_TABLE: TableRegister = TableRegister { limit: 0xffff, base: 0 };
/// The state of a processor after reset, cr0: caches off (AMD64 APM volume 2, table 14-1).
const RESET_CR0: u64 = 0x6000_0010;

impl ProcessorState {
    /// A processor in real mode at the beginning of a page of 4 KiB: what a start-up message makes of one that waits
    /// (AMD64 APM volume 2, section 15.27.8).
    #[must_use]
    pub fn starting_at(page: u8) -> Self {
        let data = Segment { selector: 0, attributes: REAL_DATA, limit: 0xffff, base: 0 };
        let code =
            Segment { selector: u16::from(page) << 8, attributes: REAL_CODE, base: u64::from(page) << 12, ..data };
        let mut segments = [data; 6];
        segments[CODE] = code;
        Self {
            general: [0; 16],
            instruction: 0,
            flags: FLAGS,
            cr0: RESET_CR0,
            cr3: 0,
            cr4: 0,
            efer: 0,
            segments,
            task: Segment { attributes: 0x08b, ..data },
            local: Segment { attributes: 0x082, ..data },
            descriptors: REAL_TABLE,
            interrupts: REAL_TABLE,
        }
    }

    /// A processor in protected mode with flat segments of 32 bits, without paging.
    pub(super) fn flat(entry: u64) -> Self {
        let data = Segment { selector: 0x18, attributes: 0xc93, limit: u32::MAX, base: 0 };
        let mut segments = [data; 6];
        segments[CODE] = Segment { selector: 0x10, attributes: 0xc9b, ..data };
        Self {
            instruction: entry,
            cr0: PROTECTED | EXTENSION_TYPE,
            segments,
            task: Segment { selector: 0, attributes: 0x08b, limit: 0x67, base: 0 },
            interrupts: TableRegister { limit: 0, base: 0 },
            ..Self::starting_at(0)
        }
    }

    /// A processor in 64-bit mode with the page tables at `tables` and the descriptors at `descriptors`.
    pub(super) fn long(entry: u64, tables: u64, descriptors: TableRegister) -> Self {
        let mut state = Self::flat(entry);
        state.segments[CODE].attributes = 0xa9b;
        Self {
            cr0: PROTECTED | EXTENSION_TYPE | NUMERIC_ERROR | PAGING,
            cr3: tables,
            cr4: WIDE_ADDRESSES,
            efer: LONG_MODE,
            descriptors,
            ..state
        }
    }
}
