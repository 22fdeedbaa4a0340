//! One device: setting up, requests in flight, completions.

use crate::protocol::{self, Features, NO_STATUS, Outcome, SEGMENTS_MAX, SUPPORTED, Segmentation, config, header};
use crate::queue::{PLACES_MAX, Part, QUEUE_BYTES, Queue};
use crate::region::{Region, Span};
use crate::transport::{Device, VectorRefused, Vectors};
use core::fmt;
use userlib::block_ring::{Limits, Operation, SECTOR_SIZE};
use virtio_drivers::transport::DeviceStatus;
use zerocopy::{FromBytes, IntoBytes};

/// The fewest places that the queue must have. A request takes three, so that about forty are in flight together, and twice
/// as many if the device has more places.
pub const PLACES_MIN: u16 = 128;
/// Bytes of memory that a disk needs for its queue, and for headers and status of requests: one part for each tag.
pub const CONTROL_BYTES: usize = QUEUE_BYTES + TAGS * CONTROL_STRIDE;
/// Tags of requests are below this.
pub const TAGS: usize = 128;

const CONTROL_STRIDE: usize = 32;
const STATUS_OFFSET: usize = protocol::HEADER_BYTES;
const QUEUE: u16 = 0;
/// So many requests in flight make it worth while to be told of several completions at once.
const MANY: usize = 8;
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
    /// The memory for the queue is too short.
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
                write!(f, "the disk's queue has {size} places and at least {PLACES_MIN} are needed")
            }
            StartError::QueueInUse => f.write_str("the disk's queue is in use right after a reset"),
            StartError::NoMemory => f.write_str("the memory for the disk's queue is too short"),
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
    UnknownCompletion(u32),
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
    /// Bytes that the device writes if it carries the request out, the status among them.
    room: usize,
    /// Places of the queue.
    places: usize,
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
pub struct Disk<T: Device> {
    transport: T,
    queue: Queue,
    control: Region,
    /// By first descriptor.
    in_flight: [Option<InFlight>; PLACES_MAX as usize],
    in_flight_count: usize,
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

impl<T: Device> Disk<T> {
    /// Sets up a device that was [`reset`]. `control` has [`CONTROL_BYTES`].
    ///
    /// # Errors
    /// [`StartError`] with the transport; the device then knows of no queue that it may use.
    pub fn start(mut transport: T, control: Region, vectors: Vectors) -> Result<Self, (T, StartError)> {
        match Self::set_up(&mut transport, control, vectors) {
            Ok((queue, control, features, geometry)) => {
                let in_flight = [None; PLACES_MAX as usize];
                Ok(Disk { transport, queue, control, in_flight, in_flight_count: 0, features, geometry })
            }
            Err(error) => {
                // A reset takes back what was set up; the manual wants to be told of the failure, too.
                transport.set_status(DeviceStatus::empty());
                transport.set_status(DeviceStatus::FAILED);
                Err((transport, error))
            }
        }
    }

    fn set_up(
        transport: &mut T,
        memory: Region,
        vectors: Vectors,
    ) -> Result<(Queue, Region, Features, Geometry), StartError> {
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
        let places = transport.max_queue_size(QUEUE);
        if places < PLACES_MIN.into() {
            return Err(StartError::QueueTooSmall(places));
        }
        if transport.queue_used(QUEUE) {
            return Err(StartError::QueueInUse);
        }
        // Powers of two, as all queues' sizes are.
        let places = if places < PLACES_MAX.into() { PLACES_MIN } else { PLACES_MAX };
        let memory_of = |range| memory.part(range).ok_or(StartError::NoMemory);
        let control = memory_of(QUEUE_BYTES..CONTROL_BYTES)?;
        let queue = Queue::new(memory_of(0..QUEUE_BYTES)?, places, features.contains(Features::EVENT_IDX));
        let parts = queue.addresses();
        transport.queue_set(QUEUE, places.into(), parts.descriptors, parts.available, parts.used);
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
        Ok((queue, control, features, geometry))
    }

    /// Whether the device answers no more.
    pub fn is_gone(&self) -> bool {
        self.transport.is_gone()
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
        self.queue.room() >= 2 + self.geometry.segmentation.count
    }

