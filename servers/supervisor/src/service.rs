//! What people and programs may ask of the supervisor, and the answers: nothing here touches a machine.

use crate::line::Line;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::future::Future;
use core::ops::RangeInclusive;
use interfaces::crash::CrashRecord;
use interfaces::mutation::{self, Mutation};
use interfaces::supervision::{
    CapabilityInfo, Confinement, Crash, DomainInfo, MemoryUse, NAME_MAX, SupervisionError, SupervisionServer, TextPart,
};
use manifest::DomainIndex;
use userlib::ipc::{Caller, ReadLease, WriteLease};
use userlib::time::{Duration, Instant};
use userlib::{executor, log};

/// How much one client can have planned for later.
const PLANNED_MAX: u32 = 32;

/// The domains that a supervisor watches, and the machine they run on.
pub trait Household: Clone + 'static {
    /// How many domains there are, the supervisor included.
    fn domains(&self) -> usize;

    /// The domain with this name. Who asks for one wants something of it: if it waits for its first start, it is started.
    fn named(&self, name: &str) -> Option<DomainIndex>;

    /// What is known of a domain that exists.
    fn describe(&self, index: DomainIndex) -> DomainInfo;

    /// Whether there is an instance of a domain.
    fn is_running(&self, index: DomainIndex) -> bool;

    /// Ends the present instance of a domain.
    fn kill(&self, index: DomainIndex);

    /// Makes the present instance of a domain break by itself, the supervisor's own as well.
    ///
    /// # Errors
    /// `NotRunning` if there is none any more.
    fn crash(&self, index: DomainIndex, how: Crash) -> Result<(), SupervisionError>;

    /// Ends the present instance of a domain, at rest if it comes to rest in time, and builds the next one.
    ///
    /// # Errors
    /// `NotRunning` if its device is absent, `CannotRebuild` if it cannot be built.
    fn restart(&self, index: DomainIndex) -> impl Future<Output = Result<(), SupervisionError>>;

    /// The first capability of a domain at slot `from` or behind it.
    ///
    /// # Errors
    /// `NotRunning`.
    fn capability(&self, index: DomainIndex, from: u16) -> Result<Option<CapabilityInfo>, SupervisionError>;

    /// Whether the manifest lets a domain change the code of others.
    fn may_debug(&self, client: u64) -> bool;

    /// Changes the code of the present instance of a domain.
    ///
    /// # Errors
    /// `NotRunning`, and `BadMutation` if its code is elsewhere.
    fn mutate(&self, index: DomainIndex, list: Vec<Mutation>) -> Result<(), SupervisionError>;

    /// Which of the latest changes were executed, in their order: the how-manieth each was.
    fn mutated(&self, index: DomainIndex) -> Vec<u16>;

    /// Ends the present instance of a domain and builds the next one, as if none had died before.
    ///
    /// # Errors
    /// As [`Household::restart`].
    fn renew(&self, index: DomainIndex) -> Result<(), SupervisionError>;

    /// Whether the manifest gives a domain the whole bus, on which devices come and go.
    fn holds_bus(&self, client: u64) -> bool;

    /// Brings those to rest, and to an end, who drive devices on these buses. Tells whether all are at an end.
    fn release_devices(&self, buses: RangeInclusive<u8>) -> bool;

    /// Ends those whose devices on these buses are gone, and starts those whose devices are back.
    fn look_for_devices(&self, buses: RangeInclusive<u8>);

    /// What is known of a domain's last death.
    fn last_death(&self, index: DomainIndex) -> Option<String>;

    /// The record of the death with this number, or of the first one behind it that is kept.
    fn crash_record(&self, number: u64) -> Option<CrashRecord>;

    /// To what the machine confines devices.
    fn confinement(&self) -> Confinement;

    /// Memory of the whole machine.
    fn memory(&self) -> MemoryUse;

    /// The log, the oldest line first.
    fn log(&self) -> Vec<Line>;

    /// Brings all domains to rest and switches the machine off.
    ///
    /// # Errors
    /// `Unsupported` if the machine offers no way.
    fn shutdown(&self) -> impl Future<Output = Result<(), SupervisionError>>;

    /// Brings all domains to rest and starts the machine again.
    ///
    /// # Errors
    /// `Unsupported` if the machine offers no way.
    fn reboot(&self) -> impl Future<Output = Result<(), SupervisionError>>;
}

