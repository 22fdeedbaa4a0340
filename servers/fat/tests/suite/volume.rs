//! What the operations of a volume do, on every kind of FAT, with `fsck.fat` as the judge.

use crate::support::{
    MemoryDisk, NOW, TestVolume, assert_clean, block_on, image, images, images_by_the_book, make_image, mount,
    mount_with, pattern,
};
use fat::{DeviceError, EntryKind, Error, MountOptions, NameFault, OpenMode};
use std::collections::BTreeMap;

fn write_file(volume: &TestVolume, path: &str, bytes: &[u8]) -> Result<(), Error> {
    block_on(async {
        let id = volume.open(path, OpenMode::REPLACE).await?;
        let written = volume.write(id, 0, bytes).await;
        volume.close(id).await?;
        written
    })
}

fn read_file(volume: &TestVolume, path: &str) -> Result<Vec<u8>, Error> {
    block_on(async {
        let id = volume.open(path, OpenMode::READ).await?;
        let mut bytes = vec![0; volume.length(id).await? as usize];
        let count = volume.read(id, 0, &mut bytes).await;
        volume.close(id).await?;
        assert_eq!(count?, bytes.len());
        Ok(bytes)
    })
}

fn names(volume: &TestVolume, path: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut next = Some(0);
    while let Some(from) = next {
        let listing = block_on(volume.list(path, from, 7)).expect("the folder can be listed");
        names.extend(listing.entries.into_iter().map(|entry| entry.name));
        next = listing.next;
    }
    names.sort();
    names
}

/// Unmounts, asks `fsck.fat`, and mounts again.
fn remount(disk: &MemoryDisk, volume: TestVolume, context: &str) -> TestVolume {
    block_on(volume.unmount()).expect("unmounting works");
    drop(volume);
    assert_clean(disk, context);
    mount(disk)
}

#[test]
fn what_was_written_is_read_again_after_a_remount() {
    for (kind, bytes) in images() {
        let disk = MemoryDisk::new(bytes);
        let mut volume = mount(&disk);
        let mut files = BTreeMap::new();
        for (index, length) in [0, 1, 511, 512, 513, 4095, 4096, 5000, 65_537, 200_000].into_iter().enumerate() {
            let name = format!("/file number {index} of {length}.dat");
            let contents = pattern(index as u64, length);
            write_file(&volume, &name, &contents).expect(kind);
            files.insert(name, contents);
        }
        volume = remount(&disk, volume, kind);
        for (name, contents) in &files {
            assert!(read_file(&volume, name).expect(kind) == *contents, "{kind}: {name}");
        }
        assert_eq!(names(&volume, "/").len(), files.len(), "{kind}");
    }
}

#[test]
fn another_implementation_reads_the_same() {
    use std::io::Read;
    for (kind, bytes) in images_by_the_book() {
        let disk = MemoryDisk::new(bytes);
        let volume = mount(&disk);
        block_on(volume.make_directory("/Ordner mit langem Namen")).expect(kind);
        let contents = pattern(7, 50_000);
        write_file(&volume, "/Ordner mit langem Namen/Größe.txt", &contents).expect(kind);
        write_file(&volume, "/short.txt", b"short").expect(kind);
        remount(&disk, volume, kind);
        let theirs = fatfs::FileSystem::new(std::io::Cursor::new(disk.contents()), fatfs::FsOptions::new())
            .expect("the other implementation mounts it");
        let mut read = Vec::new();
        let mut file = theirs.root_dir().open_file("Ordner mit langem Namen/Größe.txt").expect(kind);
        file.read_to_end(&mut read).expect(kind);
        assert!(read == contents, "{kind}");
        let mut found: Vec<String> =
            theirs.root_dir().iter().filter_map(|entry| Some(entry.ok()?.file_name())).collect();
        found.sort();
        assert_eq!(found, ["Ordner mit langem Namen", "short.txt"], "{kind}");
    }
}

