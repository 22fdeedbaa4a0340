//! Performing: carries a decoded system call out in the tables. Nothing here can fail.

use crate::budget::Budget;
use crate::capability::{BLOCK, Capability};
use crate::command::{Command, DomainOrder, Refusal};
use crate::domain::{Domain, Interrupt, Notification};
use crate::effect::{Effect, FaultReport, Resume};
use crate::endpoint::Endpoint;
use crate::frame::Frame;
use crate::identity::{
    AccountId, BudgetId, CpuId, DomainId, EndpointId, InterruptId, NotificationId, SpaceId, ThreadId,
};
use crate::interrupt::line_bit;
use crate::ipc::value;
use crate::kernel::{Kernel, Tables};
use crate::queue::Queue;
use crate::space::Space;
use crate::table::{Reference, Vacant, count, short};
use crate::thread::{State, TableSpan, Thread};
use abi::fault::FaultKind;
use abi::message::CallerToken;
use abi::rights::{
    AccountRights, BudgetRights, DomainRights, EndpointRights, InterruptRights, Kind, NotificationRights, SpaceRights,
    ThreadRights,
};
use abi::syscall::{Charge, InterruptSource, Statistics};

impl<T: Tables> Kernel<T> {
    /// The running thread's system call was refused. If nothing else is to be done it goes on at once with the error, which
    /// is returned; its time is charged at its next entry. Otherwise it finds the error when it goes on.
    pub fn refuse(&mut self, cpu: CpuId, refusal: Refusal, now: u64) -> Option<[u64; 4]> {
        if seeded!(RefusalCounted)
            && let Some(thread) = self.current(cpu)
        {
            self.number_call(thread);
        }
        if self.goes_on(cpu) {
            return Some(refusal.result());
        }
        self.enter(cpu, now);
        if let Some(thread) = self.running() {
            self.thread_mut(thread).resume = Resume::Result(refusal.result());
        }
        None
    }

    /// Carries out what [`Kernel::decode`] has found to be possible for the same processor, with nothing in between.
    pub fn perform(&mut self, cpu: CpuId, command: &Command, now: u64) -> Effect {
        self.enter(cpu, now);
        let Some(thread) = self.running() else { return Effect::None };
        let effect = self.carry_out(thread, command);
        if self.thread(thread).shootdown.is_some()
            && self.threads.is_live(thread.index())
            && self.thread(thread).state == State::Ready
            && self.thread(thread).resume != Resume::Again
        {
            self.await_shootdown(thread);
        }
        effect
    }

