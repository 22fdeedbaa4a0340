//! Starting, burying and starting again.

use crate::death::Death;
use crate::state::{Device, Supervisor};
use crate::{adoption, crash, devices, heartbeat, removal};
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use interfaces::supervision::{Confinement, DeathCause, DomainState, SupervisionError};
use manifest::{self, Bus, DomainIndex, Kind, Restart};
use spawn::{Blueprint, BuildError, FAULT_BADGE_BASE, Instance, Prepared, Rate};
use supervisor::{Life, Standing, Verdict};
use userlib::abi::device::SourceId;
use userlib::status::{Phase, SHUTDOWN_BIT};
use userlib::time::{Duration, Instant};
use userlib::{executor, log};

/// How long a domain may take to come to rest before it is destroyed as it is.
const REST_TIME: Duration = Duration::from_secs(5);
/// How often its status is looked at meanwhile.
const REST_STEP: Duration = Duration::from_millis(2);

/// How long an app may take to come up before those behind it are started.
const COMING_UP: Duration = Duration::from_millis(250);
/// How often it is looked at meanwhile.
const COMING_UP_STEP: Duration = Duration::from_millis(2);

/// Takes over whom an earlier supervisor has left, and starts everybody else for the first time whose device is there, in the
/// order of the manifest: that is settled when this returns, and done by and by.
///
/// Nobody waits for anybody but for an app, at which people wait: it has the machine for itself until it is up.
pub(crate) fn begin(supervisor: &Rc<Supervisor>) {
    for index in supervisor.watched() {
        if !adoption::adopt(supervisor, index) && find_device(supervisor, index, Found::default()) {
            supervisor.queue_up(index);
        }
    }
    let supervisor = supervisor.clone();
    executor::spawn(async move {
        while let Some(index) = supervisor.next_unstarted() {
            start_first(&supervisor, index);
            if supervisor.system[index].kind == Kind::App {
                come_up(&supervisor, index).await;
            }
        }
    });
}

/// Starts a domain at once that still waits for its first start.
pub(crate) fn begin_now(supervisor: &Rc<Supervisor>, index: DomainIndex) {
    if supervisor.take_unstarted(index) {
        start_first(supervisor, index);
    }
}

pub(crate) fn start_first(supervisor: &Rc<Supervisor>, index: DomainIndex) {
    start(supervisor, index);
    executor::spawn(heartbeat::watch(supervisor.clone(), index));
}

/// Waits until a domain is up, but not for long.
async fn come_up(supervisor: &Supervisor, index: DomainIndex) {
    let until = Instant::now() + COMING_UP;
    while supervisor.watched_domain(index).state == DomainState::Starting && Instant::now() < until {
        executor::sleep(COMING_UP_STEP).await;
        heartbeat::note_readiness(supervisor, index);
    }
}

/// What an earlier supervisor has found out about a domain's device.
#[derive(Clone, Copy, Default)]
pub(crate) struct Found {
    /// Which one it is. It may be away now, and stays this domain's.
    pub(crate) known: Option<SourceId>,
    /// Whether the domain lives and drives it.
    pub(crate) is_driven: bool,
}

/// Finds a domain's device and, unless it is driven already, brings it to rest. Tells whether the domain can be started: if
/// it has a device, that is there and its to drive.
pub(crate) fn find_device(supervisor: &Supervisor, index: DomainIndex, found: Found) -> bool {
    let name = supervisor.name(index);
    let device = &supervisor.system[index].device;
    if let Some(manifest::Device { bus: bus @ Bus::Pci { vendor, devices, .. }, required, needs_iommu }) = device {
        if *needs_iommu && supervisor.confinement() == Confinement::Nothing {
            supervisor.watched_mut(index).state = DomainState::Refused;
            log::error!("{name}: the manifest requires an IOMMU, which this machine does not have; it is not started");
            close_endpoints(supervisor, index);
            return false;
        }
        let Some(function) = found.known.or_else(|| supervisor.bus.find(bus)) else {
            supervisor.watched_mut(index).state = DomainState::Absent;
            let devices = devices.iter().map(|device| format!("{vendor:04x}:{device:04x}"));
            let wanted = devices.collect::<Vec<_>>().join(" or ");
            if *required {
                log::error!("{name}: the machine has no device {wanted}, which the manifest requires");
            } else {
                log::warn!("{name}: the machine has no device {wanted}; it is not started");
            }
            close_endpoints(supervisor, index);
            return false;
        };
        let device = Device { function, group: supervisor.bus.group_of(function) };
        if !may_drive(supervisor, name, device) {
            supervisor.watched_mut(index).state = DomainState::Inseparable;
            close_endpoints(supervisor, index);
            return false;
        }
        supervisor.watched_mut(index).device = Some(device);
        // Firmware, or a driver that is gone, may have left it running, or others that would see what it sees.
        if !found.is_driven {
            // One that is away is silent.
            supervisor.bus.silence_all(device);
        }
    }
    true
}

