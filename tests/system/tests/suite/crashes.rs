//! The disk's driver and the file server break while files are read and written.

use std::time::{Duration, Instant};

use interfaces::crash_log;
use system_tests::{Bench, Random, Shell, assert_clean, filling};
use xtask::disk::{self, BIG_FILE, Fingerprint, Inventory};

/// How often the driver breaks in the long test, and how many of the deaths must meet a request in flight.
const DEATHS: u64 = 200;
const DEATHS_IN_FLIGHT: u64 = 150;
/// Deaths that are planned before the commands that they meet.
const SERIES: u32 = 25;
/// After so many deaths the next one is by a hang, which costs a heartbeat.
const HANGS: [u64; 5] = [20, 60, 100, 140, 180];
/// From one death to the next, at least: after many deaths a driver is started again only after 500 ms.
const PAUSE: Duration = Duration::from_millis(600);
/// A death comes so much later at most, at random.
const JITTER: Duration = Duration::from_millis(300);
/// How much longer it takes until a driver that hangs is started again.
const HANG: Duration = Duration::from_millis(4200);
/// How long a command may take while the driver breaks.
const PATIENCE: Duration = Duration::from_secs(300);

/// Bytes of the files that the long test reads: more than the file server's cache holds.
const FILE: u64 = 5 << 20;

/// Limits the bytes a second that are read from the disk and written to it, so that the driver has requests for long.
///
/// When a driver dies, QEMU carries out at once what it had requested, and then lets the next one wait as if that had
/// taken its time. What can be in flight at once must therefore not take longer than a driver lives.
fn slow_down(bench: &mut Bench, read: u64, written: u64) {
    for (direction, bytes) in [("read", read), ("write", written)] {
        let limit = format!("drive.disk0.throttling.bps-{direction}={bytes}");
        bench.machine.extra.extend(["-set".into(), limit.into()]);
    }
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
            return cells[8].parse().unwrap_or_else(|_| panic!("no number of restarts: {cells:?}"));
        }
        assert!(Instant::now() < deadline, "{domain} does not come back: {cells:?}");
    }
}

