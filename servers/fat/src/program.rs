//! Start-up: finds the disk, mounts what is on it, serves, and unmounts when asked to come to rest.

use crate::disk::Disk;
use alloc::rc::Rc;
use core::time::Duration;
use fat::direct::{self, Direct};
use fat::service::{self, Disposition, Files};
use fat::{DeviceGeometry, Found, MountError, MountOptions, PAGE_SIZE, Repair, SECTOR_SIZE, Timestamp, Volume};
use interfaces::block::{BlockClient, BlockInfo};
use interfaces::filesystem::{FilesystemService, FsError};
use userlib::block_ring::BlockRing;
use userlib::ipc::RetriedError;
use userlib::ipc::server::Uninterrupted;
use userlib::start::EntryKind;
use userlib::status::{self, Phase};
use userlib::time::Instant;
use userlib::{Environment, executor, log};

/// How long the driver may take to say what the disk is. While the server waits it answers nobody, so this is shorter
/// than its own heartbeat.
const INFO_TIME: Duration = Duration::from_millis(700);
/// How long to wait before the driver is asked again.
const RETRY: Duration = Duration::from_millis(300);
/// How often what was written is brought to the disk although nobody asks for it.
const WRITE_BACK: Duration = Duration::from_secs(5);
/// Part of the ring's buffer area in which the driver finds where directly read files lie.
const WINDOWS_SHARE: usize = 16;
/// Part of the heap that the cache may take.
const CACHE_SHARE: usize = 2;

/// Where time stamps come from.
type Clock = fn() -> Timestamp;
/// The volume of this server.
type Mounted = Volume<Disk, Clock>;
/// The state of this server.
type State = service::State<Disk, Clock>;

/// The program.
pub(crate) fn main(environment: &'static Environment) -> ! {
    let endpoint = match environment.provides("filesystem") {
        Ok(endpoint) => endpoint,
        Err(missing) => panic!("{missing}"),
    };
    let state = Rc::new(State::new(environment.page().instance, environment.clients()));
    executor::run(start(environment, state.clone()));
    // What changes the volume is not to end half-way, and what reads it has transfers under way.
    let service = Uninterrupted::new(FilesystemService::new(Files::new(state)));
    executor::serve(endpoint, service).expect("nothing else is served");
    executor::run_forever()
}

/// Mounts before anybody is served: a call that comes meanwhile waits at the endpoint.
async fn start(environment: &'static Environment, state: Rc<State>) {
    let outcome = mount(environment, &state).await;
    let disposition = match outcome {
        Ok(volume) => Disposition::Mounted(Rc::new(volume)),
        Err(error) => Disposition::Failed(error),
    };
    state.dispose(disposition);
    executor::spawn(rest(state.clone()));
    let departures = state.clone();
    executor::spawn(async move { departures.close_departed().await });
    executor::spawn(write_back(state));
}

async fn mount(environment: &'static Environment, state: &State) -> Result<Mounted, FsError> {
    let (Ok(endpoint), Ok(resources)) = (environment.uses("block"), environment.ring(EntryKind::RingClient, "block"))
    else {
        log::warn!("there is no disk: the machine has no disk that a driver knows");
        return Err(FsError::NoDisk);
    };
    let info = ask_driver(&BlockClient::new(endpoint).with_timeout(INFO_TIME)).await?;
    if info.sector_size as usize != SECTOR_SIZE {
        log::error!("the disk has sectors of {} bytes; only 512 are supported", info.sector_size);
        return Err(FsError::Unsupported);
    }
    direct::tell_of_death(environment.served_rings("filesystem"));
    let ring = BlockRing::attach(resources).map_err(|error| {
        log::error!("the ring to the disk's driver cannot be used: {error}");
        FsError::DeviceFailed
    })?;
    let geometry = DeviceGeometry { sectors: info.sectors, read_only: info.read_only };
    let cache_bytes = environment.page().heap.length as usize / CACHE_SHARE;
    ring.reserve_for_windows(ring.buffer_pages() / WINDOWS_SHARE);
    let (ring, rings) = (Rc::new(ring), environment.served_rings("filesystem"));
    state.set_direct(Rc::new(Direct::new(ring.clone(), environment.page().instance, rings)));
    let disk = Disk::new(ring, geometry, cache_bytes / PAGE_SIZE);
    let options = MountOptions { read_only: info.read_only, cache_bytes, ..MountOptions::default() };
    match Volume::mount(disk, now as Clock, options).await {
        Ok((volume, found)) => {
            report(&volume, &found);
            Ok(volume)
        }
        Err(error) => {
            log::error!("{error}");
            Err(match error {
                MountError::Device(_) => FsError::DeviceFailed,
                MountError::DamagedBootSector { .. } | MountError::Truncated { .. } => FsError::Damaged,
                MountError::SectorSize { .. } => FsError::Unsupported,
                _ => FsError::UnknownFormat,
            })
        }
    }
}

/// Asks the driver what the disk is, as often as it dies meanwhile.
async fn ask_driver(block: &BlockClient) -> Result<BlockInfo, FsError> {
    loop {
        match block.info() {
            Ok(info) => return Ok(info),
            Err(RetriedError::Failed(answer)) => {
                log::error!("the disk's driver says: {answer}");
                return Err(FsError::NoDisk);
            }
            Err(RetriedError::Refused(error)) => {
                log::error!("the disk's driver cannot be asked: {error}");
                return Err(FsError::NoDisk);
            }
            Err(_) => executor::sleep(RETRY).await,
        }
    }
}

fn report(volume: &Mounted, found: &Found) {
    let info = volume.info();
    let access = if info.read_only { ", read-only" } else { "" };
    log::info!("mounted {:?}, {} clusters of {} bytes{access}", info.kind, info.clusters, info.cluster_bytes);
    match found {
        Found::Clean => {}
        Found::Repaired(repair) if *repair == Repair::default() => {
            log::info!("the disk was not unmounted, and {repair}");
        }
        Found::Repaired(repair) => log::warn!("the disk was not unmounted and has been repaired: {repair}"),
        Found::Unrepaired => log::warn!("the disk was not unmounted and has not been repaired"),
        Found::Damaged(error) => log::error!("the disk was not unmounted and is damaged: {error}"),
    }
}

/// The time of day; on a machine without a clock, the time since boot counted from the first moment that FAT knows.
fn now() -> Timestamp {
    const FAT_EPOCH: u64 = 315_532_800;
    let boot = Environment::current().map_or(0, |environment| environment.page().boot_time);
    let boot = if boot == 0 { FAT_EPOCH } else { boot };
    Timestamp::from_unix(boot + Instant::now().nanoseconds() / 1_000_000_000)
}

async fn rest(state: Rc<State>) {
    executor::shutdown_requested().await;
    if let Ok(volume) = state.volume()
        && !volume.info().read_only
        && let Err(error) = volume.unmount().await
    {
        log::error!("the disk cannot be unmounted: {error}");
        // Without the mark of a clean end the next mount repairs; saying "stopped" would hide the loss.
        return;
    }
    status::set_phase(Phase::Stopped);
}

async fn write_back(state: Rc<State>) {
    loop {
        executor::sleep(WRITE_BACK).await;
        let Ok(volume) = state.volume() else { return };
        if volume.info().read_only {
            return;
        }
        // A server that dies while nothing is under way leaves a disk that counts as unmounted.
        match volume.rest().await {
            Ok(()) => {}
            Err(fat::Error::Unmounted) => return,
            Err(error) => log::error!("what was written cannot be brought to the disk: {error}"),
        }
    }
}
