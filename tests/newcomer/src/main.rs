//! Says that it has arrived, and waits for ever.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use newcomer::ArrivalsClient;
use userlib::thread;
use userlib::time::Deadline;

userlib::entry!(|environment| {
    let arrivals = ArrivalsClient::new(environment.connection("arrivals")).with_deadline(Deadline::NEVER);
    // Whether anybody has heard of it or not: there is nothing else to do.
    let _ = arrivals.arrived(environment.page().instance.into());
    loop {
        let Some(notification) = environment.notification() else { thread::exit(1) };
        let _ = notification.wait(Deadline::NEVER);
    }
});
