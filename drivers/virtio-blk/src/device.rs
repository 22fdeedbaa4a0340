//! From the PCI server to a disk that works.

use crate::machine::{POOL, Platform, Window};
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::fmt;
use interfaces::pci::{BarInfo, FunctionInfo, PciClient, PciError};
use userlib::block_ring::Status;
use userlib::cap::Interrupt;
use userlib::environment::{InterruptError, InterruptEvents, NotGiven};
use userlib::ipc::RetriedError;
use userlib::memory::{AddressSpace, DeviceRegisters, DmaBuffer, MapError};
use userlib::start::EntryKind;
use userlib::time::{Deadline, Duration, sleep_thread};
use userlib::{Environment, abi};
use virtio_blk::capability::{Missing, Structure, find};
use virtio_blk::disk::{CONTROL_BYTES, Disk, StartError, reset};
use virtio_blk::region::Region;
use virtio_blk::transport::{PciTransport, TooShort, Vectors};
use virtio_drivers::transport::DeviceType;

/// Name of the memory that the domain shares with its device.
const DMA: &str = "dma";
/// Names of the interrupts that the manifest may give.
const INTERRUPTS: [&str; 2] = ["interrupt0", "interrupt1"];
/// Vendor of virtio devices.
const VENDOR: u16 = 0x1af4;
/// Disks: those of virtio 1.0, and those that can also be driven as legacy devices.
const DEVICES: [u16; 2] = [0x1042, 0x1001];

/// How long a device may take for a reset.
const RESET_PATIENCE: Duration = Duration::from_millis(1000);
const RESET_POLL: Duration = Duration::from_micros(100);

/// The disk of this program.
pub(crate) type MachineDisk = Disk<Platform, PciTransport<Window>>;

/// Why there is no disk.
#[derive(Debug)]
pub(crate) enum Failure {
    NotGiven(NotGiven),
    Pci(&'static str, RetriedError<PciError>),
    NotADisk(FunctionInfo),
    Structures(Missing<RetriedError<PciError>>),
    Outside(Structure),
    Map(&'static str, MapError),
    TooShort(TooShort),
    Interrupt(InterruptError),
    NoMemory,
    Start(StartError),
}

impl Failure {
    /// What requests are answered with.
    pub(crate) fn status(&self) -> Status {
        match self {
            Failure::Pci(_, RetriedError::Failed(PciError::NoBus | PciError::NoDevice | PciError::NotAllowed))
            | Failure::NotADisk(_) => Status::NoDevice,
            _ => Status::DeviceError,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::NotGiven(missing) => missing.fmt(f),
            Failure::Pci(step, error) => write!(f, "the PCI server could not {step}: {error}"),
            Failure::NotADisk(info) => {
                write!(f, "{} is no virtio disk ({:04x}:{:04x})", info.address, info.vendor, info.device)
            }
            Failure::Structures(missing) => write!(f, "the disk cannot be used: {missing}"),
            Failure::Outside(structure) => write!(
                f,
                "the disk's registers lie outside of what base address {} gives: {} bytes from {:#x} on",
                structure.bar, structure.length, structure.offset
            ),
            Failure::Map(what, error) => write!(f, "{what} cannot be mapped: {error}"),
            Failure::TooShort(error) => write!(f, "the disk cannot be used: {error}"),
            Failure::Interrupt(error) => error.fmt(f),
            Failure::NoMemory => f.write_str("the memory to be shared with the disk is too small"),
            Failure::Start(error) => error.fmt(f),
        }
    }
}

fn pci<T>(step: &'static str, result: Result<T, RetriedError<PciError>>) -> Result<T, Failure> {
    result.map_err(|error| Failure::Pci(step, error))
}

/// One interrupt of the device.
#[derive(Debug)]
pub(crate) struct Vector {
    pub(crate) events: InterruptEvents,
    /// Its bits of the domain's notification.
    pub(crate) bits: u64,
}

/// Everything about the device but the disk itself.
#[derive(Debug)]
pub(crate) struct Attachment {
    pub(crate) pci: PciClient,
    pub(crate) info: FunctionInfo,
    /// By entry of the interrupt table: for the configuration, for the queue. With one interrupt it serves both.
    pub(crate) vectors: Vec<Vector>,
    pub(crate) numbers: Vectors,
    pub(crate) control: Region,
}

/// Passes time while a device is reset.
pub(crate) fn waiter() -> impl FnMut() -> bool {
    let mut rounds = RESET_PATIENCE.as_micros() / RESET_POLL.as_micros();
    move || {
        sleep_thread(Deadline::after(RESET_POLL));
        rounds = rounds.saturating_sub(1);
        rounds > 0
    }
}

/// Base address registers that are mapped.
struct Bars<'a> {
    pci: &'a PciClient,
    space: &'a AddressSpace,
    mapped: Vec<(u8, BarInfo, Rc<DeviceRegisters>)>,
}

impl Bars<'_> {
    fn window(&mut self, structure: Structure) -> Result<Window, Failure> {
        if !self.mapped.iter().any(|(bar, ..)| *bar == structure.bar) {
            let (info, memory) = pci("give the disk's registers", self.pci.bar(structure.bar))?;
            let pages = (info.offset.saturating_add(info.length)).div_ceil(abi::PAGE_SIZE);
            let registers = DeviceRegisters::map(self.space, memory.cap(), 0, pages)
                .map_err(|error| Failure::Map("the disk's registers", error))?;
            // The capability lasts as long as the mapping: for ever.
            memory.leak();
            self.mapped.push((structure.bar, info, Rc::new(registers)));
        }
        let mapped = self.mapped.iter().find(|(bar, ..)| *bar == structure.bar);
        let window = mapped.and_then(|(_, info, registers)| {
            let offset = structure.offset.checked_sub(info.start)?;
            let inside = offset.checked_add(structure.length)? <= info.length;
            inside.then(|| Window::new(registers.clone(), info.offset + offset, structure.length)).flatten()
        });
        window.ok_or(Failure::Outside(structure))
    }
}

