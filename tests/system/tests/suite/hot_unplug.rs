//! A disk is taken out of the running machine, and put back, while files are being read and written.

use std::thread;
use std::time::{Duration, Instant};

use system_tests::{Bench, SLOT, Shell, assert_clean, filling};
use xtask::disk::{self, BIG_FILE, Fingerprint};
use xtask::machine::{Iommu, Monitor};

use crate::supervision::{settled, shown};

/// How long it may take until what must happen has happened.
const SOON: Duration = Duration::from_secs(60);
/// Bytes of a file that is written while the disk comes and goes.
const WRITTEN: usize = 2 << 20;

/// How the disk leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    /// Somebody presses the button, and waits.
    Asked,
    /// Somebody pulls.
    Pulled,
}

/// A machine with its disk in a slot, and whoever stands before it.
struct Scene {
    bench: Bench,
    shell: Shell,
    monitor: Monitor,
    big: Fingerprint,
    /// How often the big file is read in one go.
    rounds: usize,
}

/// For how long it is to be read: longer than it takes to take a disk out, which is a second at most where nothing else has to be
/// done.
const READING: Duration = Duration::from_secs(5);

impl Scene {
    fn set(bench: Bench) -> Self {
        let big = Fingerprint::of(&disk::read_file(bench.disk(), BIG_FILE).expect("the default disk has it"));
        let mut shell = bench.boot();
        let monitor = Monitor::connect(bench.machine.monitor.as_ref().expect("it has one")).expect("it answers");
        assert!(shell.must("ls /disk").contains("readme.txt"), "the disk in the slot is the system's disk");
        let begun = Instant::now();
        shell.must(&format!("sum /disk/{BIG_FILE}"));
        let rounds = (READING.as_secs_f64() / begun.elapsed().as_secs_f64()).ceil() as usize;
        Scene { bench, shell, monitor, big, rounds: rounds.clamp(3, 100) }
    }

    fn take_out(&mut self, leave: Leave) {
        match leave {
            Leave::Asked => self.monitor.take_out(SLOT).expect("the slot is not busy"),
            Leave::Pulled => self.monitor.pull_out(SLOT).expect("QEMU lets go of it"),
        }
        self.monitor.await_removal(SLOT).expect("the machine lets go of its disk");
    }

    /// Takes the disk out, so many milliseconds after whatever was begun, and waits as long before anything else.
    fn interrupt(&mut self, leave: Leave, milliseconds: u64) {
        thread::sleep(Duration::from_millis(milliseconds));
        self.take_out(leave);
        thread::sleep(Duration::from_millis(milliseconds));
    }

    /// How often the big file was read until now, and right.
    fn sums(&self) -> usize {
        self.shell.transcript().matches(&self.big.hex()).count()
    }

    fn put_in(&mut self) {
        let is_confined = self.bench.machine.iommu != Iommu::Off;
        self.monitor.put_in(SLOT, is_confined).expect("the slot is free");
    }

    /// Waits until the driver waits for its device and everybody else runs.
    fn assert_absent(&mut self) {
        let deadline = Instant::now() + SOON;
        loop {
            let all = shown(&mut self.shell);
            let driver = &all["virtio-blk"];
            let others_run = all.iter().all(|(name, domain)| name == "virtio-blk" || domain.state == "running");
            if driver.state == "absent" && others_run {
                assert_eq!(driver.last_death, "device taken out");
                return;
            }
            assert!(Instant::now() < deadline, "the driver does not wait for its device: {all:#?}");
        }
    }

    /// Nobody but these was started again, and so often.
    fn assert_restarts(&mut self, times: &[(&str, u64)]) {
        for (name, domain) in settled(&mut self.shell) {
            let expected = times.iter().find(|(known, _)| *known == name).map_or(0, |(_, times)| *times);
            assert_eq!(domain.restarts, expected, "{name}: {domain:?}");
        }
    }

    /// Ends the machine, and looks at what is on its disk.
    fn end(self, written: &[(String, u64)]) {
        self.shell.shut_down();
        assert_clean(self.bench.disk());
        for (path, seed) in written {
            let found = disk::read_file(self.bench.disk(), path).unwrap_or_else(|error| panic!("{path}: {error}"));
            assert!(found == filling(WRITTEN, *seed), "{path} is not what was written and acknowledged");
        }
    }
}

