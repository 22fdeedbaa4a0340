//! The supervisor dies, and whom it supervises goes on.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use system_tests::{Bench, Random, Shell, assert_clean};
use xtask::disk::{self, BIG_FILE, Fingerprint};
use xtask::machine::Cpus;

/// How long a command may take while supervisors and drivers die.
const PATIENCE: Duration = Duration::from_secs(300);
/// `init` counts deaths within ten seconds: fewer than would have it give up the domains.
const PAUSE: Duration = Duration::from_millis(500);

/// A domain as `ps` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) state: String,
    pub(crate) processor: String,
    pub(crate) restarts: u64,
    pub(crate) last_death: String,
}

/// Every domain, by its name.
pub(crate) fn shown(shell: &mut Shell) -> BTreeMap<String, Shown> {
    let list = shell.must("ps");
    let lines = list.lines().skip(1).take_while(|line| !line.starts_with("DMA"));
    let describe = |line: &str| {
        // There are two spaces between columns, and single ones within.
        let cells: Vec<&str> = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        let restarts = cells[8].parse().unwrap_or_else(|_| panic!("no number of restarts: {cells:?}"));
        let shown = Shown { state: cells[1].into(), processor: cells[4].into(), restarts, last_death: cells[9].into() };
        (cells[0].to_owned(), shown)
    };
    lines.map(describe).collect()
}

/// The same, once everybody runs.
pub(crate) fn settled(shell: &mut Shell) -> BTreeMap<String, Shown> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let shown = shown(shell);
        if shown.values().all(|domain| domain.state == "running") {
            return shown;
        }
        assert!(Instant::now() < deadline, "not everybody comes back: {shown:#?}");
    }
}

/// Everybody but the supervisor, whose restarts are counted apart.
fn others(mut shown: BTreeMap<String, Shown>) -> BTreeMap<String, Shown> {
    shown.remove("supervisor").expect("`ps` lists the supervisor");
    shown
}

pub(crate) fn restarts(shell: &mut Shell, domain: &str) -> u64 {
    settled(shell)[domain].restarts
}

/// Has the machine read the big file and compares the checksum.
fn read_all(shell: &mut Shell, file: &Fingerprint) {
    let reply = shell.run_within(&format!("sum /disk/{BIG_FILE}"), PATIENCE);
    assert!(reply.succeeded, "{}\n{}", reply.text, shell.must("log -n 60"));
    assert!(reply.text.contains(&file.hex()), "it reads wrong:\n{}", reply.text);
}

fn big_file(bench: &Bench) -> Fingerprint {
    Fingerprint::of(&disk::read_file(bench.disk(), BIG_FILE).expect("the default disk has it"))
}

#[test]
fn domains_live_on_when_their_supervisor_dies() {
    let bench = Bench::with_default_disk();
    let file = big_file(&bench);
    let mut shell = bench.boot();
    shell.must("ls /disk");
    shell.must("kill echo");
    shell.must("ping");
    let before = others(settled(&mut shell));
    assert_eq!(before["echo"].restarts, 1);
    for (number, how) in (1..).zip(["panic", "fault", "hang", "panic"]) {
        shell.must(&format!("crash supervisor {how}"));
        let after = settled(&mut shell);
        assert_eq!(after["supervisor"].restarts, number);
        let cause = &after["supervisor"].last_death;
        assert!(["panic", "bad access", "no heartbeat"].iter().any(|known| cause.starts_with(known)), "{cause}");
        assert_eq!(others(after), before, "after {number} deaths of the supervisor by a {how}");
        read_all(&mut shell, &file);
        shell.must("ping");
    }
    // The new one knows the old ones' logs, and its own.
    let log = shell.must("log -n 100000");
    assert!(log.contains("echo: ") || log.contains("supervisor: warning: echo: was killed by request"), "{log}");
    assert!(shell.must("log supervisor").contains("panicked: "));
    assert!(shell.must("log echo").contains("was killed by request"));
    shell.shut_down();
    assert_clean(bench.disk());
}

