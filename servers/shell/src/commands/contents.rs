//! What is in files.

use super::files::{destination_of, for_each};
use super::handle::Handle;
use super::{Command, Completes, exactly, options, some};
use crate::failure::{Failure, Outcome};
use crate::output::Printable;
use crate::path::Location;
use crate::pattern::Pattern;
use crate::quantity::{parse_number, parse_size};
use crate::session::{Session, on_disk};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use interfaces::filesystem::NodeKind;
use sha2::{Digest, Sha256};

/// Bytes that are read or written at once: enough that the calls do not matter beside the bytes.
const PIECE: usize = 64 * 1024;

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "cat",
        usage: "PATH...",
        summary: "shows files",
        details: "The bytes go to the terminal as they are, except that each line feed gets the carriage return that \
                  a terminal needs.",
        completes: &[Completes::Paths],
        prefix: None,
        run: cat,
    },
    Command {
        name: "write",
        usage: "[-a] PATH TEXT...",
        summary: "writes a line of text to a file",
        details: "What was in the file is replaced; -a appends to it. The words are parted by single spaces; quote \
                  them to keep others.",
        completes: &[Completes::Paths, Completes::Nothing],
        prefix: None,
        run: write,
    },
    Command {
        name: "cp",
        usage: "SOURCE DESTINATION",
        summary: "copies a file",
        details: "Into the destination if that is a folder. A file that is there already is replaced when the copy is \
                  complete, so that it is never half of one and half of the other.",
        completes: &[Completes::Paths],
        prefix: None,
        run: cp,
    },
    Command {
        name: "sum",
        usage: "[-r] PATH...",
        summary: "shows SHA-256 checksums",
        details: "A line is checksum, two spaces and path, as `sha256sum` of other systems writes it. -r goes through \
                  folders and everything in them.",
        completes: &[Completes::Paths],
        prefix: None,
        run: sum,
    },
    Command {
        name: "fill",
        usage: "PATH SIZE SEED",
        summary: "fills a file with bytes that look random",
        details: "The same seed makes the same bytes: the outputs of the generator SplitMix64, eight bytes each, the \
                  least significant first. SIZE may have a unit K, M or G.",
        completes: &[Completes::Paths, Completes::Nothing],
        prefix: None,
        run: fill,
    },
];

/// Reads a file from its start to its end, a piece at a time.
fn read_through(
    session: &mut Session<'_>,
    place: &Location,
    mut take: impl FnMut(&mut Session<'_>, &[u8]) -> Outcome,
) -> Outcome {
    let file = Handle::open(session, place)?;
    let mut piece = vec![0; PIECE];
    let mut offset = 0;
    loop {
        let count = file.read(offset, &mut piece)?;
        take(session, &piece[..count])?;
        session.checkpoint()?;
        if count < piece.len() {
            return Ok(());
        }
        offset += count as u64;
    }
}

fn cat(session: &mut Session<'_>, words: &[String]) -> Outcome {
    for_each(session, "cat", some("cat", "a path", words)?, |session, place| {
        read_through(session, place, |session, bytes| {
            // In smaller pieces than they are read, so that Ctrl-C works on a slow line.
            bytes.chunks(8 * 1024).try_for_each(|bytes| {
                session.out.bytes(bytes);
                session.checkpoint()
            })
        })
    })
}

fn write(session: &mut Session<'_>, words: &[String]) -> Outcome {
    let (given, words) = options("write", "a", words)?;
    let Some((path, text)) = words.split_first() else {
        return Err(Failure::usage("a path is missing", "write"));
    };
    let (file, length) = Handle::open_or_create(session, &session.place(path))?;
    let start = if given.is_empty() {
        file.truncate(0)?;
        0
    } else {
        length
    };
    let line = format!("{}\n", text.join(" "));
    file.write(start, line.as_bytes())?;
    file.close()
}

fn cp(session: &mut Session<'_>, words: &[String]) -> Outcome {
    let [source, destination] = exactly("cp", words)?;
    let source = session.place(source);
    if session.metadata(&source, "copy")?.kind == NodeKind::Directory {
        return Err(Failure::new(format_args!("cannot copy {source}: it is a folder; copy the files in it")));
    }
    let destination = destination_of(session, &source, destination)?;
    if destination == source {
        return Err(Failure::new(format_args!("cannot copy {source} onto itself; choose another destination")));
    }
    if let Some(file) = Handle::create(session, &destination)? {
        return copy(session, &source, &destination, file);
    }
    // The destination is there, perhaps under another spelling of the source's own name: only a complete copy takes its
    // place.
    let (place, file) = create_beside(session, &destination)?;
    copy(session, &source, &place, file)?;
    let (from, to) = (on_disk(&place, "move")?, on_disk(&destination, "replace")?);
    let replaced = session.services.files.rename(from, to);
    replaced.map_err(|error| {
        discard(session, &place);
        Failure::of_file("replace", &destination, error)
    })
}

/// Makes a new file in the folder of `place`.
fn create_beside<'a>(session: &Session<'a>, place: &Location) -> Result<(Location, Handle<'a>), Failure> {
    for number in 0..100 {
        let beside = place.parent().child(&format!("copy{number}.tmp"));
        if let Some(file) = Handle::create(session, &beside)? {
            return Ok((beside, file));
        }
    }
    Err(Failure::new(format_args!(
        "cannot copy to {place}: {} holds a hundred unfinished copies; remove the files `copy*.tmp` there",
        place.parent()
    )))
}

