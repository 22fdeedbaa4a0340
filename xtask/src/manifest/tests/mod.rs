//! The compiler's promises: which texts it refuses, where and why, and what it makes of the others.

mod composition;
mod default_system;
mod groups;
mod guests;
mod interfaces;
mod mistakes;
mod processors;
mod relations;
mod report;

use super::*;

const INTERFACES: &[InterfaceInfo<'static>] = &[
    InterfaceInfo { name: "supervision", id: 0xa0 },
    InterfaceInfo { name: "console", id: 0xa1 },
    InterfaceInfo { name: "pci", id: 0xa2 },
    InterfaceInfo { name: "block", id: 0xa3 },
    InterfaceInfo { name: "filesystem", id: 0xa4 },
    InterfaceInfo { name: "echo", id: 0xa5 },
    InterfaceInfo { name: "command", id: 0xa6 },
    InterfaceInfo { name: "guest", id: 0xa7 },
    InterfaceInfo { name: "link", id: 0xa8 },
    InterfaceInfo { name: "stream", id: 0xa9 },
];

const SHELL_COMMANDS: &[&str] = &["echo", "ls"];

const BINARIES: &[&str] =
    &["supervisor", "uart", "pci", "virtio-blk", "fat", "echo", "shell", "crashlog", "vmm", "a", "b", "c"];

fn environment() -> Environment<'static> {
    Environment {
        interfaces: INTERFACES,
        binaries: Some(BINARIES),
        shell_commands: SHELL_COMMANDS,
        machine_memory: MINIMUM_MACHINE_MEMORY,
        folder: None,
    }
}

fn compile_text(source: &str) -> Result<Compiled, Report> {
    compile("system.toml", source, &environment())
}

/// The system of a text without mistakes.
fn compiled(source: &str) -> System {
    match compile_text(source) {
        Ok(compiled) => compiled.system,
        Err(report) => panic!("{report}"),
    }
}

/// Errors and warnings, one a line: `line:column rule `underlined text`: message (hint)`.
fn mistakes(source: &str) -> Vec<String> {
    let report = match compile_text(source) {
        Ok(compiled) => compiled.warnings,
        Err(report) => report,
    };
    let lines = report.diagnostics().iter().map(|diagnostic| {
        let (line, column) = report.position(diagnostic);
        let hint = diagnostic.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        let rule = diagnostic.rule.name();
        let underlined = report.underlined(diagnostic);
        format!("{line}:{column} {rule} `{underlined}`: {}{hint}", diagnostic.message)
    });
    lines.collect()
}

/// What is wrong with a domain `a` that has nothing but `kind` and, on line 4, `line`.
fn in_domain(kind: &str, line: &str) -> Vec<String> {
    mistakes(&format!("[supervisor]\n[domain.a]\nkind = \"{kind}\"\n{line}\n"))
}

fn in_app(line: &str) -> Vec<String> {
    in_domain("app", line)
}

fn in_driver(line: &str) -> Vec<String> {
    in_domain("driver", line)
}
