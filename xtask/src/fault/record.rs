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
    /// The address of the instruction, or of the first one that gave way to a jump.
    pub address: u64,
    /// The function in which that is.
    pub function: String,
    /// The instructions' bytes, in hexadecimal digits.
    pub old: String,
    /// What took their place.
    pub new: String,
    /// What the new ones lead to, of a fault that does not lie in an instruction.
    #[serde(default)]
    pub detour: Option<Detour>,
    /// The how-manieth of its batch to be executed it was; 0 if it was not.
    pub order: u16,
}

/// Instructions beside the program's, in the annex of its code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detour {
    /// What goes wrong there, for people.
    pub what: String,
    /// Their address. At the first of them, a `nop`, the fault is about to happen.
    pub address: u64,
    /// Their bytes, in hexadecimal digits.
    pub bytes: String,
}

impl Fault {
    /// The changes that it is made of, as the injector's order has them. The last one is the one whose execution is that of the
    /// fault.
    pub(super) fn changes(&self) -> Vec<String> {
        let jump = format!("{:x}:{}", self.address, self.new);
        match &self.detour {
            None => vec![jump],
            Some(Detour { address, bytes, .. }) => {
                let (gate, rest) = bytes.split_at(2);
                vec![format!("{:x}={rest}", address + 1), jump, format!("{address:x}:{gate}")]
            }
        }
    }

    /// Whether it changes a byte of the program that another one changes, too.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let range = |fault: &Self| (fault.address, fault.address + fault.old.len() as u64 / 2);
        let ((start, end), (other_start, other_end)) = (range(self), range(other));
        start < other_end && other_start < end
    }
}

/// Of each fault, the how-manieth it was to be executed, by what was told of all their changes; 0 if it was not.
pub(super) fn orders(faults: &[&Fault], of_changes: &[u16]) -> Vec<u16> {
    let mut next = 0;
    let mut orders: Vec<u16> = Vec::new();
    for fault in faults {
        next += fault.changes().len();
        orders.push(of_changes.get(next - 1).copied().unwrap_or_default());
    }
    // Changes that only lead to a fault count for none.
    let mut executed: Vec<u16> = orders.iter().copied().filter(|order| *order > 0).collect();
    executed.sort_unstable();
    for order in orders.iter_mut().filter(|order| **order > 0) {
        *order = executed.partition_point(|earlier| *earlier < *order) as u16 + 1;
    }
    orders
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

    fn fault(detour: Option<Detour>) -> Fault {
        Fault {
            operator: Operator::FlipBit,
            address: 0x20_1000,
            function: "f".to_owned(),
            old: "90".to_owned(),
            new: "91".to_owned(),
            detour,
            order: 0,
        }
    }

    #[test]
    fn what_leads_to_a_fault_does_not_count_and_what_counts_is_told_of_last() {
        let detour = Detour { what: "lost".to_owned(), address: 0x30_0000, bytes: "90c3ff".to_owned() };
        let (plain, crossing) = (fault(None), fault(Some(detour)));
        assert_eq!(plain.changes(), ["201000:91"]);
        assert_eq!(crossing.changes(), ["300001=c3ff", "201000:91", "300000:90"]);
        let faults = [&plain, &crossing, &plain, &crossing];
        assert_eq!(orders(&faults, &[3, 0, 1, 0, 0, 0, 2, 4]), [1, 0, 0, 2]);
        assert_eq!(orders(&faults, &[]), [0; 4], "nothing was told");
    }

    #[test]
    fn a_record_that_knows_nothing_of_detours_is_read() {
        let mut value = serde_json::to_value(fault(None)).unwrap();
        value.as_object_mut().unwrap().remove("detour");
        assert_eq!(serde_json::from_value::<Fault>(value).unwrap(), fault(None));
    }

    #[test]
    fn another_campaign_is_not_mixed_with_one() {
        let folder = tempfile::tempdir().unwrap();
        Records::open(folder.path(), &header()).unwrap();
        let other = Header { seed: 2, ..header() };
        assert!(matches!(Records::open(folder.path(), &other), Err(FaultError::OtherCampaign(_))));
    }
}