/// Answers requests about a household.
pub struct Requests<H> {
    household: H,
    /// How much each client has planned for later, if anything.
    planned: Rc<RefCell<BTreeMap<u64, u32>>>,
}

impl<H: Household> Requests<H> {
    /// Requests are about `household`.
    pub fn new(household: H) -> Self {
        Requests { household, planned: Rc::default() }
    }

    fn find(&self, name: &ReadLease) -> Result<DomainIndex, SupervisionError> {
        let name = name.to_text(NAME_MAX)?;
        self.household.named(&name).ok_or(SupervisionError::NoSuchDomain)
    }

    /// A domain that may be killed or restarted by request: any but the supervisor, which could not carry that out.
    fn find_mortal(&self, name: &ReadLease) -> Result<DomainIndex, SupervisionError> {
        match self.find(name)? {
            DomainIndex::SUPERVISOR => Err(SupervisionError::Protected),
            index => Ok(index),
        }
    }

    /// A domain that `caller` may have changed.
    fn find_changeable(&self, caller: &Caller, name: &ReadLease) -> Result<DomainIndex, SupervisionError> {
        match self.household.may_debug(caller.badge()) {
            true => self.find_mortal(name),
            false => Err(SupervisionError::NotGranted),
        }
    }

    /// The buses that a client means, if it may say something of them.
    fn find_buses(&self, caller: &Caller, first: u8, last: u8) -> Result<RangeInclusive<u8>, SupervisionError> {
        if self.household.holds_bus(caller.badge()) { Ok(first..=last) } else { Err(SupervisionError::NotTheBus) }
    }

    /// Counts one more thing that a client has planned.
    fn plan(&self, client: u64) -> Result<(), SupervisionError> {
        let mut planned = self.planned.borrow_mut();
        let count = planned.entry(client).or_default();
        if *count == PLANNED_MAX {
            return Err(SupervisionError::TooMuchPlanned);
        }
        *count += 1;
        Ok(())
    }

    /// Does something to a running domain for a client, now or after `delay` microseconds.
    fn break_later(
        &self,
        client: u64,
        index: DomainIndex,
        delay: u64,
        act: impl FnOnce(&H, DomainIndex) -> Result<(), SupervisionError> + 'static,
    ) -> Result<(), SupervisionError> {
        let running =
            move |household: &H| household.is_running(index).then_some(()).ok_or(SupervisionError::NotRunning);
        if delay == 0 {
            return running(&self.household).and_then(|()| act(&self.household, index));
        }
        self.plan(client)?;
        let (household, planned) = (self.household.clone(), self.planned.clone());
        executor::spawn(async move {
            executor::sleep(Duration::from_micros(delay)).await;
            let is_last = planned.borrow_mut().get_mut(&client).is_some_and(|count| {
                *count -= 1;
                *count == 0
            });
            if is_last {
                planned.borrow_mut().remove(&client);
            }
            if running(&household).and_then(|()| act(&household, index)).is_err() {
                let name = household.describe(index).name;
                log::warn!("{}: was not running any more when it was to break", name.as_str());
            }
        });
        Ok(())
    }
}

impl<H: Household> SupervisionServer for Requests<H> {
    async fn domain(&self, _: &Caller, index: u32) -> Option<DomainInfo> {
        let index = u16::try_from(index).ok()?;
        (usize::from(index) < self.household.domains()).then(|| self.household.describe(DomainIndex(index)))
    }

    async fn find(&self, _: &Caller, name: ReadLease) -> Result<DomainInfo, SupervisionError> {
        Ok(self.household.describe(Requests::find(self, &name)?))
    }

    async fn kill(&self, caller: &Caller, name: ReadLease, delay: u64) -> Result<(), SupervisionError> {
        let index = self.find_mortal(&name)?;
        self.break_later(caller.badge(), index, delay, |household, index| {
            household.kill(index);
            Ok(())
        })
    }

    async fn restart(&self, _: &Caller, name: ReadLease) -> Result<(), SupervisionError> {
        let index = self.find_mortal(&name)?;
        self.household.restart(index).await
    }

