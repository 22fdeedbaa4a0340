//! The reference model of authority: who may do what, and how authority comes and goes.
//!
//! Written from what `abi` documents, with sets of capabilities and windows and nothing else: no tables, no slots, no
//! lists. Authority never grows but by the rules below.

use crate::view::{Call, Step, View};
use abi::message::CallerToken;
use abi::rights::{
    AccountRights, BudgetRights, DeviceControlRights, DomainRights, EndpointRights, InterruptControlRights,
    InterruptRights, Kind, MemoryRights, NotificationRights, PortsRights, RawRights, SpaceRights, SystemRights,
    ThreadRights,
};
use abi::syscall::MapAccess;
use abi::{PAGE_SIZE, Syscall};
use kernel_core::{CapName, DomainId, EndpointId, Holding, SpaceId, Wait, Window};

/// What a step has done to authority.
struct Change<'s> {
    gained: Vec<&'s Holding>,
    lost: Vec<&'s Holding>,
    /// Capabilities with another parent, before and after.
    moved_up: Vec<(&'s Holding, &'s Holding)>,
    /// Capabilities whose object has died.
    died: Vec<&'s Holding>,
    opened: Vec<&'s Window>,
    closed: Vec<&'s Window>,
    /// Windows that come from another capability, before and after.
    handed_up: Vec<(&'s Window, &'s Window)>,
}

impl<'s> Change<'s> {
    fn of(step: &'s Step) -> Result<Self, String> {
        let (before, after) = (step.seen, &step.seen_after);
        let (mut moved_up, mut died, mut lost) = (Vec::new(), Vec::new(), Vec::new());
        for old in &before.holdings {
            let Some(new) = after.named(old.name) else {
                lost.push(old);
                continue;
            };
            if (Holding { lives: old.lives, parent: old.parent, ..*new }) != *old || (new.lives && !old.lives) {
                return Err(format!("{old:x?} has become {new:x?}"));
            }
            if new.parent != old.parent {
                moved_up.push((old, new));
            }
            if !new.lives && old.lives {
                died.push(old);
            }
        }
        let gained = after.holdings.iter().filter(|new| before.named(new.name).is_none()).collect();
        let (mut closed, mut handed_up) = (Vec::new(), Vec::new());
        for old in &before.windows {
            match after.windows.iter().find(|new| new.id == old.id) {
                None => closed.push(old),
                Some(new) if new == old => {}
                Some(new) if (Window { from: old.from, ..*new }) == *old => handed_up.push((old, new)),
                Some(new) => return Err(format!("{old:x?} has become {new:x?}")),
            }
        }
        let known = |new: &&Window| before.windows.iter().all(|old| old.id != new.id);
        let opened = after.windows.iter().filter(known).collect();
        Ok(Change { gained, lost, moved_up, died, opened, closed, handed_up })
    }

    /// Whether no window and no relation has changed, and nothing died.
    fn only_gained(&self, count: usize) -> bool {
        self.gained.len() == count && self.lost.is_empty() && self.is_still()
    }

    fn is_still(&self) -> bool {
        self.moved_up.is_empty() && self.died.is_empty() && self.windows_are_still()
    }

    fn windows_are_still(&self) -> bool {
        self.opened.is_empty() && self.closed.is_empty() && self.handed_up.is_empty()
    }

    fn capabilities_are_still(&self) -> bool {
        self.gained.is_empty() && self.lost.is_empty() && self.moved_up.is_empty() && self.died.is_empty()
    }
}

