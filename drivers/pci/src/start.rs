//! From what the domain was given to a server.

use crate::bus::{Bus, Start};
use crate::hotplug::Slots;
use crate::machine::{Ecam, Windows};
use crate::placement::Window;
use crate::record;
use crate::server::Server;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt::Display;
use interfaces::supervision::SupervisionClient;
use manifest::System;
use userlib::abi::PAGE_SIZE;
use userlib::abi::syscall::MapAccess;
use userlib::cap::{Cap, Memory};
use userlib::memory::{AddressSpace, SharedMemory};
use userlib::start::EntryKind;
use userlib::time::{Duration, Instant};
use userlib::{Environment, executor, log};

/// Name of the configuration space among the memory that the domain is given.
const ECAM: &str = "ecam";
/// What the names of windows of device memory begin with; a number follows.
const WINDOW_PREFIX: &str = "window";
/// What the supervisor provides.
const SUPERVISION: &str = "supervision";
/// How long it may take for an answer: it does nothing that takes long before it gives one.
const SUPERVISOR_PATIENCE: Duration = Duration::from_secs(1);
/// Name of the compiled manifest.
const MANIFEST: &str = "manifest";

/// The server of the machine's bus. Without configuration space there is none, which is logged, and every call says so.
pub fn server(environment: &'static Environment) -> Server<Ecam, Windows> {
    let (caps, windows) = windows(environment);
    let space = environment.address_space().cloned();
    let server = Server::new(space.and_then(|space| {
        let bus = find_bus(environment, space.clone(), windows)?;
        Some((bus, Windows::new(caps, space)))
    }));
    if let Some(bus) = server.shared_bus() {
        attend_slots(environment, bus);
    }
    server
}

/// Looks after the slots of the bus from now on, if it has any whose devices come and go.
fn attend_slots(environment: &'static Environment, bus: Rc<RefCell<Bus<Ecam>>>) {
    let supervisor = match environment.uses(SUPERVISION) {
        Ok(endpoint) => SupervisionClient::new(endpoint).with_timeout(SUPERVISOR_PATIENCE),
        Err(_) => {
            log::info!("nobody is told of devices that come and go: the manifest does not let this domain use it");
            return;
        }
    };
    let mut slots = Slots::find(bus.clone(), supervisor, environment.page().instance == 0);
    if slots.is_empty() {
        return;
    }
    log::info!("{} slots whose devices can come and go", slots.len());
    slots.take_in();
    write_record(environment.vault(), &bus.borrow());
    executor::spawn(async move {
        loop {
            let (wait, has_changed) = slots.advance(Instant::now());
            if has_changed {
                // First: whoever is told may ask a successor of this server.
                write_record(environment.vault(), &bus.borrow());
            }
            slots.announce();
            executor::sleep(wait).await;
        }
    });
}

/// The windows of device memory: capabilities, and where they lie.
fn windows(environment: &Environment) -> (Vec<Cap<Memory>>, Vec<Window>) {
    let mut caps = Vec::new();
    let mut windows = Vec::new();
    let entries = environment.page().entries_of(EntryKind::Memory);
    for entry in entries.filter(|entry| entry.name.as_str().starts_with(WINDOW_PREFIX)) {
        let cap = Cap::from_handle(entry.handle());
        match cap.memory_info() {
            Ok(info) if info.device && info.first_frame.is_some() => {
                windows.push(Window { frame: info.first_frame.unwrap_or(0), pages: info.pages });
                caps.push(cap);
            }
            Ok(_) => log::warn!("'{}' is no window of device memory whose place is known", entry.name.as_str()),
            Err(error) => log::warn!("'{}' cannot be used: {error}", entry.name.as_str()),
        }
    }
    (caps, windows)
}

/// Says in the log that something does not work, and makes nothing of it.
fn note<T>(what: &str, result: Result<T, impl Display>) -> Option<T> {
    result.map_err(|error| log::error!("{what}: {error}")).ok()
}

fn find_bus(environment: &Environment, space: AddressSpace, windows: Vec<Window>) -> Option<Bus<Ecam>> {
    let Ok(memory) = environment.memory(ECAM) else {
        log::warn!("the machine has no PCI Express configuration space: PCI devices cannot be used");
        return None;
    };
    let ecam = note("configuration space", Ecam::new(space.clone(), memory))?;
    let vault = environment.vault();
    let remembered = vault.and_then(read_record).unwrap_or_default();
    let first = environment.page().instance == 0;
    let start = if first { Start::First } else { Start::Again(&remembered) };
    let mut bus = Bus::find(ecam, windows, start);
    if let Some(system) = read_manifest(environment, &space) {
        bus.assign(&system);
    }
    // Twice: registers that a server was measuring when it died are garbage, and the next one must know better.
    write_record(vault, &bus);
    bus.measure();
    write_record(vault, &bus);
    report(&bus);
    Some(bus)
}

fn read_record(vault: SharedMemory<'_>) -> Option<Vec<record::Entry>> {
    let mut bytes = vec![0; vault.len()];
    vault.read(0, &mut bytes).ok()?;
    record::decode(&bytes)
}

fn write_record(vault: Option<SharedMemory<'_>>, bus: &Bus<Ecam>) {
    let Some(vault) = vault else { return };
    let bytes = record::encode(&bus.entries(record::capacity(vault.len())));
    if vault.write(0, &bytes).is_err() {
        log::error!("the vault is too small for what a restarted server must know");
    }
}

fn read_manifest(environment: &Environment, space: &AddressSpace) -> Option<System> {
    let entry = note("the manifest", environment.entry(EntryKind::Memory, MANIFEST))?;
    let length = entry.memory.length as usize;
    let pages = entry.memory.length.div_ceil(PAGE_SIZE);
    if length > manifest::MAX_ENCODED_BYTES {
        log::error!("the manifest is {length} bytes long, which is more than any");
        return None;
    }
    let memory = Cap::from_handle(entry.handle());
    let mapping = note("the manifest cannot be mapped", space.map(memory, 0, pages, MapAccess::Read))?;
    let mut bytes = vec![0; length];
    note("the manifest", mapping.read(0, &mut bytes))?;
    note("the manifest", System::decode(&bytes))
}

/// Says what was found.
fn report(bus: &Bus<Ecam>) {
    for function in bus.functions() {
        log::debug!("{} {:04x}:{:04x}", function.address, function.vendor, function.device);
        if let Some(damage) = function.damage {
            log::warn!("{}: {damage}", function.address);
        }
    }
    log::info!("{} PCI functions", bus.functions().len());
    for assignment in bus.assignments().iter().filter(|assignment| assignment.function.is_err()) {
        log::warn!("{assignment}");
    }
}
