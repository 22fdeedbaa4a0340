//! What is kept of a campaign: enough to go on with it, to report on it, and to do a part of it again elsewhere.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::FaultError;
use super::operator::Operator;
use super::verdict::Verdict;

/// What a campaign is, apart from how far it has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The domains whose code is changed.
    pub targets: Vec<String>,
    /// How many faults are injected, in all.
    pub faults: u64,
    /// How many of them at a time.
    pub batch: usize,
    /// The seed from which they follow.
    pub seed: u64,
    /// The kinds of fault.
    pub operators: Vec<Operator>,
    /// The program that works meanwhile.
    pub workload: String,
    /// Commands with their arguments that it has carried out, too.
    pub asked: Vec<String>,
    /// The system that was tested: the hash of its image.
    pub image: String,
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Its kind.
    pub operator: Operator,
    /// The address of the instruction.
    pub address: u64,
    /// The function in which that is.
    pub function: String,
    /// The instruction's bytes, in hexadecimal digits.
    pub old: String,
    /// What took their place.
    pub new: String,
    /// The how-manieth of its batch to be executed it was; 0 if it was not.
    pub order: u16,
}

/// A batch of faults, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Its number within the campaign.
    pub number: u64,
    /// The domain.
    pub target: String,
    /// The faults.
    pub faults: Vec<Fault>,
    /// What became of it.
    pub verdict: Verdict,
    /// Of what the domain died, or what else there is to tell.
    pub story: String,
    /// Nanoseconds from the death to the end of the workload's first round after it.
    pub recovered: Option<u64>,
    /// The position of the fault that has this effect alone, if there is one: found by injecting parts of the batch again.
    pub culprit: Option<usize>,
    /// The program that worked meanwhile.
    pub workload: String,
    /// Commands with their arguments that it had carried out, too.
    pub asked: Vec<String>,
    /// The system that was tested: the hash of its image.
    pub image: String,
}

impl Batch {
    /// Reads a batch that a campaign has kept.
    ///
    /// # Errors
    ///
    /// [`FaultError::Record`].
    pub fn read(path: &Path) -> Result<Self, FaultError> {
        let wrong = |why: String| FaultError::Record { path: path.to_owned(), why };
        let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))
    }
}

/// The folder of a campaign.
#[derive(Debug)]
pub(super) struct Records {
    folder: PathBuf,
    batches: Mutex<File>,
}

impl Records {
    /// Opens the folder for the campaign that `header` describes, and reads the batches that were done before.
    ///
    /// # Errors
    ///
    /// [`FaultError::OtherCampaign`] if the folder has another campaign.
    pub(super) fn open(folder: &Path, header: &Header) -> Result<(Self, Vec<Batch>), FaultError> {
        fs::create_dir_all(folder.join("records"))?;
        let place = folder.join("campaign.json");
        match fs::read_to_string(&place) {
            Ok(text) if serde_json::from_str(&text).is_ok_and(|before: Header| before == *header) => {}
            Ok(_) => return Err(FaultError::OtherCampaign(folder.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::write(&place, serde_json::to_string_pretty(header)? + "\n")?;
            }
            Err(error) => return Err(error.into()),
        }
        let path = folder.join("batches.jsonl");
        let mut done = Vec::new();
        let mut whole = 0;
        if path.exists() {
            let mut reader = BufReader::new(File::open(&path)?);
            let mut line = String::new();
            while reader.read_line(&mut line)? > 0 {
                // The last line may be one whose writing was interrupted: it is done again.
                let Ok(batch) = serde_json::from_str::<Batch>(&line) else { break };
                whole += line.len() as u64;
                done.push(batch);
                line.clear();
            }
        }
        let batches = OpenOptions::new().create(true).append(true).open(&path)?;
        batches.set_len(whole)?;
        Ok((Self { folder: folder.to_owned(), batches: Mutex::new(batches) }, done))
    }

    /// Keeps a batch; those with an effect in a file of their own, too, which can be injected again.
    pub(super) fn keep(&self, batch: &Batch) -> Result<(), FaultError> {
        let line = serde_json::to_string(batch)? + "\n";
        self.batches.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes())?;
        if batch.verdict > Verdict::Recovered {
            fs::write(self.place(batch.number, "json"), serde_json::to_string_pretty(batch)? + "\n")?;
        }
        Ok(())
    }

    /// Where something about a batch is kept.
    pub(super) fn place(&self, number: u64, ending: &str) -> PathBuf {
        self.folder.join("records").join(format!("batch-{number}.{ending}"))
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Bytes as hexadecimal digits.
pub(super) fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            targets: vec!["fat".to_owned()],
            faults: 100,
            batch: 10,
            seed: 1,
            operators: vec![Operator::FlipBit],
            workload: "work".to_owned(),
            asked: vec![],
            image: "abc".to_owned(),
        }
    }

    fn batch(number: u64, verdict: Verdict) -> Batch {
        Batch {
            number,
            target: "fat".to_owned(),
            faults: vec![],
            verdict,
            story: String::new(),
            recovered: None,
            culprit: None,
            workload: "work".to_owned(),
            asked: vec![],
            image: "abc".to_owned(),
        }
    }

    #[test]
    fn a_campaign_that_was_interrupted_goes_on_with_what_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let (records, done) = Records::open(folder.path(), &header()).unwrap();
        assert!(done.is_empty());
        records.keep(&batch(0, Verdict::NoEffect)).unwrap();
        records.keep(&batch(2, Verdict::WrongData)).unwrap();
        drop(records);
        // The machine went down while a line was written.
        let path = folder.path().join("batches.jsonl");
        let mut text = fs::read_to_string(&path).unwrap();
        text.push_str("{\"number\":3,");
        fs::write(&path, text).unwrap();
        let (records, done) = Records::open(folder.path(), &header()).unwrap();
        assert_eq!(done, [batch(0, Verdict::NoEffect), batch(2, Verdict::WrongData)]);
        records.keep(&batch(3, Verdict::NoEffect)).unwrap();
        let (_, done) = Records::open(folder.path(), &header()).unwrap();
        assert_eq!(done.len(), 3);
        let record = Batch::read(&folder.path().join("records/batch-2.json")).unwrap();
        assert_eq!(record, batch(2, Verdict::WrongData));
    }

    #[test]
    fn another_campaign_is_not_mixed_with_one() {
        let folder = tempfile::tempdir().unwrap();
        Records::open(folder.path(), &header()).unwrap();
        let other = Header { seed: 2, ..header() };
        assert!(matches!(Records::open(folder.path(), &other), Err(FaultError::OtherCampaign(_))));
    }
}
