//! Operations on paths: finding, creating, removing and renaming.

use crate::cache::Class;
use crate::device::BlockDevice;
use crate::directory::Entry;
use crate::error::{Damage, Error};
use crate::mounted::Mounted;
use crate::name::{NewName, components};
use crate::record::{Attributes, RECORD_SIZE, RecordData, set_first_cluster};
use crate::table::ClusterRun;
use crate::time::Timestamp;
use alloc::string::String;
use alloc::vec::Vec;

/// What a path leads to.
pub(crate) struct Located<'a> {
    /// The folder that has, or would have, the last name of the path. Itself the root, if the path is the root's.
    pub(crate) directory: u32,
    /// The folders on the way, that one included.
    pub(crate) trail: Vec<u32>,
    /// The last name; `None` for the root.
    pub(crate) name: Option<&'a str>,
    pub(crate) entry: Option<Entry>,
}

impl Located<'_> {
    /// The entry, which must be there.
    fn expect(self, path: &str) -> Result<(u32, Entry), Error> {
        match (self.name, self.entry) {
            (None, _) => Err(Error::IsRoot),
            (_, None) => Err(Error::NotFound { path: path.into() }),
            (_, Some(entry)) => Ok((self.directory, entry)),
        }
    }
}

impl<D: BlockDevice> Mounted<D> {
    /// The first cluster of a folder that was found.
    fn enter(&self, entry: &Entry, path: &str) -> Result<u32, Error> {
        if !entry.is_directory() {
            return Err(Error::NotADirectory { path: path.into() });
        }
        self.check_first(entry.data.first_cluster)?;
        Ok(entry.data.first_cluster)
    }

