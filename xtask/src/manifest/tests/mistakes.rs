//! Mistakes in what is written, key by key, at their lines and columns.

use super::*;

mod text {
    use super::*;

    #[test]
    fn that_is_not_toml() {
        assert_eq!(
            mistakes("[supervisor]\nmemory = \"1M\n\n[domain.a\n"),
            ["2:13 syntax ``: invalid basic string, expected `\"`", "4:10 syntax ``: unclosed table, expected `]`",]
        );
    }

    #[test]
    fn with_a_section_twice() {
        assert_eq!(
            mistakes("[supervisor]\n[domain.a]\nkind = \"app\"\n[domain.a]\n"),
            ["4:9 syntax `a`: duplicate key"]
        );
    }

    #[test]
    fn without_a_supervisor() {
        assert_eq!(
            mistakes(""),
            ["1:1 missing-key ``: the section `[supervisor]` is missing \
              (add `[supervisor]`; an empty section takes the defaults)"]
        );
    }
}

mod key {
    use super::*;

    #[test]
    fn that_is_unknown_gets_the_nearest() {
        assert_eq!(
            in_app("prioritty = 3"),
            ["4:1 unknown-key `prioritty`: domain `a` has no key `prioritty` (did you mean `priority`?)"]
        );
        assert_eq!(
            in_app("time_slice = \"1ms\""),
            ["4:1 unknown-key `time_slice`: domain `a` has no key `time_slice` (did you mean `time-slice`?)"]
        );
        assert_eq!(
            in_app("restart = { tries = 3 }"),
            ["4:13 unknown-key `tries`: `restart` has no key `tries` \
              (there are `limit`, `window`, `backoff`, `max-backoff`)"]
        );
        assert_eq!(
            mistakes("[supervisor]\n[domains.a]\n"),
            ["2:2 unknown-key `domains`: a manifest has no key `domains` (did you mean `domain`?)"]
        );
    }

    #[test]
    fn of_a_domain_is_not_the_supervisors() {
        assert_eq!(
            mistakes("[supervisor]\nuses = [\"echo\"]\n"),
            ["2:1 unknown-key `uses`: the supervisor has no key `uses` (the supervisor is below everybody: it \
              provides `supervision`, uses nobody, drives nothing and is never bounded)"]
        );
        assert_eq!(
            mistakes("[supervisor]\nbudget = \"1ms / 2ms\"\n"),
            ["2:1 unknown-key `budget`: the supervisor has no key `budget` (the supervisor is below everybody: it \
              provides `supervision`, uses nobody, drives nothing and is never bounded)"]
        );
    }

    #[test]
    fn that_must_be_there() {
        assert_eq!(
            mistakes("[supervisor]\n[domain.a]\n"),
            ["2:9 missing-key `a`: domain `a` needs the key `kind` (add `kind = \"server\"`)"]
        );
        assert_eq!(
            in_app("uses = [{ from = \"b\" }]"),
            ["4:9 missing-key `{ from = \"b\" }`: an entry of `uses` needs the key `interface` \
              (add `interface = \"block\"`)"]
        );
    }

    #[test]
    fn with_a_value_of_another_type() {
        assert_eq!(in_app("priority = \"high\""), ["4:12 wrong-type `\"high\"`: `priority` takes a number, not text"]);
        assert_eq!(in_app("memory = 4096"), ["4:10 wrong-type `4096`: `memory` takes text in quotes, not a number"]);
        assert_eq!(in_app("uses = \"echo\""), ["4:8 wrong-type `\"echo\"`: `uses` takes a list, not text"]);
        assert_eq!(
            in_app("uses = [1]"),
            ["4:9 wrong-type `1`: `uses` takes names of interfaces, or tables, not a number"]
        );
        assert_eq!(
            mistakes("[supervisor]\n[domain]\na = true\n"),
            ["3:5 wrong-type `true`: `a` takes a table, not `true` or `false`"]
        );
        assert_eq!(
            in_driver("device = { legacy = { irqs = [1] }, required = 1 }"),
            ["4:48 wrong-type `1`: `required` takes `true` or `false`, not a number"]
        );
        assert_eq!(
            in_driver("device = { legacy = { irqs = [1] }, iommu = \"required\" }"),
            ["4:45 invalid-device `\"required\"`: an IOMMU confines devices on the PCI bus only \
              (leave `iommu` out: a device at ports cannot access memory by itself)"]
        );
    }