    /// Carries out a command of the running thread.
    fn carry_out(&mut self, thread: ThreadId, command: &Command) -> Effect {
        let now = self.now;
        // Most calls succeed with 0; the others overwrite this.
        self.thread_mut(thread).resume = value(0);
        match *command {
            Command::Call { endpoint, badge, outgoing, deadline } => {
                return self.call(thread, endpoint, badge, outgoing, deadline);
            }
            Command::Receive(reception) => return Effect::Deliver([self.receive(thread, reception, now), None]),
            Command::Reply(answer) => {
                return Effect::Deliver([self.reply(thread, answer.caller, answer.info, answer.handles), None]);
            }
            Command::ReplyReceive { answer, reception } => {
                let reply = answer.and_then(|answer| self.reply(thread, answer.caller, answer.info, answer.handles));
                return Effect::Deliver([reply, self.receive(thread, reception, now)]);
            }
            Command::ReplyFault { caller, code } => return self.reply_fault(caller, code),
            Command::Forward { caller, endpoint, badge } => return self.forward(caller, endpoint, badge),
            Command::Notify { notification, bits } => self.notify(notification, bits),
            Command::Wait { notification, deadline } => self.wait(thread, notification, deadline, now),
            Command::Copy(copy) => return Effect::Copy(copy),
            Command::Report(registers) => self.thread_mut(thread).resume = Resume::Result(registers),
            Command::InsertCap { domain, capability, parent } => {
                let handle = self.insert_cap(domain, capability, parent);
                self.thread_mut(thread).resume = value(handle.0);
            }
            Command::MoveCap { id, domain } => {
                let handle = self.move_cap(id, domain);
                self.thread_mut(thread).resume = value(handle.0);
            }
            Command::DeleteCap(id) => return self.delete_piece(thread, id),
            Command::RevokeCap(id) => return self.revoke_piece(thread, id),
            Command::Destroy(capability) => return self.destroy_piece(thread, capability),
            Command::CreateAccount { parent, limits } => {
                let made = self.create_account(parent, limits);
                self.give_new(thread, Kind::Account, AccountRights::all().bits(), made);
            }
            Command::ReportAccount { account, address } => return self.report_account(thread, account, address),
            Command::CreateEndpoint { account, interface, level, ceiling } => {
                self.charge(account, Charge::Endpoints, 1);
                let made = self.endpoints.insert(Endpoint {
                    account: Some(account),
                    interface,
                    level,
                    ceiling,
                    ..Endpoint::EMPTY
                });
                if let Some(id) = EndpointId::from_index(made.0) {
                    self.stand(id);
                }
                self.give_new(thread, Kind::Endpoint, EndpointRights::all().bits(), made);
            }
            Command::CreateNotification { account } => {
                self.charge(account, Charge::Notifications, 1);
                let made = self.notifications.insert(Notification { account: Some(account), ..Notification::EMPTY });
                if let Some(id) = NotificationId::from_index(made.0) {
                    self.stand_for(id);
                }
                self.give_new(thread, Kind::Notification, NotificationRights::all().bits(), made);
            }
            Command::CreateBudget { account, priority, slice, period, cpu } => {
                let made = self.create_budget(account, priority, slice, period, cpu);
                self.give_new(thread, Kind::Budget, BudgetRights::all().bits(), made);
            }
            Command::MoveBudget { budget, cpu } => self.move_budget(budget, cpu),
            Command::CreateSpace { root, .. }
            | Command::CreateDeviceSpace { root, .. }
            | Command::CreateGuestSpace { root, .. }
                if self.is_quarantined(root) =>
            {
                self.repeat(thread);
            }
            Command::CreateSpace { account, root } => {
                let made = self.create_space(account, root);
                self.give_new(thread, Kind::Space, SpaceRights::all().bits(), made);
                return Effect::MakeRoot(root);
            }
            Command::CreateDeviceSpace { account, root, sources } => {
                let (made, effect) = self.create_device_space(account, root, sources);
                self.give_new(thread, Kind::Space, SpaceRights::all().bits(), made);
                return effect;
            }
            Command::CreateGuestSpace { account, root } => {
                let (made, effect) = self.create_guest_space(account, root);
                self.give_new(thread, Kind::Space, SpaceRights::all().bits(), made);
                return effect;
            }
            Command::CreateVcpu { thread, space } => return self.create_vcpu(thread, space),
            Command::RunVcpu => self.run_vcpu(thread),
            Command::CreateDomain(order) => {
                let made = self.create_domain(order);
                self.give_new(thread, Kind::Domain, DomainRights::all().bits(), made);
            }
            Command::CreateThread { account, domain, budget } => {
                let made = self.create_thread(account, domain, budget);
                self.give_new(thread, Kind::Thread, ThreadRights::all().bits(), made);
            }
            Command::CreateInterrupt { account, source } => return self.create_interrupt(thread, account, source),
            Command::Map(ref order) => {
                let (id, tables) = self.map(order);
                self.thread_mut(thread).resume = value(id);
                return self.map_effect(order, tables);
            }
            Command::Unmap(mapping) => return self.remove_mapping(mapping),
            Command::Donate { first, count, .. }
                if (0..u32::from(count)).any(|index| self.is_quarantined(first.offset(index))) =>
            {
                self.repeat(thread);
            }
            Command::Donate { space, first, count } => self.donate_tables(space, first, count),
            Command::GiveBuffer { thread, memory, frame, address } => {
                self.give_buffer(thread, memory, frame, address);
            }
            Command::BindNotification { thread, notification } => {
                self.bind_notification(thread, notification);
                // Bits that are set already must not wait beside a thread that waits for them.
                if let Some(id) = notification {
                    self.notify(id, 0);
                }
            }
            // It was stopped while it ran on another processor, and is there still.
            Command::StartThread { thread: started, .. } if self.runs_elsewhere(started).is_some() => {
                self.repeat(thread);
            }
            Command::StartThread { thread: started, instruction, stack, argument } => {
                self.wake(started, Resume::Continue);
                return Effect::StartThread { thread: started, instruction, stack, argument };
            }
            Command::StopThread(stopped) => {
                self.withdraw(stopped);
                if self.runs_elsewhere(stopped).is_some() {
                    self.repeat(thread);
                }
            }
            Command::ReadThread { thread: read, address } => {
                let runtime = self.thread(read).runtime;
                return Effect::WriteRegisters { thread: read, runtime, root: self.root_of(thread), address };
            }
            Command::SetThreadLocal(address) => return Effect::SetThreadLocal(address),
            Command::Exit { code } => {
                return self.raise_fault(thread, FaultReport { kind: FaultKind::Exit, address: 0, code });
            }
            Command::Panic { code } => {
                return self.raise_fault(thread, FaultReport { kind: FaultKind::Panic, address: 0, code });
            }
            Command::Yield => {
                self.end_loan(thread);
                self.give_way(thread);
            }
            Command::BindEndpoint { endpoint, doorbell } => {
                let doorbell = doorbell.map(|(id, bits)| (self.notification_reference(id), bits));
                let waiting = self.queue_head(Queue::Callers(endpoint)).is_some();
                let entry = self.endpoints.at_mut(endpoint.index());
                entry.doorbell = doorbell.map(|(notification, _)| notification);
                entry.doorbell_bits = doorbell.map_or(0, |(_, bits)| bits);
                // Whoever waits already must not be forgotten.
                if let Some((notification, bits)) = doorbell
                    && waiting
                {
                    self.notify(notification.id, bits);
                }
            }
            Command::WatchEndpoint { endpoint, watch } => {
                let watch = watch.map(|(id, bits)| (self.notification_reference(id), bits));
                let entry = self.endpoints.at_mut(endpoint.index());
                entry.watch = watch.map(|(notification, _)| notification);
                entry.watch_bits = watch.map_or(0, |(_, bits)| bits);
            }
            Command::BindInterrupt { interrupt, notification, bits } => {
                let notification = self.notification_reference(notification);
                let entry = self.interrupts.at_mut(interrupt.index());
                entry.notification = Some(notification);
                entry.bits = bits;
            }
            Command::Route { interrupt, source } => return self.route(interrupt, source),
            Command::WatchDevices(watch) => self.watch_devices(watch),
            Command::TakeStray => return self.take_stray(thread),
            Command::AckInterrupt(interrupt) => {
                self.interrupts.at_mut(interrupt.index()).unmasked = true;
                return Effect::UnmaskInterrupt { interrupt, source: self.source_of(interrupt) };
            }
            Command::MaskInterrupt(interrupt) => {
                self.interrupts.at_mut(interrupt.index()).unmasked = false;
                return Effect::MaskInterrupt { interrupt, source: self.source_of(interrupt) };
            }
            Command::PortIn { port, width } => return Effect::PortIn { port, width },
            Command::PortOut { port, width, value } => return Effect::PortOut { port, width, value },
            Command::ReadLog { address, length, position } => {
                return Effect::ReadLog { root: self.root_of(thread), address, length, position };
            }
            Command::ReadStatistics { address } => {
                let statistics = self.statistics();
                return Effect::WriteStatistics { root: self.root_of(thread), address, statistics };
            }
            Command::ReadTimes { address } => return Effect::WriteTimes { root: self.root_of(thread), address },
        }
        Effect::None
    }

