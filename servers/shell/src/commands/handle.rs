//! An open file.

use crate::failure::Failure;
use crate::path::Location;
use crate::services::Files;
use crate::session::{Session, on_disk};
use interfaces::filesystem::{Access, FileId, FsError};
use userlib::ipc::CallError;

/// An open file of the file server's; dropping it closes it.
pub(super) struct Handle<'a> {
    files: &'a dyn Files,
    place: Location,
    id: FileId,
    is_open: bool,
}

impl<'a> Handle<'a> {
    /// Opens a file that exists, for reading.
    pub(super) fn open(session: &Session<'a>, place: &Location) -> Result<Self, Failure> {
        let files = session.services.files;
        let opened = files.open(on_disk(place, "read")?, Access::Read);
        Self::wrap(files, place, opened.map_err(|error| Failure::of_file("read", place, error))?.file)
    }

    /// Opens a file for writing; makes it if it is not there. Says its length, too.
    pub(super) fn open_or_create(session: &Session<'a>, place: &Location) -> Result<(Self, u64), Failure> {
        let files = session.services.files;
        let path = on_disk(place, "write")?;
        let opened = match files.open(path, Access::ReadWrite) {
            Err(CallError::Failed(FsError::NotFound)) => files.create(path),
            outcome => outcome,
        };
        let opened = opened.map_err(|error| Failure::of_file("write", place, error))?;
        Ok((Self::wrap(files, place, opened.file)?, opened.length))
    }

    /// Makes a file that must not be there; `None` if it is.
    pub(super) fn create(session: &Session<'a>, place: &Location) -> Result<Option<Self>, Failure> {
        let files = session.services.files;
        match files.create(on_disk(place, "make")?) {
            Ok(created) => Self::wrap(files, place, created.file).map(Some),
            Err(CallError::Failed(FsError::AlreadyExists)) => Ok(None),
            Err(error) => Err(Failure::of_file("make", place, error)),
        }
    }

    fn wrap(files: &'a dyn Files, place: &Location, id: FileId) -> Result<Self, Failure> {
        Ok(Self { files, place: place.clone(), id, is_open: true })
    }

    /// Reads; fewer bytes than asked for mean the end of the file.
    pub(super) fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<usize, Failure> {
        let count = self.files.read(self.id, offset, bytes);
        // A server that claims more than it was lent is not believed.
        count.map(|count| count.min(bytes.len())).map_err(|error| Failure::of_file("read", &self.place, error))
    }

    /// Writes all of the bytes.
    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Failure> {
        match self.files.write(self.id, offset, bytes) {
            Ok(count) if count >= bytes.len() => Ok(()),
            Ok(_) => Err(Failure::of_file("write", &self.place, CallError::Failed(FsError::NoSpace))),
            Err(error) => Err(Failure::of_file("write", &self.place, error)),
        }
    }

    /// Cuts the file off at a length.
    pub(super) fn truncate(&self, length: u64) -> Result<(), Failure> {
        self.files.truncate(self.id, length).map_err(|error| Failure::of_file("write", &self.place, error))
    }

    /// Closes a file that was written: a file server that has been restarted meanwhile may have lost what it had not
    /// put on the disk yet, and does not know the file any more.
    pub(super) fn close(mut self) -> Result<(), Failure> {
        self.is_open = false;
        self.files.close(self.id).map_err(|error| Failure::of_file("write", &self.place, error))
    }
}

impl Drop for Handle<'_> {
    fn drop(&mut self) {
        if self.is_open {
            // A failure is reported already, or nothing was written.
            let _ = self.files.close(self.id);
        }
    }
}
