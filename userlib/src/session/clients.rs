//! One value for each client.

use super::{ClientId, Register};
use crate::environment::Environment;
use crate::executor;
use crate::ipc::Caller;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt;

/// The client is dead: nothing is kept for it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientGone;

impl fmt::Display for ClientGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client is gone")
    }
}

impl core::error::Error for ClientGone {}

/// A value of each client: made at the first call of it, let go of after its death. There are as many as the manifest lets
/// use the server; how much a client can put into its own is for the value to limit.
///
/// Values of dead clients go when [`Clients::departed`] is asked, which a task of the server does for ever; or
/// [`Clients::forget_departed`], if letting go of a value is all that there is to do.
pub struct Clients<S> {
    make: Box<dyn Fn(ClientId) -> S>,
    register: Option<Register<'static>>,
    states: RefCell<BTreeMap<ClientId, Rc<S>>>,
}

impl<S: fmt::Debug> fmt::Debug for Clients<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").field("states", &self.states).finish_non_exhaustive()
    }
}

impl<S: Default> Default for Clients<S> {
    fn default() -> Self {
        Self::new(|_| S::default())
    }
}

impl<S> Clients<S> {
    /// Clients whose values `make` makes, and of whose deaths the domain's own register tells.
    pub fn new(make: impl Fn(ClientId) -> S + 'static) -> Self {
        Self::with_register(Environment::current().and_then(Environment::clients), make)
    }

    /// Clients of whose deaths this register tells, or none.
    pub fn with_register(register: Option<Register<'static>>, make: impl Fn(ClientId) -> S + 'static) -> Self {
        Self { make: Box::new(make), register, states: RefCell::new(BTreeMap::new()) }
    }

    fn is_gone(&self, client: ClientId, states: &BTreeMap<ClientId, Rc<S>>) -> bool {
        // A domain lives one life at a time.
        let later = ClientId::new(client.domain(), client.instance().saturating_add(1));
        let last = ClientId::new(client.domain(), u32::MAX);
        let has_successor = later > client && states.range(later..=last).next().is_some();
        has_successor || self.register.is_some_and(|register| register.is_gone(client))
    }

    /// The value of whoever made a call.
    ///
    /// # Errors
    /// [`ClientGone`]: the call is of a client that has died meanwhile.
    pub fn of(&self, caller: &Caller) -> Result<Rc<S>, ClientGone> {
        self.of_client(caller.client())
    }

    /// The value of a client.
    ///
    /// # Errors
    /// [`ClientGone`].
    pub fn of_client(&self, client: ClientId) -> Result<Rc<S>, ClientGone> {
        {
            let states = self.states.borrow();
            if self.is_gone(client, &states) {
                return Err(ClientGone);
            }
            if let Some(state) = states.get(&client) {
                return Ok(state.clone());
            }
        }
        let state = Rc::new((self.make)(client));
        self.states.borrow_mut().insert(client, state.clone());
        Ok(state)
    }

    /// The value of a client, if it has any.
    pub fn find(&self, client: ClientId) -> Option<Rc<S>> {
        self.states.borrow().get(&client).cloned()
    }

    /// How many clients have a value.
    pub fn count(&self) -> usize {
        self.states.borrow().len()
    }

    /// Takes out the values of clients that are dead.
    pub fn take_departed(&self) -> Vec<(ClientId, Rc<S>)> {
        let mut states = self.states.borrow_mut();
        let gone: Vec<ClientId> = states.keys().copied().filter(|client| self.is_gone(*client, &states)).collect();
        gone.into_iter().filter_map(|client| Some((client, states.remove(&client)?))).collect()
    }

    /// Waits until clients are dead, and takes their values out: one at least. Calls of them may still have a share in
    /// these; the executor drops the calls as well.
    pub async fn departed(&self) -> Vec<(ClientId, Rc<S>)> {
        loop {
            let gone = self.take_departed();
            if !gone.is_empty() {
                return gone;
            }
            executor::client_departed().await;
        }
    }

    /// Lets go of the values of dead clients, for ever.
    pub async fn forget_departed(&self) {
        loop {
            drop(self.departed().await);
        }
    }
}
