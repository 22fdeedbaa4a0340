//! Guests: what a `[guest.…]` becomes, and what is wrong with others.

use manifest::{DomainIndex, Guest, Kind, MAX_DISKS, OnDeath, Restart};

use super::*;

/// A shell, two disks and, from line 13 on, what is given.
fn with_guests(guests: &str) -> String {
    let uses =
        "[{ interface = 'block', from = 'disk-a', name = 'a' }, { interface = 'block', from = 'disk-b', name = 'b' }]";
    let disk = |name| format!("[domain.{name}]\nbinary = 'a'\nkind = 'server'\nprovides = ['block']\n");
    format!("[supervisor]\n[domain.shell]\nkind = 'app'\nuses = {uses}\n{}{}{guests}", disk("disk-a"), disk("disk-b"))
}

/// What is wrong with a guest called `linux` beside these, that has what is written from line 14 on.
fn in_guest(lines: &str) -> Vec<String> {
    mistakes(&with_guests(&format!("[guest.linux]\n{lines}")))
}

#[test]
fn the_least_guest_is_a_kernel_and_memory() {
    let system = compiled(&with_guests("[guest.linux]\nkernel = 'vmlinuz'\nmemory = '64M'\n"));
    let linux = system.domains.last().unwrap();
    let expected = Guest {
        memory: 64 << 20,
        processors: 1,
        cpu: 0,
        priority: 49,
        time_slice_us: 5000,
        command_line: "console=ttyS0".into(),
        starts: true,
        disks: Vec::new(),
        is_linked: false,
    };
    assert_eq!(linux.guest.as_ref(), Some(&expected));
    assert_eq!((linux.name.as_str(), linux.binary.as_str(), linux.kind), ("linux", "vmm", Kind::Guest));
    assert_eq!((linux.memory, linux.priority, linux.capabilities), (3 << 20, 50, 256));
    assert_eq!(system[linux.provides[0]].interface, "guest");
    assert_eq!((linux.uses.len(), linux.level), (0, 1));
}

#[test]
fn a_guest_has_what_is_written() {
    let system = compiled(&with_guests(
        "[guest.linux]\nkernel = 'vmlinuz'\ninitrd = 'first'\nmemory = '128M'\ncpus = 4\ncommand-line = 'quiet'\n\
         disks = ['disk-b', 'disk-a']\nconsole = 'shell'\nautostart = false\nmonitor-memory = '5M'\npriority = 20\ncpu = 1\n\
         time-slice = '1ms'\nrestart = 'never'\nheartbeat = '3s'\nbinary = 'b'\n",
    ));
    let linux = system.domains.last().unwrap();
    let expected = Guest {
        memory: 128 << 20,
        processors: 4,
        cpu: 1,
        priority: 19,
        time_slice_us: 1000,
        command_line: "quiet".into(),
        starts: false,
        disks: vec!["disk0".into(), "disk1".into()],
        is_linked: false,
    };
    assert_eq!(linux.guest.as_ref(), Some(&expected));
    assert_eq!((linux.memory, linux.priority, linux.cpu, linux.binary.as_str()), (5 << 20, 20, 1, "b"));
    assert_eq!((linux.time_slice_us, linux.restart, linux.heartbeat_ms), (1000, Restart::Never, 3000));
}

#[test]
fn each_disk_is_a_ring_of_its_own_to_its_driver() {
    let system = compiled(&with_guests(
        "[guest.one]\nkernel = 'k'\nmemory = '16M'\ndisks = ['disk-b', 'disk-a']\n\
         [guest.two]\nkernel = 'k'\nmemory = '16M'\ndisks = ['disk-a']\n",
    ));
    let [one, two] = ["one", "two"].map(|name| system.domain_named(name).unwrap());
    let disks = |guest: DomainIndex| -> Vec<_> {
        let uses = system[guest].uses.iter();
        uses.map(|usage| (usage.name.as_str(), system[system[usage.endpoint].server].name.as_str())).collect()
    };
    assert_eq!(disks(one), [("disk0", "disk-b"), ("disk1", "disk-a")]);
    assert_eq!(disks(two), [("disk0", "disk-a")]);
    for usage in system[one].uses.iter().chain(&system[two].uses) {
        assert_eq!(system[usage.ring.unwrap()].bytes, 256 << 10);
        assert_eq!(usage.on_death, OnDeath::Transparent);
    }
    assert_eq!(system.rings.len(), 3);
    assert_eq!(system[one].level, 2);
}