#[test]
fn a_new_supervisor_hears_heartbeats_faults_and_requests() {
    let mut shell = Bench::with_default_disk().boot();
    shell.must("ls /disk");
    shell.must("crash supervisor panic");
    for (number, how) in
        (1..).zip(["crash echo panic", "crash echo fault", "crash echo hang", "kill echo", "restart echo"])
    {
        shell.must(how);
        shell.must("ping");
        let deadline = Instant::now() + Duration::from_secs(60);
        while restarts(&mut shell, "echo") < number {
            assert!(Instant::now() < deadline, "`{how}` has no effect");
        }
        assert_eq!(restarts(&mut shell, "echo"), number, "after `{how}`");
    }
    shell.must("restart fat");
    shell.must("ls /disk");
    shell.must("crash supervisor fault");
    shell.must("kill virtio-blk");
    shell.must("ls /disk");
    shell.shut_down();
}

#[test]
fn a_fault_while_there_is_no_supervisor_is_found() {
    let mut bench = Bench::with_default_disk();
    bench.machine.cpus = Cpus(2);
    let mut shell = bench.boot();
    shell.must("ls /disk");
    for number in 1..=10 {
        // Both in one go: the domain breaks on its own processor while the supervisor does.
        shell.must("crash echo panic --after 300ms");
        shell.must("crash supervisor fault --after 300ms");
        thread::sleep(PAUSE);
        shell.must("ping");
        let deadline = Instant::now() + Duration::from_secs(60);
        while restarts(&mut shell, "echo") < number {
            assert!(Instant::now() < deadline, "the fault was lost");
        }
        let now = settled(&mut shell);
        assert_eq!((now["echo"].restarts, now["supervisor"].restarts), (number, number));
        assert_eq!(now["echo"].last_death, "panic");
    }
    shell.shut_down();
}

#[test]
fn supervisors_die_under_load_while_drivers_are_restarted_and_nothing_is_lost() {
    let bench = Bench::with_default_disk();
    let file = big_file(&bench);
    let mut random = Random::new(7);
    let mut shell = bench.boot();
    shell.must("ls /disk");
    // Every page table that a supervisor needs for its work is there afterwards.
    for domain in ["virtio-blk", "fat", "echo"] {
        shell.must(&format!("restart {domain}"));
    }
    shell.must("ls /disk");
    shell.must("ping");
    let before = settled(&mut shell);
    let mut used = None;
    let mut killed = before["virtio-blk"].restarts;
    for number in 1..=24 {
        let how = if random.below(2) == 0 { "panic" } else { "fault" };
        let moment = 200_000 + random.below(300_000);
        let driver_dies = random.below(2) == 0;
        if driver_dies {
            // A little before, at the same time, or a little after: then it is planned with the one that dies.
            let distance = [0, 100, 1_000, 5_000, 6_000][random.below(5) as usize];
            shell.must(&format!("kill virtio-blk --after {}us", moment - distance));
            killed += 1;
        }
        shell.must(&format!("crash supervisor {how} --after {moment}us"));
        if number % 4 == 0 {
            shell.must(&format!("fill /disk/work{number}.bin 3000000 {number}"));
            shell.must("sync");
            shell.must(&format!("rm /disk/work{number}.bin"));
        } else {
            read_all(&mut shell, &file);
        }
        thread::sleep(PAUSE);
        let now = settled(&mut shell);
        assert_eq!(now["supervisor"].restarts, number);
        for (name, domain) in &now {
            if name != "supervisor" && name != "virtio-blk" {
                assert_eq!(domain, &before[name], "{name}, after {number} deaths of the supervisor");
            }
        }
        let found = now["virtio-blk"].restarts;
        assert!(found <= killed, "the driver was started {found} times again although it died {killed} times");
        killed = found;
        if number % 8 == 0 {
            shell.must("kill virtio-blk");
            shell.must("ls /disk");
            killed += 1;
            assert_eq!(restarts(&mut shell, "virtio-blk"), killed);
            let now = shell.must("mem");
            assert_eq!(used.get_or_insert(now.clone()), &now, "after {number} deaths more or less memory is in use");
        }
    }
    shell.shut_down();
    assert_clean(bench.disk());
}

