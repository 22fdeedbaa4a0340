//! Images made by `mkfs.fat`, judged by `fsck.fat`, and a disk in memory that can be cut off.

pub(crate) mod model;

use fat::{
    BlockDevice, Clock, Completion, DeviceError, DeviceGeometry, Found, MountOptions, PAGE_SECTORS, PAGE_SIZE,
    SECTOR_SIZE, Timestamp, Transfer, TransferLimits, Volume,
};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Command, Output};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

/// The disk's contents and everything that can be set or counted about it.
pub(crate) struct Disk {
    bytes: RefCell<Vec<u8>>,
    read_only: bool,
    limits: TransferLimits,
    /// Writes that still succeed; afterwards the disk is gone.
    writes_left: Cell<u64>,
    pub(crate) writes: Cell<u64>,
    pub(crate) reads: Cell<u64>,
    pub(crate) sectors_read: Cell<u64>,
    pub(crate) most_in_flight: Cell<usize>,
    buffers_left: Cell<usize>,
    in_flight: RefCell<Vec<(u64, u64)>>,
    /// Sectors that cannot be read.
    pub(crate) bad: RefCell<Vec<u64>>,
    random: Cell<u64>,
}

/// A handle on a disk, which outlives the file server that uses it.
#[derive(Clone)]
pub(crate) struct MemoryDisk(pub Rc<Disk>);

/// A page that counts towards the disk's pool.
pub(crate) struct Buffer {
    bytes: Box<[u8; PAGE_SIZE]>,
    disk: Rc<Disk>,
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..]
    }
}

impl AsMut<[u8]> for Buffer {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.disk.buffers_left.set(self.disk.buffers_left.get() + 1);
    }
}

/// Completes after some polls, so that transfers in flight together complete in any order.
struct Delay(u32);

impl Future for Delay {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.0 == 0 {
            return Poll::Ready(());
        }
        self.0 -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl MemoryDisk {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self::with(bytes, false, 1)
    }

    pub(crate) fn read_only(bytes: Vec<u8>) -> Self {
        Self::with(bytes, true, 1)
    }

    /// A disk whose order of completion depends on `seed`, which also decides what it takes at a time.
    pub(crate) fn with(bytes: Vec<u8>, read_only: bool, seed: u64) -> Self {
        Self(Rc::new(Disk {
            bytes: RefCell::new(bytes),
            read_only,
            limits: TransferLimits {
                in_flight: [1, 4, 16, 64][(seed % 4) as usize],
                buffers_per_transfer: [1, 2, 32][(seed % 3) as usize],
            },
            writes_left: Cell::new(u64::MAX),
            writes: Cell::new(0),
            reads: Cell::new(0),
            sectors_read: Cell::new(0),
            most_in_flight: Cell::new(0),
            buffers_left: Cell::new(usize::MAX / 2),
            in_flight: RefCell::new(Vec::new()),
            bad: RefCell::new(Vec::new()),
            random: Cell::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
        }))
    }

    pub(crate) fn limit_buffers(&self, buffers: usize) {
        self.0.buffers_left.set(buffers);
    }

    /// The disk goes away after this many more writes.
    pub(crate) fn cut_after(&self, writes: u64) {
        self.0.writes_left.set(writes);
    }

    pub(crate) fn contents(&self) -> Vec<u8> {
        self.0.bytes.borrow().clone()
    }

    fn delay(&self) -> Delay {
        let mut state = self.0.random.get();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.0.random.set(state);
        Delay((state % 5) as u32)
    }

    fn begin(&self, transfer: &Transfer<Buffer>) -> Result<(), DeviceError> {
        let (sector, sectors) = (transfer.sector, transfer.sectors as u64);
        let end = sector + sectors;
        if end * SECTOR_SIZE as u64 > self.0.bytes.borrow().len() as u64 {
            return Err(DeviceError::OutOfRange { sector, sectors });
        }
        assert!(transfer.skip + transfer.sectors <= transfer.buffers.len() * PAGE_SECTORS);
        assert!(transfer.buffers.len() <= self.0.limits.buffers_per_transfer);
        let mut in_flight = self.0.in_flight.borrow_mut();
        assert!(in_flight.iter().all(|(from, to)| *to <= sector || end <= *from), "transfers in flight overlap");
        in_flight.push((sector, end));
        self.0.most_in_flight.set(self.0.most_in_flight.get().max(in_flight.len()));
        Ok(())
    }

