//! Decoding: a system call's registers become a [`Command`], or are refused.
//!
//! Everything here takes `&self`: the compiler proves that a refused call has changed nothing.

use crate::capability::{BLOCK, Capability, Extent};
use crate::command::{Answer, Command, DomainOrder, Refusal, Request};
use crate::domain::{Budget, Notification};
use crate::effect::LeaseCopy;
use crate::identity::{AccountId, BudgetId, DomainId, EndpointId, InterruptId, NotificationId, SpaceId, ThreadId};
use crate::ipc::{CopyFault, Outgoing, Reception, late};
use crate::kernel::{Kernel, Tables};
use crate::memory::MapOrder;
use crate::schedule::Queue;
use crate::table::Slots;
use crate::thread::State;
use crate::world::{BUFFER_BYTES, World};
use abi::message::{Lease, MAX_CAPS, MAX_LEASE_COPY, MAX_LEASES, MessageInfo, offset};
use abi::rights::{
    AccountRights, BudgetRights, DomainRights, EndpointRights, InterruptControlRights, InterruptRights, Kind,
    MemoryRights, NotificationRights, PortsRights, RawRights, SpaceRights, SystemRights, ThreadRights,
};
use abi::syscall::{Charge, InterruptSource, MapAccess, Registers, Statistics, Syscall};
use abi::{Error, Handle, PAGE_SIZE, USER_END};

/// Bytes of the window within which one map must lie: what one page table covers.
const MAP_WINDOW: u64 = 512 * PAGE_SIZE;
/// The most pages that one donation takes.
const MAX_DONATION: u64 = 8;
/// The most bytes of log that one call reads.
const MAX_LOG_READ: u64 = 4096;
/// Highest value that a result register can have without looking like an error.
const MAX_COUNT: u64 = i64::MAX as u64;

/// Who calls: the thread and its domain.
#[derive(Clone, Copy)]
struct Caller {
    thread: ThreadId,
    domain: DomainId,
}

/// Checks that `length` bytes from `address` lie in user space.
fn user_range(address: u64, length: u64) -> Result<(), Error> {
    match address.checked_add(length) {
        Some(end) if end <= USER_END => Ok(()),
        _ => Err(Error::BadAddress),
    }
}

/// A number that must fit into a smaller type.
fn narrow<N: TryFrom<u64>>(value: u64) -> Result<N, Error> {
    N::try_from(value).map_err(|_| Error::BadArgument)
}

