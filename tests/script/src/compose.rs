//! From random numbers to scripts that mean something.
//!
//! A choice is a few numbers. Which call it is and what its arguments are depends on them and on what is there after the
//! choices before it, so that any choice can be left out and the rest is still a script: that is what shrinking does.

use crate::predict::{Host, Violation, on_long_stack};
use crate::{Argument, Line, NAMES, Outcome, Player, Script};
use abi::fault::FAULT_INTERFACE;
use abi::message::MessageInfo;
use abi::rights::Kind;
use abi::syscall::{InterruptSource, MapAccess};
use abi::time::NOW;
use abi::{Syscall, USER_END};

/// What decides one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Which call.
    pub call: u8,
    /// Its arguments.
    pub arguments: [u16; 6],
}

/// The interface of most endpoints.
const INTERFACE: u64 = 77;

/// Calls that scripts are made of, the more often the more of what follows needs them. Left out is what starts threads,
/// ends them, or needs somebody to talk to.
const CALLS: [Syscall; 61] = {
    use Syscall as S;
    [
        S::CapCopy,
        S::CapCopy,
        S::CapCopy,
        S::CapCopy,
        S::CapGrant,
        S::CapGrant,
        S::CapMove,
        S::CapDelete,
        S::CapDelete,
        S::CapRevoke,
        S::CapInfo,
        S::CapInspect,
        S::Destroy,
        S::AccountCreate,
        S::AccountInfo,
        S::EndpointCreate,
        S::EndpointCreate,
        S::NotificationCreate,
        S::NotificationCreate,
        S::BudgetCreate,
        S::BudgetCreate,
        S::SpaceCreate,
        S::SpaceCreate,
        S::DomainCreate,
        S::DomainCreate,
        S::ThreadCreate,
        S::ThreadCreate,
        S::InterruptCreate,
        S::EndpointBind,
        S::EndpointWatch,
        S::BudgetMove,
        S::MemorySplit,
        S::MemorySplit,
        S::MemorySplit,
        S::MemoryInfo,
        S::Map,
        S::Map,
        S::Map,
        S::Unmap,
        S::SpaceDonate,
        S::SpaceDonate,
        S::ThreadBuffer,
        S::ThreadBind,
        S::ThreadStop,
        S::ThreadRead,
        S::InterruptBind,
        S::InterruptAck,
        S::InterruptMask,
        S::InterruptMessage,
        S::PortsSplit,
        S::PortIn,
        S::Call,
        S::Receive,
        S::Reply,
        S::Notify,
        S::Notify,
        S::Wait,
        S::Wait,
        S::Yield,
        S::Clock,
        S::Statistics,
    ]
};

/// Something with a name.
struct Thing {
    name: String,
    kind: Option<Kind>,
    /// The root cannot do without it, nor without what it is a copy of.
    vital: bool,
}

struct Composer<'s> {
    player: Player<Host>,
    things: Vec<Thing>,
    script: &'s mut Script,
}

/// Makes a script of these choices by carrying it out, line by line, and returns what came of each. Every invariant is
/// checked after each `every` lines and at the end.
///
/// # Errors
/// The first violation that was found. What was composed until then, or until a panic, is in the script.
pub fn compose(choices: &[Choice], every: usize, script: &mut Script) -> Result<Vec<Outcome>, Violation> {
    on_long_stack(|| {
        let kinds = [
            Kind::Domain,
            Kind::Space,
            Kind::Thread,
            Kind::Account,
            Kind::InterruptControl,
            Kind::Ports,
            Kind::System,
            Kind::Budget,
            Kind::DeviceControl,
            Kind::Memory,
        ];
        let things = NAMES.iter().zip(kinds).map(|(name, kind)| {
            let replaceable = matches!(kind, Kind::Memory | Kind::InterruptControl | Kind::Ports);
            Thing { name: (*name).to_owned(), kind: Some(kind), vital: !replaceable }
        });
        let mut composer = Composer { player: Player::new(Host::boot()), things: things.collect(), script };
        let mut outcomes = Vec::new();
        for (index, choice) in choices.iter().enumerate() {
            outcomes.push(composer.add(*choice));
            let after = index + 1;
            if after.is_multiple_of(every) || after == choices.len() {
                composer.player.stage().check(after)?;
            }
        }
        Ok(outcomes)
    })
}

