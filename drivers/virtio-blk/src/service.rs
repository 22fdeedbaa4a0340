//! What clients see: the ring, and the interface `Block`.

use crate::attachment::{Attachment, Failure, MachineDisk, set_up, waiter};
use crate::driver::Driver;
use crate::region::{Region, Span};
use crate::transport::{Device, PciTransport, Vectors};
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;
use driver::{AttachError, Interrupt, PciDevice, Running};
use interfaces::block::{BlockError, BlockInfo, BlockServer, BlockService, BlockStatistics};
use userlib::abi::PAGE_SIZE;
use userlib::block_ring::{self, Limits, RingServer, SECTOR_SIZE, Status};
use userlib::environment::{Peer, RingResources};
use userlib::ipc::{Caller, Text};
use userlib::start::EntryKind;
use userlib::sync::Event;
use userlib::time::{Duration, Instant};
use userlib::{Environment, executor, log};

/// How often is looked whether the device has been silent for too long.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// How long requests under way may take when the domain is to come to rest.
const DRAIN_PATIENCE: Duration = Duration::from_secs(3);

/// So often clients are heard at once before others are let in again.
const ROUNDS: usize = 16;
/// For how long others are.
const BREATH: Duration = Duration::from_micros(100);

/// Until the disk is known nothing is taken from the ring.
const NOTHING: Limits = Limits { sectors: 0, request_sectors: 0, read_only: true };

/// What the tasks of this domain share.
#[derive(Debug)]
pub struct Disks<T: Device + 'static> {
    /// What there is without a driver is in `info`.
    driver: RefCell<Option<Driver<'static, T>>>,
    info: Result<BlockInfo, BlockError>,
    interrupts: Vec<Interrupt>,
    /// By ring, whom to tell of completions.
    clients: Vec<Peer>,
    /// The driver was let to do what there is to do.
    advanced: Event,
    /// Requests of a predecessor that were found in the ring.
    repeated: u64,
}

impl<T: Device> Disks<T> {
    /// A disk as `info` describes it, with the driver that works for the clients of rings, if there is one.
    pub fn new(
        driver: Option<Driver<'static, T>>,
        info: Result<BlockInfo, BlockError>,
        interrupts: Vec<Interrupt>,
        clients: Vec<Peer>,
    ) -> Self {
        Self { driver: RefCell::new(driver), info, interrupts, clients, advanced: Event::new(), repeated: 0 }
    }

    /// Lets the driver do what there is to do, and notifies clients; whether there is more. Meanwhile nobody has to tell it
    /// anything: a client that asks for more as soon as it is told of a completion is served before this waits.
    pub fn advance(&self) -> bool {
        let goes_on = self.driver.borrow_mut().as_mut().is_some_and(|driver| {
            driver.set_waiting(false);
            (0..ROUNDS).all(|_| {
                let goes_on = driver.advance(&mut waiter());
                for ring in driver.take_notifications() {
                    if let Some(client) = self.clients.get(ring)
                        && let Err(error) = client.notify()
                    {
                        log::warn!("the client of ring {ring} cannot be notified: {error}");
                    }
                }
                driver.set_waiting(true) || goes_on
            })
        });
        self.end_without_device();
        self.advanced.signal();
        goes_on
    }

    /// Lets the driver do what there is to do, and others in now and then: a client on another processor that asks for more
    /// without end takes neither all of this one nor the eye off a silent device.
    async fn work(&self) {
        while self.advance() {
            self.check_silence();
            executor::sleep(BREATH).await;
        }
    }

    /// Ends this instance if its device was taken out: the next one comes when that is back.
    fn end_without_device(&self) {
        if self.driver.borrow().as_ref().is_some_and(Driver::has_lost_device) {
            driver::try_again_after(&AttachError::Gone);
        }
    }

    fn check_silence(&self) {
        if let Some(driver) = self.driver.borrow_mut().as_mut() {
            // What the device has got meanwhile counts from now on.
            driver.deadline(Instant::now);
            driver.check_silence(Instant::now(), &mut waiter());
        }
    }

    /// Collects completions whenever the device tells of some. Its configuration may have changed too if the same
    /// interrupt tells of that.
    async fn serve_interrupt(&self, interrupt: Interrupt, tells_of_config: bool) {
        loop {
            interrupt.next().await;
            if tells_of_config && let Some(driver) = self.driver.borrow_mut().as_mut() {
                driver.take_config(&mut waiter());
            }
            self.work().await;
        }
    }

