//! Which function belongs to which domain.

use crate::function::Function;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use manifest::{Bus, System};

/// What the manifest's wish of a domain came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The domain's badge at this server: its index in the manifest.
    pub badge: u64,
    /// Its name.
    pub domain: String,
    /// Position of its function in the list of all, or why it has none.
    pub function: Result<usize, Unassigned>,
}

/// Why a domain has no function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unassigned {
    /// The machine has none that matches.
    Absent,
    /// The one that matches belongs to a domain that the manifest names before.
    Taken,
    /// The one that matches is a bridge, which no driver can have.
    Bridge,
}

impl fmt::Display for Assignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.function {
            Ok(_) => write!(f, "{} has its function", self.domain),
            Err(Unassigned::Absent) => write!(f, "the machine has no function for {}", self.domain),
            Err(Unassigned::Taken) => {
                write!(f, "the function for {} belongs to another domain: change the manifest", self.domain)
            }
            Err(Unassigned::Bridge) => {
                write!(f, "the function for {} is a bridge: change the manifest", self.domain)
            }
        }
    }
}

/// Gives each domain whose device is on the PCI bus the function that the manifest describes; `functions` are in the
/// order of addresses.
pub fn assign(system: &System, functions: &[Function]) -> Vec<Assignment> {
    let mut taken = Vec::new();
    let mut assignments = Vec::new();
    for (domain_index, domain) in system.domains() {
        let Some(Bus::Pci { vendor, devices, index, .. }) = domain.device.as_ref().map(|device| &device.bus) else {
            continue;
        };
        let matches = |function: &Function| function.vendor == *vendor && devices.contains(&function.device);
        let nth = functions.iter().enumerate().filter(|(_, function)| matches(function)).nth(usize::from(*index));
        let function = match nth {
            None => Err(Unassigned::Absent),
            Some((_, function)) if !function.is_device() => Err(Unassigned::Bridge),
            Some((position, _)) if taken.contains(&position) => Err(Unassigned::Taken),
            Some((position, _)) => {
                taken.push(position);
                Ok(position)
            }
        };
        let badge = domain_index.0.into();
        assignments.push(Assignment { badge, domain: domain.name.clone(), function });
    }
    assignments
}
