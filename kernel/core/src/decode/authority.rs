//! Capabilities, and the objects that the caller makes or destroys.

use super::{Caller, narrow, user_range, visible_badge};
use crate::capability::halves;
use crate::capability::{BLOCK, Capability};
use crate::command::{Command, DomainOrder, Refusal, Request};
use crate::identity::{DomainId, InterruptId};
use crate::kernel::{Kernel, Tables};
use crate::space::Flavour;
use crate::table::{Slots, count};
use crate::world::World;
use abi::rights::{
    AccountRights, BudgetRights, DomainRights, EndpointRights, InterruptControlRights, InterruptRights, Kind,
    NotificationRights, RawRights, SpaceRights, ThreadRights,
};
use abi::syscall::{Charge, InterruptSource};
use abi::{Error, Handle};

impl<T: Tables> Kernel<T> {
    // ---- capabilities ----

    pub(super) fn decode_copy(
        &self,
        caller: Caller,
        target: DomainId,
        handle: u64,
        rights: u64,
        badge: u64,
    ) -> Result<Command, Refusal> {
        let (id, original) = self.lookup(caller.domain, Handle(handle))?;
        if !self.is_object_live(&original) {
            return Err(Error::StaleHandle.into());
        }
        let capability = self.derive(&original, narrow(rights)?, badge)?;
        self.free_slot(target)?;
        Ok(Command::InsertCap { domain: target, capability, parent: Some(id) })
    }

    pub(super) fn decode_move(&self, caller: Caller, target: u64, handle: u64) -> Result<Command, Refusal> {
        let target = self.domain(caller, target, DomainRights::GRANT)?;
        let (id, capability) = self.lookup(caller.domain, Handle(handle))?;
        if !self.is_object_live(&capability) {
            return Err(Error::StaleHandle.into());
        }
        let slot = self.cap(id);
        if slot.first_child.is_some() || slot.first_mapping.is_some() {
            return Err(Error::NotSoleOwner.into());
        }
        self.free_slot(target)?;
        Ok(Command::MoveCap { id, domain: target })
    }

    pub(super) fn decode_inspect(&self, caller: Caller, handle: u64, index: u64) -> Result<Command, Refusal> {
        let target = self.domain(caller, handle, DomainRights::INSPECT)?;
        let owner = self.domains.at(target.index());
        let index: u16 = narrow(index)?;
        if index >= owner.table_length {
            return Err(Error::BadArgument.into());
        }
        let place = owner.table_base as usize + usize::from(index);
        let report = match crate::CapId::from_index(place).map(|id| (id, self.cap(id))) {
            Some((id, slot)) if index != 0 => match slot.capability() {
                Some(found) => {
                    [found.kind as u64, u64::from(found.rights), visible_badge(&found), self.handle_of(id).0]
                }
                None => [0; 4],
            },
            _ => [0; 4],
        };
        Ok(Command::Report(report))
    }

    /// A domain that took itself apart would leave nobody to finish the work.
    pub(super) fn refuse_suicide(&self, caller: Caller, capability: &Capability) -> Result<(), Error> {
        let own = match capability.kind {
            Kind::Domain => {
                capability.object as usize == caller.domain.index()
                    && self.domains.references(caller.domain.index()) == 1
            }
            _ => false,
        };
        if own { Err(Error::WrongState) } else { Ok(()) }
    }

    pub(super) fn decode_destroy(&self, caller: Caller, handle: u64) -> Result<Command, Refusal> {
        let (_, capability) = self.lookup(caller.domain, Handle(handle))?;
        let right: RawRights = match capability.kind {
            Kind::Account => AccountRights::DESTROY.bits(),
            Kind::Space => SpaceRights::DESTROY.bits(),
            Kind::Domain => DomainRights::DESTROY.bits(),
            Kind::Thread => ThreadRights::DESTROY.bits(),
            Kind::Budget => BudgetRights::DESTROY.bits(),
            Kind::Endpoint => EndpointRights::DESTROY.bits(),
            Kind::Notification => NotificationRights::DESTROY.bits(),
            Kind::Interrupt => InterruptRights::DESTROY.bits(),
            Kind::Memory | Kind::Ports | Kind::InterruptControl | Kind::System | Kind::DeviceControl => {
                return Err(Error::WrongKind.into());
            }
        };
        if capability.rights & right == 0 {
            return Err(Error::MissingRight.into());
        }
        if self.is_object_live(&capability) {
            let index = capability.object as usize;
            let in_use = match capability.kind {
                Kind::Account => !self.accounts.at(index).is_unused() || self.accounts.at(index).parent.is_none(),
                Kind::Space => self.spaces.at(index).domains > 0,
                Kind::Budget => self.budgets.at(index).thread.is_some(),
                Kind::Domain => index == caller.domain.index(),
                Kind::Thread => index == caller.thread.index(),
                _ => false,
            };
            if in_use {
                return Err(Error::WrongState.into());
            }
        }
        Ok(Command::Destroy(capability))
    }