    /// Follows a path to its last name, which need not exist; everything before must be folders.
    pub(crate) async fn resolve<'a>(&mut self, path: &'a str) -> Result<Located<'a>, Error> {
        let parts = components(path);
        let root = self.root();
        let mut trail = Vec::from([root]);
        let mut directory = root;
        let Some((name, folders)) = parts.split_last() else {
            return Ok(Located { directory, trail, name: None, entry: None });
        };
        let mut walked = String::new();
        for folder in folders {
            let holder = if walked.is_empty() { "/" } else { &walked };
            let found = self.find(directory, folder).await.map_err(|error| error.about(holder))?;
            walked.push('/');
            walked.push_str(folder);
            let Some(entry) = found else {
                return Err(Error::NotFound { path: walked });
            };
            directory = self.enter(&entry, &walked).map_err(|error| error.about(&walked))?;
            trail.push(directory);
        }
        let holder = if walked.is_empty() { "/" } else { &walked };
        let entry = self.find(directory, name).await.map_err(|error| error.about(holder))?;
        Ok(Located { directory, trail, name: Some(name), entry })
    }

    /// The folder that a path names.
    pub(crate) async fn resolve_directory(&mut self, path: &str) -> Result<u32, Error> {
        let located = self.resolve(path).await?;
        match (located.name, located.entry) {
            (None, _) => Ok(located.directory),
            (_, None) => Err(Error::NotFound { path: path.into() }),
            (_, Some(entry)) => self.enter(&entry, path),
        }
    }

    /// Creates an empty file and finds it again.
    pub(crate) async fn create_file(
        &mut self,
        directory: u32,
        name: &str,
        path: &str,
        now: Timestamp,
    ) -> Result<Entry, Error> {
        // A name that cannot be must be refused before the disk is marked as changed.
        NewName::new(name)?;
        self.begin_change().await?;
        self.relieve().await?;
        let data = RecordData {
            attributes: Attributes::ARCHIVE,
            first_cluster: 0,
            size: 0,
            created: now,
            modified: now,
            accessed: now,
        };
        self.insert(directory, name, &data).await?;
        self.find(directory, name).await?.ok_or_else(|| Error::NotFound { path: path.into() })
    }

    /// Creates an empty folder.
    pub(crate) async fn make_directory(&mut self, path: &str, now: Timestamp) -> Result<(), Error> {
        let located = self.resolve(path).await?;
        let Some(name) = located.name.filter(|_| located.entry.is_none()) else {
            return Err(Error::AlreadyExists { path: path.into() });
        };
        NewName::new(name)?;
        self.begin_change().await?;
        self.relieve().await?;
        let cluster = self.allocate(None, 1).await?;
        let made = self.fill_new_directory(located.directory, name, cluster.first, now).await;
        if made.is_err() {
            self.release(&[cluster]);
        }
        made
    }

    async fn fill_new_directory(&mut self, parent: u32, name: &str, cluster: u32, now: Timestamp) -> Result<(), Error> {
        self.clear_cluster(cluster).await?;
        let data = |first_cluster| RecordData {
            attributes: Attributes::DIRECTORY,
            first_cluster,
            size: 0,
            created: now,
            modified: now,
            accessed: now,
        };
        // To children of the root, the root is cluster 0 on every kind of FAT.
        let up = if parent == self.root() { 0 } else { parent };
        let sector = self.geometry.cluster_sector(cluster);
        let bytes = self.cache.edit(sector, Class::Data).await?;
        bytes[..RECORD_SIZE].copy_from_slice(&data(cluster).write(b".          ", 0));
        bytes[RECORD_SIZE..2 * RECORD_SIZE].copy_from_slice(&data(up).write(b"..         ", 0));
        self.insert(parent, name, &data(cluster)).await?;
        Ok(())
    }

    /// Removes a file.
    pub(crate) async fn remove_file(&mut self, path: &str) -> Result<(), Error> {
        let (directory, entry) = match self.resolve(path).await?.expect(path) {
            Err(Error::IsRoot) => return Err(Error::IsADirectory { path: path.into() }),
            other => other?,
        };
        if entry.is_directory() {
            return Err(Error::IsADirectory { path: path.into() });
        }
        self.refuse_busy(&entry, path)?;
        let chain = self.chain(entry.data.first_cluster).await?;
        self.remove_entry(directory, &entry, &chain).await
    }

    /// Refuses what is open or marked read-only.
    fn refuse_busy(&self, entry: &Entry, path: &str) -> Result<(), Error> {
        if self.files.find(entry.location).is_some() {
            return Err(Error::InUse { path: path.into() });
        }
        if entry.data.attributes.contains(Attributes::READ_ONLY) {
            return Err(Error::ReadOnlyFile { path: path.into() });
        }
        Ok(())
    }

    async fn remove_entry(&mut self, directory: u32, entry: &Entry, chain: &[ClusterRun]) -> Result<(), Error> {
        self.begin_change().await?;
        self.relieve().await?;
        self.remove_records(directory, &entry.slots).await?;
        self.release(chain);
        Ok(())
    }

    /// Removes an empty folder.
    pub(crate) async fn remove_directory(&mut self, path: &str) -> Result<(), Error> {
        let (directory, entry) = self.resolve(path).await?.expect(path)?;
        let inside = self.enter(&entry, path)?;
        if self.next_entry(inside, &mut 0, |_| true).await?.is_some() {
            return Err(Error::DirectoryNotEmpty { path: path.into() });
        }
        if entry.data.attributes.contains(Attributes::READ_ONLY) {
            return Err(Error::ReadOnlyFile { path: path.into() });
        }
        let chain = self.directory_chain(inside).await?;
        self.remove_entry(directory, &entry, &chain).await
    }

    /// Gives a file or folder another name, perhaps in another folder; with `replace`, in place of a file that has
    /// that name.
    ///
    /// Where one page of the disk has the old name and room for the new one, the change is a single write. Otherwise
    /// the new name is on the disk before the old one goes, so that a crash in between leaves two names for one file
    /// and never none.
    pub(crate) async fn rename(&mut self, from: &str, to: &str, replace: bool) -> Result<(), Error> {
        let (directory, entry) = self.resolve(from).await?.expect(from)?;
        let target = self.resolve(to).await?;
        let Some(name) = target.name else {
            return Err(Error::IsRoot);
        };
        NewName::new(name)?;
        if entry.is_directory() {
            let inside = self.enter(&entry, from)?;
            if target.trail.contains(&inside) {
                return Err(Error::IntoItself { from: from.into(), to: to.into() });
            }
        }
        if entry.is_directory() && target.directory != directory {
            self.parent_of(entry.data.first_cluster).await.map_err(|error| error.about(from))?;
        }
        let same = target.entry.as_ref().is_some_and(|found| found.location == entry.location);
        if same && entry.name == name {
            return Ok(());
        }
        if let Some(found) = target.entry.filter(|_| !same) {
            if !replace {
                return Err(Error::AlreadyExists { path: to.into() });
            }
            return self.replace(directory, &entry, target.directory, &found, from, to).await;
        }
        self.begin_change().await?;
        self.relieve().await?;
        if target.directory == directory {
            if let Some(location) = self.rename_in_page(directory, &entry, name).await? {
                self.files.moved(entry.location, location, to);
                return Ok(());
            }
            if same {
                // The new name is the old one but for case, so that both cannot be there at once; and the page has
                // no room for the records of the new one. By way of a third name.
                return self.rename_by_detour(directory, &entry, name, to).await;
            }
        }
        self.move_entry(directory, &entry, target.directory, name, to).await
    }

    /// The new record first, on the disk; then the old one goes.
    async fn move_entry(
        &mut self,
        directory: u32,
        entry: &Entry,
        target: u32,
        name: &str,
        path: &str,
    ) -> Result<(), Error> {
        // What the old record has to say must be on the disk before the new one is, or a crash could leave two records
        // that contradict each other.
        self.cache.write_back_all().await?;
        let location = self.insert(target, name, &entry.data).await?;
        self.cache.write_back_all().await?;
        self.files.moved(entry.location, location, path);
        if entry.is_directory() && target != directory {
            // Its `..` has to be right when the old name is gone.
            self.set_parent(entry.data.first_cluster, target).await?;
            self.cache.write_back_all().await?;
        }
        self.remove_old_name(directory, entry).await
    }

    /// Removes the old name of what has a new one on the disk: there, too, before the file can change under one of
    /// the two names only.
    async fn remove_old_name(&mut self, directory: u32, entry: &Entry) -> Result<(), Error> {
        self.remove_records(directory, &entry.slots).await?;
        self.cache.write_back_all().await?;
        Ok(())
    }

    async fn rename_by_detour(&mut self, directory: u32, entry: &Entry, name: &str, path: &str) -> Result<(), Error> {
        for number in 0..1000 {
            let detour = alloc::format!("renam{number:03}.tmp");
            if self.find(directory, &detour).await?.is_some() {
                continue;
            }
            self.move_entry(directory, entry, directory, &detour, path).await?;
            let Some(moved) = self.find(directory, &detour).await? else {
                break;
            };
            return self.move_entry(directory, &moved, directory, name, path).await;
        }
        Err(Error::AlreadyExists { path: path.into() })
    }

    /// Where a folder's `..` points: its parent's first cluster.
    pub(crate) async fn parent_of(&mut self, directory: u32) -> Result<u32, Error> {
        let (root, wide) = (self.root(), self.is_wide());
        let sector = self.geometry.cluster_sector(directory);
        let bytes = self.cache.sector(sector, Class::Directory).await?;
        let mut record = [0; RECORD_SIZE];
        record.copy_from_slice(&bytes[RECORD_SIZE..2 * RECORD_SIZE]);
        if !bytes.starts_with(b".          ") || !record.starts_with(b"..         ") {
            return Err(Damage::NoDotRecords { first: directory }.into());
        }
        let up = RecordData::read(&record, wide).first_cluster;
        Ok(if up == 0 { root } else { up })
    }

    /// Points a folder's `..` to another folder.
    pub(crate) async fn set_parent(&mut self, directory: u32, parent: u32) -> Result<(), Error> {
        let up = if parent == self.root() { 0 } else { parent };
        let sector = self.geometry.cluster_sector(directory);
        let bytes = self.cache.edit(sector, Class::Directory).await?;
        set_first_cluster(&mut bytes[RECORD_SIZE..2 * RECORD_SIZE], up);
        Ok(())
    }

    /// Lets `found`'s record refer to the file of `entry`, whose own record then goes. One write decides.
    async fn replace(
        &mut self,
        directory: u32,
        entry: &Entry,
        target: u32,
        found: &Entry,
        from: &str,
        to: &str,
    ) -> Result<(), Error> {
        if found.is_directory() {
            return Err(Error::AlreadyExists { path: to.into() });
        }
        if entry.is_directory() {
            return Err(Error::NotADirectory { path: to.into() });
        }
        self.refuse_busy(found, to)?;
        let replaced = self.chain(found.data.first_cluster).await.map_err(|error| error.about(to))?;
        if entry.data.first_cluster != 0 {
            self.check_first(entry.data.first_cluster).map_err(|error| error.about(from))?;
        }
        self.begin_change().await?;
        self.relieve().await?;
        // Everything of the moving file but the name and the case in which it is shown.
        let mut record = entry.record;
        record[..11].copy_from_slice(&found.record[..11]);
        record[12] = found.record[12];
        let one_page = target == directory && self.in_one_page(directory, entry, found).await?;
        if one_page {
            self.replace_record(target, found, &record, Some(&entry.slots)).await?;
        } else {
            self.cache.write_back_all().await?;
            self.replace_record(target, found, &record, None).await?;
            self.cache.write_back_all().await?;
            self.remove_old_name(directory, entry).await?;
        }
        self.files.moved(entry.location, found.location, to);
        self.release(&replaced);
        Ok(())
    }

    /// Whether the records of two entries of a folder lie in one page, so that one write changes both.
    async fn in_one_page(&mut self, directory: u32, one: &Entry, other: &Entry) -> Result<bool, Error> {
        let extents = self.extents(directory).await?;
        let page = extents.common_page(one.slots.clone());
        Ok(page.is_some() && page == extents.common_page(other.slots.clone()))
    }
}
