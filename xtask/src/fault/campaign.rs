//! Many batches of faults, in several machines at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::HumanDuration;
use manifest::{Domain, DomainIndex, Kind};
use sha2::{Digest, Sha256};

use super::answer::Answer;
use super::crossing::Annex;
use super::operator::Operator;
use super::profile::Profile;
use super::program::Program;
use super::random::Random;
use super::record::{Batch, Fault, Header, Records, digits, orders};
use super::report::{self, Summary};
use super::subject::{self, FILE, Silence, Subject};
use super::verdict::{Verdict, judge};
use super::{FaultError, culprit};
use crate::build::{self, Built, Composition};
use crate::disk::{self, Findings};
use crate::progress::Step;
use crate::{setup, workspace};

/// How long the workload uses a target whose code was changed, if nothing happens.
const TIME: Duration = Duration::from_millis(400);
/// What is typed at the shell.
const TYPED: [&str; 4] = ["ls /disk", "ps", "cat /disk/none", "help"];
/// How many choices there are for each fault of a batch: some do not fit, or meet an instruction that another one changes.
const CHOICES: usize = 40;
/// The standard workload.
pub const WORKLOAD: &str = "work";
/// Domains whose code is not changed: those of the campaign, and whoever changes that of the others.
const UNCHANGED: [&str; 5] = ["injector", "line", "tally", "work", "supervisor"];
/// How often it is said how far a campaign has come, where there is no terminal to show it all the time.
const NEWS: Duration = Duration::from_secs(30);

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The domains whose code is to be changed; all of the system's if there are none.
    pub targets: Vec<String>,
    /// How many faults.
    pub faults: u64,
    /// How many of them at a time; as many as their kinds suggest otherwise.
    pub batch: Option<usize>,
    /// The seed from which they follow.
    pub seed: u64,
    /// The kinds of fault; all of those in code if there are none.
    pub operators: Vec<Operator>,
    /// The program that works meanwhile and checks what it reads.
    pub workload: String,
    /// Commands with their arguments that it is to have carried out, too.
    pub asked: Vec<String>,
    /// How many machines at once.
    pub jobs: usize,
    /// The folder in which everything is kept; one of its own for each campaign otherwise.
    pub folder: Option<PathBuf>,
}

/// What came of a campaign or of a part of it.
#[derive(Debug)]
pub struct Outcome {
    /// For people, on a terminal.
    pub text: String,
    /// Each domain whose code was changed, and whether everything was survived that was done to it.
    pub targets: BTreeMap<String, bool>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            targets: Vec::new(),
            faults: 5_000,
            batch: None,
            seed: 1,
            operators: Vec::new(),
            workload: WORKLOAD.to_owned(),
            asked: Vec::new(),
            jobs: 2,
            folder: None,
        }
    }
}

impl Outcome {
    /// Whether everything was survived.
    pub fn survived(&self) -> bool {
        self.targets.values().all(|survived| *survived)
    }
}

/// A domain whose code can be changed.
struct Target {
    program: Program,
    /// Drivers that use it when they start, and have to start again for it to have something to do.
    clients: Vec<String>,
    /// What is typed at the shell, if that is how it comes to have something to do.
    typed: &'static [&'static str],
}

impl Target {
    fn of(system: &manifest::System, index: DomainIndex, program: Program) -> Self {
        let domain = &system[index];
        let is_client = |client: &Domain| {
            client.kind == Kind::Driver && client.uses.iter().any(|usage| domain.provides.contains(&usage.endpoint))
        };
        let clients = system.domains.iter().filter(|client| is_client(client)).map(|client| client.name.clone());
        let used = domain.uses.iter().map(|usage| usage.endpoint);
        let has_console =
            domain.provides.iter().copied().chain(used).any(|endpoint| system[endpoint].interface == "console");
        Self { program, clients: clients.collect(), typed: if has_console { &TYPED } else { &[] } }
    }
}

/// The system that is tested.
struct System {
    built: Built,
    targets: BTreeMap<String, Target>,
    disk: Vec<u8>,
    /// The hash of the image.
    image: String,
}