#[test]
fn what_a_domain_was_asked_before_it_died_is_not_asked_of_the_next_one() {
    // It stays hung for as long as anybody needs to ask it for more: that must not hang on how fast the machine is.
    let bench = Bench::with_system(|system| system.replace("[domain.echo]\n", "[domain.echo]\nheartbeat = \"20s\"\n"));
    let mut shell = bench.boot();
    shell.must("ls /disk");
    let restarted = |shell: &mut Shell, times| {
        let deadline = Instant::now() + PATIENCE;
        while restarts(shell, "echo") < times {
            assert!(Instant::now() < deadline, "it is not started for the {times}th time");
        }
        shell.must("ping");
        thread::sleep(PAUSE);
        settled(shell)["echo"].clone()
    };
    // Who loops takes no notice of anything: the others are found by the next one, if nobody takes them back.
    shell.must("crash echo hang");
    shell.must("restart echo");
    assert_eq!(restarted(&mut shell, 1).restarts, 1, "it was to come to rest");
    shell.must("crash echo hang");
    shell.must("crash echo panic");
    shell.must("crash echo fault");
    let now = restarted(&mut shell, 2);
    assert_eq!((now.restarts, now.last_death.as_str()), (2, "no heartbeat"));
    // The next supervisor goes through with a restart that the last one has begun, and waits five seconds for it to come to rest.
    shell.must("crash echo hang");
    shell.must("crash supervisor panic --after 3s");
    let why = shell.must_fail("restart echo");
    assert!(why.contains("the supervisor died while it was working on it"), "{why}");
    assert_eq!(restarted(&mut shell, 3).restarts, 3);
    shell.shut_down();
}

/// Has one supervisor after the other die, as fast as they come, until init says something.
fn kill_off(shell: &mut Shell, said: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !shell.transcript().contains(said) {
        assert!(Instant::now() < deadline, "init does not say `{said}`:\n{}", shell.transcript());
        // The shell may go with everybody else, or be refused at last: both end the command.
        shell.run_within("repeat 60 crash supervisor panic", PATIENCE);
    }
}

#[test]
fn supervisors_that_die_in_a_row_end_in_a_new_beginning_and_at_last_in_a_plain_word() {
    let bench = Bench::with_default_disk();
    let file = big_file(&bench);
    let mut shell = bench.boot();
    shell.must("ls /disk");
    shell.must("kill echo");
    shell.must("ping");
    kill_off(&mut shell, "now every domain is started anew");
    // What the supervisors had noted is taken for the cause, so nobody knows of earlier lives.
    let now = settled(&mut shell);
    assert!(now["supervisor"].restarts >= 32, "{now:#?}");
    assert!(others(now).values().all(|domain| domain.restarts == 0), "somebody was not started anew");
    read_all(&mut shell, &file);

    kill_off(&mut shell, "from here on the domains live without one, and who dies stays dead");
    for command in ["ps", "kill echo", "restart echo", "crash supervisor panic", "log", "mem"] {
        let began = Instant::now();
        let why = shell.must_fail(command);
        assert!(
            why.contains("the supervisor is gone for good; only starting the machine again brings it back"),
            "{why}"
        );
        assert!(began.elapsed() < Duration::from_secs(20), "`{command}` waits for somebody who never comes");
    }
    // The others go on.
    read_all(&mut shell, &file);
    shell.must("ping");
    shell.must("write /disk/alone.txt nobody watches");
    shell.must("sync");
    shell.cut_power();
    assert_eq!(disk::read_file(bench.disk(), "alone.txt").expect("it was written"), b"nobody watches\n");
}