#[test]
fn we_read_what_another_implementation_wrote() {
    use std::io::Write;
    for (kind, bytes) in images_by_the_book() {
        let contents = pattern(9, 30_000);
        let mut storage = std::io::Cursor::new(bytes);
        {
            let theirs = fatfs::FileSystem::new(&mut storage, fatfs::FsOptions::new()).expect(kind);
            let folder = theirs.root_dir().create_dir("A Folder").expect(kind);
            for index in 0..40 {
                let mut file = folder.create_file(&format!("Some long file name {index}")).expect(kind);
                file.write_all(&contents[..index * 100]).expect(kind);
            }
        }
        let volume = mount(&MemoryDisk::new(storage.into_inner()));
        assert_eq!(names(&volume, "/a folder").len(), 40, "{kind}");
        for index in 0..40 {
            let read = read_file(&volume, &format!("/A FOLDER/some long file name {index}"));
            assert!(read.expect(kind) == contents[..index * 100], "{kind}");
        }
    }
}

#[test]
fn writing_in_the_middle_changes_just_that() {
    for (kind, bytes) in images() {
        let disk = MemoryDisk::new(bytes);
        let volume = mount(&disk);
        let mut expected = pattern(1, 100_000);
        write_file(&volume, "/file", &expected).expect(kind);
        let id = block_on(volume.open("/file", OpenMode::WRITE)).expect(kind);
        for (index, (offset, length)) in
            [(0, 1), (511, 2), (4095, 4098), (99_999, 1), (50_000, 30_000)].into_iter().enumerate()
        {
            let change = pattern(100 + index as u64, length);
            block_on(volume.write(id, offset as u64, &change)).expect(kind);
            expected[offset..offset + length].copy_from_slice(&change);
        }
        let volume = remount(&disk, volume, kind);
        assert!(read_file(&volume, "/file").expect(kind) == expected, "{kind}");
    }
}

#[test]
fn a_gap_behind_the_end_is_filled_with_zeros() {
    for (kind, bytes) in images() {
        let disk = MemoryDisk::new(bytes);
        let volume = mount(&disk);
        // Clusters that held something else before.
        write_file(&volume, "/old", &[0xff; 300_000]).expect(kind);
        block_on(volume.remove_file("/old")).expect(kind);
        write_file(&volume, "/new", &[1; 700]).expect(kind);
        let id = block_on(volume.open("/new", OpenMode::WRITE)).expect(kind);
        block_on(volume.write(id, 100_001, &[2; 10])).expect(kind);
        block_on(volume.set_length(id, 150_000)).expect(kind);
        let mut expected = vec![0; 150_000];
        expected[..700].fill(1);
        expected[100_001..100_011].fill(2);
        let volume = remount(&disk, volume, kind);
        assert!(read_file(&volume, "/new").expect(kind) == expected, "{kind}");
    }
}

#[test]
fn cutting_a_file_frees_its_clusters() {
    for (kind, bytes) in images() {
        let disk = MemoryDisk::new(bytes);
        let mut volume = mount(&disk);
        let before = block_on(volume.space()).expect(kind).free;
        let contents = pattern(3, 120_000);
        write_file(&volume, "/file", &contents).expect(kind);
        for length in [100_000, 65_536, 65_535, 1, 0] {
            let id = block_on(volume.open("/file", OpenMode::WRITE)).expect(kind);
            block_on(volume.set_length(id, length)).expect(kind);
            block_on(volume.close(id)).expect(kind);
            volume = remount(&disk, volume, kind);
            assert!(read_file(&volume, "/file").expect(kind) == contents[..length as usize], "{kind}");
        }
        assert_eq!(block_on(volume.space()).expect(kind).free, before, "{kind}");
    }
}

#[test]
fn folders_nest_and_only_empty_ones_go() {
    for (kind, bytes) in images() {
        let disk = MemoryDisk::new(bytes);
        let mut volume = mount(&disk);
        let before = block_on(volume.space()).expect(kind).free;
        let mut path = String::new();
        for depth in 0..12 {
            path = format!("{path}/Folder at depth {depth}");
            block_on(volume.make_directory(&path)).expect(kind);
        }
        write_file(&volume, &format!("{path}/file"), b"deep").expect(kind);
        volume = remount(&disk, volume, kind);
        assert_eq!(read_file(&volume, &format!("{path}/FILE")).expect(kind), b"deep");
        let refused = block_on(volume.remove_directory(&path));
        assert!(matches!(refused, Err(Error::DirectoryNotEmpty { .. })), "{kind}: {refused:?}");
        block_on(volume.remove_file(&format!("{path}/file"))).expect(kind);
        while let Some(parent) = path.rfind('/') {
            block_on(volume.remove_directory(&path)).expect(kind);
            path.truncate(parent);
        }
        volume = remount(&disk, volume, kind);
        assert!(names(&volume, "/").is_empty(), "{kind}");
        assert_eq!(block_on(volume.space()).expect(kind).free, before, "{kind}");
    }
}

