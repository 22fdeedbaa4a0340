//! One device: setting up, requests in flight, completions.

use crate::protocol::{self, Features, NO_STATUS, Outcome, SEGMENTS_MAX, SUPPORTED, Segmentation, config, header};
use crate::region::Region;
use crate::transport::{Device, VectorRefused, Vectors};
use core::fmt;
use core::sync::atomic::{Ordering, fence};
use userlib::block_ring::{Limits, Operation, SECTOR_SIZE};
use virtio_drivers::Hal;
use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::DeviceStatus;
use zerocopy::{FromBytes, IntoBytes};

/// Descriptors of the queue. A request takes three, so that about forty are in flight together.
pub const QUEUE_SIZE: usize = 128;
/// Bytes of memory that a disk needs for headers and status of its requests: one part for each tag.
pub const CONTROL_BYTES: usize = TAGS * CONTROL_STRIDE;
/// Tags of requests are below this.
pub const TAGS: usize = 128;

const CONTROL_STRIDE: usize = 32;
const STATUS_OFFSET: usize = protocol::HEADER_BYTES;
const QUEUE: u16 = 0;
/// How often a configuration that changes while it is read is read again.
const CONFIG_ATTEMPTS: usize = 16;

/// Why a device cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartError {
    /// It does not come back from a reset.
    NoReset,
    /// It is a legacy device.
    Legacy,
    /// It does not accept a subset of its own features.
    FeaturesRefused,
    /// Its configuration cannot be read, or changes all the time.
    Config,
    /// Its limits allow no request at all.
    NoRequests,
    /// Its queue has too few places.
    QueueTooSmall(u32),
    /// Its queue is in use right after a reset.
    QueueInUse,
    /// There is no memory for the queue.
    NoMemory,
    /// It takes no message-signalled interrupts.
    NoInterrupts,
    /// It failed while it was set up.
    Failed,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::NoReset => f.write_str("the disk does not come back from a reset"),
            StartError::Legacy => {
                f.write_str("the disk is a legacy device; devices of virtio 1.0 and later are supported")
            }
            StartError::FeaturesRefused => f.write_str("the disk refuses features that it offers"),
            StartError::Config => f.write_str("the disk's configuration cannot be read or does not hold still"),
            StartError::NoRequests => f.write_str("the disk's limits allow no request of even one sector"),
            StartError::QueueTooSmall(size) => {
                write!(f, "the disk's queue has {size} places and at least {QUEUE_SIZE} are needed")
            }
            StartError::QueueInUse => f.write_str("the disk's queue is in use right after a reset"),
            StartError::NoMemory => f.write_str("there is no memory left for the disk's queue"),
            StartError::NoInterrupts => VectorRefused.fmt(f),
            StartError::Failed => f.write_str("the disk failed while it was set up"),
        }
    }
}

impl core::error::Error for StartError {}

impl From<VectorRefused> for StartError {
    fn from(_: VectorRefused) -> Self {
        StartError::NoInterrupts
    }
}

/// How a device that worked has broken its rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It completed a request that is not in flight.
    UnknownCompletion(u16),
    /// It changed a completion while it was read, or completed a request in a way that the queue does not know.
    BadCompletion,
    /// It says that it has written so many bytes where another number belongs.
    WrongLength {
        /// What it says.
        written: u32,
        /// What belongs there.
        expected: usize,
    },
    /// It wrote a status that does not exist.
    BadStatus(u8),
    /// It says that it must be reset.
    NeedsReset,
    /// It has not completed a request for a long time.
    Silent,
    /// It did not take a request although there is room.
    Full,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::UnknownCompletion(head) => write!(f, "it completed request {head}, which is not in flight"),
            Fault::BadCompletion => f.write_str("it changed a completion while that was read"),
            Fault::WrongLength { written, expected } => {
                write!(f, "it says that it has written {written} bytes instead of {expected}")
            }
            Fault::BadStatus(status) => write!(f, "it completed a request with status {status}, which does not exist"),
            Fault::NeedsReset => f.write_str("it asks to be reset"),
            Fault::Silent => f.write_str("it does not complete its requests"),
            Fault::Full => f.write_str("its queue is full although it has room"),
        }
    }
}