/// Whether a domain may drive a device: where devices are confined, nobody drives one that cannot be told from it.
fn may_drive(supervisor: &Supervisor, name: &str, Device { function, group }: Device) -> bool {
    if supervisor.confinement() == Confinement::Nothing {
        return true;
    }
    let Some((holder, held)) = supervisor.holder_of(group) else { return true };
    let (holder, other) = (supervisor.name(holder), held.function);
    match group.bridge().or(held.group.bridge()) {
        Some(bridge) if function != other => log::error!(
            "{name}: the IOMMU cannot tell its device {function} from {other}, which {holder} drives: all behind the bridge \
             {bridge} are one to it; it is not started: plug one of them in elsewhere, or leave one driver out of the manifest"
        ),
        _ => log::error!("{name}: {holder} drives its device {function}; it is not started: change the manifest"),
    }
    false
}

/// A domain is never started: its clients learn at once that nobody will ever answer.
fn close_endpoints(supervisor: &Supervisor, index: DomainIndex) {
    for endpoint in &supervisor.system[index].provides {
        if let Some(endpoint) = supervisor.inventory.endpoint(*endpoint)
            && !endpoint.is_none()
            && let Err(error) = endpoint.destroy()
        {
            log::error!("{}: its endpoint cannot be closed: {error}", supervisor.name(index));
        }
    }
}

/// Builds an instance and starts it.
pub(crate) fn start(supervisor: &Rc<Supervisor>, index: DomainIndex) {
    let built = supervisor.watched_domain(index).built;
    let device = supervisor.watched_domain(index).device.map(|device| device.group);
    let blueprint = Blueprint {
        system: &supervisor.system,
        inventory: &supervisor.inventory,
        archive: &supervisor.archive,
        images: &supervisor.images,
        own_space: &supervisor.space,
        control: supervisor.watched_domain(index).control(),
        faults: (supervisor.inventory.faults(), u64::from(index.0) + FAULT_BADGE_BASE),
        device,
        handover: None,
    };
    if device.is_some() {
        devices::note_past(supervisor);
    }
    let prepared = spawn::prepare(&blueprint, index, built);
    {
        let mut watched = supervisor.watched_mut(index);
        watched.built += 1;
        watched.started = Instant::now();
    }
    match prepared.and_then(|prepared| launch(supervisor, index, prepared)) {
        Ok(instance) => {
            let mut watched = supervisor.watched_mut(index);
            watched.instance = Some(instance);
            watched.state = DomainState::Starting;
            let (processor, wanted) = (watched.processor, supervisor.system[index].cpu);
            drop(watched);
            supervisor.note(index, Standing::Alive);
            if built == 0 && processor != wanted {
                log::info!("{}: the machine has no processor {wanted}; it runs on processor 0", supervisor.name(index));
            }
        }
        Err(error) => {
            log::error!("{}: cannot be started: {error}", supervisor.name(index));
            let custody = supervisor.watched_mut(index).custody.take();
            custody.iter().for_each(|custody| supervisor.note_gone(custody));
            count(supervisor, index, Death::new(DeathCause::Exit(0), format!("could not be started: {error}")));
            go_on(supervisor, index);
        }
    }
}

/// Lets an instance run that is built. Before it does, everything is noted that a successor needs to find it.
fn launch(supervisor: &Supervisor, index: DomainIndex, prepared: Prepared) -> Result<Instance, BuildError> {
    let processor = prepared.instance().processor();
    {
        let mut watched = supervisor.watched_mut(index);
        (watched.processor, watched.runtime) = (processor, 0);
    }
    supervisor.entrust(index, prepared.instance());
    supervisor.note(index, Standing::Prepared);
    prepared.start()
}

/// Takes a dead or condemned domain apart: its device first, so that nothing it does can reach memory that is used
/// again. Then plans the next instance.
pub(crate) fn bury(supervisor: &Rc<Supervisor>, index: DomainIndex, death: Death) {
    crash::examine(supervisor, index, &death);
    if supervisor.watched_domain(index).instance.is_none() {
        return;
    }
    let story = death.story.clone();
    let deaths = supervisor.watched_domain(index).deaths;
    count(supervisor, index, death);
    if take_apart(supervisor, index) == Remains::WithoutDevice {
        // Whatever it has died of: without its device it could do nothing, and another start would not help.
        supervisor.watched_mut(index).deaths = deaths;
        return removal::lose(supervisor, index, &story);
    }
    log::warn!("{}: {story}", supervisor.name(index));
    go_on(supervisor, index);
}

