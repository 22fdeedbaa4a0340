//! `Cargo.lock`, with one crate more or less, as cargo itself would write it: so that nothing but the new crate changes.

const HEADING: &str = "[[package]]\nname = \"";

/// The names of all packages.
pub(super) fn names(lock: &str) -> impl Iterator<Item = &str> {
    lock.split(HEADING).skip(1).filter_map(|package| package.split('"').next())
}

/// With the package `name`, which depends on `dependencies` of this project.
pub(super) fn with(lock: &str, name: &str, version: &str, dependencies: &[&str]) -> String {
    let list: String = dependencies.iter().map(|dependency| format!(" \"{dependency}\",\n")).collect();
    let package = format!("{HEADING}{name}\"\nversion = \"{version}\"\ndependencies = [\n{list}]\n");
    // Packages are sorted by name, one empty line between each two.
    let place = lock.match_indices(HEADING).find(|(at, _)| name_at(lock, *at) > name);
    match place {
        Some((at, _)) => format!("{}{package}\n{}", &lock[..at], &lock[at..]),
        None => format!("{}\n\n{package}", lock.trim_end()),
    }
}

/// Without the package `name`.
pub(super) fn without(lock: &str, name: &str) -> String {
    let Some((start, _)) = lock.match_indices(HEADING).find(|(at, _)| name_at(lock, *at) == name) else {
        return lock.to_owned();
    };
    match lock[start + 1..].find(HEADING) {
        Some(next) => format!("{}{}", &lock[..start], &lock[start + 1 + next..]),
        None => format!("{}\n", lock[..start].trim_end()),
    }
}

fn name_at(lock: &str, at: usize) -> &str {
    lock[at + HEADING.len()..].split('"').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = include_str!("../../../Cargo.lock");

    #[test]
    fn a_package_comes_and_goes_and_leaves_nothing_behind() {
        for name in ["aaa", "greeter", "zzz"] {
            let with = with(LOCK, name, "0.1.0", &["userlib"]);
            assert!(names(&with).is_sorted(), "{name}");
            assert_eq!(names(&with).count(), names(LOCK).count() + 1);
            assert_eq!(without(&with, name), LOCK);
        }
        assert_eq!(without(LOCK, "no-such-package"), LOCK);
    }

    #[test]
    fn it_looks_like_cargos_own() {
        let text = with("version = 4\n\n[[package]]\nname = \"b\"\nversion = \"1.0.0\"\n", "a", "0.1.0", &["userlib"]);
        assert_eq!(
            text,
            "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"0.1.0\"\ndependencies = [\n \"userlib\",\n]\n\n\
             [[package]]\nname = \"b\"\nversion = \"1.0.0\"\n"
        );
    }
}
