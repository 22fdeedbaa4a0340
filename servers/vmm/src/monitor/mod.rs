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
mod terminal;

use alloc::rc::Rc;
use clock::Reading;
use interfaces::guest::GuestService;
use interfaces::stream::StreamService;
use machine::Machine;
use resources::Resources;
use service::{Service, Stream};
use userlib::{Environment, executor, log};

/// The bit of the monitor's notification by which calls of its stream wait, behind those of the guest's processors.
const STREAM_BIT: u32 = power::FIRST_BIT + manifest::Guest::MAX_PROCESSORS as u32;

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
    let stream = StreamService::new(Stream::new(machine.clone()));
    let endpoint = environment.provides("stream").unwrap_or_else(|missing| panic!("{missing}"));
    if let Err(error) = executor::serve_also(endpoint, machine.resources.notification, STREAM_BIT, stream) {
        log::error!("the guest's stream cannot be served: {error}");
    }
    environment.serve("guest", GuestService::new(Service::new(machine)))
}
