//! What a unit of Intel's says that it can do (VT-d 11.4.2 and 11.4.3).

/// What a unit says that it can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Capabilities {
    pub(super) basic: u64,
    pub(super) extended: u64,
}

impl Capabilities {
    pub(super) const fn domains(self) -> u64 {
        1 << (4 + 2 * (self.basic & 7))
    }

    pub(super) const fn needs_write_flush(self) -> bool {
        self.basic & 1 << 4 != 0
    }

    /// It may remember that nothing is mapped.
    pub(super) const fn remembers_absence(self) -> bool {
        self.basic & 1 << 7 != 0
    }

    /// How many levels of tables it walks, 4 if it can.
    pub(super) const fn levels(self) -> Option<usize> {
        match self.basic >> 8 & 0b110 {
            0b010 => Some(3),
            0b100 | 0b110 => Some(4),
            _ => None,
        }
    }

    /// Of an address that a device uses, how many bits count.
    pub(super) const fn address_bits(self) -> u8 {
        (self.basic >> 16 & 0x3f) as u8 + 1
    }

    pub(super) const fn has_large_pages(self) -> bool {
        self.basic & 1 << 34 != 0
    }

    pub(super) const fn forgets_single_pages(self) -> bool {
        self.basic & 1 << 39 != 0
    }

    /// Of how many pages at most, as a power of two.
    pub(super) const fn forgets_at_once(self) -> u64 {
        self.basic >> 48 & 0x3f
    }

    pub(super) const fn fault_records(self) -> (usize, usize) {
        ((self.basic >> 24 & 0x3ff) as usize * 16, (self.basic >> 40 & 0xff) as usize + 1)
    }

    pub(super) const fn is_coherent(self) -> bool {
        self.extended & 1 != 0
    }

    pub(super) const fn has_queue(self) -> bool {
        self.extended & 1 << 1 != 0
    }

    pub(super) const fn remaps_interrupts(self) -> bool {
        self.extended & 1 << 3 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What QEMU's unit says of itself.
    const QEMU: Capabilities = Capabilities { basic: 0x00d2_008c_2226_0286, extended: 0x0000_0000_00f0_0f4a };

    #[test]
    fn capabilities_are_read_where_they_stand() {
        assert_eq!(QEMU.levels(), Some(3));
        assert_eq!(QEMU.fault_records(), (0x220, 1));
        assert!(QEMU.has_queue() && QEMU.remaps_interrupts() && !QEMU.is_coherent());
        assert!(QEMU.forgets_single_pages() && QEMU.forgets_at_once() == 18);
        assert_eq!(QEMU.domains(), 1 << 16);
    }
}
