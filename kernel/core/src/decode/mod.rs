//! Decoding: a system call's registers become a [`Command`], or are refused.
//!
//! Everything here takes `&self`: the compiler proves that a refused call has changed nothing.

mod authority;
mod device;
mod memory;
mod message;

pub(crate) use memory::ports_badge;
pub(crate) use message::allowed_bits;

use crate::budget::Budget;
use crate::capability::{Capability, Extent};
use crate::command::{Command, Refusal, Request};
use crate::identity::{
    AccountId, BudgetId, CpuId, DomainId, EndpointId, InterruptId, NotificationId, SpaceId, ThreadId,
};
use crate::kernel::{Kernel, Tables};
use crate::space::Flavour;
use crate::thread::{Serving, State};
use crate::vcpu::VCPU_PAGES;
use crate::world::World;
use abi::message::Lease;
use abi::rights::{
    AccountRights, BudgetRights, DeviceControlRights, DomainRights, EndpointRights, InterruptRights, Kind,
    MemoryRights, NotificationRights, PortsRights, SpaceRights, SystemRights, ThreadRights,
};
use abi::syscall::{Charge, ENTRY_KINDS, InterruptSource, Registers, Statistics, Syscall};
use abi::{Error, Handle, PAGE_SIZE, USER_END};

/// Bytes of the window within which one map must lie: what one page table covers.
const MAP_WINDOW: u64 = 512 * PAGE_SIZE;
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

