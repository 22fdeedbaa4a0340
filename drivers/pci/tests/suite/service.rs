//! The interface `Pci` as drivers see it.

use crate::claims::{first, system};
use crate::machine::{Machine, Registers, address};
use interfaces::pci::{PciDouble, PciError};
use pci::config::{Width, register};
use pci::message::TableRegisters;
use pci::placement::Placement;
use pci::server::{DeviceMemory, Server};
use std::cell::RefCell;
use std::collections::BTreeMap;
use userlib::abi::Handle;
use userlib::cap::{Cap, Memory, Owned};
use userlib::ipc::RetriedError::Failed;
use userlib::memory::MapError;

/// An interrupt table that keeps what is written.
#[derive(Default)]
struct Table(RefCell<BTreeMap<u64, u32>>);

impl TableRegisters for Table {
    fn read(&self, offset: u64) -> u32 {
        self.0.borrow().get(&offset).copied().unwrap_or(0)
    }
    fn write(&self, offset: u64, value: u32) {
        self.0.borrow_mut().insert(offset, value);
    }
}

/// Device memory of which nothing is kept.
struct Windows;

impl DeviceMemory for Windows {
    type Table = Table;

    fn table(&self, _: &Placement) -> Result<Table, MapError> {
        Ok(Table::default())
    }

    fn part(&self, _: &Placement) -> Result<Owned<Memory>, userlib::abi::Error> {
        Ok(Cap::from_handle(Handle::new(900, 1)).into_owned())
    }
}

/// A machine with two disks, each of which belongs to a driver.
fn server() -> (&'static Machine, PciDouble) {
    let machine: &Machine = Box::leak(Box::new(Machine::new([
        ((0, 3, 0), Registers::disk(0xc000_0000)),
        ((0, 5, 0), Registers::disk(0xc001_0000)),
    ])));
    let bus = first(machine, &system(&[(0x1af4, &[0x1042], 0), (0x1af4, &[0x1042], 1)]));
    (machine, PciDouble::new(Server::new(Some((bus, Windows)))))
}

#[test]
fn a_driver_has_its_own_function_and_a_stranger_has_none() {
    let (_machine, double) = server();
    let devices = [1, 2].map(|badge| double.client_with_badge(badge).claim().expect("it is there").address.device);
    assert_eq!(devices, [3, 5]);
    assert_eq!(double.client_with_badge(9).claim(), Err(Failed(PciError::NotAllowed)));
    assert_eq!(double.client_with_badge(9).function(2), Ok(None));
}

#[test]
fn any_messages_to_pci() {
    let (machine, double) = server();
    let registers = || -> Vec<u32> {
        let all = [3, 5].into_iter().flat_map(|device| (0..6).map(move |bar| (device, register::BAR + bar * 4)));
        all.map(|(device, offset)| machine.read(address(0, device, 0), offset, Width::Long)).collect()
    };
    let placed = registers();
    let tally = double.fuzz(&[], |client| {
        let info = client.claim().expect("it is there");
        assert_eq!((info.address.device, info.vendor), (3, 0x1af4));
        assert_eq!(registers(), placed, "no driver moves what is its own, or anybody else's");
        machine.writes.borrow_mut().clear();
    });
    // The double of the kernel has no interrupts, whose message could be read.
    assert_eq!(tally.answered.len(), 8, "{tally}");
}
