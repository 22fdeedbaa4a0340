//! From a device on the bus to a disk that works.

use crate::capability::{Missing, Structure, find};
use crate::disk::{CONTROL_BYTES, Disk, StartError, reset};
use crate::region::Region;
use crate::transport::{PciTransport, Vectors};
use alloc::vec::Vec;
use core::fmt;
use driver::{AttachError, Interrupt, PciDevice, TooShort, Window};
use interfaces::pci::{FunctionInfo, PciError};
use userlib::block_ring::Status;
use userlib::ipc::RetriedError;
use userlib::time::{Deadline, Duration, sleep_thread};
use virtio_drivers::transport::DeviceType;

/// Vendor of virtio devices.
const VENDOR: u16 = 0x1af4;
/// Disks: those of virtio 1.0, and those that can also be driven as legacy devices.
const DEVICES: [u16; 2] = [0x1042, 0x1001];
/// Most interrupts that a disk has use for: one for its configuration, one for its queue.
const INTERRUPTS: usize = 2;

/// How long a device may take for a reset.
const RESET_PATIENCE: Duration = Duration::from_millis(1000);
const RESET_POLL: Duration = Duration::from_micros(100);

/// The disk of this program.
pub type MachineDisk = Disk<PciTransport>;

/// Why there is no disk.
#[derive(Debug)]
pub enum Failure {
    /// The device cannot be used.
    Attach(AttachError),
    /// The device is something else.
    NotADisk(FunctionInfo),
    /// It has no virtio registers.
    Structures(Missing<RetriedError<PciError>>),
    /// Its virtio registers are too few.
    TooShort(TooShort),
    /// It does not come to work.
    Start(StartError),
}

impl Failure {
    /// What requests are answered with.
    pub fn status(&self) -> Status {
        match self {
            Failure::NotADisk(_) => Status::NoDevice,
            _ => Status::DeviceError,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Attach(error) => error.fmt(f),
            Failure::NotADisk(info) => {
                write!(f, "{} is no virtio disk ({:04x}:{:04x})", info.address, info.vendor, info.device)
            }
            Failure::Structures(missing) => write!(f, "the disk cannot be used: {missing}"),
            Failure::TooShort(error) => write!(f, "the disk cannot be used: {error}"),
            Failure::Start(error) => error.fmt(f),
        }
    }
}

impl From<AttachError> for Failure {
    fn from(error: AttachError) -> Self {
        Failure::Attach(error)
    }
}

/// Everything about the device but the disk itself.
#[derive(Debug)]
pub struct Attachment {
    /// The device.
    pub device: PciDevice,
    /// By entry of the interrupt table: for the configuration, for the queue. With one interrupt it serves both.
    pub interrupts: Vec<Interrupt>,
    /// Their numbers.
    pub numbers: Vectors,
    /// Memory for the queue, and for headers and status of requests.
    pub control: Region,
}

/// Passes time while a device is reset.
pub fn waiter() -> impl FnMut() -> bool {
    let mut rounds = RESET_PATIENCE.as_micros() / RESET_POLL.as_micros();
    move || {
        sleep_thread(Deadline::after(RESET_POLL));
        rounds = rounds.saturating_sub(1);
        rounds > 0
    }
}

fn window(device: &PciDevice, structure: Structure) -> Result<Window, AttachError> {
    device.window(structure.bar, structure.offset, structure.length)
}

/// Memory for the queue and for the control of requests.
fn provide_memory(device: &PciDevice) -> Result<Region, AttachError> {
    let control = device.dma::<u8>(CONTROL_BYTES)?;
    let (memory, bus) = (control.shared(), control.bus_address());
    // It is kept for ever.
    core::mem::forget(control);
    Ok(Region::new(memory, bus))
}

/// Sets the device up.
///
/// # Errors
/// [`Failure`]; the device is then at rest.
pub fn set_up(device: PciDevice) -> Result<(MachineDisk, Attachment), Failure> {
    let info = device.info();
    if info.vendor != VENDOR || !DEVICES.contains(&info.device) {
        return Err(Failure::NotADisk(info));
    }
    let structures = find(&|offset, width| device.read_config(offset, width)).map_err(Failure::Structures)?;
    let common = window(&device, structures.common)?;
    let notify = window(&device, structures.notify)?;
    let config = structures.device.map(|structure| window(&device, structure)).transpose()?;
    let mut transport = PciTransport::new(DeviceType::Block, common, (notify, structures.notify_multiplier), config)
        .map_err(Failure::TooShort)?;

    let control = provide_memory(&device)?;
    reset(&mut transport, &mut waiter()).map_err(Failure::Start)?;
    // A device with one interrupt raises it for everything; one without any is refused by the PCI server.
    let count = device.interrupts().clamp(1, INTERRUPTS) as u16;
    let interrupts = (0..count).map(|number| device.interrupt(number)).collect::<Result<Vec<_>, _>>()?;
    let numbers = Vectors { config: 0, queue: count - 1 };
    device.enable()?;
    match Disk::start(transport, control, numbers) {
        Ok(disk) => Ok((disk, Attachment { device, interrupts, numbers, control })),
        Err((_, error)) => {
            // It may still know of memory from before; the supervisor does the same if this fails.
            let _ = device.disable();
            Err(Failure::Start(error))
        }
    }
}
