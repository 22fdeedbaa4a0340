//! Commands on domains, the machine, and other commands.

use crate::conversation::World;
use crate::doubles::Mishap;
use interfaces::crash::CrashRecord;
use interfaces::supervision::{Bound, Confinement, DomainState};
use std::time::Duration;
use userlib::abi::Error;
use userlib::ipc::CallError;

#[test]
fn ps_shows_every_domain_and_that_dma_is_not_confined() {
    let world = World::default();
    assert_eq!(
        world.shell().done("ps"),
        "NAME        STATE    LEVEL  PRIO  CPU  BUDGET  MEMORY     TIME  RESTARTS  LAST DEATH\n\
         supervisor  running      1   100    0       -   2 MiB        -         0  -\n\
         virtio-blk  running      1   100    1       -   2 MiB  5.034 s         3  bad access 0xdeadbeef000\n\
         fat         running      1   100    0  2/10ms   2 MiB  1500 us         0  -\n\
         DMA is not confined: no IOMMU is in use, so a driver's device can reach all of memory.\n"
    );
}

#[test]
fn ps_says_whether_anybody_hears_of_what_a_device_is_refused() {
    let world = World::default();
    for reported in [true, false] {
        for (confinement, interrupts) in [
            (Confinement::Memory { reported }, "Interrupts can be forged."),
            (Confinement::MemoryAndInterrupts { reported }, "forges no interrupts."),
        ] {
            world.supervisor.confinement.set(confinement);
            let shown = world.shell().done("ps");
            assert!(shown.contains("DMA is confined") && shown.contains(interrupts), "{shown}");
            let silent = shown.contains("This IOMMU does not report what it refuses a device.");
            assert_eq!(silent, !reported, "{shown}");
        }
    }
}

#[test]
fn ps_fits_a_terminal_of_100_columns() {
    let world = World::default();
    for info in world.supervisor.domains.borrow_mut().iter_mut() {
        (info.state, info.memory, info.restarts) = (DomainState::GivenUp, 5_033_165, 999);
        info.bound = Some(Bound { slice: 2_000_000, period: 10_000_000 });
    }
    let shown = world.shell().done("ps");
    for line in shown.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
}

#[test]
fn caps_names_kinds_and_rights() {
    let world = World::default();
    let mut shell = world.shell();
    assert_eq!(
        shell.done("caps fat"),
        "SLOT  KIND      BADGE  RIGHTS\n   3  endpoint   0x1f  call\n   9  memory        -  read write dma\n"
    );
    assert_eq!(
        shell.refused("caps nobody"),
        "caps: cannot list the capabilities of nobody: there is no domain with that name; `ps` lists the domains.\n"
    );
}

#[test]
fn mem_shows_memory_and_counts_capabilities() {
    let world = World::default();
    let shown = world.shell().done("mem");
    assert!(shown.contains("total                128 MiB  32768\n"), "{shown}");
    assert!(shown.contains("given to nobody      100 MiB  25600\n"), "{shown}");
    assert!(shown.contains("\nmemory                    3\n"), "{shown}");
}

#[test]
fn disk_shows_the_disk_and_what_its_driver_has_done() {
    let world = World::default();
    let mut shell = world.shell();
    assert_eq!(
        shell.done("disk"),
        "virtio 00:02.0: 2 MiB, 4096 sectors of 512 bytes, with a cache of its own\n\
         SINCE THE DRIVER'S LAST START          COUNT\n\
         requests completed                      1000\n\
         requests failed                            1\n\
         requests repeated for its predecessor      5\n\
         interrupts                               900\n\
         resets of the disk                         2\n\
         \n\
         SINCE THE MACHINE'S START       COUNT\n\
         starts of the driver                4\n\
         starts with requests in flight      3\n"
    );
    world.disk.error.set(Some(CallError::Refused(Error::StaleHandle)));
    assert!(shell.refused("disk").contains("the machine has no disk"));
    world.disk.error.set(Some(CallError::TimedOut));
    assert!(shell.refused("disk").contains("the disk's driver did not answer in time"));
}

#[test]
fn domains_are_killed_restarted_and_made_to_crash() {
    let world = World::default();
    let mut shell = world.shell();
    shell.done("kill fat");
    shell.done("restart virtio-blk");
    shell.done("crash fat hang");
    shell.done("kill fat --after 20ms");
    shell.done("crash fat panic --after 1s");
    let requests =
        ["kill fat", "restart virtio-blk", "crash by Hang fat", "kill after 20ms fat", "crash by Panic after 1s fat"];
    assert_eq!(*world.supervisor.requests.borrow(), requests);
    assert!(shell.refused("kill fat --after soon").contains("`soon` is no duration"));
    assert!(shell.refused("kill supervisor").contains("that domain cannot be stopped by request; nobody would"));
    assert!(shell.refused("crash fat burn").contains("`burn` is none of panic, fault and hang"));
    assert!(shell.refused("kill nobody").contains("cannot kill nobody: there is no domain with that name"));
}

#[test]
fn log_shows_the_last_lines_of_all_or_of_one() {
    let world = World::default();
    let mut shell = world.shell();
    let shown = shell.done("log");
    assert_eq!(shown.lines().count(), 40);
    assert!(shown.ends_with("[    0.000099] virtio-blk: line 99\n"));
    assert_eq!(
        shell.done("log -n 2 fat"),
        "[    0.000080] fat: line 80\n[    0.000090] fat: line 90\nfat has never died.\n"
    );
    assert_eq!(
        shell.done("log virtio-blk -n 1"),
        "[    0.000099] virtio-blk: line 99\nLast death of virtio-blk:\n  wrote at 0xdead0000\n"
    );
    assert_eq!(shell.done("log -n 0"), "");
    assert!(shell.refused("log nobody").contains("there is no domain with that name"));
    assert!(shell.refused("log -n").contains("-n needs a number"));
}