impl core::error::Error for Fault {}

/// What a disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Sectors of 512 bytes.
    pub sectors: u64,
    /// Bytes of a block, of which requests should be multiples.
    pub block_size: u32,
    /// Whether it can only be read.
    pub read_only: bool,
    /// Whether it has a cache that can be flushed.
    pub has_cache: bool,
    /// How the data of a request is cut.
    pub segmentation: Segmentation,
}

impl Geometry {
    /// What requests must keep to.
    pub const fn limits(&self) -> Limits {
        Limits { sectors: self.sectors, request_sectors: self.segmentation.sectors(), read_only: self.read_only }
    }
}

/// A request that the device has.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    tag: usize,
    operation: Operation,
    data: Option<Region>,
}

/// A request that the device has completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// Which.
    pub tag: usize,
    /// What became of it.
    pub outcome: Outcome,
}

/// A device that is set up.
#[derive(Debug)]
pub struct Disk<H: Hal, T: Device> {
    transport: T,
    queue: VirtQueue<H, QUEUE_SIZE>,
    control: Region,
    /// By first descriptor.
    in_flight: [Option<InFlight>; QUEUE_SIZE],
    features: Features,
    geometry: Geometry,
}

/// Resets a device. `wait` passes some time and says whether to go on waiting.
///
/// # Errors
/// [`StartError::NoReset`]: the device may then still use any memory that it was ever told of.
pub fn reset(transport: &mut impl Device, wait: &mut dyn FnMut() -> bool) -> Result<(), StartError> {
    transport.set_status(DeviceStatus::empty());
    while transport.get_status() != DeviceStatus::empty() {
        if !wait() {
            return Err(StartError::NoReset);
        }
    }
    Ok(())
}

/// Reads fields of the configuration that belong together.
fn read_config<T: Device, F: FromBytes + IntoBytes + Copy>(transport: &T, offset: usize) -> Result<F, StartError> {
    for _ in 0..CONFIG_ATTEMPTS {
        let before = transport.read_config_generation();
        let field = transport.read_config_space::<F>(offset).map_err(|_| StartError::Config)?;
        if transport.read_config_generation() == before {
            return Ok(field);
        }
    }
    Err(StartError::Config)
}

fn read_geometry<T: Device>(transport: &T, features: Features) -> Result<Geometry, StartError> {
    let field = |feature, offset| match features.contains(feature) {
        true => read_config::<T, u32>(transport, offset).map(Some),
        false => Ok(None),
    };
    let size_max = field(Features::SIZE_MAX, config::SIZE_MAX)?;
    let seg_max = field(Features::SEG_MAX, config::SEG_MAX)?;
    Ok(Geometry {
        sectors: read_config(transport, config::CAPACITY)?,
        block_size: field(Features::BLK_SIZE, config::BLK_SIZE)?.unwrap_or(SECTOR_SIZE as u32),
        read_only: features.contains(Features::RO),
        has_cache: features.contains(Features::FLUSH),
        segmentation: Segmentation::new(size_max, seg_max).ok_or(StartError::NoRequests)?,
    })
}

impl<H: Hal, T: Device> Disk<H, T> {
    /// Sets up a device that was [`reset`]. `control` has [`CONTROL_BYTES`].
    ///
    /// # Errors
    /// [`StartError`] with the transport; the device then knows of no queue that it may use.
    pub fn start(mut transport: T, control: Region, vectors: Vectors) -> Result<Self, (T, StartError)> {
        match Self::set_up(&mut transport, vectors) {
            Ok((queue, features, geometry)) => {
                Ok(Disk { transport, queue, control, in_flight: [None; QUEUE_SIZE], features, geometry })
            }
            Err(error) => {
                // A reset takes back what was set up; the manual wants to be told of the failure, too.
                transport.set_status(DeviceStatus::empty());
                transport.set_status(DeviceStatus::FAILED);
                Err((transport, error))
            }
        }
    }

