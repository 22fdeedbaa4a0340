//! What a new crate consists of.

use super::Name;

/// What can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// A server with an interface of its own, and a command that calls it
    Server,
    /// The driver of a PCI device that QEMU has for education, and a command that calls it
    Driver,
}

/// A file of a template: where it goes, and its text.
type File = (&'static str, &'static str);

const SERVER_MEMBER: &str = include_str!("../../templates/server/member.toml");
const SERVER_OUTSIDE: &str = include_str!("../../templates/server/outside.toml");
const SERVER: &[File] = &[
    ("src/lib.rs", include_str!("../../templates/server/src/lib.rs")),
    ("src/main.rs", include_str!("../../templates/server/src/main.rs")),
    ("src/bin/{{name}}-command.rs", include_str!("../../templates/server/src/bin/command.rs")),
];
const DRIVER_MEMBER: &str = include_str!("../../templates/driver/member.toml");
const DRIVER_OUTSIDE: &str = include_str!("../../templates/driver/outside.toml");
const DRIVER: &[File] = &[
    ("src/lib.rs", include_str!("../../templates/driver/src/lib.rs")),
    ("src/main.rs", include_str!("../../templates/driver/src/main.rs")),
    ("src/bin/{{name}}-command.rs", include_str!("../../templates/driver/src/bin/command.rs")),
];
/// What a crate outside of the tree has of its own: its code is formatted like the tree's.
const FOR_ITSELF: &[File] = &[
    (".gitignore", include_str!("../../templates/gitignore")),
    ("rustfmt.toml", include_str!("../../../rustfmt.toml")),
];

impl Kind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Server, Self::Driver];

    /// The template's name, which the crate notes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Driver => "driver",
        }
    }

    /// The kind with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Arguments to try its command with.
    pub fn example(self) -> &'static str {
        match self {
            Self::Server => "hello world",
            Self::Driver => "5",
        }
    }

    /// Where crates of this kind are.
    pub(super) fn folder(self) -> &'static str {
        match self {
            Self::Server => "servers",
            Self::Driver => "drivers",
        }
    }

    /// The crates that the new one depends on, by name.
    pub(super) fn dependencies(self) -> &'static [&'static str] {
        match self {
            Self::Server => &["userlib"],
            Self::Driver => &["driver", "userlib"],
        }
    }
}

/// The files of a crate. One outside of the tree finds the tree's root at the path `outside`.
pub(super) fn files(kind: Kind, name: &Name, outside: Option<&str>) -> Vec<(String, String)> {
    let fill = |text: &str| {
        let text = text.replace("{{name}}", name.as_str()).replace("{{crate}}", &name.as_crate());
        let text = text.replace("{{Type}}", &name.as_type());
        text.replace("{{userlib}}", &format!("{}/userlib", outside.unwrap_or_default()))
    };
    let (member, elsewhere, sources) = match kind {
        Kind::Server => (SERVER_MEMBER, SERVER_OUTSIDE, SERVER),
        Kind::Driver => (DRIVER_MEMBER, DRIVER_OUTSIDE, DRIVER),
    };
    let manifest = ("Cargo.toml", if outside.is_some() { elsewhere } else { member });
    let all = [manifest]
        .into_iter()
        .chain(sources.iter().copied())
        .chain(outside.map_or(&[][..], |_| FOR_ITSELF).iter().copied());
    all.map(|(path, text)| (fill(path), fill(text))).collect()
}

/// The sections that a crate's domains have in `system.toml`.
pub(super) fn sections(kind: Kind, name: &Name) -> String {
    let text = match kind {
        Kind::Server => include_str!("../../templates/server/system.toml"),
        Kind::Driver => include_str!("../../templates/driver/system.toml"),
    };
    text.replace("{{name}}", name.as_str())
}
