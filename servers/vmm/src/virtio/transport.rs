//! The modern PCI transport (virtio 1.2, section 4.1): how a driver finds a device, negotiates, and sets its queues up.
//!
//! The device has two pieces of memory: one for its registers and one for the table of MSI-X. A driver that does not use
//! MSI-X gets the function's pin.

use super::device::Device;
use super::queue::{Queue, QueueError};
use crate::memory::GuestMemory;
use crate::pci::{ConfigSpace, Function, Identity, InterruptMessage, Msix};
use alloc::vec::Vec;
use bitflags::bitflags;

/// Bytes of the registers' memory.
pub const MEMORY_BYTES: u32 = 0x4000;
/// Bytes of the memory for the table of MSI-X.
pub const MSIX_BYTES: u32 = 0x1000;

/// Which base address register is whose.
const REGISTERS: usize = 0;
const TABLE: usize = 1;
/// Where the structures begin in the registers' memory; each has a page.
const COMMON: u64 = 0x0000;
const INTERRUPT_STATUS: u64 = 0x1000;
const DEVICE: u64 = 0x2000;
const NOTIFY: u64 = 0x3000;
const STRUCTURE_BYTES: u32 = 0x1000;
/// Bytes between the places at which two queues are notified.
const NOTIFY_MULTIPLIER: u32 = 4;
/// Where the pending bits begin in the table's memory.
const PENDING: usize = 0x800;

/// Capability ids, and kinds of virtio's own (section 4.1.4).
const VENDOR_SPECIFIC: u8 = 0x09;
const MSIX: u8 = 0x11;
const COMMON_CONFIG: u8 = 1;
const NOTIFY_CONFIG: u8 = 2;
const STATUS_CONFIG: u8 = 3;
const DEVICE_CONFIG: u8 = 4;
const PCI_CONFIG: u8 = 5;
/// MSI-X message control: all vectors masked; on.
const FUNCTION_MASKED: u16 = 1 << 14;
const MSIX_ENABLED: u16 = 1 << 15;
/// No vector.
const NO_VECTOR: u16 = 0xffff;
/// The feature that a modern driver accepts and a legacy one does not know.
const VERSION_1: u64 = 1 << 32;
/// Interrupt status: a queue, the configuration.
const QUEUE_INTERRUPT: u8 = 1;
const CONFIG_INTERRUPT: u8 = 2;

bitflags! {
    /// Device status (section 2.1).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    struct Status: u8 {
        const ACKNOWLEDGE = 1;
        const DRIVER = 2;
        const DRIVER_OK = 4;
        const FEATURES_OK = 8;
        const NEEDS_RESET = 64;
        const FAILED = 128;
    }
}

/// A virtio device as a PCI function.
#[derive(Debug)]
pub struct PciTransport<D> {
    device: D,
    config: ConfigSpace,
    msix: Msix,
    /// Offsets of capabilities in the configuration space.
    msix_at: usize,
    window_at: usize,
    queues: Vec<Queue>,
    notified: bool,
    status: Status,
    offered_select: u32,
    accepted_select: u32,
    accepted: u64,
    config_vector: u16,
    queue_select: u16,
    generation: u8,
    interrupt_status: u8,
    /// Why the device needs a reset.
    error: Option<QueueError>,
}

