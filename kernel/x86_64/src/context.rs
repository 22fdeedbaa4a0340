//! Saved registers of threads.
//!
//! A context belongs to the entry code of a processor while its thread runs there, and to the holder of the big lock
//! otherwise. The core never sees a register that is no argument, result or message word.

use abi::message::REGISTER_WORDS;
use abi::syscall::Registers;
use core::cell::UnsafeCell;
use core::mem::offset_of;
use kernel_core::{CpuId, Frame, MachineTables, ThreadId};

/// Places in [`Context::general`], in the order of [`Registers::general`].
#[expect(missing_docs, reason = "each is the register of that name")]
pub mod general {
    pub const RAX: usize = 0;
    pub const RBX: usize = 1;
    pub const RCX: usize = 2;
    pub const RDX: usize = 3;
    pub const RSI: usize = 4;
    pub const RDI: usize = 5;
    pub const RBP: usize = 6;
    pub const RSP: usize = 7;
    pub const R8: usize = 8;
    pub const R9: usize = 9;
    pub const R10: usize = 10;
    pub const R11: usize = 11;
    pub const R12: usize = 12;
    pub const R13: usize = 13;
    pub const R14: usize = 14;
    pub const R15: usize = 15;
}

use general::{R8, R9, R10, R12, R13, R14, R15, RAX, RBP, RBX, RDI, RDX, RSI, RSP};

/// The registers that hold the first words of a message, in order.
const MESSAGE_REGISTERS: [usize; REGISTER_WORDS] = [R12, R13, R14, R15, RBX, RBP];

/// Flags of a thread that starts: interrupts on, and the bit that is always set.
const START_FLAGS: u64 = 0x202;

/// How a thread got into the kernel, which says how it must leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Entered {
    /// By an exception or an interrupt, or not at all: every register counts, so it leaves through `iretq`.
    ByException = 0,
    /// By `syscall`: rcx and r11 are lost, so it may leave through `sysret`.
    BySyscall = 1,
    /// By `syscall`, to enter its guest: that is where it goes until it leaves that.
    InGuest = 2,
}

/// The registers of a thread that does not run.
#[repr(C)]
pub struct Context {
    /// General registers.
    pub general: [u64; 16],
    /// Instruction pointer.
    pub instruction: u64,
    /// Flags.
    pub flags: u64,
    /// Base of the FS segment.
    pub thread_local: u64,
    /// How it got into the kernel.
    pub entered: Entered,
    /// Address of the root table of its space, since it has run for the first time.
    root: u64,
    /// Number of the processor on which it ran last, so that segment registers and FS base may be its own there, and 1; 0
    /// if they are to be loaded anew.
    loaded_on: u64,
    /// The frames of its virtual processor: control block and the rest of the state. They count while it is in its guest.
    guest: [Frame; 2],
}

/// Offsets of a [`Context`]'s fields for the entry code.
pub mod offset {
    use super::{Context, offset_of};
    /// Of the instruction pointer.
    pub const INSTRUCTION: usize = offset_of!(Context, instruction);
    /// Of the flags.
    pub const FLAGS: usize = offset_of!(Context, flags);
    /// Of the FS base.
    pub const THREAD_LOCAL: usize = offset_of!(Context, thread_local);
    /// Of the root table's address.
    pub const ROOT: usize = offset_of!(Context, root);
    /// Of how it entered.
    pub const ENTERED: usize = offset_of!(Context, entered);
}

impl Context {
    const EMPTY: Context = Context {
        general: [0; 16],
        instruction: 0,
        flags: 0,
        thread_local: 0,
        entered: Entered::ByException,
        root: 0,
        loaded_on: 0,
        guest: [Frame(0); 2],
    };

    /// Prepares the start of a thread: every register zero but these.
    pub fn start(&mut self, instruction: u64, stack: u64, argument: u64) {
        *self = Context::EMPTY;
        self.instruction = instruction;
        self.general[RSP] = stack;
        self.general[RDI] = argument;
        self.flags = START_FLAGS;
    }

    /// It runs on this processor, in the space with this root table. Tells whether that is not where it ran last.
    pub fn load_on(&mut self, cpu: CpuId, root: Frame) -> bool {
        self.root = root.address();
        let number = cpu.index() as u64 + 1;
        core::mem::replace(&mut self.loaded_on, number) != number
    }

    /// Gives it another FS base.
    pub fn set_thread_local(&mut self, address: u64) {
        // Whatever comes, it is canonical.
        self.thread_local = address & 0x0000_7fff_ffff_ffff;
    }

    /// The number and arguments of a system call.
    pub fn request(&self) -> (u64, [u64; 6]) {
        (self.general[RAX], [RDI, RSI, RDX, R8, R9, R10].map(|register| self.general[register]))
    }

    /// Lets the thread find the result of a system call.
    pub fn set_result(&mut self, result: [u64; 4]) {
        for (register, value) in [RAX, RDI, RSI, RDX].into_iter().zip(result) {
            self.general[register] = value;
        }
        for register in [R8, R9, R10] {
            self.general[register] = 0;
        }
    }

    /// Lets the thread execute its system call again: back by the two bytes of the instruction `syscall`.
    pub fn repeat_syscall(&mut self) {
        self.instruction = self.instruction.wrapping_sub(2);
    }

