//! Which client has which file open.

use alloc::collections::BTreeMap;
use core::cell::{Cell, RefCell};
use interfaces::filesystem::{FileId, FsError};

/// Files that one client may have open at once.
const MAX_PER_CLIENT: usize = 64;

/// Open files by the number that the client knows. The number names the instance of the server too, so that one that
/// was given out by a former instance is never taken for one of this.
pub(crate) struct Sessions {
    instance: u32,
    next: Cell<u32>,
    open: RefCell<BTreeMap<u32, Session>>,
}

#[derive(Clone, Copy)]
struct Session {
    client: u64,
    file: crate::FileId,
}

impl Sessions {
    pub(crate) fn new(instance: u32) -> Self {
        Sessions { instance, next: Cell::new(1), open: RefCell::new(BTreeMap::new()) }
    }

    /// Whether a client may open another file.
    pub(crate) fn check_room(&self, client: u64) -> Result<(), FsError> {
        let count = self.open.borrow().values().filter(|session| session.client == client).count();
        if count < MAX_PER_CLIENT { Ok(()) } else { Err(FsError::TooManyOpen) }
    }

    pub(crate) fn insert(&self, client: u64, file: crate::FileId) -> FileId {
        let mut open = self.open.borrow_mut();
        let mut number = self.next.get();
        while open.contains_key(&number) {
            number = number.wrapping_add(1);
        }
        self.next.set(number.wrapping_add(1));
        open.insert(number, Session { client, file });
        FileId((u64::from(self.instance) << 32) | u64::from(number))
    }

    /// The file of one of a client's own numbers.
    pub(crate) fn find(&self, client: u64, id: FileId) -> Result<crate::FileId, FsError> {
        let found = self.open.borrow().get(&(id.0 as u32)).copied();
        match found {
            Some(session) if session.client == client && id.0 >> 32 == u64::from(self.instance) => Ok(session.file),
            _ => Err(FsError::UnknownSession),
        }
    }

    pub(crate) fn remove(&self, client: u64, id: FileId) -> Result<crate::FileId, FsError> {
        let file = self.find(client, id)?;
        self.open.borrow_mut().remove(&(id.0 as u32));
        Ok(file)
    }
}
