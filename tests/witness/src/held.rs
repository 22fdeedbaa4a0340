//! The connections of this client, and what it holds at servers.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;
use interfaces::block::BlockClient;
use interfaces::command::CommandError;
use interfaces::console::ConsoleClient;
use interfaces::echo::{EchoClient, Misbehaviour};
use interfaces::filesystem::{Access, FileId, FilesystemClient};
use interfaces::pci::PciClient;
use interfaces::supervision::{Crash, SupervisionClient};
use userlib::Environment;
use userlib::cap::{Cap, System};

/// A file that the default disk has, and how it is read.
const FILE: &str = "/big16m.bin";
const PIECE: usize = 4096;
/// A way through the file that the file server's cache has nothing of: so far from one piece to the next.
const STRIDE: u64 = 257 * PIECE as u64;

/// In microseconds: so long after a call has begun its server dies.
const UNDER_WAY: u64 = 20_000;
/// In milliseconds: so long a call takes that is under way then.
const LONG: u64 = 60;

/// A connection to each server, made when this client started.
pub(crate) struct Connections {
    console: ConsoleClient,
    files: FilesystemClient,
    disk: BlockClient,
    pci: PciClient,
    echo: EchoClient,
    pub(crate) supervisor: SupervisionClient,
    /// What the kernel tells of the whole machine.
    pub(crate) system: Cap<System>,
}

/// What is held at a domain, or by way of it, while it dies.
pub(crate) enum Held {
    /// An open file, and where it is read next.
    File { file: FileId, offset: u64 },
    /// Nothing but the connection.
    Connection,
}

fn failed(what: &str, why: impl fmt::Display) -> CommandError {
    CommandError::failed(format_args!("{what}: {why}"))
}

impl Connections {
    pub(crate) fn of(environment: &Environment) -> Self {
        Self {
            console: ConsoleClient::new(environment.connection("console")),
            files: FilesystemClient::new(environment.connection("filesystem")),
            disk: BlockClient::new(environment.connection("block")),
            pci: PciClient::new(environment.connection("pci")),
            echo: EchoClient::new(environment.connection("echo")),
            supervisor: SupervisionClient::new(environment.connection("supervision")),
            system: environment.capability("system").expect("the manifest grants it the kernel's log and statistics"),
        }
    }

    /// Holds what can be held at a domain before the death with this number.
    pub(crate) fn hold(&self, domain: &str, number: u64) -> Result<Held, CommandError> {
        match domain {
            "fat" | "virtio-blk" | "pci" => {
                let opened = self.files.open(FILE, Access::Read).map_err(|why| failed("open", why))?;
                let offset = number * STRIDE % (opened.length - PIECE as u64);
                Ok(Held::File { file: opened.file, offset })
            }
            _ => Ok(Held::Connection),
        }
    }

    /// Uses what was held, in words.
    pub(crate) fn use_held(&self, held: Held) -> String {
        let Held::File { file, offset } = held else { return "calls are served".to_string() };
        let mut bytes = [0; PIECE];
        let seen = match self.files.read(file, offset, &mut bytes) {
            Ok(PIECE) => "an open file is read on".to_string(),
            Ok(count) => format!("an open file ends after {count} bytes"),
            Err(why) => format!("an open file: {why}"),
        };
        // Where it is open no more, there is nothing to close.
        let _ = self.files.close(file);
        seen
    }

    /// Has the echo server die while it works on a call, once on one that is repeated by itself and once on one that is not:
    /// what became of them.
    pub(crate) fn die_under_way(&self) -> Result<String, CommandError> {
        let kill = || self.supervisor.kill("echo", UNDER_WAY).map_err(|why| failed("kill", why));
        kill()?;
        let repeated = match self.echo.later(LONG, 7) {
            Ok(7) => "idempotent: repeated".to_string(),
            Ok(other) => format!("idempotent: answered {other}"),
            Err(why) => format!("idempotent: {why}"),
        };
        kill()?;
        let other = match self.echo.misbehave(Misbehaviour::Silence) {
            Ok(()) => "other: answered".to_string(),
            Err(why) => format!("other: {why}"),
        };
        Ok(format!("a call under way, {repeated}; {other}"))
    }

    /// Has the supervisor die while it works on a call, which is not repeated: what became of it. A domain that loops does not
    /// come to rest, so to restart it takes a while.
    pub(crate) fn die_under_restart(&self) -> Result<String, CommandError> {
        self.supervisor.crash("echo", Crash::Hang, 0).map_err(|why| failed("crash", why))?;
        self.supervisor.crash("supervisor", Crash::Panic, UNDER_WAY).map_err(|why| failed("crash", why))?;
        let restart = match self.supervisor.restart("echo") {
            Ok(()) => "carried out".to_string(),
            Err(why) => why.to_string(),
        };
        Ok(format!("calls are served; a restart under way: {restart}, and the next supervisor goes through with it"))
    }

    /// Calls every server that is, by connections of old.
    pub(crate) fn call(&self, domain: &str) -> Result<(), CommandError> {
        match domain {
            "uart" => self.console.size().map(drop).map_err(|why| failed("console", why)),
            "pci" => self.pci.function(0).map(drop).map_err(|why| failed("pci", why)),
            "virtio-blk" => self.disk.info().map(drop).map_err(|why| failed("disk", why)),
            "fat" => self.files.volume().map(drop).map_err(|why| failed("files", why)),
            "echo" => match self.echo.ping(1) {
                Ok(1) => Ok(()),
                Ok(other) => Err(failed("echo", other)),
                Err(why) => Err(failed("echo", why)),
            },
            "supervisor" => self.supervisor.uptime().map(drop).map_err(|why| failed("supervisor", why)),
            // It serves nobody.
            _ => Ok(()),
        }
    }
}
