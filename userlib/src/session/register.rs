//! The page in which a supervisor tells a server which of its clients are gone.

use super::ClientId;
use crate::memory::SharedMemory;
use abi::PAGE_SIZE;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

/// Numbers of domains that a register can tell of: 0 to one less than this.
pub const CLIENTS_MAX: usize = PAGE_SIZE as usize / 8;

/// The server's side: for each domain, the first of its lives that may still go on. What is not written yet is 0, and tells
/// of nobody.
#[derive(Clone, Copy)]
pub struct Register<'a> {
    words: &'a [AtomicU64],
}

impl fmt::Debug for Register<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Register({} domains)", self.words.len())
    }
}

impl<'a> Register<'a> {
    /// Reads these words.
    pub const fn new(words: &'a [AtomicU64]) -> Self {
        Self { words }
    }

    /// The register that the domain was given at this address.
    ///
    /// # Safety
    /// A page is mapped there, readable, as long as `'a` lasts, and the program uses it through [`Register`] only.
    pub(crate) const unsafe fn from_address(address: u64) -> Self {
        // SAFETY: the page is mapped and aligned; atomics allow that the supervisor writes to it, and loads of eight bytes
        // need no right to write.
        Self { words: unsafe { core::slice::from_raw_parts(address as *const AtomicU64, CLIENTS_MAX) } }
    }

    /// Whether a client is dead. A badge whose domain the register has no place for is never told of.
    pub fn is_gone(self, client: ClientId) -> bool {
        let word = self.words.get(client.domain() as usize);
        word.is_some_and(|first| first.load(Ordering::Acquire) > client.instance().into())
    }
}

/// The supervisor's side of the page.
#[derive(Clone, Copy, Debug)]
pub struct RegisterWriter<'a> {
    page: SharedMemory<'a>,
}

impl<'a> RegisterWriter<'a> {
    /// Writes to `page`; `None` if it is shorter than a page.
    pub fn new(page: SharedMemory<'a>) -> Option<Self> {
        Some(Self { page: page.part(0..PAGE_SIZE as usize)? })
    }

    /// From now on lives of the domain `number` before the `first` are over. The server is then to be notified.
    pub fn end_before(self, number: u32, first: u32) {
        // A domain that has no place in the page cannot be told of; manifests have fewer domains.
        let _ = self.page.store(number as usize * 8, first.into(), Ordering::Release);
    }
}