    // ---- objects ----

    pub(super) fn decode_account(
        &self,
        world: &impl World,
        caller: Caller,
        parent: u64,
        address: u64,
    ) -> Result<Command, Refusal> {
        let parent = self.account(caller, parent, AccountRights::CREATE)?;
        let mut words = [0u64; Charge::COUNT / 2];
        user_range(address, size_of_val(&words) as u64)?;
        let root = self.root_of(caller.thread);
        world.read_user(root, address, &mut words).ok_or(Error::BadAddress)?;
        let mut limits = [0; Charge::COUNT];
        for (pair, word) in limits.chunks_exact_mut(2).zip(words) {
            pair.copy_from_slice(&halves(word));
        }
        self.check_limits(parent, &limits)?;
        if !self.accounts.has_room() {
            return Err(Error::KernelTableFull.into());
        }
        self.free_slot(caller.domain)?;
        Ok(Command::CreateAccount { parent, limits })
    }

    pub(super) fn decode_domain(&self, caller: Caller, request: &Request) -> Result<DomainOrder, Error> {
        let [account, space, level, length, handler, fault_badge] = request.arguments;
        let account = self.new_object(caller, account, Charge::Domains, self.domains.has_room())?;
        let space = self.space(caller, space, SpaceRights::MAP)?;
        if self.spaces.at(space.index()).flavour != Flavour::User {
            return Err(Error::WrongState);
        }
        let table_length: u16 = narrow(length)?;
        if !table_length.is_power_of_two() || !(BLOCK..=1024).contains(&usize::from(table_length)) {
            return Err(Error::BadArgument);
        }
        self.check_charge(account, Charge::CapSlots, u32::from(table_length))?;
        let blocks = table_length as usize / BLOCK;
        let base = self.blocks.find(blocks, T::Caps::LENGTH / BLOCK).ok_or(Error::KernelTableFull)?;
        let fault_handler = if handler == 0 {
            None
        } else {
            let (id, _) = self.endpoint(caller, handler, EndpointRights::FAULT)?;
            if self.endpoints.at(id.index()).interface != abi::fault::FAULT_INTERFACE {
                return Err(Error::WrongInterface);
            }
            Some(id)
        };
        // The root's level has an exemption, which is the root's alone.
        let level = narrow(level)?;
        if level == abi::root::LEVEL {
            return Err(Error::BadArgument);
        }
        Ok(DomainOrder {
            account,
            space,
            level,
            table_base: count(base * BLOCK),
            table_length,
            fault_handler,
            fault_badge,
        })
    }

    pub(super) fn decode_interrupt(
        &self,
        world: &impl World,
        caller: Caller,
        control: u64,
        source: u64,
    ) -> Result<Command, Refusal> {
        let rights = InterruptControlRights::CREATE.bits();
        self.lookup_kind(caller.domain, Handle(control), Kind::InterruptControl, rights)?;
        let source = InterruptSource::from_register(source).ok_or(Error::BadArgument)?;
        if !world.has_interrupt(source) {
            return Err(Error::NoHardware.into());
        }
        if self.is_claimed(source) {
            return Err(Error::InUse.into());
        }
        let account = self.domains.at(caller.domain.index()).account.ok_or(Error::QuotaExceeded)?;
        self.check_charge(account, Charge::Interrupts, 1)?;
        if !self.interrupts.has_room() || self.interrupts.next_index() > InterruptId::VECTORS {
            return Err(Error::KernelTableFull.into());
        }
        self.free_slot(caller.domain)?;
        Ok(Command::CreateInterrupt { account, source })
    }
}
