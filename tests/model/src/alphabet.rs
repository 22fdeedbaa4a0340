//! Every system call with arguments from a small domain: handles that are held, one that is stale, a few values.

use crate::event::Event;
use crate::machine::{DATA, Machine};
use crate::sizes::Tiny;
use abi::device::{SourceId, SourceRange};
use abi::fault::{FAULT_INTERFACE, FaultKind};
use abi::message::{CallerToken, Lease, MessageInfo};
use abi::rights::{Kind, RawRights};
use abi::syscall::{InterruptSource, MapAccess};
use abi::time::{NEVER, NOW};
use abi::{Handle, Syscall};
use kernel_core::{ThreadId, Wait};

/// The interface of every endpoint that is not for faults.
pub const INTERFACE: u64 = 7;
/// A deadline that far ahead, an hour, passes only when the search lets it.
const LATER: u64 = 3_600_000_000_000;
/// Of endpoints and notifications, the rights to call or notify and to mint.
const SOME_RIGHTS: u64 = 0b101;
/// Where new mappings go: beside the pages that a domain has from the start, and where more page tables are needed.
const PLACES: [u64; 2] = [0x40_4000, 0x80_0000];

/// Which part of the alphabet a scenario uses.
#[derive(Clone, Copy, Debug)]
pub struct Alphabet {
    /// System calls.
    pub syscalls: &'static [Syscall],
    /// Which held capabilities appear as arguments.
    pub uses: fn(&Machine<Tiny>, Handle, Kind) -> bool,
    /// Messages with a capability and with a lease too, not only empty ones.
    pub rich_messages: bool,
    /// Faults of the running thread.
    pub faults: &'static [FaultKind],
    /// The IOMMU refuses a device something.
    pub refusals: bool,
    /// Every system call that takes a handle is also made with one that means something else, and with none.
    pub stray: bool,
}

/// The running thread's choices.
struct Choices<'m> {
    machine: &'m Machine<Tiny>,
    thread: ThreadId,
    held: Vec<(Handle, Kind, RawRights, bool)>,
    events: Vec<Event>,
}

