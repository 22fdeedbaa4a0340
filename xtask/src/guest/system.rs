//! A whole system with guests: the default one's manifest with their sections, and a machine that has the memory for them.

use std::fs;

use super::{Entry, GuestError};
use crate::machine;

/// The domain that drives the machine's second disk, for guests that name it among theirs.
pub const DISK_DRIVER: &str = "virtio-blk-1";

/// Its section: as that of the first disk's driver, but for the number of its device.
const DISK_DRIVER_SECTION: &str = r#"
[domain.virtio-blk-1]
binary = "virtio-blk"
kind = "driver"
provides = ["block"]
uses = [{ interface = "pci", on-death = "retry" }]
device = { pci = { vendor = 0x1af4, devices = [0x1042, 0x1001], index = 1, interrupts = 2 }, required = false }
memory = "2M"
priority = 115
restart = { limit = 1000, window = "1min", backoff = "5ms", max-backoff = "500ms" }
"#;
/// The domain that is a link between guests, for those that name it as theirs.
pub const LINK: &str = "switch";

/// Its section: frames are passed on when no server and no monitor has anything to do, in turn with the guests' processors.
const LINK_SECTION: &str = r#"
[domain.switch]
kind = "server"
provides = ["link"]
priority = 49
"#;
/// What the default shell says of the only disk, and what it has to say where there are two.
const ONLY_DISK: &str = r#"{ interface = "block", on-death"#;
/// See [`ONLY_DISK`].
const FIRST_DISK: &str = r#"{ interface = "block", from = "virtio-blk", on-death"#;

const MIB: u64 = 1 << 20;

/// The manifest `system` with these guests, by their names, with a driver for the second disk if one of them has it, and with a
/// link if one of them is on it.
///
/// # Errors
///
/// [`GuestError::File`] if a file of theirs is not there.
pub fn manifest_with(system: String, guests: &[(&str, &Entry)]) -> Result<String, GuestError> {
    let has_disk = guests.iter().any(|(_, guest)| guest.disks.iter().any(|disk| disk == DISK_DRIVER));
    let mut text = if has_disk { system.replace(ONLY_DISK, FIRST_DISK) + DISK_DRIVER_SECTION } else { system };
    if guests.iter().any(|(_, guest)| guest.link.as_deref() == Some(LINK)) {
        text += LINK_SECTION;
    }
    for (name, guest) in guests {
        text += &guest.section(name)?;
    }
    Ok(text)
}

/// Memory of a machine for a system with these guests: theirs, and what they are started from, on top of the usual.
///
/// # Errors
///
/// [`GuestError::File`] if a file of theirs is not there.
pub fn memory_with(guests: &[(&str, &Entry)]) -> Result<machine::Memory, GuestError> {
    let mut bytes = machine::Memory::default().bytes();
    for (_, guest) in guests {
        bytes += guest.memory.bytes();
        for file in [Some(&guest.kernel), guest.initrd.as_ref()].into_iter().flatten() {
            bytes += fs::metadata(file).map_err(GuestError::file(file))?.len();
        }
    }
    Ok(machine::Memory::mebibytes(bytes.div_ceil(MIB)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    use crate::guest::Memory;
    use crate::workspace;

    fn entry(folder: &tempfile::TempDir, disks: &[&str]) -> Entry {
        let kernel = folder.path().join("kernel");
        fs::write(&kernel, [0; 100]).unwrap();
        let disks = disks.iter().map(|name| (*name).to_owned()).collect();
        Entry { kernel, memory: Memory::mebibytes(64), disks, ..Entry::default() }
    }

    #[test]
    fn the_default_shell_names_its_disk_once_there_are_two() {
        let folder = tempfile::tempdir().unwrap();
        let system = fs::read_to_string(workspace::root().join("system.toml")).unwrap();
        assert_eq!(system.matches(ONLY_DISK).count(), 1, "the default system is not what is changed here");
        let with_disk = manifest_with(system.clone(), &[("linux", &entry(&folder, &[DISK_DRIVER]))]).unwrap();
        assert_eq!((with_disk.matches(ONLY_DISK).count(), with_disk.matches(FIRST_DISK).count()), (0, 1));
        assert!(with_disk.contains(&format!("[domain.{DISK_DRIVER}]")));
        let without = manifest_with(system.clone(), &[("linux", &entry(&folder, &[]))]).unwrap();
        assert!(without.starts_with(&system) && without.contains("[guest.linux]"));
        assert!(!without.contains(DISK_DRIVER));
    }

    #[test]
    fn there_is_a_link_if_a_guest_is_on_it() {
        let folder = tempfile::tempdir().unwrap();
        let (alone, linked) = (entry(&folder, &[]), Entry { link: Some(LINK.to_owned()), ..entry(&folder, &[]) });
        let section = format!("[domain.{LINK}]");
        assert!(!manifest_with(String::new(), &[("one", &alone)]).unwrap().contains(&section));
        let text = manifest_with(String::new(), &[("one", &linked), ("two", &linked), ("three", &alone)]).unwrap();
        assert_eq!((text.matches(&section).count(), text.matches("link = \"switch\"").count()), (1, 2));
    }

    #[test]
    fn a_machine_has_the_memory_of_its_guests_beside_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (entry(&folder, &[]), entry(&folder, &[]));
        let memory = memory_with(&[("one", &one), ("other", &other)]).unwrap();
        assert_eq!(memory.bytes(), machine::Memory::default().bytes() + (2 * 64 + 1) * MIB);
        let missing = Entry { kernel: PathBuf::from("/nonexistent"), ..one };
        assert!(matches!(memory_with(&[("one", &missing)]), Err(GuestError::File { .. })));
    }
}
