//! The names of the conformance suite's cases, as its source lists them.

use std::fs;
use std::io;

use crate::workspace;

/// What every list of cases begins with.
const LIST: &str = "cases![";

/// The cases of one module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// The module's name: what its cases are about.
    pub name: String,
    /// Their names.
    pub cases: Vec<String>,
}

/// Every case, by module.
///
/// # Errors
///
/// If the suite's source cannot be read.
pub fn read() -> io::Result<Vec<Module>> {
    let mut modules = Vec::new();
    for entry in fs::read_dir(workspace::root().join("tests/conformance/src/cases"))? {
        let path = entry?.path();
        let cases = listed(&fs::read_to_string(&path)?);
        if let (Some(name), false) = (path.file_stem(), cases.is_empty()) {
            modules.push(Module { name: name.to_string_lossy().into_owned(), cases });
        }
    }
    modules.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(modules)
}

/// The names in the list of a module's source.
fn listed(source: &str) -> Vec<String> {
    let Some(begin) = source.lines().position(|line| line.trim_end() == LIST) else { return Vec::new() };
    source
        .lines()
        .skip(begin + 1)
        .take_while(|line| !line.starts_with(']'))
        .filter_map(|line| line.trim().strip_suffix(','))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_modules_cases_are_those_of_its_list() {
        let source = "use super::cases;\n\ncases![\n    a_b,\n    c_d,\n];\n\nfn a_b() {}\n";
        assert_eq!(listed(source), ["a_b", "c_d"]);
        assert!(listed("fn cases() {}\n").is_empty());
    }

    #[test]
    fn no_two_cases_have_the_same_name() {
        let mut names: Vec<_> = read().unwrap().into_iter().flat_map(|module| module.cases).collect();
        let count = names.len();
        assert!(count >= 180, "{count} cases");
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
