//! What is shown before the first prompt, and what of it is known only later.

use crate::failure::{Failure, Server};
use crate::path::{DISK, Location};
use crate::session::Session;
use core::time::Duration;
use interfaces::supervision::DomainState;
use userlib::ipc::CallError;

/// Shows who it is, how to get help, and who is missing. What is wrong with the disk is known when it is mounted
/// ([`show_disk`]): nobody waits for that.
pub fn show(session: &mut Session<'_>) {
    session.out.fresh_line();
    session.out.line("");
    session.out.line(format_args!(
        "Bulkhead {}, an operating system with watertight compartments. `help` lists the commands.",
        env!("CARGO_PKG_VERSION")
    ));
    show_domains(session);
}

/// Names every domain that will not come by itself.
fn show_domains(session: &mut Session<'_>) {
    for index in 0.. {
        match session.services.domains.domain(index) {
            Ok(Some(info)) => {
                let name = info.name.as_str();
                match info.state {
                    DomainState::Absent => {
                        session.out.line(format_args!("{name} is absent: the machine does not have its device."));
                    }
                    DomainState::Unplugged => session.out.line(format_args!(
                        "{name} is absent: its device was taken out. It is started again when that is back."
                    )),
                    DomainState::Refused => session.out.line(format_args!(
                        "{name} is not started: the manifest requires an IOMMU, which this machine does not have."
                    )),
                    DomainState::Inseparable => session.out.line(format_args!(
                        "{name} is not started: its device cannot be told from another driver's; `log supervisor` \
                         tells which."
                    )),
                    DomainState::GivenUp => session.out.line(format_args!(
                        "The system is degraded: {name} died so often that it is not started again; `log {name}` \
                         tells why, `restart {name}` tries once more."
                    )),
                    DomainState::Stopped => session.out.line(format_args!(
                        "{name} is stopped; `log {name}` may tell why, `restart {name}` starts it."
                    )),
                    DomainState::BackingOff => session.out.line(format_args!(
                        "{name} has died and is about to be started again; `log {name}` tells why."
                    )),
                    DomainState::Starting | DomainState::Running | DomainState::Restarting => {}
                }
            }
            Ok(None) => return,
            Err(error) => {
                let failure = Failure::of_call("cannot ask how the domains are", Server::SUPERVISOR, error);
                return session.report("", &failure);
            }
        }
    }
}

/// What is known of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// Nothing yet: its filesystem has not answered.
    Unknown,
    /// It can be used.
    Good,
    /// It cannot, or it can only be read: that was shown.
    Bad,
}

/// Shows what is wrong with the disk, below whatever stands in the line, if that is known by now or within `patience`.
pub fn show_disk(session: &mut Session<'_>, patience: Duration) -> Disk {
    match session.services.files.volume_within(patience) {
        Ok(volume) if volume.read_only => {
            session.out.fresh_line();
            session.out.line(format_args!("/{DISK} can only be read: the disk, or its filesystem, refuses writes."));
        }
        Ok(_) => return Disk::Good,
        Err(CallError::TimedOut) => return Disk::Unknown,
        Err(error) => {
            let disk = Location::Disk("/".into());
            let failure = Failure::of_file("use", &disk, error);
            session.report("", &failure);
        }
    }
    Disk::Bad
}