impl System {
    fn build(workload: &str, asked: &[String]) -> Result<Self, FaultError> {
        let source = setup::ensure()?;
        subject::sweep(&machines());
        let composition = Composition::of_campaign(&workspace::root(), workload, asked)?;
        let built = build::build(&composition, &source)?;
        let manifest = composition.manifest.as_deref().map(manifest::System::decode);
        let Some(Ok(manifest)) = manifest else { unreachable!("the composition was compiled just now") };
        let mut targets = BTreeMap::new();
        for (index, domain) in manifest.domains().filter(|(_, domain)| !UNCHANGED.contains(&domain.name.as_str())) {
            let path = built.programs.get(&domain.binary);
            let path = path.ok_or_else(|| build::BuildError::NoProgram(domain.binary.clone()))?;
            targets.insert(domain.name.clone(), Target::of(&manifest, index, Program::read(path)?));
        }
        let path = workspace::system_target().join("campaign.img");
        disk::write_load(&path, FILE)?;
        let image = digits(&Sha256::digest(fs::read(&built.image)?)[..8]);
        Ok(Self { built, targets, disk: fs::read(path)?, image })
    }

    fn boot(&self) -> Result<Subject, FaultError> {
        Subject::boot(&self.built, &self.disk, &machines())
    }

    /// The domains that were asked for.
    fn targets(&self, asked: &[String]) -> Result<Vec<String>, FaultError> {
        let known = || self.targets.keys().cloned().collect::<Vec<_>>();
        if asked.is_empty() || asked == ["all"] {
            return Ok(known());
        }
        match asked.iter().find(|name| !self.targets.contains_key(*name)) {
            Some(name) => Err(FaultError::NoTarget { name: name.clone(), known: known().join(", ") }),
            None => Ok(asked.to_vec()),
        }
    }
}

/// The instructions of a program that can have a fault of one kind.
struct Places {
    operator: Operator,
    all: Vec<usize>,
    /// Those of them that are known to be executed.
    reached: Vec<usize>,
}

impl Places {
    /// One of them; mostly one that is executed, if that is known of any.
    fn one(&self, random: &mut Random) -> usize {
        let places = if !self.reached.is_empty() && random.below(8) > 0 { &self.reached } else { &self.all };
        *random.of_all(places)
    }
}

/// The instructions of each target that can have a fault, by its kind.
type Sites = BTreeMap<String, Vec<Places>>;

fn sites(system: &System, header: &Header, profile: &Profile) -> Result<Sites, FaultError> {
    let mut all = Sites::new();
    for target in &header.targets {
        let program = &system.targets[target].program;
        let of_target = header.operators.iter().map(|operator| {
            let all = operator.sites(program);
            Places { operator: *operator, reached: profile.reached(target, program, &all), all }
        });
        let of_target: Vec<_> = of_target.filter(|places| !places.all.is_empty()).collect();
        if of_target.is_empty() {
            return Err(FaultError::NoSite(target.clone()));
        }
        all.insert(target.clone(), of_target);
    }
    Ok(all)
}

/// Finds out which system calls the targets make, if there are to be faults at any.
fn profile(system: &System, header: &Header) -> Result<Profile, FaultError> {
    let mut profile = Profile::default();
    if !header.operators.iter().any(|operator| operator.is_crossing()) {
        return Ok(profile);
    }
    let mut subject = system.boot()?;
    for target in &header.targets {
        let of_target = &system.targets[target];
        let questions = Profile::questions(&header.operators, &of_target.program);
        let changes = Profile::changes(&questions, &of_target.program);
        match subject.carry_out(&order(target, changes, &of_target.clients), of_target.typed) {
            Ok(answer) => profile.note(target, &questions, &answer.orders),
            Err(Silence::Refused(reason)) => return Err(FaultError::Refused { target: target.clone(), reason }),
            Err(Silence::Machine(why)) => return Err(FaultError::NoBoot { why, shown: subject.transcript() }),
        }
    }
    subject.end().bury();
    Ok(profile)
}

