//! A server at the other end of a stream.

use alloc::string::String;
use alloc::vec::Vec;
use interfaces::command::CommandError;
use interfaces::stream::StreamClient;
use keyvalue_store::{LINE_BYTES, READY};
use userlib::time::{Deadline, Duration, Instant, sleep_thread};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a server may take until it is ready: a whole operating system may have to start first.
const START: Duration = Duration::from_secs(300);
/// Pause before a server is asked again that took nothing.
const PAUSE: Duration = Duration::from_millis(10);

/// A position behind everything.
const NOTHING: u64 = u64::MAX;

/// A server that is asked by lines.
pub(crate) struct Server {
    stream: StreamClient,
    /// Position behind what was heard; [`NOTHING`] before it is known.
    heard: u64,
    /// What was heard of a line that has not ended yet.
    line: Vec<u8>,
}

impl Server {
    /// One of which nothing was heard yet.
    pub(crate) fn new(stream: StreamClient) -> Self {
        Self { stream, heard: NOTHING, line: Vec::new() }
    }

    /// What it answers to a line.
    pub(crate) fn ask(&mut self, line: &str) -> Result<String, CommandError> {
        if self.heard == NOTHING {
            // What was said before is no answer to this.
            self.heard = self.stream.receive(NOTHING, &mut [])?.next;
        }
        let until = Instant::now() + ANSWER;
        let whole: Vec<u8> = line.bytes().chain([b'\n']).collect();
        let mut sent = 0;
        while sent < whole.len() {
            let taken = self.stream.send(&whole[sent..])? as usize;
            sent += taken;
            if taken == 0 {
                Self::check(until)?;
                sleep_thread(Deadline::after(PAUSE));
            }
        }
        self.hear(until)
    }

    /// Waits until it says that it is ready, in anything that it has said since it began.
    pub(crate) fn await_ready(&mut self) -> Result<(), CommandError> {
        let until = Instant::now() + START;
        // What it said in a former life is forgotten: this is where the first that is kept begins.
        (self.heard, self.line) = (self.stream.receive(0, &mut [])?.next, Vec::new());
        while self.hear(until)? != READY {}
        Ok(())
    }

    /// The next line.
    fn hear(&mut self, until: Instant) -> Result<String, CommandError> {
        loop {
            if let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.line.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().into());
            }
            let mut bytes = [0; 512];
            let received = self.stream.receive(self.heard, &mut bytes)?;
            // It may say what it likes for ever.
            Self::check(until)?;
            if received.lost > 0 || self.line.len() > LINE_BYTES {
                return Err(CommandError::failed("what it says is no answer"));
            }
            self.heard = received.next;
            self.line.extend(bytes.iter().take(received.length as usize));
        }
    }

    fn check(until: Instant) -> Result<(), CommandError> {
        if Instant::now() < until { Ok(()) } else { Err(CommandError::failed("it does not answer")) }
    }
}
