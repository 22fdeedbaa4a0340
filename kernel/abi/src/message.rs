//! Messages: what travels with a call and with its reply.
//!
//! A message has up to [`MAX_WORDS`] words, [`MAX_CAPS`] capabilities and, calls only, [`MAX_LEASES`] leases. Its first
//! [`REGISTER_WORDS`] words are registers (r12, r13, r14, r15, rbx, rbp), all of which travel with every message, however
//! many of them its description counts. Everything else lies in the sending thread's
//! [`MessageBuffer`], a page of its own memory that is pinned while the thread has it.

use static_assertions::const_assert_eq;

/// Words that travel in registers.
pub const REGISTER_WORDS: usize = 6;
/// The most words in a message.
pub const MAX_WORDS: usize = 120;
/// The most capabilities in a message.
pub const MAX_CAPS: usize = 4;
/// The most leases in a call.
pub const MAX_LEASES: usize = 4;
/// The most bytes that one `lease_read` or `lease_write` moves.
pub const MAX_LEASE_COPY: u64 = 4096;

/// Describes a message in one word: counts and a label.
///
/// | bits | meaning |
/// | --- | --- |
/// | 0–6 | words |
/// | 7–9 | capabilities |
/// | 10–12 | leases |
/// | 13–31 | zero |
/// | 32–63 | label: the method of a call, the verdict of a reply |
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(transparent)]
pub struct MessageInfo(pub u64);

impl MessageInfo {
    /// A message of `words` words with a label and nothing else.
    pub const fn new(label: u32, words: u8) -> Self {
        MessageInfo(((label as u64) << 32) | (words as u64 & 0x7f))
    }

    /// The same with this many capabilities.
    pub const fn with_caps(self, caps: u8) -> Self {
        MessageInfo((self.0 & !(7 << 7)) | ((caps as u64 & 7) << 7))
    }

    /// The same with this many leases.
    pub const fn with_leases(self, leases: u8) -> Self {
        MessageInfo((self.0 & !(7 << 10)) | ((leases as u64 & 7) << 10))
    }

    /// How many words.
    pub const fn words(self) -> usize {
        (self.0 & 0x7f) as usize
    }

    /// How many capabilities.
    pub const fn caps(self) -> usize {
        ((self.0 >> 7) & 7) as usize
    }

    /// How many leases.
    pub const fn leases(self) -> usize {
        ((self.0 >> 10) & 7) as usize
    }

    /// The label.
    pub const fn label(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Whether the counts are within the limits and the reserved bits are zero.
    pub const fn is_valid(self) -> bool {
        self.words() <= MAX_WORDS && self.caps() <= MAX_CAPS && self.leases() <= MAX_LEASES && self.0 & 0xffff_e000 == 0
    }

    /// Whether sending it needs the sender's message buffer.
    pub const fn needs_buffer(self) -> bool {
        self.words() > REGISTER_WORDS || self.caps() > 0 || self.leases() > 0
    }
}

impl core::fmt::Debug for MessageInfo {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "MessageInfo {{ label: {:#x}, words: {}, caps: {}, leases: {} }}",
            self.label(),
            self.words(),
            self.caps(),
            self.leases()
        )
    }
}

/// A range of the caller's memory lent for the length of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(C)]
pub struct Lease {
    /// First byte, in the caller's space.
    pub address: u64,
    /// Bits 0–61: length in bytes; bit 62: the server may read; bit 63: the server may write.
    pub length_and_access: u64,
}

impl Lease {
    /// The server may read.
    pub const READ: u64 = 1 << 62;
    /// The server may write.
    pub const WRITE: u64 = 1 << 63;
    /// Mask of the length.
    pub const LENGTH: u64 = (1 << 62) - 1;

    /// Length in bytes.
    pub const fn length(self) -> u64 {
        self.length_and_access & Self::LENGTH
    }
}

/// The page through which a thread sends and receives what does not fit into registers.
///
/// On sending, words 6.. are taken from `words` (at their own index; 0–5 are in registers), capabilities from
/// `caps_out` (handles, with which the receiver gets copies), leases from `leases`. On receiving, words arrive in
/// `words`, capabilities in `caps_in` (handles in the receiver's table).
#[derive(Clone, Copy, Debug)]
#[repr(C, align(4096))]
pub struct MessageBuffer {
    /// Message words; the first six are unused.
    pub words: [u64; MAX_WORDS],
    /// Handles of capabilities to send.
    pub caps_out: [u64; MAX_CAPS],
    /// Handles of capabilities received.
    pub caps_in: [u64; MAX_CAPS],
    /// What a call lends.
    pub leases: [Lease; MAX_LEASES],
}

const_assert_eq!(core::mem::size_of::<MessageBuffer>(), 4096);

/// Byte offsets in a [`MessageBuffer`], for the kernel, which reaches it by physical address.
pub mod offset {
    use super::MessageBuffer;
    /// Offset of `words`.
    pub const WORDS: usize = core::mem::offset_of!(MessageBuffer, words);
    /// Offset of `caps_out`.
    pub const CAPS_OUT: usize = core::mem::offset_of!(MessageBuffer, caps_out);
    /// Offset of `caps_in`.
    pub const CAPS_IN: usize = core::mem::offset_of!(MessageBuffer, caps_in);
    /// Offset of `leases`.
    pub const LEASES: usize = core::mem::offset_of!(MessageBuffer, leases);
}

/// Names one call of one thread, as its server sees it: bits 0–15 the thread, bits 16–63 the call's number.
///
/// Every call gets a new number, so a reply to a call that has ended finds nobody.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct CallerToken(pub u64);

impl CallerToken {
    /// The token of call `number` of thread `thread`.
    pub const fn new(thread: u16, number: u64) -> Self {
        CallerToken((number << 16) | thread as u64)
    }

    /// The token of the same thread's next call. Numbers begin again after as many as fit.
    pub const fn next(self) -> Self {
        CallerToken(self.0.wrapping_add(1 << 16))
    }

    /// The thread's index.
    pub const fn thread(self) -> u16 {
        (self.0 & 0xffff) as u16
    }

    /// The call's number.
    pub const fn number(self) -> u64 {
        self.0 >> 16
    }
}

impl core::fmt::Debug for CallerToken {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}/{}", self.thread(), self.number())
    }
}
