//! Mistakes in how domains relate to each other, to the hardware and to the machine, at their lines and columns.

use super::*;

mod connection {
    use super::*;

    #[test]
    fn by_an_unknown_interface() {
        assert_eq!(
            in_app("uses = [\"filesytem\"]"),
            ["4:9 unknown-interface `\"filesytem\"`: there is no interface `filesytem` \
              (did you mean `filesystem`?)"]
        );
        assert_eq!(
            in_app("provides = [\"network\"]"),
            ["4:13 unknown-interface `\"network\"`: there is no interface `network` (there are `supervision`, \
              `console`, `pci`, `block`, `filesystem`, `echo`, `command`, `guest`, `link`, `stream`)"]
        );
    }

    #[test]
    fn with_nobody() {
        assert_eq!(
            in_app("uses = [\"console\"]"),
            ["4:9 missing-provider `\"console\"`: `a` uses `console`, which no other domain provides \
              (add a domain with `provides = [\"console\"]`, or remove this use)"]
        );
    }

    #[test]
    fn with_a_domain_that_is_not_there_or_serves_something_else() {
        let source = |uses: &str| {
            format!(
                "[supervisor]\n[domain.uart]\nkind = \"server\"\nprovides = [\"console\"]\n\
                 [domain.a]\nkind = \"app\"\nuses = [\"console\", {uses}]\n[domain.fat]\nkind = \"app\"\n"
            )
        };
        assert_eq!(
            mistakes(&source("{ interface = \"echo\", from = \"uatr\" }")),
            ["7:49 unknown-domain `\"uatr\"`: there is no domain `uatr` (did you mean `uart`?)"]
        );
        assert_eq!(
            mistakes(&source("{ interface = \"echo\", from = \"uart\" }")),
            ["7:49 wrong-provider `\"uart\"`: `uart` does not provide `echo` (no domain provides `echo`)"]
        );
        assert_eq!(
            mistakes(&source("{ interface = \"supervision\", from = \"fat\" }")),
            ["7:56 wrong-provider `\"fat\"`: `fat` does not provide `supervision` \
              (`supervision` is provided by `supervisor`)"]
        );
    }

    #[test]
    fn that_could_be_with_either_of_two() {
        assert_eq!(
            mistakes(
                "[supervisor]\n[domain.a]\nkind = \"server\"\nprovides = [\"block\"]\n[domain.b]\nkind = \"server\"\n\
                 provides = [\"block\"]\n[domain.c]\nkind = \"app\"\nuses = [\"block\"]\n"
            ),
            ["10:9 ambiguous-provider `\"block\"`: `block` is provided by `a`, `b` \
              (say which is meant: { interface = \"block\", from = \"a\" })"]
        );
    }

    #[test]
    fn that_is_listed_twice() {
        assert_eq!(
            in_app("uses = [\"supervision\", \"supervision\"]"),
            ["4:24 duplicate `\"supervision\"`: two uses are called `supervision` \
              (remove one, or tell them apart: `name = \"…\"`)"]
        );
        assert_eq!(
            in_app("uses = [\"supervision\", { interface = \"supervision\", name = \"boss\" }]"),
            ["4:38 duplicate `\"supervision\"`: `a` uses `supervision` from `supervisor` twice (remove one)"]
        );
        assert_eq!(
            mistakes(
                "[supervisor]\n[domain.a]\nkind = \"server\"\nprovides = [\"echo\", \"echo\"]\n\
                 [domain.b]\nkind = \"app\"\nuses = [\"echo\"]\n"
            ),
            ["4:21 duplicate `\"echo\"`: `a` provides `echo` twice (remove one)"]
        );
    }

    #[test]
    fn that_nobody_makes_is_a_warning() {
        let source = "[supervisor]\n[domain.a]\nkind = \"server\"\nprovides = [\"echo\"]\n";
        assert!(compile_text(source).is_ok());
        assert_eq!(
            mistakes(source),
            ["4:13 unused `\"echo\"`: nobody uses `echo`, which `a` provides (add a use, or remove the entry)"]
        );
    }

    #[test]
    fn in_a_circle() {
        let hint = "(callers in a circle can wait for each other for ever: remove one of these uses; what must go \
                    the other way is a reply, a ring or a notification)";
        assert_eq!(
            mistakes(
                "[supervisor]\n[domain.c]\nkind = \"app\"\nuses = [\"echo\"]\n\
                 [domain.a]\nkind = \"server\"\nprovides = [\"echo\"]\nuses = [\"block\"]\n\
                 [domain.b]\nkind = \"server\"\nprovides = [\"block\"]\nuses = [\"echo\"]\n"
            ),
            [format!("8:9 cycle `\"block\"`: calls would go in a circle: a → b → a {hint}")]
        );
        assert_eq!(
            mistakes(
                "[supervisor]\n[domain.a]\nkind = \"server\"\nprovides = [\"echo\"]\n\
                 uses = [{ interface = \"echo\", from = \"a\" }]\n"
            ),
            [format!("5:23 cycle `\"echo\"`: `a` would call itself {hint}")]
        );
    }
}