impl Choices<'_> {
    fn add(&mut self, syscall: Syscall, arguments: &[u64]) {
        self.events.push(Event::syscall(syscall, arguments));
    }

    /// A system call with a handle of whatever kind comes along, and with a number that is no handle.
    fn go_astray(&mut self, syscall: Syscall) {
        use Syscall as S;
        if matches!(syscall, S::Clock | S::Yield | S::VcpuRun | S::ThreadExit | S::ThreadPanic | S::ThreadLocal)
            || self.held.is_empty()
        {
            return;
        }
        let (handle, ..) = self.held[syscall as usize % self.held.len()];
        self.add(syscall, &[handle.0; 6]);
        self.add(syscall, &[u64::MAX; 6]);
    }

    /// Held handles of a kind.
    fn of(&self, kind: Kind) -> Vec<u64> {
        self.held.iter().filter(|(_, held, ..)| *held == kind).map(|(handle, ..)| handle.0).collect()
    }

    /// The same, and none.
    fn maybe(&self, kind: Kind) -> Vec<u64> {
        let mut handles = self.of(kind);
        handles.push(0);
        handles
    }

    /// All held handles, and one that is stale.
    fn any(&self) -> Vec<u64> {
        let mut handles: Vec<u64> = self.held.iter().map(|(handle, ..)| handle.0).collect();
        handles.extend(self.held.first().map(|(handle, ..)| handle.0 + (1 << 16)));
        handles
    }

    /// Tokens of every thread's latest call, and of calls that have ended: one of its own, and one of a thread that waits
    /// for the answer to its next.
    fn tokens(&self) -> Vec<u64> {
        let kernel = &self.machine.kernel;
        let ended = |call: CallerToken| CallerToken::new(call.thread(), call.number().wrapping_sub(1)).0;
        let waits = kernel.activities().find(|other| matches!(other.wait, Wait::Answer(_)));
        let mut tokens: Vec<u64> = kernel.living_threads().map(|thread| kernel.latest_call(thread).0).collect();
        tokens.push(ended(kernel.latest_call(self.thread)));
        tokens.extend(waits.map(|other| ended(other.call)));
        tokens
    }

    fn deadlines(&self) -> [u64; 3] {
        // Far behind every other one: what passes together, and whose turn ends with it, must not depend on when calls
        // were made.
        let latest = self.machine.kernel.latest_deadline().unwrap_or(0).max(self.machine.now);
        [NOW, latest + LATER, NEVER]
    }

    /// Messages: info, capability, lease.
    fn messages(&self, rich: bool, leases: bool) -> Vec<(u64, u64, Lease)> {
        let mut messages = vec![(MessageInfo::new(0, 1).0, 0, Lease::default())];
        if rich {
            let capability = self.held.iter().find(|(_, kind, ..)| *kind == Kind::Notification);
            if let Some((handle, ..)) = capability {
                messages.push((MessageInfo::new(0, 0).with_caps(1).0, handle.0, Lease::default()));
            }
            if leases {
                let lease = Lease { address: DATA, length_and_access: 8 | Lease::READ };
                messages.push((MessageInfo::new(0, 0).with_leases(1).0, 0, lease));
            }
        }
        messages
    }

    fn send(&mut self, syscall: Syscall, given: &[u64], (info, cap, lease): (u64, u64, Lease)) {
        let mut arguments = [0; 6];
        arguments[..given.len()].copy_from_slice(given);
        arguments[1] = info;
        self.events.push(Event::Syscall { syscall, arguments, cap, lease });
    }

    /// Every choice of arguments for a system call.
    fn choose(&mut self, syscall: Syscall, rich: bool) {
        use Syscall as S;
        match syscall {
            S::Call => {
                for endpoint in self.of(Kind::Endpoint) {
                    for message in self.messages(rich, true) {
                        for deadline in self.deadlines() {
                            self.send(syscall, &[endpoint, 0, deadline, INTERFACE], message);
                        }
                    }
                }
            }
            S::Receive => {
                for endpoint in self.maybe(Kind::Endpoint) {
                    for deadline in self.deadlines() {
                        self.add(syscall, &[endpoint, u64::from(rich), deadline]);
                    }
                }
            }
            S::Reply => {
                for token in self.tokens() {
                    for message in self.messages(rich, false) {
                        self.send(syscall, &[token], message);
                    }
                }
            }
            S::ReplyReceive => {
                for token in self.tokens() {
                    for endpoint in self.maybe(Kind::Endpoint) {
                        let message = self.messages(false, false)[0];
                        self.send(syscall, &[endpoint, 0, NEVER, token, 1], message);
                    }
                }
            }
            S::Forward => {
                for token in self.tokens() {
                    for endpoint in self.of(Kind::Endpoint) {
                        self.add(syscall, &[token, endpoint]);
                    }
                }
            }
            S::ReplyFault | S::LeaseRead | S::LeaseWrite | S::LeaseInfo => {
                for token in self.tokens() {
                    self.add(syscall, &[token, 0, 0, DATA, 8]);
                }
            }
            S::Notify => {
                for notification in self.of(Kind::Notification) {
                    self.add(syscall, &[notification, 1]);
                    if rich {
                        self.add(syscall, &[notification, 2]);
                    }
                }
            }
            S::Wait => {
                for notification in self.maybe(Kind::Notification) {
                    for deadline in self.deadlines() {
                        self.add(syscall, &[notification, deadline]);
                    }
                }
            }
            S::CapCopy => {
                for handle in self.any() {
                    self.add(syscall, &[handle, u64::from(RawRights::MAX), 0]);
                    self.add(syscall, &[handle, SOME_RIGHTS, 1]);
                }
            }
            S::CapGrant => {
                for domain in self.of(Kind::Domain) {
                    for handle in self.any() {
                        self.add(syscall, &[domain, handle, u64::from(RawRights::MAX), 0]);
                        self.add(syscall, &[domain, handle, SOME_RIGHTS, 2]);
                    }
                }
            }
            S::CapMove => {
                for domain in self.of(Kind::Domain) {
                    for handle in self.any() {
                        self.add(syscall, &[domain, handle]);
                    }
                }
            }
            S::CapDelete | S::CapRevoke | S::CapInfo | S::Destroy => {
                for handle in self.any() {
                    self.add(syscall, &[handle]);
                }
            }
            S::CapInspect => {
                for domain in self.of(Kind::Domain) {
                    self.add(syscall, &[domain, 1]);
                }
            }
            _ => self.choose_object(syscall),
        }
    }

    fn choose_object(&mut self, syscall: Syscall) {
        use Syscall as S;
        match syscall {
            S::AccountCreate | S::AccountInfo => {
                for account in self.of(Kind::Account) {
                    self.add(syscall, &[account, DATA]);
                }
            }
            S::EndpointCreate => {
                for account in self.of(Kind::Account) {
                    self.add(syscall, &[account, INTERFACE, 1, 0]);
                    self.add(syscall, &[account, FAULT_INTERFACE, 0, 255]);
                }
            }
            S::EndpointBind | S::EndpointWatch => {
                for endpoint in self.of(Kind::Endpoint) {
                    for notification in self.maybe(Kind::Notification) {
                        self.add(syscall, &[endpoint, notification, 2]);
                    }
                }
            }
            S::NotificationCreate => {
                for account in self.of(Kind::Account) {
                    self.add(syscall, &[account]);
                }
            }
            S::BudgetCreate => {
                for account in self.of(Kind::Account) {
                    let (priority, slice) = (u64::from(abi::root::PRIORITY), crate::machine::SLICE);
                    self.add(syscall, &[account, priority, slice, slice, 0]);
                    self.add(syscall, &[account, priority, slice, 2 * slice, 0]);
                }
            }
            S::BudgetMove => {
                for budget in self.of(Kind::Budget) {
                    for cpu in self.machine.kernel.online() {
                        self.add(syscall, &[budget, cpu.index() as u64]);
                    }
                }
            }
            S::SpaceCreate | S::GuestSpaceCreate => {
                for account in self.of(Kind::Account) {
                    for memory in self.of(Kind::Memory) {
                        self.add(syscall, &[account, memory, 0]);
                    }
                }
            }
            S::DeviceSpaceCreate => {
                let one = SourceRange::one(SourceId(8)).to_register();
                let several = SourceRange::new(SourceId(8), SourceId(15)).expect("one bus").to_register();
                for account in self.of(Kind::Account) {
                    for control in self.of(Kind::DeviceControl) {
                        for memory in self.of(Kind::Memory) {
                            self.add(syscall, &[account, memory, 0, control, one]);
                            self.add(syscall, &[account, memory, 1, control, several]);
                        }
                    }
                }
            }
            S::DomainCreate => {
                for account in self.of(Kind::Account) {
                    for space in self.of(Kind::Space) {
                        for endpoint in self.maybe(Kind::Endpoint) {
                            self.add(syscall, &[account, space, 1, 16, endpoint, 9]);
                        }
                    }
                }
            }
            S::ThreadCreate => {
                for account in self.of(Kind::Account) {
                    for domain in self.of(Kind::Domain) {
                        for budget in self.of(Kind::Budget) {
                            self.add(syscall, &[account, domain, budget]);
                        }
                    }
                }
            }
            S::InterruptCreate => {
                for control in self.of(Kind::InterruptControl) {
                    self.add(syscall, &[control, InterruptSource::Isa(4).to_register()]);
                    self.add(syscall, &[control, InterruptSource::Message.to_register()]);
                }
            }
            S::MemorySplit => {
                for memory in self.of(Kind::Memory) {
                    self.add(syscall, &[memory, 0, 1, u64::from(RawRights::MAX)]);
                    self.add(syscall, &[memory, 0, 2, 1]);
                }
            }
            S::MemoryInfo => {
                for memory in self.of(Kind::Memory) {
                    self.add(syscall, &[memory]);
                }
            }
            S::Map => {
                for space in self.of(Kind::Space) {
                    for memory in self.of(Kind::Memory) {
                        for place in PLACES {
                            self.add(syscall, &[space, memory, place, 0, 1, MapAccess::Read as u64]);
                        }
                        self.add(syscall, &[space, memory, PLACES[0], 0, 2, MapAccess::ReadWrite as u64]);
                        self.add(syscall, &[space, memory, PLACES[0], 0, 1, MapAccess::All as u64]);
                    }
                }
            }
            S::Unmap => {
                for space in self.of(Kind::Space) {
                    let ids: Vec<u64> = self.machine.kernel.mapping_ids().collect();
                    for id in ids {
                        self.add(syscall, &[space, id]);
                    }
                }
            }
            S::SpaceDonate => {
                for space in self.of(Kind::Space) {
                    for memory in self.of(Kind::Memory) {
                        self.add(syscall, &[space, memory, 0, 1]);
                        self.add(syscall, &[space, memory, 1, 1]);
                    }
                }
            }
            S::ThreadBuffer => {
                for thread in self.of(Kind::Thread) {
                    for memory in self.of(Kind::Memory) {
                        self.add(syscall, &[thread, memory, 0, PLACES[0]]);
                    }
                }
            }
            _ => self.choose_thread_or_device(syscall),
        }
    }

    fn choose_thread_or_device(&mut self, syscall: Syscall) {
        use Syscall as S;
        match syscall {
            S::ThreadBind => {
                for thread in self.of(Kind::Thread) {
                    for notification in self.maybe(Kind::Notification) {
                        self.add(syscall, &[thread, notification]);
                    }
                }
            }
            S::VcpuCreate => {
                for thread in self.of(Kind::Thread) {
                    for space in self.of(Kind::Space) {
                        self.add(syscall, &[thread, space]);
                    }
                }
            }
            S::ThreadStart => {
                for thread in self.of(Kind::Thread) {
                    self.add(syscall, &[thread, 0x1000, 0x2000, 0]);
                }
            }
            S::ThreadStop | S::ThreadRead => {
                for thread in self.of(Kind::Thread) {
                    self.add(syscall, &[thread, DATA]);
                }
            }
            S::InterruptBind => {
                for interrupt in self.of(Kind::Interrupt) {
                    for notification in self.of(Kind::Notification) {
                        self.add(syscall, &[interrupt, notification, 4]);
                    }
                }
            }
            S::InterruptAck | S::InterruptMessage | S::InterruptMask => {
                for interrupt in self.of(Kind::Interrupt) {
                    self.add(syscall, &[interrupt]);
                }
            }
            S::DeviceRoute => {
                for control in self.of(Kind::DeviceControl) {
                    for interrupt in self.of(Kind::Interrupt) {
                        self.add(syscall, &[control, interrupt, 8]);
                    }
                }
            }
            S::DeviceWatch => {
                for control in self.of(Kind::DeviceControl) {
                    for notification in self.maybe(Kind::Notification) {
                        self.add(syscall, &[control, notification, 8]);
                    }
                }
            }
            S::DeviceStray | S::DeviceInfo => {
                for control in self.of(Kind::DeviceControl) {
                    self.add(syscall, &[control]);
                }
            }
            S::PortsSplit | S::PortIn | S::PortOut => {
                for ports in self.of(Kind::Ports) {
                    self.add(syscall, &[ports, 0x3f8, 1, 3]);
                }
            }
            S::LogRead | S::Statistics | S::EntryTimes => {
                for system in self.of(Kind::System) {
                    self.add(syscall, &[system, DATA, 8, 0]);
                }
            }
            S::Clock | S::Yield | S::VcpuRun | S::ThreadExit | S::ThreadPanic | S::ThreadLocal => {
                self.add(syscall, &[0])
            }
            other => unreachable!("{other:?} has its arguments elsewhere"),
        }
    }
}