/// Takes the disk out and puts it back several times, while a file is read and another one written.
fn come_and_go(bench: Bench, leave: Leave, times: u64) {
    let mut scene = Scene::set(bench);
    let mut written = Vec::new();
    // The one by which it was found out how long that takes.
    let mut sums = 1;
    for turn in 0..times {
        // What is acknowledged stays, whatever comes.
        let path = format!("/kept{turn}.bin");
        scene.shell.must(&format!("fill /disk{path} {WRITTEN} {turn}"));
        scene.shell.must("sync");
        written.push((path, turn));

        let reading = scene.shell.begin(&format!("repeat {} sum /disk/{BIG_FILE}", scene.rounds));
        // The longer the disk is away, the more of what is asked for waits for it.
        scene.interrupt(leave, 100 * turn);
        let sums_before = scene.sums();
        scene.put_in();
        let reply = scene.shell.finish(reading);
        assert!(reply.succeeded, "turn {turn}: {}\n{}", reply.text, scene.shell.must("log -n 60"));
        let hex = scene.big.hex();
        assert_eq!(reply.text.matches(&hex).count(), scene.rounds, "turn {turn}: it reads wrong:\n{}", reply.text);
        sums += scene.rounds;
        assert!(sums_before < sums, "turn {turn}: everything was read before the disk was out");

        let path = format!("/busy{turn}.bin");
        let seed = 100 + turn;
        let writing = scene.shell.begin(&format!("fill /disk{path} {WRITTEN} {seed}"));
        scene.interrupt(leave, 100 * turn);
        scene.put_in();
        let reply = scene.shell.finish(writing);
        assert!(reply.succeeded, "turn {turn}: {}\n{}", reply.text, scene.shell.must("log -n 60"));
        scene.shell.must("sync");
        written.push((path, seed));
    }
    scene.assert_restarts(&[("virtio-blk", 2 * times)]);
    scene.end(&written);
}

#[test]
fn a_disk_that_is_taken_out_and_put_back_costs_a_pause() {
    come_and_go(Bench::with_disk_in_slot(), Leave::Asked, 3);
}

#[test]
fn a_disk_that_is_pulled_out_and_put_back_costs_a_pause() {
    come_and_go(Bench::with_disk_in_slot(), Leave::Pulled, 3);
}

/// Takes the disk out and looks how it is without it; lets those die who know of it; puts it back.
fn be_without(leave: Leave) {
    let mut scene = Scene::set(Bench::with_disk_in_slot());
    scene.shell.must(&format!("fill /disk/kept.bin {WRITTEN} 7"));
    scene.shell.must("sync");
    scene.take_out(leave);
    scene.assert_absent();
    let log = scene.shell.must("log");
    let words = match leave {
        Leave::Asked => {
            "virtio-blk: was ended because its device 01:00.0 is taken out; it is started again when that is back"
        }
        Leave::Pulled => "its device 01:00.0 is gone, nobody was asked before; it is started again when that is back",
    };
    assert!(log.contains(words), "{log}");
    scene.shell.must_fail("restart virtio-blk");
    scene.shell.must_fail("kill virtio-blk");
    assert!(scene.shell.must("ping 5").contains("5 of 5"), "the others work as ever");

    // Who knows that the disk is away may die: it is not forgotten.
    scene.shell.must("kill pci");
    scene.assert_absent();
    scene.shell.must("crash supervisor panic");
    scene.assert_absent();
    thread::sleep(Duration::from_secs(2));
    scene.assert_absent();

    let reading = scene.shell.begin(&format!("sum /disk/{BIG_FILE}"));
    thread::sleep(Duration::from_secs(1));
    scene.put_in();
    let reply = scene.shell.finish(reading);
    assert!(reply.text.contains(&scene.big.hex()), "{}\n{}", reply.text, scene.shell.must("log -n 60"));
    assert!(scene.shell.must("log").contains("virtio-blk: its device 01:00.0 is back"));
    scene.assert_restarts(&[("virtio-blk", 1), ("pci", 1), ("supervisor", 1)]);
    scene.end(&[("/kept.bin".to_owned(), 7)]);
}

#[test]
fn without_its_disk_that_is_taken_out_a_driver_waits_and_says_so() {
    be_without(Leave::Asked);
}

#[test]
fn without_its_disk_that_is_pulled_out_a_driver_waits_and_says_so() {
    be_without(Leave::Pulled);
}

#[test]
fn without_an_iommu_a_disk_that_is_pulled_out_and_put_back_costs_a_pause_too() {
    let mut bench = Bench::with_disk_in_slot();
    bench.machine.iommu = Iommu::Off;
    come_and_go(bench, Leave::Pulled, 1);
}