impl<D: Device> PciTransport<D> {
    /// Puts a device onto the bus. Its registers are at `registers`, a multiple of [`MEMORY_BYTES`], and the table of
    /// MSI-X is at `table`, a multiple of [`MSIX_BYTES`], until the guest moves them; its pin INTA arrives at `line`.
    ///
    /// # Panics
    /// If an address is not such a multiple.
    #[must_use]
    pub fn new(device: D, registers: u32, table: u32, line: u8) -> Self {
        let kind = device.kind();
        let [base, sub] = kind.class();
        let mut config = ConfigSpace::new(Identity {
            vendor: 0x1af4,
            // Section 4.1.2: modern devices count from 0x1040 and have at least revision 1.
            device: 0x1040 + kind.number(),
            class: [base, sub, 0],
            revision: 1,
            subsystem: [0x1af4, 0x1100],
        });
        config.add_memory(REGISTERS, registers, MEMORY_BYTES);
        config.add_memory(TABLE, table, MSIX_BYTES);
        config.set_interrupt(1, line);
        let queues: Vec<Queue> = device.queue_sizes().iter().map(|size| Queue::new(*size)).collect();
        let msix = Msix::new(queues.len() + 1);
        let control = (msix.count() as u16 - 1).to_le_bytes();
        let table_at = (TABLE as u32).to_le_bytes();
        let pending_at = (TABLE as u32 | PENDING as u32).to_le_bytes();
        let body = [&control[..], &table_at, &pending_at].concat();
        let msix_at = config.add_capability(MSIX, &body, &[0, ((FUNCTION_MASKED | MSIX_ENABLED) >> 8) as u8]);
        for (structure, offset) in [(COMMON_CONFIG, COMMON), (STATUS_CONFIG, INTERRUPT_STATUS), (DEVICE_CONFIG, DEVICE)]
        {
            config.add_capability(VENDOR_SPECIFIC, &capability(structure, offset, STRUCTURE_BYTES, &[]), &[]);
        }
        let notify = capability(NOTIFY_CONFIG, NOTIFY, STRUCTURE_BYTES, &NOTIFY_MULTIPLIER.to_le_bytes());
        config.add_capability(VENDOR_SPECIFIC, &notify, &[]);
        // Behind the header's two bytes: 2 that stay, which memory, 3 that stay, offset, length, and the window itself.
        let writable = [&[0, 0, 0xff, 0, 0, 0][..], &[0xff; 8], &[0; 4]].concat();
        let window = capability(PCI_CONFIG, 0, 0, &[0; 4]);
        let window_at = config.add_capability(VENDOR_SPECIFIC, &window, &writable);
        Self {
            device,
            config,
            msix,
            msix_at,
            window_at,
            queues,
            notified: false,
            status: Status::empty(),
            offered_select: 0,
            accepted_select: 0,
            accepted: 0,
            config_vector: NO_VECTOR,
            queue_select: 0,
            generation: 0,
            interrupt_status: 0,
            error: None,
        }
    }

    /// The device.
    pub fn device(&mut self) -> &mut D {
        &mut self.device
    }

    /// Which of the function's memory lies at a guest-physical address, and how far inside.
    #[must_use]
    pub fn memory_at(&self, address: u64) -> Option<(usize, u64)> {
        self.config.memory_at(address)
    }

    /// The guest reads from the function's memory.
    pub fn read(&mut self, memory: usize, offset: u64, into: &mut [u8]) {
        into.fill(0);
        match memory {
            REGISTERS => self.read_registers(offset, into),
            TABLE => {
                let offset = offset as usize & (MSIX_BYTES as usize - 1);
                match offset.checked_sub(PENDING) {
                    None => self.msix.read_table(offset, into),
                    Some(offset) => self.msix.read_pending(offset, into),
                }
            }
            _ => {}
        }
    }

    /// The guest writes to the function's memory.
    pub fn write(&mut self, memory: usize, offset: u64, bytes: &[u8]) {
        match memory {
            REGISTERS => self.write_registers(offset, bytes),
            TABLE => {
                let offset = offset as usize & (MSIX_BYTES as usize - 1);
                if offset < PENDING {
                    self.msix.write_table(offset, bytes);
                }
            }
            _ => {}
        }
    }

    /// Whether [`PciTransport::process`] has something to do that the guest has asked for.
    #[must_use]
    pub fn is_notified(&self) -> bool {
        self.notified && self.is_running() && self.config.is_bus_master()
    }

    /// Lets the device work: after the guest has notified it, and whenever what is behind it has something new.
    ///
    /// A round of work is bounded. If [`PciTransport::is_notified`] says so afterwards, there is more.
    pub fn process(&mut self, memory: &mut dyn GuestMemory) {
        if !self.is_running() {
            return;
        }
        // What there is to do waits until the device may reach memory.
        self.notified = !self.config.is_bus_master();
        if self.notified {
            return;
        }
        self.queues.iter_mut().for_each(Queue::begin_round);
        let outcome = self.device.process(&mut self.queues, memory);
        self.notified = self.queues.iter().any(Queue::is_starved);
        for index in 0..self.queues.len() {
            if self.queues[index].take_interrupt() {
                self.interrupt(self.queues[index].vector, QUEUE_INTERRUPT);
            }
        }
        if let Err(error) = outcome {
            self.fail(error);
        }
    }

    /// The device's configuration has changed: its driver is told.
    pub fn announce_config(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        if self.status.contains(Status::DRIVER_OK) {
            self.interrupt(self.config_vector, CONFIG_INTERRUPT);
        }
    }

    /// How the driver broke the rules, if it did since its last reset.
    #[must_use]
    pub fn error(&self) -> Option<QueueError> {
        self.error
    }

    /// Whether the function asserts its pin.
    #[must_use]
    pub fn interrupt_level(&self) -> bool {
        self.interrupt_status != 0 && !self.has_msix() && self.config.may_assert()
    }

