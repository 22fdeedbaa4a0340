//! All that a guest's processors have around them: the devices, and which of them an access reaches.

mod slot;

use crate::boot::acpi::Devices;
use crate::interrupt::Fabric;
use crate::memory::GuestMemory;
use crate::pci::{ConfigPorts, Function, HostBridge};
use crate::power::{CONTROL_INTERRUPT, Power, PowerRequest, TIMER_PORT};
use crate::serial::Uart;
use crate::timer::{IntervalTimer, PmTimer, RealTimeClock, UnixTime};
use crate::virtio::{Block, Console, Disk, Entropy, EntropySource, Link, MEMORY_BYTES, Network, PciTransport};
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use slot::Slot;

/// The first port of the serial port.
const SERIAL_PORT: u16 = 0x3f8;
/// Its line.
const SERIAL_LINE: u8 = 4;
/// Lines of the interval timer, in the old numbering.
const TIMER_LINE: u8 = 0;
/// Where the interrupt controllers' registers are.
const LOCAL_APIC: u64 = 0xfee0_0000;
const IO_APIC: u64 = 0xfec0_0000;
const PAGE: u64 = 4096;
/// Where the memory of functions begins: behind the guest's own.
const FUNCTIONS: u32 = 0xc000_0000;
/// How far the memory of one function is from the next one's: its registers, and behind them its table of interrupts.
const FUNCTION_BYTES: u32 = 0x1_0000;
/// The last address of such memory.
const FUNCTIONS_END: u32 = 0xfebf_ffff;
/// Lines that a function's pin has in the old numbering. The tables tell of pins behind those.
const FUNCTION_LINE: u8 = 11;
/// Characters of a terminal whose size nobody knows.
const TERMINAL: (u16, u16) = (80, 24);

/// What a machine is made of.
#[derive(Debug)]
pub struct Parts<D, E> {
    /// Its processors.
    pub processors: u8,
    /// Its disks.
    pub disks: Vec<D>,
    /// Where its random bytes come from, if the machine has such a source.
    pub entropy: Option<E>,
    /// Its network card, if it has one: what is at the other end, and the card's Ethernet address.
    pub network: Option<(Box<dyn Link>, [u8; 6])>,
    /// The time of day.
    pub time: UnixTime,
    /// When that is, in nanoseconds.
    pub now: u64,
}

/// A machine without processors and memory.
#[derive(Debug)]
pub struct Board<D, E> {
    fabric: Fabric,
    serial: Uart,
    timer: IntervalTimer,
    clock: RealTimeClock,
    counter: PmTimer,
    power: Power,
    config: ConfigPorts,
    bridge: HostBridge,
    disks: Vec<PciTransport<Block<D>>>,
    entropy: Option<PciTransport<Entropy<E>>>,
    network: Option<PciTransport<Network<Box<dyn Link>>>>,
    console: PciTransport<Console>,
    /// The states of the serial port's and the power management's lines, and of the functions' pins.
    serial_line: bool,
    power_line: bool,
    pins: Vec<bool>,
}

/// The addresses of the function in a slot: its registers, and its table of interrupts.
fn place(slot: usize) -> (u32, u32) {
    let at = FUNCTIONS + slot as u32 * FUNCTION_BYTES;
    (at, at + MEMORY_BYTES)
}

impl<D: Disk, E: EntropySource> Board<D, E> {
    /// A machine that was just switched on.
    #[must_use]
    pub fn new(parts: Parts<D, E>) -> Self {
        let Parts { processors, disks, entropy, network, time, now } = parts;
        // Slot 0 is the bridge's.
        let mut next = 0;
        let mut slot = || {
            next += 1;
            place(next)
        };
        let (registers, table) = slot();
        let console = Console::new(TERMINAL.0, TERMINAL.1);
        let console = PciTransport::new(console, registers, table, FUNCTION_LINE);
        let entropy = entropy.map(|source| {
            let (registers, table) = slot();
            PciTransport::new(Entropy::new(source), registers, table, FUNCTION_LINE)
        });
        let with_place = disks.into_iter().map(|disk| (disk, slot()));
        let disks: Vec<_> = with_place
            .map(|(disk, (registers, table))| {
                PciTransport::new(Block::new(disk, "bulkhead"), registers, table, FUNCTION_LINE)
            })
            .collect();
        let network = network.map(|(link, address)| {
            let (registers, table) = slot();
            PciTransport::new(Network::new(link, address), registers, table, FUNCTION_LINE)
        });
        let slots = 2 + disks.len() + usize::from(entropy.is_some()) + usize::from(network.is_some());
        Self {
            fabric: Fabric::new(processors),
            serial: Uart::new(),
            timer: IntervalTimer::new(),
            clock: RealTimeClock::new(time, now),
            counter: PmTimer::new(now),
            power: Power::new(),
            config: ConfigPorts::new(),
            bridge: HostBridge::new(),
            disks,
            entropy,
            network,
            console,
            serial_line: false,
            power_line: false,
            pins: vec![false; slots],
        }
    }