/// Chooses the faults of a batch.
fn choose(system: &System, header: &Header, sites: &Sites, number: u64) -> Batch {
    let mut random = Random::of(header.seed, number);
    let target = header.targets[(number % header.targets.len() as u64) as usize].clone();
    let program = &system.targets[&target].program;
    let left = header.faults - number * header.batch as u64;
    let wanted = left.min(header.batch as u64) as usize;
    let mut faults: Vec<Fault> = Vec::new();
    let mut annex = Annex::new();
    for _ in 0..CHOICES * wanted {
        if faults.len() == wanted {
            break;
        }
        let places = random.of_all(&sites[&target]);
        let position = places.one(&mut random);
        let mut trial = annex.clone();
        let Some(fault) = places.operator.inject(program, position, &mut trial, &mut random) else { continue };
        if !faults.iter().any(|other| other.overlaps(&fault)) {
            faults.push(fault);
            annex = trial;
        }
    }
    Batch {
        number,
        target,
        faults,
        verdict: Verdict::NotExecuted,
        story: String::new(),
        recovered: None,
        culprit: None,
        workload: header.workload.clone(),
        asked: header.asked.clone(),
        image: system.image.clone(),
    }
}

/// The order to make changes, and to start clients anew meanwhile.
fn order(target: &str, changes: impl IntoIterator<Item = String>, clients: &[String]) -> String {
    let mut order = format!("batch {target} {}", TIME.as_millis());
    for word in changes.into_iter().chain(clients.iter().map(|client| format!("!{client}"))) {
        order.push(' ');
        order.push_str(&word);
    }
    order
}

/// A machine that lasts for as many batches as leave it well.
struct Bed<'a> {
    system: &'a System,
    subject: Option<(Subject, Answer)>,
}

/// What a batch did, and what the machine showed if that is over.
struct Effect {
    answer: Answer,
    verdict: Verdict,
    story: String,
    remains: Option<String>,
}

impl Bed<'_> {
    /// Injects faults, and sees what becomes of it. A machine that is not as it was before is not used again.
    fn inject(&mut self, target: &str, faults: &[&Fault]) -> Result<Effect, FaultError> {
        let (mut subject, before) = match self.subject.take() {
            Some(subject) => subject,
            None => {
                let mut subject = self.system.boot()?;
                subject.wrong_lines();
                let before = match subject.carry_out("look", &[]) {
                    Ok(answer) => answer,
                    Err(_) => return Err(FaultError::NoBoot { why: "no answer".into(), shown: subject.transcript() }),
                };
                (subject, before)
            }
        };
        let changes = faults.iter().flat_map(|fault| fault.changes());
        let clients = &self.system.targets[target].clients;
        let after = match subject.carry_out(&order(target, changes, clients), self.system.targets[target].typed) {
            Ok(answer) if !subject.has_panicked() => Answer { orders: orders(faults, &answer.orders), ..answer },
            Ok(answer) => return Ok(Effect::of_kernel(answer, "the kernel panicked".to_owned(), &subject)),
            Err(Silence::Machine(why)) => return Ok(Effect::of_kernel(Answer::default(), why, &subject)),
            Err(Silence::Refused(reason)) => return Err(FaultError::Refused { target: target.to_owned(), reason }),
        };
        let (mut verdict, mut story) = judge(target, clients, &before, &after, subject.wrong_lines());
        let mut remains = None;
        if verdict <= Verdict::Recovered {
            self.subject = Some((subject, after.clone()));
        } else {
            remains = Some(subject.testimony());
            let corpse = subject.end();
            disk::mark_clean(&corpse.disk())?;
            // A service that is not there any more because its data is damaged is damaged data.
            if verdict == Verdict::NotRecovered
                && let Findings { clean: false, text } = disk::fsck(&corpse.disk())?
            {
                verdict = Verdict::WrongData;
                story = format!("{story}; fsck.fat finds the volume damaged: {}", text.trim().replace('\n', " / "));
            }
            corpse.bury();
        }
        Ok(Effect { answer: after, verdict, story, remains })
    }

    /// Injects a batch, finds out which of its faults it was, and notes both.
    fn carry_out(&mut self, batch: &mut Batch) -> Result<Option<String>, FaultError> {
        let faults: Vec<Fault> = batch.faults.clone();
        let effect = self.inject(&batch.target, &faults.iter().collect::<Vec<_>>())?;
        for (fault, order) in batch.faults.iter_mut().zip(&effect.answer.orders) {
            fault.order = *order;
        }
        (batch.verdict, batch.story, batch.recovered) = (effect.verdict, effect.story, effect.answer.recovered);
        if batch.verdict.is_harmful() && !batch.verdict.ends_campaign() {
            let mut executed: Vec<usize> =
                (0..faults.len()).filter(|position| batch.faults[*position].order > 0).collect();
            executed.sort_by_key(|position| batch.faults[*position].order);
            batch.culprit = culprit::find(&executed, |some| {
                let some: Vec<&Fault> = some.iter().map(|position| &faults[*position]).collect();
                Ok::<_, FaultError>(self.inject(&batch.target, &some)?.verdict == effect.verdict)
            })?;
        }
        Ok(effect.remains)
    }
}