    fn end(&self, transfer: &Transfer<Buffer>) {
        self.0.in_flight.borrow_mut().retain(|(from, _)| *from != transfer.sector);
    }
}

fn places(transfer: &Transfer<Buffer>) -> impl Iterator<Item = (usize, usize, usize)> + use<> {
    let (sector, skip) = (transfer.sector as usize, transfer.skip);
    (0..transfer.sectors).map(move |index| {
        let place = skip + index;
        ((sector + index) * SECTOR_SIZE, place / PAGE_SECTORS, place % PAGE_SECTORS * SECTOR_SIZE)
    })
}

impl BlockDevice for MemoryDisk {
    type Buffer = Buffer;

    fn geometry(&self) -> DeviceGeometry {
        DeviceGeometry { sectors: (self.0.bytes.borrow().len() / SECTOR_SIZE) as u64, read_only: self.0.read_only }
    }

    fn limits(&self) -> TransferLimits {
        self.0.limits
    }

    fn allocate(&self) -> Option<Buffer> {
        let left = self.0.buffers_left.get().checked_sub(1)?;
        self.0.buffers_left.set(left);
        // Not zeros: whoever relies on them should fail.
        Some(Buffer { bytes: Box::new([0xa5; PAGE_SIZE]), disk: self.0.clone() })
    }

    async fn read(&self, mut transfer: Transfer<Buffer>) -> Completion<Buffer> {
        if let Err(error) = self.begin(&transfer) {
            return Completion { transfer, result: Err(error) };
        }
        self.delay().await;
        self.0.reads.set(self.0.reads.get() + 1);
        self.0.sectors_read.set(self.0.sectors_read.get() + transfer.sectors as u64);
        let range = transfer.sector..transfer.sector + transfer.sectors as u64;
        let result = if self.0.bad.borrow().iter().any(|bad| range.contains(bad)) {
            Err(DeviceError::Io { sector: transfer.sector })
        } else {
            let bytes = self.0.bytes.borrow();
            for (from, buffer, at) in places(&transfer) {
                transfer.buffers[buffer].bytes[at..at + SECTOR_SIZE].copy_from_slice(&bytes[from..from + SECTOR_SIZE]);
            }
            Ok(())
        };
        self.end(&transfer);
        Completion { transfer, result }
    }

    async fn write(&self, transfer: Transfer<Buffer>) -> Completion<Buffer> {
        if self.0.read_only {
            return Completion { transfer, result: Err(DeviceError::ReadOnly) };
        }
        if let Err(error) = self.begin(&transfer) {
            return Completion { transfer, result: Err(error) };
        }
        self.delay().await;
        let result = match self.0.writes_left.get().checked_sub(1) {
            Some(left) => {
                self.0.writes_left.set(left);
                self.0.writes.set(self.0.writes.get() + 1);
                let mut bytes = self.0.bytes.borrow_mut();
                for (to, buffer, at) in places(&transfer) {
                    bytes[to..to + SECTOR_SIZE].copy_from_slice(&transfer.buffers[buffer].bytes[at..at + SECTOR_SIZE]);
                }
                Ok(())
            }
            None => Err(DeviceError::Gone),
        };
        self.end(&transfer);
        Completion { transfer, result }
    }

    async fn flush(&self) -> Result<(), DeviceError> {
        assert!(self.0.in_flight.borrow().is_empty(), "a barrier with transfers in flight");
        if self.0.writes_left.get() == 0 { Err(DeviceError::Gone) } else { Ok(()) }
    }
}

/// The time that every test has.
pub(crate) struct TestClock;

pub(crate) const NOW: Timestamp = Timestamp { year: 2031, month: 7, day: 9, hour: 13, minute: 37, second: 42 };

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        NOW
    }
}

pub(crate) type TestVolume = Volume<MemoryDisk, TestClock>;

pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    futures_executor::block_on(future)
}

/// Mounts a disk that must be mountable.
pub(crate) fn mount(disk: &MemoryDisk) -> TestVolume {
    mount_with(disk, MountOptions { cache_bytes: 256 * 1024, ..MountOptions::default() }).0
}

pub(crate) fn mount_with(disk: &MemoryDisk, options: MountOptions) -> (TestVolume, Found) {
    match block_on(Volume::mount(disk.clone(), TestClock, options)) {
        Ok(mounted) => mounted,
        Err(error) => panic!("not mounted: {error}"),
    }
}

