//! Files and folders as wholes.

use super::{Command, Completes, exactly, options, some};
use crate::failure::{Failure, Outcome};
use crate::output::Printable;
use crate::path::{DISK, Location};
use crate::quantity::{show_moment, show_size};
use crate::services::FileResult;
use crate::session::{Entry, Session, on_disk};
use crate::table::{Align, Table};
use alloc::format;
use alloc::string::{String, ToString};
use interfaces::filesystem::{FsError, NodeKind};
use userlib::ipc::CallError;

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "ls",
        usage: "[-l] [PATH]",
        summary: "lists a folder, or names a file",
        details: "Folders end with a slash. -l shows length in bytes, time of the last change, and what can only be read.",
        completes: &[Completes::Paths],
        prefix: None,
        run: ls,
    },
    Command {
        name: "cd",
        usage: "[PATH]",
        summary: "changes the current folder, from which relative paths begin",
        details: "Without a path it goes to /disk.",
        completes: &[Completes::Paths],
        prefix: None,
        run: cd,
    },
    Command {
        name: "pwd",
        usage: "",
        summary: "shows the current folder",
        details: "",
        completes: &[],
        prefix: None,
        run: pwd,
    },
    Command {
        name: "stat",
        usage: "PATH...",
        summary: "shows what is known of files and folders",
        details: "",
        completes: &[Completes::Paths],
        prefix: None,
        run: stat,
    },
    Command {
        name: "df",
        usage: "",
        summary: "shows the disk's format and how much of it is free",
        details: "",
        completes: &[],
        prefix: None,
        run: df,
    },
    Command {
        name: "mv",
        usage: "SOURCE DESTINATION",
        summary: "moves or renames a file or folder",
        details: "Into the destination if that is a folder. A file with the destination's name is replaced.",
        completes: &[Completes::Paths],
        prefix: None,
        run: mv,
    },
    Command {
        name: "rm",
        usage: "PATH...",
        summary: "removes files",
        details: "Folders are removed by `rmdir`.",
        completes: &[Completes::Paths],
        prefix: None,
        run: rm,
    },
    Command {
        name: "mkdir",
        usage: "PATH...",
        summary: "makes folders",
        details: "",
        completes: &[Completes::Paths],
        prefix: None,
        run: mkdir,
    },
    Command {
        name: "rmdir",
        usage: "PATH...",
        summary: "removes empty folders",
        details: "",
        completes: &[Completes::Paths],
        prefix: None,
        run: rmdir,
    },
    Command {
        name: "sync",
        usage: "",
        summary: "waits until everything written is on the disk",
        details: "What was written before is safe then, whatever dies.",
        completes: &[],
        prefix: None,
        run: sync,
    },
];

fn ls(session: &mut Session<'_>, words: &[String]) -> Outcome {
    let (given, words) = options("ls", "l", words)?;
    let place = match words {
        [] => session.here.clone(),
        [path] => session.place(path),
        _ => return exactly::<1>("ls", words).map(drop),
    };
    let is_folder = place == Location::Root || session.metadata(&place, "list")?.kind == NodeKind::Directory;
    let entries = if is_folder {
        session.folder(&place)?
    } else {
        [Entry { name: place.to_string(), metadata: session.metadata(&place, "list")? }].into()
    };
    if given.is_empty() {
        for entry in &entries {
            session.out.line(shown_name(entry));
        }
        return Ok(());
    }
    let mut table =
        Table::new(&[("MODE", Align::Left), ("LENGTH", Align::Right), ("CHANGED", Align::Left), ("NAME", Align::Left)]);
    for entry in &entries {
        let length = if entry.is_folder() { "-".into() } else { entry.metadata.length.to_string() };
        let mode = if entry.metadata.read_only { "r" } else { "rw" };
        table.row([mode.into(), length, show_moment(entry.metadata.modified), shown_name(entry)]);
    }
    for line in table.lines() {
        session.out.line(line);
    }
    Ok(())
}

fn shown_name(entry: &Entry) -> String {
    format!("{}{}", Printable(&entry.name), if entry.is_folder() { "/" } else { "" })
}

fn cd(session: &mut Session<'_>, words: &[String]) -> Outcome {
    let place = match words {
        [] => Location::Disk("/".into()),
        [path] => session.place(path),
        _ => return exactly::<1>("cd", words).map(drop),
    };
    if session.metadata(&place, "go to")?.kind != NodeKind::Directory {
        return Err(Failure::new(format_args!("cannot go to {place}: it is a file; name a folder")));
    }
    session.here = place;
    Ok(())
}

fn pwd(session: &mut Session<'_>, words: &[String]) -> Outcome {
    let [] = exactly("pwd", words)?;
    let here = session.here.to_string();
    session.out.line(here);
    Ok(())
}

