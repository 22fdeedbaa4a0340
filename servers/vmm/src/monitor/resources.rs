//! What the monitor was given for its guest.

use alloc::format;
use alloc::string::{String, ToString};
use manifest::Guest;
use userlib::Environment;
use userlib::cap::{Account, Cap, Domain, Memory, Notification};
use userlib::guest::layout;
use userlib::memory::AddressSpace;

/// Bytes of a page.
const PAGE: u64 = 4096;

/// Everything that a guest is made of.
#[derive(Debug)]
pub(crate) struct Resources {
    /// What the manifest says.
    pub(crate) settings: Guest,
    /// Its kernel.
    pub(crate) kernel: &'static [u8],
    /// Its first files.
    pub(crate) initrd: Option<&'static [u8]>,
    /// Its memory, and behind that what the kernel and the processors' threads need.
    pub(crate) memory: Cap<Memory>,
    pub(crate) account: Cap<Account>,
    pub(crate) domain: Cap<Domain>,
    pub(crate) own_space: AddressSpace,
    /// The notification of the monitor's own thread.
    pub(crate) notification: Cap<Notification>,
    /// Seconds since 1970 when the machine was booted.
    pub(crate) boot_time: u64,
}

impl Resources {
    /// Finds them.
    ///
    /// # Errors
    /// In words, what is missing.
    pub(crate) fn find(environment: &'static Environment) -> Result<Self, String> {
        let settings = environment.constant("guest").map_err(|missing| missing.to_string())?;
        let settings = Guest::decode(settings).map_err(|error| format!("what the guest is cannot be read: {error}"))?;
        let memory = environment.memory("guest-memory").map_err(|missing| missing.to_string())?;
        let info = memory.memory_info().map_err(|error| format!("the guest's memory cannot be used: {error}"))?;
        let needed = settings.memory / PAGE + layout::overhead(settings.memory, settings.processors);
        if info.pages < needed {
            return Err(format!("the guest's memory has {} pages, and it takes {needed}", info.pages));
        }
        let missing = |what: &str| format!("the monitor was not given its {what}");
        Ok(Self {
            settings,
            kernel: environment.constant("kernel").map_err(|missing| missing.to_string())?,
            initrd: environment.constant("initrd").ok(),
            memory,
            account: environment.account().ok_or_else(|| missing("account"))?,
            domain: environment.domain().ok_or_else(|| missing("domain"))?,
            own_space: environment.address_space().ok_or_else(|| missing("space"))?.clone(),
            notification: environment.notification().ok_or_else(|| missing("notification"))?,
            boot_time: environment.page().boot_time,
        })
    }

    /// The first page behind the guest's own memory.
    pub(crate) fn kernel_pages(&self) -> core::ops::Range<u64> {
        let first = self.settings.memory / PAGE;
        first..first + layout::kernel_pages(self.settings.memory, self.settings.processors)
    }

    /// The first page of the thread behind the processor with this number.
    pub(crate) fn thread_page(&self, processor: u8) -> u64 {
        self.kernel_pages().end + u64::from(processor) * layout::THREAD_PAGES
    }
}
