//! Disks that are not what they should be: every one is named, none makes the library panic or run for ever.

use crate::support::model::{Step, contents, perform};
use crate::support::{MemoryDisk, TestClock, TestVolume, block_on, fsck, image, images, mount, mount_with, pattern};
use fat::{Damage, Error, Found, MountError, MountOptions, OpenMode, Volume};
use proptest::prelude::*;

fn mount_error(bytes: Vec<u8>) -> MountError {
    match block_on(Volume::mount(MemoryDisk::new(bytes), TestClock, MountOptions::default())) {
        Ok(_) => panic!("it was mounted"),
        Err(error) => error,
    }
}

/// An image with a few files and folders, unmounted.
fn filled(bytes: Vec<u8>) -> Vec<u8> {
    let disk = MemoryDisk::new(bytes);
    let volume = mount(&disk);
    let write = |path: &str, length| Step::Write { path: path.into(), offset: 0, length, seed: 1 };
    for step in [
        Step::MakeDirectory { path: "/folder".into() },
        Step::MakeDirectory { path: "/folder/inner folder".into() },
        write("/folder/inner folder/a file with a long name", 20_000),
        write("/folder/second", 30_000),
        write("/third.txt", 10_000),
    ] {
        perform(&volume, &step).unwrap_or_else(|error| panic!("{step:?}: {error}"));
    }
    block_on(volume.unmount()).expect("it unmounts");
    disk.contents()
}

#[test]
fn disks_without_fat_are_named() {
    assert_eq!(mount_error(Vec::new()), MountError::TooSmall { sectors: 0 });
    assert_eq!(mount_error(vec![0; 3 * 512]), MountError::TooSmall { sectors: 3 });
    assert_eq!(mount_error(vec![0; 1 << 20]), MountError::Empty);
    assert_eq!(mount_error(pattern(3, 1 << 20)), MountError::NotFat);
    let mut ext = vec![0; 1 << 20];
    ext[1080..1082].copy_from_slice(&[0x53, 0xef]);
    assert!(matches!(mount_error(ext), MountError::Foreign { what } if what.contains("ext4")));
    for error in [
        MountError::TooSmall { sectors: 0 },
        MountError::Empty,
        MountError::NotFat,
        MountError::NoFatPartition { types: [0x83, 0, 0x82, 0] },
    ] {
        assert!(error.to_string().len() > 40, "a sentence that helps: {error}");
    }
}

