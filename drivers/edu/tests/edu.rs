//! The driver and a double of its device.

use driver::double::{self, Line, RegisterDouble};
use driver::{AttachError, DmaMemory};
use edu::{Device, EduClient, EduDouble, EduError, PIECE};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use userlib::executor;
use userlib::host::{self, Loopback};
use userlib::ipc::RetriedError::Failed;
use userlib::time::{Duration, Instant};

/// Where the shared memory lies on the bus.
const BUS: u64 = 0x20_0000;

/// The device: done at once, unless it is made to be slow.
struct Chip {
    identification: u32,
    liveness: Cell<u32>,
    factorial: Cell<u32>,
    /// Source, destination and count.
    transfer: [Cell<u64>; 3],
    command: Cell<u64>,
    own: RefCell<[u8; 4096]>,
    /// A byte of its own memory that it cannot keep.
    broken: Option<usize>,
    /// It takes work and does not do it before [`Chip::finish`].
    stuck: bool,
    computing: Cell<bool>,
    memory: DmaMemory,
    line: Rc<Line>,
}

impl Chip {
    /// Finishes a computation, and raises the interrupt.
    fn finish(&self) {
        self.computing.set(false);
        self.line.raise();
    }

    fn compute(&self, n: u32) {
        self.computing.set(self.stuck);
        self.factorial.set((1..=n).product());
        if !self.stuck {
            self.line.raise();
        }
    }

    fn copy(&self, command: u64) {
        self.command.set(command);
        if self.stuck {
            return;
        }
        let [source, destination, count] = self.transfer.each_ref().map(Cell::get);
        assert_ne!(count, 0, "QEMU ends when it is told to transfer nothing");
        let mut own = self.own.borrow_mut();
        let place = |address: u64| (address - 0x4_0000) as usize..(address - 0x4_0000 + count) as usize;
        if command & 2 == 0 {
            assert!(double::device_reads(&self.memory, source, &mut own[place(destination)]));
        } else {
            assert!(double::device_writes(&self.memory, destination, &own[place(source)]));
        }
        if let Some(byte) = self.broken {
            own[byte] = !own[byte];
        }
        self.command.set(command & !1);
        assert_ne!(command & 4, 0, "the driver waits for an interrupt");
        self.line.raise();
    }
}

impl RegisterDouble for Chip {
    fn length(&self) -> usize {
        0x10_0000
    }

    fn read(&self, offset: usize, width: usize) -> u64 {
        match (offset, width) {
            (0x00, 4) => self.identification.into(),
            (0x04, 4) => self.liveness.get().into(),
            (0x08, 4) => self.factorial.get().into(),
            (0x20, 4) => self.computing.get().into(),
            (0x98, 8) => self.command.get(),
            _ => panic!("the device has no register of {width} bytes at {offset:#x} that can be read"),
        }
    }

    fn write(&self, offset: usize, width: usize, value: u64) {
        match (offset, width) {
            (0x04, 4) => self.liveness.set(!(value as u32)),
            (0x08, 4) => self.compute(value as u32),
            (0x20, 4) => assert_eq!(value, 0x80),
            (0x64, 4) => {}
            (0x80 | 0x88 | 0x90, 8) => self.transfer[(offset - 0x80) / 8].set(value),
            (0x98, 8) => self.copy(value),
            _ => panic!("the device has no register of {width} bytes at {offset:#x} that can be written"),
        }
    }
}

/// Starts the driver on a device that `change` has made different.
fn start(change: impl FnOnce(&mut Chip)) -> Result<(Device, Rc<Chip>), AttachError> {
    let memory = double::memory(4 * PIECE, BUS);
    let (interrupt, line) = double::line();
    let mut chip = Chip {
        identification: 0x0100_00ed,
        liveness: Cell::default(),
        factorial: Cell::default(),
        transfer: Default::default(),
        command: Cell::default(),
        own: RefCell::new([0; 4096]),
        broken: None,
        stuck: false,
        computing: Cell::default(),
        memory: memory.clone(),
        line,
    };
    change(&mut chip);
    let chip = Rc::new(chip);
    let registers = double::window(chip.clone()).block().expect("the device has all registers");
    let part = || memory.take(PIECE).expect("there is memory for two pieces");
    let device = executor::run(Device::start(registers, interrupt, part(), part()))?;
    Ok((device, chip))
}

