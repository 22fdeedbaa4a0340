//! Which functions there are.

use crate::config::{ConfigSpace, DEVICES, FUNCTIONS, FunctionAddress, read8, read16, register};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// What a vendor register reads as where there is no function.
pub const NO_VENDOR: u16 = 0xffff;
/// Bit of the header type: the device has several functions.
const SEVERAL_FUNCTIONS: u8 = 1 << 7;

/// How the rest of a function's header is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Header {
    /// A device with up to six base address registers.
    Endpoint,
    /// A bridge to another bus.
    Bridge,
    /// Something else (CardBus, or garbage).
    Other(u8),
}

impl Header {
    /// Reads the header type register.
    pub fn of(config: &impl ConfigSpace, function: FunctionAddress) -> Self {
        match read8(config, function, register::HEADER_TYPE) & !SEVERAL_FUNCTIONS {
            0 => Header::Endpoint,
            1 => Header::Bridge,
            other => Header::Other(other),
        }
    }
}

/// Every function on bus 0 and behind bridges, in the order of addresses. Bus numbers are those that the firmware has
/// given; none is changed.
pub fn enumerate(config: &impl ConfigSpace) -> Vec<FunctionAddress> {
    let mut found = Vec::new();
    let mut seen = [false; 256];
    let mut queue = VecDeque::from([0u8]);
    seen[0] = true;
    while let Some(bus) = queue.pop_front() {
        if u16::from(bus) >= config.buses() {
            continue;
        }
        for function in functions_of(config, bus) {
            found.push(function);
            if Header::of(config, function) == Header::Bridge
                && let Some(behind) = bus_behind(config, function)
                && !core::mem::replace(&mut seen[usize::from(behind)], true)
            {
                queue.push_back(behind);
            }
        }
    }
    found.sort_by_key(|function| (function.bus, function.device, function.function));
    found
}

/// The functions on one bus.
pub fn functions_of(config: &impl ConfigSpace, bus: u8) -> Vec<FunctionAddress> {
    let mut found = Vec::new();
    for device in 0..DEVICES {
        for function in 0..FUNCTIONS {
            let address = FunctionAddress { segment: 0, bus, device, function };
            let present = read16(config, address, register::VENDOR) != NO_VENDOR;
            if present {
                found.push(address);
            }
            let first = function == 0;
            if first && (!present || read8(config, address, register::HEADER_TYPE) & SEVERAL_FUNCTIONS == 0) {
                break;
            }
        }
    }
    found
}

/// Whether a bus is behind a bridge, or behind others behind it.
pub fn leads_to(config: &impl ConfigSpace, bridge: FunctionAddress, bus: u8) -> bool {
    let subordinate = read8(config, bridge, register::SUBORDINATE_BUS);
    bus_behind(config, bridge).is_some_and(|secondary| (secondary..=subordinate).contains(&bus))
}

/// The bus behind a bridge, if the firmware has given it a number that makes sense: buses behind a bridge have higher
/// numbers than the one it is on, so that no circle can be followed.
fn bus_behind(config: &impl ConfigSpace, bridge: FunctionAddress) -> Option<u8> {
    let secondary = read8(config, bridge, register::SECONDARY_BUS);
    let subordinate = read8(config, bridge, register::SUBORDINATE_BUS);
    (secondary > bridge.bus && subordinate >= secondary).then_some(secondary)
}
