//! What processes do with each other, and with the kernel.

use crate::kernel::{self, Outcome, Refused};
use crate::rounds::{Rounds, ticks};

/// The number at which a child finds the pipe into which it says that it runs.
const WORDS: i32 = 10;

/// Processes that are started before the first that counts, and those that count: each takes as long as a hundred calls.
const WARM_UP: usize = 8;
const EXECUTIONS: usize = 256;

/// A call that there is not.
pub(crate) fn refused_call() -> Outcome<Rounds> {
    Rounds::measure(|| {
        kernel::no_call();
        Ok(())
    })
}

/// A call that does next to nothing.
pub(crate) fn parent() -> Outcome<Rounds> {
    Rounds::measure(|| {
        kernel::parent();
        Ok(())
    })
}

/// Eight bytes to another process and eight back.
pub(crate) fn pipe_of_8() -> Outcome<Rounds> {
    pipe([0; 8])
}

/// Four kibibytes to another process, which reads them all, and eight bytes back.
pub(crate) fn pipe_of_4096() -> Outcome<Rounds> {
    pipe([0; 4096])
}

fn pipe<const BYTES: usize>(request: [u8; BYTES]) -> Outcome<Rounds> {
    let (their_end, there) = kernel::pipe()?;
    let (back, their_back) = kernel::pipe()?;
    kernel::fork(|| {
        let mut bytes = request;
        // Nobody ends it: it waits for good once nothing more comes.
        while kernel::read(their_end, &mut bytes) == Ok(BYTES) && kernel::write(their_back, &[0; 8]).is_ok() {}
    })?;
    Rounds::measure(|| {
        let mut answer = [0; 8];
        kernel::write(there, &request)?;
        match kernel::read(back, &mut answer)? {
            8 => Ok(()),
            _ => Err(Refused::incomplete("read")),
        }
    })
}

/// A counter raised for another process, which waits for it, and one back.
pub(crate) fn eventfd() -> Outcome<Rounds> {
    let (ping, pong) = (kernel::eventfd()?, kernel::eventfd()?);
    let one = 1_u64.to_ne_bytes();
    kernel::fork(|| {
        let mut value = [0; 8];
        while kernel::read(ping, &mut value) == Ok(8) && kernel::write(pong, &one).is_ok() {}
    })?;
    Rounds::measure(|| {
        kernel::write(ping, &one)?;
        kernel::read(pong, &mut [0; 8]).map(|_| ())
    })
}

/// A page mapped and unmapped, and not touched.
pub(crate) fn map_and_unmap() -> Outcome<Rounds> {
    const PAGE: u64 = 4096;
    Rounds::measure(|| {
        let address = kernel::map(PAGE)?;
        // SAFETY: nobody was told of the page.
        unsafe { kernel::unmap(address, PAGE) }
    })
}

/// A process from a file to its first message. The program is ten instructions long and has one page.
pub(crate) fn execute() -> Outcome<Rounds> {
    let (words, theirs) = kernel::pipe()?;
    kernel::duplicate(theirs, WORDS)?;
    Rounds::of(WARM_UP, EXECUTIONS, || {
        let begun = ticks();
        kernel::execute(c"/child")?;
        let heard = kernel::read(words, &mut [0])?;
        let ended = ticks();
        kernel::wait()?;
        if heard == 1 { Ok(ended - begun) } else { Err(Refused::incomplete("the child")) }
    })
}