    /// Takes requests whenever clients tell of some.
    async fn serve_doorbells(&self, bits: u64) {
        loop {
            self.work().await;
            executor::bits(bits).await;
        }
    }

    /// Looks after a device that is silent for too long: now and then, and not at all while it has nothing.
    async fn watch_silence(&self) {
        loop {
            let advanced = self.advanced.next();
            if self.driver.borrow().as_ref().is_none_or(Driver::is_idle) {
                advanced.await;
            }
            executor::sleep(BETWEEN_LOOKS).await;
            if let Some(driver) = self.driver.borrow_mut().as_mut() {
                driver.check_presence();
            }
            self.check_silence();
            self.work().await;
        }
    }

    /// Finishes what is under way, and resets the device.
    pub async fn come_to_rest(&self) {
        let give_up = Instant::now() + DRAIN_PATIENCE;
        if let Some(driver) = self.driver.borrow_mut().as_mut() {
            driver.stop_accepting();
        }
        loop {
            let advanced = self.advanced.next();
            if self.driver.borrow().as_ref().is_none_or(Driver::is_idle) {
                break;
            }
            if executor::before(give_up, advanced).await.is_err() {
                log::error!("the disk did not finish its requests in time; they stay in the ring");
                break;
            }
        }
        if let Some(driver) = self.driver.borrow_mut().as_mut()
            && let Err(error) = driver.quiesce(&mut waiter())
        {
            log::error!("{error}");
        }
    }
}

/// The interface `Block`.
#[derive(Debug)]
pub struct Server<T: Device + 'static>(pub Rc<Disks<T>>);

impl<T: Device> BlockServer for Server<T> {
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
        let ring = driver.as_ref().map(Driver::statistics).unwrap_or_default();
        Ok(BlockStatistics {
            completed: counts.completed,
            failed: counts.failed,
            repeated: self.0.repeated,
            interrupts: self.0.interrupts.iter().map(Interrupt::count).sum(),
            resets: counts.resets,
            instances: ring.generations,
            restarts_in_flight: ring.restarts_in_flight,
        })
    }
}

/// Brings the disk to work and serves it. Without one, every request is answered with the reason, until the
/// driver is started again to see whether it has come back.
///
/// # Errors
/// If the manifest does not let the domain provide `block`.
pub fn start(device: Result<PciDevice, AttachError>) -> Result<Running, AttachError> {
    let ring = Environment::current()
        .ok_or(AttachError::Unfit("there is no environment"))?
        .ring(EntryKind::RingServer, "block")
        .inspect_err(|missing| log::warn!("{missing}: only what the disk is can be asked"))
        .ok();
    let (disk, attachment) = match device.map_err(Into::into).and_then(set_up_present) {
        Ok((disk, attachment)) => (Ok(disk), Some(attachment)),
        // Requests wait in their rings meanwhile.
        Err(Failure::Attach(error)) if error.may_pass() => return Err(error),
        Err(failure) => {
            log::error!("{failure}");
            driver::try_again_after(&failure);
            (Err(failure.status()), None)
        }
    };
    let info = describe(&disk, attachment.as_ref());
    let before = ring.as_ref().and_then(|ring| block_ring::statistics(ring.shared).ok()).unwrap_or_default();
    let mut rings: Vec<RingResources> = ring.into_iter().collect();
    let mut driver = rings.first().and_then(|ring| attach(ring, disk, attachment.as_ref()));
    if let Some(driver) = &mut driver {
        rings.extend(serve_lent(driver, attachment.as_ref()));
    }
    let after = driver.as_ref().map_or(before, Driver::statistics);
    let repeated = after.repeated.saturating_sub(before.repeated);
    if repeated > 0 {
        log::info!("{repeated} requests were under way when the former driver died, and are repeated");
    }
    let interrupts = attachment.map(|attachment| attachment.interrupts).unwrap_or_default();
    let clients = rings.iter().map(|ring| ring.peer).collect();
    let disks = Rc::new(Disks { repeated, ..Disks::new(driver, info, interrupts, clients) });
    spawn_tasks(&disks, rings.iter().fold(0, |bits, ring| bits | ring.bits));
    let rest = disks.clone();
    Ok(driver::serve(BlockService::new(Server(disks)))?.at_rest(async move { rest.come_to_rest().await }))
}