    /// What the firmware's tables are to tell of it.
    #[must_use]
    pub fn description(&self) -> Devices {
        let processors = u8::try_from(self.fabric.processors()).unwrap_or(u8::MAX);
        Devices { processors, pci_memory: (FUNCTIONS, FUNCTIONS_END) }
    }

    /// The interrupt controllers.
    pub fn fabric(&mut self) -> &mut Fabric {
        &mut self.fabric
    }

    /// A disk, by its number.
    pub fn disk(&mut self, index: usize) -> Option<&mut Block<D>> {
        self.disks.get_mut(index).map(PciTransport::device)
    }

    /// The terminal beside the serial port.
    pub fn console(&mut self) -> &mut Console {
        self.console.device()
    }

    /// The guest reads 1, 2 or 4 bytes from a port. What is not there reads as ones.
    pub fn input(&mut self, port: u16, size: usize, now: u64) -> u32 {
        let size = size.clamp(1, 4);
        let mut bytes = [0xff; 4];
        if port == TIMER_PORT && size == 4 {
            return self.counter.read(now);
        }
        let (config, mut slots) = self.functions();
        if config.read(port, &mut bytes[..size], &mut slots) {
            // To look may take an interrupt back.
            self.settle_functions();
        } else {
            for (byte, port) in bytes[..size].iter_mut().zip(port..=u16::MAX) {
                *byte = self.input_byte(port, now);
            }
        }
        let ones = if size == 4 { 0 } else { u32::MAX << (8 * size) };
        u32::from_le_bytes(bytes) & !ones
    }

    fn input_byte(&mut self, port: u16, now: u64) -> u8 {
        if is_serial(port) {
            let value = self.serial.read(port);
            self.settle_serial();
            return value;
        }
        if (TIMER_PORT..TIMER_PORT + 4).contains(&port) {
            return self.counter.read(now).to_le_bytes()[usize::from(port - TIMER_PORT)];
        }
        let found = self.power.read(port).or_else(|| self.timer.read(port, now));
        let found = found.or_else(|| self.clock.read(port, now));
        found.or_else(|| self.fabric.read_port(port)).unwrap_or(0xff)
    }

    /// The guest writes 1, 2 or 4 bytes to a port. What is not there is not written.
    pub fn output(&mut self, port: u16, size: usize, value: u32, now: u64) {
        let bytes = value.to_le_bytes();
        let bytes = &bytes[..size.clamp(1, 4)];
        let (config, mut slots) = self.functions();
        if config.write(port, bytes, &mut slots) {
            self.settle_functions();
            return;
        }
        for (byte, port) in bytes.iter().zip(port..=u16::MAX) {
            self.output_byte(port, *byte, now);
        }
    }

    fn output_byte(&mut self, port: u16, value: u8, now: u64) {
        if is_serial(port) {
            self.serial.write(port, value);
            self.settle_serial();
        } else if self.power.write(port, value) {
            self.settle_power();
        } else {
            let _ = self.timer.write(port, value, now)
                || self.clock.write(port, value, now)
                || self.fabric.write_port(port, value);
        }
    }

    /// A processor reads up to 8 bytes where it has no memory. What is not there reads as ones.
    pub fn read(&mut self, processor: usize, address: u64, size: usize, now: u64) -> u64 {
        let offset = (address % PAGE) as u16;
        match address & !(PAGE - 1) {
            LOCAL_APIC => u64::from(self.fabric.read_local(processor, offset & !3, now)) >> (8 * (offset & 3)),
            IO_APIC => u64::from(self.fabric.read_io(offset & !3)) >> (8 * (offset & 3)),
            _ => {
                let mut bytes = [0xff; 8];
                let size = size.clamp(1, 8);
                if let Some((slot, (memory, offset))) = self.slot_at(address) {
                    slot.read(memory, offset, &mut bytes[..size]);
                    // To look may take an interrupt back.
                    self.settle_functions();
                }
                u64::from_le_bytes(bytes)
            }
        }
    }

    /// A processor writes up to 8 bytes where it has no memory. What is not there is not written.
    pub fn write(&mut self, processor: usize, address: u64, size: usize, value: u64, now: u64) {
        let offset = (address % PAGE) as u16;
        match address & !(PAGE - 1) {
            // Registers are of 32 bits and are written as such.
            LOCAL_APIC if size == 4 => self.fabric.write_local(processor, offset, value as u32, now),
            IO_APIC if size == 4 => self.fabric.write_io(offset, value as u32),
            LOCAL_APIC | IO_APIC => {}
            _ => {
                if let Some((slot, (memory, offset))) = self.slot_at(address) {
                    slot.write(memory, offset, &value.to_le_bytes()[..size.clamp(1, 8)]);
                    self.settle_functions();
                }
            }
        }
    }

    /// Whether [`Board::work`] has something to do that the guest has asked for.
    pub fn has_work(&mut self) -> bool {
        self.slots().any(|slot| slot.is_notified())
    }

    /// Lets the devices work that the guest has notified, a round each.
    pub fn work(&mut self, memory: &mut dyn GuestMemory) {
        self.slots().filter(|slot| slot.is_notified()).for_each(|slot| slot.process(memory));
        self.settle_functions();
    }