impl<T: Tables> Kernel<T> {
    /// Checks a system call of the running thread. Changes nothing.
    pub fn decode(&self, world: &impl World, request: &Request) -> Result<Command, Refusal> {
        let syscall = Syscall::from_number(request.number).ok_or(Error::UnknownSyscall)?;
        let thread = self.current.ok_or(Error::WrongState)?;
        let domain = self.thread(thread).domain.ok_or(Error::WrongState)?;
        // A domain that is being taken apart acquires nothing any more.
        if !self.domains.is_live(domain.index()) {
            return Err(Error::StaleHandle.into());
        }
        let caller = Caller { thread, domain };
        let [a, b, c, d, e, _] = request.arguments;
        let command = match syscall {
            Syscall::Call => return self.decode_call(world, caller, request),
            Syscall::Receive => Command::Receive(self.decode_reception(caller, a, b, c)?),
            Syscall::Reply => Command::Reply(self.decode_answer(world, caller, a, b)?),
            Syscall::ReplyReceive => {
                let reception = self.decode_reception(caller, a, e, c)?;
                let answer = match self.decode_answer(world, caller, d, b) {
                    Ok(answer) => Some(answer),
                    Err(Error::CallerGone) => None,
                    Err(error) => return Err(error.into()),
                };
                Command::ReplyReceive { answer, reception }
            }
            Syscall::ReplyFault => Command::ReplyFault { caller: self.pending_caller(thread, a)?, code: b },
            Syscall::Notify => self.decode_notify(caller, a, b)?,
            Syscall::Wait => Command::Wait {
                notification: self.optional_notification(caller, a, NotificationRights::WAIT)?,
                deadline: b,
            },
            Syscall::LeaseRead => self.decode_lease_copy(caller, request, Lease::READ)?,
            Syscall::LeaseWrite => self.decode_lease_copy(caller, request, Lease::WRITE)?,
            Syscall::LeaseInfo => {
                // No lease is longer than user space, so the access bits never make this look like an error.
                let lease = self.lease(self.pending_caller(thread, a)?, b)?;
                Command::Report([lease.length_and_access, 0, 0, 0])
            }
            Syscall::CapCopy => self.decode_copy(caller, domain, a, b, c)?,
            Syscall::CapGrant => {
                let target = self.domain(caller, a, DomainRights::GRANT)?;
                self.decode_copy(caller, target, b, c, d)?
            }
            Syscall::CapMove => self.decode_move(caller, a, b)?,
            Syscall::CapDelete => {
                let (id, capability) = self.lookup(domain, Handle(a))?;
                self.refuse_suicide(caller, &capability)?;
                Command::DeleteCap(id)
            }
            Syscall::CapRevoke => Command::RevokeCap(self.lookup(domain, Handle(a))?.0),
            Syscall::CapInfo => {
                let (_, capability) = self.lookup(domain, Handle(a))?;
                Command::Report([capability.kind as u64, u64::from(capability.rights), visible_badge(&capability), 0])
            }
            Syscall::CapInspect => self.decode_inspect(caller, a, b)?,
            Syscall::Destroy => self.decode_destroy(caller, a)?,
            Syscall::AccountCreate => self.decode_account(world, caller, a, b)?,
            Syscall::AccountInfo => {
                let account = self.account(caller, a, AccountRights::INSPECT)?;
                self.writable(world, caller, b, Charge::COUNT as u64 * 8)?;
                Command::ReportAccount { account, address: b }
            }
            Syscall::EndpointCreate => {
                let account = self.new_object(caller, a, Charge::Endpoints, self.endpoints.has_room())?;
                Command::CreateEndpoint { account, interface: b, level: narrow(c)?, ceiling: narrow(d)? }
            }
            Syscall::EndpointBind => {
                let (endpoint, _) = self.endpoint(caller, a, EndpointRights::RECEIVE)?;
                let doorbell = if b == 0 { None } else { Some(self.signal(caller, b, c)?) };
                Command::BindEndpoint { endpoint, doorbell }
            }
            Syscall::NotificationCreate => Command::CreateNotification {
                account: self.new_object(caller, a, Charge::Notifications, self.notifications.has_room())?,
            },
            Syscall::BudgetCreate => {
                let account = self.new_object(caller, a, Charge::Budgets, self.budgets.has_room())?;
                let valid = Budget::MIN_SLICE..=Budget::MAX_SLICE;
                if !valid.contains(&c) || !valid.contains(&d) || c > d {
                    return Err(Error::BadArgument.into());
                }
                Command::CreateBudget { account, priority: narrow(b)?, slice: c, period: d }
            }
            Syscall::SpaceCreate => {
                let account = self.new_object(caller, a, Charge::Spaces, self.spaces.has_room())?;
                let (root, _) = self.donation(caller, b, c, 1)?;
                Command::CreateSpace { account, root }
            }
            Syscall::DomainCreate => Command::CreateDomain(self.decode_domain(caller, request)?),
            Syscall::ThreadCreate => {
                let account = self.new_object(caller, a, Charge::Threads, self.threads.has_room())?;
                let target = self.domain(caller, b, DomainRights::SPAWN)?;
                let (_, budget) = self.lookup_kind(domain, Handle(c), Kind::Budget, BudgetRights::BIND.bits())?;
                let budget = BudgetId::from_index(budget.object as usize).ok_or(Error::StaleHandle)?;
                Command::CreateThread { account, domain: target, budget }
            }
            Syscall::InterruptCreate => self.decode_interrupt(world, caller, a, b)?,
            Syscall::MemorySplit => self.decode_split(caller, a, b, c, d)?,
            Syscall::MemoryInfo => {
                let (_, memory) = self.lookup_kind(domain, Handle(a), Kind::Memory, 0)?;
                let extent = Extent::from_badge(memory.badge);
                let known = memory.rights & MemoryRights::DMA.bits() != 0;
                let frame = if known { u64::from(extent.frame) } else { 0 };
                let device = self.check_frames(crate::Frame(extent.frame), 1) == Ok(true);
                Command::Report([frame, u64::from(extent.pages), u64::from(device), 0])
            }
            Syscall::Map => return self.decode_map(world, caller, request),
            Syscall::Unmap => {
                let space = self.space(caller, a, SpaceRights::MAP)?;
                let mapping = self.lookup_mapping(b)?;
                if self.mappings.at(mapping.index()).space != Some(space) {
                    return Err(Error::StaleHandle.into());
                }
                Command::Unmap(mapping)
            }
            Syscall::SpaceDonate => {
                let space = self.space(caller, a, SpaceRights::MAP)?;
                let (first, count) = self.donation(caller, b, c, d)?;
                Command::Donate { space, first, count }
            }
            Syscall::ThreadBuffer => self.decode_buffer(caller, a, b, c, d)?,
            Syscall::ThreadBind => {
                let target = self.thread_cap(caller, a, ThreadRights::CONTROL)?;
                let notification = self.optional_notification(caller, b, NotificationRights::WAIT)?;
                if let Some(id) = notification
                    && self.notifications.at(id.index()).bound.is_some_and(|bound| bound != target)
                {
                    return Err(Error::InUse.into());
                }
                Command::BindNotification { thread: target, notification }
            }
            Syscall::ThreadStart => {
                let target = self.thread_cap(caller, a, ThreadRights::CONTROL)?;
                if self.thread(target).state != State::Stopped {
                    return Err(Error::WrongState.into());
                }
                user_range(b, 1)?;
                user_range(c, 0)?;
                Command::StartThread { thread: target, instruction: b, stack: c, argument: d }
            }
            Syscall::ThreadStop => {
                let target = self.thread_cap(caller, a, ThreadRights::CONTROL)?;
                if target == thread {
                    return Err(Error::WrongState.into());
                }
                Command::StopThread(target)
            }
            Syscall::ThreadRead => {
                let target = self.thread_cap(caller, a, ThreadRights::INSPECT)?;
                if target == thread {
                    return Err(Error::WrongState.into());
                }
                self.writable(world, caller, b, size_of::<Registers>() as u64)?;
                Command::ReadThread { thread: target, address: b }
            }
            Syscall::ThreadLocal => {
                user_range(a, 0)?;
                Command::SetThreadLocal(a)
            }
            Syscall::ThreadExit => Command::Exit { code: a },
            Syscall::ThreadPanic => Command::Panic { code: a },
            Syscall::Yield => Command::Yield,
            Syscall::InterruptBind => {
                let interrupt = self.interrupt_cap(caller, a, InterruptRights::HANDLE)?;
                let (notification, bits) = self.signal(caller, b, c)?;
                Command::BindInterrupt { interrupt, notification, bits }
            }
            Syscall::InterruptAck => Command::AckInterrupt(self.interrupt_cap(caller, a, InterruptRights::HANDLE)?),
            Syscall::InterruptMask => Command::MaskInterrupt(self.interrupt_cap(caller, a, InterruptRights::HANDLE)?),
            Syscall::InterruptMessage => {
                let interrupt = self.interrupt_cap(caller, a, InterruptRights::MESSAGE)?;
                if self.source_of(interrupt) != InterruptSource::Message {
                    return Err(Error::WrongState.into());
                }
                let (address, data) = world.interrupt_message(interrupt.vector());
                Command::Report([address, u64::from(data), 0, 0])
            }
            Syscall::PortsSplit => self.decode_ports_split(caller, a, b, c, d)?,
            Syscall::PortIn => {
                let (port, width) = self.decode_port(caller, a, b, c, PortsRights::IN)?;
                Command::PortIn { port, width }
            }
            Syscall::PortOut => {
                let (port, width) = self.decode_port(caller, a, b, c, PortsRights::OUT)?;
                Command::PortOut { port, width, value: narrow(d)? }
            }
            Syscall::Clock => Command::Report([request.now.min(MAX_COUNT), 0, 0, 0]),
            Syscall::LogRead => {
                self.lookup_kind(domain, Handle(a), Kind::System, SystemRights::LOG.bits())?;
                let length = c.min(MAX_LOG_READ);
                self.writable(world, caller, b, length)?;
                Command::ReadLog { address: b, length, position: d }
            }
            Syscall::Statistics => {
                self.lookup_kind(domain, Handle(a), Kind::System, SystemRights::INSPECT.bits())?;
                self.writable(world, caller, b, size_of::<Statistics>() as u64)?;
                Command::ReadStatistics { address: b }
            }
        };
        Ok(command)
    }

