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
    use std::collections::BTreeSet;
    use std::path::Path;

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

    /// Names in backticks that can only be those of cases and tests: sentences.
    fn sentences(text: &str) -> BTreeSet<String> {
        let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        text.lines()
            .flat_map(|line| line.split('`').skip(1).step_by(2))
            .filter(|name| name.chars().all(is_word) && name.matches('_').count() >= 2)
            .map(str::to_owned)
            .collect()
    }

    /// The names of all functions in the Rust files of a folder.
    fn functions(folder: &Path, names: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                functions(&path, names);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = fs::read_to_string(&path).unwrap();
                let after = source.split("fn ").skip(1).filter_map(|rest| rest.split('(').next());
                names.extend(after.map(str::to_owned));
            }
        }
    }

    #[test]
    fn the_table_names_every_case_and_nothing_that_does_not_exist() {
        let root = workspace::root();
        let named = sentences(&fs::read_to_string(root.join("docs/conformance.md")).unwrap());
        let cases: BTreeSet<String> = read().unwrap().into_iter().flat_map(|module| module.cases).collect();
        let unnamed: Vec<_> = cases.difference(&named).collect();
        assert!(unnamed.is_empty(), "docs/conformance.md lacks {unnamed:#?}");
        let mut tests = BTreeSet::new();
        for folder in ["tests", "kernel", "userlib", "servers", "drivers", "xtask/src"] {
            functions(&root.join(folder), &mut tests);
        }
        let unknown: Vec<_> = named.difference(&cases).filter(|name| !tests.contains(*name)).collect();
        assert!(unknown.is_empty(), "docs/conformance.md names what does not exist: {unknown:#?}");
    }
}