    #[allow(clippy::type_complexity, reason = "it is taken apart by the one caller")]
    fn set_up(
        transport: &mut T,
        vectors: Vectors,
    ) -> Result<(VirtQueue<H, QUEUE_SIZE>, Features, Geometry), StartError> {
        let mut status = DeviceStatus::ACKNOWLEDGE;
        transport.set_status(status);
        status |= DeviceStatus::DRIVER;
        transport.set_status(status);
        let features = Features::from_bits_truncate(transport.read_device_features()) & SUPPORTED;
        if !features.contains(Features::VERSION_1) {
            return Err(StartError::Legacy);
        }
        transport.write_driver_features(features.bits());
        status |= DeviceStatus::FEATURES_OK;
        transport.set_status(status);
        if !transport.get_status().contains(DeviceStatus::FEATURES_OK) {
            return Err(StartError::FeaturesRefused);
        }
        let geometry = read_geometry(transport, features)?;
        transport.set_vectors(vectors)?;
        let size = transport.max_queue_size(QUEUE);
        if size < QUEUE_SIZE as u32 {
            return Err(StartError::QueueTooSmall(size));
        }
        let queue = VirtQueue::new(transport, QUEUE, false, false).map_err(|error| match error {
            virtio_drivers::Error::AlreadyUsed => StartError::QueueInUse,
            virtio_drivers::Error::DmaError => StartError::NoMemory,
            _ => StartError::Failed,
        })?;
        if !transport.has_queue_vector() {
            // The device must forget the queue before its memory goes.
            transport.set_status(DeviceStatus::empty());
            return Err(StartError::NoInterrupts);
        }
        transport.set_status(status | DeviceStatus::DRIVER_OK);
        let answer = transport.get_status();
        if answer.intersects(DeviceStatus::DEVICE_NEEDS_RESET | DeviceStatus::FAILED) {
            transport.set_status(DeviceStatus::empty());
            return Err(StartError::Failed);
        }
        Ok((queue, features, geometry))
    }

    /// What the disk is.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Features in use.
    pub fn features(&self) -> Features {
        self.features
    }

    /// Takes note of a changed configuration: the disk may have grown, or be in need of a reset.
    ///
    /// # Errors
    /// [`Fault::NeedsReset`], also if the configuration makes no sense any more.
    pub fn take_config(&mut self) -> Result<Geometry, Fault> {
        if self.transport.get_status().contains(DeviceStatus::DEVICE_NEEDS_RESET) {
            return Err(Fault::NeedsReset);
        }
        self.geometry = read_geometry(&self.transport, self.features).map_err(|_| Fault::NeedsReset)?;
        Ok(self.geometry)
    }

    /// Whether there is room for one more request, whatever it is.
    pub fn has_room(&self) -> bool {
        self.queue.available_desc() >= 2 + self.geometry.segmentation.count
    }

    /// Where header and status of a request lie.
    fn control(&self, tag: usize) -> Option<(Region, Region)> {
        let start = tag.checked_mul(CONTROL_STRIDE)?;
        let part = self.control.part(start..start + CONTROL_STRIDE)?;
        Some((part.part(0..protocol::HEADER_BYTES)?, part.part(STATUS_OFFSET..STATUS_OFFSET + 1)?))
    }

    /// Gives the device a request. `tag` (below [`TAGS`]) names it and is not in use; `data` is as long as the request
    /// says, and nobody but the device writes to it until the request is complete. The device is then to be
    /// [notified](Disk::notify).
    ///
    /// # Errors
    /// [`Fault::Full`].
    pub fn submit(&mut self, tag: usize, operation: Operation, sector: u64, data: Option<Region>) -> Result<(), Fault> {
        let (request_header, status) = self.control(tag).ok_or(Fault::Full)?;
        request_header.write(0, &header(operation, sector));
        status.write(0, &[NO_STATUS]);
        let request = InFlight { tag, operation, data };
        let queue = &mut self.queue;
        let cut = self.geometry.segmentation.bytes;
        let head = with_buffers(&request, request_header, status, cut, |inputs, outputs| {
            // SAFETY: the buffers are parts of regions that stay mapped for the rest of the program's life. Until
            // `next_completion` has popped the request, its header and status are left alone because its tag is in
            // use, and the caller leaves its data alone.
            unsafe { queue.add(inputs, outputs) }
        });
        let head = head.ok_or(Fault::Full)?.map_err(|_| Fault::Full)?;
        match self.in_flight.get_mut(usize::from(head)) {
            Some(place) if place.is_none() => *place = Some(request),
            _ => return Err(Fault::Full),
        }
        Ok(())
    }