    // ---- handles of each kind ----

    fn account(&self, caller: Caller, handle: u64, rights: AccountRights) -> Result<AccountId, Error> {
        let (_, found) = self.lookup_kind(caller.domain, Handle(handle), Kind::Account, rights.bits())?;
        AccountId::from_index(found.object as usize).ok_or(Error::StaleHandle)
    }

    fn domain(&self, caller: Caller, handle: u64, rights: DomainRights) -> Result<DomainId, Error> {
        let (_, found) = self.lookup_kind(caller.domain, Handle(handle), Kind::Domain, rights.bits())?;
        DomainId::from_index(found.object as usize).ok_or(Error::StaleHandle)
    }

    fn space(&self, caller: Caller, handle: u64, rights: SpaceRights) -> Result<SpaceId, Error> {
        let (_, found) = self.lookup_kind(caller.domain, Handle(handle), Kind::Space, rights.bits())?;
        SpaceId::from_index(found.object as usize).ok_or(Error::StaleHandle)
    }

    fn thread_cap(&self, caller: Caller, handle: u64, rights: ThreadRights) -> Result<ThreadId, Error> {
        let (_, found) = self.lookup_kind(caller.domain, Handle(handle), Kind::Thread, rights.bits())?;
        let thread = ThreadId::from_index(found.object as usize).ok_or(Error::StaleHandle)?;
        let alive = self.thread(thread).domain.is_some_and(|domain| self.domains.is_live(domain.index()));
        if alive { Ok(thread) } else { Err(Error::StaleHandle) }
    }