    /// From now on its guest runs in its place, with the control block and the rest of the state in these frames.
    pub fn enter_guest(&mut self, control: Frame, extended: Frame) {
        self.guest = [control, extended];
        self.entered = Entered::InGuest;
    }

    /// It goes on itself, behind the system call by which it has entered its guest.
    pub fn leave_guest(&mut self, result: [u64; 4]) {
        self.entered = Entered::BySyscall;
        self.set_result(result);
    }

    /// The frames of its virtual processor, while it is in its guest.
    pub fn guest(&self) -> Option<[Frame; 2]> {
        (self.entered == Entered::InGuest).then_some(self.guest)
    }

    /// The message words in registers.
    pub fn message_words(&self) -> [u64; REGISTER_WORDS] {
        MESSAGE_REGISTERS.map(|register| self.general[register])
    }

    /// Delivers message words.
    pub fn set_message_words(&mut self, words: &[u64; REGISTER_WORDS]) {
        for (register, word) in MESSAGE_REGISTERS.into_iter().zip(words) {
            self.general[register] = *word;
        }
    }

    /// The badge of the call that a server takes.
    pub fn set_badge(&mut self, badge: u64) {
        self.general[RDI] = badge;
    }

    /// Keeps arguments of a system call that was tried the short way.
    pub fn keep_arguments(&mut self, arguments: [u64; 3]) {
        for (register, value) in [RSI, RDX, R8].into_iter().zip(arguments) {
            self.general[register] = value;
        }
    }

    /// What `ThreadRead` tells.
    pub fn registers(&self, runtime: u64) -> Registers {
        Registers {
            general: self.general,
            rip: self.instruction,
            rflags: self.flags,
            fs_base: self.thread_local,
            runtime,
        }
    }

    /// Stack pointer and frame pointer.
    pub fn stack_and_frame(&self) -> (u64, u64) {
        (self.general[RSP], self.general[RBP])
    }

    /// Whether the processor can go on at the saved instruction pointer without a fault of its own while it is still in
    /// kernel mode: `sysret` and `iretq` differ between makers where the address is not canonical.
    pub fn has_canonical_instruction(&self) -> bool {
        let extended = ((self.instruction << 16) as i64 >> 16) as u64;
        extended == self.instruction
    }
}

/// The contexts of all threads.
pub struct Contexts([UnsafeCell<Context>; MachineTables::THREADS]);

// SAFETY: a context is only reached through `Contexts::get`, whose callers hold the big lock, and by the entry code of the
// processor on which the thread runs, while nobody else touches it.
unsafe impl Sync for Contexts {}

impl Contexts {
    /// Where they lie.
    pub const fn start() -> *const u8 {
        (&raw const CONTEXTS).cast()
    }
}

#[unsafe(link_section = ".bss.tables")]
static CONTEXTS: Contexts = Contexts([const { UnsafeCell::new(Context::EMPTY) }; MachineTables::THREADS]);

/// Stands for the right to use the contexts of threads. It lives in the state behind the big lock, so that whoever can
/// name it holds the lock.
pub struct ContextAccess(());

impl ContextAccess {
    /// The one access.
    ///
    /// # Safety
    /// Called once, for the state behind the big lock.
    pub const unsafe fn new() -> Self {
        ContextAccess(())
    }

    /// The context of a thread.
    pub fn get(&self, thread: ThreadId) -> &Context {
        // SAFETY: `self` is borrowed, so the lock is held and no mutable reference exists (see `get_mut`).
        unsafe { &*self.pointer(thread) }
    }

    /// The context of a thread, to change.
    pub fn get_mut(&mut self, thread: ThreadId) -> &mut Context {
        // SAFETY: `self` is borrowed mutably, so the lock is held and this is the only reference into the table.
        unsafe { &mut *self.pointer(thread) }
    }

    /// Where the entry code saves the registers of a thread.
    pub fn pointer(&self, thread: ThreadId) -> *mut Context {
        self.pointer_at(thread.index())
    }

    /// The same for the thread with this index.
    #[inline(always)]
    pub fn pointer_at(&self, index: usize) -> *mut Context {
        CONTEXTS.0[index % MachineTables::THREADS].get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_started_thread_keeps_nothing_of_its_predecessor() {
        let mut context = Context::EMPTY;
        context.general = [7; 16];
        context.thread_local = 9;
        context.start(0x1000, 0x2000, 3);
        let others = (0..16).filter(|register| ![RSP, RDI].contains(register));
        assert!(others.map(|register| context.general[register]).all(|value| value == 0));
        assert_eq!(context.thread_local, 0);
        assert_eq!(context.flags, 0x202);
    }

    #[test]
    fn only_canonical_addresses_are_entered_directly() {
        let mut context = Context::EMPTY;
        for (instruction, canonical) in [
            (0x1000, true),
            (0x0000_7fff_ffff_ffff, true),
            (0x0000_8000_0000_0000, false),
            (0xffff_7fff_ffff_ffff, false),
            (0xffff_8000_0000_0000, true),
        ] {
            context.instruction = instruction;
            assert_eq!(context.has_canonical_instruction(), canonical);
        }
    }
}