/// Copies to a new file, which is removed if that fails.
fn copy(session: &mut Session<'_>, source: &Location, place: &Location, file: Handle<'_>) -> Outcome {
    let mut offset = 0;
    let copied = read_through(session, source, |_, bytes| {
        file.write(offset, bytes)?;
        offset += bytes.len() as u64;
        Ok(())
    });
    let outcome = match copied {
        Ok(()) => file.close(),
        Err(failure) => {
            drop(file);
            Err(failure)
        }
    };
    if outcome.is_err() {
        discard(session, place);
    }
    outcome
}

/// Removes what is of no use any more. If that fails too, there is a failure to report already.
fn discard(session: &Session<'_>, place: &Location) {
    if let Location::Disk(path) = place {
        let _ = session.services.files.remove(path);
    }
}

fn sum(session: &mut Session<'_>, words: &[String]) -> Outcome {
    let (given, words) = options("sum", "r", words)?;
    for_each(session, "sum", some("sum", "a path", words)?, |session, place| {
        if given.is_empty() { sum_file(session, place) } else { sum_all(session, place) }
    })
}

fn sum_file(session: &mut Session<'_>, place: &Location) -> Outcome {
    let mut digest = Sha256::new();
    read_through(session, place, |_, bytes| {
        digest.update(bytes);
        Ok(())
    })?;
    let path = place.to_string();
    session.out.line(format_args!("{:x}  {}", digest.finalize(), Printable(&path)));
    Ok(())
}

/// The files of a folder and of all folders in it. What fails is reported and the others are read all the same.
fn sum_all(session: &mut Session<'_>, place: &Location) -> Outcome {
    if session.metadata(place, "read")?.kind == NodeKind::File {
        return sum_file(session, place);
    }
    let mut outcome = Ok(());
    // The next one last. Folders wait here and not on the stack, however deep they go.
    let mut waiting = vec![(place.clone(), true)];
    while let Some((place, is_folder)) = waiting.pop() {
        let done = if is_folder {
            session.folder(&place).map(|entries| {
                waiting.extend(entries.iter().rev().map(|entry| (place.child(&entry.name), entry.is_folder())));
            })
        } else {
            sum_file(session, &place)
        };
        match done {
            Ok(()) => {}
            Err(Failure::Cancelled) => return Err(Failure::Cancelled),
            Err(failure) => {
                session.report("sum", &failure);
                outcome = Err(Failure::Reported);
            }
        }
    }
    outcome
}

fn fill(session: &mut Session<'_>, words: &[String]) -> Outcome {
    let [path, size, seed] = exactly("fill", words)?;
    let size = parse_size(size)
        .ok_or_else(|| Failure::usage(format_args!("`{size}` is no size such as 4096, 64K or 16M"), "fill"))?;
    let seed = parse_number(seed).ok_or_else(|| Failure::usage(format_args!("`{seed}` is no number"), "fill"))?;
    let (file, length) = Handle::open_or_create(session, &session.place(path))?;
    if length > 0 {
        file.truncate(0)?;
    }
    let mut pattern = Pattern::new(seed);
    let mut piece = vec![0; PIECE];
    let mut offset = 0;
    while offset < size {
        let count = (size - offset).min(PIECE as u64) as usize;
        pattern.fill(&mut piece[..count]);
        file.write(offset, &piece[..count])?;
        offset += count as u64;
        session.checkpoint()?;
    }
    file.close()
}
