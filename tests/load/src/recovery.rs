//! How long it takes from a death to the first request that is served again.

use alloc::format;
use alloc::string::String;

use interfaces::command::CommandError;
use interfaces::file_ring::{Client, Completion, PAGE};
use interfaces::filesystem::DirectFile;
use interfaces::supervision::{Crash, SupervisionClient};
use userlib::executor;
use userlib::time::{Duration, Instant};

use crate::{Check, Load, Part, Random, check, submit};

/// For how long a domain lives before it is broken. Longer than its longest wait, so that it is started again at once.
const LIFE: Duration = Duration::from_millis(600);

/// A way to break a domain.
#[derive(Clone, Copy)]
enum Way {
    Kill,
    Crash(Crash),
}

impl Way {
    /// All of them but to hang, of which somebody has to take notice first.
    const ALL: [Self; 3] = [Self::Kill, Self::Crash(Crash::Panic), Self::Crash(Crash::Fault)];

    fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Crash(Crash::Panic) => "panic",
            Self::Crash(Crash::Fault) => "fault",
            Self::Crash(Crash::Hang) => "hang",
        }
    }

    fn befall(self, supervisor: &SupervisionClient, domain: &str) -> Result<(), CommandError> {
        match self {
            Self::Kill => supervisor.kill(domain, 0).map_err(CommandError::failed),
            Self::Crash(how) => supervisor.crash(domain, how, 0).map_err(CommandError::failed),
        }
    }
}

impl Load {
    /// Breaks a domain so many times, asks for a page of the file right behind each death, and says how many nanoseconds it took
    /// until that had come, one line for each death.
    ///
    /// It does not wait for the page but looks for it again and again, so that the processor never rests: where the clock counts
    /// instructions, nanoseconds are all that were executed by anybody. Who is to do the work must be of a higher priority.
    pub(crate) async fn recover(&self, path: &str, count: u64, domain: &str) -> Result<String, CommandError> {
        let supervisor = self.supervisor()?;
        let (mut ring, file) = self.join(path).await?;
        let pages = file.length / PAGE as u64;
        if pages == 0 {
            return Err(CommandError::failed("the file is too short"));
        }
        let mut random = Random(1);
        let mut said = String::new();
        for way in Way::ALL.into_iter().cycle().take(count as usize) {
            executor::sleep(LIFE).await;
            let part = Part { offset: random.below(pages) * PAGE as u64, length: PAGE };
            let begun = Instant::now();
            way.befall(supervisor, domain)?;
            read_page(&mut ring, &file, part)?;
            let taken = Instant::now().since(begun).as_nanos();
            if !ring.buffer().part(0..PAGE).is_some_and(|buffer| check(buffer, part, Check::All)) {
                return Err(CommandError::failed("what was read is wrong"));
            }
            said += &format!("{} {taken} ns\n", way.name());
        }
        self.files.close(file.file)?;
        Ok(said)
    }
}

/// Reads a page and keeps the processor busy until it has come.
fn read_page(ring: &mut Client, file: &DirectFile, part: Part) -> Result<(), CommandError> {
    submit(ring, file, 0, part, 1)?;
    ring.tell();
    loop {
        match ring.completion() {
            Ok(Some(Completion { sectors: Ok(_), .. })) => return Ok(()),
            Ok(Some(_)) => return Err(CommandError::failed("the page cannot be read")),
            Ok(None) => core::hint::spin_loop(),
            Err(_) => return Err(CommandError::failed("the file server died as well")),
        }
    }
}