    /// A notification as something that may be gone when it is used.
    pub(crate) fn notification_reference(&self, id: NotificationId) -> Reference<NotificationId> {
        Reference { id, generation: self.notifications.generation(id.index()) }
    }

    /// Puts the first capability for a new object into the table of the thread that made it.
    fn give_new(&mut self, thread: ThreadId, kind: Kind, rights: u16, (object, generation): (usize, u32)) {
        let Some(domain) = self.thread(thread).domain else { return };
        let capability = Capability { kind, rights, object: short(object), generation, badge: 0 };
        let handle = self.insert_cap(domain, capability, None);
        self.thread_mut(thread).resume = value(handle.0);
    }

    /// Lets a thread execute its system call again: something is in the way that passes by itself.
    pub(crate) fn repeat(&mut self, thread: ThreadId) {
        self.thread_mut(thread).resume = Resume::Again;
    }

    pub(crate) fn create_budget(
        &mut self,
        account: AccountId,
        priority: u8,
        slice: u64,
        period: u64,
        cpu: CpuId,
    ) -> (usize, u32) {
        self.charge(account, Charge::Budgets, 1);
        self.budgets.insert(Budget::new(account, priority, slice, period, cpu))
    }

    pub(crate) fn create_space(&mut self, account: AccountId, root: Frame) -> (usize, u32) {
        self.charge(account, Charge::Spaces, 1);
        let owner = short(self.spaces.next_index());
        self.frames.donate(root, owner, 0);
        self.spaces.insert(Space { account: Some(account), root, ..Space::EMPTY })
    }

    /// One domain or virtual processor more runs in a space.
    pub(crate) fn enter_space(&mut self, space: SpaceId) {
        self.spaces.retain(space.index());
        self.spaces.at_mut(space.index()).domains += 1;
    }

