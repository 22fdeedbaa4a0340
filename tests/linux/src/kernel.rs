//! System calls of Linux on x86-64: numbers and arguments as in its `arch/x86/entry/syscalls/syscall_64.tbl`.

use core::arch::asm;
use core::ffi::CStr;
use core::fmt;

/// A system call that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    call: &'static str,
    /// `errno`, as in `include/uapi/asm-generic/errno-base.h`.
    error: i64,
}

impl Refused {
    /// Something that a call did not refuse, but did not do either.
    pub(crate) fn incomplete(call: &'static str) -> Self {
        Self { call, error: 0 }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.error {
            0 => write!(f, "{} did less than it was asked for", self.call),
            error => write!(f, "{} was refused with error {error}", self.call),
        }
    }
}

/// What comes of a call.
pub(crate) type Outcome<T> = Result<T, Refused>;

const READ: u64 = 0;
const WRITE: u64 = 1;
const OPEN: u64 = 2;
const CLOSE: u64 = 3;
const SEEK: u64 = 8;
const MAP: u64 = 9;
const UNMAP: u64 = 11;
const CONTROL: u64 = 16;
const READ_AT: u64 = 17;
const PIPE: u64 = 22;
const DUPLICATE: u64 = 33;
const PAUSE: u64 = 34;
const FORK: u64 = 57;
const VFORK: u64 = 58;
const EXECUTE: u64 = 59;
const EXIT: u64 = 60;
const WAIT: u64 = 61;
const MAKE_FOLDER: u64 = 83;
const PARENT: u64 = 110;
const MOUNT: u64 = 165;
const SUBMIT_SETUP: u64 = 206;
const COMPLETED: u64 = 208;
const SUBMIT: u64 = 209;
const TIME: u64 = 228;
const EVENTFD: u64 = 284;
const LOAD_MODULE: u64 = 313;
/// A number that no system call has.
const NO_CALL: u64 = 0x7fff;

