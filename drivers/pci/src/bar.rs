//! Base address registers (PCI 3.0, 6.2.5).

use crate::config::{ConfigSpace, FunctionAddress, Width, register};

/// Registers of an endpoint.
pub const COUNT: u8 = 6;

const IO: u32 = 1;
const TYPE: u32 = 0b110;
const TYPE_64: u32 = 0b100;
const TYPE_BELOW_1M: u32 = 0b010;
const PREFETCHABLE: u32 = 1 << 3;
const FLAGS: u32 = 0xf;

/// Memory behind a base address register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bar {
    /// Its (lower) register, 0 to 5.
    pub index: u8,
    /// Physical address; 0 if the firmware has given it none.
    pub base: u64,
    /// Bytes, a power of two, or 0 if the register answers garbage; `None` if it could not be measured yet.
    pub length: Option<u64>,
    /// Whether reading has no side effects.
    pub prefetchable: bool,
}

/// A function's memory registers, by index; those of I/O ports are left out: the server does not serve them.
pub type Bars = [Option<Bar>; COUNT as usize];

/// Offset of a register.
pub const fn offset(index: u8) -> u16 {
    register::BAR + index as u16 * 4
}

/// The registers as they are.
pub fn raw(config: &impl ConfigSpace, function: FunctionAddress) -> [u32; COUNT as usize] {
    core::array::from_fn(|index| config.read(function, offset(index as u8), Width::Long))
}

/// What the registers say without being written to: where memory is, not how long it is.
pub fn read(raw: &[u32; COUNT as usize]) -> Bars {
    let mut bars = [None; COUNT as usize];
    let mut index = 0;
    while index < raw.len() {
        let low = raw[index];
        let wide = low & (IO | TYPE) == TYPE_64;
        if let Some(base) = base(low, wide.then(|| raw.get(index + 1).copied())) {
            let prefetchable = low & PREFETCHABLE != 0;
            bars[index] = Some(Bar { index: index as u8, base, length: None, prefetchable });
        }
        index += if wide { 2 } else { 1 };
    }
    bars
}

/// The address in a register; `high` is there for those of 64 bits, and holds nothing if there is no next register.
fn base(low: u32, high: Option<Option<u32>>) -> Option<u64> {
    if low & IO != 0 {
        return None;
    }
    let address = u64::from(low & !FLAGS);
    match (low & TYPE, high) {
        (0 | TYPE_BELOW_1M, _) => Some(address),
        (TYPE_64, Some(Some(high))) => Some(u64::from(high) << 32 | address),
        _ => None,
    }
}

/// Whether a register of these, as they are, holds an address of 64 bits.
pub fn is_wide(raw: &[u32; COUNT as usize], index: u8) -> bool {
    raw.get(usize::from(index)).is_some_and(|low| low & (IO | TYPE) == TYPE_64)
}

/// Puts the memory behind a register at `base`, and tells whether the register has taken that. The function's decoding of
/// memory must be off.
pub fn place(config: &impl ConfigSpace, function: FunctionAddress, bar: &Bar, base: u64) -> bool {
    let wide = is_wide(&raw(config, function), bar.index);
    config.write(function, offset(bar.index), Width::Long, base as u32);
    if wide {
        config.write(function, offset(bar.index + 1), Width::Long, (base >> 32) as u32);
    }
    let placed = read(&raw(config, function)).get(usize::from(bar.index)).copied().flatten();
    placed.is_some_and(|placed| placed.base == base)
}

/// Measures all memory registers and leaves them as they were. While this happens the function answers at other
/// addresses than before, so its decoding of memory must be off.
pub fn measure(config: &impl ConfigSpace, function: FunctionAddress) -> Bars {
    let before = raw(config, function);
    let mut bars = read(&before);
    for bar in bars.iter_mut().flatten() {
        let index = usize::from(bar.index);
        let wide = before[index] & TYPE == TYPE_64;
        let registers = if wide { index..=index + 1 } else { index..=index };
        for register in registers.clone() {
            config.write(function, offset(register as u8), Width::Long, u32::MAX);
        }
        let answer = raw(config, function);
        for register in registers {
            config.write(function, offset(register as u8), Width::Long, before[register]);
        }
        let low = answer[index] & !FLAGS;
        let high = wide.then(|| answer.get(index + 1).copied().unwrap_or(0));
        bar.length = match (low, high) {
            // No bit can be set: there is no register.
            (0, None | Some(0)) => None,
            (low, high) => Some(length(u64::from(high.unwrap_or(u32::MAX)) << 32 | u64::from(low))),
        };
    }
    bars.map(|bar| bar.filter(|bar| bar.length.is_some()))
}

/// The length that a mask of settable bits stands for; 0 if the mask has gaps.
fn length(mask: u64) -> u64 {
    let length = mask.wrapping_neg();
    if length.is_power_of_two() { length } else { 0 }
}

impl Bar {
    /// Whether the firmware has given it an address that it can have.
    pub fn is_placed(&self) -> bool {
        let aligned = self.length.is_none_or(|length| length > 0 && self.base & (length - 1) == 0);
        self.base != 0 && aligned && self.end().is_some()
    }

    /// Address behind its last byte; if its length is not known, behind its first page.
    pub fn end(&self) -> Option<u64> {
        self.base.checked_add(self.length.unwrap_or(userlib::abi::PAGE_SIZE))
    }
}
