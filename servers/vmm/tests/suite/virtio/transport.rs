use super::driver::{Bench, DATA, REGISTERS, TABLE, WRITE};
use vmm::pci::{ConfigPorts, Function, HostBridge};
use vmm::virtio::{Console, Entropy, EntropySource};

/// Not random at all.
#[derive(Debug)]
pub(super) struct Sevens;

impl EntropySource for Sevens {
    fn fill(&mut self, into: &mut [u8]) {
        into.fill(7);
    }
}

#[test]
fn linux_finds_the_bus_and_the_function_on_it() {
    let (mut ports, mut bridge) = (ConfigPorts::new(), HostBridge::new());
    let mut slots: [&mut dyn Function; 1] = [&mut bridge];
    // pci_check_type1 in arch/x86/pci/direct.c.
    ports.write(0xcf8, &0x8000_0000_u32.to_le_bytes(), &mut slots);
    let mut address = [0; 4];
    assert!(ports.read(0xcf8, &mut address, &mut slots));
    assert_eq!(u32::from_le_bytes(address), 0x8000_0000);
    let mut class = [0; 2];
    ports.write(0xcf8, &0x8000_0008_u32.to_le_bytes(), &mut slots);
    assert!(ports.read(0xcfe, &mut class, &mut slots));
    assert_eq!(u16::from_le_bytes(class), 0x0600, "a host bridge");
    ports.write(0xcf8, &0x8000_0800_u32.to_le_bytes(), &mut slots);
    let mut nobody = [0; 4];
    assert!(ports.read(0xcfc, &mut nobody, &mut slots));
    assert_eq!(nobody, [0xff; 4]);
    assert!(!ports.read(0xcf9, &mut [0], &mut slots), "the chip set's reset register is not ours");

    let mut bench = Bench::new(Entropy::new(Sevens));
    assert_eq!(bench.config_read(0), 0x1044_1af4);
    assert_eq!(bench.config_read(0x08) & 0xff, 1, "a modern device");
}

#[test]
fn the_guest_measures_and_moves_the_memory_of_a_function() {
    let mut bench = Bench::new(Entropy::new(Sevens));
    bench.config_write(0x10, &[0xff; 4]);
    assert_eq!(bench.config_read(0x10), 0xffff_c000, "16 KiB");
    bench.config_write(0x10, &0xd000_0000_u32.to_le_bytes());
    assert_eq!(bench.function.memory_at(0xd000_3fff), Some((0, 0x3fff)));
    assert_eq!(bench.function.memory_at(0xd000_4000), None);
    assert_eq!(bench.function.memory_at(u64::from(REGISTERS)), None);
    assert_eq!(bench.function.memory_at(u64::from(TABLE)), Some((1, 0)));
    bench.config_write(0x04, &[0x04, 0]);
    assert_eq!(bench.function.memory_at(0xd000_0000), None, "it is switched off");
}

#[test]
fn every_structure_of_virtio_is_found_by_its_capability() {
    let mut bench = Bench::new(Entropy::new(Sevens));
    let mut found = Vec::new();
    let mut at = bench.config_read(0x34) & 0xff;
    while at != 0 {
        let head = bench.config_read(at);
        if head & 0xff == 0x09 {
            found.push((head >> 24, bench.config_read(at + 8)));
        }
        at = head >> 8 & 0xff;
    }
    assert_eq!(found, [(1, 0), (3, 0x1000), (4, 0x2000), (2, 0x3000), (5, 0)]);
}

#[test]
fn the_window_in_the_configuration_space_shows_registers() {
    let mut bench = Bench::new(Entropy::new(Sevens));
    let mut at = bench.config_read(0x34) & 0xff;
    while bench.config_read(at) >> 24 != 5 {
        at = bench.config_read(at) >> 8 & 0xff;
    }
    bench.config_write(at + 4, &[0]);
    bench.config_write(at + 8, &20_u32.to_le_bytes());
    bench.config_write(at + 12, &1_u32.to_le_bytes());
    bench.config_write(at + 16, &[3]);
    assert_eq!(bench.status(), 3);
    assert_eq!(bench.config_read(at + 16) & 0xff, 3);
    bench.config_write(at + 8, &0x4000_u32.to_le_bytes());
    bench.config_write(at + 16, &[0]);
    assert_eq!(bench.status(), 3, "behind the end there is nothing");
}

#[test]
fn features_that_were_not_offered_are_refused() {
    for features in [1 << 32 | 1 << 40, 0, 1 << 28 | 1 << 32] {
        let mut bench = Bench::new(Entropy::new(Sevens));
        bench.set_common(20, 1, 3);
        bench.accept(features);
        bench.set_common(20, 1, 0xb);
        assert_eq!(bench.status(), 3, "{features:#x}");
        bench.set_common(20, 1, 0xf);
        assert_eq!(bench.status() & 4, 0, "it does not start");
    }
}

#[test]
fn features_stay_what_was_agreed_upon() {
    let mut bench = Bench::started(Entropy::new(Sevens));
    bench.accept(0);
    bench.set_common(8, 4, 1);
    assert_eq!(bench.common(12, 4), 1);
}

