//! Direct reading: from clients' rings ([`interfaces::file_ring`]) to the disk's, and nothing is copied or kept on the way.
//!
//! A file that is open for it is not changed, so where it lies is known without asking anybody. A request becomes one or
//! several of the disk's, whose data lies in the client's ring: the manifest lets the disk's device reach that.

use crate::FileLayout;
use crate::device::{PAGE_SIZE, SECTOR_SIZE};
use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt;
use interfaces::file_ring::{self, Completion, HEADER_PAGES, Parts, ReadError, Request};
use interfaces::filesystem::FsError;
use userlib::block_ring::{self, BlockRing, RequestError, SECTORS_PER_PAGE, SLOTS, Unavailable};
use userlib::environment::{Peer, RingResources};
use userlib::memory::SharedMemory;
use userlib::ring::{Broken, Consumer, Producer};
use userlib::session::ClientId;
use userlib::sync::Event;
use userlib::time::Duration;
use userlib::{executor, log};

/// Requests of the disk's ring that direct reading uses at most: the cache needs some, too.
const MOST: usize = SLOTS * 3 / 4;
/// How often is looked whether the disk is done with what a former instance has asked for.
const ORPHANS: Duration = Duration::from_millis(1);

/// What is kept for the present life of a client.
struct Session {
    client: ClientId,
    requests: Consumer<Request, SharedMemory<'static>>,
    completions: Producer<Completion, SharedMemory<'static>>,
    /// Files that are open for direct reading, by the id that the client knows.
    files: Vec<(u64, Rc<FileLayout>)>,
}

/// The ring of one client.
struct Channel {
    /// Which domain's it is.
    domain: u32,
    area: u16,
    parts: Parts,
    peer: Peer,
    bits: u64,
    session: RefCell<Option<Session>>,
    /// Requests of it that are not complete.
    under_way: Cell<usize>,
}

/// A request of a client.
struct Pending {
    channel: usize,
    client: ClientId,
    number: u64,
    layout: Rc<FileLayout>,
    /// First sector of the file that was asked for, the next one to ask the disk for, and the one behind the last.
    first: u64,
    next: u64,
    end: u64,
    /// First sector of the area that the data goes to.
    place: u64,
    /// How many of the disk's requests are under way for it.
    parts: usize,
    error: Option<ReadError>,
}

/// Requests by number, and the numbers that are free.
#[derive(Default)]
struct Table {
    places: Vec<Option<Pending>>,
    free: Vec<usize>,
    /// Those for which the disk is still to be asked for something, in the order of arrival.
    held: VecDeque<usize>,
    /// The disk's requests under way.
    parts: usize,
}

impl Table {
    fn insert(&mut self, pending: Pending) -> usize {
        let number = self.free.pop().unwrap_or(self.places.len());
        match self.places.get_mut(number) {
            Some(place) => *place = Some(pending),
            None => self.places.push(Some(pending)),
        }
        number
    }
}

/// Reads for clients directly.
pub struct Direct {
    ring: Rc<BlockRing>,
    /// Sectors of one of the disk's requests at most.
    most_sectors: u32,
    instance: u32,
    channels: Vec<Channel>,
    table: RefCell<Table>,
    /// A request is complete.
    ended: Event,
}

impl fmt::Debug for Direct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Direct").field("ring", &self.ring).finish_non_exhaustive()
    }
}

impl Direct {
    /// Instance `instance` of a server of these rings, for a disk that takes `most_sectors` in one request. It is then to
    /// be made the disk's [sender](BlockRing::set_sender), and to [run](Direct::run).
    pub fn new(
        ring: Rc<BlockRing>,
        most_sectors: u32,
        instance: u32,
        rings: impl Iterator<Item = RingResources>,
    ) -> Self {
        let channel = |resources: RingResources| {
            ring.lend(resources.area, resources.shared.len() / PAGE_SIZE);
            Some(Channel {
                domain: resources.client.into(),
                area: resources.area,
                parts: Parts::of(resources.shared)?,
                peer: resources.peer,
                bits: resources.bits,
                session: RefCell::new(None),
                under_way: Cell::new(0),
            })
        };
        // The disk does not know memory that is lent under no number.
        let channels = rings.filter(|resources| resources.area != 0).filter_map(channel).collect();
        Self { ring, most_sectors, instance, channels, table: RefCell::default(), ended: Event::new() }
    }

    /// Works for ever.
    pub async fn run(&self) {
        // What a former instance has asked for still goes to the clients' memory.
        while self.ring.has_orphans() {
            executor::sleep(ORPHANS).await;
        }
        let mut bits = 0;
        for channel in &self.channels {
            if channel.session.borrow().is_none() {
                channel.parts.set_joined(None);
                channel.notify();
            }
            bits |= channel.bits;
        }
        if bits == 0 {
            return;
        }
        loop {
            self.pump();
            executor::bits(bits).await;
        }
    }

