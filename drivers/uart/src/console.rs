//! The console that clients call, on top of the device.

use crate::delivery::{Delivery, Wanted};
use crate::device::{Progress, Uart};
use core::cell::RefCell;
use driver::Interrupt;
use interfaces::console::{ConsoleError, ConsoleServer, ConsoleSize, Typed};
use userlib::executor;
use userlib::ipc::{Caller, ReadLease, WriteLease};
use userlib::sync::{Event, Mutex};
use userlib::time::Duration;

/// Bytes that are moved between a client and a queue at once.
const PIECE: usize = 1024;

/// How long a writer waits for an interrupt before it looks at the device itself: if one ever gets lost, output becomes
/// slow instead of stopping.
const PATIENCE: Duration = Duration::from_millis(50);

/// How often the end of transmission is looked for, of which the device tells by no interrupt.
const IDLE_INTERVAL: Duration = Duration::from_millis(1);

/// The console.
#[derive(Debug)]
pub struct Console {
    uart: RefCell<Uart>,
    delivery: RefCell<Delivery>,
    writer: Mutex<()>,
    reader: Mutex<()>,
    sent: Event,
    received: Event,
}

impl Console {
    /// A console on a started device, of the driver's instance with this number.
    pub fn new(uart: Uart, instance: u32) -> Self {
        Self {
            uart: RefCell::new(uart),
            delivery: RefCell::new(Delivery::new(instance)),
            writer: Mutex::new(()),
            reader: Mutex::new(()),
            sent: Event::new(),
            received: Event::new(),
        }
    }

    /// Serves the device, and tells those who wait.
    pub fn service(&self) {
        let Progress { received, sent } = self.uart.borrow_mut().service();
        if received {
            self.received.signal();
        }
        if sent {
            self.sent.signal();
        }
    }

    /// Serves the device whenever it asks for it.
    pub async fn serve_interrupts(&self, interrupt: Interrupt) {
        loop {
            self.service();
            interrupt.next().await;
        }
    }

    /// Appends bytes to the queue of those to be sent, waiting for room as often as needed.
    async fn send(&self, mut bytes: &[u8]) {
        loop {
            let count = self.uart.borrow_mut().to_send.push(bytes);
            bytes = &bytes[count..];
            let sent = self.sent.next();
            self.service();
            if bytes.is_empty() {
                return;
            }
            let moment = userlib::time::Instant::now() + PATIENCE;
            // Whether or not it was an interrupt: the next round looks at the device.
            let _ = executor::before(moment, sent).await;
        }
    }

    /// Waits until everything has left the device.
    pub async fn drain(&self) {
        loop {
            self.service();
            if self.uart.borrow().is_idle() {
                return;
            }
            executor::sleep(IDLE_INTERVAL).await;
        }
    }

    /// Sends what is queued and brings the device to rest.
    pub async fn stop(&self) {
        self.drain().await;
        self.uart.borrow_mut().stop();
    }
}

impl ConsoleServer for Console {
    async fn write(&self, _: &Caller, bytes: ReadLease) -> Result<(), ConsoleError> {
        let _turn = self.writer.lock().await;
        let length = bytes.length()?;
        let mut piece = [0; PIECE];
        let mut done = 0;
        while done < length {
            let count = PIECE.min(length - done);
            bytes.read(done, &mut piece[..count])?;
            self.send(&piece[..count]).await;
            done += count;
        }
        Ok(())
    }

    async fn read(&self, caller: &Caller, from: u64, bytes: WriteLease) -> Result<Typed, ConsoleError> {
        let _turn = self.reader.lock().await;
        // A reader that is gone meanwhile asks for nothing: what others were delivered stays theirs.
        let room = bytes.length()?.min(PIECE);
        let asked = self.delivery.borrow_mut().ask(caller.client(), from);
        if asked.arrived > 0 {
            self.uart.borrow_mut().received.drop_first(asked.arrived);
            // There is room again for what the device holds back.
            self.service();
        }
        if room == 0 || asked.wanted == Wanted::Unknown {
            return Ok(Typed { length: 0, next: self.delivery.borrow().first() });
        }
        loop {
            let received = self.received.next();
            let mut piece = [0; PIECE];
            let count = self.uart.borrow().received.peek(&mut piece[..room]);
            if count > 0 {
                bytes.write(0, &piece[..count])?;
                // They stay in the queue: the answer may come too late.
                let next = self.delivery.borrow_mut().deliver(count);
                return Ok(Typed { length: count as u32, next });
            }
            received.await;
        }
    }

    async fn flush(&self, _: &Caller) -> Result<(), ConsoleError> {
        self.drain().await;
        Ok(())
    }