    /// One less runs in it.
    pub(crate) fn leave_space(&mut self, space: SpaceId) {
        self.spaces.at_mut(space.index()).domains -= 1;
        if self.spaces.release(space.index()) == 0 {
            self.spaces.condemn(space.index());
        }
    }

    pub(crate) fn create_domain(&mut self, order: DomainOrder) -> (usize, u32) {
        let length = order.table_length as usize;
        self.charge(order.account, Charge::Domains, 1);
        self.charge(order.account, Charge::CapSlots, count(length));
        self.blocks.set(order.table_base as usize / BLOCK, length / BLOCK, true);
        self.enter_space(order.space);
        let fault_handler =
            order.fault_handler.map(|id| Reference { id, generation: self.endpoints.generation(id.index()) });
        self.domains.insert(Domain {
            account: Some(order.account),
            space: Some(order.space),
            table_base: order.table_base,
            table_length: order.table_length,
            fresh_slot: 1,
            level: order.level,
            fault_handler,
            fault_badge: order.fault_badge,
            ..Domain::EMPTY
        })
    }

    pub(crate) fn create_thread(&mut self, account: AccountId, domain: DomainId, budget: BudgetId) -> (usize, u32) {
        self.charge(account, Charge::Threads, 1);
        self.budgets.retain(budget.index());
        let rest = self.place_on(Some(budget), true);
        // A late answer to a call of the slot's last thread must not meet this one's.
        let slot = self.threads.next_index();
        let call = CallerToken::new(short(slot), self.threads.at(slot).call.number());
        let owner = self.domains.at(domain.index());
        let next_in_domain = owner.first_thread;
        let made = self.threads.insert(Thread {
            account: Some(account),
            domain: Some(domain),
            rest,
            place: rest,
            priority: rest.base(),
            table: TableSpan { base: owner.table_base, length: owner.table_length.into() },
            takes: State::Replying(domain),
            call,
            next_in_domain,
            ..Thread::EMPTY
        });
        if let Some(thread) = ThreadId::from_index(made.0) {
            if let Some(next) = next_in_domain {
                self.thread_mut(next).previous_in_domain = Some(thread);
            }
            self.domains.at_mut(domain.index()).first_thread = Some(thread);
            self.budgets.at_mut(budget.index()).thread = Some(thread);
        }
        made
    }

    fn create_interrupt(&mut self, thread: ThreadId, account: AccountId, source: InterruptSource) -> Effect {
        self.charge(account, Charge::Interrupts, 1);
        self.lines |= line_bit(source);
        let made = self.interrupts.insert(Interrupt {
            account: Some(account),
            #[expect(clippy::cast_possible_truncation, reason = "sources are numbers below 0x101")]
            source: source.to_register() as u16,
            ..Interrupt::EMPTY
        });
        self.give_new(thread, Kind::Interrupt, InterruptRights::all().bits(), made);
        match InterruptId::from_index(made.0) {
            Some(interrupt) => Effect::ConnectInterrupt { interrupt, source },
            None => Effect::None,
        }
    }

    fn report_account(&mut self, thread: ThreadId, account: AccountId, address: u64) -> Effect {
        let entry = self.accounts.at(account.index());
        let mut words = [0; 16];
        for ((word, limit), used) in words.iter_mut().zip(entry.limits).zip(entry.used) {
            *word = u64::from(limit) | (u64::from(used) << 32);
        }
        #[expect(clippy::cast_possible_truncation, reason = "there are ten kinds of charge")]
        let count = Charge::COUNT as u8;
        Effect::WriteWords { root: self.root_of(thread), address, count, words }
    }

    fn statistics(&self) -> Statistics {
        Statistics {
            frames: self.frames.total,
            kernel_frames: self.frames.kernel,
            mapped_frames: self.frames.mapped,
            objects: self.objects,
            ..Statistics::default()
        }
    }

    // ---- what the shell found out while it carried an effect out ----

    /// The value of an [`Effect::PortIn`].
    pub fn port_read(&mut self, read: u32) {
        if let Some(thread) = self.running() {
            self.thread_mut(thread).resume = value(u64::from(read));
        }
    }

    /// What an [`Effect::ReadLog`] has copied, and where the stream goes on.
    pub fn log_read(&mut self, bytes: u64, next: u64) {
        if let Some(thread) = self.running() {
            self.thread_mut(thread).resume = Resume::Result([bytes, next, 0, 0]);
        }
    }
}
