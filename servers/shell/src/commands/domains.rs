//! Domains: what they are, have and do, and making them break.

use super::{Command, Completes, exactly};
use crate::failure::{Failure, Outcome, Server};
use crate::output::Printable;
use crate::quantity::{parse_duration, parse_number, show_duration, show_share, show_size};
use crate::session::Session;
use crate::table::{Align, Table};
use abi::rights::{
    AccountRights, BudgetRights, DeviceControlRights, DomainRights, EndpointRights, InterruptControlRights,
    InterruptRights, Kind, MemoryRights, NotificationRights, PortsRights, RawRights, SpaceRights, SystemRights,
    ThreadRights,
};
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;
use interfaces::supervision::{CapabilityInfo, Confinement, Crash, DeathCause, DomainInfo, DomainState};

/// Bytes of a part of the log.
const LOG_PART: usize = 16 * 1024;
/// Lines of the log that are shown if nobody says how many.
const LOG_LINES: usize = 40;

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "ps",
        usage: "",
        summary: "lists the domains",
        details: "LEVEL: a domain can call those on lower levels only. PRIO: the higher one runs first. CPU: the \
                  processor on which it runs; what it does for a caller is done on the caller's. BUDGET: the most that \
                  it uses of that processor, and in how long; - if it takes turns with others. TIME: processor time of \
                  the present instance. LAST DEATH: why the instance before the present one died.",
        completes: &[],
        prefix: None,
        run: ps,
    },
    Command {
        name: "caps",
        usage: "DOMAIN",
        summary: "lists the capabilities of a domain: all that it can reach",
        details: "",
        completes: &[Completes::Domains, Completes::Nothing],
        prefix: None,
        run: caps,
    },
    Command {
        name: "log",
        usage: "[DOMAIN] [-n LINES]",
        summary: "shows the last lines of the log, of all domains or of one",
        details: "Of one domain it also shows what is known of its last death. -n says how many lines, 40 otherwise.",
        completes: &[Completes::Domains, Completes::Nothing],
        prefix: None,
        run: log,
    },
    Command {
        name: "kill",
        usage: "DOMAIN [--after DURATION]",
        summary: "destroys a domain; it comes back as the manifest says",
        details: "With --after the prompt comes back at once, and the domain dies while the next command runs.",
        completes: &[Completes::Domains, Completes::Nothing],
        prefix: None,
        run: kill,
    },
    Command {
        name: "restart",
        usage: "DOMAIN",
        summary: "stops a domain in good order and starts it again at once",
        details: "",
        completes: &[Completes::Domains, Completes::Nothing],
        prefix: None,
        run: restart,
    },
    Command {
        name: "crash",
        usage: "DOMAIN panic|fault|hang [--after DURATION]",
        summary: "makes a domain break, to see that it comes back",
        details: "panic: it panics. fault: it writes through a wild pointer. hang: it loops without end, which its \
                  supervisor notices by the missing heartbeats. With --after the prompt comes back at once, and the domain \
                  breaks while the next command runs. The supervisor breaks like any other domain, which the others do not \
                  notice.",
        completes: &[Completes::Domains, Completes::Words(&["panic", "fault", "hang"]), Completes::Nothing],
        prefix: None,
        run: crash,
    },
];

/// Every domain.
pub(super) fn all_domains(session: &Session<'_>) -> Result<Vec<DomainInfo>, Failure> {
    let mut found = Vec::new();
    for index in 0.. {
        match session.services.domains.domain(index) {
            Ok(Some(info)) => found.push(info),
            Ok(None) => break,
            Err(error) => return Err(Failure::of_call("cannot list the domains", Server::SUPERVISOR, error)),
        }
    }
    Ok(found)
}

