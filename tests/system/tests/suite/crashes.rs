//! The disk's driver and the file server break while files are read and written.

use std::time::{Duration, Instant};

use system_tests::{Bench, Random, Shell, assert_clean, filling};
use xtask::disk::{self, BIG_FILE, Fingerprint, Inventory};

/// How often the driver breaks in the long test, and how many of the deaths must meet a request in flight.
const DEATHS: u64 = 200;
const DEATHS_IN_FLIGHT: u64 = 150;
/// Deaths that are planned before the commands that they meet.
const SERIES: u32 = 16;
/// A planned death after this number of deaths is by a hang, which costs a heartbeat.
const HANGS: [u64; 5] = [20, 60, 100, 140, 180];
/// From one death to the next, at least: after many deaths a driver is started again only after 500 ms.
const PAUSE: Duration = Duration::from_millis(680);
/// A death comes so much later at most, at random.
const JITTER: Duration = Duration::from_millis(250);
/// What typing a command may take.
const TYPING: Duration = Duration::from_millis(250);
/// How much longer it takes until a driver that hangs is started again.
const HANG: Duration = Duration::from_millis(4200);
/// How long a command may take while the driver breaks.
const PATIENCE: Duration = Duration::from_secs(300);

/// Makes the disk as slow as 4 MiB a second, so that the driver has a request nearly all the time, and has it for long.
fn slow_down(bench: &mut Bench) {
    let limit = format!("drive.disk0.throttling.bps-total={}", 4 << 20);
    bench.machine.extra.extend(["-set".into(), limit.into()]);
}

/// The cells of the line of `ps` on a domain.
fn described(shell: &mut Shell, domain: &str) -> Vec<String> {
    let list = shell.must("ps");
    let line = list.lines().find(|line| line.split_whitespace().next() == Some(domain));
    let line = line.unwrap_or_else(|| panic!("`ps` does not list {domain}:\n{list}"));
    // There are two spaces between columns, and single ones within.
    line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(Into::into).collect()
}

/// Waits until a domain runs; returns how often it was started again.
fn restarts_of(shell: &mut Shell, domain: &str) -> u64 {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let cells = described(shell, domain);
        if cells[1] == "running" {
            return cells[6].parse().unwrap_or_else(|_| panic!("no number of restarts: {cells:?}"));
        }
        assert!(Instant::now() < deadline, "{domain} does not come back: {cells:?}");
    }
}

/// A count that a table of the shell shows.
fn count(table: &str, name: &str) -> u64 {
    let line = table.lines().find(|line| line.starts_with(name));
    let number = line.and_then(|line| line.split_whitespace().last()).and_then(|word| word.parse().ok());
    number.unwrap_or_else(|| panic!("it does not show {name}:\n{table}"))
}

/// Asserts that the kernel had nothing to say that is worse than information.
fn kernel_is_content(shell: &mut Shell) {
    let log = shell.must("log -n 100000");
    assert!(log.lines().any(|line| line.contains("] kernel: ")), "the log has no line of the kernel's:\n{log}");
    for line in log.lines() {
        assert!(!line.contains("] kernel: warning: ") && !line.contains("] kernel: error: "), "{line}");
    }
}

/// Commands on files, and what the disk must hold after them.
struct Work {
    random: Random,
    expected: Inventory,
    big: Fingerprint,
    filled: u64,
}

impl Work {
    fn new(bench: &Bench, seed: u64) -> Self {
        let expected = disk::inventory(bench.disk()).expect("the default disk is readable");
        let big = expected.files[&format!("/{BIG_FILE}")].clone();
        Self { random: Random::new(seed), expected, big, filled: 0 }
    }

    fn must(shell: &mut Shell, command: &str) -> String {
        let reply = shell.run_within(command, PATIENCE);
        assert!(reply.succeeded, "`{command}` failed:\n{}\n{}", reply.text, shell.must("log -n 60"));
        reply.text
    }

    /// Has the machine read a file and compares the checksum.
    fn check(shell: &mut Shell, path: &str, file: &Fingerprint) {
        let shown = Self::must(shell, &format!("sum /disk{path}"));
        assert!(shown.contains(&file.hex()), "{path} reads wrong:\n{shown}");
    }

    /// Runs one command, or two that belong together.
    fn go_on(&mut self, shell: &mut Shell) {
        match self.random.below(8) {
            0..=3 => Self::check(shell, &format!("/{BIG_FILE}"), &self.big),
            4 => {
                Self::must(shell, &format!("cp /disk/{BIG_FILE} /disk/work/copy.bin"));
                self.expected.files.insert("/work/copy.bin".into(), self.big.clone());
            }
            5 if self.filled > 0 => {
                let path = format!("/work/{}.bin", self.random.below(self.filled.min(4)));
                let file = self.expected.files[&path].clone();
                Self::check(shell, &path, &file);
            }
            _ => {
                let (path, seed) = (format!("/work/{}.bin", self.filled % 4), self.random.below(1 << 32));
                let size = (1 << 20) + self.random.below(3 << 20);
                Self::must(shell, &format!("fill /disk{path} {size} {seed}"));
                Self::must(shell, "sync");
                self.expected.files.insert(path, Fingerprint::of(&filling(size as usize, seed)));
                self.filled += 1;
            }
        }
    }
}