/// What there was of a domain that was taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remains {
    /// No instance.
    Nothing,
    /// An instance.
    Instance,
    /// An instance whose device does not answer any more.
    WithoutDevice,
}

/// Destroys the present instance, or what is left of it. Tells whether there was one.
pub(crate) fn take_apart(supervisor: &Supervisor, index: DomainIndex) -> Remains {
    if supervisor.watched_domain(index).instance.is_none() {
        return Remains::Nothing;
    }
    supervisor.note(index, Standing::Dying);
    let mut watched = supervisor.watched_mut(index);
    (watched.used_before, watched.runtime) = (watched.used(), 0);
    let Some(instance) = watched.instance.take() else { return Remains::Nothing };
    watched.state = DomainState::Restarting;
    watched.is_releasing = false;
    let history = supervisor.ledger.and_then(|ledger| ledger.history(index));
    if let (Some(status), Some(history)) = (watched.status(), history) {
        for record in status.records(0).0 {
            history.append(record.time, record.level, format_args!("{}", record.text));
        }
    }
    for interrupt in supervisor.resources(index).interrupts() {
        if let Err(error) = interrupt.mask() {
            log::error!("{}: its interrupt cannot be masked: {error}", supervisor.name(index));
        }
    }
    let answers = watched.device.is_none_or(|device| supervisor.bus.silence_all(device));
    if let Err(error) = instance.destroy() {
        log::error!("{}: it cannot be taken apart: {error}", supervisor.name(index));
    }
    let custody = watched.custody.take();
    drop(watched);
    custody.iter().for_each(|custody| supervisor.note_gone(custody));
    supervisor.tell_servers(index);
    if answers { Remains::Instance } else { Remains::WithoutDevice }
}

/// Remembers a death.
pub(crate) fn count(supervisor: &Supervisor, index: DomainIndex, death: Death) {
    let mut watched = supervisor.watched_mut(index);
    watched.last_death = Some(death);
    watched.deaths.note(Instant::now().nanoseconds(), window(supervisor, index));
}

/// Within how long deaths of a domain are counted, in nanoseconds.
fn window(supervisor: &Supervisor, index: DomainIndex) -> u64 {
    match supervisor.system[index].restart {
        Restart::OnDeath { window_ms, .. } => Duration::from_millis(window_ms.into()).as_nanos() as u64,
        Restart::Never => u64::MAX,
    }
}

/// Has a dead domain started again after the wait that its policy says. Beyond its limit that is left to its group, and beyond
/// those the domain is given up.
pub(crate) fn go_on(supervisor: &Rc<Supervisor>, index: DomainIndex) {
    let now = Instant::now();
    let life = {
        let watched = supervisor.watched_domain(index);
        Life {
            deaths: watched.deaths.count(now.nanoseconds(), window(supervisor, index)),
            lived_ms: now.since(watched.started).as_millis() as u64,
            waited_ms: watched.waited,
        }
    };
    let (name, deaths) = (supervisor.name(index), life.deaths);
    match supervisor.decide(index, life, now) {
        Verdict::Restart(wait) => {
            supervisor.watched_mut(index).waited = wait.as_millis() as u32;
            start_at(supervisor, index, now + wait);
        }
        Verdict::RestartGroup { group, domains, wait } => {
            let group = supervisor.system[group].name.as_str();
            let names: Vec<_> = domains.iter().map(|domain| supervisor.name(*domain)).collect();
            let names = names.join(", ");
            log::error!("{name}: died {deaths} times within its window: the group {group} restarts {names}");
            restart_group(supervisor, index, group, &domains, now + wait);
        }
        Verdict::GiveUp(group) => {
            supervisor.watched_mut(index).state = DomainState::GivenUp;
            supervisor.note(index, Standing::GivenUp);
            let beyond = match group {
                Some(group) => format!(", and the group {} is beyond its limit", supervisor.system[group].name),
                None => String::new(),
            };
            log::error!(
                "the system is degraded: {name} died {deaths} times within its window{beyond}; it is given up until \
                 'restart' starts it again"
            );
        }
    }
}

