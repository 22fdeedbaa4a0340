//! What the monitor of a guest is given.

use super::Building;
use crate::GUEST_MEMORY_ENTRY;
use crate::error::{AtStep, BuildError};
use crate::guest::guest_files;
use abi::PAGE_SIZE;
use abi::rights::{DomainRights, MemoryRights};
use manifest::GuestFile;
use userlib::cap::{Cap, Domain};
use userlib::start::StartPage;

impl Building<'_> {
    /// Gives a monitor the guest's memory, of which nothing is mapped, and what is to be started in it. Nothing to others.
    pub(super) fn give_guest(&self, page: &mut StartPage, target: Cap<Domain>) -> Result<(), BuildError> {
        let domain = &self.blueprint.system[self.index];
        for (kind, file) in guest_files(self.blueprint.archive, domain) {
            let missing = || BuildError::NoFile(GuestFile::archive_name(kind, &domain.name));
            let file = file.ok_or_else(missing)?;
            let (first, length) = (file.offset as u64 / PAGE_SIZE, file.contents.len() as u64);
            self.give_constant(page, target, kind.name(), first, length)?;
        }
        if self.resources.guest.pages > 0 {
            // A guest decides by itself what of its memory it executes; page tables and processors are donated from it.
            let rights = MemoryRights::READ
                | MemoryRights::WRITE
                | MemoryRights::EXECUTE
                | MemoryRights::DONATE
                | MemoryRights::SPLIT;
            self.give_memory(page, target, GUEST_MEMORY_ENTRY, self.resources.guest, rights)?;
            // Each of the guest's processors is a thread of its monitor's.
            page.own.domain = target.grant(target, DomainRights::SPAWN, 0).at("let it make threads")?.0;
        }
        Ok(())
    }
}
