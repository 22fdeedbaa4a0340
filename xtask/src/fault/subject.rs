//! A machine in which faults are injected.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use faults::pattern;

use super::FaultError;
use super::answer::Answer;
use crate::build::Built;
use crate::console::Console;
use crate::disk;
use crate::machine::{Drive, Machine};

/// How long a machine may take until its workload works.
const BOOT: Duration = Duration::from_secs(120);
/// How long the injector may take for an order: whoever hangs is waited for, and has to be well again.
const ANSWER: Duration = Duration::from_secs(180);
/// How the folders of machines begin, before the number of the process.
const FOLDER: &str = "machine-";
/// Between two lines that are typed.
const TYPING: Duration = Duration::from_millis(60);
/// How long the injector may take for what it tells of a machine that is not well.
const LAST_WORDS: Duration = Duration::from_secs(20);
/// What a kernel that has panicked says.
const PANIC: &str = "kernel panic";
/// Bytes of the file that the workload reads: more than the file server's cache.
pub(super) const FILE: u64 = 24 << 20;

/// A running machine with the line to its injector.
pub(super) struct Subject {
    console: Console,
    line: BufReader<UnixStream>,
    folder: PathBuf,
    /// Lines of the console that were looked at.
    seen: usize,
    /// The number of the latest order.
    orders: u64,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Silence {
    /// The kernel has panicked, QEMU has ended, or nothing in the machine answers any more; what it showed last.
    Machine(String),
    /// The injector refuses the order, for this reason.
    Refused(String),
}

impl Subject {
    /// Starts a machine with a disk of its own, a copy of `disk`, and waits until its workload works.
    ///
    /// # Errors
    ///
    /// [`FaultError`].
    pub(super) fn boot(built: &Built, disk: &[u8], parent: &Path) -> Result<Self, FaultError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = parent.join(format!("{FOLDER}{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let image = folder.join("disk.img");
        disk::write_sparse(&image, disk)?;
        // Sockets' paths are short.
        let socket = std::env::temp_dir().join(format!("bulkhead-{}-{number}.line", std::process::id()));
        let mut machine = Machine::new(&built.image);
        machine.plugs.clone_from(&built.plugs);
        machine.drives = vec![Drive::new(image)];
        let chardev = format!("socket,id=injector,path={},server=on,wait=off", socket.display());
        machine.extra = ["-chardev", &chardev, "-serial", "chardev:injector"].map(Into::into).to_vec();
        let console = Console::start(&machine, None)?;
        let connected = connect(&socket);
        // Connected or not, nobody else will.
        let _ = std::fs::remove_file(&socket);
        let mut subject = Self { console, line: BufReader::new(connected?), folder, seen: 0, orders: 0 };
        subject.wait_for_work()?;
        Ok(subject)
    }

    fn wait_for_work(&mut self) -> Result<(), FaultError> {
        let until = Instant::now() + BOOT;
        let mut why = String::from("the injector does not answer");
        while Instant::now() < until {
            match self.order("look", &[], Duration::from_secs(2)) {
                Ok(answer) if answer.work.rounds > 1 => return Ok(()),
                Ok(answer) => {
                    why = format!("the workload has not come through a round: {answer:?}");
                    thread::sleep(Duration::from_millis(50));
                }
                Err(Silence::Refused(reason)) => why = reason,
                Err(Silence::Machine(_)) => {}
            }
        }
        Err(FaultError::NoBoot { why, shown: self.console.transcript() })
    }

    /// Has the injector carry out an order, and reads what it tells; meanwhile types at the shell, line by line.
    ///
    /// # Errors
    ///
    /// [`Silence`].
    pub(super) fn carry_out(&mut self, order: &str, typed: &[&str]) -> Result<Answer, Silence> {
        self.order(order, typed, ANSWER)
    }

    fn order(&mut self, order: &str, typed: &[&str], limit: Duration) -> Result<Answer, Silence> {
        let mut lines = Vec::new();
        let outcome = self.exchange(order, typed, limit, &mut lines);
        match outcome {
            Ok(None) => {}
            Ok(Some(reason)) => return Err(Silence::Refused(reason)),
            Err(error) => return Err(Silence::Machine(self.last_words(&error))),
        }
        Answer::read(&lines).map_err(|line| Silence::Refused(format!("the injector said `{line}`")))
    }

    /// Sends a line and reads until the last one of the answer; returns the reason if the order is refused. What comes before belongs
    /// to an order that was given up.
    fn exchange(
        &mut self,
        order: &str,
        typed: &[&str],
        limit: Duration,
        lines: &mut Vec<String>,
    ) -> io::Result<Option<String>> {
        self.orders += 1;
        let (done, refused) = (format!("done {}", self.orders), format!("refused {} ", self.orders));
        let stream = self.line.get_mut();
        stream.set_read_timeout(Some(limit))?;
        stream.write_all(format!("{} {order}\n", self.orders).as_bytes())?;
        for line in typed {
            // A machine that is gone is found out by its silence.
            let _ = self.console.type_text(&format!("{line}\r"));
            thread::sleep(TYPING);
        }
        loop {
            let mut line = String::new();
            if self.line.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim();
            match line {
                "" | "ready" => {}
                _ if line == done => return Ok(None),
                _ if line.starts_with(&refused) => return Ok(Some(line[refused.len()..].to_owned())),
                _ if line.starts_with("done ") || line.starts_with("refused ") => lines.clear(),
                _ => lines.push(line.to_owned()),
            }
        }
    }

    fn last_words(&self, error: &io::Error) -> String {
        let transcript = self.console.transcript();
        match transcript.find(PANIC) {
            Some(position) => transcript[position..].to_owned(),
            None => {
                let lines: Vec<&str> = transcript.lines().collect();
                let last = lines[lines.len().saturating_sub(20)..].join("\n");
                format!("nothing in the machine answers ({error}); it showed last:\n{last}")
            }
        }
    }

    /// Whether the kernel has panicked.
    pub(super) fn has_panicked(&self) -> bool {
        self.console.transcript_from(self.seen).contains(PANIC)
    }

    /// How many lines of the workload that the console has shown since this was last asked are not what they should be. What is
    /// missing of them was lost with the console's driver.
    pub(super) fn wrong_lines(&mut self) -> usize {
        let new = self.console.transcript_from(self.seen);
        self.seen = self.console.position();
        let length = pattern::line(0).len();
        let said = new.lines().filter_map(|line| line.get(line.find('~')?..)?.get(..length));
        said.filter(|line| line.ends_with('~') && !pattern::is_line(line)).count()
    }

    /// Everything that the console has shown, and how everybody is and what they have said last, as far as that can still be told.
    pub(super) fn testimony(&mut self) -> String {
        let mut text = self.transcript();
        if let Ok(answer) = self.order("log", &[], LAST_WORDS) {
            text.push_str("\n\nThe domains:\n");
            for (name, domain) in &answer.domains {
                text.push_str(&format!("{name}: {}, started again {} times\n", domain.state, domain.restarts));
            }
            text.push_str("\nThe end of the log:\n");
            text.push_str(&answer.log.join("\n"));
            text.push('\n');
        }
        text
    }

    /// Everything that the console has shown.
    pub(super) fn transcript(&self) -> String {
        self.console.transcript()
    }

    /// Ends the machine; its disk is where this says until [`Corpse::bury`].
    pub(super) fn end(self) -> Corpse {
        Corpse { folder: self.folder }
    }
}

/// What is left of a machine.
pub(super) struct Corpse {
    folder: PathBuf,
}

impl Corpse {
    /// Its disk.
    pub(super) fn disk(&self) -> PathBuf {
        self.folder.join("disk.img")
    }

    /// Removes it. What cannot be removed is in the way of nobody.
    pub(super) fn bury(self) {
        let _ = std::fs::remove_dir_all(self.folder);
    }
}

fn connect(socket: &Path) -> Result<UnixStream, FaultError> {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        match UnixStream::connect(socket) {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() > until => return Err(error.into()),
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Removes what machines have left of campaigns that were killed: folders in `parent` of processes that are gone.
pub(super) fn sweep(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.strip_prefix(FOLDER).and_then(|rest| rest.split_once('-')).map(|(process, _)| process);
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            // What cannot be removed is in the way of nobody.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_folders_of_processes_that_are_gone_are_swept() {
        let parent = tempfile::tempdir().unwrap();
        let own = format!("machine-{}-0", std::process::id());
        // No process has so high a number (proc(5): pid_max is at most 2^22).
        for name in [&own, "machine-99999999-1", "campaign-abc"] {
            std::fs::create_dir(parent.path().join(name)).unwrap();
        }
        sweep(parent.path());
        let mut left: Vec<_> =
            std::fs::read_dir(parent.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["campaign-abc", own.as_str()]);
    }
}
