use crate::machine::{MSIX_CONTROL, Machine, Registers, WINDOW};
use interfaces::pci::PciError;
use manifest::{Device, Domain, Kind, Restart, System};
use pci::assignment::Unassigned;
use pci::bus::{Bus, Refusal, Start};
use pci::config::register;
use pci::placement::Obstacle;

const DECODING: u32 = 1 << 1;
const MASTERING: u32 = 1 << 2;
const NO_LINE: u32 = 1 << 10;

/// A system of a supervisor and a driver for each `(vendor, devices, index)`.
pub(crate) fn system(devices: &[(u16, &[u16], u8)]) -> System {
    let domain = |name: &str, device| Domain {
        name: name.into(),
        binary: name.into(),
        kind: Kind::Driver,
        level: 1,
        priority: 100,
        time_slice_us: 5000,
        cpu: 0,
        bound: None,
        memory: 1 << 20,
        vault: 0,
        capabilities: 64,
        threads: 1,
        restart: Restart::Never,
        heartbeat_ms: 0,
        provides: vec![],
        uses: vec![],
        device,
        args: vec![],
        grants: vec![],
        guest: None,
        guest_memory: 0,
    };
    let mut domains = vec![domain("supervisor", None)];
    for (number, (vendor, devices, index)) in devices.iter().enumerate() {
        let bus = manifest::Bus::Pci { vendor: *vendor, devices: devices.to_vec(), index: *index, interrupts: 2 };
        domains.push(domain(&format!("driver{number}"), Some(Device { bus, required: false, needs_iommu: false })));
    }
    System { domains, endpoints: vec![], notifications: vec![], rings: vec![], groups: vec![], reserve: 0 }
}

/// The server's state after its first start.
pub(crate) fn first<'a>(machine: &'a Machine, system: &System) -> Bus<&'a Machine> {
    let mut bus = Bus::find(machine, vec![WINDOW], Start::First);
    bus.assign(system);
    bus.measure();
    bus
}

fn two_disks() -> Machine {
    Machine::new([((0, 3, 0), Registers::disk(0xc000_0000)), ((0, 5, 0), Registers::disk(0xc001_0000))])
}

fn disks() -> System {
    system(&[(0x1af4, &[0x1042], 1), (0x1af4, &[0x1042, 0x1001], 0), (0x8086, &[1], 0)])
}

#[test]
fn devices_are_switched_off_until_they_are_claimed() {
    let machine = two_disks();
    let mut bus = first(&machine, &disks());
    assert_eq!(machine.command((0, 3, 0)) & (DECODING | MASTERING), 0);
    let info = bus.claim(1).unwrap();
    assert_eq!(info.address.device, 5, "the manifest gives the second disk to the first driver");
    assert_eq!(machine.command((0, 5, 0)) & (DECODING | MASTERING | NO_LINE), DECODING | NO_LINE);
    assert_eq!(machine.command((0, 3, 0)) & (DECODING | MASTERING), 0);
}

#[test]
fn registers_are_measured_only_while_the_function_does_not_decode_memory() {
    let machine = two_disks();
    first(&machine, &disks()).claim(1).unwrap();
    let writes = machine.writes.borrow();
    assert!(writes.iter().any(|write| write.offset == register::BAR + 4));
    assert!(writes.iter().all(|write| write.offset < register::BAR || write.offset > 0x30 || !write.decoding));
}

#[test]
fn bridges_stay_as_the_firmware_has_set_them_up() {
    let host = Registers::new(0x8086, 0x29c0).with(register::CLASS, &[0, 0, 0, 6]).on();
    let machine = Machine::new([((0, 0, 0), host), ((0, 1, 0), Registers::bridge(1, 1).on())]);
    first(&machine, &system(&[]));
    assert_eq!(*machine.writes.borrow(), []);
}

#[test]
fn bridges_before_a_device_pass_on_what_it_does_by_itself() {
    let functions = [
        ((0, 1, 0), Registers::bridge(1, 3)),
        ((1, 2, 0), Registers::bridge(3, 3)),
        ((1, 4, 0), Registers::bridge(2, 2)),
        ((0, 5, 0), Registers::bridge(4, 4)),
        ((3, 0, 0), Registers::disk(0xc000_0000)),
    ];
    let machine = Machine::new(functions);
    let mut bus = first(&machine, &system(&[(0x1af4, &[0x1042], 0)]));
    bus.claim(1).unwrap();
    assert_eq!(machine.command((0, 1, 0)) & MASTERING, 0, "not before the driver wants it");
    bus.set_bus_mastering(1, true).unwrap();
    let passing = [(0, 1, 0), (1, 2, 0), (1, 4, 0), (0, 5, 0)].map(|bridge| machine.command(bridge) & MASTERING != 0);
    assert_eq!(passing, [true, true, false, false]);
    bus.set_bus_mastering(1, false).unwrap();
    assert_eq!(machine.command((3, 0, 0)) & MASTERING, 0);
    assert_ne!(machine.command((0, 1, 0)) & MASTERING, 0, "others may be behind it");
}

