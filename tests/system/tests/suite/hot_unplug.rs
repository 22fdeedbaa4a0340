//! A disk is taken out of the running machine, and put back, while files are being read and written.

use std::time::{Duration, Instant};

use system_tests::{Bench, SLOT, Shell, assert_clean, filling};
use xtask::disk::{self, BIG_FILE, Fingerprint};
use xtask::machine::{Iommu, Monitor};

use crate::supervision::{settled, shown};

/// How long it may take until what must happen has happened.
const SOON: Duration = Duration::from_secs(60);
/// Bytes of a file that is written while the disk comes and goes.
const WRITTEN: usize = 1 << 20;

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
}

impl Scene {
    fn set(bench: Bench) -> Self {
        let big = Fingerprint::of(&disk::read_file(bench.disk(), BIG_FILE).expect("the default disk has it"));
        let mut shell = bench.boot();
        let monitor = Monitor::connect(bench.machine.monitor.as_ref().expect("it has one")).expect("it answers");
        assert!(shell.must("ls /disk").contains("readme.txt"), "the disk in the slot is the system's disk");
        Scene { bench, shell, monitor, big }
    }

    fn take_out(&mut self, leave: Leave) {
        match leave {
            Leave::Asked => self.monitor.take_out(SLOT).expect("the slot is not busy"),
            Leave::Pulled => self.monitor.pull_out(SLOT).expect("QEMU lets go of it"),
        }
        self.monitor.await_removal(SLOT).expect("the machine lets go of its disk");
    }

    fn put_in(&mut self) {
        let is_confined = self.bench.machine.iommu != Iommu::Off;
        self.monitor.put_in(SLOT, is_confined).expect("the slot is free");
    }

    /// Waits until the driver waits for its device, and compares what `ps` says with what must be.
    fn assert_absent(&mut self) {
        let deadline = Instant::now() + SOON;
        loop {
            let all = shown(&mut self.shell);
            let driver = &all["virtio-blk"];
            if driver.state == "absent" {
                assert_eq!(driver.last_death, "device taken out");
                assert!(all.iter().all(|(name, domain)| name == "virtio-blk" || domain.state == "running"), "{all:#?}");
                return;
            }
            assert!(Instant::now() < deadline, "the driver does not wait for its device: {all:#?}");
        }
    }

    /// Nobody but the driver had to be started again, and that only when its disk was back.
    fn assert_nobody_else_died(&mut self, times: u64) {
        let all = settled(&mut self.shell);
        for (name, domain) in all {
            let expected = if name == "virtio-blk" { times } else { 0 };
            assert_eq!(domain.restarts, expected, "{name}: {domain:?}");
        }
    }

    /// Ends the machine, and looks at what is on its disk.
    fn end(self, written: &[(String, u64)]) {
        let shown = self.shell.shut_down();
        assert!(!shown.contains("panicked at"), "{shown}");
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
    for turn in 0..times {
        // What is acknowledged stays, whatever comes.
        let path = format!("/kept{turn}.bin");
        scene.shell.must(&format!("fill /disk{path} {WRITTEN} {turn}"));
        scene.shell.must("sync");
        written.push((path, turn));

        let reading = scene.shell.begin(&format!("sum /disk/{BIG_FILE}"));
        scene.take_out(leave);
        scene.put_in();
        let reply = scene.shell.finish(reading);
        assert!(reply.succeeded, "turn {turn}: {}\n{}", reply.text, scene.shell.must("log -n 60"));
        assert!(reply.text.contains(&scene.big.hex()), "turn {turn}: it reads wrong:\n{}", reply.text);

        let path = format!("/busy{turn}.bin");
        let seed = 100 + turn;
        let writing = scene.shell.begin(&format!("fill /disk{path} {WRITTEN} {seed}"));
        scene.take_out(leave);
        scene.put_in();
        let reply = scene.shell.finish(writing);
        assert!(reply.succeeded, "turn {turn}: {}\n{}", reply.text, scene.shell.must("log -n 60"));
        scene.shell.must("sync");
        written.push((path, seed));
    }
    scene.assert_nobody_else_died(2 * times);
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