fn stat(session: &mut Session<'_>, words: &[String]) -> Outcome {
    for_each(session, "stat", some("stat", "a path", words)?, |session, place| {
        let metadata = session.metadata(place, "look at")?;
        session.out.line(Printable(&place.to_string()));
        match metadata.kind {
            NodeKind::Directory => session.out.line("  a folder"),
            NodeKind::File => session.out.line(format_args!("  a file of {} bytes", metadata.length)),
        }
        session.out.line(format_args!("  changed: {}", show_moment(metadata.modified)));
        session.out.line(if metadata.read_only { "  can only be read" } else { "  can be read and written" });
        Ok(())
    })
}

fn df(session: &mut Session<'_>, words: &[String]) -> Outcome {
    let [] = exactly("df", words)?;
    let disk = Location::Disk("/".into());
    let volume = session.services.files.volume().map_err(|error| Failure::of_file("measure", &disk, error))?;
    let bytes = |units: u64| show_size(units.saturating_mul(volume.unit.into()));
    let label = match volume.label.as_str() {
        "" => "-".into(),
        label => Printable(label).to_string(),
    };
    let mut table = Table::new(&[
        ("FOLDER", Align::Left),
        ("LABEL", Align::Left),
        ("FORMAT", Align::Left),
        ("SIZE", Align::Right),
        ("USED", Align::Right),
        ("FREE", Align::Right),
        ("UNIT", Align::Right),
        ("MODE", Align::Left),
    ]);
    table.row([
        format!("/{DISK}"),
        label,
        Printable(volume.format.as_str()).to_string(),
        bytes(volume.units),
        bytes(volume.units.saturating_sub(volume.units_free)),
        bytes(volume.units_free),
        show_size(volume.unit.into()),
        if volume.read_only { "r".into() } else { "rw".into() },
    ]);
    for line in table.lines() {
        session.out.line(line);
    }
    Ok(())
}

fn mv(session: &mut Session<'_>, words: &[String]) -> Outcome {
    let [source, destination] = exactly("mv", words)?;
    let source = session.place(source);
    // A rename that fails does not say which of the two paths is to blame.
    session.metadata(&source, "move")?;
    let destination = destination_of(session, &source, destination)?;
    let (from, to) = (on_disk(&source, "move")?, on_disk(&destination, "move something to")?);
    session
        .services
        .files
        .rename(from, to)
        .map_err(|error| Failure::of_file(&format!("move {source} to"), &destination, error))
}

/// Where something goes that is to be put to `path`: into it, if it is a folder.
pub(super) fn destination_of(session: &Session<'_>, source: &Location, path: &str) -> Result<Location, Failure> {
    let destination = session.place(path);
    Ok(if session.is_folder(&destination)? { destination.child(&source.name()) } else { destination })
}

fn rm(session: &mut Session<'_>, words: &[String]) -> Outcome {
    for_each(session, "rm", some("rm", "a path", words)?, |session, place| {
        match session.services.files.remove(on_disk(place, "remove")?) {
            Err(CallError::Failed(FsError::IsADirectory)) => Err(Failure::new(format_args!(
                "cannot remove {place}: it is a folder; `rmdir` removes it if it is empty"
            ))),
            outcome => changed("remove", place, outcome),
        }
    })
}

fn mkdir(session: &mut Session<'_>, words: &[String]) -> Outcome {
    for_each(session, "mkdir", some("mkdir", "a path", words)?, |session, place| {
        changed("make", place, session.services.files.create_directory(on_disk(place, "make")?))
    })
}

fn rmdir(session: &mut Session<'_>, words: &[String]) -> Outcome {
    for_each(session, "rmdir", some("rmdir", "a path", words)?, |session, place| {
        changed("remove", place, session.services.files.remove_directory(on_disk(place, "remove")?))
    })
}

fn changed(action: &str, place: &Location, outcome: FileResult<()>) -> Outcome {
    outcome.map_err(|error| Failure::of_file(action, place, error))
}

fn sync(session: &mut Session<'_>, words: &[String]) -> Outcome {
    let [] = exactly("sync", words)?;
    let disk = Location::Disk("/".into());
    session.services.files.sync().map_err(|error| Failure::of_file("write everything to", &disk, error))
}

/// Does the same with each path. What fails is reported and the others are done all the same.
pub(super) fn for_each(
    session: &mut Session<'_>,
    command: &str,
    paths: &[String],
    mut work: impl FnMut(&mut Session<'_>, &Location) -> Outcome,
) -> Outcome {
    let mut outcome = Ok(());
    for path in paths {
        let place = session.place(path);
        match work(session, &place).and_then(|()| session.checkpoint()) {
            Ok(()) => {}
            Err(Failure::Cancelled) => return Err(Failure::Cancelled),
            Err(failure) => {
                session.report(command, &failure);
                outcome = Err(Failure::Reported);
            }
        }
    }
    outcome
}