    /// Takes a message that is to be sent.
    pub fn take_message(&mut self) -> Option<InterruptMessage> {
        let control = self.config.word(self.msix_at + 2);
        let open = control & MSIX_ENABLED != 0 && control & FUNCTION_MASKED == 0 && self.config.is_bus_master();
        if open { self.msix.take_message() } else { None }
    }

    fn is_running(&self) -> bool {
        self.status.contains(Status::DRIVER_OK) && !self.status.intersects(Status::NEEDS_RESET | Status::FAILED)
    }

    fn has_msix(&self) -> bool {
        self.config.word(self.msix_at + 2) & MSIX_ENABLED != 0
    }

    fn interrupt(&mut self, vector: u16, status: u8) {
        if self.has_msix() {
            self.msix.raise(vector);
        } else {
            self.interrupt_status |= status;
        }
    }

    fn fail(&mut self, error: QueueError) {
        self.error = Some(error);
        self.status |= Status::NEEDS_RESET;
        self.interrupt(self.config_vector, CONFIG_INTERRUPT);
    }

    fn offered(&self) -> u64 {
        self.device.features() | VERSION_1
    }

    fn reset(&mut self) {
        self.device.reset();
        self.queues = self.device.queue_sizes().iter().map(|size| Queue::new(*size)).collect();
        self.msix.clear();
        self.notified = false;
        self.status = Status::empty();
        (self.offered_select, self.accepted_select, self.accepted) = (0, 0, 0);
        (self.config_vector, self.queue_select) = (NO_VECTOR, 0);
        self.interrupt_status = 0;
        self.error = None;
    }

    fn read_registers(&mut self, offset: u64, into: &mut [u8]) {
        let inside = (offset & u64::from(STRUCTURE_BYTES - 1)) as usize;
        match offset & !u64::from(STRUCTURE_BYTES - 1) {
            COMMON => {
                let image = self.common();
                super::device::read_bytes(&image, inside, into);
            }
            INTERRUPT_STATUS => {
                if let (0, Some(first)) = (inside, into.first_mut()) {
                    // Reading acknowledges (section 4.1.4.5).
                    *first = core::mem::take(&mut self.interrupt_status);
                }
            }
            DEVICE => self.device.read_config(inside, into),
            _ => {}
        }
    }

    fn write_registers(&mut self, offset: u64, bytes: &[u8]) {
        let inside = (offset & u64::from(STRUCTURE_BYTES - 1)) as usize;
        match offset & !u64::from(STRUCTURE_BYTES - 1) {
            // A register of 64 bits is two of 32 (section 4.1.3.1).
            COMMON => match bytes.len() {
                8 => {
                    self.write_common(inside, &bytes[..4]);
                    self.write_common(inside + 4, &bytes[4..]);
                }
                _ => self.write_common(inside, bytes),
            },
            NOTIFY => self.notified = true,
            // No device of ours has anything to be written in its configuration.
            _ => {}
        }
    }

