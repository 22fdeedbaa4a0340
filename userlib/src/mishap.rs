//! Ways to break, for those who want to see a domain come back.
//!
//! Three bits of every domain's notification make it break: only who holds that notification, its supervisor, can set
//! them, and that could destroy the domain anyhow.

/// Bit that makes the domain panic.
pub const PANIC_BIT: u32 = 59;
/// Bit that makes the domain follow a wild pointer.
pub const FAULT_BIT: u32 = 58;
/// Bit that makes the domain loop for ever.
pub const HANG_BIT: u32 = 57;

/// All of these bits.
pub const BITS: u64 = 1 << PANIC_BIT | 1 << FAULT_BIT | 1 << HANG_BIT;

/// Where [`wild_pointer`] writes: user space, but never mapped ([`crate::start::layout`]).
pub const WILD_ADDRESS: u64 = 0x0dea_dbee_f000;

/// Writes to an address at which nothing is mapped.
pub fn wild_pointer() -> ! {
    // SAFETY: the write never takes effect: nothing is mapped at the address, so it is a fault that ends the thread.
    unsafe { (WILD_ADDRESS as *mut u64).write_volatile(0) };
    panic!("a write through a wild pointer did not fault")
}

/// Loops without ever answering anybody.
pub fn hang() -> ! {
    loop {
        core::hint::spin_loop();
    }
}

/// Does what the bits ask for.
pub(crate) fn obey(bits: u64) {
    if bits & (1 << PANIC_BIT) != 0 {
        panic!("asked to panic");
    }
    if bits & (1 << FAULT_BIT) != 0 {
        wild_pointer();
    }
    if bits & (1 << HANG_BIT) != 0 {
        hang();
    }
}
