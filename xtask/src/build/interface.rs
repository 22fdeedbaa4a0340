//! The interfaces that a manifest may name.

use crate::manifest::InterfaceInfo;

/// Every interface of the system, with the id that the kernel compares on every call.
pub(super) const ALL: [InterfaceInfo<'static>; 6] = [
    InterfaceInfo { name: manifest::SUPERVISION, id: 1 },
    InterfaceInfo { name: "console", id: 2 },
    InterfaceInfo { name: "pci", id: 3 },
    InterfaceInfo { name: "block", id: 4 },
    InterfaceInfo { name: "filesystem", id: 5 },
    InterfaceInfo { name: "echo", id: 6 },
];
