use super::devices::Wire;
use super::disk::Notebook;
use super::driver::{Bench, DATA, MEMORY, NEXT, RINGS, RINGS_APART, WRITE};
use super::transport::Sevens;
use proptest::prelude::*;
use vmm::memory::OutsideMemory;
use vmm::virtio::{Block, Console, Device, Entropy, Network, QueueError};

fn bench() -> Bench<Entropy<Sevens>> {
    Bench::started(Entropy::new(Sevens))
}

/// The device has noticed, says so, and works again after a reset.
fn expect(bench: &mut Bench<Entropy<Sevens>>, error: QueueError) {
    bench.notify(0);
    assert_eq!(bench.function.error(), Some(error));
    assert_eq!(bench.status(), 0xf | 64);
    assert_eq!(bench.get(super::driver::REGISTERS + 0x1000, 1) & 2, 2, "the driver is told");
    bench.offer(0, 5, &[(DATA, 8, WRITE)]);
    bench.notify(0);
    assert_eq!(bench.used(0), None, "nothing more is done");
    bench.start();
    bench.offer(0, 5, &[(DATA, 8, WRITE)]);
    bench.notify(0);
    assert_eq!((bench.used(0), bench.function.error()), (Some((5, 8)), None));
}

#[test]
fn a_chain_that_loops_is_noticed() {
    let mut bench = bench();
    bench.descriptor(0, 0, (DATA, 8, WRITE | NEXT, 1));
    bench.descriptor(0, 1, (DATA, 8, WRITE | NEXT, 0));
    bench.make_available(0, 0);
    expect(&mut bench, QueueError::EndlessChain { head: 0 });
}

#[test]
fn a_descriptor_that_does_not_exist_is_noticed() {
    let mut bench = bench();
    bench.make_available(0, 8);
    expect(&mut bench, QueueError::NoSuchDescriptor { index: 8 });
    bench.start();
    bench.descriptor(0, 0, (DATA, 8, WRITE | NEXT, 0xffff));
    bench.make_available(0, 0);
    expect(&mut bench, QueueError::NoSuchDescriptor { index: 0xffff });
}

#[test]
fn more_than_the_queue_holds_is_noticed() {
    let mut bench = bench();
    bench.set_available(0, 9);
    expect(&mut bench, QueueError::TooManyAvailable { available: 9 });
}

#[test]
fn a_buffer_outside_of_memory_is_noticed() {
    for (address, length) in [(MEMORY as u64 - 4, 8), (u64::MAX, 1), (u64::MAX - 3, 8), (1 << 40, 1)] {
        let mut bench = bench();
        bench.offer(0, 0, &[(address, length, WRITE)]);
        let length = u64::from(length);
        expect(&mut bench, QueueError::BufferOutside(OutsideMemory { address, length }));
    }
}

#[test]
fn reading_after_writing_and_tables_are_noticed() {
    let mut bench = bench();
    bench.offer(0, 0, &[(DATA, 8, WRITE), (DATA, 8, 0)]);
    expect(&mut bench, QueueError::ReadAfterWrite { index: 1 });
    bench.start();
    bench.offer(0, 3, &[(DATA, 16, 4)]);
    expect(&mut bench, QueueError::Indirect { index: 3 });
}

#[test]
fn a_ring_outside_of_memory_is_noticed() {
    let mut bench = Bench::new(Entropy::new(Sevens));
    bench.set_common(20, 1, 3);
    bench.accept(1 << 32);
    bench.set_common(20, 1, 0xb);
    bench.set_common(32, 8, 0);
    bench.set_common(40, 8, 1 << 40);
    bench.set_common(28, 2, 1);
    bench.set_common(20, 1, 0xf);
    bench.process();
    let error = OutsideMemory { address: (1 << 40) + 2, length: 2 };
    assert_eq!(bench.function.error(), Some(QueueError::RingOutside(error)));
}

#[test]
fn a_chain_in_flight_cannot_be_offered_again() {
    let mut disk = Bench::started(Block::new(Notebook::new(), ""));
    disk.offer(0, 0, &[(DATA, 16, 0), (DATA + 0x100, 513, WRITE)]);
    disk.make_available(0, 0);
    disk.notify(0);
    assert_eq!(disk.function.error(), Some(QueueError::AlreadyInFlight { head: 0 }));
}