#[test]
fn guests_on_a_link_have_a_ring_each_to_whom_provides_it() {
    let text = with_guests(
        "[guest.one]\nkernel = 'k'\nmemory = '16M'\nlink = 'between'\n\
         [guest.two]\nkernel = 'k'\nmemory = '16M'\ndisks = ['disk-a']\nlink = 'between'\n\
         [domain.between]\nbinary = 'a'\nkind = 'server'\nprovides = ['link']\n",
    );
    let system = compiled(&text);
    let [one, two, between] = ["one", "two", "between"].map(|name| system.domain_named(name).unwrap());
    for guest in [one, two] {
        assert!(system[guest].guest.as_ref().unwrap().is_linked);
        let link = system[guest].use_named("link").unwrap();
        assert_eq!((system[link.endpoint].server, link.on_death), (between, OnDeath::Retry));
        assert_eq!(system[link.ring.unwrap()].bytes, 256 << 10);
    }
    assert_eq!(system.rings_of(between).count(), 2);
    assert_eq!(system[two].guest.as_ref().unwrap().disks, ["disk0"]);
    assert!(!system.may_call(one, two) && !system.may_call(between, one));
}

#[test]
fn its_second_terminal_is_a_stream_to_whoever_uses_it() {
    let text = with_guests(
        "[guest.linux]\nkernel = 'k'\nmemory = '16M'\n\
         [domain.asks]\nbinary = 'a'\nkind = 'app'\nuses = [{ interface = 'stream', from = 'linux' }]\n",
    );
    let system = compiled(&text);
    let [linux, asks] = ["linux", "asks"].map(|name| system.domain_named(name).unwrap());
    let stream = system[asks].use_named("stream").unwrap();
    assert_eq!((system[stream.endpoint].server, stream.on_death), (linux, OnDeath::Error));
    assert!(system.may_call(asks, linux) && !system.may_call(linux, asks));
}

#[test]
fn its_console_operates_it_under_its_name() {
    let system = compiled(&with_guests("[guest.linux]\nkernel = 'k'\nmemory = '16M'\nconsole = 'shell'\n"));
    let [shell, linux] = ["shell", "linux"].map(|name| system.domain_named(name).unwrap());
    let operates = system[shell].use_named("linux").unwrap();
    assert_eq!((system[operates.endpoint].server, operates.ring), (linux, None));
    assert_eq!(system[shell].level, 2, "it calls the guest's monitor");
    assert!(!system.may_call(linux, shell));
}

#[test]
fn guests_are_started_after_all_other_domains() {
    let text = with_guests("").replace("[domain.shell]", "[guest.first]\nkernel = 'k'\nmemory = '16M'\n[domain.shell]");
    let system = compiled(&text);
    let names: Vec<_> = system.domains.iter().map(|domain| domain.name.as_str()).collect();
    assert_eq!(names, ["supervisor", "shell", "disk-a", "disk-b", "first"]);
}

#[test]
fn a_guest_can_be_a_member_of_a_group() {
    let text = with_guests(
        "[guest.linux]\nkernel = 'k'\nmemory = '16M'\n[group.g]\nmembers = ['disk-a', 'linux']\nstrategy = 'rest-for-one'\n",
    );
    let system = compiled(&text);
    assert_eq!(system.groups[0].members.len(), 2);
}

#[test]
fn files_are_named_after_their_guest() {
    let text = with_guests(
        "[guest.one]\nkernel = 'k'\ninitrd = 'sub/i'\nmemory = '16M'\n[guest.two]\nkernel = 'k'\nmemory = '16M'\n",
    );
    let files = compile_text(&text).unwrap().files;
    let named: Vec<_> = files.iter().map(|(name, path)| (name.as_str(), path.as_str())).collect();
    assert_eq!(named, [("one.initrd", "sub/i"), ("one.kernel", "k"), ("two.kernel", "k")]);
}

