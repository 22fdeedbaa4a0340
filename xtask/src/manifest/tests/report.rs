//! How mistakes are shown.

use proptest::prelude::*;

use super::*;

#[test]
fn a_mistake_is_shown_at_its_line_with_its_cause_and_a_hint() {
    let source = "[supervisor]\n\n[domain.a]\nkind = \"app\"\nuses = [\"console\", \"echi\"]\n";
    let shown = compile_text(source).expect_err("two mistakes").to_string();
    let expected = r#"
error[missing-provider]: `a` uses `console`, which no other domain provides
 --> system.toml:5:9
  |
5 | uses = ["console", "echi"]
  |         ^^^^^^^^^
  |
  = help: add a domain with `provides = ["console"]`, or remove this use

error[unknown-interface]: there is no interface `echi`
 --> system.toml:5:20
  |
5 | uses = ["console", "echi"]
  |                    ^^^^^^
  |
  = help: did you mean `echo`?

system.toml: 2 errors; nothing was built
"#;
    assert_eq!(shown, expected.trim_start());
}

#[test]
fn a_circle_is_shown_whole() {
    let source = r#"
[supervisor]
[domain.a]
kind = "server"
provides = ["echo"]
uses = ["block"]
[domain.b]
kind = "server"
provides = ["block"]
uses = ["filesystem"]
[domain.c]
kind = "server"
provides = ["filesystem"]
uses = ["echo"]
"#;
    let shown = compile_text(source).expect_err("a circle").to_string();
    let expected = r#"
error[cycle]: calls would go in a circle: a → b → c → a
  --> system.toml:6:9
   |
 6 | uses = ["block"]
   |         ^^^^^^^ `a` uses `b` here
...
10 | uses = ["filesystem"]
   |         ------------ `b` uses `c` here
...
14 | uses = ["echo"]
   |         ------ `c` uses `a` here
   |
   = help: callers in a circle can wait for each other for ever: remove one of these uses; what must go the other way is a reply, a ring or a notification

system.toml: 1 error; nothing was built
"#;
    assert_eq!(shown, expected.trim_start());
}

#[test]
fn colours_are_used_on_request_only() {
    let report = compile_text("").expect_err("the supervisor is missing");
    assert!(!report.render(false).contains('\u{1b}'));
    assert!(report.render(true).contains('\u{1b}'));
}

#[test]
fn columns_count_characters() {
    assert_eq!(
        mistakes("[supervisor]\nargs = [\"größe\", 1]"),
        ["2:18 wrong-type `1`: `args` takes text in quotes, not a number"]
    );
}

#[test]
fn a_report_keeps_the_order_of_the_lines() {
    let found = mistakes("[domain.a]\nkind = 1\ncolour = 2\n[supervisor]\nmemory = 3\n");
    let lines: Vec<_> = found.iter().map(|mistake| mistake.split(' ').next()).collect();
    assert_eq!(lines, [Some("2:8"), Some("3:1"), Some("5:10")]);
}

/// Pieces that make a text which often comes near to being a manifest.
fn fragment() -> impl Strategy<Value = String> {
    let words = [
        "[supervisor]",
        "[domain.a]",
        "[domain.b]",
        "[defaults]",
        "[system]",
        "[domain]",
        "kind",
        "uses",
        "provides",
        "memory",
        "device",
        "restart",
        "grants",
        "=",
        "= [",
        "]",
        "{",
        "}",
        ",",
        "\"echo\"",
        "\"server\"",
        "\"4K\"",
        "\"2s\"",
        "interface",
        "ring",
        "from",
        "pci",
        "legacy",
        "ports",
        "irqs",
        "4",
        "-1",
        "0x3f8",
        "1.5",
        "true",
        "\n",
        "\n",
        "\n",
        "\"",
        "é",
        "#",
    ];
    proptest::collection::vec(proptest::sample::select(words.to_vec()), 0..60).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn no_text_makes_the_compiler_panic(text in ".{0,200}") {
        let _ = compile_text(&text).map_err(|report| report.to_string());
    }

    #[test]
    fn no_near_manifest_makes_the_compiler_panic(text in fragment()) {
        match compile_text(&text) {
            Ok(compiled) => prop_assert_eq!(compiled.system.check(), Ok(())),
            Err(report) => prop_assert!(report.to_string().contains("error")),
        }
    }

    /// Damage to a real manifest: what still compiles is consistent, what does not has an error to show.
    #[test]
    fn a_damaged_manifest_is_refused_with_reasons_or_consistent(
        place in any::<proptest::sample::Index>(),
        length in 0..40_usize,
        insert in fragment(),
    ) {
        let source = include_str!("../../../../system.toml");
        let starts: Vec<_> = source.char_indices().map(|(at, _)| at).collect();
        let start = starts[place.index(starts.len())];
        let end = (start + length..).find(|&end| source.is_char_boundary(end.min(source.len())));
        let end = end.unwrap_or(source.len()).min(source.len());
        let damaged = format!("{}{insert}{}", &source[..start], &source[end..]);
        match compile_text(&damaged) {
            Ok(compiled) => {
                let bytes = compiled.system.encode().expect("what compiles is consistent");
                prop_assert_eq!(System::decode(&bytes), Ok(compiled.system));
            }
            Err(report) => {
                prop_assert!(report.has_errors());
                prop_assert!(report.to_string().contains("system.toml:"));
            }
        }
    }
}
