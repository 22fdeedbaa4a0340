//! The terminal as the shell reads it from the console's driver.

use interfaces::console::{ConsoleDouble, ConsoleError, ConsoleServer, ConsoleSize, Typed};
use shell::clients::ReadConsole;
use shell::services::Terminal;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use userlib::host::Fault;
use userlib::ipc::{CallError, Caller, ReadLease, WriteLease};

/// A moment: nobody waits longer for what is typed.
const PATIENCE: Option<Duration> = Some(Duration::from_millis(10));

/// A console's driver that forgets nothing of what was typed since `begin`.
struct Keyboard {
    begin: u64,
    typed: Rc<RefCell<Vec<u8>>>,
}

impl ConsoleServer for Keyboard {
    async fn write(&self, _: &Caller, _: ReadLease) -> Result<(), ConsoleError> {
        Ok(())
    }

    async fn read(&self, _: &Caller, from: u64, bytes: WriteLease) -> Result<Typed, ConsoleError> {
        let typed = self.typed.borrow().clone();
        let rest = from.checked_sub(self.begin).and_then(|start| typed.get(start as usize..));
        let Some(rest) = rest else { return Ok(Typed { length: 0, next: self.begin }) };
        if rest.is_empty() {
            return std::future::pending().await;
        }
        let count = rest.len().min(bytes.length()?);
        bytes.write(0, &rest[..count])?;
        Ok(Typed { length: count as u32, next: from + count as u64 })
    }

    async fn flush(&self, _: &Caller) -> Result<(), ConsoleError> {
        Ok(())
    }

    async fn size(&self, _: &Caller) -> Option<ConsoleSize> {
        None
    }
}

/// The driver, what is typed, and the shell's end. What was typed dies with the driver, each instance of which counts from a
/// thousand further on.
fn keyboard() -> (ConsoleDouble, Rc<RefCell<Vec<u8>>>, ReadConsole) {
    let typed = Rc::new(RefCell::new(Vec::new()));
    let (kept, begin) = (typed.clone(), Cell::new(0));
    let double = ConsoleDouble::restarting(move || {
        kept.borrow_mut().clear();
        Keyboard { begin: begin.replace(begin.get() + 1000), typed: kept.clone() }
    });
    let terminal = ReadConsole::new(double.client());
    (double, typed, terminal)
}

fn read(terminal: &ReadConsole) -> Result<Vec<u8>, CallError<ConsoleError>> {
    let mut bytes = [0; 3];
    terminal.read(&mut bytes, PATIENCE).map(|count| bytes[..count].to_vec())
}

#[test]
fn what_is_typed_is_read_once_and_in_order() {
    let (_double, typed, terminal) = keyboard();
    assert_eq!(read(&terminal), Ok(Vec::new()));
    typed.borrow_mut().extend(b"hello");
    assert_eq!(read(&terminal), Ok(b"hel".to_vec()));
    assert_eq!(read(&terminal), Ok(b"lo".to_vec()));
    assert_eq!(read(&terminal), Ok(Vec::new()));
}

#[test]
fn what_comes_in_an_answer_that_is_too_late_is_read_the_next_time() {
    let (double, typed, terminal) = keyboard();
    typed.borrow_mut().extend(b"hello");
    assert_eq!(read(&terminal), Ok(b"hel".to_vec()));
    double.faults().plan(Fault::AnswerLost);
    assert_eq!(read(&terminal), Ok(Vec::new()));
    assert_eq!(read(&terminal), Ok(b"lo".to_vec()));
}

#[test]
fn the_death_of_the_driver_is_told_once() {
    let (double, typed, terminal) = keyboard();
    typed.borrow_mut().extend(b"lost");
    assert_eq!(read(&terminal), Ok(b"los".to_vec()));
    double.faults().plan(Fault::DiesBefore);
    assert_eq!(read(&terminal), Err(CallError::ServerDied));
    typed.borrow_mut().extend(b"ls");
    assert_eq!(read(&terminal), Ok(b"ls".to_vec()));
}

#[test]
fn a_death_before_anything_was_read_is_nobodys_loss() {
    let (double, typed, _) = keyboard();
    double.faults().plan(Fault::DiesBefore);
    assert_eq!(double.client().flush(), Ok(()));
    typed.borrow_mut().extend(b"ls");
    assert_eq!(read(&ReadConsole::new(double.client())), Ok(b"ls".to_vec()));
}
