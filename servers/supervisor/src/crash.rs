//! What is known of a domain that has died, kept for whoever asks.

use crate::death::Death;
use crate::state::Supervisor;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use interfaces::crash::{CrashRecord, REGISTERS};
use manifest::DomainIndex;
use supervisor::{Place, backtrace};
use userlib::abi::PAGE_SIZE;
use userlib::abi::syscall::{MapAccess, Registers};
use userlib::time::Instant;

/// Places of the stack pointer and the frame pointer among the general registers.
const FRAME: usize = 6;
const STACK: usize = 7;

/// Writes down what there is to know of a domain's present instance, which is about to be taken apart. What that takes has a bound:
/// one mapping of its stack, and [`interfaces::crash::FRAMES_MAX`] steps on it.
pub(crate) fn examine(supervisor: &Supervisor, index: DomainIndex, death: &Death) {
    let watched = supervisor.watched_domain(index);
    let Some(instance) = &watched.instance else { return };
    // One that runs on another processor at this moment cannot be read.
    let registers = instance.thread().registers().ok();
    supervisor.crashes.borrow_mut().keep(CrashRecord {
        number: 0,
        time: Instant::now().nanoseconds(),
        instance: watched.restarts(),
        domain: supervisor.name(index).to_string(),
        cause: death.story.clone(),
        registers: registers.as_ref().map(all_of),
        frames: registers.map(|registers| frames(supervisor, index, &registers)).unwrap_or_default(),
        messages: watched.status().map(|status| status.messages()).unwrap_or_default(),
    });
    supervisor.note_own();
}

fn all_of(registers: &Registers) -> [u64; REGISTERS] {
    let mut all = [0; REGISTERS];
    let (general, rest) = all.split_at_mut(registers.general.len());
    general.copy_from_slice(&registers.general);
    rest.copy_from_slice(&[registers.rip, registers.rflags]);
    all
}

fn frames(supervisor: &Supervisor, index: DomainIndex, registers: &Registers) -> Vec<u64> {
    let place = Place { instruction: registers.rip, frame: registers.general[FRAME], stack: registers.general[STACK] };
    let resources = supervisor.resources(index);
    let stack = spawn::stack(&supervisor.images, &supervisor.archive, &supervisor.system, resources, index);
    let Ok(stack) = stack else { return vec![place.instruction] };
    let Ok(mapping) = supervisor.space.map(resources.private.cap(), stack.first_page, stack.pages, MapAccess::Read)
    else {
        return vec![place.instruction];
    };
    backtrace(place, |address| {
        let offset = address.checked_sub(stack.address).filter(|offset| offset.is_multiple_of(8))?;
        let mut word = [0; 8];
        (offset < stack.pages * PAGE_SIZE).then(|| mapping.read(offset as usize, &mut word).ok())??;
        Some(u64::from_le_bytes(word))
    })
}