fn ps(session: &mut Session<'_>, words: &[String]) -> Outcome {
    let [] = exactly("ps", words)?;
    let mut table = Table::new(&[
        ("NAME", Align::Left),
        ("STATE", Align::Left),
        ("LEVEL", Align::Right),
        ("PRIO", Align::Right),
        ("CPU", Align::Right),
        ("BUDGET", Align::Right),
        ("MEMORY", Align::Right),
        ("TIME", Align::Right),
        ("RESTARTS", Align::Right),
        ("LAST DEATH", Align::Left),
    ]);
    let domains = all_domains(session)?;
    for info in &domains {
        table.row([
            Printable(info.name.as_str()).to_string(),
            info.state.as_str().into(),
            info.level.to_string(),
            info.priority.to_string(),
            info.processor.to_string(),
            info.bound.map_or_else(|| "-".into(), |bound| show_share(bound.slice, bound.period)),
            show_size(info.memory),
            info.runtime.map_or_else(|| "-".into(), |runtime| show_duration(Duration::from_nanos(runtime))),
            info.restarts.to_string(),
            cause(info.last_cause),
        ]);
    }
    for line in table.lines() {
        session.out.line(line);
    }
    let confined = session.services.domains.confinement();
    let confined =
        confined.map_err(|error| Failure::of_call("cannot tell whether DMA is confined", Server::SUPERVISOR, error))?;
    confinement(confined).lines().for_each(|line| session.out.line(line));
    if let Some(sentences) = degradation(&domains) {
        sentences.lines().for_each(|line| session.out.line(line));
    }
    Ok(())
}

/// What the system lacks although it should have it, in two sentences; `None` if that is nothing.
fn degradation(domains: &[DomainInfo]) -> Option<String> {
    let given_up = domains.iter().filter(|info| info.state == DomainState::GivenUp);
    let names: Vec<String> = given_up.map(|info| Printable(info.name.as_str()).to_string()).collect();
    let first = names.first()?;
    let all = names.join(", ");
    Some(format!(
        "The system is degraded. Given up: {all}.\n`log {first}` tells why, `restart {first}` tries once more."
    ))
}

/// To what devices are confined, in a sentence; and in another one, if nobody hears of those that wanted more.
fn confinement(confinement: Confinement) -> String {
    let (sentence, reported) = match confinement {
        Confinement::Nothing => {
            return "DMA is not confined: no IOMMU is in use, so a driver's device can reach all of memory.".into();
        }
        Confinement::Memory { reported } => (
            "DMA is confined: a driver's device reaches only what the driver shares with it. Interrupts can be forged.",
            reported,
        ),
        Confinement::MemoryAndInterrupts { reported } => (
            "DMA is confined: a driver's device reaches only what the driver shares with it, and forges no interrupts.",
            reported,
        ),
    };
    if reported { sentence.into() } else { format!("{sentence}\nThis IOMMU does not report what it refuses a device.") }
}

/// Why a domain died, in a few words.
fn cause(cause: DeathCause) -> String {
    match cause {
        DeathCause::None => "-".into(),
        DeathCause::Panic => "panic".into(),
        DeathCause::BadAccess(address) => format!("bad access {address:#x}"),
        DeathCause::BadInstruction => "bad instruction".into(),
        DeathCause::Exception(code) => format!("exception {code:#x}"),
        DeathCause::Exit(code) => format!("exit with code {code}"),
        DeathCause::Protocol(code) => format!("broke a protocol, code {code}"),
        DeathCause::Hang => "no heartbeat".into(),
        DeathCause::Killed => "killed by request".into(),
        DeathCause::Restarted => "restarted by request".into(),
        DeathCause::Strayed(address) => format!("device strayed, {address:#x}"),
        DeathCause::Escalated => "restarted with its group".into(),
        DeathCause::Unplugged => "device taken out".into(),
        DeathCause::Orphaned => "went down with its supervisor".into(),
    }
}

/// Every capability of a domain, by slot.
pub(super) fn capabilities(session: &mut Session<'_>, name: &str) -> Result<Vec<CapabilityInfo>, Failure> {
    let mut found = Vec::new();
    let mut from = Some(0);
    while let Some(slot) = from {
        let next = session.services.domains.capability(name, slot);
        match next.map_err(|error| Failure::of_domain("list the capabilities of", name, error))? {
            // A supervisor that goes back would keep the shell for ever.
            Some(info) if info.index >= slot => {
                from = info.index.checked_add(1);
                found.push(info);
            }
            _ => break,
        }
        session.checkpoint()?;
    }
    Ok(found)
}

