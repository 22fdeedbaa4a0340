//! Carries out a script that the boot archive holds, and says what comes of each line.
//!
//! The lines are `replay N RAX RDI RSI RDX WRITTEN`, with `N` counted from 1 and the results in hexadecimal, and
//! `replay: N calls` at the end.

use crate::call::{call, raw};
use crate::console::print;
use abi::Syscall;
use abi::root::{ARCHIVE_ADDRESS, ExtentKind, FIRST_EXTENT, INFO_ADDRESS, RootInfo};
use abi::syscall::Charge;
use alloc::boxed::Box;
use archive::Archive;
use core::sync::atomic::{AtomicU64, Ordering};
use script::{LIMIT, MEMORY_PAGES, Player, Stage};

/// Where calls write. Only the kernel stores there.
static BUFFER: [AtomicU64; 64] = [const { AtomicU64::new(0) }; 64];

/// The text of the script in the boot archive, if there is one.
pub(crate) fn script(info: &'static RootInfo) -> Option<&'static str> {
    let length = usize::try_from(info.archive_length).ok()?;
    // SAFETY: the kernel maps the archive there, so long, read-only and for ever.
    let bytes =
        unsafe { core::slice::from_raw_parts(core::ptr::with_exposed_provenance(ARCHIVE_ADDRESS as usize), length) };
    let archive = Archive::parse_checked_before(bytes).ok()?;
    core::str::from_utf8(archive.file(script::FILE)?.contents).ok()
}

struct Machine {
    memory: u64,
    limits: Box<[u32; Charge::COUNT]>,
}

impl Machine {
    /// Sets memory aside: the middle of the longest free extent.
    fn new(info: &RootInfo) -> Option<Self> {
        let extents = info.extents.iter().take(info.extents_used as usize).enumerate();
        let free = extents.filter(|(_, extent)| extent.kind == ExtentKind::Free as u32);
        let (index, extent) = free.max_by_key(|(_, extent)| extent.pages)?;
        let handle = abi::Handle::new(FIRST_EXTENT + u16::try_from(index).ok()?, 1).0;
        let rights = abi::rights::MemoryRights::all().bits().into();
        let memory = call(Syscall::MemorySplit, [handle, extent.pages / 2, MEMORY_PAGES, rights]).ok()?;
        Some(Machine { memory, limits: Box::new([LIMIT; Charge::COUNT]) })
    }
}

impl Stage for Machine {
    fn memory(&self) -> u64 {
        self.memory
    }

    fn window(&self) -> u64 {
        INFO_ADDRESS + 0x8_0000
    }

    fn buffer(&self) -> u64 {
        BUFFER.as_ptr().expose_provenance() as u64
    }

    fn limits(&self) -> u64 {
        self.limits.as_ptr().expose_provenance() as u64
    }

    fn call(&mut self, syscall: Syscall, arguments: [u64; 6]) -> [u64; 4] {
        let results = raw(syscall as u64, arguments).0;
        [results.rax, results.rdi, results.rsi, results.rdx]
    }

    fn word(&self, index: usize) -> u64 {
        BUFFER[index].load(Ordering::Relaxed)
    }
}

/// Carries the script out. Returns whether that was possible.
pub(crate) fn run(info: &'static RootInfo, text: &str) -> bool {
    let Some(machine) = Machine::new(info) else {
        print(format_args!("replay: the machine has too little memory\n"));
        return false;
    };
    // One line at a time: the heap is small.
    let mut player = Player::new(machine);
    let mut calls = 0;
    for text in text.lines() {
        match player.read(text) {
            Ok(Some(line)) => {
                calls += 1;
                let outcome = player.play(&line);
                let [rax, rdi, rsi, rdx] = outcome.results;
                print(format_args!("replay {calls} {rax:x} {rdi:x} {rsi:x} {rdx:x} {:x}\n", outcome.written));
            }
            Ok(None) => {}
            Err(mistake) => {
                print(format_args!("replay: `{text}`: {mistake}\n"));
                return false;
            }
        }
    }
    print(format_args!("replay: {calls} calls\n"));
    true
}
