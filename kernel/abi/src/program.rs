//! What a program's file says of itself: for which ABI it was built.
//!
//! It is an ELF note, found through a program header of the type `PT_NOTE` (System V ABI, "Note Section"): sizes of
//! name and description, a type, and both of them, each filled up to a multiple of four bytes. Whoever puts a program
//! into a boot archive or starts it can so refuse one that would misunderstand everything it is told, before it runs.

use core::fmt;

/// Who defines the note.
pub const NOTE_NAME: [u8; 9] = *b"Bulkhead\0";
/// Type of the note that holds a [`BuiltFor`].
pub const NOTE_TYPE: u32 = 1;
/// Size of a note's three numbers in front of its name.
const HEADER: usize = 12;

/// The interfaces that a program was compiled against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuiltFor {
    /// [`crate::ABI_VERSION`]: system calls and messages.
    pub abi: u32,
    /// Version of the page in which a domain finds what it was given.
    pub start: u32,
}

impl fmt::Display for BuiltFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ABI {}.{}", self.abi, self.start)
    }
}

impl BuiltFor {
    /// Finds it among the notes of a program; `None` if there is none that is whole.
    pub fn find(notes: &[u8]) -> Option<Self> {
        let mut rest = notes;
        loop {
            let (name_size, description_size) = (number(rest, 0)? as usize, number(rest, 4)? as usize);
            let description = HEADER.checked_add(name_size.checked_next_multiple_of(4)?)?;
            let end = description.checked_add(description_size)?;
            if rest.get(HEADER..HEADER.checked_add(name_size)?)? == NOTE_NAME && number(rest, 8)? == NOTE_TYPE {
                let content = rest.get(description..end)?;
                return Some(Self { abi: number(content, 0)?, start: number(content, 4)? });
            }
            rest = rest.get(end.checked_next_multiple_of(4)?..)?;
        }
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

/// The note as it lies in a program's file.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(4))]
pub struct Note {
    name_size: u32,
    description_size: u32,
    kind: u32,
    name: [u8; NOTE_NAME.len().next_multiple_of(4)],
    abi: u32,
    start: u32,
}

impl Note {
    /// The note of a program that was built for this.
    pub const fn new(built_for: BuiltFor) -> Self {
        let mut name = [0; NOTE_NAME.len().next_multiple_of(4)];
        let mut index = 0;
        while index < NOTE_NAME.len() {
            name[index] = NOTE_NAME[index];
            index += 1;
        }
        Self {
            name_size: NOTE_NAME.len() as u32,
            description_size: 8,
            kind: NOTE_TYPE,
            name,
            abi: built_for.abi,
            start: built_for.start,
        }
    }

    /// Its bytes.
    pub fn to_bytes(self) -> [u8; size_of::<Self>()] {
        let mut bytes = [0; size_of::<Self>()];
        let numbers =
            [(0, self.name_size), (4, self.description_size), (8, self.kind), (24, self.abi), (28, self.start)];
        for (at, number) in numbers {
            bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
        }
        bytes[HEADER..HEADER + self.name.len()].copy_from_slice(&self.name);
        bytes
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::vec::Vec;

    const OLD: BuiltFor = BuiltFor { abi: 1, start: 7 };

    #[test]
    fn a_note_is_found_behind_those_of_others() {
        // GNU's note for a build id of five bytes.
        let mut notes: Vec<u8> = [4_u32, 5, 3].iter().flat_map(|number| number.to_le_bytes()).collect();
        notes.extend(b"GNU\0abcde\0\0\0");
        assert_eq!(BuiltFor::find(&notes), None);
        notes.extend(Note::new(OLD).to_bytes());
        assert_eq!(BuiltFor::find(&notes), Some(OLD));
    }

    #[test]
    fn notes_that_are_cut_off_or_lie_about_their_sizes_are_none() {
        let whole = Note::new(OLD).to_bytes();
        for length in 0..whole.len() {
            assert_eq!(BuiltFor::find(&whole[..length]), None, "{length} bytes");
        }
        for at in [0, 4] {
            let mut lying = whole;
            lying[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
            assert_eq!(BuiltFor::find(&lying), None);
        }
    }
}
