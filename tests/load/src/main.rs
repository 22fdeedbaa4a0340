//! The command `load`: reads a file directly, through the ring between this domain and the file server, keeps many requests
//! in flight, checks every byte that it says it has checked, and says how long it took. Paths are the file server's own.
//!
//! | arguments | what is done |
//! | --- | --- |
//! | `random PATH DEPTH COUNT` | reads so many times 4 KiB in random places, so many at a time, and looks at a word of each sector |
//! | `sequential PATH DEPTH KIB` | reads the file from begin to end, so much at a time, and looks at a word of each page |
//! | `check-random PATH DEPTH COUNT`, `check PATH DEPTH KIB` | the same, and checks every byte |
//!
//! Behind them `for MILLISECONDS` reads the file again and again for so long, and `killing DOMAIN MILLISECONDS` destroys a domain
//! once in each such time, for which this one has to use `supervision`. `recover PATH COUNT DOMAIN` breaks a domain so many
//! times and says what it took until a request was served again ([`recovery`]).
//!
//! What is measured looks at little, because what it is compared with looks at nothing.
//!
//! The word of eight bytes with number `n` in a file that can be checked is `(n + 1) * 0x9e3779b97f4a7c15`.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

extern crate alloc;

mod recovery;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use interfaces::command::{ARGUMENTS_MAX, CommandError, CommandServer, CommandService};
use interfaces::file_ring::{Client, Completion, PAGE, Request, SECTOR};
use interfaces::filesystem::{DirectFile, FilesystemClient};
use interfaces::supervision::SupervisionClient;
use userlib::environment::RingResources;
use userlib::ipc::{Caller, ReadLease, WriteLease};
use userlib::memory::SharedMemory;
use userlib::start::EntryKind;
use userlib::time::{Duration, Instant};

/// What makes the words of a file differ.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
/// Bytes of a word.
const WORD: usize = 8;
/// How often the file server may be started again during one command.
const LIVES: usize = 100;

userlib::entry!(|environment| {
    let files = FilesystemClient::new(environment.connection("filesystem"));
    let ring = environment.ring(EntryKind::RingClient, "filesystem").unwrap_or_else(|missing| panic!("{missing}"));
    let supervisor = environment.uses("supervision").ok().map(|_| environment.connection("supervision"));
    let supervisor = supervisor.map(SupervisionClient::new);
    environment.serve("command", CommandService::new(Load { files, ring, supervisor }))
});

/// What is to be checked of what was read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Check {
    /// Every byte.
    All,
    /// A word of each piece of so many bytes: a misplaced one shows.
    Every(usize),
}

/// A part of the file.
#[derive(Clone, Copy)]
struct Part {
    offset: u64,
    length: usize,
}

/// What is to be read.
struct Plan {
    path: String,
    depth: usize,
    /// Bytes of a part.
    size: usize,
    /// How many parts; the whole file, in order, if none is said.
    random: Option<u64>,
    check: Check,
    /// For how long the file is read, again and again; once if that is not said.
    lasts: Option<Duration>,
    /// Who is destroyed meanwhile, and how often.
    killing: Option<(String, Duration)>,
}

/// How the work went.
#[derive(Default)]
struct Tally {
    parts: u64,
    bytes: u64,
    wrong: u64,
    failed: u64,
    lives: usize,
    deaths: u64,
}

struct Load {
    files: FilesystemClient,
    ring: RingResources,
    /// Who destroys other domains for this one, if it may ask for that.
    supervisor: Option<SupervisionClient>,
}

/// A domain that is destroyed again and again.
struct Victim<'a> {
    supervisor: &'a SupervisionClient,
    name: &'a str,
    every: Duration,
    next: Instant,
}

impl Victim<'_> {
    /// Destroys it if its time has come. Whether it did.
    fn kill_when_due(&mut self) -> Result<bool, CommandError> {
        let now = Instant::now();
        if now < self.next {
            return Ok(false);
        }
        while self.next <= now {
            self.next = self.next + self.every;
        }
        self.supervisor.kill(self.name, 0).map_err(CommandError::failed)?;
        Ok(true)
    }
}

