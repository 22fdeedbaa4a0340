//! QEMU's monitor for programs (QMP), for what the machine itself cannot say: how much was really read from its disks.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

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

/// A place for the socket of a machine's monitor that no other machine of this host has. Sockets' paths are short, so it is not in the
/// target folder.
pub fn socket() -> PathBuf {
    std::env::temp_dir().join(format!("bulkhead-{}.qmp", std::process::id()))
}

/// A connection to QEMU's monitor.
#[derive(Debug)]
pub struct Monitor {
    stream: BufReader<UnixStream>,
    path: PathBuf,
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
        let mut monitor = Self { stream: BufReader::new(stream), path: path.to_owned() };
        // It greets first.
        monitor.line()?;
        monitor.ask("qmp_capabilities")?;
        Ok(monitor)
    }

    /// What the disks have done so far.
    ///
    /// # Errors
    ///
    /// [`MonitorError`].
    pub fn disk_counts(&mut self) -> Result<DiskCounts, MonitorError> {
        let asked = "query-blockstats";
        let answer = self.ask(asked)?;
        DiskCounts::of(&answer).ok_or_else(|| MonitorError::Answer { asked, answer: answer.to_string() })
    }

    fn ask(&mut self, asked: &'static str) -> Result<Value, MonitorError> {
        let mut command = json!({ "execute": asked }).to_string();
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
