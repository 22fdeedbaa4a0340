//! Interfaces that a manifest declares, and crates elsewhere.

use super::*;

const CLIENT: &str = "[domain.b]\nkind = \"app\"\nuses = [\"greeter\"]\n";

/// The mistake of `source` in whose line `part` stands.
fn found(source: &str, part: &str) -> String {
    let mistakes = mistakes(source);
    let found = mistakes.iter().find(|mistake| mistake.contains(part));
    found.unwrap_or_else(|| panic!("none with {part} among {mistakes:?}")).clone()
}

fn server(provides: &str) -> String {
    format!("[supervisor]\n[domain.a]\nkind = \"server\"\nprovides = [{provides}]\n{CLIENT}")
}

#[test]
fn an_interface_is_declared_by_its_version() {
    let system = compiled(&server("{ interface = \"greeter\", version = 3 }"));
    let endpoint = system.endpoints.iter().find(|endpoint| endpoint.interface == "greeter").unwrap();
    assert_eq!(endpoint.interface_id, userlib::ipc::interface_id("greeter", 3));
}

#[test]
fn an_interface_that_nobody_declares_is_unknown() {
    assert!(mistakes(&server("\"greeter\"")).iter().all(|mistake| mistake.contains("unknown-interface")));
}

#[test]
fn a_system_has_one_version_of_an_interface() {
    let source = server("{ interface = \"greeter\", version = 1 }")
        + "[domain.c]\nkind = \"server\"\nprovides = [{ interface = \"greeter\", version = 2 }]\n";
    assert_eq!(
        found(&source, "wrong-version"),
        "10:48 wrong-version `2`: `greeter` is declared in version 2 and in version 1 (one system has one version of an \
         interface: build both domains for the same)"
    );
}

#[test]
fn a_standard_interface_keeps_its_version() {
    let source = "[supervisor]\n[domain.a]\nkind = \"server\"\nprovides = [{ interface = \"echo\", version = 9 }]\n";
    assert_eq!(
        found(source, "wrong-version"),
        "4:45 wrong-version `9`: the standard interface `echo` has another version than 9 (leave the version out: \
         `provides = [\"echo\"]`)"
    );
}

#[test]
fn a_version_is_a_small_number_and_a_name_is_a_name() {
    for (provides, mistake) in [
        ("{ interface = \"greeter\", version = 0 }", "`version` of 0 is out of range"),
        ("{ interface = \"Greeter\", version = 1 }", "cannot be called `Greeter`"),
        ("{ version = 1 }", "needs the key `interface`"),
    ] {
        found(&server(provides), mistake);
    }
}

#[test]
fn a_crate_elsewhere_may_build_a_binary_that_this_workspace_does_not_know() {
    let source = "[supervisor]\n[domain.mine]\nkind = \"app\"\npath = \"../mine\"\n";
    let compiled = compile_text(source).unwrap();
    assert_eq!(compiled.paths.get("mine").map(String::as_str), Some("../mine"));
    assert!(mistakes(&source.replace("path = \"../mine\"\n", ""))[0].contains("no binary `mine`"));
}
