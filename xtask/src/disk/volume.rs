//! Writing a fresh FAT32 volume.
//!
//! The libraries at hand either write volumes that `fsck.fat` objects to or refuse names that are not ASCII. A volume
//! that is written once, front to back, needs no allocator: every file lies in one piece.

use std::collections::BTreeSet;
use std::io;

const BLOCK: usize = 512;
const RESERVED_BLOCKS: usize = 32;
const INFORMATION_BLOCK: usize = 1;
const BACKUP_BLOCK: usize = 6;
const ENTRY: usize = 32;
const END_OF_CHAIN: u32 = 0x0fff_ffff;
const FIRST_CLUSTER: u32 = 2;
/// With fewer clusters a volume is FAT16, whatever else it says.
const LEAST_CLUSTERS: usize = 65_525;
/// The first of January 2025, the day on which everything on a fresh volume was written.
const DATE: u16 = (2025 - 1980) << 9 | 1 << 5 | 1;
const ATTRIBUTE_VOLUME: u8 = 0x08;
const ATTRIBUTE_FOLDER: u8 = 0x10;
const ATTRIBUTE_ARCHIVE: u8 = 0x20;
const ATTRIBUTE_LONG_NAME: u8 = 0x0f;

/// A folder of the volume to be.
#[derive(Debug, Default)]
pub(super) struct Folder {
    entries: Vec<(String, Node)>,
}

#[derive(Debug)]
enum Node {
    File(Vec<u8>),
    Folder(Folder),
}

impl Folder {
    /// Adds a file.
    pub(super) fn file(&mut self, name: &str, contents: Vec<u8>) {
        self.entries.push((name.to_owned(), Node::File(contents)));
    }

    /// Adds a folder.
    pub(super) fn folder(&mut self, name: &str, folder: Self) {
        self.entries.push((name.to_owned(), Node::Folder(folder)));
    }
}

/// Where the parts of a volume lie.
struct Geometry {
    blocks: usize,
    cluster: usize,
    table_blocks: usize,
    clusters: usize,
}

impl Geometry {
    fn of(size: u64, cluster: u32) -> io::Result<Self> {
        let blocks = usize::try_from(size).map_err(io::Error::other)? / BLOCK;
        let cluster = cluster as usize;
        if !cluster.is_power_of_two() || !(BLOCK..=32_768).contains(&cluster) || u32::try_from(blocks).is_err() {
            return Err(io::Error::other("no FAT has clusters or blocks like that"));
        }
        let data = |table_blocks: usize| blocks.saturating_sub(RESERVED_BLOCKS + 2 * table_blocks) * BLOCK / cluster;
        // The table grows with the clusters and takes their room: start from too large a table.
        let table_blocks = ((data(0) + 2) * 4).div_ceil(BLOCK);
        let clusters = data(table_blocks);
        if clusters < LEAST_CLUSTERS {
            return Err(io::Error::other(format!("{clusters} clusters are too few for FAT32")));
        }
        Ok(Self { blocks, cluster, table_blocks, clusters })
    }

    fn offset_of(&self, cluster: u32) -> usize {
        (RESERVED_BLOCKS + 2 * self.table_blocks) * BLOCK + (cluster - FIRST_CLUSTER) as usize * self.cluster
    }
}

/// A volume while it is written.
struct Volume {
    geometry: Geometry,
    image: Vec<u8>,
    table: Vec<u32>,
}

/// The bytes of a volume of `size` bytes, with clusters of `cluster` bytes, that holds `root`.
///
/// # Errors
///
/// If the sizes do not make a FAT32, or `root` does not fit.
pub(super) fn write(size: u64, cluster: u32, label: [u8; 11], id: u32, root: &Folder) -> io::Result<Vec<u8>> {
    let geometry = Geometry::of(size, cluster)?;
    let mut volume = Volume {
        image: vec![0; geometry.blocks * BLOCK],
        // The first two entries hold no clusters: the media type, and the marks of a volume that is in order.
        table: vec![0x0fff_fff8, END_OF_CHAIN],
        geometry,
    };
    let mut label_entry = [0; ENTRY];
    label_entry[..11].copy_from_slice(&label);
    label_entry[11] = ATTRIBUTE_VOLUME;
    stamp(&mut label_entry);
    let first = volume.folder(root, None, &label_entry)?;
    debug_assert_eq!(first, FIRST_CLUSTER);
    volume.finish(label, id);
    Ok(volume.image)
}

