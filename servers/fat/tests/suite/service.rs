//! The interface `filesystem` on a volume in memory, as its clients see it.

use crate::support::{MemoryDisk, TestClock, assert_clean, block_on, image, mount, pattern};
use fat::service::{Disposition, FILES_PER_CLIENT, Files, State};
use interfaces::filesystem::{Access, FileId, FilesystemClient, FilesystemDouble, FsError, NodeKind, entries};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use userlib::host::Fault;
use userlib::ipc::{CallError, RetriedError};

/// What the present instance of a server shares with its test.
type Present = Rc<RefCell<Rc<State<MemoryDisk, TestClock>>>>;

/// A server of a disk; each instance mounts it.
fn server(disk: &MemoryDisk) -> (FilesystemDouble, Present) {
    let mounted = |disk: &MemoryDisk, instance| {
        let state = State::new(instance, None);
        state.dispose(Disposition::Mounted(Rc::new(mount(disk))));
        Rc::new(state)
    };
    let present: Present = Rc::new(RefCell::new(mounted(disk, 1)));
    let (disk, shared, instance) = (disk.clone(), present.clone(), Cell::new(0));
    let double = FilesystemDouble::restarting(move || {
        instance.set(instance.get() + 1);
        if instance.get() > 1 {
            *shared.borrow_mut() = mounted(&disk, instance.get());
        }
        Files::new(shared.borrow().clone())
    });
    (double, present)
}

fn read_all(client: &FilesystemClient, path: &str) -> Vec<u8> {
    let file = client.open(path, Access::Read).expect("it is there");
    let mut bytes = vec![0; file.length as usize];
    assert_eq!(client.read(file.file, 0, &mut bytes), Ok(bytes.len()));
    client.close(file.file).expect("it is open");
    bytes
}

#[test]
fn files_are_written_read_and_listed() {
    let (double, _) = server(&MemoryDisk::new(image("FAT16")));
    let client = double.client();
    let file = client.create("/grüße.txt").unwrap().file;
    assert_eq!(client.write(file, 0, &pattern(1, 70_000)), Ok(70_000));
    client.close(file).unwrap();
    assert!(read_all(&client, "/grüße.txt") == pattern(1, 70_000));
    let mut output = [0; 512];
    let listing = client.list("/", 0, &mut output).unwrap();
    let names: Vec<_> = entries(&output[..listing.bytes]).map(|entry| (entry.name, entry.metadata.kind)).collect();
    assert_eq!(names, [("grüße.txt", NodeKind::File)]);
}

#[test]
fn a_file_of_a_former_instance_or_of_another_client_is_no_session() {
    let (double, _) = server(&MemoryDisk::new(image("FAT12")));
    let client = double.client();
    let file = client.create("/a").unwrap().file;
    let stranger = double.client_with_badge(2);
    assert_eq!(stranger.read(file, 0, &mut [0]), Err(RetriedError::Failed(FsError::UnknownSession)));
    double.faults().plan(Fault::DiesAfter);
    assert_eq!(client.sync(), Ok(()), "the next instance is asked");
    assert_eq!(client.write(file, 0, b"x"), Err(RetriedError::Failed(FsError::UnknownSession)));
    assert_eq!(client.close(FileId(0)), Err(RetriedError::Failed(FsError::UnknownSession)));
}

#[test]
fn who_wrote_to_an_instance_that_is_gone_is_not_told_that_it_is_on_the_disk() {
    let lost = Err(RetriedError::Failed(FsError::UnknownSession));
    for death in [Fault::DiesBefore, Fault::DiesAfter] {
        let (double, _) = server(&MemoryDisk::new(image("FAT12")));
        let client = double.client();
        let file = client.create("/a").unwrap().file;
        client.write(file, 0, b"acknowledged").unwrap();
        double.faults().plan(death);
        assert_eq!(client.sync_file(file), lost, "the next instance is asked, and does not know");
    }
    let (double, _) = server(&MemoryDisk::new(image("FAT12")));
    let client = double.client();
    let file = client.create("/a").unwrap().file;
    client.write(file, 0, b"acknowledged").unwrap();
    assert_eq!(client.sync_file(file), Ok(()));
    // Died between the write and what makes it last.
    double.faults().plan(Fault::DiesBefore);
    client.volume().unwrap();
    assert_eq!(client.sync_file(file), lost);
}

#[test]
fn a_client_that_floods_with_opens_is_refused_and_others_are_not() {
    let (double, _) = server(&MemoryDisk::new(image("FAT12")));
    let client = double.client();
    let first = client.create("/a").unwrap().file;
    client.close(first).unwrap();
    let files: Vec<_> = (0..FILES_PER_CLIENT).map(|_| client.open("/a", Access::Read).unwrap().file).collect();
    assert_eq!(client.open("/a", Access::Read).map(drop), Err(RetriedError::Failed(FsError::TooManyOpen)));
    let other = double.client_with_badge(2);
    other.open("/a", Access::Read).unwrap();
    client.close(files[0]).unwrap();
    client.open("/a", Access::Read).unwrap();
}

#[test]
fn a_creation_whose_server_dies_is_not_repeated() {
    let (double, _) = server(&MemoryDisk::new(image("FAT12")));
    double.faults().plan(Fault::DiesAfter);
    assert_eq!(double.client().create("/a"), Err(CallError::ServerDied));
}

#[test]
fn any_messages_to_filesystem() {
    let disk = MemoryDisk::new(image("FAT12"));
    let (double, present) = server(&disk);
    // The messages' clients have other badges, and other names for files.
    let client = double.client_with_badge(77);
    let contents = pattern(5, 10_000);
    let file = client.create("/kept").unwrap().file;
    client.write(file, 0, &contents).unwrap();
    client.close(file).unwrap();
    client.sync().unwrap();
    let texts = ["/", "/a", "/b.txt", "/d", "/d/e", "/d/f", "/d/e/Größe.dat", "/d/../a", "relative", "/no?name"];
    let tally = double.fuzz(&texts, |_| {
        assert!(read_all(&client, "/kept") == contents);
        // Every now and then the server is killed, which also closes the files that are open.
        double.faults().plan(Fault::DiesBefore);
        client.sync().unwrap();
    });
    assert_eq!(tally.answered.len(), 17, "{tally}");
    let state = present.borrow().clone();
    block_on(state.volume().unwrap().unmount()).unwrap();
    assert_clean(&disk, "after all those messages");
}
