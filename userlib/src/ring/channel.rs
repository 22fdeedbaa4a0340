//! A ring as tasks use it.

use super::{AttachError, Broken, Consumer, Element, Producer, PushError};
use crate::environment::RingResources;
use crate::executor::{self, Events};
use crate::memory::SharedMemory;

/// The sending side: a [`Producer`] that waits for room, and tells its peer.
#[derive(Debug)]
pub struct Sender<T> {
    ring: Producer<T, SharedMemory<'static>>,
    resources: RingResources,
    events: Events,
}

impl<T: Element> Sender<T> {
    /// Sends through the ring that the domain was given.
    ///
    /// # Errors
    /// [`AttachError::TooShort`].
    pub fn attach(resources: RingResources) -> Result<Self, AttachError> {
        let ring = Producer::attach(resources.shared)?;
        let mut sender = Self { ring, resources, events: executor::events(resources.bits) };
        // A former instance may have died before it could.
        sender.tell();
        Ok(sender)
    }

    /// Sends a value; waits for room if there is none.
    ///
    /// # Errors
    /// [`Broken`].
    pub async fn send(&mut self, value: &T) -> Result<(), Broken> {
        loop {
            match self.try_send(value) {
                Ok(()) => return Ok(()),
                Err(PushError::Broken) => return Err(Broken),
                Err(PushError::Full) if self.ring.may_wait()? => {
                    self.events.next().await;
                }
                Err(PushError::Full) => {}
            }
        }
    }

    /// Sends a value if there is room.
    ///
    /// # Errors
    /// [`PushError`].
    pub fn try_send(&mut self, value: &T) -> Result<(), PushError> {
        self.ring.push(value)?;
        self.tell();
        Ok(())
    }

    /// Sends as many of the values as there is room for, with one notification at most, and says how many.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn send_some(&mut self, values: &[T]) -> Result<usize, Broken> {
        let mut sent = 0;
        for value in values {
            match self.ring.push(value) {
                Ok(()) => sent += 1,
                Err(PushError::Full) => break,
                Err(PushError::Broken) => return Err(Broken),
            }
        }
        self.tell();
        Ok(sent)
    }

    /// Says that its task is about to wait for room by the ring's bits itself, and tells whether it may: if there is none.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn may_wait(&mut self) -> Result<bool, Broken> {
        self.ring.may_wait()
    }

    fn tell(&mut self) {
        // A peer that is not there finds the values when it comes back.
        if self.ring.must_notify()
            && let Err(error) = self.resources.peer.notify()
        {
            log::debug!("the receiver of a ring could not be notified: {error}");
        }
    }
}

/// The receiving side: a [`Consumer`] that waits for values, and tells its peer.
#[derive(Debug)]
pub struct Receiver<T> {
    ring: Consumer<T, SharedMemory<'static>>,
    resources: RingResources,
    events: Events,
}

impl<T: Element> Receiver<T> {
    /// Receives through the ring that the domain was given.
    ///
    /// # Errors
    /// [`AttachError`].
    pub fn attach(resources: RingResources) -> Result<Self, AttachError> {
        let ring = Consumer::attach(resources.shared)?;
        let mut receiver = Self { ring, resources, events: executor::events(resources.bits) };
        // A former instance may have died before it could.
        receiver.tell();
        Ok(receiver)
    }

    /// The next value; waits for one if there is none. Any bytes are a value: check it.
    ///
    /// # Errors
    /// [`Broken`].
    pub async fn receive(&mut self) -> Result<T, Broken> {
        loop {
            if let Some(value) = self.try_receive()? {
                return Ok(value);
            }
            if self.ring.may_wait()? {
                self.events.next().await;
            }
        }
    }

    /// The next value, if there is one.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn try_receive(&mut self) -> Result<Option<T>, Broken> {
        let value = self.ring.pop()?;
        if value.is_some() {
            self.tell();
        }
        Ok(value)
    }

    /// How many values are there now.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn available(&mut self) -> Result<usize, Broken> {
        self.ring.available()
    }

    /// Says that its task is about to wait for values by the ring's bits itself, and tells whether it may: if there are none.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn may_wait(&mut self) -> Result<bool, Broken> {
        self.ring.may_wait()
    }

    fn tell(&mut self) {
        if self.ring.must_notify()
            && let Err(error) = self.resources.peer.notify()
        {
            log::debug!("the sender of a ring could not be notified: {error}");
        }
    }
}
