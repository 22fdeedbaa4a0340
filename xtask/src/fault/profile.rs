//! Which system calls domains make while the workload uses them: most of a program is rarely run, and a fault that is not executed
//! says nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::FaultError;
use super::operator::Operator;
use super::program::Program;

/// Of each domain, the addresses of system calls, and of the heap's entries, that were reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Profile(BTreeMap<String, BTreeSet<u64>>);

impl Profile {
    /// The addresses at which faults of some kinds are to be, if they are at the border to the kernel.
    pub(super) fn questions(operators: &[Operator], program: &Program) -> BTreeSet<u64> {
        let crossings = operators.iter().filter(|operator| operator.is_crossing());
        let positions = crossings.flat_map(|operator| operator.sites(program));
        positions.map(|position| program.instructions[position].address()).collect()
    }

    /// The changes that answer them: each puts in place what was there.
    pub(super) fn changes(questions: &BTreeSet<u64>, program: &Program) -> Vec<String> {
        let instructions = program.instructions.iter().filter(|placed| questions.contains(&placed.address()));
        instructions.map(|placed| format!("{:x}:{:02x}", placed.address(), placed.bytes[0])).collect()
    }

    /// Notes which of them were executed.
    pub(super) fn note(&mut self, target: &str, questions: &BTreeSet<u64>, orders: &[u16]) {
        let reached = questions.iter().zip(orders).filter(|(_, order)| **order > 0).map(|(address, _)| *address);
        self.0.entry(target.to_owned()).or_default().extend(reached);
    }

    /// Those of some positions in a program that were reached.
    pub(super) fn reached(&self, target: &str, program: &Program, positions: &[usize]) -> Vec<usize> {
        let is_reached = |position: &usize| {
            let address = program.instructions[*position].address();
            self.0.get(target).is_some_and(|reached| reached.contains(&address))
        };
        positions.iter().copied().filter(is_reached).collect()
    }

    /// The one that a campaign has kept in a folder.
    ///
    /// # Errors
    ///
    /// [`FaultError::Record`] if it cannot be read.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>, FaultError> {
        let path = folder.join("profile.json");
        match fs::read_to_string(&path) {
            Ok(text) => match serde_json::from_str(&text) {
                Ok(profile) => Ok(Some(profile)),
                Err(error) => Err(FaultError::Record { path, why: error.to_string() }),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps it there, so that a campaign that is interrupted goes on with the same faults.
    pub(super) fn keep(&self, folder: &Path) -> Result<(), FaultError> {
        Ok(fs::write(folder.join("profile.json"), serde_json::to_string(self)? + "\n")?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `mov eax, 96; syscall; mov eax, 96; syscall; ret`
    fn program() -> Program {
        let clock = [0xb8, 96, 0, 0, 0, 0x0f, 0x05];
        Program::of(0x20_1000, &[&clock[..], &clock[..], &[0xc3]].concat())
    }

    #[test]
    fn what_was_reached_is_remembered_and_what_asks_for_it_changes_nothing() {
        let program = program();
        assert_eq!(Profile::questions(&[Operator::FlipBit], &program), BTreeSet::new());
        let questions = Profile::questions(&[Operator::FlipBit, Operator::JumpClock], &program);
        assert_eq!(Profile::changes(&questions, &program), ["201005:0f", "20100c:0f"]);
        let mut profile = Profile::default();
        profile.note("echo", &questions, &[0, 1]);
        assert_eq!(profile.reached("echo", &program, &[1, 3]), [3]);
        assert!(profile.reached("fat", &program, &[1, 3]).is_empty());
    }

    #[test]
    fn a_profile_is_kept_with_its_campaign() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Profile::read(folder.path()).unwrap(), None);
        let mut profile = Profile::default();
        profile.note("echo", &BTreeSet::from([7, 9]), &[1, 0]);
        profile.keep(folder.path()).unwrap();
        assert_eq!(Profile::read(folder.path()).unwrap(), Some(profile));
        std::fs::write(folder.path().join("profile.json"), "[").unwrap();
        assert!(matches!(Profile::read(folder.path()), Err(FaultError::Record { .. })));
    }
}