#[test]
fn what_others_write_into_the_log_cannot_steer_the_terminal() {
    let world = World::default();
    *world.supervisor.log.borrow_mut() = vec!["[    0.000001] fat: \x1b[2Jbulkhead> \x07".into()];
    assert_eq!(world.shell().done("log"), "[    0.000001] fat: \u{fffd}[2Jbulkhead> \u{fffd}\n");
}

#[test]
fn ping_asks_the_echo_server() {
    let world = World::default();
    let mut shell = world.shell();
    assert_eq!(shell.done("ping 2"), "echo 1 of 2 after 1000 us\necho 2 of 2 after 1000 us\n");
    world.echo.error.set(1);
    assert!(shell.refused("ping").contains("the echo of 1 came back as 2"));
    world.echo.is_dead.set(true);
    assert!(shell.refused("ping").contains("cannot get an echo: the echo server died"));
}

#[test]
fn time_and_repeat_carry_out_other_commands() {
    let world = World::default();
    let mut shell = world.shell();
    assert!(shell.done("time sleep 2").starts_with("took 2.00"));
    assert_eq!(shell.done("repeat 3 echo x"), "x\nx\nx\n");
    assert_eq!(shell.done("repeat 2 time repeat 1 echo y").matches('y').count(), 2);
    assert_eq!(
        shell.refused("repeat 3 cat nope"),
        "cat: cannot read /disk/nope: no such file or directory; `ls /disk` shows what is there.\n\
         repeat: ended in round 1 of 3.\n"
    );
    let shown = shell.refused("time frobnicate");
    assert!(shown.starts_with("there is no command `frobnicate`") && shown.contains("took "), "{shown}");
}

#[test]
fn sleep_waits_and_is_ended_by_ctrl_c() {
    let world = World::default();
    let mut shell = world.shell();
    assert_eq!(shell.done("sleep 1.5s"), "");
    world.desk.interrupt_at.set(Some(Duration::from_secs(3600)));
    assert_eq!(shell.refused("sleep 100h"), "sleep: stopped by Ctrl-C.\n");
    assert!(shell.types("sleep 1h\r\x03").ends_with("sleep: stopped by Ctrl-C.\r\nbulkhead! "), "typed together");
    assert!(shell.refused("sleep long").contains("`long` is no duration"));
}

#[test]
fn shutdown_writes_to_the_disk_first() {
    let world = World::default();
    let mut shell = world.shell();
    shell.done("shutdown");
    assert_eq!(*world.supervisor.requests.borrow(), ["shutdown"]);
    world.files.arrange("sync", 0, Mishap::Dies);
    assert!(shell.done("shutdown").contains("What was written last may be lost"));
    assert!(shell.refused("reboot").contains("cannot start the machine again: this machine offers no way to do that"));
}

#[test]
fn output_that_the_console_loses_is_no_success() {
    let world = World::default();
    let mut shell = world.shell();
    // The line's end, what the command shows.
    world.desk.loses.set(2);
    let shown = shell.types("echo hello\r");
    assert!(!shown.contains("hello\r"), "{shown:?}");
    assert!(shown.contains("echo: a part of the output is lost because the console did not take it"), "{shown:?}");
    assert!(shown.ends_with("bulkhead! "), "{shown:?}");
    assert!(shell.done("uptime").ends_with("s\n"));
}

#[test]
fn a_prompt_that_the_console_loses_is_shown_again() {
    let world = World::default();
    let mut shell = world.shell();
    world.desk.loses.set(1);
    assert_eq!(shell.types("ab"), "\rbulkhead> ab\x1b[K\r\x1b[12C");
    world.desk.dies_while_read.set(true);
    assert_eq!(shell.types(""), "\rbulkhead> ab\x1b[K\r\x1b[12C");
}

#[test]
fn crashes_lists_deaths_and_tells_all_of_the_last_one_of_a_domain() {
    let world = World::default();
    assert_eq!(world.shell().done("crashes"), "Nobody has died.\n");
    let death = |number, domain: &str, cause: &str| CrashRecord {
        number,
        domain: domain.to_owned(),
        cause: cause.to_owned(),
        frames: vec![0x20_1000, 0x20_2000],
        ..CrashRecord::default()
    };
    *world.supervisor.crashes.borrow_mut() =
        vec![death(1, "fat", "panicked"), death(2, "virtio-blk", "was killed"), death(3, "fat", "read at 0x0")];
    assert_eq!(
        world.shell().done("crashes"),
        "1: fat, life 0, 0.000000 s after boot: panicked\n\
         2: virtio-blk, life 0, 0.000000 s after boot: was killed\n\
         3: fat, life 0, 0.000000 s after boot: read at 0x0\n"
    );
    assert_eq!(
        world.shell().done("crashes fat"),
        "3: fat, life 0, 0.000000 s after boot: read at 0x0\n  at   0x201000\n  from 0x202000\n"
    );
    assert_eq!(world.shell().done("crashes supervisor"), "No death of supervisor is known.\n");
    assert_eq!(world.shell().done("crashes --kept"), "Nobody has died.\n", "the disk has no log");
    assert!(world.shell().refused("crashes nobody").contains("there is no domain with that name"));
}
