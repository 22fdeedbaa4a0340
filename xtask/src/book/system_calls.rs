//! The page about system calls, from `kernel/abi`.

use std::fmt::Write;
use std::path::Path;

use abi::{Error, Syscall};

use super::{BookError, plain, read};

/// Where the calls are declared, with their documentation.
const SOURCE: &str = "kernel/abi/src/syscall.rs";

/// A call as its source declares it.
#[derive(Debug, PartialEq, Eq)]
struct Declaration {
    /// The part of the list that it stands in.
    part: String,
    docs: String,
    name: String,
}

/// The declarations between `syscalls! {` and the brace that closes it.
fn declarations(text: &str) -> Vec<Declaration> {
    let mut all = Vec::new();
    let (mut part, mut docs) = (String::new(), String::new());
    let inside = text.lines().skip_while(|line| !line.starts_with("syscalls! {")).skip(1);
    for line in inside.take_while(|line| *line != "}").map(str::trim) {
        if let Some(title) = line.strip_prefix("// ---- ").and_then(|rest| rest.strip_suffix(" ----")) {
            part = title.to_owned();
        } else if let Some(sentence) = line.strip_prefix("///") {
            docs.push_str(sentence);
        } else if let Some((name, _)) = line.split_once(" = ") {
            let docs = std::mem::take(&mut docs);
            all.push(Declaration { part: part.clone(), docs: plain(&docs), name: name.to_owned() });
        }
    }
    all
}

/// The page.
pub(super) fn page(root: &Path) -> Result<String, BookError> {
    let (path, text) = read(root.join(SOURCE))?;
    let declarations = declarations(&text);
    let mut page = String::from(
        "# System calls\n\n\
         <!-- Written by `cargo xtask book` from kernel/abi/src/syscall.rs, refusal.rs and error.rs. -->\n\n\
         The number is in `rax`, arguments are in `rdi`, `rsi`, `rdx`, `r8`, `r9`, `r10`, the words of a message in `r12`, \
         `r13`, `r14`, `r15`, `rbx`, `rbp`. The result is in `rax`, further results are in `rdi`, `rsi`, `rdx`; an error is \
         the negative of its code. Programs do not write these registers: `userlib` has a function or a typed capability for \
         each call.\n\n\
         A refused call has changed nothing. Below each call stands with what it can be refused, or can end. That a call is \
         never refused with anything else is checked in every test and every search of the kernel's core.\n",
    );
    let mut part = "";
    for syscall in Syscall::ALL {
        let name = format!("{syscall:?}");
        let Some(declaration) = declarations.iter().find(|declaration| declaration.name == name) else {
            return Err(BookError::Missing { path, what: format!("`{name}` has no declaration with documentation") });
        };
        if declaration.part != part {
            part = &declaration.part;
            let mut title = part.to_owned();
            title[..1].make_ascii_uppercase();
            let _ = write!(page, "\n## {title}\n");
        }
        let errors: Vec<String> = syscall.errors().map(|error| format!("[`{error:?}`](#errors)")).collect();
        let _ = write!(page, "\n### {name}\n\nNumber {}. {}\n\n", *syscall as u16, declaration.docs);
        let _ = writeln!(page, "Errors: {}.", errors.join(", "));
    }
    page.push_str("\n## Errors\n\n| code | error | what it says |\n| ---: | --- | --- |\n");
    for error in Error::ALL {
        let _ = writeln!(page, "| {} | `{error:?}` | {} |", *error as u16, error.as_str());
    }
    page.push_str("\nA number that is no system call's is refused with `UnknownSyscall`.\n");
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declaration_is_read_with_its_part_and_documentation() {
        let text = "syscalls! {\n    // ---- IPC ----\n    /// `(a)` → `(0)`. Does\n    /// it, see [`crate::X`].\n    Do = 3;\n}\n";
        let expected =
            Declaration { part: "IPC".into(), docs: "`(a)` → `(0)`. Does it, see `X`.".into(), name: "Do".into() };
        assert_eq!(declarations(text), [expected]);
    }
}