/// A program of dosfstools, wherever the distribution puts it.
fn tool(name: &str) -> Command {
    let found = ["/usr/sbin", "/sbin", "/usr/bin", "/usr/local/sbin", "/opt/homebrew/sbin"]
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.exists());
    Command::new(found.unwrap_or_else(|| PathBuf::from(name)))
}

fn run(command: &mut Command) -> Output {
    match command.output() {
        Ok(output) => output,
        Err(error) => panic!("{command:?} did not start ({error}): install the package dosfstools"),
    }
}

fn temporary_file() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("fat-{}-{number}.img", std::process::id());
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// An image of `kib` KiB, made by `mkfs.fat` with these further arguments.
pub(crate) fn make_image(kib: u64, arguments: &[&str]) -> Vec<u8> {
    let path = temporary_file();
    std::fs::File::create(&path).and_then(|file| file.set_len(kib * 1024)).expect("the image file can be created");
    let output = run(tool("mkfs.fat").args(arguments).arg("-i").arg("1234abcd").arg(&path));
    assert!(output.status.success(), "mkfs.fat: {}", String::from_utf8_lossy(&output.stderr));
    let bytes = std::fs::read(&path).expect("the image can be read");
    std::fs::remove_file(&path).expect("the image can be removed");
    bytes
}

/// One small image of each kind, with clusters of different sizes.
pub(crate) fn images() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("FAT12", make_image(1440, &["-F", "12"])),
        ("FAT12, one FAT", make_image(720, &["-F", "12", "-f", "1", "-s", "2"])),
        ("FAT16", make_image(2500, &["-F", "16", "-s", "1"])),
        ("FAT16, unaligned", make_image(4700, &["-F", "16", "-s", "2", "-a", "-R", "3"])),
        ("FAT32", make_image(3000, &["-F", "32", "-s", "1"])),
        ("FAT32, large clusters", make_image(6000, &["-F", "32", "-s", "8", "-a"])),
    ]
}

/// Images that the crate `fatfs` takes: its FAT32 has to have the size that the specification wants.
pub(crate) fn images_by_the_book() -> Vec<(&'static str, Vec<u8>)> {
    let mut images = images();
    images.retain(|(kind, _)| !kind.starts_with("FAT32"));
    images.push(("FAT32", make_image(36_000, &["-F", "32", "-s", "1"])));
    images
}

/// The image of a kind.
pub(crate) fn image(kind: &str) -> Vec<u8> {
    images().into_iter().find(|(name, _)| *name == kind).expect("a known kind").1
}

/// What `fsck.fat -n` has to say, a line each, without its greeting and its summary. Empty means clean.
pub(crate) fn fsck(image: &[u8]) -> Vec<String> {
    use std::os::unix::fs::FileExt;
    let path = temporary_file();
    let file = std::fs::File::create(&path).expect("the image file can be created");
    file.set_len(image.len() as u64).expect("the image file can be sized");
    // Holes stay holes: most of a test image is zeros.
    for (index, chunk) in image.chunks(PAGE_SIZE).enumerate() {
        if chunk != &[0; PAGE_SIZE][..chunk.len()] {
            file.write_all_at(chunk, (index * PAGE_SIZE) as u64).expect("the image can be written");
        }
    }
    let output = run(tool("fsck.fat").arg("-n").arg(&path));
    std::fs::remove_file(&path).expect("the image can be removed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let name = path.to_string_lossy().into_owned();
    let lines: Vec<String> = text
        .lines()
        .filter(|line| !line.starts_with("fsck.fat ") && !line.starts_with(&name))
        // Small images of FAT32 are smaller than the specification wants them; nobody else minds.
        .filter(|line| {
            !line.starts_with("Warning: Filesystem is FAT32 according to fat_length")
                && !line.contains("less than the required minimum of 65525")
                && !line.contains("This may lead to problems on some systems")
        })
        .map(Into::into)
        .collect();
    assert!(output.status.success() == lines.is_empty() || !lines.is_empty(), "fsck.fat failed without a word");
    lines
}

/// Fails unless `fsck.fat -n` finds nothing to say.
pub(crate) fn assert_clean(disk: &MemoryDisk, context: &str) {
    let complaints = fsck(&disk.contents());
    assert!(complaints.is_empty(), "{context}: fsck.fat says\n{}", complaints.join("\n"));
}

/// Bytes that differ from place to place and from file to file.
pub(crate) fn pattern(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x2545_f491_4f6c_dd1d) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}