    #[test]
    fn with_an_unknown_word() {
        assert_eq!(
            in_driver("device = { pci = { vendor = 1, devices = [2] }, iommu = \"require\" }"),
            ["4:57 unknown-word `\"require\"`: `iommu` cannot be `require` (did you mean `required`?)"]
        );
        assert_eq!(
            in_domain("drivr", ""),
            ["3:8 unknown-word `\"drivr\"`: `kind` cannot be `drivr` (did you mean `driver`?)"]
        );
        assert_eq!(
            in_app("grants = [\"kernellog\"]"),
            ["4:11 unknown-word `\"kernellog\"`: `grants` cannot be `kernellog` (did you mean `kernel-log`?)"]
        );
        assert_eq!(
            in_app("restart = \"always\""),
            ["4:11 unknown-word `\"always\"`: `restart` cannot be `always` \
              (write \"never\", or a table such as { limit = 10, window = \"1min\" })"]
        );
    }
}

mod name {
    use super::*;

    const RULES: &str = "(a name has 1 to 24 lowercase letters, digits and inner dashes, the first a letter)";

    #[test]
    fn of_a_domain_that_is_not_valid() {
        for (written, name) in [
            ("Shell", "Shell"),
            ("a_b", "a_b"),
            ("9p", "9p"),
            ("\"a b\"", "a b"),
            ("abcdefghijklmnopqrstuvwxy", "abcdefghijklmnopqrstuvwxy"),
        ] {
            assert_eq!(
                mistakes(&format!("[supervisor]\n[domain.{written}]\nkind = \"app\"\nbinary = \"shell\"")),
                [format!("2:9 invalid-name `{written}`: a domain cannot be called `{name}` {RULES}")]
            );
        }
    }

    #[test]
    fn of_a_use_that_is_not_valid() {
        assert_eq!(
            mistakes(
                "[supervisor]\n[domain.a]\nkind = \"app\"\nuses = [{ interface = \"supervision\", name = \"Boss\" }]"
            ),
            [format!("4:45 invalid-name `\"Boss\"`: a use cannot be called `Boss` {RULES}")]
        );
    }

    #[test]
    fn of_a_part_that_every_system_has() {
        assert_eq!(
            mistakes("[supervisor]\n[domain.init]\nkind = \"server\"\n[domain.supervisor]\n"),
            [
                "2:9 invalid-name `init`: `init` is a part of every system, not a domain of its own \
                 (choose another name)",
                "4:9 invalid-name `supervisor`: `supervisor` is a part of every system, not a domain of its own \
                 (the supervisor's section is `[supervisor]`)",
            ]
        );
    }

    #[test]
    fn of_a_binary_that_nobody_builds() {
        assert_eq!(
            in_app("binary = \"virtio-block\""),
            ["4:10 unknown-binary `\"virtio-block\"`: there is no binary `virtio-block` \
              (did you mean `virtio-blk`?)"]
        );
        assert_eq!(
            mistakes("[supervisor]\n[domain.shel]\nkind = \"app\"\n"),
            ["2:9 unknown-binary `shel`: there is no binary `shel` (did you mean `shell`?)"]
        );
    }
}

mod amount {
    use super::*;

    #[test]
    fn of_memory_that_is_no_size() {
        let how = "(write a whole number and K, M or G, such as \"64K\" or \"6M\")";
        for text in ["6", "6MB", "M6", "-6M", ""] {
            assert_eq!(
                in_app(&format!("memory = \"{text}\"")),
                [format!("4:10 invalid-size `\"{text}\"`: `memory` is not a size: \"{text}\" {how}")]
            );
        }
        assert_eq!(
            in_app("memory = \"99999999999999G\""),
            [format!(
                "4:10 invalid-size `\"99999999999999G\"`: `memory` of 99999999999999G is more than any machine has {how}"
            )]
        );
    }

    #[test]
    fn of_memory_that_is_no_whole_number_of_pages_or_out_of_range() {
        assert_eq!(
            in_app("vault = \"5K\""),
            ["4:9 invalid-size `\"5K\"`: `vault` of 5K is not a whole number of pages \
              (memory comes in pages of 4K: round up to a multiple of 4K)"]
        );
        assert_eq!(
            in_app("memory = \"4K\""),
            ["4:10 invalid-size `\"4K\"`: `memory` of 4K is out of range: 64K to 64G are possible \
              (choose a size within the range)"]
        );
        assert_eq!(
            in_app("uses = [{ interface = \"supervision\", ring = \"0K\" }]"),
            ["4:45 invalid-size `\"0K\"`: `ring` of 0 bytes is out of range: 4K to 64G are possible \
              (choose a size within the range)"]
        );
    }

