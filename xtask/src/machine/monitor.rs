//! QEMU's monitor for programs (QMP), for what the machine itself cannot say: how much was really read from its disks.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::slot::{self, Slot};

/// How long QEMU may take for an answer.
const LIMIT: Duration = Duration::from_secs(30);

/// Why QEMU did not say what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum MonitorError {
    /// There is no connection to it, or not any more.
    #[error("cannot talk to QEMU's monitor: {0}")]
    Io(#[from] io::Error),
    /// It answers with something else than what was asked for; holds what.
    #[error("QEMU's monitor does not answer `{asked}` as expected, but with: {answer}")]
    Answer {
        /// The command.
        asked: &'static str,
        /// What came instead of its answer.
        answer: String,
    },
}

/// What a machine's disks have done since it was started, all together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskCounts {
    /// Reads that are complete.
    pub reads: u64,
    /// Bytes that they have read.
    pub bytes_read: u64,
}

impl DiskCounts {
    /// What was done after `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self { reads: self.reads - earlier.reads, bytes_read: self.bytes_read - earlier.bytes_read }
    }

    /// The sum in the answer to `query-blockstats`.
    fn of(answer: &Value) -> Option<Self> {
        let mut sum = Self::default();
        for device in answer.get("return")?.as_array()? {
            let count = |name: &str| device.get("stats")?.get(name)?.as_u64();
            sum.reads += count("rd_operations")?;
            sum.bytes_read += count("rd_bytes")?;
        }
        Some(sum)
    }
}

/// A place for the socket of a machine's monitor that no other machine of this host has, nor gets by another call. Sockets' paths are
/// short, so it is not in the target folder.
pub fn socket() -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("bulkhead-{}-{number}.qmp", std::process::id()))
}

/// A connection to QEMU's monitor.
#[derive(Debug)]
pub struct Monitor {
    stream: BufReader<UnixStream>,
    path: PathBuf,
    /// Devices that have left the machine, by name, and were not asked for yet.
    gone: Vec<String>,
}