/// A call, as the kernel answers it.
///
/// # Safety
///
/// What the call is told to write belongs to the caller.
unsafe fn raw(number: u64, arguments: [u64; 6]) -> i64 {
    let result: i64;
    // SAFETY: the kernel keeps every register but those named, and writes only where the caller says that it may.
    unsafe {
        asm!("syscall", inlateout("rax") number => result, in("rdi") arguments[0], in("rsi") arguments[1],
            in("rdx") arguments[2], in("r10") arguments[3], in("r8") arguments[4], in("r9") arguments[5],
            lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}

/// # Safety
///
/// As [`raw`].
unsafe fn call(name: &'static str, number: u64, arguments: [u64; 6]) -> Outcome<u64> {
    // SAFETY: the caller's promise.
    let result = unsafe { raw(number, arguments) };
    u64::try_from(result).map_err(|_| Refused { call: name, error: -result })
}

/// Waits for a signal, of which there is none.
pub(crate) fn pause() {
    // SAFETY: it writes nothing.
    unsafe { raw(PAUSE, [0; 6]) };
}

/// A call that does next to nothing.
pub(crate) fn parent() -> u64 {
    // SAFETY: it writes nothing.
    unsafe { raw(PARENT, [0; 6]) as u64 }
}

/// A call that there is not: what comes of it.
pub(crate) fn no_call() -> i64 {
    // SAFETY: it does nothing.
    unsafe { raw(NO_CALL, [0; 6]) }
}

/// Writes all of it, or says that it could not.
pub(crate) fn write(file: i32, bytes: &[u8]) -> Outcome<()> {
    // SAFETY: it writes nothing here.
    let count = unsafe { call("write", WRITE, [file as u64, bytes.as_ptr() as u64, bytes.len() as u64, 0, 0, 0]) }?;
    if count == bytes.len() as u64 { Ok(()) } else { Err(Refused::incomplete("write")) }
}

/// Reads what there is, at most a buffer full.
pub(crate) fn read(file: i32, bytes: &mut [u8]) -> Outcome<usize> {
    // SAFETY: it writes into the buffer and no further.
    let count = unsafe { call("read", READ, [file as u64, bytes.as_mut_ptr() as u64, bytes.len() as u64, 0, 0, 0]) };
    count.map(|count| count as usize)
}

/// Reads what there is at a place of a file.
pub(crate) fn read_at(file: i32, bytes: &mut [u8], place: u64) -> Outcome<usize> {
    let arguments = [file as u64, bytes.as_mut_ptr() as u64, bytes.len() as u64, place, 0, 0];
    // SAFETY: it writes into the buffer and no further.
    unsafe { call("pread64", READ_AT, arguments) }.map(|count| count as usize)
}

/// Opens a file.
pub(crate) fn open(path: &CStr, flags: u64) -> Outcome<i32> {
    // SAFETY: it writes nothing here.
    unsafe { call("open", OPEN, [path.as_ptr() as u64, flags, 0, 0, 0, 0]) }.map(|file| file as i32)
}

/// Closes a file.
pub(crate) fn close(file: i32) -> Outcome<()> {
    // SAFETY: it writes nothing here.
    unsafe { call("close", CLOSE, [file as u64, 0, 0, 0, 0, 0]) }.map(|_| ())
}

/// Has a terminal pass on every byte as it is, and answer a read once there is one.
pub(crate) fn make_raw(terminal: i32) -> Outcome<()> {
    /// `struct termios` of `include/uapi/asm-generic/termbits.h`, which has 36 bytes.
    #[repr(C)]
    struct Settings {
        input: u32,
        output: u32,
        control: u32,
        local: u32,
        discipline: u8,
        characters: [u8; 19],
    }
    const SET: u64 = 0x5402;
    /// 38,400 baud, 8 bits, receiver on.
    const CONTROL_FLAGS: u32 = 0o17 | 0o60 | 0o200;
    /// Where the number of bytes is for which a read waits.
    const LEAST: usize = 6;
    let mut characters = [0; 19];
    characters[LEAST] = 1;
    let settings = Settings { input: 0, output: 0, control: CONTROL_FLAGS, local: 0, discipline: 0, characters };
    // SAFETY: it reads the settings and writes nothing here.
    unsafe { call("ioctl", CONTROL, [terminal as u64, SET, &raw const settings as u64, 0, 0, 0]) }.map(|_| ())
}

/// How long a file or a disk is.
pub(crate) fn length(file: i32) -> Outcome<u64> {
    const FROM_END: u64 = 2;
    // SAFETY: it writes nothing here.
    unsafe { call("lseek", SEEK, [file as u64, 0, FROM_END, 0, 0, 0]) }
}

/// Maps pages that may be written and whose contents are zero.
pub(crate) fn map(bytes: u64) -> Outcome<u64> {
    const READ_WRITE: u64 = 3;
    const PRIVATE_ANONYMOUS: u64 = 0x22;
    // SAFETY: nobody uses the addresses that the kernel chooses.
    unsafe { call("mmap", MAP, [0, bytes, READ_WRITE, PRIVATE_ANONYMOUS, u64::MAX, 0]) }
}

/// Unmaps what was mapped.
///
/// # Safety
///
/// Nobody uses it any more.
pub(crate) unsafe fn unmap(address: u64, bytes: u64) -> Outcome<()> {
    // SAFETY: the caller's promise.
    unsafe { call("munmap", UNMAP, [address, bytes, 0, 0, 0, 0]) }.map(|_| ())
}

/// A pipe: where one reads, and where one writes.
pub(crate) fn pipe() -> Outcome<(i32, i32)> {
    let mut ends = [0_i32; 2];
    // SAFETY: it writes two numbers.
    unsafe { call("pipe", PIPE, [ends.as_mut_ptr() as u64, 0, 0, 0, 0, 0]) }?;
    Ok((ends[0], ends[1]))
}

/// Gives an open file another number, too.
pub(crate) fn duplicate(file: i32, number: i32) -> Outcome<()> {
    // SAFETY: it writes nothing here.
    unsafe { call("dup2", DUPLICATE, [file as u64, number as u64, 0, 0, 0, 0]) }.map(|_| ())
}

/// A counter that processes wait for.
pub(crate) fn eventfd() -> Outcome<i32> {
    // SAFETY: it writes nothing here.
    unsafe { call("eventfd", EVENTFD, [0; 6]) }.map(|file| file as i32)
}

/// Starts a second process that carries out `body` and ends.
pub(crate) fn fork(body: impl FnOnce()) -> Outcome<()> {
    // SAFETY: the child has a copy of everything, and one thread only.
    if unsafe { call("fork", FORK, [0; 6]) }? == 0 {
        body();
        // SAFETY: it ends this process.
        unsafe { raw(EXIT, [0; 6]) };
    }
    Ok(())
}

/// Starts a process that executes a file.
pub(crate) fn execute(path: &CStr) -> Outcome<()> {
    let arguments = [path.as_ptr() as u64, 0];
    let result: i64;
    // SAFETY: the child shares this process's memory until it executes the file or ends; it uses registers only, and none of what
    // it leaves in them is seen by the parent, whose registers the kernel keeps.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "mov eax, {execute}",
            "syscall",
            "mov edi, 1",
            "mov eax, {exit}",
            "syscall",
            "2:",
            execute = const EXECUTE, exit = const EXIT,
            inlateout("rax") VFORK => result, in("rdi") path.as_ptr(), in("rsi") arguments.as_ptr(), in("rdx") 0_u64,
            lateout("rcx") _, lateout("r11") _, options(nostack),
        );
    }
    if result < 0 { Err(Refused { call: "vfork", error: -result }) } else { Ok(()) }
}