#[test]
fn an_enabled_queue_stays_as_it_is_until_a_reset() {
    let mut bench = Bench::started(Entropy::new(Sevens));
    bench.set_common(22, 2, 0);
    let before = bench.common(32, 8);
    bench.set_common(32, 8, 0x8000);
    bench.set_common(24, 2, 2);
    assert_eq!((bench.common(32, 8), bench.common(24, 2)), (before, 8));
    bench.set_common(20, 1, 0);
    assert_eq!((bench.common(32, 8), bench.common(28, 2)), (0, 0));
}

#[test]
fn a_queue_with_a_size_or_place_that_is_not_allowed_is_not_enabled() {
    for (offset, size, value) in
        [(24, 2, 3), (24, 2, 0), (24, 2, 16), (32, 8, 8), (40, 8, 1), (48, 8, 2), (48, 8, 1 << 61)]
    {
        let mut bench = Bench::new(Entropy::new(Sevens));
        bench.set_common(20, 1, 3);
        bench.set_common(offset, size, value);
        bench.set_common(28, 2, 1);
        assert_eq!(bench.common(28, 2), 0, "{value:#x} at {offset}");
        assert_eq!(bench.status() & 64, 64);
    }
}

#[test]
fn a_queue_that_does_not_exist_has_no_size() {
    let mut bench = Bench::new(Entropy::new(Sevens));
    bench.set_common(22, 2, 1);
    assert_eq!(bench.common(24, 2), 0);
    bench.set_common(28, 2, 1);
    assert_eq!(bench.common(28, 2), 0);
}

#[test]
fn what_came_back_interrupts_by_the_pin_until_it_is_acknowledged() {
    let mut bench = Bench::started(Entropy::new(Sevens));
    bench.offer(0, 0, &[(DATA, 16, WRITE)]);
    bench.notify(0);
    assert!(bench.function.interrupt_level());
    bench.config_write(0x04, &[0x06, 0x04]);
    assert!(!bench.function.interrupt_level(), "the guest has forbidden it");
    bench.config_write(0x04, &[0x06, 0x00]);
    assert_eq!(bench.get(REGISTERS + 0x1000, 1), 1);
    assert!(!bench.function.interrupt_level());
}

#[test]
fn what_came_back_interrupts_by_a_message_if_the_guest_wants_those() {
    let mut bench = Bench::new(Entropy::new(Sevens));
    bench.enable_messages();
    bench.start();
    bench.offer(0, 0, &[(DATA, 16, WRITE)]);
    bench.notify(0);
    assert!(!bench.function.interrupt_level());
    assert_eq!(bench.messages(), [0x41]);
    assert_eq!(bench.messages(), []);
}

#[test]
fn a_masked_message_is_pending_until_the_mask_goes() {
    let mut bench = Bench::new(Entropy::new(Sevens));
    bench.enable_messages();
    bench.set(TABLE + 16 + 12, 4, 1);
    bench.start();
    bench.offer(0, 0, &[(DATA, 16, WRITE)]);
    bench.notify(0);
    assert_eq!(bench.messages(), []);
    assert_eq!(bench.get(TABLE + 0x800, 8), 0b10);
    bench.set(TABLE + 16 + 12, 4, 0);
    assert_eq!(bench.messages(), [0x41]);
    assert_eq!(bench.get(TABLE + 0x800, 8), 0);
}

#[test]
fn a_driver_that_looks_by_itself_is_not_interrupted() {
    let mut bench = Bench::started(Entropy::new(Sevens));
    bench.silence(0);
    bench.offer(0, 0, &[(DATA, 16, WRITE)]);
    bench.notify(0);
    assert_eq!(bench.used(0), Some((0, 16)));
    assert!(!bench.function.interrupt_level());
}

#[test]
fn a_changed_configuration_is_announced() {
    let mut bench = Bench::started(Console::new(80, 25));
    let generation = bench.common(21, 1);
    bench.function.device().resize(132, 50);
    bench.function.announce_config();
    assert_eq!(bench.get(REGISTERS + 0x2000, 4), 50 << 16 | 132);
    assert_ne!(bench.common(21, 1), generation);
    assert_eq!(bench.get(REGISTERS + 0x1000, 1), 2);
}

#[test]
fn a_function_that_may_not_access_memory_does_not() {
    let mut bench = Bench::started(Entropy::new(Sevens));
    bench.config_write(0x04, &[0x02, 0x00]);
    bench.offer(0, 0, &[(DATA, 16, WRITE)]);
    bench.notify(0);
    bench.process();
    assert_eq!(bench.used(0), None);
    assert!(!bench.function.is_notified(), "whoever works as long as there is something to do would never end");
    bench.config_write(0x04, &[0x06, 0x00]);
    assert!(bench.function.is_notified(), "what it could not do is still to be done");
    bench.process();
    assert_eq!(bench.used(0), Some((0, 16)));
}