/// Numbers that look random: SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        let mut output = self.0;
        output = (output ^ (output >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        output = (output ^ (output >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (output ^ (output >> 31)) % end
    }
}

/// Whether the words from byte `offset` of the file on are as they should be.
fn is_right(words: SharedMemory<'_>, offset: u64) -> bool {
    let mut expected = (offset / WORD as u64 + 1).wrapping_mul(STEP);
    let mut difference = 0;
    for word in words.words() {
        difference |= word.load(Ordering::Relaxed) ^ expected;
        expected = expected.wrapping_add(STEP);
    }
    difference == 0
}

fn check(buffer: SharedMemory<'_>, part: Part, how: Check) -> bool {
    let Some(words) = buffer.part(0..part.length) else { return false };
    match how {
        Check::All => is_right(words, part.offset),
        Check::Every(bytes) => {
            let mut expected = (part.offset / WORD as u64 + 1).wrapping_mul(STEP);
            words.words().iter().step_by(bytes / WORD).all(|word| {
                let is_right = word.load(Ordering::Relaxed) == expected;
                expected = expected.wrapping_add(STEP.wrapping_mul((bytes / WORD) as u64));
                is_right
            })
        }
    }
}

/// Parts that are not read yet.
struct Parts {
    next: u64,
    end: u64,
    size: usize,
    random: Option<(Random, u64)>,
    /// Until when it begins anew.
    until: Option<Instant>,
}

impl Iterator for Parts {
    type Item = Part;

    fn next(&mut self) -> Option<Part> {
        if let Some((random, left)) = &mut self.random {
            *left = left.checked_sub(1)?;
            let offset = random.below(self.end / self.size as u64) * self.size as u64;
            return Some(Part { offset, length: self.size });
        }
        if let Some(until) = self.until {
            if Instant::now() >= until {
                return None;
            }
            if self.next >= self.end {
                self.next = 0;
            }
        }
        let length = (self.end - self.next).min(self.size as u64);
        let part = Part { offset: self.next, length: length as usize };
        self.next += length;
        (length > 0).then_some(part)
    }
}

impl Load {
    async fn join(&self, path: &str) -> Result<(Client, DirectFile), CommandError> {
        let ring = Client::join(&self.files, self.ring).await?;
        Ok((ring, self.files.open_direct(path)?))
    }

    fn victim<'a>(&'a self, plan: &'a Plan) -> Result<Option<Victim<'a>>, CommandError> {
        let Some((name, every)) = &plan.killing else { return Ok(None) };
        let supervisor = self.supervisor()?;
        // In the middle of its time, so that of a reading of any length as much is lost as it takes deaths.
        Ok(Some(Victim { supervisor, name, every: *every, next: Instant::now() + *every / 2 }))
    }

    fn supervisor(&self) -> Result<&SupervisionClient, CommandError> {
        self.supervisor.as_ref().ok_or_else(|| CommandError::failed("the manifest lets this domain kill nobody"))
    }

    async fn read(&self, plan: &Plan) -> Result<(Tally, u64), CommandError> {
        let (mut ring, mut file) = self.join(&plan.path).await?;
        let pages = plan.size.div_ceil(PAGE);
        if plan.depth == 0 || plan.depth * pages > ring.buffer_pages() {
            return Err(CommandError::failed("the ring's buffer area has no room for so much at a time"));
        }
        let end = file.length / SECTOR as u64 * SECTOR as u64;
        if plan.random.is_some() && end < plan.size as u64 {
            return Err(CommandError::failed("the file is too short"));
        }
        let random = plan.random.map(|count| (Random(1), count));
        let until = plan.lasts.map(|time| Instant::now() + time);
        let mut parts = Parts { next: 0, end, size: plan.size, random, until };
        let mut victim = self.victim(plan)?;
        let mut in_flight: Vec<Option<Part>> = (0..plan.depth).map(|_| None).collect();
        let mut tally = Tally::default();
        let mut free: Vec<usize> = (0..plan.depth).collect();
        let start = Instant::now();
        loop {
            while let Some(place) = free.pop() {
                let Some(part) = parts.next() else { break };
                in_flight[place] = Some(part);
                submit(&mut ring, &file, place, part, pages)?;
            }
            ring.tell();
            if in_flight.iter().all(Option::is_none) {
                break;
            }
            if let Some(victim) = &mut victim {
                tally.deaths += u64::from(victim.kill_when_due()?);
            }
            let mut completed = ring.next().await;
            while let Ok(completion) = completed {
                let place = completion.number as usize;
                let part = in_flight.get_mut(place).and_then(Option::take);
                let part = part.ok_or_else(|| CommandError::failed("something was read that nobody asked for"))?;
                tally.count(&ring, completion, part, place * pages, plan.check);
                free.push(place);
                match ring.completion() {
                    Ok(Some(next)) => completed = Ok(next),
                    Ok(None) => break,
                    Err(gone) => completed = Err(gone),
                }
            }
            if completed.is_err() {
                // Whatever was asked for is asked for again.
                tally.lives += 1;
                if tally.lives > LIVES {
                    return Err(CommandError::failed("the file server dies again and again"));
                }
                (ring, file) = self.join(&plan.path).await?;
                for (place, part) in in_flight.iter().enumerate() {
                    if let Some(part) = part {
                        submit(&mut ring, &file, place, *part, pages)?;
                    }
                }
            }
        }
        let nanoseconds = Instant::now().nanoseconds() - start.nanoseconds();
        self.files.close(file.file)?;
        Ok((tally, nanoseconds))
    }
}

fn submit(ring: &mut Client, file: &DirectFile, place: usize, part: Part, pages: usize) -> Result<(), CommandError> {
    let request = Request {
        number: place as u64,
        window: file.window,
        sector: part.offset / SECTOR as u64,
        count: (part.length / SECTOR) as u32,
        page: (place * pages) as u32,
    };
    ring.submit(&request).map_err(CommandError::failed)
}

impl Tally {
    fn count(&mut self, ring: &Client, completion: Completion, part: Part, page: usize, how: Check) {
        self.parts += 1;
        match completion.sectors {
            Ok(sectors) if sectors as usize * SECTOR == part.length => {
                self.bytes += part.length as u64;
                let start = page * PAGE;
                let buffer = ring.buffer().part(start..start + part.length);
                self.wrong += u64::from(!buffer.is_some_and(|buffer| check(buffer, part, how)));
            }
            Ok(_) | Err(_) => self.failed += 1,
        }
    }
}

fn number(word: &str) -> Result<u64, CommandError> {
    word.parse().map_err(|_| usage())
}

fn plan(words: &[&str]) -> Result<Plan, CommandError> {
    let [what, path, depth, amount, options @ ..] = words else { return Err(usage()) };
    let (depth, amount) = (number(depth)? as usize, number(amount)?);
    let (size, random, check) = match *what {
        "random" => (PAGE, Some(amount), Check::Every(SECTOR)),
        "check-random" => (PAGE, Some(amount), Check::All),
        "sequential" if amount > 0 => ((amount as usize) << 10, None, Check::Every(PAGE)),
        "check" if amount > 0 => ((amount as usize) << 10, None, Check::All),
        _ => return Err(usage()),
    };
    let mut plan = Plan { path: (*path).into(), depth, size, random, check, lasts: None, killing: None };
    let mut left = options;
    loop {
        left = match left {
            ["for", time, rest @ ..] => {
                plan.lasts = Some(Duration::from_millis(number(time)?));
                rest
            }
            ["killing", name, time, rest @ ..] => {
                let every = Duration::from_millis(number(time)?.max(1));
                plan.killing = Some(((*name).into(), every));
                rest
            }
            [] => return Ok(plan),
            _ => return Err(usage()),
        }
    }
}

fn usage() -> CommandError {
    CommandError::usage(
        "[check-]random PATH DEPTH COUNT | sequential or check PATH DEPTH KIB | recover PATH COUNT DOMAIN",
    )
}

impl CommandServer for Load {
    async fn run(&self, _: &Caller, arguments: ReadLease, output: WriteLease) -> Result<usize, CommandError> {
        let arguments = arguments.to_text(ARGUMENTS_MAX)?;
        let words: Vec<&str> = arguments.split(' ').collect();
        if let ["recover", path, count, domain] = words[..] {
            let said = self.recover(path, number(count)?, domain).await?;
            output.write(0, said.as_bytes())?;
            return Ok(said.len());
        }
        let plan = plan(&words)?;
        let (tally, nanoseconds) = self.read(&plan).await?;
        let Tally { parts, bytes, wrong, failed, lives, deaths } = tally;
        let said = format!(
            "load: {parts} parts, {bytes} bytes, {nanoseconds} ns, {wrong} wrong, {failed} failed, {lives} new servers, \
             {deaths} deaths\n"
        );
        output.write(0, said.as_bytes())?;
        if wrong + failed > 0 {
            return Err(CommandError::failed(said.trim_end()));
        }
        Ok(said.len())
    }
}