#[test]
fn a_damaged_boot_sector_points_to_its_copy() {
    let mut bytes = image("FAT32");
    bytes[13] = 7;
    match mount_error(bytes) {
        MountError::DamagedBootSector { sector: 0, field, value: 7, backup: Some(6), .. } => {
            assert_eq!(field, "the cluster size in sectors");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_disk_that_was_cut_off_is_named() {
    let mut bytes = image("FAT16");
    bytes.truncate(bytes.len() / 2);
    assert!(matches!(mount_error(bytes), MountError::Truncated { .. }));
}

#[test]
fn the_first_fat_partition_is_mounted_and_written_to() {
    for start in [63usize, 2048] {
        let inner = image("FAT16");
        let mut bytes = vec![0; start * 512];
        bytes[450] = 0x83;
        bytes[454..458].copy_from_slice(&1u32.to_le_bytes());
        bytes[458..462].copy_from_slice(&10u32.to_le_bytes());
        bytes[466] = 0x06;
        bytes[470..474].copy_from_slice(&(start as u32).to_le_bytes());
        bytes[474..478].copy_from_slice(&((inner.len() / 512) as u32).to_le_bytes());
        bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
        bytes.extend_from_slice(&inner);
        let disk = MemoryDisk::new(filled(bytes.clone()));
        let volume = mount(&disk);
        assert_eq!(volume.info().first_sector, start as u64);
        assert_eq!(contents(&volume).expect("it is sound").nodes.len(), 5);
        let after = disk.contents();
        assert!(after[..start * 512] == bytes[..start * 512], "the partition table is not ours");
        assert_eq!(fsck(&after[start * 512..]), Vec::<String>::new());
    }
}

/// Overwrites the FAT entry of a cluster of a FAT16 image, in both copies.
fn set_entry(bytes: &mut [u8], cluster: usize, value: u16) {
    let table = usize::from(u16::from_le_bytes([bytes[14], bytes[15]])) * 512;
    let length = usize::from(u16::from_le_bytes([bytes[22], bytes[23]])) * 512;
    for copy in [table, table + length] {
        bytes[copy + cluster * 2..copy + cluster * 2 + 2].copy_from_slice(&value.to_le_bytes());
    }
}

/// The first cluster of a file in the root folder of a FAT16 image.
fn first_cluster(bytes: &[u8], short_name: &[u8; 11]) -> usize {
    let at = bytes.windows(11).position(|window| window == short_name).expect("the record is there");
    usize::from(u16::from_le_bytes([bytes[at + 26], bytes[at + 27]]))
}

fn read_all(volume: &TestVolume, path: &str) -> Result<usize, Error> {
    block_on(async {
        let id = volume.open(path, OpenMode::READ).await?;
        let mut bytes = vec![0; volume.length(id).await? as usize];
        let read = volume.read(id, 0, &mut bytes).await;
        volume.close(id).await?;
        read
    })
}

#[test]
fn damaged_chains_are_named_with_file_and_cluster() {
    let sound = filled(image("FAT16"));
    let first = first_cluster(&sound, b"THIRD   TXT");
    let cluster = first as u32 + 2;
    for (value, expected) in [
        (0, Damage::Free { cluster }),
        (0xfff7, Damage::Bad { cluster }),
        (0xfff0, Damage::OutOfRange { after: cluster, value: 0xfff0 }),
        (1, Damage::OutOfRange { after: cluster, value: 1 }),
        (0xffff, Damage::TooShort { first: first as u32, clusters: 3 }),
        (first as u16 + 1, Damage::Loop { first: first as u32 }),
    ] {
        let mut bytes = sound.clone();
        set_entry(&mut bytes, first + 2, value);
        let disk = MemoryDisk::new(bytes);
        let volume = mount(&disk);
        match read_all(&volume, "/third.txt") {
            Err(Error::Damaged { object, damage }) => {
                assert_eq!(object, "/third.txt");
                assert_eq!(damage, expected);
            }
            other => panic!("{expected:?}: {other:?}"),
        }
        // The rest is as it was, and what cannot be freed is not removed.
        assert_eq!(read_all(&volume, "/folder/second"), Ok(30_000));
        if value != 0xffff {
            let removed = block_on(volume.remove_file("/third.txt"));
            assert!(matches!(removed, Err(Error::Damaged { .. })), "{expected:?}: {removed:?}");
        }
    }
}

#[test]
fn a_record_that_names_no_cluster_is_named() {
    let mut bytes = filled(image("FAT16"));
    let at = bytes.windows(11).position(|window| window == b"THIRD   TXT").expect("the record");
    bytes[at + 26..at + 28].copy_from_slice(&0xffffu16.to_le_bytes());
    let volume = mount(&MemoryDisk::new(bytes));
    let read = read_all(&volume, "/third.txt");
    let sentence = read.expect_err("there is no such cluster").to_string();
    assert!(sentence.contains("/third.txt") && sentence.contains("65535"), "{sentence}");
}

#[test]
fn a_folder_in_a_circle_is_named() {
    let mut bytes = filled(image("FAT16"));
    let folder = first_cluster(&bytes, b"FOLDER     ");
    set_entry(&mut bytes, folder, folder as u16);
    let volume = mount(&MemoryDisk::new(bytes));
    match block_on(volume.list("/folder", 0, 10)) {
        Err(Error::Damaged { object, damage: Damage::Loop { .. } }) => assert_eq!(object, "/folder"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn damage_of_another_kind_is_left_to_its_owner() {
    let mut bytes = filled(image("FAT16"));
    let (third, second) = (first_cluster(&bytes, b"THIRD   TXT"), first_cluster(&bytes, b"SECOND     "));
    // A chain that runs into another file's, on a disk that was not unmounted.
    set_entry(&mut bytes, third + 1, second as u16 + 3);
    bytes[37] |= 1;
    let before = bytes.clone();
    let disk = MemoryDisk::new(bytes);
    let (volume, found) = mount_with(&disk, MountOptions::default());
    assert!(matches!(found, Found::Damaged(Error::Damaged { damage: Damage::Shared { .. }, .. })), "{found:?}");
    assert_eq!(read_all(&volume, "/folder/second"), Ok(30_000));
    block_on(volume.unmount()).expect("there is nothing to do");
    assert!(disk.contents() == before, "the repair changed a disk that it refused to repair");
}

#[test]
fn a_disk_that_was_not_unmounted_stays_marked_when_it_is_not_repaired() {
    for (kind, bytes) in images() {
        let mut bytes = filled(bytes);
        let state = if kind.starts_with("FAT32") { 65 } else { 37 };
        bytes[state] |= 1;
        let disk = MemoryDisk::new(bytes);
        let (volume, found) = mount_with(&disk, MountOptions { repair: false, ..MountOptions::default() });
        assert_eq!(found, Found::Unrepaired, "{kind}");
        perform(&volume, &Step::MakeDirectory { path: "/new".into() }).expect(kind);
        block_on(volume.unmount()).expect(kind);
        assert_eq!(disk.contents()[state] & 1, 1, "{kind}");
        let (volume, found) = mount_with(&disk, MountOptions::default());
        assert!(matches!(found, Found::Repaired(_)), "{kind}: {found:?}");
        block_on(volume.unmount()).expect(kind);
        assert_eq!(disk.contents()[state] & 1, 0, "{kind}");
    }
}

/// Everything that can be done to a volume, whatever comes of it.
fn exercise(bytes: Vec<u8>, options: MountOptions) -> Result<(), MountError> {
    let disk = MemoryDisk::new(bytes);
    let (volume, _) = block_on(Volume::mount(disk, TestClock, options))?;
    let mut folders = vec![(String::new(), 0)];
    let mut paths = Vec::new();
    while let Some((folder, depth)) = folders.pop() {
        let Ok(listing) = block_on(volume.list(&folder, 0, 50)) else { continue };
        for entry in listing.entries {
            let path = format!("{folder}/{}", entry.name);
            if depth < 3 && paths.len() < 60 {
                folders.push((path.clone(), depth + 1));
            }
            paths.push(path);
        }
    }
    for path in paths.iter().take(40) {
        // Lengths in damaged records go up to 4 GiB: no more than the beginning and the end.
        let _ = block_on(async {
            let id = volume.open(path, OpenMode::WRITE).await?;
            let length = u64::from(volume.length(id).await?);
            let mut bytes = [0; 5000];
            let _ = volume.read(id, 0, &mut bytes).await;
            let _ = volume.read(id, length.saturating_sub(100), &mut bytes).await;
            let _ = volume.write(id, length.saturating_sub(10), &[1; 3000]).await;
            let _ = volume.set_length(id, length / 2).await;
            volume.close(id).await
        });
    }
    let first = paths.first().cloned().unwrap_or_default();
    for step in [
        Step::MakeDirectory { path: "/a new folder with a long name".into() },
        Step::Write { path: "/a new folder with a long name/file".into(), offset: 0, length: 5000, seed: 1 },
        Step::Rename { from: first.clone(), to: "/a new folder with a long name/moved".into(), replace: true },
        Step::Rename { from: "/folder".into(), to: "/a new folder with a long name/folder".into(), replace: true },
        Step::RemoveFile { path: "/third.txt".into() },
        Step::RemoveDirectory { path: first },
        Step::Sync,
    ] {
        let _ = perform(&volume, &step);
    }
    let _ = block_on(volume.space());
    let _ = block_on(volume.unmount());
    Ok(())
}

fn filled_image(number: usize) -> Vec<u8> {
    use std::sync::OnceLock;
    static IMAGES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    let all = IMAGES.get_or_init(|| images().into_iter().map(|(_, bytes)| filled(bytes)).collect());
    all[number % all.len()].clone()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(256),
        ..ProptestConfig::default()
    })]

    #[test]
    fn changed_bytes_never_make_it_panic_or_hang(
        number in 0usize..6,
        mark in any::<bool>(),
        // Most in the first sectors, where everything is decided.
        changes in prop::collection::vec(
            (prop_oneof![0usize..512, 0usize..40_000, 0usize..900_000], any::<u8>(), 1usize..8),
            1..40,
        ),
    ) {
        let mut bytes = filled_image(number);
        let length = bytes.len();
        for (at, value, run) in changes {
            let at = at % (length - 8);
            bytes[at..at + run].fill(value);
        }
        if mark {
            let state = if bytes[22..24] == [0, 0] { 65 } else { 37 };
            bytes[state] |= 1;
        }
        let options = MountOptions { cache_bytes: 64 * 1024, ..MountOptions::default() };
        let _ = exercise(bytes, options);
    }

    #[test]
    fn random_tables_and_folders_never_make_it_panic_or_hang(
        number in 0usize..6,
        seed in any::<u64>(),
        start in 1usize..100,
        sectors in 1usize..200,
    ) {
        let mut bytes = filled_image(number);
        let random = pattern(seed, sectors * 512);
        bytes[start * 512..(start + sectors) * 512].copy_from_slice(&random);
        let options = MountOptions { cache_bytes: 64 * 1024, ..MountOptions::default() };
        let _ = exercise(bytes, options);
    }
}