impl Volume {
    /// Takes clusters for `length` bytes, at least `least` of them, in one piece; returns the first.
    fn allocate(&mut self, length: usize, least: usize) -> io::Result<u32> {
        let count = length.div_ceil(self.geometry.cluster).max(least);
        if count == 0 {
            return Ok(0);
        }
        let first = self.table.len();
        if first + count > self.geometry.clusters + FIRST_CLUSTER as usize {
            return Err(io::Error::other("the files do not fit on the volume"));
        }
        self.table.extend((first + 1..first + count).map(|next| next as u32));
        self.table.push(END_OF_CHAIN);
        Ok(first as u32)
    }

    fn put(&mut self, cluster: u32, bytes: &[u8]) {
        if !bytes.is_empty() {
            let offset = self.geometry.offset_of(cluster);
            self.image[offset..][..bytes.len()].copy_from_slice(bytes);
        }
    }

    /// Writes a folder and all that is in it; returns its first cluster.
    fn folder(&mut self, folder: &Folder, parent: Option<u32>, head: &[u8]) -> io::Result<u32> {
        let mut short_names = BTreeSet::new();
        let names: Vec<_> = folder.entries.iter().map(|(name, _)| Name::of(name, &mut short_names)).collect();
        let dots = if parent.is_some() { 2 * ENTRY } else { 0 };
        let length = head.len() + dots + names.iter().map(|name| name.entries() * ENTRY).sum::<usize>();
        let own = self.allocate(length, 1)?;
        let mut bytes = head.to_vec();
        if let Some(parent) = parent {
            bytes.extend(entry(*b".          ", ATTRIBUTE_FOLDER, own, 0));
            // The root is called cluster 0 here.
            let parent = if parent == FIRST_CLUSTER { 0 } else { parent };
            bytes.extend(entry(*b"..         ", ATTRIBUTE_FOLDER, parent, 0));
        }
        for ((_, node), name) in folder.entries.iter().zip(&names) {
            name.write_long(&mut bytes);
            match node {
                Node::File(contents) => {
                    let cluster = self.allocate(contents.len(), 0)?;
                    self.put(cluster, contents);
                    let length = u32::try_from(contents.len()).map_err(io::Error::other)?;
                    bytes.extend(entry(name.short, ATTRIBUTE_ARCHIVE, cluster, length));
                }
                Node::Folder(inner) => {
                    let cluster = self.folder(inner, Some(own), &[])?;
                    bytes.extend(entry(name.short, ATTRIBUTE_FOLDER, cluster, 0));
                }
            }
        }
        self.put(own, &bytes);
        Ok(own)
    }

    /// Writes what comes before the clusters.
    fn finish(&mut self, label: [u8; 11], id: u32) {
        let used = self.table.len() - FIRST_CLUSTER as usize;
        let table: Vec<u8> = self.table.iter().flat_map(|entry| entry.to_le_bytes()).collect();
        for copy in 0..2 {
            let offset = (RESERVED_BLOCKS + copy * self.geometry.table_blocks) * BLOCK;
            self.image[offset..][..table.len()].copy_from_slice(&table);
        }
        let boot = self.boot_block(label, id);
        let mut information = [0; BLOCK];
        set(&mut information, 0, b"RRaA");
        set(&mut information, 484, b"rrAa");
        set(&mut information, 488, &((self.geometry.clusters - used) as u32).to_le_bytes());
        set(&mut information, 492, &(self.table.len() as u32).to_le_bytes());
        set(&mut information, 510, &[0x55, 0xaa]);
        for start in [0, BACKUP_BLOCK] {
            set(&mut self.image, start * BLOCK, &boot);
            set(&mut self.image, (start + INFORMATION_BLOCK) * BLOCK, &information);
        }
    }