mod authority {
    use super::*;

    const SHARE: &str = "(two domains cannot share it: take it from one of them, or give one of them the other's work)";

    fn two_drivers(one: &str, other: &str) -> Vec<String> {
        mistakes(&format!(
            "[supervisor]\n[domain.a]\nkind = \"driver\"\n{one}\n[domain.b]\nkind = \"driver\"\n{other}\n"
        ))
    }

    #[test]
    fn over_ports_that_another_has() {
        assert_eq!(
            two_drivers(
                "device = { legacy = { ports = [{ base = 0x3f8, count = 8 }] } }",
                "device = { legacy = { ports = [{ base = 0x3f0, count = 10 }] } }",
            ),
            [format!(
                "7:32 claimed-twice `{{ base = 0x3f0, count = 10 }}`: `a` and `b` both claim ports 0x3f8 to 0x3f9 {SHARE}"
            )]
        );
        assert_eq!(
            two_drivers(
                "device = { legacy = { ports = [{ base = 0x60, count = 1 }, { base = 0x64, count = 1 }] } }",
                "device = { legacy = { ports = [{ base = 0x61, count = 4 }] } }",
            ),
            [format!("7:32 claimed-twice `{{ base = 0x61, count = 4 }}`: `a` and `b` both claim port 0x64 {SHARE}")]
        );
    }

    #[test]
    fn over_an_interrupt_line_that_another_has() {
        assert_eq!(
            two_drivers("device = { legacy = { irqs = [1, 4] } }", "device = { legacy = { irqs = [3, 4] } }"),
            [format!("7:34 claimed-twice `4`: `a` and `b` both claim interrupt line 4 {SHARE}")]
        );
    }

    #[test]
    fn over_a_pci_device_that_another_has() {
        let one = "device = { pci = { vendor = 0x1af4, devices = [0x1042, 0x1001] } }";
        assert_eq!(
            two_drivers(one, &one.replace("] }", "], interrupts = 2 }")),
            [format!(
                "7:10 claimed-twice `{{ pci = {{ vendor = 0x1af4, devices = [0x1042, 0x1001], interrupts = 2 }} }}`: \
                 `a` and `b` both claim PCI devices that may be the same {SHARE}"
            )]
        );
        assert_eq!(two_drivers(one, one).len(), 1);
        assert!(two_drivers(one, &one.replace("] }", "], index = 1 }")).is_empty());
        assert!(two_drivers(one, "device = { pci = { vendor = 0x1af4, devices = [0x1041] } }").is_empty());
    }

    #[test]
    fn over_all_pci_devices_that_another_has() {
        assert_eq!(
            two_drivers("grants = [\"ecam\"]", "grants = [\"ecam\"]"),
            [format!("7:11 claimed-twice `\"ecam\"`: `a` and `b` both claim the grant `ecam` {SHARE}")]
        );
    }

    #[test]
    fn that_one_domain_claims_twice() {
        assert_eq!(
            in_driver("device = { legacy = { irqs = [4, 4] } }"),
            ["4:34 duplicate `4`: `a` claims interrupt line 4 twice (remove one)"]
        );
        assert_eq!(
            in_app("grants = [\"power\", \"power\"]"),
            ["4:20 duplicate `\"power\"`: `grants` lists `power` twice (remove one)"]
        );
    }

    #[test]
    fn that_does_not_go_with_the_kind() {
        assert_eq!(
            in_app("device = { legacy = { irqs = [4] } }"),
            ["4:10 misplaced `{ legacy = { irqs = [4] } }`: `a` is an app and cannot have a device \
              (only drivers have devices: make it `kind = \"driver\"`)"]
        );
        assert_eq!(
            in_domain("server", "grants = [\"ecam\"]"),
            ["4:11 misplaced `\"ecam\"`: `a` is a server and cannot have `ecam` \
              (only drivers have authority over hardware: make it `kind = \"driver\"`)"]
        );
    }

    #[test]
    fn that_is_the_supervisors() {
        assert_eq!(
            in_app("grants = [\"supervision\"]"),
            ["4:11 misplaced `\"supervision\"`: `a` cannot have `supervision`: it is the supervisor's alone \
              (to ask the supervisor for something, use its interface: `uses = [\"supervision\"]`)"]
        );
        assert_eq!(
            mistakes(
                "[supervisor]\n[domain.a]\nkind = \"server\"\nprovides = [\"supervision\"]\n\
                      [domain.b]\nkind = \"app\"\nuses = [{ interface = \"supervision\", from = \"a\" }]\n"
            ),
            ["4:13 misplaced `\"supervision\"`: `a` cannot provide `supervision` \
              (the supervisor provides it by itself: remove the entry)"]
        );
        assert_eq!(
            in_app("uses = [{ interface = \"supervision\", ring = \"4K\" }]"),
            ["4:45 misplaced `\"4K\"`: the supervisor shares no memory with anybody (remove `ring`)"]
        );
    }