impl Composer<'_> {
    /// One of the things that fit, or else anything; now and then a stale handle of it, or none.
    fn thing(&self, choice: u16, fits: impl Fn(&Thing) -> bool) -> Argument {
        let fitting: Vec<&Thing> = self.things.iter().filter(|thing| fits(thing)).collect();
        let index = usize::from(choice / 32);
        let thing = match fitting.len() {
            0 => &self.things[index % self.things.len()],
            count => fitting[index % count],
        };
        match choice % 32 {
            0 if thing.kind.is_some() => Argument { stale: true, ..Argument::named(&thing.name) },
            1 => Argument::number(0),
            _ => Argument::named(&thing.name),
        }
    }

    fn of(&self, kind: Kind, choice: u16) -> Argument {
        self.thing(choice, |thing| thing.kind == Some(kind))
    }

    /// A mapping; none if the script has made none, because any other number may be one of the root's own.
    fn mapping(&self, choice: u16) -> Argument {
        let mapping = |thing: &Thing| thing.kind.is_none();
        if self.things.iter().any(mapping) { self.thing(choice, mapping) } else { Argument::number(0) }
    }

    /// What may be taken away.
    fn spare(&self, choice: u16) -> Argument {
        let spare = |thing: &Thing| !thing.vital && thing.kind.is_some() && !NAMES.contains(&&*thing.name);
        if self.things.iter().any(spare) { self.thing(choice, spare) } else { Argument::number(0) }
    }

    fn any(&self, choice: u16) -> (Argument, Option<Kind>, bool) {
        let argument = self.thing(choice, |thing| thing.kind.is_some());
        let thing = self.things.iter().find(|thing| Some(&thing.name) == argument.name.as_ref());
        let (kind, vital) = thing.map_or((None, false), |thing| (thing.kind, thing.vital));
        (argument, kind, vital)
    }

    fn add(&mut self, choice: Choice) -> Outcome {
        use Syscall as S;
        let syscall = CALLS[usize::from(choice.call) % CALLS.len()];
        let [a, b, c, d, e, f] = choice.arguments;
        let one_of = |choice: u16, values: &[u64]| Argument::number(values[usize::from(choice) % values.len()]);
        let rights = |choice| one_of(choice, &[0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xff, 0x1f, 7, 1, 0, 0x1_0000]);
        let badge = |choice| one_of(choice, &[0, 0, 0, 1, 5, 0xff, 1 << 63]);
        let page = |choice: u16| Argument::number(u64::from(choice) % if choice.is_multiple_of(16) { 300 } else { 24 });
        let pages = |choice| one_of(choice, &[1, 1, 1, 2, 3, 8, 9, 64, 0]);
        let account = |choice| self.of(Kind::Account, choice);
        let deadline = Argument::number(NOW);
        // The kind of what is made, and whether the root cannot do without that.
        let (mut made, mut vital) = (None, false);
        let mut makes = |kind: Kind| made = Some(Some(kind));
        let arguments = match syscall {
            S::CapCopy => {
                let (original, kind, is_vital) = self.any(a);
                (made, vital) = (kind.map(Some), is_vital);
                vec![original, rights(b), badge(c)]
            }
            S::CapGrant => vec![self.of(Kind::Domain, a), self.any(b).0, rights(c), badge(d)],
            S::CapMove => vec![self.of(Kind::Domain, a), self.spare(b)],
            S::CapDelete | S::CapRevoke | S::Destroy => vec![self.spare(a)],
            S::CapInfo => vec![self.any(a).0],
            S::CapInspect => {
                let made_here = |thing: &Thing| thing.kind == Some(Kind::Domain) && !thing.vital;
                let domain = self.thing(a, made_here);
                let is_root = domain.name.as_deref() == Some("domain");
                vec![if is_root { Argument::number(0) } else { domain }, one_of(b, &[0, 1, 2, 3, 15, 16, 64, 1024])]
            }
            S::AccountCreate => {
                makes(Kind::Account);
                vec![account(a), Argument::named(if b % 8 == 0 { "window" } else { "limits" })]
            }
            S::AccountInfo => vec![account(a), Argument::named("buffer")],
            S::EndpointCreate => {
                makes(Kind::Endpoint);
                let interface = one_of(b, &[INTERFACE, INTERFACE, FAULT_INTERFACE]);
                vec![account(a), interface, one_of(c, &[0, 1, 7, 100, 254, 255, 256]), one_of(d, &[0, 5, 255, 256])]
            }
            S::NotificationCreate => {
                makes(Kind::Notification);
                vec![account(a)]
            }
            S::BudgetCreate => {
                makes(Kind::Budget);
                let times = [10_000_000, 10_000_000, 20_000_000, 10_000, 9_999, 0, u64::MAX];
                vec![
                    account(a),
                    one_of(b, &[0, 1, 100, 255, 256]),
                    one_of(c, &times),
                    one_of(d, &times),
                    one_of(e, &[0, 0, 0, 1, 32]),
                ]
            }
            S::BudgetMove => vec![self.of(Kind::Budget, a), one_of(b, &[0, 0, 1, 32])],
            S::SpaceCreate => {
                makes(Kind::Space);
                vec![account(a), self.of(Kind::Memory, b), page(c)]
            }
            S::DomainCreate => {
                makes(Kind::Domain);
                let lengths = [16, 16, 64, 64, 0, 17, 1024, 2048];
                let handler = if e % 2 == 0 { Argument::number(0) } else { self.of(Kind::Endpoint, e) };
                let level = one_of(c, &[0, 1, 8, 200, 254, 255, 256]);
                vec![account(a), self.of(Kind::Space, b), level, one_of(d, &lengths), handler, badge(f)]
            }
            S::ThreadCreate => {
                makes(Kind::Thread);
                vec![account(a), self.of(Kind::Domain, b), self.of(Kind::Budget, c)]
            }
            S::InterruptCreate => {
                makes(Kind::Interrupt);
                let message = InterruptSource::Message.to_register();
                vec![self.of(Kind::InterruptControl, a), one_of(b, &[message, message, message, 16, 0x101])]
            }
            S::EndpointBind | S::EndpointWatch => {
                vec![self.of(Kind::Endpoint, a), self.of(Kind::Notification, b), one_of(c, &[1, 4, 0, 1 << 63])]
            }
            S::MemorySplit => {
                makes(Kind::Memory);
                vec![self.of(Kind::Memory, a), page(b), pages(c), rights(d)]
            }
            S::MemoryInfo => vec![self.of(Kind::Memory, a)],
            S::Map => {
                makes(Kind::Memory);
                made = Some(None);
                let space = self.of(Kind::Space, a);
                let is_roots = self.things.iter().any(|thing| thing.vital && Some(&thing.name) == space.name.as_ref());
                let page_of_64 = u64::from(c % 64) * 4096;
                // Which page tables lack depends on the machine, except where none does and in spaces that are new.
                let address = match c / 64 % 8 {
                    0 => one_of(c / 512, &[0, 0x40_0001, USER_END, u64::MAX - 4095]),
                    _ if is_roots => Argument { plus: page_of_64, ..Argument::named("window") },
                    1 => Argument::number(USER_END - 4096),
                    2 | 3 => Argument::number(0x80_0000_0000 + page_of_64),
                    _ => Argument::number(0x4000_0000 + page_of_64),
                };
                let access = [MapAccess::Read as u64, MapAccess::ReadWrite as u64, MapAccess::ReadExecute as u64, 7];
                vec![space, self.of(Kind::Memory, b), address, page(d), pages(e), one_of(f, &access)]
            }
            S::Unmap => vec![self.of(Kind::Space, a), self.mapping(b)],
            S::SpaceDonate => vec![self.of(Kind::Space, a), self.of(Kind::Memory, b), page(c), pages(d)],
            S::ThreadBuffer => {
                vec![self.of(Kind::Thread, a), self.of(Kind::Memory, b), page(c), Argument::named("window")]
            }
            S::ThreadBind => vec![self.of(Kind::Thread, a), self.of(Kind::Notification, b)],
            S::ThreadStop => vec![self.of(Kind::Thread, a)],
            S::ThreadRead => vec![self.of(Kind::Thread, a), Argument::named("buffer")],
            S::InterruptBind => {
                vec![self.of(Kind::Interrupt, a), self.of(Kind::Notification, b), one_of(c, &[1, 2, 0, 1 << 62])]
            }
            S::InterruptAck | S::InterruptMask | S::InterruptMessage => vec![self.of(Kind::Interrupt, a)],
            S::PortsSplit => {
                makes(Kind::Ports);
                vec![
                    self.of(Kind::Ports, a),
                    one_of(b, &[0x80, 0x81, 0xffff, 0]),
                    one_of(c, &[1, 2, 16, 0, 65_536]),
                    rights(d),
                ]
            }
            S::PortIn => vec![self.of(Kind::Ports, a), one_of(b, &[0x80, 0x81, 0x1_0000]), one_of(c, &[1, 2, 4, 3, 0])],
            S::Call => {
                let info = MessageInfo::new(1, (b % 7) as u8).0;
                vec![
                    self.of(Kind::Endpoint, a),
                    Argument::number(info),
                    deadline,
                    one_of(c, &[INTERFACE, INTERFACE, 1]),
                ]
            }
            S::Receive => {
                let endpoint = if a % 4 == 0 { Argument::number(0) } else { self.of(Kind::Endpoint, a) };
                vec![endpoint, one_of(b, &[0, 1, 4, 5]), deadline]
            }
            S::Reply => vec![one_of(a, &[0, 1, 2, 1 << 32, u64::MAX]), Argument::number(0)],
            S::Notify => vec![self.of(Kind::Notification, a), one_of(b, &[1, 5, 0xff, 0, 1 << 61, 1 << 62])],
            S::Wait => {
                let notification = if a % 8 == 0 { Argument::number(0) } else { self.of(Kind::Notification, a) };
                vec![notification, deadline]
            }
            S::Statistics => vec![self.of(Kind::System, a), Argument::named("buffer")],
            _ => vec![],
        };
        let label = made.map(|_| format!("r{}", self.script.lines.len() + 1));
        let line = Line { label: label.clone(), syscall, arguments };
        self.script.lines.push(line.clone());
        let outcome = self.player.play(&line);
        if let (Some(kind), Some(name), None) = (made, label, outcome.error()) {
            self.things.push(Thing { name, kind, vital });
        }
        if matches!(syscall, S::CapMove | S::CapDelete | S::CapRevoke | S::Destroy | S::Unmap) {
            let player = &mut self.player;
            self.things.retain(|thing| thing.kind.is_none() || player.holds(&thing.name));
        }
        outcome
    }
}
