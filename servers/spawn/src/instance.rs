//! A living domain.

use abi::Error;
use userlib::cap::{Budget, Cap, Domain, Owned, Space, Thread};

/// One instance of a domain: what is made anew at each start.
#[derive(Debug)]
pub struct Instance {
    domain: Owned<Domain>,
    space: Owned<Space>,
    device_space: Option<Owned<Space>>,
    budget: Owned<Budget>,
    thread: Owned<Thread>,
    processor: u8,
}

impl Instance {
    pub(crate) fn new(
        domain: Owned<Domain>,
        space: Owned<Space>,
        device_space: Option<Owned<Space>>,
        budget: Owned<Budget>,
        thread: Owned<Thread>,
        processor: u8,
    ) -> Self {
        Instance { domain, space, device_space, budget, thread, processor }
    }

    /// The domain.
    pub fn domain(&self) -> Cap<Domain> {
        self.domain.cap()
    }

    /// Its first thread.
    pub fn thread(&self) -> Cap<Thread> {
        self.thread.cap()
    }

    /// The processor on which that thread runs on its own behalf: the manifest's, or 0 if the machine has no such one.
    pub fn processor(&self) -> u8 {
        self.processor
    }

    /// Takes it apart: its device sees nothing any more, its threads end, calls it had taken return `PeerDied`, its capabilities and mappings go, and
    /// the pages of its page tables are free again. Calls that wait at its endpoints go on waiting for the next one.
    ///
    /// # Errors
    /// The kernel's, at the first step that fails; whoever destroys it again goes on from there.
    pub fn destroy(self) -> Result<(), Error> {
        // First of all: what is freed from here on is used again.
        if let Some(space) = self.device_space {
            space.destroy()?;
        }
        self.domain.destroy()?;
        // The thread on it was the last to need it, and nobody else has been given it: it goes with its capability.
        drop(self.budget);
        self.space.destroy()
    }
}
