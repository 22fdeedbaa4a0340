//! From what the domain was given to a driver at work.

use crate::device::{Attachment, MachineDisk, set_up, waiter};
use crate::machine::{Platform, RING, Window};
use alloc::format;
use alloc::rc::Rc;
use core::cell::{Cell, RefCell};
use core::future::pending;
use interfaces::block::{BlockError, BlockInfo, BlockServer, BlockService, BlockStatistics};
use userlib::abi::PAGE_SIZE;
use userlib::block_ring::{self, Limits, RingServer, SECTOR_SIZE, Status};
use userlib::environment::RingResources;
use userlib::ipc::{Caller, Text};
use userlib::start::EntryKind;
use userlib::status::{Phase, SHUTDOWN_BIT, set_phase};
use userlib::time::{Duration, Instant};
use userlib::{Environment, executor, log};
use virtio_blk::driver::Driver;
use virtio_blk::region::Region;
use virtio_blk::transport::{PciTransport, Vectors};

/// How long requests under way may take when the domain is to come to rest.
const DRAIN_PATIENCE: Duration = Duration::from_secs(3);

/// Until the disk is known nothing is taken from the ring.
const NOTHING: Limits = Limits { sectors: 0, request_sectors: 0, read_only: true };

/// What the tasks of this domain share.
struct State {
    driver: RefCell<Option<Driver<'static, Platform, PciTransport<Window>>>>,
    /// The same without a ring.
    info: Result<BlockInfo, BlockError>,
    attachment: Option<Attachment>,
    interrupts: Cell<u64>,
    /// Requests of a predecessor that were found in the ring.
    repeated: u64,
}

/// Serves `Block`, and the ring, for ever.
pub(crate) fn main(environment: &'static Environment) -> ! {
    let ring = environment
        .ring(EntryKind::RingServer, "block")
        .inspect_err(|missing| log::warn!("{missing}: only what the disk is can be asked"))
        .ok();
    let (disk, attachment) = match set_up(environment) {
        Ok((disk, attachment)) => (Ok(disk), Some(attachment)),
        Err(failure) => {
            log::error!("{failure}");
            (Err(failure.status()), None)
        }
    };
    let info = describe(&disk, attachment.as_ref());
    let before = ring.as_ref().and_then(|ring| block_ring::statistics(ring.shared).ok()).unwrap_or_default();
    let driver = ring.as_ref().and_then(|ring| attach(ring, disk, attachment.as_ref()));
    let after = driver.as_ref().map_or(before, |driver| driver.ring().statistics());
    let repeated = after.repeated.saturating_sub(before.repeated);
    if repeated > 0 {
        log::info!("{repeated} requests were under way when the former driver died, and are repeated");
    }
    let state = Rc::new(State { driver: RefCell::new(driver), info, attachment, interrupts: Cell::new(0), repeated });
    executor::spawn(work(state.clone(), ring));
    match environment.provides("block") {
        Ok(endpoint) => {
            if let Err(error) = executor::serve(endpoint, BlockService::new(Server(state))) {
                log::error!("{error}");
            }
        }
        Err(missing) => log::error!("{missing}"),
    }
    executor::run_forever()
}

fn describe(disk: &Result<MachineDisk, Status>, attachment: Option<&Attachment>) -> Result<BlockInfo, BlockError> {
    let (disk, attachment) = match (disk, attachment) {
        (Ok(disk), Some(attachment)) => (disk, attachment),
        (Err(Status::NoDevice), _) => return Err(BlockError::NoDevice),
        _ => return Err(BlockError::DeviceFailed),
    };
    let geometry = disk.geometry();
    let access = if geometry.read_only { ", read-only" } else { "" };
    log::info!("{}: {} sectors{access}", attachment.info.address, geometry.sectors);
    if geometry.block_size as usize > SECTOR_SIZE {
        log::warn!(
            "the disk works in blocks of {} bytes: it may refuse requests that are no multiples of that",
            geometry.block_size
        );
    }
    Ok(BlockInfo {
        name: Text::new(&format!("virtio {}", attachment.info.address)),
        sectors: geometry.sectors,
        sector_size: SECTOR_SIZE as u32,
        read_only: geometry.read_only,
        has_cache: geometry.has_cache,
    })
}

/// Attaches to the ring that this domain was given.
fn attach(
    resources: &RingResources,
    disk: Result<MachineDisk, Status>,
    attachment: Option<&Attachment>,
) -> Option<Driver<'static, Platform, PciTransport<Window>>> {
    let frame = match resources.memory.memory_info() {
        Ok(info) if !info.device => info.first_frame,
        _ => None,
    };
    let Some(frame) = frame else {
        log::error!("the device cannot use the ring's memory: its capability needs the right DMA");
        return None;
    };
    let (address, length) = (resources.shared.address() as usize, resources.shared.len());
    RING.set(address, frame * PAGE_SIZE, length);
    // SAFETY: a ring stays mapped as long as the domain lives, and `SharedMemory`, through which alone it is accessed,
    // uses atomics.
    let memory = unsafe { Region::new(address, frame * PAGE_SIZE, length) };
    // Without a disk nothing is ever submitted to it, so that no control memory is needed.
    let control = attachment.map_or(memory.part(0..0)?, |attachment| attachment.control);
    let numbers = attachment.map_or(Vectors { config: 0, queue: 0 }, |attachment| attachment.numbers);
    match RingServer::attach(resources.shared, NOTHING) {
        Ok(ring) => Some(Driver::new(ring, memory, control, numbers, disk)),
        Err(error) => {
            log::error!("{error}");
            None
        }
    }
}