/// Plans a series of deaths; returns when the last one will be over.
fn plan_deaths(shell: &mut Shell, random: &mut Random, before: u64) -> Instant {
    let mut due = Instant::now() + TYPING * SERIES;
    for number in before..before + u64::from(SERIES) {
        let hangs = HANGS.contains(&number);
        let how = match random.below(8) {
            _ if hangs => "crash virtio-blk hang",
            0 => "crash virtio-blk panic",
            1 => "crash virtio-blk fault",
            _ => "kill virtio-blk",
        };
        let moment = due + random.moment(JITTER);
        let delay = moment.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        shell.must(&format!("{how} --after {}us", delay.as_micros()));
        due += PAUSE + JITTER / 2 + if hangs { HANG } else { Duration::ZERO };
    }
    due
}

#[test]
fn a_disk_driver_that_breaks_two_hundred_times_costs_time_and_nothing_else() {
    let mut bench = Bench::with_default_disk();
    slow_down(&mut bench);
    let mut work = Work::new(&bench, 1);
    let mut random = Random::new(2);
    let mut shell = bench.boot();
    shell.must("mkdir /disk/work");
    work.expected.folders.push("/work".into());
    work.expected.folders.sort();

    shell.must("kill virtio-blk");
    let mut deaths = restarts_of(&mut shell, "virtio-blk");
    let used = shell.must("mem");
    // The bound is only there so that a driver which does not come back is no endless test.
    for _ in 0..2 * DEATHS / u64::from(SERIES) {
        if deaths >= DEATHS {
            break;
        }
        let last = plan_deaths(&mut shell, &mut random, deaths);
        while Instant::now() < last {
            work.go_on(&mut shell);
        }
        deaths = restarts_of(&mut shell, "virtio-blk");
    }

    let told = shell.must("disk");
    let in_flight = count(&told, "starts with requests in flight");
    eprintln!("{deaths} deaths, {in_flight} of them with requests in flight");
    assert!(deaths >= DEATHS, "it was started again only {deaths} times");
    assert_eq!(count(&told, "starts of the driver"), deaths + 1);
    assert!(in_flight >= DEATHS_IN_FLIGHT, "of {deaths} deaths only {in_flight} met a request in flight");
    assert_eq!(shell.must("mem"), used, "after the last restart more or less is in use than after the first");
    assert_eq!(restarts_of(&mut shell, "fat"), 0, "the file server died, too");
    kernel_is_content(&mut shell);
    Work::check(&mut shell, &format!("/{BIG_FILE}"), &work.big);
    shell.shut_down();

    let found = disk::inventory(bench.disk()).expect("the disk is readable");
    for (path, file) in &work.expected.files {
        assert_eq!(found.files.get(path), Some(file), "{path}");
    }
    assert_eq!(found, work.expected);
    assert_clean(bench.disk());
}

/// The ways to break a domain, and the words by which `ps` names each.
const WAYS: [(&str, &str, &str); 4] = [
    ("kill", "", "killed by request"),
    ("crash", " panic", "panic"),
    ("crash", " fault", "bad access"),
    ("crash", " hang", "no heartbeat"),
];

#[test]
fn a_file_is_read_exactly_although_the_disk_driver_breaks_meanwhile() {
    let mut bench = Bench::with_default_disk();
    slow_down(&mut bench);
    let work = Work::new(&bench, 3);
    let mut shell = bench.boot();
    for (number, (command, how, cause)) in (1..).zip(WAYS) {
        shell.must(&format!("{command} virtio-blk{how} --after 700ms"));
        Work::check(&mut shell, &format!("/{BIG_FILE}"), &work.big);
        assert_eq!(restarts_of(&mut shell, "virtio-blk"), number);
        let line = described(&mut shell, "virtio-blk").join(" ");
        assert!(line.contains(cause), "`ps` does not name the cause: {line}");
        let told = shell.must("disk");
        assert_eq!(count(&told, "starts with requests in flight"), number, "it did not break while it read:\n{told}");
    }
    kernel_is_content(&mut shell);
    shell.shut_down();
    assert_clean(bench.disk());
}

#[test]
fn a_reader_is_told_that_the_file_server_broke_and_can_read_again() {
    let mut bench = Bench::with_default_disk();
    slow_down(&mut bench);
    let work = Work::new(&bench, 4);
    let mut shell = bench.boot();
    for (number, (command, how, cause)) in (1..).zip(WAYS) {
        shell.must(&format!("{command} fat{how} --after 700ms"));
        let reply = shell.run_within(&format!("sum /disk/{BIG_FILE}"), PATIENCE);
        if reply.succeeded {
            assert!(reply.text.contains(&work.big.hex()), "it reads wrong:\n{}", reply.text);
        } else {
            let told = reply.text.contains("died") || reply.text.contains("restarted");
            assert!(told, "it does not say what happened: {}", reply.text);
        }
        Work::check(&mut shell, &format!("/{BIG_FILE}"), &work.big);
        assert_eq!(restarts_of(&mut shell, "fat"), number);
        let line = described(&mut shell, "fat").join(" ");
        assert!(line.contains(cause), "`ps` does not name the cause: {line}");
    }
    assert_eq!(restarts_of(&mut shell, "virtio-blk"), 0, "the driver died, too");
    kernel_is_content(&mut shell);
    shell.shut_down();
    assert_clean(bench.disk());
}
