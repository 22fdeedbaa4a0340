//! The program around the models: memory, processors and disks of the real machine behind those of the guest.

mod clock;
mod disk;
mod failure;
mod machine;
mod network;
mod power;
mod ram;
mod resources;
mod service;
mod transcript;

use alloc::rc::Rc;
use clock::Reading;
use interfaces::guest::GuestService;
use machine::Machine;
use resources::Resources;
use service::Service;
use userlib::{Environment, executor, log};

/// The program.
pub(crate) fn program(environment: &'static Environment) -> ! {
    let began = Reading::take();
    let resources = match Resources::find(environment) {
        Ok(resources) => resources,
        // Its builder has not kept what the manifest promises: nothing can be done without it.
        Err(missing) => panic!("{missing}"),
    };
    let starts = resources.settings.starts;
    let machine = Rc::new(Machine::new(resources, began));
    executor::spawn(machine.clone().listen());
    let started = machine.clone();
    executor::spawn(async move {
        network::connect(&started, environment).await;
        started.find_disks(environment).await;
        if starts && let Err(error) = power::start(&started).await {
            log::error!("the guest is not switched on: {error}");
        }
    });
    environment.serve("guest", GuestService::new(Service::new(machine)))
}
