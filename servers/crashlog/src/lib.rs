//! Carries records of deaths from the supervisor to a file. It is above the file server, so that nothing has to wait upward for
//! it: it asks the supervisor now and then whether there is something new.
#![cfg_attr(target_os = "none", no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use interfaces::crash::{CrashRecord, RECORD_MAX};
use interfaces::crash_log::{self, PATH, SLOT, SLOTS};
use interfaces::filesystem::{Access, FileId, FilesystemClient, FsError};
use interfaces::supervision::{SupervisionClient, SupervisionError};
use userlib::executor;
use userlib::ipc::{CallError, RetriedError};

/// Why records were not written this time. They are tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogError {
    /// The file cannot be read or written.
    File(CallError<FsError>),
    /// The supervisor does not tell of deaths.
    Supervisor(RetriedError<SupervisionError>),
}

impl LogError {
    /// Whether there is no place for the file, now and later: no disk, or none that can be written to.
    pub fn is_lasting(&self) -> bool {
        matches!(self, Self::File(CallError::Failed(FsError::NoDisk | FsError::UnknownFormat | FsError::ReadOnly)))
    }
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => write!(f, "deaths cannot be written to {PATH}: {error}"),
            Self::Supervisor(error) => write!(f, "the supervisor does not tell of deaths: {error}"),
        }
    }
}

impl From<CallError<FsError>> for LogError {
    fn from(error: CallError<FsError>) -> Self {
        Self::File(error)
    }
}

impl From<RetriedError<FsError>> for LogError {
    fn from(error: RetriedError<FsError>) -> Self {
        Self::File(error.into())
    }
}

impl From<RetriedError<SupervisionError>> for LogError {
    fn from(error: RetriedError<SupervisionError>) -> Self {
        Self::Supervisor(error)
    }
}

/// What tells a death from all others: its number, and when it was.
type Mark = (u64, u64);

fn mark(record: &CrashRecord) -> Mark {
    (record.number, record.time)
}

/// What has come of a look at what has happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Deaths that were written down.
    pub written: usize,
    /// Deaths of which nothing will ever be known: the supervisor that knew of them has died, or there were more than it keeps.
    pub missed: u64,
}

/// How many deaths there were behind the last one that was told of, beside these, if they are of one count.
fn untold(last: Option<Mark>, fresh: &[CrashRecord]) -> u64 {
    let (Some((last, _)), Some(newest)) = (last, fresh.last()) else { return 0 };
    newest.number.saturating_sub(last).saturating_sub(fresh.len() as u64)
}

/// The log.
#[derive(Debug)]
pub struct CrashLog {
    files: FilesystemClient,
    supervisor: SupervisionClient,
    /// The last death that the supervisor has told of.
    last: Option<Mark>,
}

impl CrashLog {
    /// A log of what `supervisor` tells, in a file of `files`. Calls wait no longer than the clients say.
    pub fn new(files: FilesystemClient, supervisor: SupervisionClient) -> Self {
        Self { files, supervisor, last: None }
    }

    /// Writes down what has happened since the last time, and says how much that was. Signs of life are given between any two
    /// calls: however slow the servers are, the thread waits for no more than one of them at a time.
    ///
    /// # Errors
    /// [`LogError`]: what was not written is written the next time, if the supervisor keeps it until then.
    pub async fn advance(&mut self) -> Result<Progress, LogError> {
        let fresh = self.fresh().await?;
        let Some(newest) = fresh.last().map(mark) else { return Ok(Progress::default()) };
        let missed = untold(self.last, &fresh);
        let file = self.open()?;
        let written = self.append(file, &fresh).await;
        executor::yield_now().await;
        let synced = written.and_then(|count| {
            self.files.sync_file(file)?;
            Ok(count)
        });
        // Its numbers are good for one life of the server: a file that cannot be closed is closed by that.
        let _ = self.files.close(file);
        let written = synced?;
        self.last = Some(newest);
        Ok(Progress { written, missed })
    }

    /// The deaths behind the last one. A supervisor that does not know that one is another one: whatever it knows is new.
    async fn fresh(&self) -> Result<Vec<CrashRecord>, LogError> {
        let mut from = 0;
        if let Some(last) = self.last {
            from = match self.record(last.0)? {
                (Some(known), next) if mark(&known) == last => next,
                // It is not kept any more, but later ones are.
                (Some(later), _) if later.number > last.0 => last.0 + 1,
                _ => 0,
            };
        }
        let mut fresh = Vec::new();
        while let (Some(record), next) = self.record(from)? {
            if next <= from || fresh.len() as u64 == SLOTS {
                break;
            }
            from = next;
            fresh.push(record);
            executor::yield_now().await;
        }
        Ok(fresh)
    }

    fn record(&self, number: u64) -> Result<(Option<CrashRecord>, u64), LogError> {
        let mut bytes = vec![0; RECORD_MAX];
        let part = self.supervisor.crash_record(number, &mut bytes)?;
        Ok((bytes.get(..part.bytes).and_then(CrashRecord::decode), part.next))
    }

    fn open(&self) -> Result<FileId, LogError> {
        match self.files.open(PATH, Access::ReadWrite) {
            Err(RetriedError::Failed(FsError::NotFound)) => Ok(self.files.create(PATH)?.file),
            opened => Ok(opened?.file),
        }
    }

    /// Writes those deaths that the file does not have.
    async fn append(&self, file: FileId, fresh: &[CrashRecord]) -> Result<usize, LogError> {
        let mut bytes = vec![0; SLOT * SLOTS as usize];
        let mut length = 0;
        while length < bytes.len() {
            executor::yield_now().await;
            match self.files.read(file, length as u64, &mut bytes[length..])? {
                0 => break,
                count => length += count.min(bytes.len() - length),
            }
        }
        let mut known = crash_log::records(&bytes[..length]);
        let mut number = crash_log::next_number(&known).unwrap_or_else(|| {
            // Somebody else has written that: nobody has died so often.
            known.clear();
            0
        });
        if number == 0 && length > 0 {
            self.files.truncate(file, 0)?;
        }
        let mut count = 0;
        for record in fresh {
            if known.iter().any(|(_, known)| mark(known) == mark(record) && known.domain == record.domain) {
                continue;
            }
            let slot = crash_log::slot(number, record);
            let mut done = 0;
            while done < slot.len() {
                executor::yield_now().await;
                let written = self.files.write(file, crash_log::offset(number) + done as u64, &slot[done..])?;
                if written == 0 {
                    return Err(LogError::File(CallError::Failed(FsError::NoSpace)));
                }
                done += written;
            }
            number += 1;
            count += 1;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deaths_that_nobody_told_of_are_counted() {
        let records = |numbers: &[u64]| -> Vec<CrashRecord> {
            numbers.iter().map(|number| CrashRecord { number: *number, ..CrashRecord::default() }).collect()
        };
        assert_eq!(untold(None, &records(&[5])), 0, "who has just started does not know what others have written");
        assert_eq!(untold(Some((4, 7)), &records(&[5, 6])), 0);
        assert_eq!(untold(Some((4, 7)), &records(&[8])), 3);
        assert_eq!(untold(Some((4, 7)), &records(&[5, 8, 9])), 2);
        assert_eq!(untold(Some((4, 7)), &records(&[1, 2])), 0, "a supervisor that counts anew has missed nothing");
        assert_eq!(untold(Some((u64::MAX, 7)), &records(&[u64::MAX])), 0);
    }
}