    async fn size(&self, _: &Caller) -> Option<ConsoleSize> {
        // A serial line does not say what is at its other end.
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Queue;
    use crate::registers::{DATA_READY, FIFO_LENGTH, NO_INTERRUPT, TRANSMITTER_IDLE, TRANSMITTER_ROOM};
    use alloc::collections::VecDeque;
    use alloc::rc::Rc;
    use alloc::vec::Vec;
    use core::cell::Cell;
    use driver::double::{self, RegisterDouble};
    use interfaces::console::{ConsoleClient, ConsoleDouble};
    use userlib::host::Fault;
    use userlib::ipc::RetriedError;
    use userlib::session::ClientId;

    /// A device without interrupts that sends what it has each time somebody has looked a few times.
    #[derive(Default)]
    struct Line {
        scratch: Cell<u8>,
        looks: Cell<u32>,
        fifo: RefCell<Vec<u8>>,
        wire: RefCell<Vec<u8>>,
        typed: RefCell<VecDeque<u8>>,
    }

    impl RegisterDouble for Line {
        fn length(&self) -> usize {
            8
        }

        fn read(&self, offset: usize, _: usize) -> u64 {
            let value = match offset {
                0 => self.typed.borrow_mut().pop_front().unwrap_or(0),
                2 => NO_INTERRUPT,
                5 => {
                    self.looks.set(self.looks.get() + 1);
                    if self.looks.get().is_multiple_of(5) {
                        self.wire.borrow_mut().append(&mut self.fifo.borrow_mut());
                    }
                    let ready = if self.typed.borrow().is_empty() { 0 } else { DATA_READY };
                    let room = self.fifo.borrow().is_empty();
                    ready | if room { TRANSMITTER_ROOM | TRANSMITTER_IDLE } else { 0 }
                }
                7 => self.scratch.get(),
                _ => 0,
            };
            value.into()
        }

        fn write(&self, offset: usize, _: usize, value: u64) {
            match offset {
                0 => {
                    self.fifo.borrow_mut().push(value as u8);
                    assert!(self.fifo.borrow().len() <= FIFO_LENGTH, "a byte is lost in the transmitter");
                }
                7 => self.scratch.set(value as u8),
                _ => {}
            }
        }
    }

    /// Bytes that a queue holds.
    const QUEUE: usize = 100;

    fn console(line: &Rc<Line>, instance: u32) -> Console {
        let registers = double::window(line.clone()).block().expect("the device has all registers");
        let uart = Uart::start(registers, Queue::new(QUEUE), Queue::new(QUEUE)).expect("the device is there");
        // The divisor went through the same register as bytes do.
        line.fifo.borrow_mut().clear();
        Console::new(uart, instance)
    }

    fn double() -> (Rc<Line>, ConsoleDouble) {
        let line = Rc::new(Line::default());
        let console = console(&line, 0);
        (line, ConsoleDouble::new(console))
    }

    /// Types, and has the driver look at its device.
    fn typed(line: &Line, client: ConsoleClient, bytes: &[u8]) {
        line.typed.borrow_mut().extend(bytes);
        client.flush().unwrap();
    }

    /// Reads at most `room` bytes: those, and from where to ask next.
    fn read(client: ConsoleClient, from: u64, room: usize) -> (Vec<u8>, u64) {
        let mut bytes = [0; 2 * QUEUE];
        let Typed { length, next } = client.read(from, &mut bytes[..room]).unwrap();
        (bytes[..length as usize].to_vec(), next)
    }

    fn connected<R>(body: impl FnOnce(&Line, ConsoleClient) -> R) -> R {
        let (line, double) = double();
        body(&line, double.client())
    }

    #[test]
    fn any_messages_to_console() {
        let (line, double) = double();
        let next = Cell::new(0);
        let tally = double.fuzz(&[], |client| {
            client.flush().unwrap();
            line.wire.borrow_mut().clear();
            client.write(b"hello").unwrap();
            typed(&line, client, b"abc");
            assert_eq!(&line.wire.borrow()[..], b"hello");
            let (bytes, behind) = read(client, next.replace(next.get() + 3), 8);
            assert_eq!((&bytes[..], behind), (&b"abc"[..], next.get()));
        });
        assert_eq!(tally.answered.len(), 4, "{tally}");
    }

    #[test]
    fn a_burst_of_64_kib_arrives_complete_and_in_order() {
        connected(|line, client| {
            let burst: Vec<u8> = (0..65536_u32).map(|i| (i * 31 % 253) as u8).collect();
            client.with_timeout(Duration::from_secs(1000)).write(&burst).unwrap();
            client.flush().unwrap();
            assert!(*line.wire.borrow() == burst);
        });
    }

    #[test]
    fn a_reader_gets_what_was_typed_and_waits_if_nothing_was() {
        connected(|line, client| {
            typed(line, client, b"hello");
            assert_eq!(read(client, 0, 3), (b"hel".to_vec(), 3));
            assert_eq!(read(client, 3, 0), (Vec::new(), 3), "there is no room");
            assert_eq!(read(client, 3, 3), (b"lo".to_vec(), 5));
            let hasty = client.with_timeout(Duration::from_millis(5));
            assert_eq!(hasty.read(5, &mut [0; 3]), Err(RetriedError::TimedOut));
            typed(line, client, b"!");
            assert_eq!(read(client, 5, 3), (b"!".to_vec(), 6), "the reader that gave up has taken nothing");
        });
    }

    #[test]
    fn a_reader_that_asks_again_from_the_same_position_gets_the_same_bytes() {
        connected(|line, client| {
            typed(line, client, b"hello");
            assert_eq!(read(client, 0, 3), (b"hel".to_vec(), 3));
            assert_eq!(read(client, 0, 3), (b"hel".to_vec(), 3));
            typed(line, client, b"!");
            assert_eq!(read(client, 0, 8), (b"hello!".to_vec(), 6), "and what has come since");
            assert_eq!(read(client, 2, 8), (b"llo!".to_vec(), 6), "or the part that it has not got");
            assert_eq!(read(client, 0, 8), (b"llo!".to_vec(), 6), "what it has got is forgotten");
        });
    }

    #[test]
    fn nothing_is_lost_with_an_answer_that_comes_too_late() {
        let (line, double) = double();
        let client = double.client();
        typed(&line, client, b"hello");
        for fault in [Fault::AnswerLost, Fault::Late] {
            double.faults().plan(fault);
            assert_eq!(client.read(0, &mut [0; 8]), Err(RetriedError::TimedOut), "{fault:?}");
        }
        for fault in [Fault::DiesDuring, Fault::DiesAfter, Fault::Repeated] {
            double.faults().plan(fault);
            assert_eq!(read(client, 0, 8), (b"hello".to_vec(), 5), "{fault:?}");
        }
    }

    #[test]
    fn another_reader_does_not_get_what_was_delivered() {
        let (line, double) = double();
        let client = double.client_with_badge(ClientId::new(1, 0).badge());
        let next_life = double.client_with_badge(ClientId::new(1, 1).badge());
        typed(&line, client, b"kill shell\rls\r");
        assert_eq!(read(client, 0, 11).0, b"kill shell\r");
        assert_eq!(read(next_life, 0, 11), (b"ls\r".to_vec(), 14));
        assert_eq!(read(next_life, 0, 11), (b"ls\r".to_vec(), 14), "now they are its own");
    }

    #[test]
    fn a_reader_that_is_gone_takes_nothing_from_others() {
        let (line, double) = double();
        let (client, other) = (double.client(), double.client_with_badge(2));
        typed(&line, client, b"hello");
        assert_eq!(read(client, 0, 8).0, b"hello");
        double.faults().plan(Fault::Late);
        assert_eq!(other.read(0, &mut [0; 8]), Err(RetriedError::TimedOut));
        assert_eq!(read(client, 0, 8).0, b"hello");
    }

    #[test]
    fn a_reader_of_a_former_instance_is_told_at_once_from_where_to_ask() {
        let line = Rc::new(Line::default());
        let (device, instance) = (line.clone(), Cell::new(0));
        let double = ConsoleDouble::restarting(move || console(&device, instance.replace(instance.get() + 1)));
        let client = double.client();
        typed(&line, client, b"hello");
        assert_eq!(read(client, 0, 3), (b"hel".to_vec(), 3));
        double.faults().plan(Fault::DiesBefore);
        let (bytes, begin) = read(client, 3, 8);
        assert!(bytes.is_empty(), "the position is none of this instance's");
        typed(&line, client, b"ls");
        assert_eq!(read(client, 3, 8), (Vec::new(), begin), "nor does it become one");
        assert_eq!(read(client, begin, 8), (b"ls".to_vec(), begin + 2));
    }

    #[test]
    fn a_full_queue_leaves_bytes_in_the_device_and_loses_none() {
        connected(|line, client| {
            let all: Vec<u8> = (0..=255).cycle().take(1000).collect();
            typed(line, client, &all);
            assert_eq!(line.typed.borrow().len(), 1000 - QUEUE);
            let (mut seen, mut next) = (Vec::new(), 0);
            while seen.len() < 1000 {
                let (bytes, behind) = read(client, next, 64);
                seen.extend_from_slice(&bytes);
                next = behind;
            }
            assert_eq!(seen, all);
        });
    }

    #[test]
    fn a_queue_full_of_delivered_bytes_has_room_when_they_have_arrived() {
        connected(|line, client| {
            let all: Vec<u8> = (0..250).collect();
            typed(line, client, &all);
            for _ in 0..2 {
                assert_eq!(read(client, 0, 2 * QUEUE), (all[..QUEUE].to_vec(), 100));
                assert_eq!(line.typed.borrow().len(), 150, "they are kept, and the device holds the others back");
            }
            assert_eq!(read(client, 100, 2 * QUEUE), (all[QUEUE..2 * QUEUE].to_vec(), 200));
            assert_eq!(read(client, 200, 2 * QUEUE), (all[2 * QUEUE..].to_vec(), 250));
        });
    }
}