    #[test]
    fn what_is_lent_is_served_and_asked_for_through_a_ring() {
        let with = |uses: &str| {
            mistakes(&format!(
                "[supervisor]\n[domain.a]\nkind = \"server\"\nprovides = [\"block\"]\n\
                 [domain.b]\nkind = \"server\"\nprovides = [\"echo\"]\nuses = [{{ interface = \"block\", {uses} }}]\n\
                 [domain.c]\nkind = \"app\"\nuses = [\"echo\"]\n"
            ))
        };
        assert_eq!(with("ring = \"8K\", lends = \"echo\""), [""; 0]);
        assert_eq!(
            with("lends = \"echo\""),
            ["8:40 misplaced `\"echo\"`: `b` has no ring through which to tell what is to be done with the memory \
              (add `ring`, or remove `lends`)"]
        );
        assert_eq!(
            with("ring = \"8K\", lends = \"filesystem\""),
            ["8:53 misplaced `\"filesystem\"`: `b` does not provide `filesystem`, so that it has no rings of that \
              (name an interface that the domain provides, or remove `lends`)"]
        );
    }
}

mod device {
    use super::*;

    #[test]
    fn on_no_bus_or_on_two() {
        let hint = "(write { legacy = { ports = [{ base = 0x3f8, count = 8 }], irqs = [4] } } or \
                    { pci = { vendor = 0x1af4, devices = [0x1042] } })";
        assert_eq!(
            in_driver("device = {}"),
            [format!("4:10 missing-key `{{}}`: the device is neither `legacy` nor `pci` {hint}")]
        );
        let both = "{ legacy = { irqs = [1] }, pci = { vendor = 1, devices = [1] } }";
        assert_eq!(
            in_driver(&format!("device = {both}")),
            [format!("4:10 missing-key `{both}`: a device is either `legacy` or `pci`, not both {hint}")]
        );
    }

    #[test]
    fn without_its_particulars() {
        assert_eq!(
            in_driver("device = { pci = {} }"),
            [
                "4:18 missing-key `{}`: `pci` needs the key `vendor` (add `vendor = 0x1af4`)",
                "4:18 missing-key `{}`: `pci` needs the key `devices` (add `devices = [0x1042]`)",
            ]
        );
        assert_eq!(
            in_driver("device = { pci = { vendor = 0x1af4, devices = [] } }"),
            ["4:47 invalid-number `[]`: `devices` lists no device id \
              (list the device ids that the driver knows, such as [0x1042, 0x1001])"]
        );
        assert_eq!(
            in_driver("device = { legacy = {} }"),
            ["4:21 missing-key `{}`: `legacy` needs the key `ports` (add `ports = [{ base = 0x3f8, count = 8 }]`)"]
        );
        assert_eq!(
            in_driver("device = { legacy = { ports = [{ base = 0x60 }] } }"),
            ["4:32 missing-key `{ base = 0x60 }`: a range of ports needs the key `count` (add `count = 8`)"]
        );
    }

    #[test]
    fn that_qemu_cannot_be_asked_for() {
        let hint = "(write the device as QEMU names it, and its properties: \"edu,dma_mask=0xffffffff\")";
        assert_eq!(
            in_driver("device = { pci = { vendor = 1, devices = [1], qemu = \"edu -drive file=x\" } }"),
            [format!(
                "4:54 invalid-device `\"edu -drive file=x\"`: `edu -drive file=x` is not the name of a device: letters, \
                 digits, `-`, `_` and `.`, the first a letter or a digit {hint}"
            )]
        );
        assert_eq!(
            in_driver("device = { pci = { vendor = 1, devices = [1], qemu = \"edu,romfile=x\" } }"),
            [format!(
                "4:54 invalid-device `\"edu,romfile=x\"`: the property `romfile` is not a manifest's to set: it would \
                 name something of the host or of QEMU itself {hint}"
            )]
        );
    }

