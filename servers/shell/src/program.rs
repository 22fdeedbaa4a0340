//! The shell's start on the machine.

use core::time::Duration;
use interfaces::block::BlockClient;
use interfaces::console::ConsoleClient;
use interfaces::echo::EchoClient;
use interfaces::filesystem::FilesystemClient;
use interfaces::supervision::SupervisionClient;
use shell::clients::{GivenApps, GivenGuests, OwnThread, ReadConsole};
use shell::services::{Life, Services};
use shell::shell::Shell;
use userlib::status::{self, Phase};
use userlib::{Environment, log};

/// How long the shell waits before it tries again to read from a console that has failed.
const CONSOLE_PAUSE: Duration = Duration::from_millis(100);

/// The program. Calls to a service that the manifest does not give are refused, and the commands that need it say so.
pub(crate) fn main(environment: &'static Environment) -> ! {
    let files = FilesystemClient::new(environment.connection("filesystem"));
    let domains = SupervisionClient::new(environment.connection("supervision"));
    let disk = BlockClient::new(environment.connection("block"));
    let echo = EchoClient::new(environment.connection("echo"));
    let apps = GivenApps::of(environment);
    let guests = GivenGuests::of(environment);
    let terminal = ReadConsole::new(ConsoleClient::new(environment.connection("console")));
    let life = OwnThread;
    let services = Services {
        files: &files,
        domains: &domains,
        disk: &disk,
        echo: &echo,
        apps: &apps,
        guests: &guests,
        terminal: &terminal,
        life: &life,
    };
    let mut shell = Shell::new(services);
    shell.greet();
    status::set_phase(Phase::Ready);
    loop {
        if let Err(error) = shell.step() {
            log::warn!("the console cannot be read: {error}");
            life.pause(CONSOLE_PAUSE);
        }
        // While it waited for a person it took no notice of its supervisor, who may have asked it to break.
        life.pause(Duration::ZERO);
    }
}
