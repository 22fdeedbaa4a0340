//! The driver's start on the machine.

use interfaces::console::ConsoleService;
use uart::console::Console;
use uart::device::{DeviceError, Uart};
use uart::queue::Queue;
use uart::registers::{Register, Registers};
use userlib::abi::Error;
use userlib::cap::{Cap, PortWidth, Ports};
use userlib::environment::{InterruptError, InterruptEvents, NotGiven};
use userlib::ipc::server::Shared;
use userlib::status::{self, Phase};
use userlib::{Environment, executor, log};

/// Names under which the device's ports and interrupt are given.
const PORTS: &str = "ports0";
const INTERRUPT: &str = "interrupt0";
/// Ports of a 16550.
const PORT_COUNT: u32 = 8;
/// Bytes that may wait to be sent. What a client has handed over is lost with the driver, so it is not much.
const SEND_QUEUE: usize = 4096;
/// Bytes that may wait to be read.
const RECEIVE_QUEUE: usize = 4096;

/// The registers behind I/O ports.
#[derive(Debug)]
struct PortRegisters {
    ports: Cap<Ports>,
    first: u16,
}

impl Registers for PortRegisters {
    type Error = Error;

    fn read(&self, register: Register) -> Result<u8, Error> {
        self.ports.read(self.first + register as u16, PortWidth::Byte).map(|value| value as u8)
    }

    fn write(&self, register: Register, value: u8) -> Result<(), Error> {
        self.ports.write(self.first + register as u16, PortWidth::Byte, value.into())
    }
}

/// Why the driver cannot work.
enum StartError {
    NotGiven(NotGiven),
    Interrupt(InterruptError),
    TooFewPorts(u32),
    Device(DeviceError<Error>),
}

impl core::fmt::Display for StartError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            StartError::NotGiven(missing) => missing.fmt(f),
            StartError::Interrupt(error) => error.fmt(f),
            StartError::TooFewPorts(count) => {
                write!(f, "a serial port has {PORT_COUNT} I/O ports, and the manifest gives this driver {count}")
            }
            StartError::Device(error) => error.fmt(f),
        }
    }
}

fn start(environment: &'static Environment) -> Result<(), StartError> {
    let endpoint = environment.provides("console").map_err(StartError::NotGiven)?;
    let (ports, first, count) = environment.ports(PORTS).map_err(StartError::NotGiven)?;
    if count < PORT_COUNT {
        return Err(StartError::TooFewPorts(count));
    }
    let registers = PortRegisters { ports, first };
    let uart = Uart::start(registers, Queue::new(SEND_QUEUE), Queue::new(RECEIVE_QUEUE)).map_err(StartError::Device)?;
    let events = environment.interrupt(INTERRUPT).map_err(StartError::Interrupt)?;
    let console = Shared::new(Console::new(uart));
    executor::spawn(serve_interrupts(console.clone(), events));
    executor::spawn(stop_on_request(console.clone()));
    // The thread serves nothing else.
    let served = executor::serve(endpoint, ConsoleService::shared(console));
    debug_assert!(served.is_ok());
    Ok(())
}

/// Serves the device whenever it asks for it.
async fn serve_interrupts(console: Shared<Console<PortRegisters>>, events: InterruptEvents) {
    loop {
        // In this order: an edge that comes while the line is masked would be lost.
        if let Err(error) = events.acknowledge() {
            log::error!("the serial port's interrupt cannot be acknowledged: {error}");
            return;
        }
        if let Err(error) = console.service() {
            log::error!("{error}");
            return;
        }
        events.next().await;
    }
}

async fn stop_on_request(console: Shared<Console<PortRegisters>>) {
    executor::shutdown_requested().await;
    if let Err(error) = console.stop().await {
        log::warn!("{error}");
    }
    status::set_phase(Phase::Stopped);
}

/// The program.
pub(crate) fn main(environment: &'static Environment) -> ! {
    if let Err(error) = start(environment) {
        log::error!("{error}");
        // Nothing gets better by another start.
        status::set_phase(Phase::Stopped);
    }
    executor::run_forever()
}
