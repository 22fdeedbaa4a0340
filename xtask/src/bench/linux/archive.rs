//! The archive from which Linux fills its first filesystem.

const FOLDER: u32 = 0o040_755;
const CHARACTER_DEVICE: u32 = 0o020_600;
const PROGRAM: u32 = 0o100_755;

/// The archive with a console and these files, each executable.
pub(super) fn archive(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut archive = Vec::new();
    let folders = [("dev", FOLDER, (0, 0), &[][..]), ("dev/console", CHARACTER_DEVICE, (5, 1), &[][..])];
    let files = files.iter().map(|(name, contents)| (*name, PROGRAM, (0, 0), &contents[..]));
    let end = [("TRAILER!!!", 0, (0, 0), &[][..])];
    for (number, (name, mode, device, contents)) in folders.into_iter().chain(files).chain(end).enumerate() {
        // The "new ASCII" format of cpio: a magic number and 13 fields of eight hexadecimal digits.
        archive.extend(*b"070701");
        let fields = [
            number as u32 + 1,
            mode,
            0, // user
            0, // group
            1, // links
            0, // time
            contents.len() as u32,
            0, // major and minor number of the device that it lay on
            0,
            device.0,
            device.1,
            name.len() as u32 + 1,
            0, // checksum, not used
        ];
        for field in fields {
            archive.extend(format!("{field:08x}").bytes());
        }
        archive.extend(name.bytes());
        archive.push(0);
        archive.resize(archive.len().next_multiple_of(4), 0);
        archive.extend(contents);
        archive.resize(archive.len().next_multiple_of(4), 0);
    }
    archive
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_of_aligned_members_and_a_trailer() {
        let archive = archive(&[("init", vec![1; 7]), ("child", vec![2; 3])]);
        assert!(archive.len().is_multiple_of(4));
        assert!(archive.starts_with(b"070701"));
        let text = String::from_utf8_lossy(&archive);
        for name in ["dev\0", "dev/console\0", "init\0", "child\0", "TRAILER!!!\0"] {
            assert!(text.contains(name), "{name}");
        }
    }
}