#[test]
fn its_memory_is_what_the_machine_has_to_have_beside() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("k"), [7; 5000]).unwrap();
    let text = with_guests("[guest.linux]\nkernel = 'k'\nmemory = '1G'\n");
    let compiled =
        compile("system.toml", &text, &Environment { folder: Some(folder.path()), ..environment() }).unwrap();
    let (guest, files) = ((1 << 30) + userlib::guest::layout::overhead(1 << 30, 1) * 4096, 2 * 4096);
    assert_eq!(compiled.guest_memory, guest + files);
    assert_eq!(compiled.system.domains.last().unwrap().guest_memory, guest);
    // The guest's memory is in the sum, beside the monitor's and that of the others.
    assert_eq!(compiled.system.memory_bytes(), guest + (3 << 20) + (4 << 20));
}

#[test]
fn what_guests_take_is_in_the_account_of_a_machine_that_is_too_small() {
    let text = with_guests("[guest.linux]\nkernel = 'k'\nmemory = '64M'\nmonitor-memory = '120M'\n");
    let report = compile_text(&text).expect_err("the monitor is too large");
    let found = &report.diagnostics()[0];
    assert_eq!(found.rule.name(), "over-committed");
    assert_eq!(found.notes[..2], ["`linux` takes 120.4M", "the guest of `linux` takes 64.2M"]);
}

mod a_guest_is_refused {
    use super::*;

    #[test]
    fn without_kernel_or_memory() {
        assert_eq!(
            in_guest(""),
            [
                "13:8 missing-key `linux`: guest `linux` needs the key `memory` (add `memory = \"128M\"`)",
                "13:8 missing-key `linux`: guest `linux` needs the key `kernel` (add `kernel = \"vmlinuz\"`)",
            ]
        );
    }

    #[test]
    fn with_memory_that_no_guest_can_have() {
        assert_eq!(
            in_guest("kernel = 'k'\nmemory = '17M'"),
            ["15:10 invalid-size `'17M'`: `memory` of 17M is not a multiple of 2M \
              (a guest's memory is mapped in pieces of that: the next size is 18M)"]
        );
        assert_eq!(
            in_guest("kernel = 'k'\nmemory = '14M'"),
            ["15:10 invalid-size `'14M'`: `memory` of 14M is out of range: 16M to 3G are possible \
              (choose a size within the range)"]
        );
        assert_eq!(in_guest("kernel = 'k'\nmemory = '4G'").len(), 1);
    }

    #[test]
    fn with_processors_that_no_guest_can_have() {
        for cpus in ["0", "17"] {
            assert_eq!(
                in_guest(&format!("kernel = 'k'\nmemory = '16M'\ncpus = {cpus}")),
                [format!(
                    "16:8 invalid-number `{cpus}`: `cpus` of {cpus} is out of range: 1 to 16 are possible \
                     (choose a number within the range)"
                )]
            );
        }
    }

    #[test]
    fn whose_processors_could_not_run_below_its_monitor() {
        assert_eq!(
            in_guest("kernel = 'k'\nmemory = '16M'\npriority = 0"),
            [
                "16:12 invalid-number `0`: `priority` of 0 leaves none for the guest's processors, which run below their \
              monitor (1 is the lowest)"
            ]
        );
    }

    #[test]
    fn with_a_disk_that_nobody_drives() {
        assert_eq!(
            in_guest("kernel = 'k'\nmemory = '16M'\ndisks = ['disk-c', 'shell']"),
            [
                "16:10 unknown-domain `'disk-c'`: there is no domain `disk-c` (did you mean `disk-a`?)",
                "16:20 wrong-provider `'shell'`: `shell` does not provide `block` (`block` is provided by `disk-a`)",
            ]
        );
    }

    #[test]
    fn with_a_link_that_nobody_provides() {
        assert_eq!(
            in_guest("kernel = 'k'\nmemory = '16M'\nlink = 'switch'"),
            [
                "16:8 unknown-domain `'switch'`: there is no domain `switch` (there are `supervisor`, `shell`, `disk-a`, `disk-b`, \
              `linux`)"
            ]
        );
        let found = in_guest("kernel = 'k'\nmemory = '16M'\nlink = 'disk-a'");
        assert!(found[0].starts_with("16:8 wrong-provider `'disk-a'`: `disk-a` does not provide `link`"), "{found:?}");
    }

