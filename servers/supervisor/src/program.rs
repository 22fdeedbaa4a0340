//! Start-up: reads the inventory, starts every domain, and serves.

use crate::bus::Bus;
use crate::fault::FaultService;
use crate::household::Everybody;
use crate::state::Supervisor;
use crate::{adoption, devices, lifecycle};
use alloc::rc::Rc;
use alloc::vec;
use archive::Archive;
use interfaces::supervision::SupervisionService;
use manifest::System;
use spawn::{ARCHIVE_ENTRY, INVENTORY_ENTRY, Inventory, MANIFEST_ENTRY};
use supervisor::Requests;
use userlib::abi::syscall::MapAccess;
use userlib::cap::{Cap, Memory};
use userlib::ipc::server::Uninterrupted;
use userlib::memory::AddressSpace;
use userlib::{Environment, executor};

/// Bit of the supervisor's notification by which it learns of faults while it does something else.
const FAULT_BIT: u32 = 54;

/// The program.
pub(crate) fn main(environment: &'static Environment) -> ! {
    let space = environment.address_space().expect("the supervisor is given its own space");
    let inventory = read_inventory(environment, space);
    let bytes = environment.constant(ARCHIVE_ENTRY).expect("init gives the supervisor the archive");
    let archive = Archive::parse_checked_before(bytes).expect("init has read the same archive");
    let file = archive.file(MANIFEST_ENTRY).expect("init has read the manifest from the same archive");
    let system = System::decode(file.contents).expect("init has decoded the same manifest");
    let bus = Bus::open(space, inventory.ecam);
    let endpoint = environment.provides("supervision").expect("the supervisor provides `supervision`");
    let notification = environment.notification().expect("every domain has a notification");
    let faults = inventory.faults();

    let supervisor = Rc::new(Supervisor::new(system, inventory, archive, space.clone(), bus));
    adoption::recall_predecessor(&supervisor, environment.page().instance);
    supervisor.log_composition();
    // Who asks for a restart may die of it, and a shutdown ends whoever asked for it: both go on.
    let requests = SupervisionService::new(Requests::new(Everybody(supervisor.clone())));
    executor::serve(endpoint, Uninterrupted::new(requests)).expect("nothing else is served yet");
    executor::serve_also(faults, notification, FAULT_BIT, Uninterrupted::new(FaultService::new(supervisor.clone())))
        .expect("init lets the supervisor receive faults");
    devices::watch(&supervisor, notification);
    lifecycle::begin(&supervisor);
    executor::run_forever()
}

fn read_inventory(environment: &Environment, space: &AddressSpace) -> Inventory {
    let memory: Cap<Memory> = environment.memory(INVENTORY_ENTRY).expect("init gives the supervisor its inventory");
    let mapping = space.map_all(memory, MapAccess::Read).expect("there is room to map the inventory");
    let mut bytes = vec![0; mapping.len()];
    mapping.read(0, &mut bytes).expect("the buffer is as long as the mapping");
    Inventory::decode(&bytes).expect("init has written the inventory")
}
