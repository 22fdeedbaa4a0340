//! The console that clients call, on top of the device.

use crate::device::{Progress, Uart};
use core::cell::RefCell;
use driver::Interrupt;
use interfaces::console::{ConsoleError, ConsoleServer, ConsoleSize};
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
    writer: Mutex<()>,
    reader: Mutex<()>,
    sent: Event,
    received: Event,
}

impl Console {
    /// A console on a started device.
    pub fn new(uart: Uart) -> Self {
        Self {
            uart: RefCell::new(uart),
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

    async fn read(&self, _: &Caller, bytes: WriteLease) -> Result<usize, ConsoleError> {
        let _turn = self.reader.lock().await;
        if bytes.length()? == 0 {
            return Ok(0);
        }
        loop {
            let received = self.received.next();
            let mut piece = [0; PIECE];
            let count = self.uart.borrow().received.peek(&mut piece);
            if count > 0 {
                let count = count.min(bytes.length()?);
                // A reader that is gone meanwhile takes nothing with it: the bytes are the next one's.
                bytes.write(0, &piece[..count])?;
                self.uart.borrow_mut().received.drop_first(count);
                // There is room again for what the device holds back.
                self.service();
                return Ok(count);
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
    use userlib::ipc::CallError;

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

    fn double() -> (Rc<Line>, ConsoleDouble) {
        let line = Rc::new(Line::default());
        let registers = double::window(line.clone()).block().expect("the device has all registers");
        let uart = Uart::start(registers, Queue::new(100), Queue::new(100)).expect("the device is there");
        // The divisor went through the same register as bytes do.
        line.fifo.borrow_mut().clear();
        (line, ConsoleDouble::new(Console::new(uart)))
    }

    fn connected<R>(body: impl FnOnce(&Line, ConsoleClient) -> R) -> R {
        let (line, double) = double();
        body(&line, double.client())
    }

    #[test]
    fn any_messages_to_console() {
        let (line, double) = double();
        let tally = double.fuzz(&[], |client| {
            client.flush().unwrap();
            line.wire.borrow_mut().clear();
            client.write(b"hello").unwrap();
            line.typed.borrow_mut().extend(b"abc");
            client.flush().unwrap();
            assert_eq!(&line.wire.borrow()[..], b"hello");
            let mut bytes = [0; 8];
            assert_eq!(client.read(&mut bytes), Ok(3));
            assert_eq!(&bytes[..3], b"abc");
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
            line.typed.borrow_mut().extend(b"hello");
            client.flush().unwrap();
            let mut bytes = [0; 3];
            assert_eq!(client.read(&mut bytes), Ok(3));
            assert_eq!(&bytes, b"hel");
            assert_eq!(client.read(&mut bytes), Ok(2));
            assert_eq!(client.read(&mut []), Ok(0));
            let hasty = client.with_timeout(Duration::from_millis(5));
            assert_eq!(hasty.read(&mut bytes), Err(CallError::TimedOut));
            line.typed.borrow_mut().extend(b"!");
            client.flush().unwrap();
            assert_eq!(client.read(&mut bytes), Ok(1), "the reader that gave up has taken nothing");
        });
    }

    #[test]
    fn a_full_queue_leaves_bytes_in_the_device_and_loses_none() {
        connected(|line, client| {
            line.typed.borrow_mut().extend((0..=255).cycle().take(1000));
            client.flush().unwrap();
            assert_eq!(line.typed.borrow().len(), 900);
            let mut all = Vec::new();
            while all.len() < 1000 {
                let mut bytes = [0; 64];
                let count = client.read(&mut bytes).unwrap();
                all.extend_from_slice(&bytes[..count]);
            }
            assert!(all.iter().copied().eq((0..=255).cycle().take(1000)));
        });
    }
}