    fn boot_block(&self, label: [u8; 11], id: u32) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        // A jump over this table, and a program that does nothing: the disk does not boot.
        set(&mut block, 0, &[0xeb, 0x58, 0x90]);
        set(&mut block, 3, b"BULKHEAD");
        set(&mut block, 11, &(BLOCK as u16).to_le_bytes());
        block[13] = (self.geometry.cluster / BLOCK) as u8;
        set(&mut block, 14, &(RESERVED_BLOCKS as u16).to_le_bytes());
        block[16] = 2; // tables
        block[21] = 0xf8; // a fixed disk
        set(&mut block, 24, &63_u16.to_le_bytes());
        set(&mut block, 26, &255_u16.to_le_bytes());
        set(&mut block, 32, &(self.geometry.blocks as u32).to_le_bytes());
        set(&mut block, 36, &(self.geometry.table_blocks as u32).to_le_bytes());
        set(&mut block, 44, &FIRST_CLUSTER.to_le_bytes());
        set(&mut block, 48, &(INFORMATION_BLOCK as u16).to_le_bytes());
        set(&mut block, 50, &(BACKUP_BLOCK as u16).to_le_bytes());
        block[64] = 0x80;
        block[66] = 0x29;
        set(&mut block, 67, &id.to_le_bytes());
        set(&mut block, 71, &label);
        set(&mut block, 82, b"FAT32   ");
        set(&mut block, 90, &[0xf4, 0xeb, 0xfd]); // hlt; jmp to it
        set(&mut block, 510, &[0x55, 0xaa]);
        block
    }
}

fn set(bytes: &mut [u8], offset: usize, value: &[u8]) {
    bytes[offset..][..value.len()].copy_from_slice(value);
}

fn stamp(entry: &mut [u8; ENTRY]) {
    for field in [16, 18, 24] {
        set(entry, field, &DATE.to_le_bytes());
    }
}

fn entry(short: [u8; 11], attributes: u8, cluster: u32, length: u32) -> [u8; ENTRY] {
    let mut entry = [0; ENTRY];
    entry[..11].copy_from_slice(&short);
    entry[11] = attributes;
    stamp(&mut entry);
    set(&mut entry, 20, &((cluster >> 16) as u16).to_le_bytes());
    set(&mut entry, 26, &(cluster as u16).to_le_bytes());
    set(&mut entry, 28, &length.to_le_bytes());
    entry
}

/// The two names of a file: the one that people read, and the one of eleven characters that goes with it.
struct Name {
    long: Vec<u16>,
    short: [u8; 11],
}

impl Name {
    /// Characters of a long name that one entry holds.
    const PIECE: usize = 13;

    fn of(name: &str, taken: &mut BTreeSet<[u8; 11]>) -> Self {
        let long: Vec<u16> = name.encode_utf16().collect();
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() || "$%'-_@~`!(){}^#&".contains(c) {
                c.to_ascii_uppercase() as u8
            } else {
                b'_'
            }
        };
        let (stem, extension) = match name.trim_start_matches('.').rsplit_once('.') {
            Some((stem, extension)) => (stem, extension),
            None => (name.trim_start_matches('.'), ""),
        };
        let keep = |text: &str, most: usize| -> Vec<u8> {
            text.chars().filter(|c| *c != ' ' && *c != '.').map(plain).take(most).collect()
        };
        let (stem, extension) = (keep(stem, 8), keep(extension, 3));
        // Always with a number: whether a name may stand alone depends on more than it is worth to find out here.
        let short = (1_u32..)
            .map(|number| {
                let tail = format!("~{number}");
                let mut short = [b' '; 11];
                let kept = stem.len().min(8 - tail.len());
                set(&mut short, 0, &stem[..kept]);
                set(&mut short, kept, tail.as_bytes());
                set(&mut short, 8, &extension);
                short
            })
            .find(|short| taken.insert(*short))
            .expect("a folder has fewer files than there are numbers");
        Self { long, short }
    }

    fn entries(&self) -> usize {
        1 + self.long.len().div_ceil(Self::PIECE)
    }

    /// Writes the entries of the long name, which come before the short one, last piece first.
    fn write_long(&self, bytes: &mut Vec<u8>) {
        let checksum = self.short.iter().fold(0_u8, |sum, &byte| sum.rotate_right(1).wrapping_add(byte));
        let pieces = self.long.len().div_ceil(Self::PIECE);
        for (index, piece) in self.long.chunks(Self::PIECE).enumerate().rev() {
            let last = if index + 1 == pieces { 0x40 } else { 0 };
            let mut characters = [0xffff_u16; Self::PIECE];
            characters[..piece.len()].copy_from_slice(piece);
            if let Some(end) = characters.get_mut(piece.len()) {
                *end = 0;
            }
            let mut entry = [0; ENTRY];
            entry[0] = (index + 1) as u8 | last;
            entry[11] = ATTRIBUTE_LONG_NAME;
            entry[13] = checksum;
            let places = (1..11).step_by(2).chain((14..26).step_by(2)).chain([28, 30]);
            for (place, character) in places.zip(characters) {
                set(&mut entry, place, &character.to_le_bytes());
            }
            bytes.extend(entry);
        }
    }
}
