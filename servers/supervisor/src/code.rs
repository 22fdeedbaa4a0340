//! Changes to the code of running domains, for whoever the manifest lets see what becomes of them.

use crate::state::Supervisor;
use alloc::vec::Vec;
use interfaces::mutation::Mutation;
use interfaces::supervision::SupervisionError;
use manifest::DomainIndex;
use supervisor::Mutations;
use userlib::abi::PAGE_SIZE;
use userlib::abi::fault::{FaultKind, FaultWord};
use userlib::abi::message::REGISTER_WORDS;
use userlib::abi::syscall::MapAccess;

/// The vector of a general protection fault, which an instruction causes that only the kernel may execute.
const GENERAL_PROTECTION: u64 = 13;

/// Makes or arms changes to the code of the present instance of a domain.
///
/// # Errors
/// `NotRunning`, and `BadMutation` if its code is elsewhere.
pub(crate) fn mutate(supervisor: &Supervisor, index: DomainIndex, list: Vec<Mutation>) -> Result<(), SupervisionError> {
    if supervisor.watched_domain(index).instance.is_none() {
        return Err(SupervisionError::NotRunning);
    }
    if !list.iter().all(|mutation| offset_of(supervisor, index, mutation).is_some()) {
        return Err(SupervisionError::BadMutation);
    }
    let mutations = Mutations::new(list);
    for preparation in mutations.preparations() {
        write(supervisor, index, &preparation)?;
    }
    supervisor.watched_mut(index).mutations = mutations;
    Ok(())
}

/// Whether a fault is that of a change about to be executed, which is in place now: the thread is to go on.
pub(crate) fn goes_on(supervisor: &Supervisor, index: DomainIndex, label: u32, words: &[u64; REGISTER_WORDS]) -> bool {
    let is_armed = FaultKind::from_label(label) == Some(FaultKind::Exception)
        && words[FaultWord::Code as usize] >> 32 == GENERAL_PROTECTION;
    if !is_armed {
        return false;
    }
    let reached = supervisor.watched_mut(index).mutations.reach(words[FaultWord::InstructionPointer as usize]).cloned();
    reached.is_some_and(|mutation| write(supervisor, index, &mutation).is_ok())
}

/// Where in the domain's copy of its code all of a change lies.
fn offset_of(supervisor: &Supervisor, index: DomainIndex, mutation: &Mutation) -> Option<u64> {
    let image = supervisor.images.of(&supervisor.archive, &supervisor.system, index).ok()?;
    let range = mutation.range();
    let (first, last) = (image.code_offset(range.start)?, image.code_offset(range.end - 1)?);
    let is_inside =
        last - first == range.end - 1 - range.start && last / PAGE_SIZE < supervisor.resources(index).code.pages;
    is_inside.then_some(first)
}

fn write(supervisor: &Supervisor, index: DomainIndex, mutation: &Mutation) -> Result<(), SupervisionError> {
    let offset = offset_of(supervisor, index, mutation).ok_or(SupervisionError::BadMutation)?;
    let end = offset + mutation.bytes.len() as u64;
    let first = offset / PAGE_SIZE;
    let pages = end.div_ceil(PAGE_SIZE) - first;
    let code = supervisor.resources(index).code.cap();
    let mapping = supervisor.space.map(code, first, pages, MapAccess::ReadWrite);
    let mapping = mapping.map_err(|_| SupervisionError::CannotRebuild)?;
    let written = mapping.shared().write((offset % PAGE_SIZE) as usize, &mutation.bytes);
    written.map_err(|_| SupervisionError::BadMutation)
}