    /// Tells the device of new requests, unless it said that it looks by itself.
    pub fn notify(&mut self) {
        // The queue's index must be visible before the device's wish is read: the device does it the other way round.
        fence(Ordering::SeqCst);
        if self.queue.should_notify() {
            self.transport.notify(QUEUE);
        }
    }

    /// The next request that the device has completed, if there is one.
    ///
    /// # Errors
    /// [`Fault`]: the device is then to be reset.
    pub fn next_completion(&mut self) -> Result<Option<Completion>, Fault> {
        let Some(head) = self.queue.peek_used() else {
            return Ok(None);
        };
        let place = self.in_flight.get_mut(usize::from(head));
        let request = place.and_then(Option::take).ok_or(Fault::UnknownCompletion(head))?;
        let (request_header, status) = self.control(request.tag).ok_or(Fault::BadCompletion)?;
        let queue = &mut self.queue;
        let cut = self.geometry.segmentation.bytes;
        let written = with_buffers(&request, request_header, status, cut, |inputs, outputs| {
            // SAFETY: these are the buffers with which this request was added: they follow from it alone.
            unsafe { queue.pop_used(head, inputs, outputs) }
        });
        let written = written.ok_or(Fault::BadCompletion)?.map_err(|_| Fault::BadCompletion)?;
        let outcome = status.read(0);
        let outcome = Outcome::from_status(outcome).ok_or(Fault::BadStatus(outcome))?;
        let read = request.operation == Operation::Read;
        let room = 1 + request.data.filter(|_| read).map_or(0, |data| data.len());
        // A request that failed may have been filled in part; one that was carried out must be full.
        if written as usize > room || outcome == Outcome::Done && (written as usize) < room {
            return Err(Fault::WrongLength { written, expected: room });
        }
        Ok(Some(Completion { tag: request.tag, outcome }))
    }

    /// Resets the device, whatever it was doing, and gives its registers back. Nothing is in flight any more.
    ///
    /// # Errors
    /// [`StartError::NoReset`]. The device may still use the queue's memory then, which is never used again.
    pub fn stop(mut self, wait: &mut dyn FnMut() -> bool) -> Result<T, StartError> {
        match reset(&mut self.transport, wait) {
            Ok(()) => Ok(self.transport),
            Err(error) => {
                core::mem::forget(self.queue);
                Err(error)
            }
        }
    }
}

/// The buffers of a request, as the queue wants them: what the device reads, and what it writes. `None` if the data
/// needs more segments than there can be.
fn with_buffers<R>(
    request: &InFlight,
    header: Region,
    status: Region,
    cut: usize,
    use_them: impl for<'a> FnOnce(&'a [&'a [u8]], &'a mut [&'a mut [u8]]) -> R,
) -> Option<R> {
    let mut inputs: [&[u8]; SEGMENTS_MAX + 1] = [&[]; SEGMENTS_MAX + 1];
    let mut outputs: [&mut [u8]; SEGMENTS_MAX + 1] = core::array::from_fn(|_| Default::default());
    let (mut input_count, mut output_count) = (1, 0);
    // SAFETY: `add` and `pop_used` turn the slices into addresses (`Hal::share`), and they end with this function.
    *inputs.first_mut()? = unsafe { header.readable() };
    let mut offset = 0;
    while let Some(data) = request.data.filter(|data| offset < data.len()) {
        let end = data.len().min(offset + cut);
        let segment = data.part(offset..end)?;
        match request.operation {
            Operation::Read => {
                // SAFETY: as above.
                *outputs.get_mut(output_count)? = unsafe { segment.writable() };
                output_count += 1;
            }
            Operation::Write | Operation::Flush => {
                // SAFETY: as above.
                *inputs.get_mut(input_count)? = unsafe { segment.readable() };
                input_count += 1;
            }
        }
        offset = end;
    }
    // SAFETY: as above.
    *outputs.get_mut(output_count)? = unsafe { status.writable() };
    Some(use_them(inputs.get(..input_count)?, outputs.get_mut(..=output_count)?))
}
