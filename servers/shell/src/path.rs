//! Paths as they are typed, and where they lead.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

/// The folder under which the volume's files live.
pub const DISK: &str = "disk";

/// A place in the tree of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// The folder above all: it holds `disk` and nothing else.
    Root,
    /// Something on the disk, by its path there; `/` is the disk's own root.
    Disk(String),
    /// Something beside `/disk`, where nothing is.
    Nowhere(String),
}

impl Location {
    /// Where `path` leads from the folder `here`.
    ///
    /// `.` and `..` are carried out on the text: there are no links that could lead elsewhere. `..` stays at the root.
    pub fn resolve(here: &Location, path: &str) -> Location {
        let mut names: Vec<String> = Vec::new();
        if !path.starts_with('/') {
            names.extend(here.to_string().split('/').filter(|name| !name.is_empty()).map(String::from));
        }
        for name in path.split('/') {
            match name {
                "" | "." => {}
                ".." => drop(names.pop()),
                name => names.push(name.into()),
            }
        }
        match names.split_first() {
            None => Location::Root,
            Some((first, rest)) if first == DISK => Location::Disk(format!("/{}", rest.join("/"))),
            Some(_) => Location::Nowhere(format!("/{}", names.join("/"))),
        }
    }

    /// The place called `name` in this folder.
    pub fn child(&self, name: &str) -> Location {
        match self {
            Location::Disk(path) if path == "/" => Location::Disk(format!("/{name}")),
            Location::Disk(path) => Location::Disk(format!("{path}/{name}")),
            other => Location::resolve(other, name),
        }
    }

    /// The folder that it is in; the root is in itself.
    pub fn parent(&self) -> Location {
        Location::resolve(self, "..")
    }

    /// The last name of the path; empty for the root.
    pub fn name(&self) -> String {
        let path = self.to_string();
        path.rsplit('/').next().unwrap_or_default().into()
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Root => f.write_str("/"),
            Location::Disk(path) if path == "/" => write!(f, "/{DISK}"),
            Location::Disk(path) => write!(f, "/{DISK}{path}"),
            Location::Nowhere(path) => f.write_str(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(here: &str, path: &str) -> String {
        Location::resolve(&Location::resolve(&Location::Root, here), path).to_string()
    }

    #[test]
    fn absolute_paths_do_not_depend_on_the_current_folder() {
        assert_eq!(resolved("/disk/a", "/disk/b"), "/disk/b");
        assert_eq!(resolved("/disk/a", "/"), "/");
        assert_eq!(resolved("/", "//disk///a//"), "/disk/a");
    }

    #[test]
    fn relative_paths_begin_in_the_current_folder() {
        assert_eq!(resolved("/disk/a", "b c"), "/disk/a/b c");
        assert_eq!(resolved("/disk/a", "../b/./c"), "/disk/b/c");
        assert_eq!(resolved("/", "disk"), "/disk");
        assert_eq!(resolved("/disk", ""), "/disk");
    }

    #[test]
    fn nothing_is_above_the_root() {
        assert_eq!(resolved("/disk/a", "../../../../.."), "/");
        assert_eq!(resolved("/disk", "../../disk/x"), "/disk/x");
    }

    #[test]
    fn the_disk_sees_paths_of_its_own() {
        assert_eq!(Location::resolve(&Location::Root, "/disk/a/b"), Location::Disk("/a/b".into()));
        assert_eq!(Location::resolve(&Location::Root, "/disk"), Location::Disk("/".into()));
        assert_eq!(Location::resolve(&Location::Root, "/tmp/a"), Location::Nowhere("/tmp/a".into()));
        assert_eq!(Location::resolve(&Location::Root, "/disks"), Location::Nowhere("/disks".into()));
    }

    #[test]
    fn children_and_parents_are_each_others() {
        let folder = Location::resolve(&Location::Root, "/disk/a");
        assert_eq!(folder.child("x").to_string(), "/disk/a/x");
        assert_eq!(folder.child("x").parent(), folder);
        assert_eq!(folder.child("x").name(), "x");
        assert_eq!(Location::Root.child("disk").child("y").to_string(), "/disk/y");
        assert_eq!(Location::Root.name(), "");
    }

    proptest::proptest! {
        #[test]
        fn a_resolved_path_leads_to_itself(here in "(/[a-z.]{0,3}){0,4}", path in "(/?[a-z.]{0,4}){0,5}") {
            let once = resolved(&here, &path);
            proptest::prop_assert_eq!(resolved("/disk", &once), once);
        }
    }
}
