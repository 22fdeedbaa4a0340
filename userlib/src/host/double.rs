//! Doubles of servers, with which a server's logic runs in a test as it does in its domain.

use super::{Faults, Loopback, loopback};
use crate::cap::{Cap, Endpoint};
use crate::executor::Reactor;
use crate::ipc::Service;
use abi::Handle;
use std::boxed::Box;
use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::rc::Rc;

/// What makes the next instance of a server.
type Maker = Box<dyn Fn() -> Rc<dyn Service>>;

/// A server behind the endpoints of a [`Loopback`].
pub(super) struct Served {
    service: RefCell<Rc<dyn Service>>,
    /// Without it, a server's state survives its death.
    maker: Option<Maker>,
    instances: Cell<u64>,
    received: Cell<u64>,
    /// Where it works when another server calls it.
    reactor: OnceCell<Rc<Reactor>>,
    pub(super) faults: Faults,
}

impl Served {
    pub(super) fn new(service: Rc<dyn Service>, maker: Option<Maker>) -> Self {
        let (instances, received) = (Cell::new(1), Cell::new(0));
        let reactor = OnceCell::new();
        Self { service: RefCell::new(service), maker, instances, received, reactor, faults: Faults::none() }
    }

    /// The executor of its own thread.
    pub(super) fn reactor(&self) -> Rc<Reactor> {
        self.reactor.get_or_init(|| Rc::new(Reactor::new())).clone()
    }

    pub(super) fn service(&self) -> Rc<dyn Service> {
        self.service.borrow().clone()
    }

    /// A call has come.
    pub(super) fn receive(&self) -> Rc<dyn Service> {
        self.received.set(self.received.get() + 1);
        self.service()
    }

    /// The server is dead; long live the server.
    pub(super) fn die(&self) {
        self.instances.set(self.instances.get() + 1);
        if let Some(maker) = &self.maker {
            let next = maker();
            *self.service.borrow_mut() = next;
        }
    }
}

/// A server in a test, in the thread of the test. [`macro@crate::interface`] makes of each interface a typed one, such as
/// `EchoDouble`, which is used as this.
///
/// ```
/// # use userlib::interface;
/// # use userlib::ipc::Caller;
/// /// Counts.
/// #[interface(name = "counter", version = 1)]
/// trait Counter {
///     /// One more.
///     fn increment() -> u64;
/// }
///
/// #[derive(Default)]
/// struct Count(std::cell::Cell<u64>);
///
/// impl CounterServer for Count {
///     async fn increment(&self, _: &Caller) -> u64 {
///         self.0.set(self.0.get() + 1);
///         self.0.get()
///     }
/// }
///
/// use userlib::host::Fault;
/// use userlib::ipc::CallError;
///
/// let double = CounterDouble::new(Count::default());
/// assert_eq!(double.client().increment(), Ok(1));
/// double.faults().plan(Fault::DiesAfter);
/// assert_eq!(double.client().increment(), Err(CallError::ServerDied));
/// assert_eq!(double.client().increment(), Ok(3), "it was carried out, and its answer was lost");
/// ```
///
/// Calls of its clients go through a [`Loopback`]: registers, message buffer, leases and capabilities as on the machine.
/// All doubles of a thread share one, so that a server under test may call the doubles of others. It is the one that
/// [`super::with`] has put in place, if there is one, and otherwise one of the thread's own that lives as long as its
/// doubles. Its clock stands still but when somebody waits, so that no test takes as long as what it waits for.
pub struct Double {
    kernel: Rc<Loopback>,
    served: Rc<Served>,
    endpoints: RefCell<Vec<Handle>>,
}

impl Double {
    /// A double of a service whose state survives its deaths.
    pub fn new(service: impl Service + 'static) -> Self {
        Self::of(Served::new(Rc::new(service), None))
    }

    /// A double of services of which `make` makes one at once and another one after each death.
    pub fn restarting<S: Service + 'static>(make: impl Fn() -> S + 'static) -> Self {
        let first = Rc::new(make());
        Self::of(Served::new(first, Some(Box::new(move || Rc::new(make())))))
    }

    fn of(served: Served) -> Self {
        Self { kernel: loopback(), served: Rc::new(served), endpoints: RefCell::default() }
    }

    /// An endpoint of the server, as a client with this badge has it.
    pub fn endpoint(&self, badge: u64) -> Cap<Endpoint> {
        let endpoint = self.kernel.next_endpoint();
        self.kernel.open(endpoint, self.served.clone(), Some(badge));
        self.endpoints.borrow_mut().push(endpoint);
        Cap::from_handle(endpoint)
    }

    /// What goes wrong.
    pub fn faults(&self) -> &Faults {
        &self.served.faults
    }

    /// How many instances of the server there have been, the present one included.
    pub fn instances(&self) -> u64 {
        self.served.instances.get()
    }

    /// How many calls have reached the server, whatever became of them.
    pub fn received(&self) -> u64 {
        self.served.received.get()
    }

    /// The kernel's double.
    pub fn kernel(&self) -> &Loopback {
        &self.kernel
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        for endpoint in self.endpoints.borrow().iter() {
            self.kernel.close(*endpoint);
        }
    }
}

impl fmt::Debug for Double {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (instances, received) = (self.instances(), self.received());
        f.debug_struct("Double")
            .field("instances", &instances)
            .field("received", &received)
            .field("faults", self.faults())
            .finish_non_exhaustive()
    }
}