/// Waits until a domain has been started again so often.
fn await_restarts(shell: &mut Shell, domain: &str, restarts: u64) {
    let deadline = Instant::now() + PATIENCE;
    while restarts_of(shell, domain) < restarts {
        assert!(Instant::now() < deadline, "{domain} was not started again");
        shell.must("sleep 100ms");
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

/// Runs a command that has to succeed however often the driver breaks meanwhile.
fn must(shell: &mut Shell, command: &str) -> String {
    let reply = shell.run_within(command, PATIENCE);
    assert!(reply.succeeded, "`{command}` failed:\n{}\n{}", reply.text, shell.must("log -n 60"));
    reply.text
}

/// Has the machine read a file and compares the checksum.
fn check(shell: &mut Shell, path: &str, file: &Fingerprint) {
    let shown = must(shell, &format!("sum /disk{path}"));
    assert!(shown.contains(&file.hex()), "{path} reads wrong:\n{shown}");
}

/// The file of 16 MiB, as the host reads it.
fn big_file(bench: &Bench) -> (String, Fingerprint) {
    let bytes = disk::read_file(bench.disk(), BIG_FILE).expect("the default disk has it");
    (format!("/{BIG_FILE}"), Fingerprint::of(&bytes))
}

/// Commands on files, and what the disk must hold after them.
struct Work {
    random: Random,
    expected: Inventory,
    /// How many files were read, and written.
    done: (u64, u64),
}

impl Work {
    /// Makes the files that are read.
    fn begin(bench: &Bench, shell: &mut Shell, seed: u64) -> Self {
        let mut expected = disk::inventory(bench.disk()).expect("the default disk is readable");
        must(shell, "mkdir /disk/work");
        expected.folders.push("/work".into());
        expected.folders.sort();
        let mut work = Self { random: Random::new(seed), expected, done: (0, 0) };
        for number in 0..2 {
            work.fill(shell, &format!("/work/read{number}.bin"), FILE);
        }
        work
    }

    fn fill(&mut self, shell: &mut Shell, path: &str, size: u64) {
        let seed = self.random.below(1 << 32);
        must(shell, &format!("fill /disk{path} {size} {seed}"));
        must(shell, "sync");
        self.expected.files.insert(path.into(), Fingerprint::of(&filling(size as usize, seed)));
    }

    /// Reads or writes something.
    fn go_on(&mut self, shell: &mut Shell) {
        let (read, written) = &mut self.done;
        match self.random.below(8) {
            0..=3 => {
                // One after the other, so that the cache holds nothing of the next.
                let path = format!("/work/read{}.bin", *read % 2);
                *read += 1;
                check(shell, &path, &self.expected.files[&path]);
            }
            4 => {
                let (from, to) = (format!("/work/read{}.bin", *read % 2), "/work/copy.bin");
                *read += 1;
                must(shell, &format!("cp /disk{from} /disk{to}"));
                must(shell, "sync");
                self.expected.files.insert(to.into(), self.expected.files[&from].clone());
            }
            _ => {
                let path = format!("/work/{}.bin", *written % 4);
                *written += 1;
                let size = (1 << 20) + self.random.below(3 << 20);
                self.fill(shell, &path, size);
            }
        }
    }
}

/// Plans a series of deaths, behind so many before; returns when the last one will be over.
fn plan_deaths(shell: &mut Shell, random: &mut Random, before: u64) -> Instant {
    // Planning itself takes its time, on a busy host more of it.
    let begun = Instant::now();
    shell.must("uptime");
    let mut due = Instant::now() + begun.elapsed() * (SERIES + SERIES / 2);
    // One that meets no living driver does not count, so the last series may have to be followed by a short one.
    for number in before..DEATHS.min(before + u64::from(SERIES)) {
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
    // Slow enough that what the machine does with the bytes takes little time beside the disk's own.
    slow_down(&mut bench, 640 << 10, 3 << 20);
    let mut random = Random::new(2);
    let mut shell = bench.boot();
    let mut work = Work::begin(&bench, &mut shell, 1);

    // The driver counts its starts, the first one too: the prompt is there before that.
    shell.must("ls /disk");
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
    let (read, written) = work.done;
    eprintln!("{deaths} deaths, {in_flight} with requests in flight; {read} files read, {written} written");
    assert!(deaths >= DEATHS, "it was started again only {deaths} times");
    // Each instance counts itself, but for one that dies before it has come to that: where the machine is given little time a
    // planned death may meet such a one, seldom.
    let starts = count(&told, "starts of the driver");
    assert!((deaths - 1..=deaths + 1).contains(&starts), "{starts} starts of the driver, and {deaths} deaths");
    let share = (in_flight * DEATHS, DEATHS_IN_FLIGHT * deaths);
    assert!(share.0 >= share.1, "of {deaths} deaths only {in_flight} met a request in flight");
    assert_eq!(shell.must("mem"), used, "after the last restart more or less is in use than after the first");
    assert_eq!(restarts_of(&mut shell, "fat"), 0, "the file server died, too");
    kernel_is_content(&mut shell);
    shell.shut_down();

    let mut found = disk::inventory(bench.disk()).expect("the disk is readable");
    assert!(found.files.remove(crash_log::PATH).is_some(), "the deaths are not written down");
    for (path, file) in &work.expected.files {
        assert_eq!(found.files.get(path), Some(file), "{path}");
    }
    assert_eq!(found, work.expected);
    assert_clean(bench.disk());
}

/// How often a death is planned for the middle of a read before it counts as impossible.
const ATTEMPTS: usize = 8;

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
    slow_down(&mut bench, 4 << 20, 4 << 20);
    let (path, file) = big_file(&bench);
    let mut shell = bench.boot();
    // What the crash log asks of the disk after a death comes on top of what is read.
    shell.must("kill virtio-blk");
    shell.must("sleep 3s");
    let noted = count(&shell.must("disk"), "requests completed");
    let mut restarts = 1;
    for (command, how, cause) in WAYS {
        // A host that is busy elsewhere may have the death come before the reading or after it; then it is tried again.
        let mut counts = Vec::new();
        while counts.last().is_none_or(|done| !(10..=120 + noted).contains(done)) {
            assert!(
                counts.len() < ATTEMPTS,
                "{command}{how} never came while the file was read: then came {counts:?} requests, {noted} noted"
            );
            shell.must(&format!("{command} virtio-blk{how} --after 1s"));
            check(&mut shell, &path, &file);
            restarts += 1;
            await_restarts(&mut shell, "virtio-blk", restarts);
            let line = described(&mut shell, "virtio-blk").join(" ");
            assert!(line.contains(cause), "`ps` does not name the cause: {line}");
            // The file has at least 128 pieces that are read at once.
            counts.push(count(&shell.must("disk"), "requests completed"));
        }
    }
    // Whether a death meets a request in flight is chance on a busy host; there are more deaths until two have.
    let met = |shell: &mut Shell| count(&shell.must("disk"), "starts with requests in flight");
    for _ in 0..2 * ATTEMPTS {
        if met(&mut shell) >= 2 {
            break;
        }
        shell.must("kill virtio-blk --after 1s");
        check(&mut shell, &path, &file);
        restarts += 1;
        await_restarts(&mut shell, "virtio-blk", restarts);
    }
    let in_flight = met(&mut shell);
    assert!(in_flight >= 2, "of {restarts} deaths only {in_flight} met a request in flight");
    kernel_is_content(&mut shell);
    shell.shut_down();
    assert_clean(bench.disk());
}

#[test]
fn a_reader_is_told_that_the_file_server_broke_and_can_read_again() {
    let mut bench = Bench::with_default_disk();
    slow_down(&mut bench, 4 << 20, 4 << 20);
    let (path, file) = big_file(&bench);
    let mut shell = bench.boot();
    let mut refusals = 0;
    for (number, (command, how, cause)) in (1..).zip(WAYS) {
        shell.must(&format!("{command} fat{how} --after 1s"));
        let reply = shell.run_within(&format!("sum /disk{path}"), PATIENCE);
        if reply.succeeded {
            assert!(reply.text.contains(&file.hex()), "it reads wrong:\n{}", reply.text);
        } else {
            let told = reply.text.contains("died") || reply.text.contains("restarted");
            assert!(told, "it does not say what happened: {}", reply.text);
            refusals += 1;
        }
        check(&mut shell, &path, &file);
        assert_eq!(restarts_of(&mut shell, "fat"), number);
        let line = described(&mut shell, "fat").join(" ");
        assert!(line.contains(cause), "`ps` does not name the cause: {line}");
    }
    assert!(refusals > 0, "the file server never broke while the file was read");
    assert_eq!(restarts_of(&mut shell, "virtio-blk"), 0, "the driver died, too");
    kernel_is_content(&mut shell);
    shell.shut_down();
    assert_clean(bench.disk());
}

#[test]
fn a_driver_that_hangs_at_whatever_moment_is_the_only_one_that_counts_as_hung() {
    let bench = Bench::with_default_disk();
    let mut shell = bench.boot();
    // Heartbeats are two seconds long, and each domain is asked at another moment.
    for (restarts, moment) in (1..).zip([100, 500, 900, 1300, 1700]) {
        shell.must(&format!("crash virtio-blk hang --after {moment}ms"));
        await_restarts(&mut shell, "virtio-blk", restarts);
        shell.must("sum /disk/readme.txt");
    }
    for other in ["uart", "pci", "fat", "echo", "shell"] {
        assert_eq!(restarts_of(&mut shell, other), 0, "{other}: {}", shell.must("log -n 40"));
    }
    shell.shut_down();
}
