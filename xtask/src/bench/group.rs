//! What can be measured, by the names of the command line.

use super::table::Table;
use super::{BenchError, Plan, appliance, block, boot, costs, density, file, guest, recovery, rpc};
use crate::machine::Accelerator;

/// A group of works that is measured as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Group {
    /// Calls and answers between domains, and refused calls
    Ipc,
    /// Notifications between domains
    Notify,
    /// A page mapped and unmapped
    Map,
    /// From a device's interrupt to its driver
    Irq,
    /// A domain made from its image, up to its first message
    Spawn,
    /// A driver destroyed and built again
    Restart,
    /// Calls, new domains and restarts beside few domains and beside many
    Density,
    /// A call through a typed interface beside the same call made of system calls by hand
    Rpc,
    /// From QEMU's start to the shell's prompt, beside a Linux kernel's way to its first user process
    Boot,
    /// A request to the disk, with an IOMMU that confines the disk's driver and without
    Block,
    /// A file read directly, from an application through the file server and the driver, beside Linux
    File,
    /// Reading while the disk's driver is killed again and again, and the way from a death to the next request
    Recovery,
    /// A Linux as a guest, beside the same Linux by itself, and what it costs a guest to be left for its monitor
    Guest,
    /// A small server as a domain, beside the same in a Linux guest
    Appliance,
}

impl Group {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 14] = [
        Self::Ipc,
        Self::Notify,
        Self::Map,
        Self::Irq,
        Self::Spawn,
        Self::Restart,
        Self::Density,
        Self::Rpc,
        Self::Boot,
        Self::Block,
        Self::File,
        Self::Recovery,
        Self::Guest,
        Self::Appliance,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ipc => "ipc",
            Self::Notify => "notify",
            Self::Map => "map",
            Self::Irq => "irq",
            Self::Spawn => "spawn",
            Self::Restart => "restart",
            Self::Density => "density",
            Self::Rpc => "rpc",
            Self::Boot => "boot",
            Self::Block => "block",
            Self::File => "file",
            Self::Recovery => "recovery",
            Self::Guest => "guest",
            Self::Appliance => "appliance",
        }
    }

    /// What is measured, as a heading.
    pub fn what(self) -> &'static str {
        match self {
            Self::Ipc => "calls and answers between two domains, and refused calls",
            Self::Notify => "notifications between two domains",
            Self::Map => "mapping",
            Self::Irq => "interrupts",
            Self::Spawn => "making a domain",
            Self::Restart => "starting a driver again",
            Self::Density => "what domains cost that do nothing",
            Self::Rpc => "what a typed interface costs beside system calls by hand",
            Self::Boot => "from QEMU's start",
            Self::Block => "what it costs a request to the disk that its driver is confined",
            Self::File => "files read directly, from an application through the file server and the driver",
            Self::Recovery => "what it costs readers that the disk's driver dies",
            Self::Guest => "guests, beside the same Linux in a machine of its own",
            Self::Appliance => "a small server as a domain, beside the same as the only process of a Linux guest",
        }
    }

    /// Whether all of it is counted in a few seconds and comes out the same in every run, so that each change of the sources
    /// can be compared with the [baseline](super::Baseline).
    pub fn is_compared(self) -> bool {
        match self {
            Self::Ipc | Self::Notify | Self::Map | Self::Irq | Self::Spawn | Self::Restart | Self::Rpc => true,
            Self::Density | Self::Boot | Self::Block | Self::File | Self::Recovery | Self::Guest | Self::Appliance => {
                false
            }
        }
    }

    /// Whether there is anything to measure of it with this accelerator: only an emulated processor counts instructions.
    pub fn is_measured_by(self, accelerator: Accelerator) -> bool {
        match self {
            Self::Ipc | Self::Notify | Self::Map | Self::Irq | Self::Boot => true,
            Self::Spawn
            | Self::Restart
            | Self::Density
            | Self::Rpc
            | Self::Block
            | Self::File
            | Self::Recovery
            | Self::Guest
            | Self::Appliance => accelerator == Accelerator::Tcg,
        }
    }

    /// Measures it.
    ///
    /// # Errors
    ///
    /// [`BenchError`].
    pub fn measure(self, plan: &Plan) -> Result<Table, BenchError> {
        match self {
            Self::Ipc | Self::Notify | Self::Map | Self::Irq | Self::Spawn | Self::Restart => costs::costs(self, plan),
            Self::Density => density::density(),
            Self::Rpc => rpc::rpc(),
            Self::Boot => boot::boot(plan.accelerator),
            Self::Block => block::block(&plan.iommu),
            Self::File => file::file(plan),
            Self::Recovery => recovery::recovery(plan),
            Self::Guest => guest::guest(plan),
            Self::Appliance => appliance::appliance(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn every_group_is_shown_by_its_name_on_the_command_line() {
        assert_eq!(Group::value_variants().len(), Group::ALL.len());
        for group in Group::ALL {
            assert_eq!(Group::from_str(group.name(), false), Ok(group));
        }
    }
}
