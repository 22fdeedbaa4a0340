//! Bytes to what a guest that means harm does with the models of its devices.
//!
//! Each model is driven through everything that a guest reaches, and by its other side as far as that changes what the
//! guest can reach. What has to hold is checked along the way; a model that panics or does not come to an end is found by
//! that alone.

mod image;
mod machine;
mod virtio;

use crate::bytes::Bytes;

/// At most this many steps are made of one input.
const MAX_STEPS: usize = 512;

/// A model, or another part of a virtual machine's monitor that reads what a guest gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// The serial port.
    Serial,
    /// Local APICs, I/O APIC and PICs.
    Interrupts,
    /// Interval timer, clock and power.
    Clocks,
    /// The virtio disk.
    Disk,
    /// The virtio terminal.
    Console,
    /// The virtio network interface.
    Network,
    /// The virtio source of random bytes.
    Entropy,
    /// Instructions that access devices.
    Instruction,
    /// Images of kernels.
    Image,
}

impl Model {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Serial,
        Self::Interrupts,
        Self::Clocks,
        Self::Disk,
        Self::Console,
        Self::Network,
        Self::Entropy,
        Self::Instruction,
        Self::Image,
    ];

    /// Its name, which is that of its fuzz target.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Serial => "serial",
            Self::Interrupts => "interrupts",
            Self::Clocks => "clocks",
            Self::Disk => "disk",
            Self::Console => "console",
            Self::Network => "network",
            Self::Entropy => "entropy",
            Self::Instruction => "instruction",
            Self::Image => "image",
        }
    }

    /// Does what the bytes say. Returns how many steps that was.
    ///
    /// # Panics
    /// If the model does, or if something does not hold that has to.
    pub fn play(self, bytes: &[u8]) -> usize {
        let mut bytes = Bytes::new(bytes);
        match self {
            Self::Serial => machine::serial(&mut bytes),
            Self::Interrupts => machine::interrupts(&mut bytes),
            Self::Clocks => machine::clocks(&mut bytes),
            Self::Disk => virtio::disk(&mut bytes),
            Self::Console => virtio::console(&mut bytes),
            Self::Network => virtio::network(&mut bytes),
            Self::Entropy => virtio::entropy(&mut bytes),
            Self::Instruction => image::instruction(&mut bytes),
            Self::Image => image::image(bytes),
        }
    }
}

/// Makes a step as long as there are bytes.
fn steps(bytes: &mut Bytes<'_>, mut step: impl FnMut(&mut Bytes<'_>)) -> usize {
    let mut made = 0;
    while made < MAX_STEPS && !bytes.is_empty() {
        step(bytes);
        made += 1;
    }
    made
}