    fn interrupt_cap(&self, caller: Caller, handle: u64, rights: InterruptRights) -> Result<InterruptId, Error> {
        let (_, found) = self.lookup_kind(caller.domain, Handle(handle), Kind::Interrupt, rights.bits())?;
        InterruptId::from_index(found.object as usize).ok_or(Error::StaleHandle)
    }

    fn endpoint(&self, caller: Caller, handle: u64, rights: EndpointRights) -> Result<(EndpointId, Capability), Error> {
        let (_, found) = self.lookup_kind(caller.domain, Handle(handle), Kind::Endpoint, rights.bits())?;
        Ok((EndpointId::from_index(found.object as usize).ok_or(Error::StaleHandle)?, found))
    }

    fn optional_notification(
        &self,
        caller: Caller,
        handle: u64,
        rights: NotificationRights,
    ) -> Result<Option<NotificationId>, Error> {
        if handle == 0 {
            return Ok(None);
        }
        let (_, found) = self.lookup_kind(caller.domain, Handle(handle), Kind::Notification, rights.bits())?;
        Ok(Some(NotificationId::from_index(found.object as usize).ok_or(Error::StaleHandle)?))
    }

    /// Checks that the caller can make one more object of a kind and keep a capability for it.
    fn new_object(&self, caller: Caller, account: u64, charge: Charge, has_room: bool) -> Result<AccountId, Error> {
        let account = self.account(caller, account, AccountRights::CREATE)?;
        self.check_charge(account, charge, 1)?;
        if !has_room {
            return Err(Error::KernelTableFull);
        }
        self.free_slot(caller.domain)?;
        Ok(account)
    }

    fn free_slot(&self, domain: DomainId) -> Result<(), Error> {
        if self.has_free_slot(domain) { Ok(()) } else { Err(Error::TableFull) }
    }

    fn writable(&self, world: &impl World, caller: Caller, address: u64, length: u64) -> Result<(), Error> {
        user_range(address, length)?;
        let root = self.root_of(caller.thread);
        if world.is_writable(root, address, length) { Ok(()) } else { Err(Error::BadAddress) }
    }

    // ---- IPC ----

    fn decode_call(&self, world: &impl World, caller: Caller, request: &Request) -> Result<Command, Refusal> {
        let [handle, info, deadline, interface, ..] = request.arguments;
        let (endpoint, capability) = self.endpoint(caller, handle, EndpointRights::CALL)?;
        let entry = *self.endpoints.at(endpoint.index());
        if entry.interface != interface {
            return Err(Error::WrongInterface.into());
        }
        if self.domains.at(caller.domain.index()).level <= entry.level {
            return Err(Error::WrongDirection.into());
        }
        let info = MessageInfo(info);
        let (handles, leases) = self.decode_message(world, caller, info, MAX_LEASES)?;
        if info.caps() > 0 && capability.rights & EndpointRights::GRANT.bits() == 0 {
            return Err(Error::MissingRight.into());
        }
        if deadline <= request.now && self.queue_head(Queue::Receivers(endpoint)).is_none() {
            return Err(late(deadline).into());
        }
        let outgoing = Outgoing { info, handles, leases };
        Ok(Command::Call { endpoint, badge: capability.badge, outgoing, deadline })
    }