/// Does the driver's work, whenever something has happened.
async fn work(state: Rc<State>, ring: Option<RingResources>) {
    let vectors = state.attachment.as_ref().map_or(&[][..], |attachment| &attachment.vectors);
    let config_bits = vectors.first().map_or(0, |vector| vector.bits);
    let interrupt_bits = vectors.iter().fold(0, |bits, vector| bits | vector.bits);
    let doorbell = ring.as_ref().map_or(0, |ring| ring.bits);
    let shutdown = 1 << SHUTDOWN_BIT;
    loop {
        // Whatever has happened, everything is looked at: a bit says only that it is worth it.
        let deadline = advance(&state, ring.as_ref());
        let anything = executor::bits(doorbell | interrupt_bits | shutdown);
        let bits = match deadline {
            Some(deadline) => executor::before(deadline, anything).await.unwrap_or(0),
            None => anything.await,
        };
        acknowledge(&state, bits);
        if bits & config_bits != 0
            && let Some(driver) = state.driver.borrow_mut().as_mut()
        {
            driver.take_config(Instant::now(), &mut waiter());
        }
        if bits & shutdown != 0 {
            come_to_rest(&state, ring.as_ref(), interrupt_bits).await;
        }
    }
}

/// Lets the next interrupts come of those whose bits are set. What they tell of is looked at afterwards.
fn acknowledge(state: &State, bits: u64) {
    let vectors = state.attachment.as_ref().map_or(&[][..], |attachment| &attachment.vectors);
    for vector in vectors.iter().filter(|vector| vector.bits & bits != 0) {
        state.interrupts.set(state.interrupts.get() + 1);
        if let Err(error) = vector.events.acknowledge() {
            log::error!("an interrupt cannot be acknowledged: {error}");
        }
    }
}

/// Lets the driver do what there is to do, and notifies the client. The result is the moment at which the device has
/// been silent for too long.
fn advance(state: &State, ring: Option<&RingResources>) -> Option<Instant> {
    let mut driver = state.driver.borrow_mut();
    let driver = driver.as_mut()?;
    driver.check_silence(Instant::now(), &mut waiter());
    if driver.take_notification()
        && let Some(ring) = ring
        && let Err(error) = ring.peer.notify()
    {
        log::warn!("the client cannot be notified: {error}");
    }
    driver.deadline()
}

/// Finishes what is under way, resets the device, and says so.
async fn come_to_rest(state: &State, ring: Option<&RingResources>, interrupt_bits: u64) {
    let give_up = Instant::now() + DRAIN_PATIENCE;
    if let Some(driver) = state.driver.borrow_mut().as_mut() {
        driver.stop_accepting();
    }
    while state.driver.borrow().as_ref().is_some_and(|driver| !driver.is_idle()) {
        if executor::before(give_up, executor::bits(interrupt_bits)).await.is_err() {
            log::error!("the disk did not finish its requests in time; they stay in the ring");
            break;
        }
        acknowledge(state, interrupt_bits);
        advance(state, ring);
    }
    if let Some(driver) = state.driver.borrow_mut().as_mut()
        && let Err(error) = driver.quiesce(&mut waiter())
    {
        log::error!("{error}");
    }
    if let Some(attachment) = &state.attachment
        && let Err(error) = attachment.pci.set_bus_mastering(false)
    {
        log::error!("the PCI server could not stop the disk's use of memory: {error}");
    }
    set_phase(Phase::Stopped);
    // Nothing more is done: who is at rest does not begin again.
    pending().await
}

/// The interface `Block`.
struct Server(Rc<State>);

impl BlockServer for Server {
    async fn info(&self, _: &Caller) -> Result<BlockInfo, BlockError> {
        let info = self.0.info?;
        let driver = self.0.driver.borrow();
        // What was found at the start may have changed since.
        match driver.as_ref().map(Driver::geometry) {
            Some(Ok(geometry)) => Ok(BlockInfo { sectors: geometry.sectors, ..info }),
            Some(Err(Status::NoDevice)) => Err(BlockError::NoDevice),
            Some(Err(_)) => Err(BlockError::DeviceFailed),
            None => Ok(info),
        }
    }

    async fn statistics(&self, _: &Caller) -> Result<BlockStatistics, BlockError> {
        let driver = self.0.driver.borrow();
        let counts = driver.as_ref().map(Driver::counts).unwrap_or_default();
        let ring = driver.as_ref().map(|driver| driver.ring().statistics()).unwrap_or_default();
        Ok(BlockStatistics {
            completed: counts.completed,
            failed: counts.failed,
            repeated: self.0.repeated,
            interrupts: self.0.interrupts.get(),
            resets: counts.resets,
            instances: ring.generations,
            restarts_in_flight: ring.restarts_in_flight,
        })
    }
}