#[test]
fn nobody_gets_a_function_of_somebody_else() {
    let machine = two_disks();
    let mut bus = first(&machine, &disks());
    for stranger in [0, 4, 77, u64::MAX] {
        assert_eq!(bus.claim(stranger), Err(Refusal::NotAllowed));
        assert_eq!(bus.bar(stranger, 4), Err(Refusal::NotAllowed));
        assert_eq!(bus.read_config(stranger, 0, 4), Err(Refusal::NotAllowed));
        assert_eq!(bus.set_bus_mastering(stranger, true), Err(Refusal::NotAllowed));
        assert_eq!(bus.message_entry(stranger, 0), Err(Refusal::NotAllowed));
        assert_eq!(bus.enable_messages(stranger), Err(Refusal::NotAllowed));
    }
    assert_eq!(bus.claim(3), Err(Refusal::NoDevice), "its device is not in the machine");
    assert_eq!(PciError::from(Refusal::NoDevice), PciError::NoDevice);
}

#[test]
fn what_needs_memory_needs_a_claim_first() {
    let machine = two_disks();
    let mut bus = first(&machine, &disks());
    let refusal = Refusal::NotClaimed(crate::machine::address(0, 3, 0));
    assert_eq!(bus.bar(2, 4), Err(refusal));
    assert_eq!(bus.set_bus_mastering(2, true), Err(refusal));
    assert_eq!(bus.message_entry(2, 0), Err(refusal));
    bus.claim(2).unwrap();
    assert_eq!(bus.bar(2, 4).unwrap().0.pages, 4);
    bus.set_bus_mastering(2, true).unwrap();
    assert_ne!(machine.command((0, 3, 0)) & MASTERING, 0);
}

#[test]
fn a_restarted_driver_claims_again_and_finds_bus_mastering_and_interrupts_off() {
    let machine = two_disks();
    let mut bus = first(&machine, &disks());
    let info = bus.claim(2).unwrap();
    bus.set_bus_mastering(2, true).unwrap();
    bus.enable_messages(2).unwrap();
    assert_eq!(bus.read_config(2, MSIX_CONTROL, 2), Ok(0x8002));
    assert_eq!(bus.claim(2), Ok(info));
    assert_eq!(machine.command((0, 3, 0)) & (DECODING | MASTERING), DECODING);
    assert_eq!(bus.read_config(2, MSIX_CONTROL, 2), Ok(0x4002), "MSI-X is off and all entries are masked");
}

#[test]
fn one_function_belongs_to_one_domain_whatever_the_manifest_says() {
    let machine = two_disks();
    let bus = first(&machine, &system(&[(0x1af4, &[0x1042], 0), (0x1af4, &[0x1001, 0x1042], 0)]));
    let outcomes: Vec<_> = bus.assignments().iter().map(|assignment| assignment.function).collect();
    assert_eq!(outcomes, [Ok(0), Err(Unassigned::Taken)]);
}

#[test]
fn a_bridge_belongs_to_no_driver() {
    let machine = Machine::new([((0, 1, 0), Registers::bridge(1, 1))]);
    let mut bus = first(&machine, &system(&[(0x1b36, &[0x000c], 0)]));
    assert_eq!(bus.assignments()[0].function, Err(Unassigned::Bridge));
    assert_eq!(bus.claim(1), Err(Refusal::NoDevice));
}

#[test]
fn a_function_is_not_enabled_if_any_of_its_registers_would_cover_others() {
    let overlapping = Registers::new(1, 2).bar32(0, 0xc000_0000, 0x1000).bar32(1, 0xc001_4000, 0x1000);
    let outside = Registers::new(1, 3).bar32(0, 0x1000_0000, 0x1000);
    let nowhere = Registers::new(1, 4).bar32(0, 0, 0x1000);
    let machine = Machine::new([
        ((0, 1, 0), overlapping),
        ((0, 2, 0), outside),
        ((0, 3, 0), nowhere),
        ((0, 5, 0), Registers::disk(0xc001_0000)),
    ]);
    let mut bus = first(&machine, &system(&[(1, &[2], 0), (1, &[3], 0), (1, &[4], 0)]));
    let at = |device| crate::machine::address(0, device, 0);
    assert_eq!(bus.claim(1), Err(Refusal::Bar(at(1), 1, Obstacle::Overlaps(at(5)))));
    assert_eq!(bus.claim(2), Err(Refusal::Bar(at(2), 0, Obstacle::NoWindow)));
    assert_eq!(bus.claim(3), Err(Refusal::Bar(at(3), 0, Obstacle::NotPlaced)));
    for device in 1..4 {
        assert_eq!(machine.command((0, device, 0)) & DECODING, 0);
    }
}