/// What follows in this folder decodes the arguments of one family of calls each.
impl<T: Tables> Kernel<T> {
    /// Checks a system call of the running thread. Changes nothing.
    pub fn decode(&self, world: &impl World, request: &Request) -> Result<Command, Refusal> {
        let syscall = Syscall::from_number(request.number).ok_or(Error::UnknownSyscall)?;
        // Another processor may have stopped the thread while this one was on its way in.
        let running = self.current(request.cpu).filter(|thread| self.thread(*thread).state == State::Ready);
        let thread = running.ok_or(Error::WrongState)?;
        let domain = self.thread(thread).domain.ok_or(Error::WrongState)?;
        // A domain that is being taken apart acquires nothing any more.
        if !self.domains.is_live(domain.index()) {
            return Err(Error::StaleHandle.into());
        }
        let caller = Caller { thread, domain };
        let [a, b, c, d, e, _] = request.arguments;
        match syscall {
            Syscall::Call => self.decode_call(world, caller, request),
            Syscall::Receive => Ok(Command::Receive(self.decode_reception(caller, [a, b, c], request.now)?)),
            Syscall::Reply => Ok(Command::Reply(self.decode_answer(world, caller, a, b)?)),
            Syscall::ReplyReceive => {
                let reception = self.decode_reception(caller, [a, e, c], request.now)?;
                let answer = match self.decode_answer(world, caller, d, b) {
                    Ok(answer) => Some(answer),
                    Err(Error::CallerGone) => None,
                    Err(error) => return Err(error.into()),
                };
                Ok(Command::ReplyReceive { answer, reception })
            }
            Syscall::ReplyFault => Ok(Command::ReplyFault { caller: self.pending_caller(thread, a)?, code: b }),
            Syscall::Forward => self.decode_forward(caller, a, b),
            Syscall::Notify => self.decode_notify(caller, a, b),
            Syscall::Wait => Ok(Command::Wait {
                notification: self.optional_notification(caller, a, NotificationRights::WAIT)?,
                deadline: abi::time::moment(b, request.now),
            }),
            Syscall::LeaseRead => self.decode_lease_copy(caller, request, Lease::READ),
            Syscall::LeaseWrite => self.decode_lease_copy(caller, request, Lease::WRITE),
            Syscall::LeaseInfo => {
                // No lease is longer than user space, so the access bits never make this look like an error.
                let lease = self.lease(self.pending_caller(thread, a)?, b)?;
                Ok(Command::Report([lease.length_and_access, 0, 0, 0]))
            }
            Syscall::CapCopy => self.decode_copy(caller, domain, a, b, c),
            Syscall::CapGrant => {
                let target = self.domain(caller, a, DomainRights::GRANT)?;
                self.decode_copy(caller, target, b, c, d)
            }
            Syscall::CapMove => self.decode_move(caller, a, b),
            Syscall::CapDelete => {
                let (id, capability) = self.lookup(domain, Handle(a))?;
                self.refuse_suicide(caller, &capability)?;
                Ok(Command::DeleteCap(id))
            }
            Syscall::CapRevoke => Ok(Command::RevokeCap(self.lookup(domain, Handle(a))?.0)),
            Syscall::CapInfo => {
                let (_, capability) = self.lookup(domain, Handle(a))?;
                Ok(Command::Report([
                    capability.kind as u64,
                    u64::from(capability.rights),
                    visible_badge(&capability),
                    0,
                ]))
            }
            Syscall::CapInspect => self.decode_inspect(caller, a, b),
            Syscall::Destroy => self.decode_destroy(caller, a),
            Syscall::AccountCreate => self.decode_account(world, caller, a, b),
            Syscall::AccountInfo => {
                let account = self.account(caller, a, AccountRights::INSPECT)?;
                self.writable(world, caller, b, Charge::COUNT as u64 * 8)?;
                Ok(Command::ReportAccount { account, address: b })
            }
            Syscall::EndpointCreate => {
                let account = self.new_object(caller, a, Charge::Endpoints, self.endpoints.has_room())?;
                Ok(Command::CreateEndpoint { account, interface: b, level: narrow(c)?, ceiling: narrow(d)? })
            }
            Syscall::EndpointBind => {
                let (endpoint, _) = self.endpoint(caller, a, EndpointRights::RECEIVE)?;
                let doorbell = if b == 0 { None } else { Some(self.signal(caller, b, c)?) };
                Ok(Command::BindEndpoint { endpoint, doorbell })
            }
            Syscall::EndpointWatch => {
                let (endpoint, _) = self.endpoint(caller, a, EndpointRights::RECEIVE)?;
                let watch = if b == 0 { None } else { Some(self.signal(caller, b, c)?) };
                Ok(Command::WatchEndpoint { endpoint, watch })
            }
            Syscall::NotificationCreate => Ok(Command::CreateNotification {
                account: self.new_object(caller, a, Charge::Notifications, self.notifications.has_room())?,
            }),
            Syscall::BudgetCreate => {
                let account = self.new_object(caller, a, Charge::Budgets, self.budgets.has_room())?;
                let valid = Budget::MIN_SLICE..=Budget::MAX_SLICE;
                if !valid.contains(&c) || !valid.contains(&d) || c > d {
                    return Err(Error::BadArgument.into());
                }
                Ok(Command::CreateBudget {
                    account,
                    priority: narrow(b)?,
                    slice: c,
                    period: d,
                    cpu: self.online_cpu(e)?,
                })
            }
            Syscall::BudgetMove => {
                let (_, budget) = self.lookup_kind(domain, Handle(a), Kind::Budget, BudgetRights::MOVE.bits())?;
                let budget = BudgetId::from_index(budget.object as usize).ok_or(Error::StaleHandle)?;
                Ok(Command::MoveBudget { budget, cpu: self.online_cpu(b)? })
            }
            Syscall::SpaceCreate => {
                let account = self.new_object(caller, a, Charge::Spaces, self.spaces.has_room())?;
                let (root, _) = self.donation(caller, b, c, 1)?;
                Ok(Command::CreateSpace { account, root })
            }
            Syscall::DeviceSpaceCreate => self.decode_device_space(world, caller, request),
            Syscall::GuestSpaceCreate => {
                let account = self.new_object(caller, a, Charge::Spaces, self.spaces.has_room())?;
                if !world.has_guests() {
                    return Err(Error::NoHardware.into());
                }
                let (root, _) = self.donation(caller, b, c, 1)?;
                Ok(Command::CreateGuestSpace { account, root })
            }
            Syscall::DomainCreate => Ok(Command::CreateDomain(self.decode_domain(caller, request)?)),
            Syscall::ThreadCreate => {
                let account = self.new_object(caller, a, Charge::Threads, self.threads.has_room())?;
                let target = self.domain(caller, b, DomainRights::SPAWN)?;
                let (_, budget) = self.lookup_kind(domain, Handle(c), Kind::Budget, BudgetRights::BIND.bits())?;
                let budget = BudgetId::from_index(budget.object as usize).ok_or(Error::StaleHandle)?;
                if self.budgets.at(budget.index()).thread.is_some() {
                    return Err(Error::InUse.into());
                }
                Ok(Command::CreateThread { account, domain: target, budget })
            }
            Syscall::InterruptCreate => self.decode_interrupt(world, caller, a, b),
            Syscall::MemorySplit => self.decode_split(caller, a, b, c, d),
            Syscall::MemoryInfo => {
                let (_, memory) = self.lookup_kind(domain, Handle(a), Kind::Memory, 0)?;
                let extent = Extent::from_badge(memory.badge);
                let known = memory.rights & MemoryRights::DMA.bits() != 0;
                let frame = if known { u64::from(extent.frame) } else { 0 };
                let device = self.check_frames(crate::Frame(extent.frame), 1) == Ok(true);
                Ok(Command::Report([frame, u64::from(extent.pages), u64::from(device), 0]))
            }
            Syscall::Map => self.decode_map(world, caller, request),
            Syscall::Unmap => {
                let space = self.space(caller, a, SpaceRights::MAP)?;
                let mapping = self.lookup_mapping(b)?;
                if self.mappings.at(mapping.index()).space != Some(space) {
                    return Err(Error::StaleHandle.into());
                }
                Ok(Command::Unmap(mapping))
            }
            Syscall::SpaceDonate => {
                let space = self.space(caller, a, SpaceRights::MAP)?;
                let (first, count) = self.donation(caller, b, c, d)?;
                Ok(Command::Donate { space, first, count })
            }
            Syscall::ThreadBuffer => self.decode_buffer(caller, a, b, c, d),
            Syscall::ThreadBind => {
                let target = self.thread_cap(caller, a, ThreadRights::CONTROL)?;
                let notification = self.optional_notification(caller, b, NotificationRights::WAIT)?;
                if let Some(id) = notification
                    && self.notifications.at(id.index()).bound.is_some_and(|bound| bound != target)
                {
                    return Err(Error::InUse.into());
                }
                Ok(Command::BindNotification { thread: target, notification })
            }
            Syscall::ThreadStart => {
                let target = self.thread_cap(caller, a, ThreadRights::CONTROL)?;
                if self.thread(target).state != State::Stopped {
                    return Err(Error::WrongState.into());
                }
                user_range(b, 1)?;
                user_range(c, 0)?;
                Ok(Command::StartThread { thread: target, instruction: b, stack: c, argument: d })
            }
            Syscall::ThreadStop => {
                let target = self.thread_cap(caller, a, ThreadRights::CONTROL)?;
                if target == thread {
                    return Err(Error::WrongState.into());
                }
                Ok(Command::StopThread(target))
            }
            Syscall::ThreadRead => {
                let target = self.thread_cap(caller, a, ThreadRights::INSPECT)?;
                // The registers of a thread that runs are in a processor.
                if target == thread || self.current(self.thread(target).place.cpu()) == Some(target) {
                    return Err(Error::WrongState.into());
                }
                self.writable(world, caller, b, size_of::<Registers>() as u64)?;
                Ok(Command::ReadThread { thread: target, address: b })
            }
            Syscall::ThreadLocal => {
                user_range(a, 0)?;
                Ok(Command::SetThreadLocal(a))
            }
            Syscall::ThreadExit => Ok(Command::Exit { code: a }),
            Syscall::ThreadPanic => Ok(Command::Panic { code: a }),
            Syscall::Yield => Ok(Command::Yield),
            Syscall::VcpuCreate => {
                let target = self.thread_cap(caller, a, ThreadRights::CONTROL)?;
                let space = self.space(caller, b, SpaceRights::MAP)?;
                let entry = self.spaces.at(space.index());
                if self.thread(target).state != State::Stopped || entry.flavour != Flavour::Guest {
                    return Err(Error::WrongState.into());
                }
                if self.thread(target).vcpu.is_some() {
                    return Err(Error::InUse.into());
                }
                if entry.pool_count < VCPU_PAGES {
                    let missing = u64::from(VCPU_PAGES - entry.pool_count);
                    return Err(Refusal { error: Error::NeedTables, detail: missing });
                }
                Ok(Command::CreateVcpu { thread: target, space })
            }
            Syscall::VcpuRun => {
                let own = self.thread(thread);
                let can = own.vcpu.is_some() && own.buffer.is_some() && own.serving == Serving::NOBODY;
                if can { Ok(Command::RunVcpu) } else { Err(Error::WrongState.into()) }
            }
            Syscall::InterruptBind => {
                let interrupt = self.interrupt_cap(caller, a, InterruptRights::HANDLE)?;
                let (notification, bits) = self.signal(caller, b, c)?;
                Ok(Command::BindInterrupt { interrupt, notification, bits })
            }
            Syscall::InterruptAck => {
                Ok(Command::AckInterrupt(self.interrupt_cap(caller, a, InterruptRights::HANDLE)?))
            }
            Syscall::InterruptMask => {
                Ok(Command::MaskInterrupt(self.interrupt_cap(caller, a, InterruptRights::HANDLE)?))
            }
            Syscall::InterruptMessage => {
                let interrupt = self.interrupt_cap(caller, a, InterruptRights::MESSAGE)?;
                if self.source_of(interrupt) != InterruptSource::Message {
                    return Err(Error::WrongState.into());
                }
                let (address, data) = world.interrupt_message(interrupt.vector());
                Ok(Command::Report([address, u64::from(data), 0, 0]))
            }
            Syscall::DeviceRoute => self.decode_route(world, caller, a, b, c),
            Syscall::DeviceWatch => {
                self.device_control(caller, a, DeviceControlRights::WATCH)?;
                Ok(Command::WatchDevices(if b == 0 { None } else { Some(self.signal(caller, b, c)?) }))
            }
            Syscall::DeviceStray => {
                self.device_control(caller, a, DeviceControlRights::WATCH)?;
                if self.strays.is_empty() {
                    return Err(Error::WouldBlock.into());
                }
                Ok(Command::TakeStray)
            }
            Syscall::DeviceInfo => {
                self.device_control(caller, a, DeviceControlRights::empty())?;
                let info = world.iommu();
                let remaps = info.is_some_and(|info| info.remaps_interrupts);
                let reports = info.is_some_and(|info| info.reports_refusals);
                Ok(Command::Report([info.map_or(0, |info| info.address_bits.into()), remaps.into(), reports.into(), 0]))
            }
            Syscall::PortsSplit => self.decode_ports_split(caller, a, b, c, d),
            Syscall::PortIn => {
                let (port, width) = self.decode_port(caller, a, b, c, PortsRights::IN)?;
                Ok(Command::PortIn { port, width })
            }
            Syscall::PortOut => {
                let (port, width) = self.decode_port(caller, a, b, c, PortsRights::OUT)?;
                Ok(Command::PortOut { port, width, value: narrow(d)? })
            }
            Syscall::Clock => Ok(Command::Report([request.now.min(MAX_COUNT), 0, 0, 0])),
            Syscall::LogRead => {
                self.lookup_kind(domain, Handle(a), Kind::System, SystemRights::LOG.bits())?;
                let length = c.min(MAX_LOG_READ);
                self.writable(world, caller, b, length)?;
                Ok(Command::ReadLog { address: b, length, position: d })
            }
            Syscall::Statistics => {
                self.lookup_kind(domain, Handle(a), Kind::System, SystemRights::INSPECT.bits())?;
                self.writable(world, caller, b, size_of::<Statistics>() as u64)?;
                Ok(Command::ReadStatistics { address: b })
            }
            Syscall::EntryTimes => {
                self.lookup_kind(domain, Handle(a), Kind::System, SystemRights::INSPECT.bits())?;
                self.writable(world, caller, b, ENTRY_KINDS as u64 * 4)?;
                Ok(Command::ReadTimes { address: b })
            }
        }
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

    /// A processor that runs threads.
    fn online_cpu(&self, number: u64) -> Result<CpuId, Error> {
        self.online().find(|cpu| cpu.index() as u64 == number).ok_or(Error::BadArgument)
    }

    fn free_slot(&self, domain: DomainId) -> Result<(), Error> {
        if self.has_free_slot(domain) { Ok(()) } else { Err(Error::TableFull) }
    }

    fn writable(&self, world: &impl World, caller: Caller, address: u64, length: u64) -> Result<(), Error> {
        user_range(address, length)?;
        let root = self.root_of(caller.thread);
        if world.is_writable(root, address, length) { Ok(()) } else { Err(Error::BadAddress) }
    }
}

/// What `CapInfo` shows as the badge: of memory only its length, since where it lies is for those with the right `DMA`.
fn visible_badge(capability: &Capability) -> u64 {
    match capability.kind {
        Kind::Memory => capability.badge >> 32,
        _ => capability.badge,
    }
}