    /// Begins the session of a client, when nothing of a former one is under way any more.
    ///
    /// # Errors
    /// `Unsupported` if it has no ring that the disk reaches.
    pub async fn join(&self, client: ClientId) -> Result<(), FsError> {
        let channel = self.channels.iter().find(|channel| channel.domain == client.domain());
        let channel = channel.ok_or(FsError::Unsupported)?;
        *channel.session.borrow_mut() = None;
        while self.ring.has_orphans() {
            executor::sleep(ORPHANS).await;
        }
        loop {
            let ended = self.ended.next();
            if channel.under_way.get() == 0 {
                break;
            }
            ended.await;
        }
        channel.parts.requests.fill_zero();
        channel.parts.completions.fill_zero();
        let requests = Consumer::attach(channel.parts.requests).map_err(|_| FsError::Unsupported)?;
        let completions = Producer::attach(channel.parts.completions).map_err(|_| FsError::Unsupported)?;
        *channel.session.borrow_mut() = Some(Session { client, requests, completions, files: Vec::new() });
        channel.parts.set_joined(Some(self.instance));
        self.arm(channel);
        Ok(())
    }

    /// A client has opened a file: requests may name it, if the client has joined.
    pub fn offer(&self, client: ClientId, id: u64, layout: Rc<FileLayout>) {
        let sessions = self.channels.iter().map(|channel| channel.session.borrow_mut());
        for mut session in sessions {
            if let Some(session) = session.as_mut().filter(|session| session.client == client) {
                session.files.push((id, layout.clone()));
            }
        }
    }

    /// Lets no request name a file any more, and waits for those that have.
    pub async fn forget(&self, layout: &Rc<FileLayout>) {
        for channel in &self.channels {
            if let Some(session) = channel.session.borrow_mut().as_mut() {
                session.files.retain(|(_, other)| !Rc::ptr_eq(other, layout));
            }
        }
        loop {
            let ended = self.ended.next();
            let names_it = |pending: &Pending| Rc::ptr_eq(&pending.layout, layout);
            if !self.table.borrow().places.iter().flatten().any(names_it) {
                return;
            }
            ended.await;
        }
    }

    /// Says that the server waits for a client's requests; whether there are none.
    fn arm(&self, channel: &Channel) -> bool {
        let mut session = channel.session.borrow_mut();
        session.as_mut().is_none_or(|session| session.requests.may_wait().unwrap_or(true))
    }

    /// Takes what clients ask for, as far as there is room, asks the disk, and tells everybody.
    fn pump(&self) {
        self.send_held();
        for (number, channel) in self.channels.iter().enumerate() {
            if self.serve(number, channel).is_err() {
                log::warn!("a client broke the rules of its ring of files: it has to join again");
                *channel.session.borrow_mut() = None;
                channel.parts.set_joined(None);
                channel.notify();
            }
        }
        self.ring.tell_driver();
        for channel in &self.channels {
            channel.tell();
        }
    }

    /// Takes the requests of one client.
    fn serve(&self, number: usize, channel: &Channel) -> Result<(), Broken> {
        loop {
            let mut borrowed = channel.session.borrow_mut();
            let Some(session) = borrowed.as_mut() else { return Ok(()) };
            {
                let table = self.table.borrow();
                if !table.held.is_empty() || table.parts >= MOST {
                    // It goes on when something is complete.
                    return Ok(());
                }
            }
            if session.completions.room()? <= channel.under_way.get() {
                // It goes on when the client has taken completions.
                if session.completions.may_wait()? || channel.under_way.get() > 0 {
                    return Ok(());
                }
                continue;
            }
            let Some(request) = session.requests.pop()? else {
                if session.requests.may_wait()? {
                    return Ok(());
                }
                continue;
            };
            match self.accept(number, channel, session, &request) {
                Ok(Some(pending)) => {
                    channel.under_way.set(channel.under_way.get() + 1);
                    let place = self.table.borrow_mut().insert(pending);
                    drop(borrowed);
                    self.send(place);
                }
                Ok(None) => session.answer(Completion::new(request.number, Ok(0))),
                Err(error) => session.answer(Completion::new(request.number, Err(error))),
            }
        }
    }

    /// Checks a request; `None` if there is nothing to read.
    fn accept(
        &self,
        number: usize,
        channel: &Channel,
        session: &Session,
        request: &Request,
    ) -> Result<Option<Pending>, ReadError> {
        let sector_bytes = SECTOR_SIZE as u64;
        let length = u64::from(request.length);
        if !request.offset.is_multiple_of(sector_bytes) || !length.is_multiple_of(sector_bytes) {
            return Err(ReadError::Unaligned);
        }
        let place = u64::from(request.page) * PAGE_SIZE as u64;
        if place + length > channel.parts.buffer.len() as u64 {
            return Err(ReadError::OutsideOfBuffer);
        }
        let file = session.files.iter().find(|(id, _)| *id == request.file).ok_or(ReadError::UnknownFile)?;
        let layout = file.1.clone();
        let first = request.offset / sector_bytes;
        let end = (first + length / sector_bytes).min(layout.whole_sectors());
        let header = (HEADER_PAGES * PAGE_SIZE) as u64;
        Ok((first < end).then_some(Pending {
            channel: number,
            client: session.client,
            number: request.number,
            layout,
            first,
            next: first,
            end,
            place: (header + place) / sector_bytes,
            parts: 0,
            error: None,
        }))
    }

