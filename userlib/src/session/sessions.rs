//! Things that clients open and close.

use super::{ClientGone, Clients, Register};
use crate::environment::Environment;
use crate::ipc::Caller;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt;

/// The number by which a client names something that it has opened. It names the server's instance too, so that one that a
/// former instance has given out is never taken for one of this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(u64);

impl SessionId {
    const fn new(instance: u32, number: u32) -> Self {
        Self((instance as u64) << 32 | number as u64)
    }

    /// From what a client says.
    pub const fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// For the client.
    pub const fn to_number(self) -> u64 {
        self.0
    }
}

/// No such session: it is closed, another client's, or one of a former instance of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownSession;

impl fmt::Display for UnknownSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server does not know this session: it is closed, or the server was started again")
    }
}

impl core::error::Error for UnknownSession {}

/// Why nothing can be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The client has as much open as it may.
    TooMany,
    /// The client is dead.
    ClientGone,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::TooMany => f.write_str("the client has as much open as it may"),
            OpenError::ClientGone => ClientGone.fmt(f),
        }
    }
}

impl core::error::Error for OpenError {}

impl From<ClientGone> for OpenError {
    fn from(_: ClientGone) -> Self {
        OpenError::ClientGone
    }
}

/// What one client has open.
struct Opened<T> {
    things: RefCell<BTreeMap<u32, Rc<T>>>,
    /// Places for things that are about to be opened.
    reserved: Cell<usize>,
    /// The client is dead and what it had open was taken out.
    closed: Cell<bool>,
}

/// Things that clients open and close, such as files: each client has its own, so many at most, until it closes them or dies.
pub struct Sessions<T> {
    instance: u32,
    limit: usize,
    next: Cell<u32>,
    clients: Clients<Opened<T>>,
}

impl<T> fmt::Debug for Sessions<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { instance, limit, .. } = self;
        f.debug_struct("Sessions").field("instance", instance).field("limit", limit).finish_non_exhaustive()
    }
}

impl<T> Sessions<T> {
    /// At most `limit` things of each client of this domain.
    pub fn new(limit: usize) -> Self {
        let environment = Environment::current();
        let instance = environment.map_or(0, |environment| environment.page().instance);
        Self::of_instance(instance, limit, environment.and_then(Environment::clients))
    }

    /// The same for a given instance of the server, and a given register of its clients.
    pub fn of_instance(instance: u32, limit: usize, register: Option<Register<'static>>) -> Self {
        let make =
            |_| Opened { things: RefCell::new(BTreeMap::new()), reserved: Cell::new(0), closed: Cell::new(false) };
        Self { instance, limit, next: Cell::new(1), clients: Clients::with_register(register, make) }
    }

    /// Sets a place aside for something that the caller is about to open: what takes long to open counts from its beginning.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn reserve(&self, caller: &Caller) -> Result<Place<'_, T>, OpenError> {
        let opened = self.clients.of(caller)?;
        if opened.things.borrow().len() + opened.reserved.get() >= self.limit {
            return Err(OpenError::TooMany);
        }
        opened.reserved.set(opened.reserved.get() + 1);
        Ok(Place { sessions: self, opened })
    }

    /// Keeps something that the caller has opened.
    ///
    /// # Errors
    /// [`OpenError`]; the thing is dropped.
    pub fn open(&self, caller: &Caller, thing: T) -> Result<SessionId, OpenError> {
        self.reserve(caller)?.open(thing).map_err(|_| OpenError::ClientGone)
    }

    fn number_of(&self, id: SessionId) -> Result<u32, UnknownSession> {
        let number = id.0 as u32;
        if id == SessionId::new(self.instance, number) { Ok(number) } else { Err(UnknownSession) }
    }

    /// What the caller has opened under a number.
    ///
    /// # Errors
    /// [`UnknownSession`].
    pub fn find(&self, caller: &Caller, id: SessionId) -> Result<Rc<T>, UnknownSession> {
        let number = self.number_of(id)?;
        let opened = self.clients.find(caller.client()).ok_or(UnknownSession)?;
        let found = opened.things.borrow().get(&number).cloned();
        found.ok_or(UnknownSession)
    }

    /// Takes out what the caller has opened under a number.
    ///
    /// # Errors
    /// [`UnknownSession`].
    pub fn close(&self, caller: &Caller, id: SessionId) -> Result<Rc<T>, UnknownSession> {
        let number = self.number_of(id)?;
        let opened = self.clients.find(caller.client()).ok_or(UnknownSession)?;
        let found = opened.things.borrow_mut().remove(&number);
        found.ok_or(UnknownSession)
    }

    /// How much the caller has open.
    pub fn count(&self, caller: &Caller) -> usize {
        self.clients.find(caller.client()).map_or(0, |opened| opened.things.borrow().len())
    }

    /// Waits until clients are dead, and takes out what they had open. A task of the server asks for ever, and does what
    /// closing a thing takes.
    pub async fn departed(&self) -> Vec<Rc<T>> {
        let gone = self.clients.departed().await;
        let mut things = Vec::new();
        for (_, opened) in gone {
            opened.closed.set(true);
            things.extend(opened.things.take().into_values());
        }
        things
    }
}

/// A place for something that is about to be opened; dropping it gives it back.
pub struct Place<'a, T> {
    sessions: &'a Sessions<T>,
    opened: Rc<Opened<T>>,
}

impl<T> fmt::Debug for Place<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").finish_non_exhaustive()
    }
}

impl<T> Place<'_, T> {
    /// Keeps what was opened.
    ///
    /// # Errors
    /// The thing itself, if the client has died meanwhile: nobody else is going to close it.
    pub fn open(self, thing: T) -> Result<SessionId, T> {
        if self.opened.closed.get() {
            return Err(thing);
        }
        let mut things = self.opened.things.borrow_mut();
        let mut number = self.sessions.next.get();
        while things.contains_key(&number) {
            number = number.wrapping_add(1);
        }
        self.sessions.next.set(number.wrapping_add(1));
        things.insert(number, Rc::new(thing));
        Ok(SessionId::new(self.sessions.instance, number))
    }
}

impl<T> Drop for Place<'_, T> {
    fn drop(&mut self) {
        self.opened.reserved.set(self.opened.reserved.get() - 1);
    }
}
