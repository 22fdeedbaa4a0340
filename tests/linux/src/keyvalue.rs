//! The server of values by their keys as the only process of a Linux: asked and answering at the terminal `hvc0`.

use alloc::vec::Vec;

use keyvalue_store::{Conversation, READY, Store};
use talc::TalcLock;
use talc::source::Manual;

use crate::files::open_device;
use crate::kernel::{self, Outcome};

/// The terminal, whose other end is outside the machine, and its driver.
const TERMINAL: &core::ffi::CStr = c"/devices/hvc0";
const DRIVER: &core::ffi::CStr = c"/virtio_console.ko";
/// Flags of `open`: to read and write, and without the terminal's signals.
const READ_WRITE: u64 = 2;
const NO_SIGNALS: u64 = 0o400;

/// Bytes of the heap.
const HEAP_BYTES: u64 = 1 << 20;

#[global_allocator]
static HEAP: TalcLock<spin::Mutex<()>, Manual> = TalcLock::new(Manual);

/// Serves for ever.
pub(crate) fn serve() -> Outcome<()> {
    let heap = kernel::map(HEAP_BYTES)?;
    // SAFETY: the kernel has just mapped it, and nobody else knows of it.
    let _ = unsafe { HEAP.lock().claim(heap as *mut u8, HEAP_BYTES as usize) };
    let terminal = open_device(TERMINAL, READ_WRITE | NO_SIGNALS, DRIVER)?;
    kernel::make_raw(terminal)?;
    kernel::write(terminal, READY.as_bytes())?;
    kernel::write(terminal, b"\n")?;
    let (mut conversation, mut store) = (Conversation::new(), Store::new());
    let mut answers = Vec::new();
    loop {
        let mut bytes = [0; 512];
        let length = kernel::read(terminal, &mut bytes)?;
        conversation.hear(&bytes[..length], &mut store, &mut answers);
        kernel::write(terminal, &answers)?;
        answers.clear();
    }
}
