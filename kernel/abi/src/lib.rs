//! What the kernel, the loader and user space agree on.
//!
//! Everything here is plain data: numbers of system calls, error codes, rights, the layout of messages and of the
//! pages handed from one stage of the boot to the next. Both sides of every boundary use these very definitions, so
//! they cannot drift apart.
#![no_std]
#![forbid(unsafe_code)]

pub mod boot;
pub mod device;
pub mod error;
pub mod fault;
pub mod handle;
pub mod message;
pub mod program;
mod refusal;
pub mod rights;
pub mod root;
pub mod syscall;
pub mod time;
pub mod vcpu;

pub use error::Error;
pub use handle::Handle;
pub use syscall::Syscall;

/// Version of the binary interface between kernel and user space. It rises with every incompatible change.
pub const ABI_VERSION: u32 = 3;

/// Bytes in a page, the unit of mapping and of donation.
pub const PAGE_SIZE: u64 = 4096;

/// First address that user space cannot map. The last page below the non-canonical hole is left out, because a
/// `syscall` instruction that ends there would make `sysret` return to a non-canonical address.
pub const USER_END: u64 = 0x0000_7fff_ffff_f000;