impl Alphabet {
    /// What can happen in a state.
    pub fn events(&self, machine: &Machine<Tiny>) -> Vec<Event> {
        let mut events = Vec::new();
        events.extend(machine.kernel.online().filter(|cpu| *cpu != machine.cpu).map(Event::Processor));
        if machine.kernel.is_kicked(machine.cpu) {
            events.push(Event::Look);
        }
        if machine.kernel.first_deadline(machine.cpu).is_some() {
            events.push(Event::Deadline);
        }
        events.extend(machine.world.connected.keys().map(|interrupt| Event::Interrupt(*interrupt)));
        // A thread that was stopped meanwhile makes no system call that counts.
        let Some(thread) = machine.current().filter(|thread| machine.kernel.is_ready(*thread)) else { return events };
        if machine.kernel.living_threads().filter(|thread| machine.kernel.is_ready(*thread)).nth(1).is_some() {
            events.push(Event::SliceEnd);
        }
        if machine.context(thread).again {
            events.push(Event::Repeat);
            return events;
        }
        if machine.context(thread).in_guest {
            events.push(Event::GuestExit);
            return events;
        }
        if self.refusals {
            events.push(Event::Stray);
        }
        events.extend(self.faults.iter().map(|kind| Event::Fault(*kind)));
        let held =
            machine.kernel.held_by(thread).filter(|(handle, kind, ..)| (self.uses)(machine, *handle, *kind)).collect();
        let mut choices = Choices { machine, thread, held, events };
        for syscall in self.syscalls {
            choices.choose(*syscall, self.rich_messages);
            if self.stray {
                choices.go_astray(*syscall);
            }
        }
        choices.events
    }
}
