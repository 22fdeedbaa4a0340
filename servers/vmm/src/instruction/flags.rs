//! What arithmetic does to the flags (AMD64 APM volume 1, section 3.1.4).

use super::registers::mask;

const CARRY: u64 = 1;
const PARITY: u64 = 1 << 2;
const AUXILIARY: u64 = 1 << 4;
const ZERO: u64 = 1 << 6;
const SIGN: u64 = 1 << 7;
const OVERFLOW: u64 = 1 << 11;

/// What is computed of two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    And,
    Or,
    Xor,
    Increment,
    Decrement,
}

impl Arithmetic {
    /// The result of `size` bytes, and the flags after it.
    pub(super) fn compute(self, a: u64, b: u64, size: usize, flags: u64) -> (u64, u64) {
        let bits = mask(size);
        let (a, b) = (a & bits, b & bits);
        let sign = bits ^ bits >> 1;
        let (result, carry, overflow) = match self {
            Self::Add | Self::Increment => {
                let result = a.wrapping_add(b) & bits;
                (result, result < a, (a ^ result) & (b ^ result) & sign != 0)
            }
            Self::Subtract | Self::Decrement => {
                let result = a.wrapping_sub(b) & bits;
                (result, a < b, (a ^ b) & (a ^ result) & sign != 0)
            }
            Self::And => (a & b, false, false),
            Self::Or => (a | b, false, false),
            Self::Xor => (a ^ b, false, false),
        };
        let keeps_carry = matches!(self, Self::Increment | Self::Decrement);
        let is_logic = matches!(self, Self::And | Self::Or | Self::Xor);
        let conditions = [
            (CARRY, if keeps_carry { flags & CARRY != 0 } else { carry }),
            (PARITY, (result as u8).count_ones().is_multiple_of(2)),
            (AUXILIARY, !is_logic && (a ^ b ^ result) & 0x10 != 0),
            (ZERO, result == 0),
            (SIGN, result & sign != 0),
            (OVERFLOW, overflow),
        ];
        let mut flags = flags & !(CARRY | PARITY | AUXILIARY | ZERO | SIGN | OVERFLOW);
        for (flag, set) in conditions {
            flags |= if set { flag } else { 0 };
        }
        (result, flags)
    }
}

/// The flags after a bit was looked at.
pub(super) fn with_carry(flags: u64, carry: bool) -> u64 {
    flags & !CARRY | u64::from(carry)
}