    #[test]
    fn beyond_the_limits_of_its_bus() {
        let hint = "(choose a number within the range)";
        assert_eq!(
            in_driver("device = { legacy = { irqs = [16] } }"),
            [format!("4:31 invalid-number `16`: `irqs` of 16 is out of range: 0 to 15 are possible {hint}")]
        );
        assert_eq!(
            in_driver("device = { legacy = { ports = [{ base = 0xfff8, count = 9 }] } }"),
            ["4:32 invalid-number `{ base = 0xfff8, count = 9 }`: the range ends after the last port, 0xffff \
              (lower `count`)"]
        );
        assert_eq!(
            in_driver("device = { pci = { vendor = 0x1ffff, devices = [1] } }"),
            [format!(
                "4:29 invalid-number `0x1ffff`: `vendor` of 0x1ffff is out of range: 0x0 to 0xfffe are possible {hint}"
            )]
        );
    }
}

mod memory {
    use super::*;

    #[test]
    fn that_no_machine_of_the_size_has() {
        let source = "[system]\nreserve = \"64M\"\n[supervisor]\n[domain.a]\nkind = \"server\"\nprovides = [\"block\"]\n\
                      memory = \"40M\"\nvault = \"8M\"\n[domain.b]\nkind = \"app\"\nmemory = \"8M\"\n\
                      uses = [{ interface = \"block\", ring = \"10M\" }]\n";
        assert_eq!(
            mistakes(source),
            ["7:10 over-committed `\"40M\"`: the system needs 131.5M of memory, the machine has 128M \
              (give the domains less, or the machine at least 131.5M)"]
        );
        let report = compile_text(source).expect_err("it does not fit");
        assert_eq!(
            report.diagnostics()[0].notes,
            [
                "`a` takes 40.3M",
                "a ring of `b` takes 10M",
                "`b` takes 8.2M",
                "the vault of `a` takes 8M",
                "`supervisor` takes 1.2M",
                "kernel, loader, boot archive and `init` take 64M",
            ]
        );
        let larger = Environment { machine_memory: 132 << 20, ..environment() };
        assert!(compile("system.toml", source, &larger).is_ok());
    }

    #[test]
    fn that_is_shared_with_a_pci_device_counts() {
        let source = "[system]\nreserve = \"64M\"\n[supervisor]\n[domain.a]\nkind = \"driver\"\nmemory = \"62M\"\n\
                      device = { pci = { vendor = 1, devices = [1] } }\n";
        let machine = |memory| compile("system.toml", source, &Environment { machine_memory: memory, ..environment() });
        let report = machine(16 << 20).expect_err("it does not fit");
        assert_eq!(
            report.diagnostics()[0].notes[..3],
            ["`a` takes 62.3M", "`supervisor` takes 1.2M", "what `a` shares with its device takes 256K"]
        );
        assert!(machine(128 << 20).is_ok());
    }

    #[test]
    fn that_is_missing_is_shown_at_the_largest_domains_name_if_it_has_the_default() {
        assert_eq!(
            mistakes(
                "[defaults]\nmemory = \"70M\"\n[supervisor]\nmemory = \"1M\"\n[domain.a]\nkind = \"app\"\n\
                      [domain.b]\nkind = \"app\"\n"
            ),
            ["5:9 over-committed `a`: the system needs 165.7M of memory, the machine has 128M \
              (give the domains less, or the machine at least 165.7M)"]
        );
    }
}

mod the_name_of_a_command {
    use super::*;

    const SYSTEM: &str = "[supervisor]\n[domain.a]\nkind = \"app\"\nprovides = [\"command\"]\n\
                          [domain.b]\nkind = \"app\"\nprovides = [\"command\"]\n";

    fn shell_that_uses(uses: &str) -> String {
        format!("{SYSTEM}[domain.shell]\nkind = \"app\"\nuses = [{uses}]\n")
    }

    #[test]
    fn may_be_any_that_the_shell_does_not_have() {
        let uses = "{ interface = \"command\", from = \"a\", name = \"greeter\" }, \
                    { interface = \"command\", from = \"b\", name = \"counter\" }";
        let system = compiled(&shell_that_uses(uses));
        let shell = system.domains.last().unwrap();
        assert_eq!(shell.uses.iter().map(|usage| usage.name.as_str()).collect::<Vec<_>>(), ["greeter", "counter"]);
    }

    #[test]
    fn is_refused_if_the_shell_has_a_command_of_that_name() {
        let uses = "{ interface = \"command\", from = \"a\", name = \"ls\" }, \
                    { interface = \"command\", from = \"b\" }";
        assert_eq!(
            mistakes(&shell_that_uses(uses)),
            ["10:53 duplicate `\"ls\"`: `ls` is a command of the shell itself, which would hide this one \
              (call it something else: `name = \"…\"`)"]
        );
    }

    #[test]
    fn is_free_in_domains_that_are_no_shell() {
        let uses = "uses = [{ interface = \"command\", from = \"a\", name = \"ls\" }]";
        let source = format!("{SYSTEM}[domain.c]\nkind = \"app\"\n{uses}\n");
        assert!(mistakes(&source).iter().all(|mistake| !mistake.contains("ls")), "{:?}", mistakes(&source));
    }
}