    #[test]
    fn with_the_same_disk_twice_or_too_many() {
        let found = in_guest("kernel = 'k'\nmemory = '16M'\ndisks = ['disk-a', 'disk-a']");
        assert_eq!(found, ["16:20 duplicate `'disk-a'`: `linux` uses `block` from `disk-a` twice (remove one)"]);
        let disks = ["'disk-a'"; MAX_DISKS + 1].join(", ");
        let found = in_guest(&format!("kernel = 'k'\nmemory = '16M'\ndisks = [{disks}]"));
        assert!(
            found.iter().any(|line| line.contains("too-many `'disk-a'`: a guest has at most 8 disks")),
            "{found:?}"
        );
    }

    #[test]
    fn with_an_operator_that_is_not_there_or_cannot_be_one() {
        assert_eq!(
            in_guest("kernel = 'k'\nmemory = '16M'\nconsole = 'shel'"),
            ["16:11 unknown-domain `'shel'`: there is no domain `shel` (did you mean `shell`?)"]
        );
        assert_eq!(
            in_guest("kernel = 'k'\nmemory = '16M'\nconsole = 'supervisor'"),
            ["16:11 misplaced `'supervisor'`: the supervisor calls nobody, and so cannot operate a guest \
              (name the shell: `console = \"shell\"`)"]
        );
        assert_eq!(
            in_guest("kernel = 'k'\nmemory = '16M'\nconsole = 'linux'")[0].split(" (").next(),
            Some("16:11 cycle `'linux'`: `linux` would call itself")
        );
    }

    #[test]
    fn under_a_name_that_is_taken() {
        let guest = |name: &str| mistakes(&with_guests(&format!("[guest.{name}]\nkernel = 'k'\nmemory = '16M'\n")));
        assert_eq!(
            guest("shell"),
            [
                "13:8 duplicate `shell`: a domain and a guest are called `shell` (a guest is a domain: choose another name)"
            ]
        );
        assert_eq!(
            guest("init"),
            [
                "13:8 invalid-name `init`: `init` is a part of every system, not a domain of its own (choose another name)"
            ]
        );
        assert_eq!(guest("Linux").len(), 1);
        assert_eq!(
            mistakes(&with_guests("[guest.b]\nkernel = 'k'\nmemory = '16M'\nconsole = 'shell'\n")),
            ["16:11 duplicate `'shell'`: `shell` would have two uses called `b` (call the guest something else)"]
        );
    }

    #[test]
    fn with_keys_of_other_domains() {
        assert_eq!(
            in_guest("kernel = 'k'\nmemory = '16M'\ngrants = ['power']\ndisk = ['disk-a']"),
            [
                "16:1 unknown-key `grants`: guest `linux` has no key `grants` (a guest's monitor provides `guest` and \
                 `stream`, and uses the guest's `disks` and `link`: nothing else is to be said)",
                "17:1 unknown-key `disk`: guest `linux` has no key `disk` (did you mean `disks`?)",
            ]
        );
        assert_eq!(
            in_domain("guest", ""),
            ["3:8 unknown-word `\"guest\"`: `kind` cannot be `guest` (there are `server`, `driver`, `app`)"]
        );
    }

    #[test]
    fn with_a_command_line_that_no_kernel_takes() {
        let long = "x".repeat(2048);
        let found = in_guest(&format!("kernel = 'k'\nmemory = '16M'\ncommand-line = '{long}'"));
        assert!(
            found[0].contains("`command-line` has 2048 bytes, more than the 2047 that a kernel takes"),
            "{found:?}"
        );
        let found = in_guest("kernel = 'k'\nmemory = '16M'\ncommand-line = \"a\\u0000b\"");
        assert!(found[0].contains("has a zero in it"), "{found:?}");
    }

    #[test]
    fn whose_files_are_not_there() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("empty"), []).unwrap();
        let text = with_guests("[guest.linux]\nkernel = 'no-such'\ninitrd = 'empty'\nmemory = '16M'\n");
        let report = compile("system.toml", &text, &Environment { folder: Some(folder.path()), ..environment() });
        let report = report.expect_err("there are no such files");
        let found: Vec<_> =
            report.diagnostics().iter().map(|found| (found.rule.name(), found.message.as_str())).collect();
        assert_eq!(found[1], ("missing-file", "the file `empty` is empty"));
        assert_eq!(found[0].0, "missing-file");
        assert!(found[0].1.starts_with("the file `no-such` cannot be read: "), "{found:?}");
        assert!(report.diagnostics()[0].hint.as_ref().unwrap().contains("`cargo xtask guest fetch`"));
    }
}
