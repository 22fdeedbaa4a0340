//! What clients see: the ring, and the interface `Block`.

use crate::attachment::{Attachment, MachineDisk, set_up, waiter};
use crate::driver::Driver;
use crate::region::{Region, Span};
use crate::transport::{Device, PciTransport, Vectors};
use alloc::format;
use alloc::rc::Rc;
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

/// How long requests under way may take when the domain is to come to rest.
const DRAIN_PATIENCE: Duration = Duration::from_secs(3);

/// Until the disk is known nothing is taken from the ring.
const NOTHING: Limits = Limits { sectors: 0, request_sectors: 0, read_only: true };

/// What the tasks of this domain share.
#[derive(Debug)]
pub struct Disks<T: Device + 'static> {
    /// What there is without a driver is in `info`.
    driver: RefCell<Option<Driver<'static, T>>>,
    info: Result<BlockInfo, BlockError>,
    interrupts: alloc::vec::Vec<Interrupt>,
    /// Whom to tell of completions.
    client: Option<Peer>,
    /// The driver was let to do what there is to do.
    advanced: Event,
    /// Requests of a predecessor that were found in the ring.
    repeated: u64,
}

impl<T: Device> Disks<T> {
    /// A disk as `info` describes it, with the driver that works for the client of a ring, if there is one.
    pub fn new(
        driver: Option<Driver<'static, T>>,
        info: Result<BlockInfo, BlockError>,
        interrupts: alloc::vec::Vec<Interrupt>,
        client: Option<Peer>,
    ) -> Self {
        Self { driver: RefCell::new(driver), info, interrupts, client, advanced: Event::new(), repeated: 0 }
    }

    /// Lets the driver do what there is to do, and notifies the client.
    pub fn advance(&self) {
        if let Some(driver) = self.driver.borrow_mut().as_mut() {
            driver.advance(&mut Instant::now, &mut waiter());
            if driver.take_notification()
                && let Some(client) = self.client
                && let Err(error) = client.notify()
            {
                log::warn!("the client cannot be notified: {error}");
            }
        }
        self.advanced.signal();
    }

    /// Collects completions whenever the device tells of some. Its configuration may have changed too if the same
    /// interrupt tells of that.
    async fn serve_interrupt(&self, interrupt: Interrupt, tells_of_config: bool) {
        loop {
            interrupt.next().await;
            if tells_of_config && let Some(driver) = self.driver.borrow_mut().as_mut() {
                driver.take_config(Instant::now(), &mut waiter());
            }
            self.advance();
        }
    }

    /// Takes requests whenever the client tells of some.
    async fn serve_doorbell(&self, bits: u64) {
        // Whether the client has asked for more before it could see that this waits for it.
        let wait = || {
            let driver = self.driver.borrow();
            driver.as_ref().is_some_and(|driver| {
                driver.ring().set_waiting(true);
                driver.ring().has_waiting() && driver.has_room()
            })
        };
        loop {
            self.advance();
            if !wait() {
                executor::bits(bits).await;
            }
            if let Some(driver) = self.driver.borrow().as_ref() {
                driver.ring().set_waiting(false);
            }
        }
    }

    /// Looks after a device that is silent for too long.
    async fn watch_silence(&self) {
        loop {
            let advanced = self.advanced.next();
            let deadline = self.driver.borrow().as_ref().and_then(Driver::deadline);
            match deadline {
                Some(deadline) => {
                    executor::sleep_until(deadline).await;
                    if let Some(driver) = self.driver.borrow_mut().as_mut() {
                        driver.check_silence(Instant::now(), &mut waiter());
                    }
                    self.advance();
                }
                None => advanced.await,
            }
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
        let ring = driver.as_ref().map(|driver| driver.ring().statistics()).unwrap_or_default();
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

/// Brings the disk to work and serves it. Without one, every request is answered with the reason.
///
/// # Errors
/// If the manifest does not let the domain provide `block`.
pub fn start(device: Result<PciDevice, AttachError>) -> Result<Running, AttachError> {
    let ring = Environment::current()
        .ok_or(AttachError::Unfit("there is no environment"))?
        .ring(EntryKind::RingServer, "block")
        .inspect_err(|missing| log::warn!("{missing}: only what the disk is can be asked"))
        .ok();
    let (disk, attachment) = match device.map_err(Into::into).and_then(set_up) {
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
    let interrupts = attachment.map(|attachment| attachment.interrupts).unwrap_or_default();
    let client = ring.as_ref().map(|ring| ring.peer);
    let disks = Rc::new(Disks { repeated, ..Disks::new(driver, info, interrupts, client) });
    spawn_tasks(&disks, ring.map(|ring| ring.bits));
    let rest = disks.clone();
    Ok(driver::serve(BlockService::new(Server(disks)))?.at_rest(async move { rest.come_to_rest().await }))
}

/// Lets the driver work whenever something has happened. Whatever it was, everything is looked at.
fn spawn_tasks<T: Device>(disks: &Rc<Disks<T>>, doorbell: Option<u64>) {
    for (number, interrupt) in disks.interrupts.iter().enumerate() {
        let (disks, interrupt) = (disks.clone(), interrupt.clone());
        executor::spawn(async move { disks.serve_interrupt(interrupt, number == 0).await });
    }
    let (silence, bell) = (disks.clone(), disks.clone());
    executor::spawn(async move { silence.watch_silence().await });
    if let Some(bits) = doorbell {
        executor::spawn(async move { bell.serve_doorbell(bits).await });
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

/// Lets the device reach memory of the client's own clients.
fn lend_areas(driver: &mut Driver<'static, PciTransport>, attachment: &Attachment) {
    let Some(environment) = Environment::current() else { return };
    for (area, memory) in environment.lent_rings() {
        let pages = memory.memory_info().map(|info| info.pages as usize);
        match (attachment.device.lend(memory), pages) {
            (Ok(bus), Ok(pages)) => driver.lend(area, Span { bus, length: pages * PAGE_SIZE as usize }),
            // Requests that name it are refused.
            (Err(error), _) => log::error!("area {area} cannot be lent to the disk: {error}"),
            (_, Err(error)) => log::error!("area {area} cannot be lent to the disk: {error}"),
        }
    }
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
            let mut driver = Driver::new(ring, memory, control, numbers, disk);
            if let Some(attachment) = attachment {
                lend_areas(&mut driver, attachment);
            }
            Some(driver)
        }
        Err(error) => {
            log::error!("{error}");
            None
        }
    }
}
