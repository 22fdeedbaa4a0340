//! A disk without room: whoever writes learns it in plain words, nothing that was acknowledged is lost, and nobody dies of it.

use std::time::{Duration, Instant};

use system_tests::{Bench, Shell, assert_clean, filling};
use xtask::disk::{self, Fingerprint};
use xtask::machine::Drive;

use crate::supervision::settled;

/// A volume of which little is left soon.
const SIZE: u64 = 36 << 20;
const CLUSTER: u32 = 512;
/// Sizes of the files that fill it: when there is no room for a large one, there is for a small one.
const PIECES: [usize; 3] = [6 << 20, 256 << 10, CLUSTER as usize];
/// How long a command may take while drivers die.
const PATIENCE: Duration = Duration::from_secs(300);
/// How many deaths of the driver are planned, a second apart: as many as one client may plan.
const DEATHS: u64 = 30;

/// A file that was written and acknowledged.
struct Kept {
    name: String,
    size: usize,
    seed: u64,
}

impl Kept {
    fn contents(&self) -> Vec<u8> {
        filling(self.size, self.seed)
    }
}

fn bench() -> Bench {
    let mut bench = Bench::without_disk();
    let path = bench.path("disk.img");
    disk::write_empty(&path, SIZE, CLUSTER).expect("an empty volume");
    bench.machine.drives = vec![Drive::new(path)];
    bench
}

/// Writes files until there is room for none, not even for one of a cluster; tells which were acknowledged.
fn fill_up(shell: &mut Shell) -> Vec<Kept> {
    let mut kept = Vec::new();
    let mut seed = 0;
    for size in PIECES {
        loop {
            seed += 1;
            let name = format!("f{seed}.bin");
            let reply = shell.run_within(&format!("fill /disk/{name} {size} {seed}"), PATIENCE);
            if !reply.succeeded {
                assert!(reply.text.contains("the disk is full"), "it does not say why:\n{}", reply.text);
                assert!(reply.text.contains("`rm` makes room"), "it does not say what to do:\n{}", reply.text);
                // What was not acknowledged is in the way of the smaller ones.
                if size != CLUSTER as usize {
                    shell.run_within(&format!("rm /disk/{name}"), PATIENCE);
                }
                break;
            }
            assert!(seed < 1000, "the disk is never full");
            kept.push(Kept { name, size, seed });
        }
    }
    must(shell, "sync");
    kept
}

/// Runs a command that may be told that a server died under it, until it succeeds.
fn must(shell: &mut Shell, command: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let reply = shell.run_within(command, PATIENCE);
        if reply.succeeded {
            return reply.text;
        }
        assert!(Instant::now() < deadline, "`{command}` still fails:\n{}\n{}", reply.text, shell.must("log -n 60"));
    }
}

/// Whether the machine reads what was acknowledged.
fn reads(shell: &mut Shell, kept: &[Kept]) {
    for file in kept {
        let sum = must(shell, &format!("sum /disk/{}", file.name));
        assert!(sum.contains(&Fingerprint::of(&file.contents()).hex()), "{} reads wrong: {sum}", file.name);
    }
}

/// Whether the host reads it, and finds nothing else wrong.
fn is_on_disk(bench: &Bench, kept: &[Kept]) {
    assert_clean(bench.disk());
    for file in kept {
        let found = disk::read_file(bench.disk(), &file.name).expect("it was acknowledged");
        assert!(found == file.contents(), "{} is not what was acknowledged", file.name);
    }
}

/// Makes room, writes something else there, and fills that up again.
fn make_room(shell: &mut Shell, kept: &mut Vec<Kept>) {
    let gone = kept.remove(0);
    must(shell, &format!("rm /disk/{}", gone.name));
    let next = Kept { name: "again.bin".into(), size: gone.size / 2, seed: 4711 };
    must(shell, &format!("fill /disk/{} {} {}", next.name, next.size, next.seed));
    must(shell, "sync");
    kept.push(next);
}

#[test]
fn a_full_disk_is_named_and_loses_nothing() {
    let bench = bench();
    let mut shell = bench.boot();
    shell.must("ls /disk");
    let mut kept = fill_up(&mut shell);
    assert!(kept.len() > 5, "only {} files", kept.len());
    let why = shell.must_fail("write /disk/word.txt one more");
    assert!(why.contains("the disk is full"), "{why}");
    reads(&mut shell, &kept);
    make_room(&mut shell, &mut kept);
    reads(&mut shell, &kept);
    let now = settled(&mut shell);
    assert!(now.values().all(|domain| domain.restarts == 0), "somebody died of it: {now:#?}");
    shell.shut_down();
    is_on_disk(&bench, &kept);
}

#[test]
fn a_driver_that_dies_every_second_while_the_disk_fills_up_harms_nobody_and_its_deaths_are_known() {
    let bench = bench();
    let mut shell = bench.boot();
    shell.must("ls /disk");
    for second in 1..=DEATHS {
        shell.must(&format!("kill virtio-blk --after {second}s"));
    }
    let mut kept = fill_up(&mut shell);
    reads(&mut shell, &kept);
    make_room(&mut shell, &mut kept);
    // From here on the log of deaths finds no room either.
    let mut more = 0;
    while shell.run_within(&format!("fill /disk/rest{more}.bin {CLUSTER} 1"), PATIENCE).succeeded {
        more += 1;
        if more == 1 {
            shell.run_within(&format!("fill /disk/most.bin {SIZE} 2"), PATIENCE);
        }
    }
    let deadline = Instant::now() + PATIENCE;
    let now = loop {
        let now = settled(&mut shell);
        if now["virtio-blk"].restarts >= DEATHS {
            break now;
        }
        assert!(Instant::now() < deadline, "the driver did not die as planned: {now:#?}");
    };
    for (name, domain) in now.iter().filter(|(name, _)| *name != "virtio-blk") {
        assert_eq!(domain.restarts, 0, "{name} died with the driver");
    }
    let told = shell.must("crashes");
    assert_eq!(told.matches("virtio-blk, life ").count() as u64, DEATHS, "{told}");
    assert!(told.contains("was killed by request"), "{told}");
    shell.must("crashes --kept");
    reads(&mut shell, &kept);

    // With room, the log of deaths goes on by itself.
    must(&mut shell, "rm /disk/most.bin");
    shell.must("kill echo");
    let deadline = Instant::now() + PATIENCE;
    while !shell.must("crashes --kept").contains("echo, life 0, ") {
        assert!(Instant::now() < deadline, "deaths are not written down any more:\n{}", shell.must("log -n 60"));
    }
    shell.shut_down();
    is_on_disk(&bench, &kept);
}
