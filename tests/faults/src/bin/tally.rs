//! The server `tally`: keeps what workloads report, for whoever must not wait for them.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::collections::BTreeMap;
use core::cell::RefCell;
use faults::tally::{Progress, TallyServer, TallyService};
use userlib::ipc::Caller;

userlib::entry!(|environment| environment.serve("tally", TallyService::new(Reports::default())));

/// The latest report of each workload.
#[derive(Default)]
struct Reports(RefCell<BTreeMap<u64, Progress>>);

impl TallyServer for Reports {
    async fn report(&self, caller: &Caller, progress: Progress) {
        self.0.borrow_mut().insert(caller.badge(), progress);
    }

    async fn read(&self, _: &Caller) -> Progress {
        self.0.borrow().values().fold(Progress::default(), |sum, progress| sum.plus(*progress))
    }
}