    /// What the common configuration says (section 4.1.4.3).
    fn common(&self) -> [u8; 60] {
        let half = |bits: u64, select: u32| if select < 2 { (bits >> (32 * select)) as u32 } else { 0 };
        let mut image = [0; 60];
        let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &self.offered_select.to_le_bytes());
        put(4, &half(self.offered(), self.offered_select).to_le_bytes());
        put(8, &self.accepted_select.to_le_bytes());
        put(12, &half(self.accepted, self.accepted_select).to_le_bytes());
        put(16, &self.config_vector.to_le_bytes());
        put(18, &(self.queues.len() as u16).to_le_bytes());
        put(20, &[self.status.bits(), self.generation]);
        put(22, &self.queue_select.to_le_bytes());
        // The size of a queue that does not exist is 0.
        if let Some(queue) = self.queues.get(usize::from(self.queue_select)) {
            put(24, &queue.size.to_le_bytes());
            put(26, &queue.vector.to_le_bytes());
            put(28, &u16::from(queue.is_enabled()).to_le_bytes());
            put(30, &self.queue_select.to_le_bytes());
            put(32, &queue.descriptors.to_le_bytes());
            put(40, &queue.available.to_le_bytes());
            put(48, &queue.used.to_le_bytes());
        }
        image
    }

    fn write_common(&mut self, offset: usize, bytes: &[u8]) {
        match (offset, bytes) {
            (20, [status, ..]) => self.set_status(*status),
            (_, [a, b, c, d]) => {
                let value = u32::from_le_bytes([*a, *b, *c, *d]);
                match offset {
                    0 => self.offered_select = value,
                    8 => self.accepted_select = value,
                    12 => self.accept(value),
                    32..56 => self.set_ring(offset, value),
                    _ => {}
                }
            }
            (_, [a, b]) => self.write_short(offset, u16::from_le_bytes([*a, *b])),
            _ => {}
        }
    }

    fn write_short(&mut self, offset: usize, value: u16) {
        let vector = if usize::from(value) < self.msix.count() { value } else { NO_VECTOR };
        match offset {
            // A vector that does not exist reads back as none (section 4.1.5.1.2).
            16 => self.config_vector = vector,
            22 => self.queue_select = value,
            _ => {
                let Some(queue) = self.queues.get_mut(usize::from(self.queue_select)) else { return };
                match offset {
                    26 => queue.vector = vector,
                    // What is enabled cannot be changed before a reset.
                    24 if !queue.is_enabled() => queue.size = value,
                    28 if value == 1 && !queue.is_enabled() => {
                        if let Err(error) = queue.enable() {
                            self.fail(error);
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    fn accept(&mut self, value: u32) {
        // After the driver has said that these are its features, it cannot have others.
        if self.accepted_select < 2 && !self.status.contains(Status::FEATURES_OK) {
            let shift = 32 * self.accepted_select;
            self.accepted = self.accepted & !(0xffff_ffff << shift) | u64::from(value) << shift;
        }
    }

    fn set_ring(&mut self, offset: usize, value: u32) {
        let Some(queue) = self.queues.get_mut(usize::from(self.queue_select)) else { return };
        if queue.is_enabled() {
            return;
        }
        let ring = match offset {
            32..40 => &mut queue.descriptors,
            40..48 => &mut queue.available,
            _ => &mut queue.used,
        };
        let shift = match offset % 8 {
            0 => 0,
            4 => 32,
            _ => return,
        };
        *ring = *ring & !(0xffff_ffff << shift) | u64::from(value) << shift;
    }

    fn set_status(&mut self, value: u8) {
        let mut status = Status::from_bits_truncate(value);
        if status.is_empty() {
            self.reset();
            return;
        }
        let old = self.status;
        // What has been said cannot be taken back but by a reset, and only the device says that it needs one.
        status = (status - Status::NEEDS_RESET) | old;
        if !old.contains(Status::FEATURES_OK) {
            // Accepted is what was offered, by a driver that knows this version (section 3.1.1, steps 4 to 6).
            let sound = self.accepted & !self.offered() == 0 && self.accepted & VERSION_1 != 0;
            status.set(Status::FEATURES_OK, status.contains(Status::FEATURES_OK) && sound);
        }
        // A driver that was refused its features cannot start.
        status.set(Status::DRIVER_OK, status.contains(Status::DRIVER_OK | Status::FEATURES_OK));
        self.status = status;
        if (status - old).contains(Status::DRIVER_OK) {
            self.device.start(self.accepted);
            self.notified = true;
        }
    }

    /// The piece of memory that the window in the configuration space shows (section 4.1.4.9).
    fn window(&self) -> Option<(usize, u64, usize)> {
        let memory = self.config.word(self.window_at + 4) as u8;
        let offset = self.config.double_word(self.window_at + 8);
        let length = self.config.double_word(self.window_at + 12);
        let size = match memory {
            0 => MEMORY_BYTES,
            1 => MSIX_BYTES,
            _ => return None,
        };
        let inside =
            matches!(length, 1 | 2 | 4) && offset.checked_add(length)? <= size && offset.is_multiple_of(length);
        inside.then_some((usize::from(memory), u64::from(offset), length as usize))
    }

    /// Whether an access to the configuration space is one to what the window shows.
    fn is_window(&self, offset: usize) -> bool {
        offset == self.window_at + 16
    }
}

impl<D: Device> Function for PciTransport<D> {
    fn read_config(&mut self, offset: usize, into: &mut [u8]) {
        if self.is_window(offset)
            && let Some((memory, at, length)) = self.window()
        {
            let length = length.min(into.len());
            into.fill(0);
            self.read(memory, at, &mut into[..length]);
            return;
        }
        self.config.read(offset, into);
    }

    fn write_config(&mut self, offset: usize, bytes: &[u8]) {
        if self.is_window(offset)
            && let Some((memory, at, length)) = self.window()
        {
            self.write(memory, at, &bytes[..length.min(bytes.len())]);
            return;
        }
        self.config.write(offset, bytes);
    }
}

/// The body of a capability of virtio's own, behind id and pointer.
fn capability(structure: u8, offset: u64, length: u32, more: &[u8]) -> Vec<u8> {
    let total = 16 + more.len() as u8;
    let head = [total, structure, REGISTERS as u8, 0, 0, 0];
    [&head[..], &(offset as u32).to_le_bytes(), &length.to_le_bytes(), more].concat()
}