#[test]
fn a_folder_grows_to_hold_many_names() {
    for kind in ["FAT16", "FAT32", "FAT32, large clusters"] {
        let disk = MemoryDisk::new(image(kind));
        let mut volume = mount(&disk);
        block_on(volume.make_directory("/many")).expect(kind);
        let mut expected: Vec<String> =
            (0..400).map(|index| format!("name {index} {}x", "x".repeat(index % 200))).collect();
        for name in &expected {
            write_file(&volume, &format!("/many/{name}"), name.as_bytes()).expect(kind);
        }
        volume = remount(&disk, volume, kind);
        // Every other goes and others take their places.
        for name in expected.iter().step_by(2) {
            block_on(volume.remove_file(&format!("/many/{name}"))).expect(kind);
        }
        expected = expected.into_iter().skip(1).step_by(2).collect();
        for index in 0..100 {
            let name = format!("another {index}");
            write_file(&volume, &format!("/many/{name}"), name.as_bytes()).expect(kind);
            expected.push(name);
        }
        volume = remount(&disk, volume, kind);
        expected.sort();
        assert_eq!(names(&volume, "/many"), expected, "{kind}");
        for name in &expected {
            assert_eq!(read_file(&volume, &format!("/many/{name}")).expect(kind), name.as_bytes());
        }
    }
}

