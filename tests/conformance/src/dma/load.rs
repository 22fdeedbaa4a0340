//! Memory that changes hands while devices write to it, on a machine that has much else to do: what a device was shown is
//! gone from it before anybody else has the memory, whenever its write comes.

use super::Reached;
use super::edu::{Edu, Fleet};
use super::lab::{BYTES, Device, LENGTH, Lab, SHOWN, TABLES, device_space, forget_strays, place_of};
use crate::actor::{self, Memory};
use crate::bench::{Bench, WINDOW};
use crate::call::{call, sleep};
use crate::outcome::{Failure, Outcome, holds};
use crate::random::Random;
use abi::syscall::{MapAccess, Syscall};
use abi::{PAGE_SIZE, root};
use alloc::vec::Vec;

type Attack = Result<Reached, Failure>;

/// How often each device writes.
const ROUNDS: u64 = 24;
/// The longest that is waited before memory changes hands: a device writes a tenth of a second after it was told to.
const LONGEST_WAIT: u64 = 130_000_000;
/// Threads that map and unmap meanwhile, and the word of the board by which they know where.
const BUSY: u64 = 3;
const BUSY_MEMORY: usize = 0;
/// Where the processor sees what changes hands, a page for each device.
const PRIZES: u64 = WINDOW + 8 * PAGE_SIZE;
/// Where busy threads map theirs.
const BUSY_AT: u64 = WINDOW + 24 * PAGE_SIZE;
/// What the next owner writes; the devices write zeros.
const OWNERS: u8 = 0x17;

/// How memory changes hands.
#[derive(Clone, Copy)]
enum Way {
    /// Its former owner's capability is revoked.
    Revoked,
    /// The device's space is destroyed, as when its driver is killed.
    Killed,
    /// The device is given to somebody else, whose memory it finds in the same place.
    Moved,
}

const WAYS: [Way; 3] = [Way::Revoked, Way::Killed, Way::Moved];

/// Maps a page and unmaps it, for ever: processors have to forget it each time.
extern "C" fn busy(number: u64) -> ! {
    let (memory, address) = (actor::read(BUSY_MEMORY), BUSY_AT + number * PAGE_SIZE);
    let arguments = [root::SPACE.0, memory, address, number, 1, MapAccess::ReadWrite as u64];
    loop {
        if let Ok(mapping) = call(Syscall::Map, arguments) {
            Memory(address).set_byte(0, 1);
            let _ = call(Syscall::Unmap, [root::SPACE.0, mapping]);
        }
    }
}

/// A device with the page that is fought for.
struct Fight<'a> {
    edu: &'a Edu,
    has_iommu: bool,
    /// The page as the next owner has it.
    whole: u64,
    /// The page that the device finds in its place when it was moved.
    elsewhere: u64,
    /// Pages for the tables of the device's space.
    tables: u64,
    space: Option<u64>,
    seen: Memory,
    mapping: Option<u64>,
}

impl<'a> Fight<'a> {
    fn new(bench: &mut Bench, edu: &'a Edu, number: u64, has_iommu: bool) -> Result<Self, Failure> {
        Ok(Fight {
            edu,
            has_iommu,
            whole: bench.memory(1)?,
            elsewhere: bench.memory(1)?,
            tables: bench.memory(TABLES)?,
            space: None,
            seen: Memory(PRIZES + number * PAGE_SIZE),
            mapping: None,
        })
    }

    /// Gives the device a space that shows this page.
    fn show(&mut self, memory: u64) -> Outcome {
        let space = device_space(self.tables, self.edu.source())?;
        self.space = Some(space);
        call(Syscall::Map, [space, memory, SHOWN, 0, 1, MapAccess::ReadWrite as u64])?;
        Ok(())
    }

    /// Takes the device's space away.
    fn hide(&mut self) -> Outcome {
        if let Some(space) = self.space.take() {
            call(Syscall::Destroy, [space])?;
            call(Syscall::CapDelete, [space])?;
        }
        Ok(())
    }

    /// The driver has the page, and tells the device to write to it.
    fn begin(&mut self) -> Outcome {
        let drivers = call(Syscall::MemorySplit, [self.whole, 0, 1, u16::MAX.into()])?;
        let to = if self.has_iommu {
            self.show(drivers)?;
            SHOWN
        } else {
            place_of(drivers)?
        };
        self.edu.start_giving(to, BYTES);
        Ok(())
    }

    /// The page changes hands, and the next owner writes to it at once. Whether the device has yet to write.
    fn change(&mut self, bench: &mut Bench, way: Way) -> Result<bool, Failure> {
        if !matches!(way, Way::Revoked) {
            self.hide()?;
        }
        if self.has_iommu && matches!(way, Way::Moved) {
            self.show(self.elsewhere)?;
        }
        call(Syscall::CapRevoke, [self.whole])?;
        self.mapping = Some(bench.map(self.whole, self.seen.0, 1)?);
        self.seen.fill(0, LENGTH, OWNERS);
        Ok(self.edu.is_copying())
    }

    /// Whether the device has written to the next owner's page, once it has written wherever it did.
    fn end(&mut self) -> Result<bool, Failure> {
        self.edu.finish()?;
        let reached = !self.seen.holds(0, LENGTH, OWNERS);
        if let Some(mapping) = self.mapping.take() {
            call(Syscall::Unmap, [root::SPACE.0, mapping])?;
        }
        self.hide()?;
        Ok(reached)
    }
}

pub(super) fn write_at_the_moment_when_memory_changes_hands(bench: &mut Bench, lab: &mut Lab<Fleet>) -> Attack {
    lab.detach()?;
    forget_strays();
    let shared = bench.memory(BUSY)?;
    actor::write(BUSY_MEMORY, shared);
    let busy_threads: Result<Vec<u64>, Failure> = (0..BUSY).map(|number| bench.thread(busy, number)).collect();
    let outcome = fight(bench, lab);
    for thread in busy_threads? {
        call(Syscall::Destroy, [thread])?;
    }
    let (reached, late, early) = outcome?;
    holds(late > 0 && early > 0, "memory changes hands before some writes and after others")?;
    Ok((reached > 0).into())
}

/// How many writes have reached the next owner; how many were still to come when the memory changed hands, and how many not.
fn fight(bench: &mut Bench, lab: &Lab<Fleet>) -> Result<(u64, u64, u64), Failure> {
    let mut random = Random::new(5);
    let (mut reached, mut late, mut early) = (0, 0, 0);
    let mut fights = Vec::new();
    for (number, edu) in (0..).zip(&lab.device.0) {
        fights.push(Fight::new(bench, edu, number, lab.has_iommu)?);
    }
    let pause = LONGEST_WAIT / fights.len() as u64;
    for round in 0..ROUNDS {
        fights.iter_mut().try_for_each(Fight::begin)?;
        let way = WAYS[round as usize % WAYS.len()];
        for fight in &mut fights {
            sleep(random.below(2 * pause));
            let counted = if fight.change(bench, way)? { &mut late } else { &mut early };
            *counted += 1;
        }
        for fight in &mut fights {
            reached += u64::from(fight.end()?);
        }
    }
    Ok((reached, late, early))
}