/// Nanoseconds since the machine was started.
pub(crate) fn nanoseconds() -> Outcome<u64> {
    const MONOTONIC: u64 = 1;
    let mut time = [0_u64; 2];
    // SAFETY: it writes two numbers.
    unsafe { call("clock_gettime", TIME, [MONOTONIC, time.as_mut_ptr() as u64, 0, 0, 0, 0]) }?;
    Ok(time[0] * 1_000_000_000 + time[1])
}

/// Waits until a child has ended.
pub(crate) fn wait() -> Outcome<()> {
    // SAFETY: it writes nothing here.
    unsafe { call("wait4", WAIT, [u64::MAX, 0, 0, 0, 0, 0]) }.map(|_| ())
}

/// Makes a folder.
pub(crate) fn make_folder(path: &CStr) -> Outcome<()> {
    // SAFETY: it writes nothing here.
    unsafe { call("mkdir", MAKE_FOLDER, [path.as_ptr() as u64, 0o755, 0, 0, 0, 0]) }.map(|_| ())
}

/// Mounts a filesystem that has no disk.
pub(crate) fn mount(kind: &CStr, folder: &CStr) -> Outcome<()> {
    let arguments = [kind.as_ptr() as u64, folder.as_ptr() as u64, kind.as_ptr() as u64, 0, 0, 0];
    // SAFETY: it writes nothing here.
    unsafe { call("mount", MOUNT, arguments) }.map(|_| ())
}

/// Loads a module of the kernel.
pub(crate) fn load_module(file: i32) -> Outcome<()> {
    // SAFETY: it writes nothing here.
    unsafe { call("finit_module", LOAD_MODULE, [file as u64, c"".as_ptr() as u64, 0, 0, 0, 0]) }.map(|_| ())
}

/// A queue of requests that the kernel carries out by and by (`include/uapi/linux/aio_abi.h`).
#[derive(Clone, Copy)]
pub(crate) struct Queue(u64);

/// A request of such a queue: `struct iocb`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct Request {
    data: u64,
    key: u32,
    flags_of_write: u32,
    operation: u16,
    priority: i16,
    file: u32,
    buffer: u64,
    bytes: u64,
    place: i64,
    reserved: u64,
    flags: u32,
    event: u32,
}

impl Request {
    /// Reads `bytes` bytes at `place` of a file into memory at `buffer`; its completion carries `data`.
    pub(crate) fn read(file: i32, buffer: u64, bytes: u64, place: u64, data: u64) -> Self {
        Self { data, file: file as u32, buffer, bytes, place: place as i64, ..Self::default() }
    }
}

/// How a request ended: `struct io_event`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct Completion {
    /// What the request carried.
    pub(crate) data: u64,
    request: u64,
    /// Bytes, or an error below zero.
    pub(crate) result: i64,
    more: i64,
}

impl Queue {
    /// A queue for so many requests.
    pub(crate) fn new(depth: usize) -> Outcome<Self> {
        let mut queue = 0_u64;
        // SAFETY: it writes one number.
        unsafe { call("io_setup", SUBMIT_SETUP, [depth as u64, &raw mut queue as u64, 0, 0, 0, 0]) }?;
        Ok(Self(queue))
    }

    /// Hands requests over.
    ///
    /// # Safety
    ///
    /// Their buffers are used by nobody else until they have completed.
    pub(crate) unsafe fn submit(self, requests: &[Request]) -> Outcome<()> {
        const MOST: usize = 32;
        let mut list = [0_u64; MOST];
        for (place, request) in list.iter_mut().zip(requests) {
            *place = &raw const *request as u64;
        }
        let count = requests.len().min(MOST) as u64;
        // SAFETY: the caller's promise.
        let taken = unsafe { call("io_submit", SUBMIT, [self.0, count, list.as_ptr() as u64, 0, 0, 0]) }?;
        if taken == requests.len() as u64 { Ok(()) } else { Err(Refused::incomplete("io_submit")) }
    }

    /// Waits for at least one completion, and says how many there are.
    pub(crate) fn completed(self, completions: &mut [Completion]) -> Outcome<usize> {
        let arguments = [self.0, 1, completions.len() as u64, completions.as_mut_ptr() as u64, 0, 0];
        // SAFETY: it writes completions, and no more than there is room for.
        unsafe { call("io_getevents", COMPLETED, arguments) }.map(|count| count as usize)
    }
}