    /// Checks the message that a thread sends and reads what its buffer says of capabilities and leases.
    fn decode_message(
        &self,
        world: &impl World,
        caller: Caller,
        info: MessageInfo,
        max_leases: usize,
    ) -> Result<([u64; MAX_CAPS], [Lease; MAX_LEASES]), Error> {
        if !info.is_valid() || info.leases() > max_leases {
            return Err(Error::BadMessage);
        }
        let mut handles = [0; MAX_CAPS];
        let mut leases = [Lease::default(); MAX_LEASES];
        if !info.needs_buffer() {
            return Ok((handles, leases));
        }
        let buffer = self.thread(caller.thread).buffer.ok_or(Error::NoBuffer)?;
        for (index, handle) in handles.iter_mut().enumerate().take(info.caps()) {
            *handle = world.buffer_word(buffer, offset::CAPS_OUT + index * 8);
            self.lookup(caller.domain, Handle(*handle))?;
        }
        for (index, lease) in leases.iter_mut().enumerate().take(info.leases()) {
            let place = offset::LEASES + index * size_of::<Lease>();
            debug_assert!(place + size_of::<Lease>() <= BUFFER_BYTES);
            lease.address = world.buffer_word(buffer, place);
            lease.length_and_access = world.buffer_word(buffer, place + 8);
            user_range(lease.address, lease.length())?;
        }
        Ok((handles, leases))
    }

    fn decode_reception(&self, caller: Caller, handle: u64, accepts: u64, deadline: u64) -> Result<Reception, Error> {
        let endpoint = if handle == 0 { None } else { Some(self.endpoint(caller, handle, EndpointRights::RECEIVE)?.0) };
        // Calls go down to an endpoint's level; they would not if a domain above it served it. The root is above
        // everybody and may serve all the same: it hears of the supervisor's faults.
        let level = self.domains.at(caller.domain.index()).level;
        if level != abi::root::LEVEL
            && endpoint.is_some_and(|endpoint| self.endpoints.at(endpoint.index()).level < level)
        {
            return Err(Error::WrongDirection);
        }
        if accepts > MAX_CAPS as u64 {
            return Err(Error::BadArgument);
        }
        Ok(Reception { endpoint, accepts: accepts as u8, deadline })
    }

    fn decode_answer(&self, world: &impl World, caller: Caller, token: u64, info: u64) -> Result<Answer, Error> {
        let info = MessageInfo(info);
        let (handles, _) = self.decode_message(world, caller, info, 0)?;
        let pending = self.pending_caller(caller.thread, token)?;
        Ok(Answer { caller: pending, info, handles })
    }

    fn decode_notify(&self, caller: Caller, handle: u64, bits: u64) -> Result<Command, Error> {
        let (notification, bits) = self.signal(caller, handle, bits)?;
        Ok(Command::Notify { notification, bits })
    }

    /// A notification and the bits of it that the caller may set.
    fn signal(&self, caller: Caller, handle: u64, bits: u64) -> Result<(NotificationId, u64), Error> {
        let rights = NotificationRights::NOTIFY.bits();
        let (_, found) = self.lookup_kind(caller.domain, Handle(handle), Kind::Notification, rights)?;
        let bits = allowed_bits(&found, bits)?;
        Ok((NotificationId::from_index(found.object as usize).ok_or(Error::StaleHandle)?, bits))
    }

    fn decode_lease_copy(&self, caller: Caller, request: &Request, access: u64) -> Result<Command, Error> {
        let [token, index, from, address, length, _] = request.arguments;
        let lender = self.pending_caller(caller.thread, token)?;
        let lease = self.lease(lender, index)?;
        if lease.length_and_access & access == 0 {
            return Err(Error::BadLease);
        }
        match from.checked_add(length) {
            Some(end) if end <= lease.length() => {}
            _ => return Err(Error::BadLease),
        }
        user_range(address, length)?;
        let length = length.min(MAX_LEASE_COPY);
        let (own_root, lender_root) = (self.root_of(caller.thread), self.root_of(lender));
        let lent = lease.address + from;
        Ok(Command::Copy(if access == Lease::READ {
            LeaseCopy {
                source_root: lender_root,
                source: lent,
                target_root: own_root,
                target: address,
                length,
                lender: CopyFault::Source,
            }
        } else {
            LeaseCopy {
                source_root: own_root,
                source: address,
                target_root: lender_root,
                target: lent,
                length,
                lender: CopyFault::Target,
            }
        }))
    }

