//! What a supervisor notes of a domain for its successor, beside what `init` keeps of it.

use alloc::string::String;
use alloc::vec::Vec;
use interfaces::supervision::DeathCause;
use serde::{Deserialize, Serialize};
use spawn::Rate;

/// Most bytes of the story of a death that are noted.
const STORY_MAX: usize = 1024;

/// How far the supervisor has come with a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// It is built and does not run yet.
    Prepared,
    /// It runs.
    Alive,
    /// It was asked to come to rest, and is to be started again then.
    Resting,
    /// Its death is counted and it is being taken apart; then it is started again as its policy says.
    Dying,
    /// It is started again at this moment, in nanoseconds since boot.
    Due(u64),
    /// It died too often.
    GivenUp,
    /// Its device was taken out: it is started again when that is back.
    Unplugged,
}

/// What a successor does with a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adoption {
    /// It lives and goes on as if nothing had been.
    GoOn,
    /// It lives, but was about to be restarted: that is gone through with.
    Restart,
    /// What is left of it goes, and it is started at once: nobody had noticed that it existed.
    StartAnew,
    /// What is left of it goes, and it is started again as after a death that is counted already.
    GoOnBurying,
    /// What is left of it goes, and that counts as a death.
    Bury,
    /// There is nothing of it; it is started at this moment, in nanoseconds since boot.
    Wait(u64),
    /// There is nothing of it, and that stays so.
    LeaveAlone,
    /// What is left of it goes, and it waits for its device.
    AwaitDevice,
}

impl Standing {
    /// What is to be done, if the domain was found whole or not.
    pub const fn adoption(self, is_whole: bool) -> Adoption {
        match self {
            Standing::Prepared => Adoption::StartAnew,
            Standing::Alive if is_whole => Adoption::GoOn,
            Standing::Resting if is_whole => Adoption::Restart,
            Standing::Alive | Standing::Resting => Adoption::Bury,
            Standing::Dying => Adoption::GoOnBurying,
            Standing::Due(moment) => Adoption::Wait(moment),
            Standing::GivenUp => Adoption::LeaveAlone,
            Standing::Unplugged => Adoption::AwaitDevice,
        }
    }
}

/// The notes on one domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notes {
    /// How far it has come.
    pub standing: Standing,
    /// How often it was built.
    pub built: u32,
    /// The processor on which its latest instance runs.
    pub processor: u8,
    /// When its latest instance was started, in nanoseconds since boot.
    pub started: u64,
    /// When it has died.
    pub deaths: Rate,
    /// For how many milliseconds it waited before its latest instance was started.
    pub waited: u32,
    /// Processor time of its instances that are gone, in nanoseconds.
    pub used_before: u64,
    /// How often its device was refused something.
    pub strays: u64,
    /// The number of the function that it drives on PCI: its own for ever, also while that is not there.
    pub function: Option<u16>,
    /// Why it died last, and the story for people.
    pub last_death: Option<(DeathCause, String)>,
}

/// The notes on what is not about a single domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnNotes {
    /// How often groups had to restart something, by group.
    pub rates: Vec<Rate>,
    /// How many records of deaths there were.
    pub crashes: u64,
}

/// The beginning of a story, so that notes on it fit into the ledger.
pub fn shortened(story: &str) -> String {
    story[..story.floor_char_boundary(STORY_MAX)].into()
}