    /// Asks the disk for what was held back, in order.
    fn send_held(&self) {
        loop {
            let first = self.table.borrow().held.front().copied();
            let Some(place) = first else { return };
            self.table.borrow_mut().held.pop_front();
            if !self.send(place) {
                return;
            }
        }
    }

    /// Asks the disk for what is to be read for a request. If there is no room for all of it, the rest is held back, before
    /// what else is; whether there was.
    fn send(&self, place: usize) -> bool {
        let mut table = self.table.borrow_mut();
        let table = &mut *table;
        let Some(Some(pending)) = table.places.get_mut(place) else { return true };
        let Some(channel) = self.channels.get(pending.channel) else { return true };
        while pending.next < pending.end && pending.error.is_none() {
            let Some((sector, together)) = pending.layout.find(pending.next) else {
                pending.error = Some(ReadError::DeviceFailed);
                break;
            };
            let count = together.min(pending.end - pending.next).min(self.most_sectors.into());
            let to = pending.place + (pending.next - pending.first);
            let (page, skip) = (to / u64::from(SECTORS_PER_PAGE), to % u64::from(SECTORS_PER_PAGE));
            let request = block_ring::Request::read(sector, count as u32, page as u32);
            let request = request.in_area(channel.area).behind(skip as u16);
            let passed =
                if table.parts < MOST { self.ring.pass(request, place as u64) } else { Err(Unavailable::Later) };
            match passed {
                Ok(()) => {
                    pending.next += count;
                    pending.parts += 1;
                    table.parts += 1;
                }
                Err(Unavailable::Later) => {
                    table.held.push_front(place);
                    return false;
                }
                Err(Unavailable::Never(error)) => pending.error = Some(explain(error)),
            }
        }
        self.end(table, place);
        true
    }

    /// Answers a request for which nothing is under way or to be done any more.
    fn end(&self, table: &mut Table, place: usize) {
        let Some(entry) = table.places.get_mut(place) else { return };
        let is_over =
            |pending: &mut Pending| pending.parts == 0 && (pending.next >= pending.end || pending.error.is_some());
        let Some(pending) = entry.take_if(is_over) else { return };
        table.free.push(place);
        if pending.error.is_some() {
            table.held.retain(|held| *held != place);
        }
        let Some(channel) = self.channels.get(pending.channel) else { return };
        channel.under_way.set(channel.under_way.get() - 1);
        let bytes = (pending.end - pending.first) * SECTOR_SIZE as u64;
        let result = pending.error.map_or(Ok(bytes as u32), Err);
        let mut session = channel.session.borrow_mut();
        if let Some(session) = session.as_mut().filter(|session| session.client == pending.client) {
            session.answer(Completion::new(pending.number, result));
        }
        self.ended.signal();
    }
}

impl Session {
    fn answer(&mut self, completion: Completion) {
        // Room was made sure of when the request was taken; a client that has broken the queue since gets nothing.
        if let Err(error) = self.completions.push(&completion) {
            log::debug!("a client cannot be told of a completion: {error}");
        }
    }
}

impl Channel {
    fn notify(&self) {
        if let Err(error) = self.peer.notify() {
            log::debug!("a client of direct reading could not be notified: {error}");
        }
    }

    /// Tells the client of completions that it waits for.
    fn tell(&self) {
        let must = self.session.borrow_mut().as_mut().is_some_and(|session| session.completions.must_notify());
        if must {
            self.notify();
        }
    }
}

impl block_ring::Sender for Direct {
    fn completed(&self, number: u64, outcome: Result<(), RequestError>) {
        let mut table = self.table.borrow_mut();
        let table = &mut *table;
        let place = number as usize;
        if let Some(Some(pending)) = table.places.get_mut(place) {
            pending.parts -= 1;
            table.parts -= 1;
            if let Err(error) = outcome {
                pending.error = pending.error.or(Some(explain(error)));
            }
            self.end(table, place);
        }
    }

    fn settled(&self) {
        self.pump();
    }
}

fn explain(error: RequestError) -> ReadError {
    match error {
        RequestError::NoDevice => ReadError::NoDisk,
        _ => ReadError::DeviceFailed,
    }
}

const _: () = assert!(file_ring::SECTOR == SECTOR_SIZE && file_ring::PAGE == PAGE_SIZE);
