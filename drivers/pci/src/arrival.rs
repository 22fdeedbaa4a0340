//! Functions that come and go while the server runs.

use crate::allocation::{BridgeWindows, Wish, allocate};
use crate::bar;
use crate::bus::{Bus, is_on};
use crate::config::{ConfigSpace, FunctionAddress, change_command, command};
use crate::enumeration::functions_of;
use crate::function::Function;
use crate::slot::Port;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

/// Why a function that was put in cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// The port passes on too few addresses for its registers, or they have no length.
    NoRoom(FunctionAddress),
    /// A register does not hold the address that it was given.
    NotPlaced(FunctionAddress, u8),
    /// It is a bridge: what is behind one that is put in is not looked for.
    Bridge(FunctionAddress),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unusable::NoRoom(address) => {
                write!(f, "{address} was put in, but the port before it passes on too few addresses for its registers")
            }
            Unusable::NotPlaced(address, index) => {
                write!(f, "{address} was put in, but its base address {index} does not hold what is written to it")
            }
            Unusable::Bridge(address) => {
                write!(f, "{address} was put in, but it is a bridge: put devices in directly")
            }
        }
    }
}

impl core::error::Error for Unusable {}

impl<C: ConfigSpace> Bus<C> {
    /// Notes that nothing is on a port's buses any more.
    pub fn take_out(&mut self, port: &Port) {
        let gone = self.functions.iter_mut().filter(|function| port.buses().contains(&function.address.bus));
        gone.for_each(Function::take_out);
    }

    /// Finds the functions that are in a port's slot, gives addresses to their registers if they have none, and says which
    /// cannot be used. Whoever is in use stays as it is.
    pub fn take_in(&mut self, port: &Port) -> Vec<Unusable> {
        let mut unusable = Vec::new();
        let addresses = functions_of(&self.config, port.bus());
        for function in self.functions.iter_mut().filter(|function| function.address.bus == port.bus()) {
            if !addresses.contains(&function.address) {
                function.take_out();
            }
        }
        // A port is one device's: other numbers would be answers that no port gives (PCI Express 4.0, 7.3.1).
        for address in addresses.into_iter().filter(|address| address.device == 0) {
            let found = Function::read(&self.config, address);
            let position = self.functions.iter().position(|function| function.is_like(&found));
            let is_known = position.is_some_and(|position| self.functions[position].is_present);
            if is_known && is_on(&self.config, &found) {
                continue;
            }
            for other in self.functions.iter_mut().filter(|other| other.address == address) {
                other.take_out();
            }
            if !found.is_device() {
                unusable.push(Unusable::Bridge(address));
                continue;
            }
            let (found, trouble) = self.prepare(port, found);
            unusable.extend(trouble);
            match position {
                Some(position) => self.functions[position] = found,
                None => self.functions.push(found),
            }
        }
        unusable
    }

    /// Switches a function off, measures it and gives its registers addresses.
    fn prepare(&self, port: &Port, mut function: Function) -> (Function, Option<Unusable>) {
        let address = function.address;
        change_command(&self.config, address, command::MEMORY | command::BUS_MASTER, 0);
        function.bars = bar::measure(&self.config, address);
        function.measured = true;
        let windows = BridgeWindows::read(&self.config, port.address);
        let trouble = self.place(port, &windows, &mut function).err();
        // Firmware may have left this out where nobody was.
        change_command(&self.config, port.address, 0, command::MEMORY);
        (function, trouble)
    }

    /// Gives a function's registers addresses that nobody has.
    fn place(&self, port: &Port, windows: &BridgeWindows, function: &mut Function) -> Result<(), Unusable> {
        let address = function.address;
        let others = self.functions.iter().filter(|other| other.address != address);
        let others = others.filter(|other| port.buses().contains(&other.address.bus));
        let bars = others.flat_map(|other| other.bars.iter().flatten());
        let taken: Vec<Range<u64>> = bars.filter_map(|bar| Some(bar.base..bar.end()?)).collect();
        let is_in_place = |bar: &bar::Bar| {
            let range = bar.base..bar.end().unwrap_or(u64::MAX);
            let is_free = !taken.iter().any(|taken| taken.start < range.end && range.start < taken.end);
            windows.contain(bar) && is_free
        };
        if function.bars.iter().flatten().all(is_in_place) {
            return Ok(());
        }
        let raw = bar::raw(&self.config, address);
        let wish = |bar: &bar::Bar| Wish { bar: *bar, is_wide: bar::is_wide(&raw, bar.index) };
        let wishes: Vec<Wish> = function.bars.iter().flatten().map(wish).collect();
        let bases = allocate(windows, &taken, &wishes).ok_or(Unusable::NoRoom(address))?;
        for (bar, base) in function.bars.iter_mut().flatten().zip(bases) {
            if !bar::place(&self.config, address, bar, base) {
                return Err(Unusable::NotPlaced(address, bar.index));
            }
            bar.base = base;
        }
        Ok(())
    }
}
