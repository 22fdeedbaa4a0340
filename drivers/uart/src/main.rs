//! The serial port's driver.
#![cfg_attr(target_os = "none", no_std, no_main)]

use driver::{AttachError, LegacyDevice, Running, driver};
use interfaces::console::ConsoleService;
use uart::console::Console;
use uart::device::Uart;
use uart::queue::Queue;
use userlib::ipc::server::Shared;
use userlib::{Environment, executor};

/// Bytes that may wait to be sent. What a client has handed over is lost with the driver, so it is not much.
const SEND_QUEUE: usize = 4096;
/// Bytes that may wait to be read, or for their reader to say that they have arrived.
const RECEIVE_QUEUE: usize = 4096;

#[driver]
async fn uart(device: LegacyDevice) -> Result<Running, AttachError> {
    let uart = Uart::start(device.registers(0)?, Queue::new(SEND_QUEUE), Queue::new(RECEIVE_QUEUE))?;
    let interrupt = device.interrupt(0)?;
    let instance = Environment::current().map_or(0, |environment| environment.page().instance);
    let console = Shared::new(Console::new(uart, instance));
    let (server, rest) = (console.clone(), console.clone());
    executor::spawn(async move { console.serve_interrupts(interrupt).await });
    Ok(driver::serve(ConsoleService::shared(server))?.at_rest(async move { rest.stop().await }))
}