    // ---- capabilities ----

    fn decode_copy(
        &self,
        caller: Caller,
        target: DomainId,
        handle: u64,
        rights: u64,
        badge: u64,
    ) -> Result<Command, Error> {
        let (id, original) = self.lookup(caller.domain, Handle(handle))?;
        if !self.is_object_live(&original) {
            return Err(Error::StaleHandle);
        }
        let capability = self.derive(&original, narrow(rights)?, badge)?;
        self.free_slot(target)?;
        Ok(Command::InsertCap { domain: target, capability, parent: Some(id) })
    }

    fn decode_move(&self, caller: Caller, target: u64, handle: u64) -> Result<Command, Error> {
        let target = self.domain(caller, target, DomainRights::GRANT)?;
        let (id, capability) = self.lookup(caller.domain, Handle(handle))?;
        if !self.is_object_live(&capability) {
            return Err(Error::StaleHandle);
        }
        let slot = self.cap(id);
        if slot.first_child.is_some() || slot.first_mapping.is_some() {
            return Err(Error::NotSoleOwner);
        }
        self.free_slot(target)?;
        Ok(Command::MoveCap { id, domain: target })
    }

    fn decode_inspect(&self, caller: Caller, handle: u64, index: u64) -> Result<Command, Error> {
        let target = self.domain(caller, handle, DomainRights::INSPECT)?;
        let owner = self.domains.at(target.index());
        if index >= u64::from(owner.table_length) {
            return Err(Error::BadArgument);
        }
        let place = owner.table_base as usize + index as usize;
        let report = match crate::CapId::from_index(place).map(|id| (id, self.cap(id))) {
            Some((id, slot)) if index != 0 => match slot.capability {
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
    fn refuse_suicide(&self, caller: Caller, capability: &Capability) -> Result<(), Error> {
        let own = match capability.kind {
            Kind::Domain => {
                capability.object as usize == caller.domain.index()
                    && self.domains.references(caller.domain.index()) == 1
            }
            _ => false,
        };
        if own { Err(Error::WrongState) } else { Ok(()) }
    }

    fn decode_destroy(&self, caller: Caller, handle: u64) -> Result<Command, Error> {
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
            Kind::Memory | Kind::Ports | Kind::InterruptControl | Kind::System => return Err(Error::WrongKind),
        };
        if capability.rights & right == 0 {
            return Err(Error::MissingRight);
        }
        if self.is_object_live(&capability) {
            let index = capability.object as usize;
            let in_use = match capability.kind {
                Kind::Account => !self.accounts.at(index).is_unused() || self.accounts.at(index).parent.is_none(),
                Kind::Space => self.spaces.at(index).domains > 0,
                Kind::Budget => self.budgets.at(index).threads > 0,
                Kind::Domain => index == caller.domain.index(),
                Kind::Thread => index == caller.thread.index(),
                _ => false,
            };
            if in_use {
                return Err(Error::WrongState);
            }
        }
        Ok(Command::Destroy(capability))
    }

    // ---- objects ----

    fn decode_account(&self, world: &impl World, caller: Caller, parent: u64, address: u64) -> Result<Command, Error> {
        let parent = self.account(caller, parent, AccountRights::CREATE)?;
        let mut words = [0u64; Charge::COUNT / 2];
        user_range(address, size_of_val(&words) as u64)?;
        let root = self.root_of(caller.thread);
        world.read_user(root, address, &mut words).ok_or(Error::BadAddress)?;
        let mut limits = [0; Charge::COUNT];
        for (pair, word) in limits.chunks_exact_mut(2).zip(words) {
            pair[0] = word as u32;
            pair[1] = (word >> 32) as u32;
        }
        self.check_limits(parent, &limits)?;
        if !self.accounts.has_room() {
            return Err(Error::KernelTableFull);
        }
        self.free_slot(caller.domain)?;
        Ok(Command::CreateAccount { parent, limits })
    }

    fn decode_domain(&self, caller: Caller, request: &Request) -> Result<DomainOrder, Error> {
        let [account, space, level, length, handler, fault_badge] = request.arguments;
        let account = self.new_object(caller, account, Charge::Domains, self.domains.has_room())?;
        let space = self.space(caller, space, SpaceRights::MAP)?;
        let table_length: u16 = narrow(length)?;
        if !table_length.is_power_of_two() || !(BLOCK as u16..=1024).contains(&table_length) {
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
        Ok(DomainOrder {
            account,
            space,
            level: narrow(level)?,
            table_base: (base * BLOCK) as u32,
            table_length,
            fault_handler,
            fault_badge,
        })
    }

    fn decode_interrupt(
        &self,
        world: &impl World,
        caller: Caller,
        control: u64,
        source: u64,
    ) -> Result<Command, Error> {
        let rights = InterruptControlRights::CREATE.bits();
        self.lookup_kind(caller.domain, Handle(control), Kind::InterruptControl, rights)?;
        let source = InterruptSource::from_register(source).ok_or(Error::BadArgument)?;
        if !world.has_interrupt(source) {
            return Err(Error::NoHardware);
        }
        if self.is_claimed(source) {
            return Err(Error::InUse);
        }
        let account = self.domains.at(caller.domain.index()).account.ok_or(Error::QuotaExceeded)?;
        self.check_charge(account, Charge::Interrupts, 1)?;
        if !self.interrupts.has_room() || self.interrupts.next_index() > InterruptId::VECTORS {
            return Err(Error::KernelTableFull);
        }
        self.free_slot(caller.domain)?;
        Ok(Command::CreateInterrupt { account, source })
    }

    // ---- memory ----

    fn decode_split(&self, caller: Caller, handle: u64, first: u64, pages: u64, rights: u64) -> Result<Command, Error> {
        let needed = MemoryRights::SPLIT.bits();
        let (id, memory) = self.lookup_kind(caller.domain, Handle(handle), Kind::Memory, needed)?;
        let part = Extent::from_badge(memory.badge).part(first, pages).ok_or(Error::BadArgument)?;
        let mut capability = self.derive(&memory, narrow(rights)?, 0)?;
        capability.badge = part.to_badge();
        self.free_slot(caller.domain)?;
        Ok(Command::InsertCap { domain: caller.domain, capability, parent: Some(id) })
    }

    fn decode_map(&self, world: &impl World, caller: Caller, request: &Request) -> Result<Command, Refusal> {
        let [space, handle, address, first, pages, access] = request.arguments;
        let space = self.space(caller, space, SpaceRights::MAP)?;
        let access = MapAccess::from_number(access).ok_or(Error::BadArgument)?;
        let mut needed = MemoryRights::READ;
        if access.writes() {
            needed |= MemoryRights::WRITE;
        }
        if access.executes() {
            needed |= MemoryRights::EXECUTE;
        }
        let (memory, found) = self.lookup_kind(caller.domain, Handle(handle), Kind::Memory, needed.bits())?;
        let part = Extent::from_badge(found.badge).part(first, pages).ok_or(Error::BadArgument)?;
        let length = u64::from(part.pages) * PAGE_SIZE;
        if !address.is_multiple_of(PAGE_SIZE) || address < PAGE_SIZE || length > MAP_WINDOW {
            return Err(Error::BadAddress.into());
        }
        user_range(address, length)?;
        if address / MAP_WINDOW != (address + length - 1) / MAP_WINDOW {
            return Err(Error::BadAddress.into());
        }
        let frame = crate::Frame(part.frame);
        self.check_frames(frame, u64::from(part.pages))?;
        let entry = *self.spaces.at(space.index());
        if let Some(account) = entry.account {
            self.check_charge(account, Charge::Mappings, 1)?;
        }
        if !self.mappings.has_room() {
            return Err(Error::KernelTableFull.into());
        }
        let probe = world.probe(entry.root, address, u64::from(part.pages));
        if probe.occupied {
            return Err(Error::AlreadyMapped.into());
        }
        let missing = u32::from(probe.missing_tables);
        if missing > entry.pool_count {
            return Err(Refusal { error: Error::NeedTables, detail: u64::from(missing - entry.pool_count) });
        }
        Ok(Command::Map(MapOrder {
            space,
            memory,
            address,
            frame,
            pages: part.pages as u16,
            access,
            missing_tables: probe.missing_tables,
        }))
    }

    /// Pages that the caller may give to the kernel: RAM that nobody maps or pins.
    fn donation(&self, caller: Caller, handle: u64, first: u64, pages: u64) -> Result<(crate::Frame, u8), Error> {
        let needed = MemoryRights::DONATE.bits();
        let (_, memory) = self.lookup_kind(caller.domain, Handle(handle), Kind::Memory, needed)?;
        let part = Extent::from_badge(memory.badge).part(first, pages).ok_or(Error::BadArgument)?;
        if pages > MAX_DONATION {
            return Err(Error::BadArgument);
        }
        let frame = crate::Frame(part.frame);
        if self.check_frames(frame, pages)? {
            return Err(Error::BadArgument);
        }
        for index in 0..part.pages {
            if !self.frames.is_donatable(frame.offset(index)) {
                return Err(Error::NotSoleOwner);
            }
        }
        Ok((frame, part.pages as u8))
    }

    fn decode_buffer(
        &self,
        caller: Caller,
        thread: u64,
        handle: u64,
        page: u64,
        address: u64,
    ) -> Result<Command, Error> {
        let thread = self.thread_cap(caller, thread, ThreadRights::CONTROL)?;
        let needed = MemoryRights::READ | MemoryRights::WRITE;
        let (memory, found) = self.lookup_kind(caller.domain, Handle(handle), Kind::Memory, needed.bits())?;
        let part = Extent::from_badge(found.badge).part(page, 1).ok_or(Error::BadArgument)?;
        let frame = crate::Frame(part.frame);
        if self.check_frames(frame, 1)? {
            return Err(Error::BadArgument);
        }
        user_range(address, PAGE_SIZE)?;
        if !self.mappings.has_room() {
            return Err(Error::KernelTableFull);
        }
        Ok(Command::GiveBuffer { thread, memory, frame, address })
    }

    // ---- ports ----

    fn decode_ports_split(
        &self,
        caller: Caller,
        handle: u64,
        first: u64,
        count: u64,
        rights: u64,
    ) -> Result<Command, Error> {
        let needed = PortsRights::SPLIT.bits();
        let (id, ports) = self.lookup_kind(caller.domain, Handle(handle), Kind::Ports, needed)?;
        check_ports(&ports, first, count)?;
        let mut capability = self.derive(&ports, narrow(rights)?, 0)?;
        capability.badge = ports_badge(first, count);
        self.free_slot(caller.domain)?;
        Ok(Command::InsertCap { domain: caller.domain, capability, parent: Some(id) })
    }

    fn decode_port(
        &self,
        caller: Caller,
        handle: u64,
        port: u64,
        width: u64,
        rights: PortsRights,
    ) -> Result<(u16, u8), Error> {
        let (_, ports) = self.lookup_kind(caller.domain, Handle(handle), Kind::Ports, rights.bits())?;
        if !matches!(width, 1 | 2 | 4) {
            return Err(Error::BadArgument);
        }
        check_ports(&ports, port, width)?;
        Ok((port as u16, width as u8))
    }
}

/// The badge of a ports capability.
pub(crate) const fn ports_badge(first: u64, count: u64) -> u64 {
    (count << 32) | first
}

fn check_ports(ports: &Capability, first: u64, count: u64) -> Result<(), Error> {
    let (base, length) = (ports.badge & 0xffff_ffff, ports.badge >> 32);
    match first.checked_add(count) {
        Some(end) if count > 0 && first >= base && end <= base + length => Ok(()),
        _ => Err(Error::BadArgument),
    }
}

/// The bits that a notification capability may set, of those asked for.
fn allowed_bits(notification: &Capability, bits: u64) -> Result<u64, Error> {
    let allowed =
        if notification.badge == 0 { Notification::USABLE } else { notification.badge & Notification::USABLE };
    if bits == 0 || bits & !allowed != 0 { Err(Error::BadArgument) } else { Ok(bits) }
}

/// What `CapInfo` shows as the badge: of memory only its length, since where it lies is for those with the right `DMA`.
fn visible_badge(capability: &Capability) -> u64 {
    match capability.kind {
        Kind::Memory => capability.badge >> 32,
        _ => capability.badge,
    }
}