/// Takes the domains of a group apart, and has them started in their order at a moment. The one at `index`, which is dead,
/// was the cause.
fn restart_group(
    supervisor: &Rc<Supervisor>,
    index: DomainIndex,
    group: &str,
    domains: &[DomainIndex],
    moment: Instant,
) {
    let concerned: Vec<DomainIndex> =
        domains.iter().copied().filter(|domain| is_to_live(supervisor, *domain)).collect();
    for domain in &concerned {
        {
            let mut watched = supervisor.watched_mut(*domain);
            watched.deaths = Rate::default();
            watched.waited = 0;
            if *domain != index {
                let story = format!("was restarted with its group {group}, because of {}", supervisor.name(index));
                watched.last_death = Some(Death::new(DeathCause::Escalated, story));
            }
        }
        // A successor goes through with it for all of them.
        supervisor.note(*domain, Standing::Dying);
    }
    for domain in concerned.iter().rev() {
        take_apart(supervisor, *domain);
    }
    for domain in concerned {
        start_at(supervisor, domain, moment);
    }
}

/// Whether a domain was started before and is to run: not if its device is not there, or it is started once only.
fn is_to_live(supervisor: &Supervisor, index: DomainIndex) -> bool {
    let watched = supervisor.watched_domain(index);
    let ended = supervisor.system[index].restart == Restart::Never && watched.instance.is_none();
    watched.built > 0 && !ended
}

/// Has a domain of which there is no instance started at a moment.
pub(crate) fn start_at(supervisor: &Rc<Supervisor>, index: DomainIndex, moment: Instant) {
    supervisor.watched_mut(index).state = DomainState::BackingOff;
    supervisor.note(index, Standing::Due(moment.nanoseconds()));
    let built = supervisor.watched_domain(index).built;
    let supervisor = supervisor.clone();
    executor::spawn(async move {
        executor::sleep_until(moment).await;
        let due = {
            let watched = supervisor.watched_domain(index);
            watched.state == DomainState::BackingOff && watched.built == built
        };
        if due {
            start(&supervisor, index);
        }
    });
}

/// Asks a domain to come to rest and waits until it has, or its time is up. Tells whether it did.
pub(crate) async fn bring_to_rest(supervisor: &Supervisor, index: DomainIndex) -> bool {
    if supervisor.watched_domain(index).instance.is_none() {
        return true;
    }
    if supervisor.resources(index).notification().notify(1 << SHUTDOWN_BIT).is_err() {
        return false;
    }
    // Should the supervisor die meanwhile, nobody else would start it again.
    supervisor.note(index, Standing::Resting);
    let built = supervisor.watched_domain(index).built;
    let until = Instant::now() + REST_TIME;
    while Instant::now() < until {
        {
            let watched = supervisor.watched_domain(index);
            if watched.instance.is_none() || watched.built != built {
                return false;
            }
            if watched.status().is_some_and(|status| status.phase() == Phase::Stopped) {
                return true;
            }
        }
        executor::sleep(REST_STEP).await;
    }
    false
}

/// Restarts a domain by request: at rest if it comes to rest in time. Works for one that was given up, too.
///
/// # Errors
/// `NotRunning` if its device is absent or not its to drive.
pub(crate) async fn restart(supervisor: &Rc<Supervisor>, index: DomainIndex) -> Result<(), SupervisionError> {
    may_start(supervisor, index)?;
    let built = supervisor.watched_domain(index).built;
    if !bring_to_rest(supervisor, index).await {
        if supervisor.watched_domain(index).built != built {
            log::info!("{}: died while it was to come to rest, and was started again for that", supervisor.name(index));
            return Ok(());
        }
        log::warn!("{}: did not come to rest in time; it is restarted as it is", supervisor.name(index));
    }
    start_again(supervisor, index)
}

/// Restarts a domain by request, as it is. Works for one that was given up, too.
///
/// # Errors
/// As [`restart`].
pub(crate) fn renew(supervisor: &Rc<Supervisor>, index: DomainIndex) -> Result<(), SupervisionError> {
    may_start(supervisor, index)?;
    start_again(supervisor, index)
}

fn may_start(supervisor: &Supervisor, index: DomainIndex) -> Result<(), SupervisionError> {
    match supervisor.watched_domain(index).state {
        DomainState::Absent | DomainState::Unplugged | DomainState::Refused | DomainState::Inseparable => {
            Err(SupervisionError::NotRunning)
        }
        _ => Ok(()),
    }
}

/// Destroys the present instance, if there is one, and builds the next one, as if none had died before.
fn start_again(supervisor: &Rc<Supervisor>, index: DomainIndex) -> Result<(), SupervisionError> {
    take_apart(supervisor, index);
    {
        let mut watched = supervisor.watched_mut(index);
        watched.last_death = Some(Death::new(DeathCause::Restarted, "was restarted by request"));
        watched.deaths = Rate::default();
        watched.waited = 0;
    }
    start(supervisor, index);
    let running = supervisor.watched_domain(index).instance.is_some();
    if running { Ok(()) } else { Err(SupervisionError::CannotRebuild) }
}