impl Drop for Bed<'_> {
    fn drop(&mut self) {
        if let Some((subject, _)) = self.subject.take() {
            subject.end().bury();
        }
    }
}

impl Effect {
    fn of_kernel(answer: Answer, story: String, subject: &Subject) -> Self {
        Self { answer, verdict: Verdict::KernelHarmed, story, remains: Some(subject.transcript()) }
    }
}

/// Carries a campaign out, or goes on with it where it was interrupted.
///
/// # Errors
///
/// [`FaultError`].
pub fn run(plan: &Plan) -> Result<Outcome, FaultError> {
    let system = System::build(&plan.workload, &plan.asked)?;
    let operators = if plan.operators.is_empty() { Operator::CODE.to_vec() } else { plan.operators.clone() };
    let header = Header {
        targets: system.targets(&plan.targets)?,
        faults: plan.faults,
        batch: plan.batch.unwrap_or_else(|| batch_of(&operators)),
        seed: plan.seed,
        operators,
        workload: plan.workload.clone(),
        asked: plan.asked.clone(),
        image: system.image.clone(),
    };
    let folder = plan.folder.clone().unwrap_or_else(|| own_folder(&header));
    let (records, done) = Records::open(&folder, &header)?;
    let known = match Profile::read(&folder)? {
        Some(profile) => profile,
        None => {
            let profile = profile(&system, &header)?;
            profile.keep(&folder)?;
            profile
        }
    };
    let sites = sites(&system, &header, &known)?;
    let batches = header.faults.div_ceil(header.batch as u64);
    let finished: BTreeSet<u64> = done.iter().map(|batch| batch.number).collect();
    let step = Step::start(format!("Injecting {} faults into {}", header.faults, header.targets.join(", ")));
    if !done.is_empty() {
        step.print(&format!("{} of {batches} batches were done before", done.len()));
    }
    let all = Mutex::new(done);
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let begun = Instant::now();
    let last_news = Mutex::new(begun);
    let job = || -> Result<(), FaultError> {
        let mut bed = Bed { system: &system, subject: None };
        while !stop.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= batches {
                break;
            }
            if finished.contains(&number) {
                continue;
            }
            let mut batch = choose(&system, &header, &sites, number);
            let remains = bed.carry_out(&mut batch)?;
            if let Some(remains) = remains {
                fs::write(records.place(number, "log"), remains)?;
            }
            if batch.verdict.ends_campaign() {
                fs::copy(&system.built.image, records.place(number, "elf"))?;
                stop.store(true, Ordering::Relaxed);
            }
            records.keep(&batch)?;
            let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
            all.push(batch);
            let text = news(&all, finished.len(), batches, begun);
            step.news(&text);
            let mut last = last_news.lock().unwrap_or_else(PoisonError::into_inner);
            if !std::io::stderr().is_terminal() && last.elapsed() > NEWS {
                *last = Instant::now();
                step.print(&text);
            }
        }
        Ok(())
    };
    let outcomes: Vec<_> = thread::scope(|scope| {
        let jobs: Vec<_> = (0..plan.jobs.max(1))
            .map(|_| {
                scope.spawn(|| {
                    let outcome = job();
                    // The others need not go on for nothing.
                    stop.fetch_or(outcome.is_err(), Ordering::Relaxed);
                    outcome
                })
            })
            .collect();
        jobs.into_iter().map(|job| job.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    outcomes.into_iter().collect::<Result<(), _>>()?;
    let mut all = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    all.sort_by_key(|batch| batch.number);
    let rate = rate(&all, finished.len(), begun);
    step.done(&format!("{rate:.0} faults a second"));
    let summary = Summary::of(&header, &all);
    report::write(&summary, &all, records.folder())?;
    Ok(Outcome {
        text: format!("{summary}\n  Everything about it: {}\n", folder.display()),
        targets: summary.survivals(),
    })
}

/// How many faults at a time: of those in code few are executed, of those at system calls most.
fn batch_of(operators: &[Operator]) -> usize {
    if operators.iter().all(|operator| operator.is_crossing()) { 10 } else { 100 }
}

/// Where machines have their folders.
fn machines() -> PathBuf {
    workspace::system_target().join("fault")
}

/// A folder that no other campaign has.
fn own_folder(header: &Header) -> PathBuf {
    let text = serde_json::to_string(header).unwrap_or_default();
    let name = digits(&Sha256::digest(text)[..6]);
    machines().join(format!("campaign-{name}"))
}

/// Faults a second, in this run.
fn rate(all: &[Batch], before: usize, begun: Instant) -> f64 {
    let new: usize = all[before.min(all.len())..].iter().map(|batch| batch.faults.len()).sum();
    new as f64 / begun.elapsed().as_secs_f64().max(0.001)
}

fn news(all: &[Batch], before: usize, batches: u64, begun: Instant) -> String {
    let new = (all.len() - before).max(1) as f64;
    let left = begun.elapsed().mul_f64((batches as f64 - all.len() as f64) / new);
    let deaths = all.iter().filter(|batch| batch.verdict == Verdict::Recovered).count();
    let worse = all.iter().filter(|batch| batch.verdict > Verdict::Recovered).count();
    format!(
        "{} of {batches} batches, {:.0} faults a second, {} left; {deaths} died and recovered, {worse} worse",
        all.len(),
        rate(all, before, begun),
        HumanDuration(left)
    )
}

/// Injects a batch again that a campaign has kept.
///
/// # Errors
///
/// [`FaultError`].
pub fn replay(record: &std::path::Path) -> Result<Outcome, FaultError> {
    let before = Batch::read(record)?;
    let system = System::build(&before.workload, &before.asked)?;
    let [target] = &system.targets(std::slice::from_ref(&before.target))?[..] else {
        unreachable!("one target was asked for")
    };
    for fault in &before.faults {
        let program = &system.targets[target].program;
        let found = digits(&program.bytes(fault.address, fault.old.len() / 2));
        if found != fault.old {
            let (address, recorded) = (fault.address, fault.old.clone());
            return Err(FaultError::OtherProgram { target: target.clone(), address, found, recorded });
        }
    }
    let mut batch = Batch { culprit: None, ..before.clone() };
    let step = Step::start(format!("Injecting {} faults into {target} again", batch.faults.len()));
    let remains = Bed { system: &system, subject: None }.carry_out(&mut batch)?;
    step.quiet();
    let mut text = format!(
        "before: {}: {}\nagain:  {}: {}\n",
        before.verdict.name(),
        before.story,
        batch.verdict.name(),
        batch.story
    );
    text.push_str(&report::faults(&batch));
    if let Some(remains) = remains {
        let place = record.with_extension("again.log");
        fs::write(&place, remains)?;
        text.push_str(&format!("What the machine showed: {}\n", place.display()));
    }
    let targets = BTreeMap::from([(target.clone(), batch.verdict.is_survived())]);
    Ok(Outcome { text, targets })
}
