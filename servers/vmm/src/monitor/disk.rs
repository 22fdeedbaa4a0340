//! A guest's disk: the ring of a driver's domain, which may die and come back meanwhile.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec;
use core::cell::Cell;
use core::time::Duration;
use interfaces::block::{BlockClient, BlockInfo};
use userlib::block_ring::{BlockRing, BufferArea, Run};
use userlib::ipc::RetriedError;
use userlib::start::EntryKind;
use userlib::{Environment, executor, log};
use vmm::virtio::{Disk, DiskBusy, DiskError, MAX_REQUEST_BYTES, Operation, Request, SECTOR_BYTES, Tag};

/// How long a driver may take to say what the disk is. While the monitor waits it answers nobody.
const INFO_TIME: Duration = Duration::from_millis(300);
/// How long to wait before the driver is asked again, and how often it is.
const RETRY: Duration = Duration::from_millis(200);
const ATTEMPTS: u32 = 25;
const PAGE: usize = 4096;
/// Requests that are carried out at most, those among them that the guest has forgotten by a reset of its disk.
const JOBS: usize = 128;

/// A disk of the real machine, of which one guest after the other makes use.
#[derive(Clone, Debug)]
pub(crate) struct Backing {
    pub(crate) ring: Rc<BlockRing>,
    area: Rc<BufferArea>,
    info: BlockInfo,
    /// How many requests are carried out, or are to be.
    jobs: Rc<Cell<usize>>,
}

impl Backing {
    /// Finds the disk that the domain was given under a name. `None`, and a line in the log, if it cannot be used.
    pub(crate) async fn find(environment: &'static Environment, name: &'static str) -> Option<Self> {
        let (Ok(endpoint), Ok(resources)) = (environment.uses(name), environment.ring(EntryKind::RingClient, name))
        else {
            log::warn!("the guest has no {name}: the machine does not have it");
            return None;
        };
        let ring = BlockRing::attach(resources);
        let ring = ring.inspect_err(|error| log::error!("the guest has no {name}: its ring cannot be used: {error}"));
        let ring = Rc::new(ring.ok()?);
        let info = ask_driver(&BlockClient::new(endpoint).with_timeout(INFO_TIME), name).await?;
        let area = BufferArea::new(ring.buffer_pages());
        if u64::from(info.sector_size) != SECTOR_BYTES || (area.pages() * PAGE) as u64 <= MAX_REQUEST_BYTES {
            log::error!(
                "the guest has no {name}: its sectors are not of {SECTOR_BYTES} bytes, or its ring is too short"
            );
            return None;
        }
        let (collector, watcher) = (ring.clone(), ring.clone());
        executor::spawn(async move { collector.run().await });
        executor::spawn(async move { watcher.watch().await });
        Some(Self { ring, area, info, jobs: Rc::default() })
    }

    /// Carries out a request that the guest's disk has taken.
    ///
    /// # Errors
    /// If any part of it failed.
    pub(crate) async fn carry_out(&self, job: &Job, lasts: bool) -> Result<(), DiskError> {
        let sectors = job.length / SECTOR_BYTES;
        let most = u64::from(self.info.request_sectors.max(1));
        // Every part but the last ends with a page.
        let most = if most >= 8 { most / 8 * 8 } else { return Err(DiskError) };
        let mut done = 0;
        while done < sectors {
            let (sector, count) = (job.sector + done, most.min(sectors - done) as u32);
            let page = job.run.as_ref().map_or(0, Run::first) + (done / 8) as u32;
            let moved = match job.operation {
                Operation::Write => self.ring.write(sector, count, page).await,
                _ => self.ring.read(sector, count, page).await,
            };
            moved.map_err(|error| {
                log::warn!("a request of the guest to its disk has failed: {error:?}");
                DiskError
            })?;
            done += u64::from(count);
        }
        if (job.operation == Operation::Flush || lasts) && self.info.has_cache {
            self.ring.flush().await.map_err(|_| DiskError)?;
        }
        Ok(())
    }

    /// What a request has read, from `offset` bytes on.
    ///
    /// # Errors
    /// None for a request of this disk.
    pub(crate) fn read(&self, job: &Job, offset: usize, into: &mut [u8]) -> Result<(), DiskError> {
        let run = job.run.as_ref().ok_or(DiskError)?;
        self.ring.buffer().read(run.offset() + offset, into).map_err(|_| DiskError)
    }
}

/// A request that was taken.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) tag: Tag,
    pub(crate) operation: Operation,
    sector: u64,
    pub(crate) length: u64,
    /// Where its data is.
    run: Option<Run>,
    /// Counts it, until it is dropped.
    _place: Place,
}

/// One of the [`JOBS`] places.
#[derive(Debug)]
struct Place(Rc<Cell<usize>>);

impl Place {
    fn take(jobs: &Rc<Cell<usize>>) -> Result<Self, DiskBusy> {
        if jobs.get() >= JOBS {
            return Err(DiskBusy);
        }
        jobs.set(jobs.get() + 1);
        Ok(Self(jobs.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// The disk of one guest.
#[derive(Debug)]
pub(crate) struct RingDisk {
    pub(crate) backing: Backing,
    /// Requests that nobody carries out yet.
    jobs: VecDeque<Job>,
}

impl RingDisk {
    pub(crate) fn new(backing: Backing) -> Self {
        Self { backing, jobs: VecDeque::new() }
    }

    /// A request that somebody is to carry out.
    pub(crate) fn take_job(&mut self) -> Option<Job> {
        self.jobs.pop_front()
    }
}

impl Disk for RingDisk {
    fn sectors(&self) -> u64 {
        self.backing.info.sectors
    }

    fn is_read_only(&self) -> bool {
        self.backing.info.read_only
    }

    fn submit(&mut self, request: &Request<'_>) -> Result<(), DiskBusy> {
        let Request { tag, operation, sector, length, .. } = *request;
        let place = Place::take(&self.backing.jobs)?;
        let mut run = None;
        if operation != Operation::Flush {
            let pages = (length as usize).div_ceil(PAGE);
            let taken = self.backing.area.try_take(pages).ok_or(DiskBusy)?;
            if operation == Operation::Write {
                self.copy(request, &taken);
            }
            run = Some(taken);
        }
        self.jobs.push_back(Job { tag, operation, sector, length, run, _place: place });
        Ok(())
    }
}

impl RingDisk {
    /// Copies what is to be written. Memory that the guest does not have any more is written as zeroes: it has lost it itself.
    fn copy(&self, request: &Request<'_>, run: &Run) {
        let mut bytes = vec![0; PAGE];
        let mut done = 0;
        while done < request.length as usize {
            let count = PAGE.min(request.length as usize - done);
            if request.data(done as u64, &mut bytes[..count]).is_err() {
                bytes.fill(0);
            }
            // The run has as many pages as the request.
            let _ = self.backing.ring.buffer().write(run.offset() + done, &bytes[..count]);
            done += count;
        }
    }
}

/// Asks the driver what the disk is, as often as it dies meanwhile.
async fn ask_driver(block: &BlockClient, name: &str) -> Option<BlockInfo> {
    for _ in 0..ATTEMPTS {
        match block.info() {
            Ok(info) => return Some(info),
            Err(RetriedError::Failed(answer)) => {
                log::error!("the guest has no {name}: its driver says: {answer}");
                return None;
            }
            Err(RetriedError::Refused(error)) => {
                log::error!("the guest has no {name}: its driver cannot be asked: {error}");
                return None;
            }
            Err(_) => executor::sleep(RETRY).await,
        }
    }
    log::error!("the guest has no {name}: its driver does not answer");
    None
}
