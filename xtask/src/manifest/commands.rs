//! Names under which the shell is given commands of other domains.

use super::{
    Environment,
    declaration::Declaration,
    diagnostic::{Diagnostic, Rule},
    reader::Findings,
};

/// The program whose uses of the interface `command` a person types by name.
const SHELL: &str = "shell";
/// The interface of commands.
const COMMAND: &str = interfaces::command::NAME;

/// Reports commands that nobody could ever reach, because the shell has one of that name itself.
pub(super) fn check(domains: &[Declaration], environment: &Environment<'_>, findings: &Findings) {
    let shells = domains.iter().filter(|domain| domain.binary.get_ref() == SHELL);
    for usage in shells.flat_map(|shell| &shell.uses).filter(|usage| usage.interface.get_ref() == COMMAND) {
        let name = usage.name.get_ref();
        if environment.shell_commands.contains(&name.as_str()) {
            findings.report(
                Diagnostic::new(
                    Rule::Duplicate,
                    usage.name.span(),
                    format!("`{name}` is a command of the shell itself, which would hide this one"),
                )
                .hint("call it something else: `name = \"…\"`"),
            );
        }
    }
}