#[test]
fn a_full_root_folder_of_fixed_size_says_so() {
    let disk = MemoryDisk::new(make_image(1440, &["-F", "12", "-r", "32"]));
    let volume = mount(&disk);
    let mut made = 0;
    let error = loop {
        match write_file(&volume, &format!("/a rather long name {made}"), b"x") {
            Ok(()) => made += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error, Error::RootDirectoryFull);
    assert_eq!(made, 10, "32 slots hold ten names of three records");
    write_file(&volume, "/a", b"x").expect("there is room for two short names");
    remount(&disk, volume, "full root");
}

#[test]
fn names_keep_their_case_and_are_found_in_any() {
    for (kind, bytes) in images() {
        let disk = MemoryDisk::new(bytes);
        let volume = mount(&disk);
        let longest = "ü".repeat(255);
        for name in ["README.TXT", "readme2.txt", "Mixed.Case", "with space.and.dots", "日本語 🦀.txt", &longest] {
            write_file(&volume, &format!("/{name}"), name.as_bytes()).expect(kind);
        }
        let volume = remount(&disk, volume, kind);
        let mut expected =
            vec!["README.TXT", "readme2.txt", "Mixed.Case", "with space.and.dots", "日本語 🦀.txt", &longest];
        expected.sort_unstable();
        assert_eq!(names(&volume, "/"), expected, "{kind}");
        assert_eq!(read_file(&volume, "/mixed.CASE").expect(kind), b"Mixed.Case");
        assert_eq!(read_file(&volume, "/WITHSP~1.DOT").expect(kind), b"with space.and.dots");
        assert_eq!(read_file(&volume, &format!("/{}", "Ü".repeat(255))).expect(kind), longest.as_bytes());
        let again = block_on(volume.open("/readme.txt", OpenMode { exclusive: true, ..OpenMode::REPLACE }));
        assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{kind}");
    }
}

#[test]
fn renaming_keeps_the_contents() {
    for (kind, bytes) in images() {
        let disk = MemoryDisk::new(bytes);
        let mut volume = mount(&disk);
        let contents = pattern(5, 10_000);
        write_file(&volume, "/one", &contents).expect(kind);
        block_on(volume.make_directory("/folder")).expect(kind);
        let mut path = String::from("/one");
        for next in [
            "/ONE",
            "/One",
            "/a much longer name than before, of several records",
            "/folder/moved",
            "/folder/Moved again, within its folder",
            "/back.txt",
        ] {
            block_on(volume.rename(&path, next, false)).unwrap_or_else(|error| panic!("{kind}: {next}: {error}"));
            volume = remount(&disk, volume, kind);
            let gone = !path.eq_ignore_ascii_case(next);
            assert_eq!(read_file(&volume, &path).is_err(), gone, "{kind}: {path}");
            assert!(read_file(&volume, next).expect(kind) == contents, "{kind}: {next}");
            path = next.into();
        }
        assert_eq!(names(&volume, "/"), ["back.txt", "folder"], "{kind}");
        assert!(names(&volume, "/folder").is_empty(), "{kind}");
    }
}

#[test]
fn a_folder_moves_with_all_that_is_in_it_but_not_into_itself() {
    for (kind, bytes) in images_by_the_book() {
        let disk = MemoryDisk::new(bytes);
        let volume = mount(&disk);
        for path in ["/a", "/a/b", "/a/b/c", "/d"] {
            block_on(volume.make_directory(path)).expect(kind);
        }
        write_file(&volume, "/a/b/c/file", b"inside").expect(kind);
        for target in ["/a/b/a", "/a/b/c/x", "/a/x", "/A/B/x"] {
            let refused = block_on(volume.rename("/a", target, false));
            assert!(matches!(refused, Err(Error::IntoItself { .. })), "{kind}: {target}: {refused:?}");
        }
        block_on(volume.rename("/a/b", "/d/renamed b", false)).expect(kind);
        block_on(volume.rename("/a", "/A Folder", false)).expect(kind);
        let volume = remount(&disk, volume, kind);
        assert_eq!(read_file(&volume, "/d/renamed b/c/file").expect(kind), b"inside");
        assert!(names(&volume, "/A Folder").is_empty());
        let bytes = disk.contents();
        // `..` of the moved folder leads to /d, as another implementation sees it.
        let theirs = fatfs::FileSystem::new(std::io::Cursor::new(bytes), fatfs::FsOptions::new()).expect(kind);
        let up = theirs.root_dir().open_dir("d/renamed b/..").expect(kind);
        assert!(up.iter().any(|entry| entry.is_ok_and(|entry| entry.file_name() == "renamed b")), "{kind}");
    }
}

#[test]
fn renaming_onto_a_file_replaces_it_only_when_asked_to() {
    for (kind, bytes) in images() {
        let disk = MemoryDisk::new(bytes);
        let volume = mount(&disk);
        let before = block_on(volume.space()).expect(kind).free;
        block_on(volume.make_directory("/folder")).expect(kind);
        write_file(&volume, "/new", b"new contents").expect(kind);
        write_file(&volume, "/folder/Target", &[7; 20_000]).expect(kind);
        write_file(&volume, "/third", &[8; 20_000]).expect(kind);
        let refused = block_on(volume.rename("/new", "/folder/target", false));
        assert!(matches!(refused, Err(Error::AlreadyExists { .. })), "{kind}");
        block_on(volume.rename("/new", "/folder/target", true)).expect(kind);
        let volume = remount(&disk, volume, kind);
        assert_eq!(names(&volume, "/folder"), ["Target"], "{kind}");
        assert_eq!(read_file(&volume, "/folder/target").expect(kind), b"new contents");
        write_file(&volume, "/fourth", b"in the same folder").expect(kind);
        block_on(volume.rename("/fourth", "/third", true)).expect(kind);
        let onto_folder = block_on(volume.rename("/third", "/folder", true));
        assert!(matches!(onto_folder, Err(Error::AlreadyExists { .. })), "{kind}");
        let volume = remount(&disk, volume, kind);
        assert_eq!(read_file(&volume, "/third").expect(kind), b"in the same folder");
        let unit = u64::from(volume.info().cluster_bytes);
        assert_eq!(before - block_on(volume.space()).expect(kind).free, 3 * unit, "{kind}");
    }
}

#[test]
fn open_files_follow_their_renames_and_resist_removal() {
    let disk = MemoryDisk::new(image("FAT32"));
    let volume = mount(&disk);
    block_on(async {
        let id = volume.open("/log", OpenMode::REPLACE).await?;
        volume.write(id, 0, b"before ").await?;
        volume.make_directory("/logs").await?;
        volume.rename("/log", "/logs/today.log", false).await?;
        volume.write(id, 7, b"after").await?;
        assert!(matches!(volume.remove_file("/logs/today.log").await, Err(Error::InUse { .. })));
        volume.close(id).await?;
        assert_eq!(volume.read(id, 0, &mut [0; 4]).await, Err(Error::UnknownFile));
        Ok::<(), Error>(())
    })
    .expect("all of that works");
    let volume = remount(&disk, volume, "renamed while open");
    assert_eq!(read_file(&volume, "/logs/today.log").expect("it is there"), b"before after");
}

#[test]
fn two_openings_of_a_file_see_each_others_writes() {
    let disk = MemoryDisk::new(image("FAT16"));
    let volume = mount(&disk);
    block_on(async {
        let writer = volume.open("/shared", OpenMode::REPLACE).await?;
        let reader = volume.open("/SHARED", OpenMode::READ).await?;
        volume.write(writer, 0, &[5; 3000]).await?;
        let mut bytes = [0; 4000];
        assert_eq!(volume.read(reader, 1000, &mut bytes).await?, 2000);
        assert!(bytes[..2000].iter().all(|byte| *byte == 5));
        assert_eq!(volume.write(reader, 0, b"x").await, Err(Error::NotOpenForWriting));
        Ok::<(), Error>(())
    })
    .expect("all of that works");
}

#[test]
fn a_full_disk_refuses_before_it_changes_anything() {
    for (kind, bytes) in images() {
        let disk = MemoryDisk::new(bytes);
        let volume = mount(&disk);
        let free = block_on(volume.space()).expect(kind).free;
        write_file(&volume, "/most", &pattern(1, free as usize - 3 * 4096)).expect(kind);
        let refused = write_file(&volume, "/more", &vec![0; 5 * 4096]);
        assert_eq!(refused, Err(Error::NoSpace), "{kind}");
        assert_eq!(block_on(volume.status("/more")).expect(kind).size, 0, "{kind}");
        let rest = block_on(volume.space()).expect(kind).free;
        write_file(&volume, "/more", &vec![9; rest as usize]).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(block_on(volume.space()).expect(kind).free, 0, "{kind}");
        let volume = remount(&disk, volume, kind);
        assert!(read_file(&volume, "/more").expect(kind).iter().all(|byte| *byte == 9), "{kind}");
        // What a removed file took is there again at once.
        block_on(volume.remove_file("/most")).expect(kind);
        write_file(&volume, "/again", &pattern(2, free as usize / 2)).expect(kind);
        remount(&disk, volume, kind);
    }
}

#[test]
fn a_file_ends_at_four_gibibytes() {
    let disk = MemoryDisk::new(image("FAT32"));
    let volume = mount(&disk);
    let id = block_on(volume.open("/file", OpenMode::REPLACE)).expect("it can be created");
    let refused = block_on(volume.write(id, u64::from(u32::MAX), b"x"));
    assert_eq!(refused, Err(Error::FileTooLarge { length: 1 << 32 }));
    let refused = block_on(volume.write(id, u64::MAX, b"x"));
    assert!(matches!(refused, Err(Error::FileTooLarge { .. })));
    assert_eq!(block_on(volume.set_length(id, u64::from(u32::MAX))), Err(Error::NoSpace));
}

#[test]
fn a_read_only_disk_is_read_and_nothing_else() {
    let disk = MemoryDisk::new(image("FAT16"));
    let volume = mount(&disk);
    write_file(&volume, "/file", b"contents").expect("it is writable still");
    block_on(volume.unmount()).expect("it unmounts");
    let bytes = disk.contents();
    let disk = MemoryDisk::read_only(bytes.clone());
    let volume = mount(&disk);
    assert!(volume.info().read_only);
    assert_eq!(read_file(&volume, "/file").expect("reading works"), b"contents");
    assert_eq!(write_file(&volume, "/file", b"x"), Err(Error::ReadOnly));
    assert_eq!(block_on(volume.make_directory("/folder")), Err(Error::ReadOnly));
    assert_eq!(block_on(volume.remove_file("/file")), Err(Error::ReadOnly));
    assert_eq!(block_on(volume.rename("/file", "/other", false)), Err(Error::ReadOnly));
    block_on(volume.sync()).expect("there is nothing to do");
    block_on(volume.unmount()).expect("there is nothing to do");
    assert!(disk.contents() == bytes);
}

#[test]
fn looking_at_a_disk_does_not_change_it() {
    for (kind, bytes) in images() {
        let disk = MemoryDisk::new(bytes.clone());
        let volume = mount(&disk);
        assert!(names(&volume, "/").is_empty());
        block_on(volume.space()).expect(kind);
        assert!(matches!(read_file(&volume, "/nothing"), Err(Error::NotFound { .. })));
        let bad = write_file(&volume, "/a:b", b"");
        assert!(matches!(bad, Err(Error::InvalidName { fault: NameFault::Character(':'), .. })));
        block_on(volume.unmount()).expect(kind);
        assert!(disk.contents() == bytes, "{kind}");
    }
}

#[test]
fn a_volume_at_rest_is_clean_and_goes_on() {
    for (kind, bytes) in images() {
        let disk = MemoryDisk::new(bytes);
        let volume = mount(&disk);
        for round in 0..3 {
            write_file(&volume, &format!("/file {round}"), b"contents").expect(kind);
            block_on(volume.rest()).expect(kind);
            assert_clean(&disk, kind);
            let writes = disk.0.writes.get();
            block_on(volume.rest()).expect(kind);
            assert_eq!(disk.0.writes.get(), writes, "{kind}: nothing had changed");
        }
        assert_eq!(names(&volume, "/").len(), 3, "{kind}");
    }
}

#[test]
fn times_and_attributes_are_stored() {
    let disk = MemoryDisk::new(image("FAT32"));
    let volume = mount(&disk);
    write_file(&volume, "/file", b"contents").expect("it can be written");
    block_on(volume.make_directory("/folder")).expect("it can be made");
    let volume = remount(&disk, volume, "times");
    let file = block_on(volume.status("/file")).expect("it is there");
    assert_eq!((file.kind, file.size), (EntryKind::File, 8));
    assert_eq!((file.created, file.modified), (NOW, NOW));
    assert_eq!(file.accessed.day, NOW.day);
    let folder = block_on(volume.status("/folder")).expect("it is there");
    assert_eq!((folder.kind, folder.created), (EntryKind::Directory, NOW));
    assert_eq!(block_on(volume.status("/")).expect("the root").kind, EntryKind::Directory);
}

#[test]
fn long_reads_are_few_large_transfers_several_at_a_time() {
    // Seed 2 * 4 + 3 = 11: 64 in flight, 32 buffers each.
    let disk = MemoryDisk::with(make_image(40_000, &["-F", "32", "-s", "1"]), false, 11);
    let volume = mount_with(&disk, MountOptions::default()).0;
    let length = 16 << 20;
    let contents = pattern(1, length);
    write_file(&volume, "/big", &contents).expect("there is room");
    block_on(volume.unmount()).expect("it unmounts");
    let volume = mount_with(&disk, MountOptions::default()).0;
    disk.0.reads.set(0);
    disk.0.sectors_read.set(0);
    disk.0.most_in_flight.set(0);
    let mut read = Vec::new();
    let id = block_on(volume.open("/big", OpenMode::READ)).expect("it is there");
    let mut piece = [0; 4096];
    loop {
        let count = block_on(volume.read(id, read.len() as u64, &mut piece)).expect("reading works");
        if count == 0 {
            break;
        }
        read.extend_from_slice(&piece[..count]);
    }
    assert!(read == contents);
    assert!(disk.0.reads.get() < 600, "{} transfers for 4096 pages", disk.0.reads.get());
    assert!(disk.0.most_in_flight.get() >= 2, "{} in flight", disk.0.most_in_flight.get());
    let read_bytes = disk.0.sectors_read.get() * 512;
    assert!(read_bytes < length as u64 * 11 / 10, "{read_bytes} bytes read");
}

#[test]
fn a_small_buffer_pool_is_enough() {
    let disk = MemoryDisk::new(image("FAT32"));
    disk.limit_buffers(16);
    let volume = mount(&disk);
    let contents = pattern(4, 1 << 20);
    for index in 0..20 {
        let folder = format!("/folder {index}");
        block_on(volume.make_directory(&folder)).expect("there is room");
        write_file(&volume, &format!("{folder}/file"), &contents[index..index + 40_000]).expect("there is room");
    }
    write_file(&volume, "/large", &contents).expect("there is room");
    assert!(read_file(&volume, "/large").expect("it is there") == contents);
    let volume = remount(&disk, volume, "small pool");
    assert!(read_file(&volume, "/folder 19/file").expect("it is there") == contents[19..40_019]);
}

#[test]
fn no_buffers_at_all_is_an_error() {
    let disk = MemoryDisk::new(image("FAT32"));
    disk.limit_buffers(0);
    let mounted = block_on(fat::Volume::mount(disk, crate::support::TestClock, MountOptions::default()));
    assert!(matches!(mounted.map(|_| ()), Err(fat::MountError::Device(DeviceError::NoBuffers))));
}

#[test]
fn a_sector_that_cannot_be_read_is_named_and_the_rest_is_readable() {
    let disk = MemoryDisk::new(image("FAT32, large clusters"));
    let volume = mount(&disk);
    write_file(&volume, "/file", &pattern(1, 100_000)).expect("there is room");
    write_file(&volume, "/other", b"fine").expect("there is room");
    block_on(volume.unmount()).expect("it unmounts");
    let first = disk.contents().windows(16).position(|bytes| *bytes == pattern(1, 16)).expect("the data");
    let bad = (first / 512 + 100) as u64;
    disk.0.bad.borrow_mut().push(bad);
    let volume = mount(&disk);
    match read_file(&volume, "/file") {
        Err(Error::Device(DeviceError::Io { sector })) => assert!(sector <= bad && bad < sector + 256),
        other => panic!("{:?}", other.map(|bytes| bytes.len())),
    }
    assert_eq!(read_file(&volume, "/other").expect("it is elsewhere"), b"fine");
}

#[test]
fn tasks_take_turns() {
    use futures_executor::LocalPool;
    use futures_util::task::LocalSpawnExt;
    use std::rc::Rc;
    let disk = MemoryDisk::with(image("FAT32"), false, 3);
    let volume = Rc::new(mount(&disk));
    let mut pool = LocalPool::new();
    for task in 0..10u64 {
        let volume = volume.clone();
        pool.spawner()
            .spawn_local(async move {
                let path = format!("/file of task {task}");
                let id = volume.open(&path, OpenMode::REPLACE).await.expect("it opens");
                let contents = pattern(task, 30_000);
                for (index, piece) in contents.chunks(1000).enumerate() {
                    volume.write(id, index as u64 * 1000, piece).await.expect("it writes");
                }
                let mut read = vec![0; 30_000];
                assert_eq!(volume.read(id, 0, &mut read).await, Ok(30_000));
                assert!(read == contents);
                volume.close(id).await.expect("it closes");
            })
            .expect("the pool takes tasks");
    }
    pool.run();
    block_on(volume.unmount()).expect("it unmounts");
    assert_clean(&disk, "ten tasks");
}

#[test]
fn an_operation_dropped_half_way_stops_the_volume_instead_of_the_disk_being_harmed() {
    use std::future::Future;
    let disk = MemoryDisk::with(image("FAT32"), false, 7);
    let volume = mount(&disk);
    write_file(&volume, "/kept", b"kept").expect("it can be written");
    block_on(volume.sync()).expect("it syncs");
    {
        let mut sync = Box::pin(volume.make_directory("/half"));
        let mut context = std::task::Context::from_waker(futures_util::task::noop_waker_ref());
        let mut polls = 0;
        while polls < 3 && sync.as_mut().poll(&mut context).is_pending() {
            polls += 1;
        }
        if polls < 3 {
            return;
        }
    }
    assert_eq!(block_on(volume.status("/kept")).map(|_| ()), Err(Error::Abandoned));
}
