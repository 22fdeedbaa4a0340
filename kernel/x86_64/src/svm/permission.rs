//! Which ports and model-specific registers guests use directly: no port, and of the registers those that every entry switches
//! (AMD64 manual volume 2, 15.10 and 15.11).

use super::page::{self, Use};
use kernel_core::Frame;

/// Registers that are the guest's own while it runs: `STAR`, `LSTAR`, `CSTAR`, `SFMASK`, the bases of FS and GS and the one that
/// `swapgs` exchanges, and what `sysenter` loads.
const OWN: [u32; 10] =
    [0xc000_0081, 0xc000_0082, 0xc000_0083, 0xc000_0084, 0xc000_0100, 0xc000_0101, 0xc000_0102, 0x174, 0x175, 0x176];

/// Where the map of ports begins.
pub(super) fn ports() -> Frame {
    page::frame(Use::Ports)
}

/// Where the map of registers begins.
pub(super) fn registers() -> Frame {
    page::frame(Use::Registers)
}

/// Where the two bits of a register are, by its number: two bits each for 0 to 0x1fff in the first 2 KiB, and for 0xc0000000 to
/// 0xc0001fff in the second.
const fn place(register: u32) -> (usize, u32) {
    let base = if register >= 0xc000_0000 { 0x2000 } else { 0 };
    let bit = 2 * (base + (register & 0x1fff));
    ((bit / 64) as usize, bit % 64)
}

/// Fills both maps: everything is intercepted but those registers.
pub(super) fn fill() {
    for page in [page::pages(Use::Ports), page::pages(Use::Registers)].into_iter().flatten() {
        (0..crate::ram::WORDS).for_each(|index| page.set_word(index, u64::MAX));
    }
    for register in OWN {
        let (word, bit) = place(register);
        if let Some(page) = page::pages(Use::Registers).nth(word / crate::ram::WORDS) {
            page.set_word(word, page.word(word) & !(0b11 << bit));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_are_found_in_the_map_as_the_manual_places_them() {
        assert_eq!(place(0), (0, 0));
        assert_eq!(place(0x174), (0x174 * 2 / 64, 0x174 * 2 % 64));
        assert_eq!(place(0xc000_0000), (0x800 / 8, 0));
        assert_eq!(place(0xc000_0102), (0x800 / 8 + 0x102 * 2 / 64, 4));
    }
}
