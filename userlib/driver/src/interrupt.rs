//! Interrupts as futures.

use alloc::rc::Rc;
use core::cell::Cell;
use userlib::abi::Error;
use userlib::environment::InterruptEvents;
use userlib::log;

/// Where an interrupt comes from.
#[derive(Debug)]
enum Source {
    /// A line, which the kernel masks until it is acknowledged.
    Line(InterruptEvents),
    /// Messages, which come whatever is acknowledged.
    Messages(InterruptEvents),
    #[cfg(not(target_os = "none"))]
    Double(Rc<crate::double::Line>),
}

/// An interrupt of the device. It is one task's at a time: with several that wait, one of them gets it.
#[derive(Clone, Debug)]
pub struct Interrupt(Rc<State>);

#[derive(Debug)]
struct State {
    source: Source,
    count: Cell<u64>,
}

impl Interrupt {
    pub(crate) fn of_line(events: InterruptEvents) -> Self {
        Self(Rc::new(State { source: Source::Line(events), count: Cell::new(0) }))
    }

    pub(crate) fn of_messages(events: InterruptEvents) -> Self {
        Self(Rc::new(State { source: Source::Messages(events), count: Cell::new(0) }))
    }

    #[cfg(not(target_os = "none"))]
    pub(crate) fn of_double(line: Rc<crate::double::Line>) -> Self {
        Self(Rc::new(State { source: Source::Double(line), count: Cell::new(0) }))
    }

    /// Waits until the device has raised it since the last time.
    ///
    /// When this returns, the next one may come already: an event that happens while the driver looks at the device is
    /// never lost, at the price that the driver sometimes finds nothing to do. So look at *everything* that it could
    /// mean, and then wait again.
    pub async fn next(&self) {
        match &self.0.source {
            Source::Messages(events) => events.next().await,
            Source::Line(events) => {
                events.next().await;
                // In this order, before anybody looks at the device: an edge that comes while the line is masked is lost.
                if let Err(error) = events.acknowledge() {
                    log::error!("an interrupt cannot be acknowledged, so that no further one will come: {error}");
                }
            }
            #[cfg(not(target_os = "none"))]
            Source::Double(line) => line.next().await,
        }
        self.0.count.set(self.0.count.get() + 1);
    }

    /// Waits until `is_so`: looks at once, and again after each interrupt.
    pub async fn until(&self, is_so: impl Fn() -> bool) {
        while !is_so() {
            self.next().await;
        }
    }

    /// How often it was waited for with success.
    pub fn count(&self) -> u64 {
        self.0.count.get()
    }

    /// Holds it back for good.
    pub(crate) fn mask(&self) -> Result<(), Error> {
        match &self.0.source {
            Source::Line(events) | Source::Messages(events) => events.interrupt().mask(),
            #[cfg(not(target_os = "none"))]
            Source::Double(_) => Ok(()),
        }
    }
}
