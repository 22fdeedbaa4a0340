//! The shell's start on the machine.

use core::time::Duration;
use interfaces::block::BlockClient;
use interfaces::console::ConsoleClient;
use interfaces::echo::EchoClient;
use interfaces::filesystem::FilesystemClient;
use interfaces::supervision::SupervisionClient;
use shell::clients::OwnThread;
use shell::services::{Life, Services};
use shell::shell::Shell;
use userlib::abi::Handle;
use userlib::cap::{Cap, Endpoint};
use userlib::ipc::Connection;
use userlib::status::{self, Phase};
use userlib::{Environment, log};

/// How long the shell waits before it tries again to read from a console that has failed.
const CONSOLE_PAUSE: Duration = Duration::from_millis(100);

/// The endpoint of a service. One that the manifest does not give is noted; calls to it are refused, and the commands
/// that need it say so.
fn service(environment: &'static Environment, name: &'static str) -> Connection {
    let endpoint: Cap<Endpoint> = environment.uses(name).unwrap_or_else(|missing| {
        log::warn!("{missing}");
        Cap::from_handle(Handle::NONE)
    });
    Connection::new(endpoint)
}

/// The program.
pub(crate) fn main(environment: &'static Environment) -> ! {
    let files = FilesystemClient::new(service(environment, "filesystem"));
    let domains = SupervisionClient::new(service(environment, "supervision"));
    let disk = BlockClient::new(service(environment, "block"));
    let echo = EchoClient::new(service(environment, "echo"));
    let terminal = ConsoleClient::new(service(environment, "console"));
    let life = OwnThread;
    let services =
        Services { files: &files, domains: &domains, disk: &disk, echo: &echo, terminal: &terminal, life: &life };
    let mut shell = Shell::new(services);
    status::set_phase(Phase::Ready);
    shell.greet();
    loop {
        if let Err(error) = shell.step() {
            log::warn!("the console cannot be read: {error}");
            life.pause(CONSOLE_PAUSE);
        }
    }
}
