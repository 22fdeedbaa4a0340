//! Which states are the same: those with the same future.

use crate::machine::Machine;
use crate::sizes::Tiny;
use std::hash::Hasher;
use xxhash_rust::xxh3::xxh3_128;

/// Names a state. Of ten million states, two share a fingerprint by accident with a probability of about 10⁻²⁵.
pub type Fingerprint = u128;

/// Collects what is to be hashed, to hash it at one go.
#[derive(Debug, Default)]
pub struct Recorder(pub(crate) Vec<u8>);

impl Hasher for Recorder {
    fn finish(&self) -> u64 {
        xxhash_rust::xxh3::xxh3_64(&self.0)
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

impl Recorder {
    /// The fingerprint of a machine's state.
    pub fn fingerprint(&mut self, machine: &Machine<Tiny>) -> Fingerprint {
        self.0.clear();
        machine.kernel.canonical(machine.now, self);
        machine.canonical(self);
        xxh3_128(&self.0)
    }
}

/// The fingerprint of a state: equal for states with the same future.
pub fn fingerprint(machine: &Machine<Tiny>) -> Fingerprint {
    Recorder::default().fingerprint(machine)
}

/// Fingerprints are hashes already.
#[derive(Debug, Default)]
pub(crate) struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u128(&mut self, value: u128) {
        self.0 = value as u64;
    }
}

/// A set of states.
pub(crate) type Fingerprints = std::collections::HashSet<Fingerprint, std::hash::BuildHasherDefault<Identity>>;