/// What a client finds that calls the driver.
fn connected<R>(change: impl FnOnce(&mut Chip), body: impl FnOnce(EduClient) -> R) -> R {
    host::with(Loopback::new(), || {
        let (device, _chip) = start(change).expect("the device is there");
        let double = EduDouble::new(device);
        body(double.client())
    })
}

#[test]
fn any_messages_to_edu() {
    host::with(Loopback::new(), || {
        let (device, _chip) = start(|_| {}).expect("the device is there");
        let tally = EduDouble::new(device).fuzz(&[], |client| {
            assert_eq!(client.factorial(5), Ok(120));
            let mut back = [0; 5];
            client.copy(b"hello", &mut back).expect("it keeps bytes");
            assert_eq!(&back, b"hello");
        });
        assert_eq!(tally.answered.len(), 2, "{tally}");
    });
}

#[test]
fn the_device_computes_factorials() {
    connected(
        |_| {},
        |client| {
            for (n, factorial) in [(0, 1), (1, 1), (5, 120), (12, 479_001_600)] {
                assert_eq!(client.factorial(n), Ok(factorial));
            }
            assert_eq!(client.factorial(13), Err(Failed(EduError::TooLarge)));
        },
    );
}

#[test]
fn the_driver_waits_for_the_interrupt_and_not_longer() {
    host::with(Loopback::new(), || {
        let (device, chip) = start(|chip| chip.stuck = true).expect("the device is there");
        executor::run(async {
            executor::spawn(async move {
                executor::sleep(Duration::from_millis(20)).await;
                // This one has nothing to say.
                chip.line.raise();
                executor::sleep(Duration::from_millis(30)).await;
                chip.finish();
            });
            let before = Instant::now();
            assert_eq!(device.compute(5).await, Ok(120));
            let took = (Instant::now().0 - before.0) / 1_000_000;
            assert!((50..100).contains(&took), "it took {took} ms");
        });
    });
}

#[test]
fn bytes_go_to_the_device_and_back() {
    connected(
        |_| {},
        |client| {
            for length in [0, 1, 7, PIECE] {
                let bytes: Vec<u8> = (0..length).map(|index| (index * 7 + length) as u8).collect();
                let mut copied = vec![0; length];
                assert_eq!(client.copy(&bytes, &mut copied), Ok(()));
                assert_eq!(copied, bytes);
            }
            let mut copied = [0; PIECE + 1];
            assert_eq!(client.copy(&[0; PIECE + 1], &mut copied), Err(Failed(EduError::BadLease)));
            assert_eq!(client.copy(&[1, 2, 3], &mut copied[..2]), Err(Failed(EduError::BadLease)));
        },
    );
}

#[test]
fn bytes_that_the_device_has_changed_are_found() {
    let broken = |chip: &mut Chip| chip.broken = Some(3);
    connected(broken, |client| {
        let mut copied = [0; 8];
        assert_eq!(client.copy(&[9; 8], &mut copied), Err(Failed(EduError::Garbled)));
        assert_eq!(copied, [0; 8]);
        assert_eq!(client.copy(&[9; 2], &mut copied), Ok(()), "there it is not broken");
    });
}

#[test]
fn a_device_that_does_not_answer_is_given_up_and_gets_nothing_new() {
    let stuck = |chip: &mut Chip| chip.stuck = true;
    connected(stuck, |client| {
        assert_eq!(client.factorial(5), Err(Failed(EduError::Silent)));
        assert_eq!(client.factorial(5), Err(Failed(EduError::Busy)));
        assert_eq!(client.copy(&[1], &mut [0]), Err(Failed(EduError::Busy)));
    });
}

#[test]
fn a_driver_takes_no_other_device_and_none_that_is_still_at_work() {
    host::with(Loopback::new(), || {
        let other = start(|chip| chip.identification = 0x0100_00ee);
        assert_eq!(other.map(drop).unwrap_err(), AttachError::Unfit("it is no `edu`"));
        let copying = start(|chip| chip.command.set(1));
        let reason = "it does not finish what a former driver has begun";
        assert_eq!(copying.map(drop).unwrap_err(), AttachError::Unfit(reason));
    });
}
