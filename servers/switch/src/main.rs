//! An Ethernet switch between domains, in which each has one address and no other's.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use interfaces::link::LinkService;
use switch::{Ports, Service};
use userlib::{Environment, executor};

userlib::entry!(program);

fn program(environment: &'static Environment) -> ! {
    let ports = Ports::new(environment.served_rings("link"));
    let running = ports.clone();
    executor::spawn(async move { running.run().await });
    environment.serve("link", LinkService::new(Service::new(ports)))
}
