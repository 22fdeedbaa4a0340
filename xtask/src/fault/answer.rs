//! What the injector in the machine tells of a batch.

use std::collections::BTreeMap;

/// Everything that was told of one order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// Of each fault, the how-manieth it was to be executed; 0 if it was not.
    pub(super) orders: Vec<u16>,
    /// The workload came no further.
    pub(super) hung: bool,
    /// Errors that the workload was told of before the target was started anew.
    pub(super) met: u64,
    /// How often the target died, and of what it died last.
    pub(super) died: Option<(u32, String)>,
    /// Nanoseconds from the first death to the end of the first round after it.
    pub(super) recovered: Option<u64>,
    /// Everything was well again when the target was started anew; told for batches only.
    pub(super) well: Option<bool>,
    /// What the workload has done since it began.
    pub(super) work: Work,
    pub(super) domains: BTreeMap<String, Domain>,
    /// Of what those died last that were started again.
    pub(super) stories: BTreeMap<String, String>,
    /// Lines of the log.
    pub(super) log: Vec<String>,
}

/// What the workload has done since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Work {
    pub(super) rounds: u64,
    pub(super) wrong: u64,
}

/// How a domain is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Domain {
    pub(super) state: String,
    pub(super) restarts: u32,
}

impl Answer {
    /// Reads the lines of an answer but its last one.
    ///
    /// # Errors
    ///
    /// The line that makes no sense.
    pub(super) fn read(lines: &[String]) -> Result<Self, String> {
        let mut answer = Self::default();
        for line in lines {
            answer.add(line).ok_or_else(|| line.clone())?;
        }
        Ok(answer)
    }

    fn add(&mut self, line: &str) -> Option<()> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut words = rest.split_whitespace();
        match word {
            "order" => self.orders = words.map(|word| word.parse().ok()).collect::<Option<_>>()?,
            "hung" => self.hung = true,
            "met" => self.met = rest.parse().ok()?,
            "died" => {
                let (count, story) = rest.split_once(' ')?;
                self.died = Some((count.parse().ok()?, story.trim().to_owned()));
            }
            "recovered" => self.recovered = Some(rest.parse().ok()?),
            "story" => {
                let (name, story) = rest.split_once(' ')?;
                self.stories.insert(name.to_owned(), story.to_owned());
            }
            "log" => self.log.push(rest.to_owned()),
            "well" => self.well = Some(true),
            "unwell" => self.well = Some(false),
            "work" => {
                let mut number = || words.next()?.parse().ok();
                let (rounds, _operations, _errors, wrong) = (number()?, number()?, number()?, number()?);
                self.work = Work { rounds, wrong };
            }
            "domain" => {
                let (name, state) = (words.next()?.to_owned(), words.next()?.to_owned());
                self.domains.insert(name, Domain { state, restarts: words.next()?.parse().ok()? });
            }
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_line_by_line() {
        let lines = [
            "order 0 2 1",
            "met 2",
            "died 1 panicked: no room",
            "recovered 1234567",
            "well 99",
            "work 10 200 3 0",
            "domain fat running 1 8388608",
        ];
        let answer = Answer::read(&lines.map(str::to_owned)).unwrap();
        assert_eq!((&answer.orders[..], answer.met), (&[0, 2, 1][..], 2));
        assert_eq!(answer.died, Some((1, "panicked: no room".to_owned())));
        assert_eq!((answer.recovered, answer.well, answer.hung), (Some(1_234_567), Some(true), false));
        assert_eq!(answer.work, Work { rounds: 10, wrong: 0 });
        assert_eq!(answer.domains["fat"], Domain { state: "running".to_owned(), restarts: 1 });
    }

    #[test]
    fn a_line_that_makes_no_sense_is_named() {
        for line in ["order x", "recovered", "work 1 2", "domain fat", "hello"] {
            assert_eq!(Answer::read(&[line.to_owned()]), Err(line.to_owned()));
        }
    }
}