/// Sets the device up. What fails because it was taken out meanwhile is said to do so.
fn set_up_present(device: PciDevice) -> Result<(MachineDisk, Attachment), Failure> {
    set_up(device.clone()).map_err(|failure| match device.is_gone() {
        Ok(true) => Failure::Attach(AttachError::Gone),
        Ok(false) | Err(_) => failure,
    })
}

/// Lets the driver work whenever something has happened. Whatever it was, everything is looked at.
fn spawn_tasks<T: Device>(disks: &Rc<Disks<T>>, doorbells: u64) {
    for (number, interrupt) in disks.interrupts.iter().enumerate() {
        let (disks, interrupt) = (disks.clone(), interrupt.clone());
        executor::spawn(async move { disks.serve_interrupt(interrupt, number == 0).await });
    }
    let (silence, bells) = (disks.clone(), disks.clone());
    executor::spawn(async move { silence.watch_silence().await });
    if doorbells != 0 {
        executor::spawn(async move { bells.serve_doorbells(doorbells).await });
    }
}

fn describe(disk: &Result<MachineDisk, Status>, attachment: Option<&Attachment>) -> Result<BlockInfo, BlockError> {
    let (disk, attachment) = match (disk, attachment) {
        (Ok(disk), Some(attachment)) => (disk, attachment),
        (Err(Status::NoDevice), _) => return Err(BlockError::NoDevice),
        _ => return Err(BlockError::DeviceFailed),
    };
    let geometry = disk.geometry();
    let address = attachment.device.info().address;
    let access = if geometry.read_only { ", read-only" } else { "" };
    log::info!("{address}: {} sectors{access}", geometry.sectors);
    if geometry.block_size as usize > SECTOR_SIZE {
        log::warn!(
            "the disk works in blocks of {} bytes: it may refuse requests that are no multiples of that",
            geometry.block_size
        );
    }
    Ok(BlockInfo {
        name: Text::new(&format!("virtio {address}")),
        sectors: geometry.sectors,
        sector_size: SECTOR_SIZE as u32,
        request_sectors: geometry.limits().request_sectors,
        read_only: geometry.read_only,
        has_cache: geometry.has_cache,
    })
}

/// Serves the rings that the client lends, as far as the device can reach them: those that come back.
fn serve_lent(driver: &mut Driver<'static, PciTransport>, attachment: Option<&Attachment>) -> Vec<RingResources> {
    let Some(environment) = Environment::current() else { return vec![] };
    let mut serve = |ring: &RingResources| -> Result<(), String> {
        let pages = ring.memory.memory_info().map_err(|error| error.to_string())?.pages;
        // Without a disk nothing ever needs a place on the bus.
        let bus = attachment.map_or(Ok(0), |attachment| attachment.device.lend(ring.memory));
        let memory = Span { bus: bus.map_err(|error| error.to_string())?, length: pages as usize * PAGE_SIZE as usize };
        driver.serve(ring.shared, memory, ring.area).map_err(|error| error.to_string())
    };
    let mut served = Vec::new();
    for ring in environment.lent_rings() {
        match serve(&ring) {
            Ok(()) => served.push(ring),
            Err(error) => log::error!("lent ring {} is not served: {error}", ring.area),
        }
    }
    served
}

/// Attaches to the ring that this domain was given.
fn attach(
    resources: &RingResources,
    disk: Result<MachineDisk, Status>,
    attachment: Option<&Attachment>,
) -> Option<Driver<'static, PciTransport>> {
    // Without a disk nothing is ever submitted to it, so that no place on the bus and no control memory is needed.
    let mut bus = 0;
    let (mut control, mut numbers) = (Region::new(resources.shared, 0).part(0..0)?, Vectors { config: 0, queue: 0 });
    if let Some(attachment) = attachment {
        let lent = attachment.device.lend(resources.memory);
        bus = lent.inspect_err(|error| log::error!("the ring cannot be lent to the disk: {error}")).ok()?;
        (control, numbers) = (attachment.control, attachment.numbers);
    }
    match RingServer::attach(resources.shared, NOTHING) {
        Ok(ring) => {
            let memory = Span { bus, length: resources.shared.len() };
            Some(Driver::new(ring, memory, control, numbers, disk))
        }
        Err(error) => {
            log::error!("{error}");
            None
        }
    }
}