    #[test]
    fn of_time() {
        let how = "(write a whole number and us, ms, s or min, such as \"20ms\" or \"2s\")";
        assert_eq!(
            in_app("heartbeat = \"2\""),
            [format!("4:13 invalid-duration `\"2\"`: `heartbeat` is not a duration: \"2\" {how}")]
        );
        assert_eq!(
            in_app("time-slice = \"2s\""),
            ["4:14 invalid-duration `\"2s\"`: `time-slice` of 2s is out of range: 100us to 1s are possible \
              (choose a duration within the range)"]
        );
        assert_eq!(
            in_app("restart = { backoff = \"2s\", max-backoff = \"20ms\" }"),
            ["4:43 invalid-duration `\"20ms\"`: `max-backoff` of 20ms is less than `backoff` of 2000ms \
              (the wait starts at `backoff` and doubles up to `max-backoff`)"]
        );
    }

    #[test]
    fn that_is_a_number_out_of_range() {
        let hint = "(choose a number within the range)";
        for (line, column, value, range) in [
            ("priority = 256", 12, "256", "0 to 255"),
            ("priority = -1", 12, "-1", "0 to 255"),
            ("priority = 99999999999999999999", 12, "99999999999999999999", "0 to 255"),
            ("threads = 0", 11, "0", "1 to 64"),
            ("capabilities = 8", 16, "8", "16 to 1024"),
        ] {
            let key = line.split(' ').next().unwrap_or_default();
            assert_eq!(
                in_app(line),
                [format!(
                    "4:{column} invalid-number `{value}`: `{key}` of {value} is out of range: {range} are possible {hint}"
                )]
            );
        }
        assert_eq!(
            in_app("capabilities = 100"),
            ["4:16 invalid-number `100`: `capabilities` of 100 is not a power of two (the next one is 128)"]
        );
    }

    #[test]
    fn of_arguments() {
        let long = "x".repeat(1024);
        assert_eq!(
            in_app(&format!("args = [\"{long}\"]")),
            [format!(
                "4:8 invalid-number `[\"{long}\"]`: `args` takes 1025 bytes, more than the 1024 that a domain can be \
                 given (shorten the arguments)"
            )]
        );
    }

    #[test]
    fn of_domains() {
        let mut source = String::from("[supervisor]\n[defaults]\nmemory = \"64K\"\n");
        for number in 1..manifest::MAX_DOMAINS + 1 {
            source.push_str(&format!("[domain.d{number}]\nkind = \"app\"\nbinary = \"a\"\n"));
        }
        assert_eq!(
            mistakes(&source),
            ["145:9 too-many `d48`: a system has at most 48 domains, the supervisor among them \
              (merge or remove domains)"]
        );
    }

    #[test]
    fn of_event_bits() {
        let mut source = String::from(
            "[supervisor]\n[defaults]\nmemory = \"64K\"\n\
             [domain.a]\nkind = \"server\"\nprovides = [\"block\", \"echo\"]\n",
        );
        for number in 1..30 {
            source.push_str(&format!("[domain.d{number}]\nkind = \"app\"\nbinary = \"b\"\n"));
            source.push_str(
                "uses = [{ interface = \"block\", ring = \"4K\" }, { interface = \"echo\", ring = \"4K\" }]\n",
            );
        }
        assert_eq!(
            mistakes(&source),
            ["4:9 too-many `a`: `a` takes part in more rings than the 22 event bits of a domain can tell apart \
              (remove rings, or spread them over several domains)"]
        );
    }
}

#[test]
fn mistakes_in_several_places_are_reported_in_one_run() {
    let found = mistakes(
        "[supervisor]\npriority = 300\n[domain.A]\nkind = \"app\"\nbinary = \"a\"\nuses = [\"consoel\", \"pci\"]\n\
         memory = \"3\"\ncolour = 1\n[domain.b]\nkind = \"driver\"\ndevice = { legacy = { irqs = [1, 1] } }\n",
    );
    let rules: Vec<_> = found.iter().map(|mistake| mistake.split('`').next()).collect();
    assert_eq!(
        rules,
        [
            Some("2:12 invalid-number "),
            Some("3:9 invalid-name "),
            Some("6:9 unknown-interface "),
            Some("6:20 missing-provider "),
            Some("7:10 invalid-size "),
            Some("8:1 unknown-key "),
            Some("11:34 duplicate "),
        ]
    );
}