    /// Something was completed for a disk, or there is room again for what waits.
    pub fn work_on_disk(&mut self, index: usize, memory: &mut dyn GuestMemory) {
        if let Some(disk) = self.disks.get_mut(index) {
            disk.process(memory);
            self.settle_functions();
        }
    }

    /// A frame has come for the guest, or there is room again for what it sends. Returns whether that was not all in one round.
    pub fn work_on_network(&mut self, memory: &mut dyn GuestMemory) -> bool {
        let Some(network) = &mut self.network else { return false };
        network.process(memory);
        let has_more = network.is_notified();
        self.settle_functions();
        has_more
    }

    /// The terminal has been typed at, or its output was taken.
    pub fn work_on_console(&mut self, memory: &mut dyn GuestMemory) {
        self.console.process(memory);
        self.settle_functions();
    }

    /// When something is to happen by itself next, in nanoseconds.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        let locals = (0..self.fabric.processors()).filter_map(|processor| self.fabric.next_deadline(processor));
        locals.chain(self.timer.next_deadline()).min()
    }

    /// Time has passed.
    pub fn advance(&mut self, now: u64) {
        for processor in 0..self.fabric.processors() {
            self.fabric.advance(processor, now);
        }
        if self.timer.advance(now) {
            // The output rests at high: a request whose line falls again is none to the old controllers.
            self.fabric.set_line(TIMER_LINE, false);
            self.fabric.set_line(TIMER_LINE, true);
        }
    }

    /// Types at the serial port. Returns how many bytes were taken.
    pub fn type_at_serial(&mut self, bytes: &[u8]) -> usize {
        let taken = self.serial.receive(bytes);
        self.settle_serial();
        taken
    }

    /// Takes what was written to the serial port.
    pub fn take_serial_output(&mut self) -> Vec<u8> {
        let taken = self.serial.take_output();
        self.settle_serial();
        taken
    }

    /// Presses the power button.
    pub fn press_power_button(&mut self) {
        self.power.press_button();
        self.settle_power();
    }

    /// What the guest wants to happen to its machine.
    pub fn take_power_request(&mut self) -> Option<PowerRequest> {
        self.power.take_request()
    }

    fn settle_serial(&mut self) {
        let level = self.serial.interrupt_level();
        if level != self.serial_line {
            self.serial_line = level;
            self.fabric.set_line(SERIAL_LINE, level);
        }
    }

    fn settle_power(&mut self) {
        let level = self.power.interrupt_level();
        if level != self.power_line {
            self.power_line = level;
            self.fabric.set_line(CONTROL_INTERRUPT, level);
        }
    }

    /// Carries the functions' interrupts to the controllers.
    fn settle_functions(&mut self) {
        let Self { fabric, disks, entropy, network, console, pins, .. } = self;
        let disks = disks.iter_mut().map(|disk| disk as &mut dyn Slot);
        let entropy = entropy.as_mut().map(|entropy| entropy as &mut dyn Slot);
        let network = network.as_mut().map(|network| network as &mut dyn Slot);
        let slots = [console as &mut dyn Slot].into_iter().chain(entropy).chain(disks).chain(network);
        for (number, slot) in (1_u8..).zip(slots) {
            while let Some(message) = slot.take_message() {
                fabric.signal(message.address, message.data);
            }
            let (level, pin) = (slot.interrupt_level(), usize::from(Devices::pin_of_slot(number)));
            if pins.get(usize::from(number)).is_some_and(|known| *known != level) {
                pins[usize::from(number)] = level;
                fabric.set_pin(pin, level);
            }
        }
    }

    /// Every function but the bridge, in the order of their slots from 1 on.
    fn slots(&mut self) -> impl Iterator<Item = &mut dyn Slot> {
        let disks = self.disks.iter_mut().map(|disk| disk as &mut dyn Slot);
        let entropy = self.entropy.as_mut().map(|entropy| entropy as &mut dyn Slot);
        let network = self.network.as_mut().map(|network| network as &mut dyn Slot);
        [&mut self.console as &mut dyn Slot].into_iter().chain(entropy).chain(disks).chain(network)
    }

    /// The configuration ports, and every function in the order of slots.
    fn functions(&mut self) -> (&mut ConfigPorts, Vec<&mut dyn Function>) {
        let disks = self.disks.iter_mut().map(|disk| disk as &mut dyn Function);
        let entropy = self.entropy.as_mut().map(|entropy| entropy as &mut dyn Function);
        let network = self.network.as_mut().map(|network| network as &mut dyn Function);
        let first: [&mut dyn Function; 2] = [&mut self.bridge, &mut self.console];
        (&mut self.config, first.into_iter().chain(entropy).chain(disks).chain(network).collect())
    }

    fn slot_at(&mut self, address: u64) -> Option<(&mut dyn Slot, (usize, u64))> {
        self.slots().find_map(|slot| slot.memory_at(address).map(|place| (slot, place)))
    }
}

fn is_serial(port: u16) -> bool {
    (SERIAL_PORT..SERIAL_PORT + crate::serial::PORTS).contains(&port)
}