/// Memory for the queue and the control of requests.
fn provide_memory(environment: &Environment, space: &AddressSpace) -> Result<Region, Failure> {
    let memory = environment.memory(DMA).map_err(Failure::NotGiven)?;
    let buffer =
        DmaBuffer::new(space, memory).map_err(|error| Failure::Map("the memory to be shared with the disk", error))?;
    let (address, physical) = (buffer.address() as usize, buffer.physical());
    let pages = buffer.len() / abi::PAGE_SIZE as usize;
    core::mem::forget(buffer);
    // SAFETY: the buffer is never unmapped, nobody else knows of it, and nothing was allocated from the pool before.
    unsafe { POOL.provide(address, physical, pages) };
    let (physical, start) = POOL.allocate(CONTROL_BYTES.div_ceil(abi::PAGE_SIZE as usize)).ok_or(Failure::NoMemory)?;
    // SAFETY: the pages are the region's for ever, which accesses them through atomics only.
    Ok(unsafe { Region::new(start.as_ptr() as usize, physical, CONTROL_BYTES) })
}

fn interrupts(environment: &Environment) -> Result<Vec<Vector>, Failure> {
    let mut vectors = Vec::new();
    for name in INTERRUPTS {
        match environment.entry(EntryKind::Interrupt, name) {
            Ok(entry) => vectors
                .push(Vector { events: environment.interrupt(name).map_err(Failure::Interrupt)?, bits: entry.bits }),
            Err(missing) if vectors.is_empty() => return Err(Failure::NotGiven(missing)),
            Err(_) => {}
        }
    }
    Ok(vectors)
}

/// Claims the device and sets it up.
///
/// # Errors
/// [`Failure`]; the device is then at rest.
pub(crate) fn set_up(environment: &Environment) -> Result<(MachineDisk, Attachment), Failure> {
    let client = PciClient::new(environment.uses("pci").map_err(Failure::NotGiven)?);
    let info = pci("give the disk to this driver", client.claim())?;
    if info.vendor != VENDOR || !DEVICES.contains(&info.device) {
        return Err(Failure::NotADisk(info));
    }
    let no_space = NotGiven { kind: "space", name: "(its own)" };
    let space = environment.address_space().ok_or(Failure::NotGiven(no_space))?;
    let structures = find(&|offset, width| client.read_config(offset, width)).map_err(Failure::Structures)?;
    let mut bars = Bars { pci: &client, space, mapped: Vec::new() };
    let common = bars.window(structures.common)?;
    let notify = bars.window(structures.notify)?;
    let device = structures.device.map(|structure| bars.window(structure)).transpose()?;
    let mut transport = PciTransport::new(DeviceType::Block, common, (notify, structures.notify_multiplier), device)
        .map_err(Failure::TooShort)?;

    let control = provide_memory(environment, space)?;
    let mut vectors = interrupts(environment)?;
    // A device with one interrupt raises it for everything; one without any is refused by the PCI server.
    vectors.truncate(usize::from(info.messages).max(1));
    let numbers = Vectors { config: 0, queue: vectors.len() as u16 - 1 };
    reset(&mut transport, &mut waiter()).map_err(Failure::Start)?;
    for (entry, vector) in (0..).zip(&vectors) {
        let interrupt: userlib::cap::Cap<Interrupt> = vector.events.interrupt();
        pci("enable the disk's interrupts", client.enable_message(entry, interrupt))?;
    }
    pci("let the disk use memory", client.set_bus_mastering(true))?;
    match Disk::start(transport, control, numbers) {
        Ok(disk) => Ok((disk, Attachment { pci: client, info, vectors, numbers, control })),
        Err((_, error)) => {
            // It may still know of memory from before; the supervisor does the same if this fails.
            let _ = client.set_bus_mastering(false);
            Err(Failure::Start(error))
        }
    }
}
