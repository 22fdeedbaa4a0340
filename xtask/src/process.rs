//! Programs that were started and may have to be ended from outside.

use std::fs;
use std::io;
use std::process::Command;

/// The programs that the one with number `id` has started and that still run.
///
/// # Errors
///
/// If there is no such program.
pub fn children(id: u32) -> io::Result<Vec<u32>> {
    let mut all = Vec::new();
    for thread in fs::read_dir(format!("/proc/{id}/task"))? {
        // A thread may end while its neighbours are looked at.
        let Ok(list) = fs::read_to_string(thread?.path().join("children")) else {
            continue;
        };
        all.extend(list.split_ascii_whitespace().filter_map(|child| child.parse::<u32>().ok()));
    }
    Ok(all)
}

/// Ends a program and everything that it has started. Who has started it should wait for it afterwards.
///
/// # Errors
///
/// If `kill` cannot be started.
pub fn end_tree(id: u32) -> io::Result<()> {
    // From the root down, or a child that is gone might be started again.
    let below = children(id).unwrap_or_default();
    Command::new("kill").args(["-KILL", &id.to_string()]).status()?;
    below.into_iter().try_for_each(end_tree)
}