#[test]
fn drivers_write_only_registers_that_enable_nothing() {
    let disk = Registers::disk(0xc000_0000).capability(0x70, 0x10, &[0; 16]);
    let machine = Machine::new([((0, 3, 0), disk)]);
    let mut bus = first(&machine, &system(&[(0x1af4, &[0x1042], 0)]));
    bus.claim(1).unwrap();
    machine.writes.borrow_mut().clear();
    for (offset, width) in [(register::STATUS, 2), (register::CACHE_LINE, 1), (register::INTERRUPT_LINE, 1), (0x7a, 2)]
    {
        assert_eq!(bus.write_config(1, offset, width, 0x1234_5678), Ok(()), "{offset:#x}");
    }
    assert_eq!(machine.writes.borrow().len(), 4);
    machine.writes.borrow_mut().clear();
    let allowed = |offset: u16, width: u8| {
        matches!((offset, width), (register::STATUS | 0x7a, 2) | (register::CACHE_LINE | register::INTERRUPT_LINE, 1))
    };
    for offset in 0..=4200 {
        for width in 0..=8 {
            if !allowed(offset, width) {
                assert!(bus.write_config(1, offset, width, 7).is_err(), "{offset:#x} {width}");
            }
        }
    }
    assert_eq!(*machine.writes.borrow(), []);
}

#[test]
fn configuration_space_is_read_in_aligned_pieces_within_the_function() {
    let machine = two_disks();
    let bus = first(&machine, &disks());
    assert_eq!(bus.read_config(2, 0, 4), Ok(0x1042_1af4));
    for (offset, width) in [(1, 2), (2, 4), (4096, 1), (0, 0), (0, 3), (0, 8), (u16::MAX, 1)] {
        assert!(matches!(bus.read_config(2, offset, width), Err(Refusal::BadRegister(..))), "{offset} {width}");
    }
}

#[test]
fn an_interrupt_that_the_table_does_not_have_is_refused() {
    let machine = two_disks();
    let mut bus = first(&machine, &disks());
    bus.claim(2).unwrap();
    assert!(bus.message_entry(2, 2).is_ok());
    assert!(matches!(bus.message_entry(2, 3), Err(Refusal::NoMessage(_))));
}

#[test]
fn a_function_is_quiet_when_no_transaction_is_pending() {
    let disk = Registers::disk(0xc000_0000).capability(0x70, 0x10, &[0; 16]);
    let machine = Machine::new([((0, 3, 0), disk)]);
    let bus = first(&machine, &system(&[(0x1af4, &[0x1042], 0)]));
    assert_eq!(bus.is_quiet(1), Ok(true));
    machine.set((0, 3, 0), 0x7a, &[1 << 5]);
    assert_eq!(bus.is_quiet(1), Ok(false));
    machine.set((0, 3, 0), 0x7a, &[0xff, 0xff]);
    assert_eq!(bus.is_quiet(1), Ok(true), "a function that is gone is quiet");
}

#[test]
fn a_function_without_an_interrupt_table_can_be_claimed_too() {
    let machine = Machine::new([((0, 3, 0), Registers::new(1, 2).bar32(0, 0xc000_0000, 0x1000))]);
    let mut bus = first(&machine, &system(&[(1, &[2], 0)]));
    assert_eq!(bus.claim(1).unwrap().messages, 0);
    assert_eq!(bus.message_table(1), Ok(None));
    assert!(matches!(bus.enable_messages(1), Err(Refusal::NoMessage(_))));
}

#[test]
fn an_expansion_rom_is_off_in_a_claimed_function() {
    let registers = Registers::new(1, 2).bar32(0, 0xc000_0000, 0x1000).with(register::ROM, &[1, 0, 0, 0xc0]);
    let machine = Machine::new([((0, 3, 0), registers)]);
    let mut bus = first(&machine, &system(&[(1, &[2], 0)]));
    bus.claim(1).unwrap();
    assert_eq!(bus.read_config(1, register::ROM, 4), Ok(0xc000_0000));
}