fn caps(session: &mut Session<'_>, words: &[String]) -> Outcome {
    let [name] = exactly("caps", words)?;
    let mut table =
        Table::new(&[("SLOT", Align::Right), ("KIND", Align::Left), ("BADGE", Align::Right), ("RIGHTS", Align::Left)]);
    for info in capabilities(session, name)? {
        let badge = if info.badge == 0 { "-".into() } else { format!("{:#x}", info.badge) };
        table.row([info.index.to_string(), kind_name(info.kind), badge, rights(info.kind, info.rights)]);
    }
    for line in table.lines() {
        session.out.line(line);
    }
    Ok(())
}

/// The name of a kind of object.
pub(super) fn kind_name(number: u8) -> String {
    let name = match Kind::from_number(number) {
        Some(Kind::Account) => "account",
        Some(Kind::Memory) => "memory",
        Some(Kind::Space) => "space",
        Some(Kind::Domain) => "domain",
        Some(Kind::Thread) => "thread",
        Some(Kind::Budget) => "budget",
        Some(Kind::Endpoint) => "endpoint",
        Some(Kind::Notification) => "notification",
        Some(Kind::Interrupt) => "interrupt",
        Some(Kind::Ports) => "ports",
        Some(Kind::InterruptControl) => "interrupt-control",
        Some(Kind::DeviceControl) => "device-control",
        Some(Kind::System) => "system",
        None => return format!("kind {number}"),
    };
    name.into()
}

/// The names of a capability's rights.
fn rights(kind: u8, raw: RawRights) -> String {
    macro_rules! names {
        ($type:ty) => {{
            let rights = <$type>::from_bits_retain(raw);
            let mut names: Vec<String> = rights.iter_names().map(|(name, _)| name.to_ascii_lowercase()).collect();
            let unknown = raw & !<$type>::all().bits();
            if unknown != 0 {
                names.push(format!("{unknown:#x}"));
            }
            names
        }};
    }
    let names = match Kind::from_number(kind) {
        Some(Kind::Account) => names!(AccountRights),
        Some(Kind::Memory) => names!(MemoryRights),
        Some(Kind::Space) => names!(SpaceRights),
        Some(Kind::Domain) => names!(DomainRights),
        Some(Kind::Thread) => names!(ThreadRights),
        Some(Kind::Budget) => names!(BudgetRights),
        Some(Kind::Endpoint) => names!(EndpointRights),
        Some(Kind::Notification) => names!(NotificationRights),
        Some(Kind::Interrupt) => names!(InterruptRights),
        Some(Kind::Ports) => names!(PortsRights),
        Some(Kind::InterruptControl) => names!(InterruptControlRights),
        Some(Kind::DeviceControl) => names!(DeviceControlRights),
        Some(Kind::System) => names!(SystemRights),
        None => vec![format!("{raw:#x}")],
    };
    if names.is_empty() { "-".into() } else { names.join(" ") }
}

fn log(session: &mut Session<'_>, words: &[String]) -> Outcome {
    let (mut name, mut most) = (None, LOG_LINES);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "-n" {
            let count =
                words.next().and_then(|count| parse_number(count)).and_then(|count| usize::try_from(count).ok());
            most = count.ok_or_else(|| Failure::usage("-n needs a number of lines behind it", "log"))?;
        } else if word.starts_with('-') || name.is_some() {
            return Err(Failure::usage(format_args!("`{word}` is one too many"), "log"));
        } else {
            name = Some(word.as_str());
        }
    }
    if let Some(name) = name {
        // Otherwise a misspelt name would show an empty log.
        session.services.domains.find(name).map_err(|error| Failure::of_domain("show the log of", name, error))?;
    }
    for line in last_lines(session, name, most)? {
        session.out.line(Printable(&line));
    }
    if let Some(name) = name {
        show_last_death(session, name)?;
    }
    Ok(())
}

/// The last lines of the log, of one domain or of all.
fn last_lines(session: &mut Session<'_>, name: Option<&str>, most: usize) -> Result<VecDeque<String>, Failure> {
    let mut lines = VecDeque::new();
    let mut bytes = vec![0; LOG_PART];
    let mut position = 0;
    loop {
        let part = session.services.domains.log(position, &mut bytes);
        let part = part.map_err(|error| Failure::of_domain("show the log of", "the system", error))?;
        let text = String::from_utf8_lossy(bytes.get(..part.bytes).unwrap_or_default());
        for line in text.lines().filter(|line| name.is_none_or(|name| is_of(line, name))) {
            if lines.len() == most {
                lines.pop_front();
            }
            if most > 0 {
                lines.push_back(line.into());
            }
        }
        if !part.more {
            return Ok(lines);
        }
        if part.bytes == 0 {
            if bytes.len() >= 16 * LOG_PART {
                // No line is as long as this.
                return Ok(lines);
            }
            bytes.resize(bytes.len() * 2, 0);
        }
        position = part.next;
        session.checkpoint()?;
    }
}

