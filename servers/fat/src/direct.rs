//! Direct reading: what clients may read of the disk by themselves, through rings that are lent to its driver
//! ([`interfaces::file_ring`]).
//!
//! A file that is open for it is not changed, so where it lies is known once for all. It has a window for the client that has
//! opened it, and the driver finds there what the client's requests mean.

use crate::FileLayout;
use crate::device::SECTOR_SIZE;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt;
use interfaces::file_ring;
use interfaces::filesystem::FsError;
use userlib::block_ring::{BlockRing, WINDOWS, Window};
use userlib::environment::RingResources;
use userlib::executor;
use userlib::memory::SharedMemory;
use userlib::session::ClientId;
use userlib::time::Duration;

/// How often is looked whether the disk is done with what a former instance has let clients read.
const ORPHANS: Duration = Duration::from_millis(1);

/// The ring of one client.
struct Channel {
    /// Which domain's it is.
    domain: u32,
    area: u16,
    memory: SharedMemory<'static>,
    /// The life of the client that has joined.
    client: Cell<Option<ClientId>>,
    /// What it has open.
    windows: RefCell<Vec<Window>>,
    /// How often it was joined, or was to be.
    joins: Cell<u64>,
}

/// Lets clients read directly.
pub struct Direct {
    ring: Rc<BlockRing>,
    instance: u32,
    channels: Vec<Channel>,
}

impl fmt::Debug for Direct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Direct").field("ring", &self.ring).finish_non_exhaustive()
    }
}

/// Tells the clients of these rings that the instance of the server which they have joined is gone. That comes before a new
/// one attaches to the disk's ring, which closes the windows: a client that is refused what it could read before finds out why.
pub fn tell_of_death(rings: impl Iterator<Item = RingResources>) {
    rings.for_each(|ring| file_ring::set_joined(ring.shared, None));
}

impl Direct {
    /// Instance `instance` of a server of these rings, with the disk's.
    pub fn new(ring: Rc<BlockRing>, instance: u32, rings: impl Iterator<Item = RingResources>) -> Self {
        // A ring without a number is not lent.
        let channels = rings.filter(|ring| ring.area != 0).map(|ring| Channel {
            domain: ring.client.into(),
            area: ring.area,
            memory: ring.shared,
            client: Cell::new(None),
            windows: RefCell::default(),
            joins: Cell::new(0),
        });
        Self { ring, instance, channels: channels.collect() }
    }

    /// Begins the session of a client, when nothing of a former one is under way any more.
    ///
    /// # Errors
    /// `Unsupported` if it has no ring that the disk reaches, `UnknownSession` if a later life joins meanwhile.
    pub async fn join(&self, client: ClientId) -> Result<(), FsError> {
        let channel = self.channels.iter().find(|channel| channel.domain == client.domain());
        let channel = channel.ok_or(FsError::Unsupported)?;
        channel.client.set(None);
        let join = channel.joins.get() + 1;
        channel.joins.set(join);
        let windows = channel.windows.borrow().clone();
        for window in windows {
            self.close(window).await;
        }
        while self.ring.has_orphans() {
            executor::sleep(ORPHANS).await;
        }
        if channel.joins.get() != join {
            // That was a life which is over: the next one has joined meanwhile.
            return Err(FsError::UnknownSession);
        }
        channel.client.set(Some(client));
        file_ring::set_joined(channel.memory, Some(self.instance));
        Ok(())
    }

    /// Lets a client read a file that it has opened; `None` if it has not joined a ring.
    ///
    /// # Errors
    /// `TooManyOpen` if the client has its share of windows, or the driver cannot be told of a file in so many pieces.
    pub fn open(&self, client: ClientId, layout: &FileLayout) -> Result<Option<Window>, FsError> {
        let Some(channel) = self.channels.iter().find(|channel| channel.client.get() == Some(client)) else {
            return Ok(None);
        };
        // Each client has a share of the windows, so that none can take them all.
        if channel.windows.borrow().len() >= (WINDOWS - 1) / self.channels.len().max(1) {
            return Err(FsError::TooManyOpen);
        }
        let window = self.ring.open_window(channel.area, layout.whole_sectors(), layout.extents());
        let window = window.ok_or(FsError::TooManyOpen)?;
        channel.windows.borrow_mut().push(window);
        Ok(Some(window))
    }

    /// Lets nothing be read any more through a window, and waits for what is under way.
    pub async fn close(&self, window: Window) {
        self.ring.close_window(window).await;
        for channel in &self.channels {
            channel.windows.borrow_mut().retain(|other| *other != window);
        }
    }
}

const _: () = assert!(file_ring::SECTOR == SECTOR_SIZE);
