//! The archive from which Linux fills its first filesystem.

const FOLDER: u32 = 0o040_755;
const CHARACTER_DEVICE: u32 = 0o020_600;
const PROGRAM: u32 = 0o100_755;
const FILE: u32 = 0o100_644;
const LINK: u32 = 0o120_777;

/// The name of the member that ends it.
const TRAILER: &str = "TRAILER!!!";

/// A first filesystem that is being put together: it has a console and what was added, in this order.
#[derive(Debug)]
pub(crate) struct Initramfs {
    bytes: Vec<u8>,
    members: u32,
}

impl Initramfs {
    /// One with a console and nothing else.
    pub(crate) fn new() -> Self {
        let mut files = Self { bytes: Vec::new(), members: 0 };
        files.folder("dev");
        files.member("dev/console", CHARACTER_DEVICE, (5, 1), &[]);
        files
    }

    /// Adds an empty folder; the one in which it lies has to be there.
    pub(crate) fn folder(&mut self, path: &str) {
        self.member(path, FOLDER, (0, 0), &[]);
    }

    /// Adds a file that can be executed.
    pub(crate) fn program(&mut self, path: &str, contents: &[u8]) {
        self.member(path, PROGRAM, (0, 0), contents);
    }

    /// Adds a file.
    pub(crate) fn file(&mut self, path: &str, contents: &[u8]) {
        self.member(path, FILE, (0, 0), contents);
    }

    /// Adds a symbolic link.
    pub(crate) fn link(&mut self, path: &str, target: &str) {
        self.member(path, LINK, (0, 0), target.as_bytes());
    }

    /// The archive.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.member(TRAILER, 0, (0, 0), &[]);
        self.bytes
    }

    fn member(&mut self, path: &str, mode: u32, device: (u32, u32), contents: &[u8]) {
        self.members += 1;
        // The "new ASCII" format of cpio: a magic number and 13 fields of eight hexadecimal digits.
        self.bytes.extend(*b"070701");
        let fields = [
            self.members,
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
            path.len() as u32 + 1,
            0, // checksum, not used
        ];
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(path.bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend(contents);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_of_aligned_members_and_a_trailer() {
        let mut files = Initramfs::new();
        files.program("init", &[1; 7]);
        files.folder("bin");
        files.link("bin/sh", "busybox");
        files.file("bin/notes", &[2; 3]);
        let archive = files.finish();
        assert!(archive.len().is_multiple_of(4));
        assert!(archive.starts_with(b"070701"));
        let text = String::from_utf8_lossy(&archive);
        for name in ["dev\0", "dev/console\0", "init\0", "bin/sh\0", "busybox", "bin/notes\0", "TRAILER!!!\0"] {
            assert!(text.contains(name), "{name}");
        }
    }

    #[test]
    fn each_member_says_what_it_is_and_how_long() {
        let mut files = Initramfs::new();
        files.link("sh", "busybox");
        let text = String::from_utf8_lossy(&files.finish()).into_owned();
        let link = text.split("070701").find(|member| member.contains("sh\0")).expect("it was added");
        assert_eq!(&link[8..16], format!("{LINK:08x}"));
        assert_eq!(&link[48..56], "00000007");
    }
}