    async fn crash(&self, caller: &Caller, name: ReadLease, how: Crash, delay: u64) -> Result<(), SupervisionError> {
        // Whoever lets the supervisor break wants to see that it comes back: no other way leads there.
        let index = self.find(&name)?;
        self.break_later(caller.badge(), index, delay, move |household, index| household.crash(index, how))
    }

    async fn capability(
        &self,
        _: &Caller,
        name: ReadLease,
        from: u16,
    ) -> Result<Option<CapabilityInfo>, SupervisionError> {
        let index = self.find(&name)?;
        self.household.capability(index, from)
    }

    async fn last_death(&self, _: &Caller, name: ReadLease, output: WriteLease) -> Result<usize, SupervisionError> {
        let index = self.find(&name)?;
        let Some(story) = self.household.last_death(index) else { return Ok(0) };
        let story = format!("{story}\n");
        let count = story.len().min(output.length()?);
        output.write(0, &story.as_bytes()[..count])?;
        Ok(count)
    }

    async fn crash_record(&self, _: &Caller, number: u64, output: WriteLease) -> Result<TextPart, SupervisionError> {
        let Some(record) = self.household.crash_record(number) else {
            return Ok(TextPart { bytes: 0, next: number, more: false });
        };
        let (bytes, room) = (record.encode(), output.length()?);
        output.write(0, &bytes[..bytes.len().min(room)])?;
        Ok(TextPart { bytes: bytes.len(), next: record.number.saturating_add(1), more: bytes.len() > room })
    }

    async fn confinement(&self, _: &Caller) -> Confinement {
        self.household.confinement()
    }

    async fn memory(&self, _: &Caller) -> MemoryUse {
        self.household.memory()
    }

    async fn log(&self, _: &Caller, position: u64, output: WriteLease) -> Result<TextPart, SupervisionError> {
        let room = output.length()?;
        let mut part = TextPart { bytes: 0, next: position, more: false };
        for line in self.household.log().iter().filter(|line| line.time >= position) {
            // A line that is longer than all the room is cut: what one domain has written must not hide what others have.
            let text = if part.bytes == 0 { beginning(&line.text, room) } else { &line.text };
            if part.bytes + text.len() > room {
                part.more = true;
                break;
            }
            output.write(part.bytes, text.as_bytes())?;
            part.bytes += text.len();
            part.next = line.time.saturating_add(1);
        }
        Ok(part)
    }

    async fn mutate(&self, caller: &Caller, name: ReadLease, mutations: ReadLease) -> Result<(), SupervisionError> {
        let index = self.find_changeable(caller, &name)?;
        let bytes = mutations.to_vec(mutation::LIST_MAX)?;
        self.household.mutate(index, mutation::decode(&bytes).ok_or(SupervisionError::BadMutation)?)
    }

    async fn mutated(&self, caller: &Caller, name: ReadLease, orders: WriteLease) -> Result<usize, SupervisionError> {
        let index = self.find_changeable(caller, &name)?;
        let bytes: Vec<u8> = self.household.mutated(index).into_iter().flat_map(u16::to_le_bytes).collect();
        let count = bytes.len().min(orders.length()?);
        orders.write(0, &bytes[..count])?;
        Ok(count)
    }

    async fn renew(&self, caller: &Caller, name: ReadLease) -> Result<(), SupervisionError> {
        let index = self.find_changeable(caller, &name)?;
        self.household.renew(index)
    }

    async fn release_devices(&self, caller: &Caller, first: u8, last: u8) -> Result<bool, SupervisionError> {
        Ok(self.household.release_devices(self.find_buses(caller, first, last)?))
    }

    async fn look_for_devices(&self, caller: &Caller, first: u8, last: u8) -> Result<(), SupervisionError> {
        self.household.look_for_devices(self.find_buses(caller, first, last)?);
        Ok(())
    }

    async fn uptime(&self, _: &Caller) -> u64 {
        Instant::now().nanoseconds()
    }

    async fn shutdown(&self, _: &Caller) -> Result<(), SupervisionError> {
        log::info!("switching off");
        self.household.shutdown().await
    }

    async fn reboot(&self, _: &Caller) -> Result<(), SupervisionError> {
        log::info!("starting again");
        self.household.reboot().await
    }
}

/// As much of a text as fits into `room` bytes, in whole characters.
fn beginning(text: &str, room: usize) -> &str {
    let mut end = room.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
