//! What a supervisor notes of a domain, and what the next one makes of it.

use interfaces::supervision::DeathCause;
use spawn::{ENTRY_MAX, Rate};
use supervisor::{Adoption, Notes, Standing, shortened};

const EVERY: [Standing; 7] = [
    Standing::Prepared,
    Standing::Alive,
    Standing::Resting,
    Standing::Dying,
    Standing::Due(7),
    Standing::GivenUp,
    Standing::Unplugged,
];

#[test]
fn only_a_whole_domain_that_was_noted_as_living_goes_on() {
    let of_whole = EVERY.map(|standing| standing.adoption(true));
    let going_on = [Adoption::GoOnBurying, Adoption::Wait(7), Adoption::LeaveAlone, Adoption::AwaitDevice];
    assert_eq!(of_whole[..3], [Adoption::StartAnew, Adoption::GoOn, Adoption::Restart]);
    assert_eq!(of_whole[3..], going_on);
    let of_remains = EVERY.map(|standing| standing.adoption(false));
    assert_eq!(of_remains[..3], [Adoption::StartAnew, Adoption::Bury, Adoption::Bury]);
    assert_eq!(of_remains[3..], going_on);
}

#[test]
fn the_longest_notes_fit_into_the_ledger_beside_four_handles() {
    const CUSTODY: usize = 1 + 4 * 10;
    let mut deaths = Rate::default();
    for part in 0..100 {
        for _ in 0..1000 {
            deaths.note(u64::MAX / 100 * part, u64::MAX / 4);
        }
    }
    let notes = Notes {
        standing: Standing::Due(u64::MAX),
        built: u32::MAX,
        processor: u8::MAX,
        started: u64::MAX,
        deaths,
        waited: u32::MAX,
        used_before: u64::MAX,
        strays: u64::MAX,
        function: Some(u16::MAX),
        last_death: Some((DeathCause::Strayed(u64::MAX), shortened(&"ä".repeat(5000)))),
    };
    let bytes = postcard::to_allocvec(&notes).expect("notes can be written");
    assert!(bytes.len() + CUSTODY <= ENTRY_MAX, "{} bytes", bytes.len());
    assert_eq!(postcard::from_bytes::<Notes>(&bytes), Ok(notes));
}

#[test]
fn a_long_story_is_cut_between_characters() {
    assert_eq!(shortened("short"), "short");
    let long = shortened(&format!("x{}", "ä".repeat(1000)));
    assert_eq!(long.len(), 1023);
    assert!(long.ends_with('ä'));
}
