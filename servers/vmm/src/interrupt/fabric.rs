//! What connects devices, I/O APIC, PICs and the processors' local APICs.

use super::io_apic::IoApic;
use super::local_apic::{Consequence, LocalApic};
use super::message::{Delivery, Message, Trigger};
use super::pic::PicPair;
use alloc::vec::Vec;

/// What a processor is to take next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pending {
    /// A non-maskable interrupt.
    NonMaskable,
    /// An interrupt with this vector.
    Interrupt(u8),
}

/// What another processor has told a processor about its own running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// To wait for a start-up message, in the state after reset.
    Init,
    /// To start in real mode at this page of 4 KiB, if it waits for that.
    StartUp {
        /// The page's number.
        page: u8,
    },
}

/// What a processor was sent beside interrupts with vectors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Inbox {
    init: bool,
    start_up: Option<u8>,
    non_maskable: bool,
}

/// All interrupt controllers of a machine.
#[derive(Clone, Debug)]
pub struct Fabric {
    locals: Vec<LocalApic>,
    inboxes: Vec<Inbox>,
    io: IoApic,
    pics: PicPair,
    /// Processors that have something new to look at.
    changed: Vec<bool>,
}

impl Fabric {
    /// For so many processors, whose APIC ids count from 0. There is at least one, and at most 254.
    #[must_use]
    pub fn new(processors: u8) -> Self {
        let count = processors.clamp(1, 254);
        Self {
            locals: (0..count).map(LocalApic::new).collect(),
            inboxes: (0..count).map(|_| Inbox::default()).collect(),
            io: IoApic::new(0),
            pics: PicPair::new(),
            changed: (0..count).map(|_| false).collect(),
        }
    }

    /// How many processors there are.
    #[must_use]
    pub fn processors(&self) -> usize {
        self.locals.len()
    }

    /// A processor reads its local APIC. One that does not exist reads 0.
    pub fn read_local(&mut self, processor: usize, offset: u16, now: u64) -> u32 {
        self.locals.get_mut(processor).map_or(0, |local| local.read(offset, now))
    }

    /// A processor writes to its local APIC.
    pub fn write_local(&mut self, processor: usize, offset: u16, value: u32, now: u64) {
        let Some(local) = self.locals.get_mut(processor) else { return };
        let id = local.id();
        match local.write(offset, value, now) {
            Consequence::Nothing => {}
            Consequence::Send(message) => {
                self.send(message, Some(id));
            }
            Consequence::EndOfLevel(vector) => self.io.end_of_interrupt(vector),
        }
        // A state may still hold after its end. And the APIC may have been switched on, which states that nobody took wait for.
        self.tell_states();
        self.changed[processor] = true;
    }

    /// Control register 8 of a processor: 0 to 15.
    #[must_use]
    pub fn task_priority_class(&self, processor: usize) -> u8 {
        self.locals.get(processor).map_or(0, LocalApic::task_priority_class)
    }

    /// A processor writes control register 8.
    pub fn set_task_priority_class(&mut self, processor: usize, class: u8) {
        if let Some(local) = self.locals.get_mut(processor)
            // The register that memory shows has a finer part, which stays.
            && local.task_priority_class() != class & 0x0f
        {
            local.set_task_priority_class(class & 0x0f);
        }
    }

    /// The guest reads the I/O APIC.
    #[must_use]
    pub fn read_io(&self, offset: u16) -> u32 {
        self.io.read(offset)
    }

    /// The guest writes to the I/O APIC.
    pub fn write_io(&mut self, offset: u16, value: u32) {
        self.io.write(offset, value);
        self.tell_states();
    }

    /// The guest reads a port of the PICs, if it is one.
    pub fn read_port(&mut self, port: u16) -> Option<u8> {
        self.pics.read(port)
    }

    /// The guest writes to a port. Returns whether it was one of the PICs'.
    pub fn write_port(&mut self, port: u16, value: u8) -> bool {
        let ours = self.pics.write(port, value);
        self.changed[0] |= ours;
        ours
    }

    /// A device on line 0 to 15 of the old numbering changes its state. The timer, line 0, is at the I/O APIC's pin 2,
    /// as on every PC; all others are at the pin of their number.
    pub fn set_line(&mut self, line: u8, asserted: bool) {
        self.pics.set(line, asserted);
        self.changed[0] = true;
        let pin = if line == 0 { 2 } else { usize::from(line) };
        if line < 16 && line != 2 {
            self.set_pin(pin, asserted);
        }
    }

    /// A device at a pin of the I/O APIC changes its state: 16 to 23, which the PICs do not know.
    pub fn set_pin(&mut self, pin: usize, asserted: bool) {
        if let Some(message) = self.io.set(pin, asserted) {
            self.send(message, None);
        }
        self.tell_states();
    }

    /// A device writes `data` to `address` to interrupt. Returns whether the address is one for that.
    pub fn signal(&mut self, address: u64, data: u32) -> bool {
        let Some(message) = Message::signalled(address, data) else { return false };
        self.send(message, None);
        true
    }