    /// Gives the device a request. `tag` (below [`TAGS`]) names it and is not in use; `data` is as long as the request
    /// says, and nobody but the device writes to it until the request is complete. The device is then to be
    /// [notified](Disk::notify).
    ///
    /// # Errors
    /// [`Fault::Full`].
    pub fn submit(&mut self, tag: usize, operation: Operation, sector: u64, data: Option<Span>) -> Result<(), Fault> {
        if tag >= TAGS {
            return Err(Fault::Full);
        }
        let start = tag * CONTROL_STRIDE;
        for (index, word) in header(operation, sector).into_iter().enumerate() {
            self.control.set::<u64>(start + index * 8, word);
        }
        self.control.set::<u8>(start + STATUS_OFFSET, NO_STATUS);
        let bus = self.control.bus() + start as u64;
        let mut parts = [Part { bus, length: protocol::HEADER_BYTES as u32, writable: false }; SEGMENTS_MAX + 2];
        let mut places = 1;
        let mut rest = data.unwrap_or(Span { bus: 0, length: 0 });
        let writable = operation == Operation::Read;
        let mut room = 1;
        while rest.length > 0 {
            let length = rest.length.min(self.geometry.segmentation.bytes);
            *parts.get_mut(places).ok_or(Fault::Full)? = Part { bus: rest.bus, length: length as u32, writable };
            room += if writable { length } else { 0 };
            rest = Span { bus: rest.bus + length as u64, length: rest.length - length };
            places += 1;
        }
        let status = Part { bus: bus + STATUS_OFFSET as u64, length: 1, writable: true };
        *parts.get_mut(places).ok_or(Fault::Full)? = status;
        places += 1;
        let head = parts.get(..places).and_then(|parts| self.queue.add(parts)).ok_or(Fault::Full)?;
        match self.in_flight.get_mut(usize::from(head)) {
            Some(place) if place.is_none() => *place = Some(InFlight { tag, room, places }),
            _ => return Err(Fault::Full),
        }
        self.in_flight_count += 1;
        Ok(())
    }

    /// Tells the device of new requests, unless it said that it looks by itself.
    pub fn notify(&mut self) {
        if self.queue.must_notify() {
            self.transport.notify(QUEUE);
        }
    }

    /// Says that the driver is about to wait for completions, and whether it must not because they are there already. With
    /// many requests in flight it is told when half of them are complete: the device then has the other half to go on with.
    pub fn await_completions(&mut self) -> bool {
        let worth_while = if self.in_flight_count < MANY { 1 } else { self.in_flight_count / 2 };
        self.queue.await_used(worth_while as u16)
    }

    /// The next request that the device has completed, if there is one.
    ///
    /// # Errors
    /// [`Fault`]: the device is then to be reset.
    pub fn next_completion(&mut self) -> Result<Option<Completion>, Fault> {
        let Some(used) = self.queue.next_used() else {
            return Ok(None);
        };
        let place = self.in_flight.get_mut(used.head as usize);
        let request = place.and_then(Option::take).ok_or(Fault::UnknownCompletion(used.head))?;
        self.in_flight_count -= 1;
        // It is below the table's length, or there would have been no request.
        self.queue.take_back(used.head as u16, request.places);
        let outcome = self.control.get::<u8>(request.tag * CONTROL_STRIDE + STATUS_OFFSET);
        let outcome = Outcome::from_status(outcome).ok_or(Fault::BadStatus(outcome))?;
        // A request that failed may have been filled in part; one that was carried out must be full.
        let (written, room) = (used.written, request.room);
        if written as usize > room || outcome == Outcome::Done && (written as usize) < room {
            return Err(Fault::WrongLength { written, expected: room });
        }
        Ok(Some(Completion { tag: request.tag, outcome }))
    }

    /// Resets the device, whatever it was doing, and gives its registers back. Nothing is in flight any more.
    ///
    /// # Errors
    /// [`StartError::NoReset`], with the registers. The device may still use the memory then, which must never be used again.
    pub fn stop(mut self, wait: &mut dyn FnMut() -> bool) -> Result<T, (T, StartError)> {
        match reset(&mut self.transport, wait) {
            Ok(()) => Ok(self.transport),
            Err(error) => Err((self.transport, error)),
        }
    }
}