impl Monitor {
    /// Connects to the monitor of a machine that runs and was given [`super::Machine::monitor`].
    ///
    /// # Errors
    ///
    /// [`MonitorError`].
    pub fn connect(path: &Path) -> Result<Self, MonitorError> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(LIMIT))?;
        let mut monitor = Self { stream: BufReader::new(stream), path: path.to_owned(), gone: Vec::new() };
        // It greets first.
        monitor.line()?;
        monitor.ask("qmp_capabilities", &json!({}))?;
        Ok(monitor)
    }

    /// What the disks have done so far.
    ///
    /// # Errors
    ///
    /// [`MonitorError`].
    pub fn disk_counts(&mut self) -> Result<DiskCounts, MonitorError> {
        let asked = "query-blockstats";
        let answer = self.ask(asked, &json!({}))?;
        DiskCounts::of(&answer).ok_or_else(|| MonitorError::Answer { asked, answer: answer.to_string() })
    }

    /// Has the machine stand still during `work`: no request to a disk is half done, and what is there is what a power cut would leave.
    ///
    /// # Errors
    ///
    /// [`MonitorError`].
    pub fn while_stopped<T>(&mut self, work: impl FnOnce() -> T) -> Result<T, MonitorError> {
        self.ask("stop", &json!({}))?;
        let outcome = work();
        self.ask("cont", &json!({}))?;
        Ok(outcome)
    }

    /// Presses the button of a slot: whoever is at work in the machine is asked to let go of its device, and QEMU removes that
    /// when it may ([`Monitor::await_removal`]).
    ///
    /// # Errors
    ///
    /// [`MonitorError`]; `Answer` also while the slot is busy.
    pub fn take_out(&mut self, slot: Slot) -> Result<(), MonitorError> {
        self.ask("device_del", &json!({ "id": slot.card() })).map(drop)
    }

    /// Puts the disk of a slot back into it. `is_confined` says whether the machine has an IOMMU.
    ///
    /// # Errors
    ///
    /// [`MonitorError`].
    pub fn put_in(&mut self, slot: Slot, is_confined: bool) -> Result<(), MonitorError> {
        self.ask("device_add", &slot.disk_as_json(is_confined)).map(drop)
    }

    /// Waits until the device in a slot has left the machine.
    ///
    /// # Errors
    ///
    /// [`MonitorError`], also if it does not for half a minute.
    pub fn await_removal(&mut self, slot: Slot) -> Result<(), MonitorError> {
        loop {
            if let Some(place) = self.gone.iter().position(|gone| *gone == slot.card()) {
                self.gone.swap_remove(place);
                return Ok(());
            }
            let line = self.line()?;
            let event = serde_json::from_str(&line)
                .map_err(|_| MonitorError::Answer { asked: "device_del", answer: line.clone() })?;
            self.note(&event);
        }
    }

    /// Pulls the device of a slot out by force: takes the power away by the port's own registers, behind the back of whoever is at
    /// work in the machine. That is what a machine sees of a card that somebody pulls.
    ///
    /// # Errors
    ///
    /// [`MonitorError`].
    pub fn pull_out(&mut self, slot: Slot) -> Result<(), MonitorError> {
        let register = self.slot_control(slot)?;
        let control = self.read_config(slot, register)? as u16;
        self.write_config(slot, register, control | slot::POWER_AND_INDICATOR_OFF)
    }

    /// Where the slot control of a slot's port is in its configuration space.
    fn slot_control(&mut self, slot: Slot) -> Result<u8, MonitorError> {
        // A list has at most as many capabilities as there is room for.
        let mut offset = self.read_config(slot, slot::CAPABILITIES)? as u8 & !3;
        for _ in 0..64 {
            let header = self.read_config(slot, offset)?;
            if header as u8 == slot::EXPRESS {
                return Ok(offset + slot::SLOT_CONTROL);
            }
            offset = (header >> 8) as u8 & !3;
        }
        Err(MonitorError::Answer { asked: "human-monitor-command", answer: "the port has no slot".to_owned() })
    }

    /// Four bytes of the configuration space of a slot's port, by the ports of a PC (PCI Local Bus 3.0, 3.2.2.3.2).
    ///
    /// The monitor for people calls two bytes `h` and four bytes `w`.
    fn read_config(&mut self, slot: Slot, offset: u8) -> Result<u32, MonitorError> {
        self.say(&format!("o /w {:#x} {:#x}", slot::ADDRESS_PORT, slot.config_address(offset)))?;
        let answer = self.say(&format!("i /w {:#x}", slot::DATA_PORT))?;
        // As in `portl[0x0cfc] = 0x00000480`.
        let value = answer.rsplit("0x").next().and_then(|digits| u32::from_str_radix(digits.trim(), 16).ok());
        value.ok_or(MonitorError::Answer { asked: "human-monitor-command", answer })
    }

    fn write_config(&mut self, slot: Slot, offset: u8, value: u16) -> Result<(), MonitorError> {
        self.say(&format!("o /w {:#x} {:#x}", slot::ADDRESS_PORT, slot.config_address(offset)))?;
        let port = slot::DATA_PORT + u16::from(offset & 3);
        self.say(&format!("o /h {port:#x} {value:#x}")).map(drop)
    }

    /// A command of the monitor for people, and what it says.
    fn say(&mut self, line: &str) -> Result<String, MonitorError> {
        let asked = "human-monitor-command";
        let answer = self.ask(asked, &json!({ "command-line": line }))?;
        let text = answer.get("return").and_then(Value::as_str).map(str::to_owned);
        text.ok_or_else(|| MonitorError::Answer { asked, answer: answer.to_string() })
    }

    /// Notes what an event tells.
    fn note(&mut self, event: &Value) {
        if event.get("event").and_then(Value::as_str) == Some("DEVICE_DELETED")
            && let Some(device) = event.pointer("/data/device").and_then(Value::as_str)
        {
            self.gone.push(device.to_owned());
        }
    }

    fn ask(&mut self, asked: &'static str, arguments: &Value) -> Result<Value, MonitorError> {
        let mut command = json!({ "execute": asked, "arguments": arguments }).to_string();
        command.push('\n');
        self.stream.get_mut().write_all(command.as_bytes())?;
        loop {
            let line = self.line()?;
            let unexpected = |answer: String| MonitorError::Answer { asked, answer };
            let answer: Value = serde_json::from_str(&line).map_err(|_| unexpected(line.clone()))?;
            if answer.get("return").is_some() {
                return Ok(answer);
            }
            // What happens meanwhile is told in between.
            if answer.get("event").is_none() {
                return Err(unexpected(line));
            }
            self.note(&answer);
        }
    }

    fn line(&mut self) -> Result<String, MonitorError> {
        let mut line = String::new();
        match self.stream.read_line(&mut line)? {
            0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            _ => Ok(line),
        }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        // QEMU removes it too, unless it is killed.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_those_of_all_disks() {
        let answer = r#"{"return": [
            {"device": "disk0", "stats": {"rd_operations": 3, "rd_bytes": 12288, "wr_bytes": 7}},
            {"device": "disk1", "stats": {"rd_operations": 1, "rd_bytes": 512}}
        ]}"#;
        let counts = DiskCounts::of(&serde_json::from_str(answer).unwrap());
        assert_eq!(counts, Some(DiskCounts { reads: 4, bytes_read: 12_800 }));
        let earlier = DiskCounts { reads: 1, bytes_read: 512 };
        assert_eq!(counts.unwrap().since(earlier), DiskCounts { reads: 3, bytes_read: 12_288 });
    }

    #[test]
    fn an_answer_without_counts_is_none() {
        for answer in [r#"{"return": {}}"#, r#"{"return": [{"stats": {"rd_bytes": 1}}]}"#, r#"{"error": {}}"#] {
            assert_eq!(DiskCounts::of(&serde_json::from_str(answer).unwrap()), None, "{answer}");
        }
    }
}
