//! Functions of the first PCI bus, driven by hand, without a PCI server (PCI Local Bus 3.0, chapter 6).

use super::registers::Registers;
use crate::bench::Bench;
use crate::outcome::Failure;
use abi::PAGE_SIZE;
use abi::device::SourceId;

/// Offsets in configuration space.
const IDENTITY: usize = 0x00;
const COMMAND: usize = 0x04;
const BASE_ADDRESS: usize = 0x10;
const FIRST_CAPABILITY: usize = 0x34;
/// Bits of the command register: it answers to its registers' addresses, and reaches memory by itself.
const MEMORY_AND_MASTER: u16 = 0b110;
/// In a base address: it has 64 bits.
const WIDE: u32 = 1 << 2;
/// The identifier of the capability to send messages (6.8.1), and the bits of its control: on, and addresses of 64 bits.
const MESSAGES: u8 = 0x05;
const MESSAGES_ON: u16 = 1 << 0;
const MESSAGES_WIDE: u16 = 1 << 7;

/// A function.
pub(super) struct Function {
    config: Registers,
    /// Who it is to the IOMMU.
    pub(super) source: SourceId,
}

impl Function {
    /// Finds all with this vendor and device, up to `most`, and lets them use memory. Their configuration spaces are mapped
    /// from `place` on.
    pub(super) fn find(
        bench: &Bench,
        identity: u32,
        most: usize,
        place: u64,
    ) -> Result<alloc::vec::Vec<Self>, Failure> {
        let windows = bench.boot_info().platform.ecam.as_slice();
        let window = windows.first().ok_or_else(|| Failure::new("no configuration space".into()))?;
        let mut found = alloc::vec::Vec::new();
        for device in 0..32 {
            let source = SourceId::new(0, device, 0);
            let place = place + found.len() as u64;
            let config = Registers::map(bench, window.phys + u64::from(source.0) * PAGE_SIZE, place)?;
            if found.len() < most && config.read::<u32>(IDENTITY) == identity {
                config.write(COMMAND, config.read::<u16>(COMMAND) | MEMORY_AND_MASTER);
                found.push(Function { config, source });
            } else {
                config.unmap()?;
            }
        }
        Ok(found)
    }

    /// The only one that there is to be.
    pub(super) fn only(bench: &Bench, identity: u32, name: &str, place: u64) -> Result<Self, Failure> {
        let found = Self::find(bench, identity, 1, place)?.pop();
        found.ok_or_else(|| Failure::new(alloc::format!("the machine has no device `{name}`")))
    }

    /// Where the firmware has put registers.
    pub(super) fn base(&self, index: usize) -> u64 {
        let low = self.config.read::<u32>(BASE_ADDRESS + 4 * index);
        let high = if low & WIDE != 0 { self.config.read::<u32>(BASE_ADDRESS + 4 * index + 4) } else { 0 };
        u64::from(low & !0xf) | u64::from(high) << 32
    }

    /// The offsets of its capabilities with this identifier.
    pub(super) fn capabilities(&self, wanted: u8) -> impl Iterator<Item = usize> {
        let next = |offset: usize| usize::from(self.config.read::<u8>(offset) & 0xfc);
        let all = core::iter::successors(Some(next(FIRST_CAPABILITY)), move |offset| Some(next(offset + 1)));
        all.take(64).take_while(|offset| *offset != 0).filter(move |offset| self.config.read::<u8>(*offset) == wanted)
    }

    /// A word of its configuration space.
    pub(super) fn word(&self, offset: usize) -> u32 {
        self.config.read(offset)
    }

    /// Has it raise its interrupt by this message.
    pub(super) fn set_message(&self, address: u64, data: u32) -> Result<(), Failure> {
        let mut capabilities = self.capabilities(MESSAGES);
        let at = capabilities.next().ok_or_else(|| Failure::new("the device sends no messages".into()))?;
        let control = self.config.read::<u16>(at + 2);
        self.config.write(at + 2, control & !MESSAGES_ON);
        self.config.write(at + 4, address as u32);
        if control & MESSAGES_WIDE != 0 {
            self.config.write(at + 8, (address >> 32) as u32);
            self.config.write(at + 12, data as u16);
        } else {
            self.config.write(at + 8, data as u16);
        }
        self.config.write(at + 2, control | MESSAGES_ON);
        Ok(())
    }

    /// Has it send no messages any more.
    pub(super) fn silence(&self) {
        for at in self.capabilities(MESSAGES) {
            self.config.write(at + 2, self.config.read::<u16>(at + 2) & !MESSAGES_ON);
        }
    }

    /// Gives its configuration space back.
    pub(super) fn leave(&self) -> Result<(), Failure> {
        self.config.unmap()
    }
}