/// Whether a line of the log, `[time] name: text`, is of a domain.
fn is_of(line: &str, name: &str) -> bool {
    let said = line.split_once("] ").map_or(line, |(_, said)| said);
    said.strip_prefix(name).is_some_and(|rest| rest.starts_with(':'))
}

fn show_last_death(session: &mut Session<'_>, name: &str) -> Outcome {
    let mut bytes = vec![0; 4096];
    let count = session
        .services
        .domains
        .last_death(name, &mut bytes)
        .map_err(|error| Failure::of_domain("tell the last death of", name, error))?;
    let story = String::from_utf8_lossy(bytes.get(..count).unwrap_or_default());
    if story.trim().is_empty() {
        session.out.line(format_args!("{name} has never died."));
        return Ok(());
    }
    session.out.line(format_args!("Last death of {name}:"));
    for line in story.lines() {
        session.out.line(format_args!("  {}", Printable(line)));
    }
    Ok(())
}

/// The words before `--after DURATION`, and the duration: none without it.
fn delayed<'a>(command: &'static str, words: &'a [String]) -> Result<(&'a [String], Duration), Failure> {
    let [rest @ .., option, delay] = words else { return Ok((words, Duration::ZERO)) };
    if option != "--after" {
        return Ok((words, Duration::ZERO));
    }
    let duration = parse_duration(delay)
        .ok_or_else(|| Failure::usage(format_args!("`{delay}` is no duration such as 20ms or 1s"), command))?;
    Ok((rest, duration))
}

fn kill(session: &mut Session<'_>, words: &[String]) -> Outcome {
    let (words, delay) = delayed("kill", words)?;
    let [name] = exactly("kill", words)?;
    // An instance that kills itself cannot say so afterwards.
    session.out.flush();
    session.services.domains.kill(name, delay).map_err(|error| Failure::of_domain("kill", name, error))
}

fn restart(session: &mut Session<'_>, words: &[String]) -> Outcome {
    let [name] = exactly("restart", words)?;
    session.out.flush();
    session.services.domains.restart(name).map_err(|error| Failure::of_domain("restart", name, error))
}

fn crash(session: &mut Session<'_>, words: &[String]) -> Outcome {
    let (words, delay) = delayed("crash", words)?;
    let [name, how] = exactly("crash", words)?;
    let how = match how.as_str() {
        "panic" => Crash::Panic,
        "fault" => Crash::Fault,
        "hang" => Crash::Hang,
        _ => return Err(Failure::usage(format_args!("`{how}` is none of panic, fault and hang"), "crash")),
    };
    session.out.flush();
    session.services.domains.crash(name, how, delay).map_err(|error| Failure::of_domain("crash", name, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_named_as_their_kind_reads_them() {
        assert_eq!(rights(Kind::Endpoint as u8, 0b101), "call mint");
        assert_eq!(rights(Kind::Memory as u8, 0b1_0011), "read write dma");
        assert_eq!(rights(Kind::Ports as u8, 0x8001), "in 0x8000");
        assert_eq!(rights(Kind::Thread as u8, 0), "-");
        assert_eq!(rights(99, 3), "0x3");
    }

    #[test]
    fn every_kind_has_a_name() {
        for kind in Kind::ALL {
            assert!(!kind_name(kind as u8).starts_with("kind"));
        }
        assert_eq!(kind_name(77), "kind 77");
    }

    #[test]
    fn lines_of_the_log_belong_to_whom_they_name() {
        assert!(is_of("[    1.000002] fat: mounted", "fat"));
        assert!(!is_of("[    1.000002] fatal: mounted", "fat"));
        assert!(!is_of("[    1.000002] echo: fat: is not here", "fat"));
        assert!(!is_of("fat", "fat"));
    }
}