fn expect(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

/// Compares what a step has done with what it may do.
pub(crate) fn check(step: &Step) -> Result<(), String> {
    let change = Change::of(step)?;
    let Some((call, domain)) = step.call.zip(step.domain()) else {
        // Time, devices and faults give and take nothing.
        return expect(change.only_gained(0), || "authority has changed by itself".into());
    };
    has_the_rights(step, &call, domain)?;
    use Syscall as S;
    match call.syscall {
        S::CapDelete | S::CapRevoke | S::Destroy => teardown(step, &call, domain, &change),
        S::CapMove => moved(step, &call, domain, &change),
        S::Map | S::Unmap | S::ThreadBuffer => windows(step, &call, domain, &change),
        S::Call | S::Receive | S::Reply | S::ReplyReceive => passed(step, &call, domain, &change),
        _ => match gain(step, &call, domain)? {
            None => expect(change.only_gained(0), || format!("{:?} has changed authority", call.syscall)),
            Some(wanted) => {
                expect(change.only_gained(1), || format!("{:?} has not given just one capability", call.syscall))?;
                matches(step, change.gained[0], &wanted)
            }
        },
    }
}

/// Which capability, with which rights, each argument of a system call must name. Handle 0 is none where that is allowed.
fn needs(call: &Call, for_device: bool) -> Vec<(usize, Kind, RawRights)> {
    use Syscall as S;
    let create = (0, Kind::Account, AccountRights::CREATE.bits());
    let control = (0, Kind::Thread, ThreadRights::CONTROL.bits());
    let in_space = (0, Kind::Space, SpaceRights::MAP.bits());
    let handle = (0, Kind::Interrupt, InterruptRights::HANDLE.bits());
    let receive = (0, Kind::Endpoint, EndpointRights::RECEIVE.bits());
    let devices = |argument, rights: DeviceControlRights| (argument, Kind::DeviceControl, rights.bits());
    let optional = |need: (usize, Kind, RawRights)| (call.arguments[need.0] != 0).then_some(need);
    match call.syscall {
        S::Call => {
            let with_caps = abi::message::MessageInfo(call.arguments[1]).caps() > 0;
            let grant = if with_caps { EndpointRights::GRANT } else { EndpointRights::empty() };
            vec![(0, Kind::Endpoint, (EndpointRights::CALL | grant).bits())]
        }
        S::Receive | S::ReplyReceive => optional(receive).into_iter().collect(),
        S::Notify => vec![(0, Kind::Notification, NotificationRights::NOTIFY.bits())],
        S::Wait => optional((0, Kind::Notification, NotificationRights::WAIT.bits())).into_iter().collect(),
        S::CapGrant | S::CapMove => vec![(0, Kind::Domain, DomainRights::GRANT.bits())],
        S::CapInspect => vec![(0, Kind::Domain, DomainRights::INSPECT.bits())],
        S::AccountCreate | S::EndpointCreate | S::NotificationCreate | S::BudgetCreate => vec![create],
        S::Forward => vec![(1, Kind::Endpoint, EndpointRights::CALL.bits())],
        S::BudgetMove => vec![(0, Kind::Budget, BudgetRights::MOVE.bits())],
        S::AccountInfo => vec![(0, Kind::Account, AccountRights::INSPECT.bits())],
        S::SpaceCreate | S::GuestSpaceCreate => vec![create, (1, Kind::Memory, MemoryRights::DONATE.bits())],
        S::DeviceSpaceCreate => {
            vec![create, (1, Kind::Memory, MemoryRights::DONATE.bits()), devices(3, DeviceControlRights::CREATE)]
        }
        S::DeviceRoute => {
            vec![devices(0, DeviceControlRights::CREATE), (1, Kind::Interrupt, InterruptRights::MESSAGE.bits())]
        }
        S::DeviceWatch => [devices(0, DeviceControlRights::WATCH)]
            .into_iter()
            .chain(optional((1, Kind::Notification, NotificationRights::NOTIFY.bits())))
            .collect(),
        S::DeviceStray => vec![devices(0, DeviceControlRights::WATCH)],
        S::DeviceInfo => vec![devices(0, DeviceControlRights::empty())],
        S::DomainCreate => [create, (1, Kind::Space, SpaceRights::MAP.bits())]
            .into_iter()
            .chain(optional((4, Kind::Endpoint, EndpointRights::FAULT.bits())))
            .collect(),
        S::ThreadCreate => {
            vec![create, (1, Kind::Domain, DomainRights::SPAWN.bits()), (2, Kind::Budget, BudgetRights::BIND.bits())]
        }
        S::InterruptCreate => vec![(0, Kind::InterruptControl, InterruptControlRights::CREATE.bits())],
        S::EndpointBind | S::EndpointWatch => {
            [receive].into_iter().chain(optional((1, Kind::Notification, NotificationRights::NOTIFY.bits()))).collect()
        }
        S::MemorySplit => vec![(0, Kind::Memory, MemoryRights::SPLIT.bits())],
        S::MemoryInfo => vec![(0, Kind::Memory, 0)],
        S::Map => {
            let access = MapAccess::from_number(call.arguments[5]);
            let mut rights = MemoryRights::READ;
            rights.set(MemoryRights::WRITE, access.is_none_or(MapAccess::writes));
            rights.set(MemoryRights::EXECUTE, access.is_none_or(MapAccess::executes));
            rights.set(MemoryRights::DMA, for_device);
            vec![in_space, (1, Kind::Memory, rights.bits())]
        }
        S::Unmap => vec![in_space],
        S::SpaceDonate => vec![in_space, (1, Kind::Memory, MemoryRights::DONATE.bits())],
        S::ThreadBuffer => vec![control, (1, Kind::Memory, (MemoryRights::READ | MemoryRights::WRITE).bits())],
        S::ThreadBind => {
            [control].into_iter().chain(optional((1, Kind::Notification, NotificationRights::WAIT.bits()))).collect()
        }
        S::VcpuCreate => vec![control, (1, Kind::Space, SpaceRights::MAP.bits())],
        S::ThreadStart | S::ThreadStop => vec![control],
        S::ThreadRead => vec![(0, Kind::Thread, ThreadRights::INSPECT.bits())],
        S::InterruptBind => vec![handle, (1, Kind::Notification, NotificationRights::NOTIFY.bits())],
        S::InterruptAck | S::InterruptMask => vec![handle],
        S::InterruptMessage => vec![(0, Kind::Interrupt, InterruptRights::MESSAGE.bits())],
        S::PortsSplit => vec![(0, Kind::Ports, PortsRights::SPLIT.bits())],
        S::PortIn => vec![(0, Kind::Ports, PortsRights::IN.bits())],
        S::PortOut => vec![(0, Kind::Ports, PortsRights::OUT.bits())],
        S::LogRead => vec![(0, Kind::System, SystemRights::LOG.bits())],
        S::Statistics | S::EntryTimes => vec![(0, Kind::System, SystemRights::INSPECT.bits())],
        _ => Vec::new(),
    }
}

/// The right to destroy, by kind.
fn destruction(kind: Kind) -> Option<RawRights> {
    Some(match kind {
        Kind::Account => AccountRights::DESTROY.bits(),
        Kind::Space => SpaceRights::DESTROY.bits(),
        Kind::Domain => DomainRights::DESTROY.bits(),
        Kind::Thread => ThreadRights::DESTROY.bits(),
        Kind::Budget => BudgetRights::DESTROY.bits(),
        Kind::Endpoint => EndpointRights::DESTROY.bits(),
        Kind::Notification => NotificationRights::DESTROY.bits(),
        Kind::Interrupt => InterruptRights::DESTROY.bits(),
        Kind::Memory | Kind::Ports | Kind::InterruptControl | Kind::System | Kind::DeviceControl => return None,
    })
}

fn has_the_rights(step: &Step, call: &Call, domain: DomainId) -> Result<(), String> {
    let space = step.seen.held(domain, call.arguments[0]).filter(|held| held.kind == Kind::Space);
    let for_device = space.and_then(|held| SpaceId::from_index(held.object.0));
    let for_device = for_device.is_some_and(|space| step.before.kernel.is_device_space(space));
    for (argument, kind, rights) in needs(call, for_device) {
        let held = step.seen.held(domain, call.arguments[argument]);
        let enough = held.is_some_and(|held| held.kind == kind && held.lives && held.rights & rights == rights);
        expect(enough, || format!("{:?} was made with {held:x?} as argument {argument}", call.syscall))?;
    }
    let place = usize::from(call.syscall == Syscall::Forward);
    let named = step.seen.held(domain, call.arguments[place]);
    match (call.syscall, named) {
        (Syscall::Call | Syscall::Forward, Some(endpoint)) => {
            let below =
                EndpointId::from_index(endpoint.object.0).and_then(|id| step.before.kernel.level_of_endpoint(id));
            expect(below < step.before.kernel.level_of(domain), || "a call has gone up".into())
        }
        (Syscall::Notify, Some(notification)) => {
            let allowed = if notification.badge == 0 { u64::MAX } else { notification.badge };
            expect(call.arguments[1] & !allowed == 0, || "bits beyond the badge were set".into())
        }
        (Syscall::Destroy, held) => {
            let allowed = |held: &Holding| destruction(held.kind).is_some_and(|right| held.rights & right != 0);
            expect(held.is_some_and(allowed), || format!("{held:x?} was destroyed"))
        }
        _ => Ok(()),
    }
}

/// A capability that a system call gives: `object` is none if it is for a new object.
struct Gain {
    holder: DomainId,
    kind: Kind,
    object: Option<(usize, u32)>,
    rights: RawRights,
    badge: u64,
    parent: Option<CapName>,
}

fn matches(step: &Step, gained: &Holding, wanted: &Gain) -> Result<(), String> {
    let object = match wanted.object {
        Some(object) => gained.object == object,
        None => step.seen.names_of(gained.kind, gained.object) == 0,
    };
    let same = (gained.holder, gained.kind, gained.rights, gained.badge, gained.parent)
        == (wanted.holder, wanted.kind, wanted.rights, wanted.badge, wanted.parent);
    expect(object && same && gained.lives, || format!("{gained:x?} was given"))
}

/// The capability that a system call gives.
fn gain(step: &Step, call: &Call, domain: DomainId) -> Result<Option<Gain>, String> {
    use Syscall as S;
    let arguments = call.arguments;
    let new = |kind, rights| Ok(Some(Gain { holder: domain, kind, object: None, rights, badge: 0, parent: None }));
    match call.syscall {
        S::CapCopy => copied(step.seen, domain, domain, arguments[0], arguments[1], arguments[2]).map(Some),
        S::CapGrant => {
            let target = step.seen.held(domain, arguments[0]).and_then(|held| DomainId::from_index(held.object.0));
            let target = target.ok_or("a capability was granted to nobody")?;
            copied(step.seen, domain, target, arguments[1], arguments[2], arguments[3]).map(Some)
        }
        S::MemorySplit | S::PortsSplit => {
            let [handle, first, count, rights, ..] = arguments;
            let whole = step.seen.held(domain, handle).ok_or("nothing was split")?;
            let (base, length) = (whole.badge & 0xffff_ffff, whole.badge >> 32);
            // Pages count from the extent's first one, ports are absolute.
            let first = if whole.kind == Kind::Memory { base + first } else { first };
            let inside = count > 0 && first >= base && first + count <= base + length;
            expect(inside, || format!("a part of {whole:x?} goes beyond it"))?;
            let part = copied(step.seen, domain, domain, handle, rights, 0)?;
            Ok(Some(Gain { badge: (count << 32) | first, ..part }))
        }
        S::AccountCreate => new(Kind::Account, AccountRights::all().bits()),
        S::EndpointCreate => new(Kind::Endpoint, EndpointRights::all().bits()),
        S::NotificationCreate => new(Kind::Notification, NotificationRights::all().bits()),
        S::BudgetCreate => new(Kind::Budget, BudgetRights::all().bits()),
        S::SpaceCreate | S::DeviceSpaceCreate | S::GuestSpaceCreate => new(Kind::Space, SpaceRights::all().bits()),
        S::DomainCreate => new(Kind::Domain, DomainRights::all().bits()),
        S::ThreadCreate => new(Kind::Thread, ThreadRights::all().bits()),
        S::InterruptCreate => new(Kind::Interrupt, InterruptRights::all().bits()),
        _ => Ok(None),
    }
}

/// What a copy is: no more rights than the original; a badge only where there was none, and only with the right to mint.
fn copied(view: &View, from: DomainId, to: DomainId, handle: u64, rights: u64, badge: u64) -> Result<Gain, String> {
    let original = view.held(from, handle).ok_or("something was copied that nobody holds")?;
    let mint = match original.kind {
        Kind::Endpoint => EndpointRights::MINT.bits(),
        Kind::Notification => NotificationRights::MINT.bits(),
        _ => 0,
    };
    let mintable = original.rights & mint != 0 && original.badge == 0;
    expect(original.lives, || "what is gone was copied".into())?;
    expect(badge == 0 || mintable, || format!("a badge was given to a copy of {original:x?}"))?;
    Ok(Gain {
        holder: to,
        kind: original.kind,
        object: Some(original.object),
        rights: original.rights & rights as RawRights,
        badge: if badge == 0 { original.badge } else { badge },
        parent: Some(original.name),
    })
}

fn moved(step: &Step, call: &Call, domain: DomainId, change: &Change) -> Result<(), String> {
    let target = step.seen.held(domain, call.arguments[0]).and_then(|held| DomainId::from_index(held.object.0));
    let original = step.seen.held(domain, call.arguments[1]).ok_or("nothing was moved")?;
    let just_one = change.gained.len() == 1 && change.lost.len() == 1 && change.is_still();
    expect(just_one && change.lost[0].name == original.name, || "a move has changed more".into())?;
    let childless = step.seen.holdings.iter().all(|other| other.parent != Some(original.name));
    expect(childless, || "a capability with children was moved".into())?;
    let wanted = Gain {
        holder: target.ok_or("a capability was moved to nobody")?,
        kind: original.kind,
        object: Some(original.object),
        rights: original.rights,
        badge: original.badge,
        parent: original.parent,
    };
    matches(step, change.gained[0], &wanted)
}

fn windows(step: &Step, call: &Call, domain: DomainId, change: &Change) -> Result<(), String> {
    expect(change.capabilities_are_still() && change.handed_up.is_empty(), || {
        "a mapping has changed capabilities".into()
    })?;
    let [first, memory, third, fourth, fifth, sixth] = call.arguments;
    let object = step.seen.held(domain, first).map(|held| held.object.0);
    match call.syscall {
        Syscall::Unmap => {
            let right = |window: &&Window| window.id == memory && window.place.ok().map(|id| id.index()) == object;
            let one = change.opened.is_empty() && change.closed.len() == 1;
            expect(one && change.closed.iter().all(right), || "another mapping is gone".into())
        }
        Syscall::Map => {
            let wanted = (third, fourth, fifth, MapAccess::from_number(sixth));
            let one = change.opened.len() == 1 && change.closed.is_empty();
            expect(one, || "another window has opened".into())?;
            let window = change.opened[0];
            expect(window.place.ok().map(|id| id.index()) == object, || "another space was changed".into())?;
            shows(step, domain, memory, window, wanted)
        }
        _ => {
            let own = |window: &&Window| window.place.err().map(|id| id.index()) == object;
            let one = change.opened.len() == 1 && change.closed.iter().all(own);
            expect(one && own(&change.opened[0]), || "another thread's buffer has changed".into())?;
            shows(step, domain, memory, change.opened[0], (fourth, third, 1, Some(MapAccess::ReadWrite)))
        }
    }
}

/// Whether a window shows just a part of a memory capability: at this address, from this page, as many pages.
fn shows(
    step: &Step,
    domain: DomainId,
    memory: u64,
    window: &Window,
    (address, first, pages, access): (u64, u64, u64, Option<MapAccess>),
) -> Result<(), String> {
    let memory = step.seen.held(domain, memory).ok_or("memory that nobody holds was mapped")?;
    let (base, length) = (memory.badge & 0xffff_ffff, memory.badge >> 32);
    let right = first + pages <= length
        && (window.address, u64::from(window.pages), Some(window.access)) == (address, pages, access)
        && u64::from(window.frame.0) == base + first
        && window.from == Some(memory.name);
    expect(right && address + pages * PAGE_SIZE <= abi::USER_END, || format!("{window:x?} shows something else"))
}

/// Capabilities in messages: full copies, from who sends to who receives, and only what was named.
fn passed(step: &Step, call: &Call, domain: DomainId, change: &Change) -> Result<(), String> {
    expect(change.lost.is_empty() && change.is_still(), || "a message has taken authority away".into())?;
    let endpoint = step.seen.held(domain, call.arguments[0]).and_then(|held| EndpointId::from_index(held.object.0));
    let token = CallerToken(if call.syscall == Syscall::Reply { call.arguments[0] } else { call.arguments[3] });
    for gained in &change.gained {
        let parent = gained.parent.and_then(|name| step.seen.named(name)).ok_or("a capability came from nowhere")?;
        let wanted = Gain {
            holder: gained.holder,
            kind: parent.kind,
            object: Some(parent.object),
            rights: parent.rights,
            badge: parent.badge,
            parent: Some(parent.name),
        };
        matches(step, gained, &wanted)?;
        let named = parent.holder == domain && parent.handle.0 == call.cap;
        let receives = |wait: Wait| wait == Wait::Call(endpoint) && endpoint.is_some();
        let to_receiver =
            step.seen.activities.iter().any(|other| other.domain == Some(gained.holder) && receives(other.wait));
        let caller = step.seen.activities.iter().find(|other| other.thread.index() == usize::from(token.thread()));
        let to_caller = caller.is_some_and(|caller| caller.domain == Some(gained.holder) && caller.call == token);
        let offered = gained.holder == domain
            && step.seen.activities.iter().any(|other| {
                endpoint.is_some_and(|endpoint| other.wait == Wait::Reception(endpoint))
                    && step.before.kernel.offers(other.thread).any(|name| name == parent.name)
            });
        let right = match call.syscall {
            Syscall::Call => named && to_receiver,
            Syscall::Receive => offered,
            Syscall::Reply => named && to_caller,
            _ => offered || (named && to_caller),
        };
        expect(right, || format!("{gained:x?} has come with a message that did not bring it"))?;
    }
    Ok(())
}

/// Deleting, revoking and destroying: authority only goes, from where it may go, and what stays keeps its ancestors.
fn teardown(step: &Step, call: &Call, domain: DomainId, change: &Change) -> Result<(), String> {
    expect(change.gained.is_empty() && change.opened.is_empty(), || "taking apart has given authority".into())?;
    let target = step.seen.held(domain, call.arguments[0]).ok_or("something was taken apart that nobody holds")?;
    let kernel = &step.after.kernel;
    let below = |holding: &Holding| step.seen.descends(holding, target.name);
    let goes = |holding: &Holding| match call.syscall {
        _ if !kernel.is_domain_live(holding.holder) => true,
        Syscall::CapDelete => holding.name == target.name,
        Syscall::CapRevoke => below(holding),
        _ => false,
    };
    let named = |name: Option<CapName>| name.and_then(|name| step.seen.named(name));
    for lost in &change.lost {
        expect(goes(lost), || format!("{lost:x?} was lost"))?;
    }
    for (old, new) in &change.moved_up {
        let parent = named(old.parent).filter(|parent| goes(parent));
        let right = parent.is_some_and(|parent| parent.parent == new.parent);
        expect(right, || format!("{old:x?} has become {new:x?}"))?;
    }
    for (old, new) in &change.handed_up {
        let parent = named(old.from).filter(|parent| goes(parent));
        expect(parent.is_some_and(|parent| parent.parent == new.from), || format!("{old:x?} has become {new:x?}"))?;
    }
    for dead in &change.died {
        let destroyed = call.syscall == Syscall::Destroy && (dead.kind, dead.object) == (target.kind, target.object);
        let last = step.seen.names_of(dead.kind, dead.object) == 1 && goes(dead);
        let thread = dead.kind == Kind::Thread
            && step.seen.activities.iter().any(|other| {
                other.thread.index() == dead.object.0 && other.domain.is_some_and(|owner| !kernel.is_domain_live(owner))
            });
        expect(destroyed || last || thread, || format!("the object of {dead:x?} has died"))?;
    }
    for closed in &change.closed {
        let gone = match closed.place {
            Ok(space) => !kernel.is_space_live(space),
            Err(thread) => step.seen_after.thread(thread).is_none(),
        };
        let from = named(closed.from);
        let revoked =
            call.syscall == Syscall::CapRevoke && from.is_some_and(|from| from.name == target.name || below(from));
        let uncovered = from.is_some_and(|from| from.parent.is_none() && goes(from));
        expect(gone || revoked || uncovered, || format!("{closed:x?} was closed"))?;
    }
    if !step.is_done() {
        return Ok(());
    }
    let after = &step.seen_after;
    match call.syscall {
        Syscall::CapDelete => expect(after.named(target.name).is_none(), || "a deleted capability is there".into()),
        Syscall::CapRevoke => {
            let child = after.holdings.iter().find(|other| other.parent == Some(target.name));
            let window = after.windows.iter().find(|window| window.from == Some(target.name));
            expect(child.is_none() && window.is_none(), || {
                format!("{child:x?} and {window:x?} are left of a revoked one")
            })
        }
        _ => {
            let lives = after.named(target.name).is_some_and(|holding| holding.lives);
            expect(!lives, || "a destroyed object lives".into())
        }
    }
}
