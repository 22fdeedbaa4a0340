//! What the programs of all drivers have in common.

use crate::AttachError;
use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use core::any::Any;
use core::cell::Cell;
use core::convert::Infallible;
use core::fmt;
use core::future::{Future, pending, poll_fn};
use core::pin::{Pin, pin};
use core::task::Poll;
use userlib::cap::Cap;
use userlib::environment::NotGiven;
use userlib::ipc::server::Service;
use userlib::start::EntryKind;
use userlib::status::{self, Phase};
use userlib::sync::Event;
use userlib::time::Duration;
use userlib::{Environment, executor, log};

/// How long a driver that has failed says so before it is started again: its device may have come back, or been told nonsense
/// about it.
const TRY_AGAIN: Duration = Duration::from_secs(10);

/// What a driver's function can have as its argument.
#[diagnostic::on_unimplemented(
    message = "a driver cannot be given a `{Self}`",
    note = "its argument is a `PciDevice`, a `LegacyDevice`, a `Result` of one of them with `AttachError`, or the \
            `&'static Environment`"
)]
pub trait Given: Clone + 'static {
    /// Gets it from what the domain was given.
    ///
    /// # Errors
    /// [`AttachError`].
    fn given(environment: &'static Environment) -> Result<Self, AttachError>;

    /// Brings it to rest: no interrupts, no accesses to memory.
    fn quiesce(&self);
}

/// For a driver that has something to say without its device too.
impl<D: Given> Given for Result<D, AttachError> {
    fn given(environment: &'static Environment) -> Result<Self, AttachError> {
        Ok(D::given(environment))
    }

    fn quiesce(&self) {
        if let Ok(device) = self {
            device.quiesce();
        }
    }
}

/// For what stands for a whole bus.
impl Given for &'static Environment {
    fn given(environment: &'static Environment) -> Result<Self, AttachError> {
        Ok(environment)
    }

    fn quiesce(&self) {}
}

/// A driver at work.
pub struct Running {
    rest: Pin<Box<dyn Future<Output = ()>>>,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Running")
    }
}

impl Running {
    /// What the driver itself does when it is asked to come to rest, such as finishing what is under way. Afterwards the
    /// device is quieted.
    pub fn at_rest(self, rest: impl Future<Output = ()> + 'static) -> Self {
        Self { rest: Box::pin(rest) }
    }
}

/// Makes the domain serve the interface of `service`, which is among those that the manifest says it `provides`. Clients
/// are answered from now on.
///
/// # Errors
/// [`AttachError::NotGiven`] if the manifest does not say so.
pub fn serve(service: impl Service + 'static) -> Result<Running, AttachError> {
    let name = "of the interface that its driver serves";
    let missing = AttachError::NotGiven(NotGiven { kind: "endpoint", name });
    let provided = Environment::current().and_then(|environment| {
        let mut entries = environment.page().entries_of(EntryKind::Provides);
        entries.find(|entry| entry.interface == service.interface())
    });
    let endpoint = Cap::from_handle(provided.ok_or(missing)?.handle());
    if let Err(error) = executor::serve(endpoint, service) {
        log::error!("{error}");
    }
    Ok(Running { rest: Box::pin(async {}) })
}

/// What became of a driver's function, once it has returned.
struct Outcome<T> {
    result: Cell<Option<T>>,
    returned: Event,
}

impl<T: 'static> Outcome<T> {
    /// Runs the function as a task of its own: it waits for bits of the notification, and so does whoever waits for it.
    fn of(function: impl Future<Output = T> + 'static) -> Rc<Self> {
        let outcome = Rc::new(Outcome { result: Cell::new(None), returned: Event::new() });
        let task = outcome.clone();
        executor::spawn(async move {
            task.result.set(Some(function.await));
            task.returned.signal();
        });
        outcome
    }

    async fn get(&self) -> T {
        loop {
            let returned = self.returned.next();
            if let Some(result) = self.result.take() {
                return result;
            }
            returned.await;
        }
    }
}

/// Carries a driver out: what [`macro@crate::driver`] makes the domain's program.
pub fn run<D, F, E>(environment: &'static Environment, attach: impl FnOnce(D) -> F + 'static) -> !
where
    D: Given,
    F: Future<Output = Result<Running, E>> + 'static,
    E: fmt::Display + 'static,
{
    // The function's task is there before the executor runs. What it does before it first waits, it does before anything
    // from outside is looked at: a request to break that was meant for its predecessor, for example.
    match D::given(environment) {
        Ok(device) => {
            let outcome = Outcome::of(attach(device.clone()));
            match executor::run(drive(device, outcome)) {}
        }
        Err(error) => {
            try_again_after(&error);
            match executor::run(at_rest(Some(&error))) {}
        }
    }
}

/// Has the domain started again, as its restart policy says, because its driver has failed: at once if what went wrong lies with
/// another domain, else after ten seconds, until when the driver may tell its clients why it does not work.
pub fn try_again_after<E: fmt::Display + 'static>(error: &E) {
    let reason = format!("{error}");
    let error: &dyn Any = error;
    if error.downcast_ref::<AttachError>().is_some_and(AttachError::may_pass) {
        panic!("{reason}");
    }
    executor::spawn(async move {
        executor::sleep(TRY_AGAIN).await;
        panic!("{reason}; another start may help");
    });
}

async fn drive<E: fmt::Display + 'static>(device: impl Given, outcome: Rc<Outcome<Result<Running, E>>>) -> Infallible {
    let mut shutdown = pin!(executor::shutdown_requested());
    let outcome = {
        let mut outcome = pin!(outcome.get());
        // The supervisor may ask while the device is still being brought to work.
        poll_fn(|context| {
            if let Poll::Ready(outcome) = outcome.as_mut().poll(context) {
                return Poll::Ready(Some(outcome));
            }
            shutdown.as_mut().poll(context).map(|()| None)
        })
        .await
    };
    // Until it is started again, a driver that has failed is at rest too.
    let mut failure = None;
    match outcome {
        Some(Ok(running)) => {
            shutdown.await;
            running.rest.await;
        }
        Some(Err(error)) => {
            try_again_after(&error);
            failure = Some(error);
        }
        None => {}
    }
    device.quiesce();
    at_rest(failure.as_ref()).await
}

/// Says that the domain is at rest, and does nothing any more.
async fn at_rest(error: Option<&impl fmt::Display>) -> Infallible {
    if let Some(error) = error {
        log::error!("{error}");
    }
    status::set_phase(Phase::Stopped);
    pending().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use interfaces::pci::PciError;
    use userlib::ipc::RetriedError;

    #[test]
    #[should_panic(expected = "the PCI server could not give the device's registers")]
    fn a_driver_that_another_domain_has_failed_is_started_again_at_once() {
        try_again_after(&AttachError::Pci {
            step: "give the device's registers",
            error: RetriedError::Failed(PciError::NoDevice),
        });
    }

    #[test]
    #[should_panic(expected = "the device cannot be used: it is broken; another start may help")]
    fn a_driver_whose_device_is_of_no_use_says_so_for_a_while_before_it_is_started_again() {
        try_again_after(&AttachError::Unfit("it is broken"));
        executor::run(executor::sleep(TRY_AGAIN / 2));
        executor::run(executor::sleep(TRY_AGAIN));
    }
}