    /// What a processor is to take next if it can take interrupts.
    #[must_use]
    pub fn next_interrupt(&self, processor: usize) -> Option<Pending> {
        let local = self.locals.get(processor)?;
        if self.inboxes[processor].non_maskable {
            return Some(Pending::NonMaskable);
        }
        // Only the first processor is wired to the PICs.
        let wired = processor == 0 && local.listens_to_pics();
        let external = wired.then(|| self.pics.next_interrupt()).flatten();
        external.or_else(|| local.next_interrupt()).map(Pending::Interrupt)
    }

    /// A processor takes what [`Fabric::next_interrupt`] names.
    pub fn accept(&mut self, processor: usize) -> Option<Pending> {
        let pending = self.next_interrupt(processor)?;
        match pending {
            Pending::NonMaskable => self.inboxes[processor].non_maskable = false,
            Pending::Interrupt(vector) => {
                let wired = processor == 0 && self.locals[0].listens_to_pics();
                if !wired || self.pics.accept().is_none() {
                    self.locals[processor].accept(vector);
                }
            }
        }
        Some(pending)
    }

    /// Whether nobody has to know at once when the interrupt ends on which a processor works: it works on one, nothing waits for
    /// its end, and no device does.
    #[must_use]
    pub fn can_end_unseen(&self, processor: usize) -> bool {
        self.locals.get(processor).is_some_and(LocalApic::can_end_unseen)
    }

    /// A processor's work on an interrupt has ended, and its local APIC was not told.
    pub fn end_interrupt(&mut self, processor: usize) {
        let Some(local) = self.locals.get_mut(processor) else { return };
        // The next one by the same vector may be a state by now.
        if let Consequence::EndOfLevel(vector) = local.end_of_interrupt() {
            self.io.end_of_interrupt(vector);
            self.tell_states();
        }
    }

    /// What a processor was told about its running, in the order in which it is to be carried out.
    pub fn take_signal(&mut self, processor: usize) -> Option<Signal> {
        let inbox = self.inboxes.get_mut(processor)?;
        if core::mem::take(&mut inbox.init) {
            return Some(Signal::Init);
        }
        inbox.start_up.take().map(|page| Signal::StartUp { page })
    }

    /// Whether a processor has something to look at since this was last asked: one that runs the guest or sleeps has to
    /// be called out of that.
    pub fn take_changed(&mut self, processor: usize) -> bool {
        self.changed.get_mut(processor).is_some_and(core::mem::take)
    }

    /// When a processor's timer interrupts next, in nanoseconds.
    #[must_use]
    pub fn next_deadline(&self, processor: usize) -> Option<u64> {
        self.locals.get(processor)?.next_deadline()
    }

    /// When a processor's timer is to interrupt by the guest's time-stamp counter; 0 if it is not.
    #[must_use]
    pub fn deadline(&self, processor: usize) -> u64 {
        self.locals.get(processor).map_or(0, LocalApic::deadline)
    }

    /// A processor sets when its timer is to interrupt, by its time-stamp counter, which is `at` in nanoseconds.
    pub fn set_deadline(&mut self, processor: usize, deadline: u64, at: u64) {
        if let Some(local) = self.locals.get_mut(processor) {
            local.set_deadline(deadline, at);
        }
    }

    /// Time has passed for a processor.
    pub fn advance(&mut self, processor: usize, now: u64) {
        if let Some(local) = self.locals.get_mut(processor) {
            self.changed[processor] |= local.advance(now);
        }
    }

    /// Sends a message. Returns whether anybody has taken it.
    fn send(&mut self, message: Message, sender: Option<u8>) -> bool {
        let meant = |local: &LocalApic| local.is_meant(message.destination, sender);
        if message.delivery == Delivery::LowestPriority {
            let candidates = self.locals.iter().enumerate().filter(|(_, local)| meant(local) && local.is_enabled());
            let chosen = candidates.min_by_key(|(_, local)| local.processor_priority()).map(|(index, _)| index);
            return chosen.is_some_and(|index| self.deliver(index, message));
        }
        let mut taken = false;
        for index in 0..self.locals.len() {
            if meant(&self.locals[index]) {
                taken |= self.deliver(index, message);
            }
        }
        taken
    }

    fn deliver(&mut self, index: usize, message: Message) -> bool {
        self.changed[index] = true;
        let inbox = &mut self.inboxes[index];
        match message.delivery {
            Delivery::Fixed | Delivery::LowestPriority => {
                return self.locals[index].deliver(message.vector, message.trigger);
            }
            Delivery::NonMaskable => inbox.non_maskable = true,
            Delivery::Init => {
                // What it was sent before does not survive.
                *inbox = Inbox { init: true, ..Inbox::default() };
                self.locals[index].initialise();
            }
            Delivery::StartUp => inbox.start_up = Some(message.vector),
            // The PICs reach processor 0 by its wire; a pin that is set up to carry them has no lines of its own.
            Delivery::External | Delivery::Unsupported => return false,
        }
        // A state is over as soon as it was told in a way that has no end.
        message.trigger == Trigger::Edge
    }

    /// Sends the messages of all states that hold and that no processor works on.
    fn tell_states(&mut self) {
        let mut from = 0;
        while let Some((pin, message)) = self.io.due(from) {
            if self.send(message, None) {
                self.io.taken(pin);
            }
            from = pin + 1;
        }
    }
}