#[test]
fn a_round_ends_even_if_the_queue_is_never_empty() {
    let mut bench = bench();
    for _ in 0..8 {
        bench.offer(0, 0, &[(DATA, 1, WRITE)]);
    }
    bench.notify(0);
    assert!(bench.function.is_notified(), "there could be more");
    bench.process();
    assert!(!bench.function.is_notified());
}

#[derive(Clone, Debug)]
enum Step {
    Register(u32, usize, u64),
    Read(u32, usize),
    Config(u32, Vec<u8>),
    Memory(u64, Vec<u8>),
    Offer(usize, u16, (u64, u32, u16)),
    Notify(usize),
    Start,
    Messages,
}

fn any_step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![Just(1_usize), Just(2), Just(4), Just(8)];
    let offset = prop_oneof![3 => 0_u32..60, 1 => 0_u32..0x5000];
    let value = prop_oneof![0_u64..16, any::<u64>(), 0_u64..MEMORY as u64];
    prop_oneof![
        3 => (offset.clone(), size.clone(), value.clone()).prop_map(|(o, s, v)| Step::Register(o, s, v)),
        1 => (offset, size).prop_map(|(o, s)| Step::Read(o, s)),
        1 => (0_u32..64, prop::collection::vec(any::<u8>(), 4)).prop_map(|(o, b)| Step::Config(o * 4, b)),
        3 => (0_u64..2 * RINGS_APART, prop::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(o, b)| Step::Memory(RINGS + o, b)),
        6 => (0_usize..2, 0_u16..20, (value, 0_u32..5000, 0_u16..4)).prop_map(|(q, f, p)| Step::Offer(q, f, p)),
        6 => (0_usize..2).prop_map(Step::Notify),
        2 => Just(Step::Start),
        1 => Just(Step::Messages),
    ]
}

/// Whatever a driver does: the device ends its work, and after a reset it works.
fn survives<D: Device>(device: D, steps: &[Step]) {
    let mut bench = Bench::new(device);
    let access =
        |bench: &mut Bench<D>, offset: u32| bench.function.memory_at(u64::from(super::driver::REGISTERS + offset));
    for step in steps {
        match step {
            Step::Register(offset, size, value) => {
                if let Some((memory, offset)) = access(&mut bench, *offset) {
                    bench.function.write(memory, offset, &value.to_le_bytes()[..*size]);
                }
            }
            Step::Read(offset, size) => {
                if let Some((memory, offset)) = access(&mut bench, *offset) {
                    bench.function.read(memory, offset, &mut [0; 8][..*size]);
                }
            }
            Step::Config(offset, bytes) => bench.config_write(*offset, bytes),
            Step::Memory(address, bytes) => bench.memory_write(*address, bytes),
            Step::Offer(queue, first, piece) => {
                bench.descriptor(*queue, *first, (piece.0, piece.1, piece.2, first ^ 1));
                if access(&mut bench, 0).is_some() && bench.queue_exists(*queue) {
                    bench.make_available(*queue, *first);
                }
            }
            Step::Notify(queue) => {
                if let Some((memory, offset)) = access(&mut bench, 0x3000 + 4 * *queue as u32) {
                    bench.function.write(memory, offset, &[0, 0]);
                }
                bench.process();
            }
            Step::Start => {
                bench.place();
                bench.start();
            }
            Step::Messages => {
                let mut count = 0;
                while bench.function.take_message().is_some() {
                    count += 1;
                    assert!(count <= 3, "a cause is one message");
                }
            }
        }
        let _level = bench.function.interrupt_level();
    }
    bench.place();
    bench.start();
    assert_eq!(bench.function.error(), None);
}

proptest! {
    #[test]
    fn no_driver_breaks_a_source_of_random_bytes(steps in prop::collection::vec(any_step(), 0..80)) {
        survives(Entropy::new(Sevens), &steps);
    }

    #[test]
    fn no_driver_breaks_a_terminal(steps in prop::collection::vec(any_step(), 0..80)) {
        let mut console = Console::new(80, 25);
        console.receive(&[b'x'; 3000]);
        survives(console, &steps);
    }

    #[test]
    fn no_driver_breaks_a_disk(steps in prop::collection::vec(any_step(), 0..80)) {
        survives(Block::new(Notebook { room: 3, ..Notebook::new() }, "x"), &steps);
    }

    #[test]
    fn no_driver_breaks_a_network_interface(steps in prop::collection::vec(any_step(), 0..80)) {
        let coming = (0..50).map(|length| vec![1; length * 30]).collect();
        survives(Network::new(Wire { room: 5, sent: Vec::new(), coming }, [0; 6]), &steps);
    }
}
