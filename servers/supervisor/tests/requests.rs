//! What the supervisor answers, about a household that is made up.

use std::cell::{Cell, RefCell};
use std::ops::RangeInclusive;
use std::rc::Rc;

use interfaces::crash::{CrashRecord, RECORD_MAX};
use interfaces::mutation::{self, Mutation, When};
use interfaces::supervision::{
    CapabilityInfo, Confinement, Crash, DeathCause, DomainInfo, DomainState, MemoryUse, SupervisionDouble,
    SupervisionError, TextPart,
};
use manifest::DomainIndex;
use supervisor::{Household, Line, Requests};
use userlib::ipc::{CallError, RetriedError, Text};
use userlib::time::Duration;

const NAMES: [&str; 3] = ["supervisor", "echo", "fat"];
const ECHO: DomainIndex = DomainIndex(1);

#[derive(Default)]
struct State {
    /// What happened to whom.
    events: RefCell<Vec<(&'static str, u16)>>,
    /// Who has no instance.
    stopped: Cell<Option<DomainIndex>>,
    /// Who may change code.
    debugger: Cell<Option<u64>>,
    /// Who holds the bus.
    bus: Cell<Option<u64>>,
    /// Which buses were looked at.
    looked_at: RefCell<Vec<RangeInclusive<u8>>>,
    /// How many changes were made.
    mutations: Cell<usize>,
}

#[derive(Clone, Default)]
struct MadeUp(Rc<State>);

impl MadeUp {
    fn note(&self, event: &'static str, index: DomainIndex) {
        self.0.events.borrow_mut().push((event, index.0));
    }

    fn events(&self) -> Vec<(&'static str, u16)> {
        self.0.events.take()
    }
}

impl Household for MadeUp {
    fn domains(&self) -> usize {
        NAMES.len()
    }

    fn named(&self, name: &str) -> Option<DomainIndex> {
        NAMES.iter().position(|known| *known == name).map(|index| DomainIndex(index as u16))
    }

    fn describe(&self, index: DomainIndex) -> DomainInfo {
        DomainInfo {
            name: Text::new(NAMES[index.position()]),
            state: DomainState::Running,
            restarts: 0,
            last_cause: DeathCause::None,
            memory: 4096,
            priority: 100,
            level: 1,
            processor: 0,
            bound: None,
            runtime: None,
            started: 0,
            strays: 0,
        }
    }

    fn is_running(&self, index: DomainIndex) -> bool {
        self.0.stopped.get() != Some(index)
    }

    fn kill(&self, index: DomainIndex) {
        self.note("killed", index);
    }

    fn crash(&self, index: DomainIndex, _: Crash) -> Result<(), SupervisionError> {
        self.note("crashed", index);
        Ok(())
    }

    async fn restart(&self, index: DomainIndex) -> Result<(), SupervisionError> {
        self.note("restarted", index);
        Ok(())
    }

    fn capability(&self, _: DomainIndex, from: u16) -> Result<Option<CapabilityInfo>, SupervisionError> {
        Ok((from < 10).then_some(CapabilityInfo { index: from, kind: 1, rights: 2, badge: 3 }))
    }

    fn may_debug(&self, client: u64) -> bool {
        self.0.debugger.get() == Some(client)
    }

    fn mutate(&self, index: DomainIndex, list: Vec<Mutation>) -> Result<(), SupervisionError> {
        self.note("mutated", index);
        self.0.mutations.set(list.len());
        Ok(())
    }

    fn mutated(&self, _: DomainIndex) -> Vec<u16> {
        (0..self.0.mutations.get()).map(|number| number as u16).collect()
    }

    fn renew(&self, index: DomainIndex) -> Result<(), SupervisionError> {
        self.note("renewed", index);
        Ok(())
    }

    fn holds_bus(&self, client: u64) -> bool {
        self.0.bus.get() == Some(client)
    }

    fn release_devices(&self, buses: RangeInclusive<u8>) -> bool {
        buses == (3..=4)
    }

    fn look_for_devices(&self, buses: RangeInclusive<u8>) {
        self.0.looked_at.borrow_mut().push(buses);
    }

    fn last_death(&self, index: DomainIndex) -> Option<String> {
        (index == ECHO).then(|| "was killed".to_owned())
    }

    fn crash_record(&self, number: u64) -> Option<CrashRecord> {
        let kept = 5..8;
        let number = kept.clone().find(|kept| *kept >= number)?;
        Some(CrashRecord { number, domain: "echo".to_owned(), ..CrashRecord::default() })
    }

    fn confinement(&self) -> Confinement {
        Confinement::Nothing
    }

    fn memory(&self) -> MemoryUse {
        MemoryUse { total: 4, free: 3, kernel: 2, mapped: 1 }
    }

    fn log(&self) -> Vec<Line> {
        (0..10).map(|number| Line { time: 100 * number, text: format!("line {number}\n") }).collect()
    }

    async fn shutdown(&self) -> Result<(), SupervisionError> {
        Err(SupervisionError::Unsupported)
    }

    async fn reboot(&self) -> Result<(), SupervisionError> {
        Err(SupervisionError::Unsupported)
    }
}

fn double(household: &MadeUp) -> SupervisionDouble {
    SupervisionDouble::new(Requests::new(household.clone()))
}

/// Lets time pass, and what was planned happen.
fn pass(time: Duration) {
    userlib::executor::run(userlib::executor::sleep(time));
}

#[test]
fn who_is_killed_crashed_or_restarted_is_whoever_was_named() {
    let household = MadeUp::default();
    let double = double(&household);
    let client = double.client();
    assert_eq!(client.kill("echo", 0), Ok(()));
    assert_eq!(client.crash("fat", Crash::Panic, 0), Ok(()));
    assert_eq!(client.restart("fat"), Ok(()));
    assert_eq!(household.events(), [("killed", 1), ("crashed", 2), ("restarted", 2)]);
}

#[test]
fn the_supervisor_breaks_by_request_like_everybody_else() {
    let household = MadeUp::default();
    let double = double(&household);
    for how in [Crash::Panic, Crash::Fault, Crash::Hang] {
        assert_eq!(double.client().crash("supervisor", how, 0), Ok(()));
        assert_eq!(household.events(), [("crashed", 0)]);
    }
}

#[test]
fn nobody_ends_the_supervisor_or_whom_there_is_not() {
    let household = MadeUp::default();
    let double = double(&household);
    let client = double.client();
    assert_eq!(client.kill("supervisor", 0), Err(CallError::Failed(SupervisionError::Protected)));
    assert_eq!(client.restart("nobody"), Err(CallError::Failed(SupervisionError::NoSuchDomain)));
    assert_eq!(
        client.find("a name that is longer than any"),
        Err(RetriedError::Failed(SupervisionError::NoSuchDomain))
    );
    household.0.stopped.set(Some(ECHO));
    assert_eq!(client.kill("echo", 0), Err(CallError::Failed(SupervisionError::NotRunning)));
    assert_eq!(household.events(), []);
}

#[test]
fn what_is_planned_happens_later_to_whoever_runs_then() {
    let household = MadeUp::default();
    let double = double(&household);
    let client = double.client();
    assert_eq!(client.kill("echo", 1000), Ok(()));
    assert_eq!(client.kill("fat", 2000), Ok(()));
    assert_eq!(household.events(), []);
    pass(Duration::from_micros(1500));
    assert_eq!(household.events(), [("killed", 1)]);
    household.0.stopped.set(Some(DomainIndex(2)));
    pass(Duration::from_micros(1500));
    assert_eq!(household.events(), [], "nobody was there any more");
}

#[test]
fn a_client_plans_so_much_and_no_more_until_some_of_it_has_happened() {
    let household = MadeUp::default();
    let double = double(&household);
    let client = double.client();
    for number in 0..32 {
        assert_eq!(client.kill("echo", 1000 + number), Ok(()));
    }
    assert_eq!(client.crash("fat", Crash::Hang, 5), Err(CallError::Failed(SupervisionError::TooMuchPlanned)));
    assert_eq!(client.kill("fat", 0), Ok(()), "what happens at once is not planned");
    assert_eq!(double.client_with_badge(2).kill("echo", 1000), Ok(()), "others have plans of their own");
    pass(Duration::from_micros(1001));
    assert_eq!(client.kill("echo", 1000), Ok(()));
}

#[test]
fn the_log_is_read_in_parts_that_fit() {
    let double = double(&MadeUp::default());
    let client = double.client();
    let mut output = [0; 20];
    assert_eq!(client.log(0, &mut output), Ok(TextPart { bytes: 14, next: 101, more: true }));
    assert_eq!(&output[..14], b"line 0\nline 1\n");
    assert_eq!(client.log(801, &mut output), Ok(TextPart { bytes: 7, next: 901, more: false }));
    assert_eq!(client.log(901, &mut output), Ok(TextPart { bytes: 0, next: 901, more: false }));
    // A line for which there is no room at all is cut, and does not hide those behind it.
    assert_eq!(client.log(701, &mut output[..4]), Ok(TextPart { bytes: 4, next: 801, more: true }));
    assert_eq!(&output[..4], b"line");
}

#[test]
fn a_last_death_is_told_as_far_as_there_is_room() {
    let double = double(&MadeUp::default());
    let mut output = [0; 5];
    assert_eq!(double.client().last_death("echo", &mut output), Ok(5));
    assert_eq!(&output, b"was k");
    assert_eq!(double.client().last_death("fat", &mut output), Ok(0));
}

#[test]
fn any_messages_to_supervision() {
    let household = MadeUp::default();
    let double = double(&household);
    let tally = double.fuzz(&["supervisor", "echo", "fat", "nobody"], |client| {
        assert_eq!(client.memory().map(|memory| memory.total), Ok(4));
        assert!(client.find("echo").is_ok());
    });
    assert_eq!(tally.answered.len(), 19, "{tally}");
    let ends = household.events().into_iter().filter(|(event, _)| *event != "crashed");
    assert!(ends.map(|(_, index)| index).all(|index| index != 0), "nobody kills or restarts the supervisor");
}

#[test]
fn nobody_changes_code_but_whom_the_manifest_lets() {
    let household = MadeUp::default();
    let double = double(&household);
    let client = double.client();
    let list = mutation::encode(&[Mutation { address: 0x20_1000, bytes: vec![0x90; 2], when: When::Reached }]);
    let mut orders = [0; 8];
    let refused = SupervisionError::NotGranted;
    assert_eq!(client.mutate("echo", &list), Err(CallError::Failed(refused)));
    assert_eq!(client.mutated("echo", &mut orders), Err(RetriedError::Failed(refused)));
    assert_eq!(client.renew("echo"), Err(CallError::Failed(refused)));
    assert_eq!(household.events(), []);

    household.0.debugger.set(Some(1));
    assert_eq!(client.mutate("echo", &list), Ok(()));
    assert_eq!(client.mutated("echo", &mut orders), Ok(2));
    assert_eq!(client.renew("echo"), Ok(()));
    assert_eq!(household.events(), [("mutated", 1), ("renewed", 1)]);
}

#[test]
fn changes_that_make_no_sense_are_refused_and_the_supervisor_is_not_changed() {
    let household = MadeUp::default();
    household.0.debugger.set(Some(1));
    let double = double(&household);
    let client = double.client();
    assert_eq!(client.mutate("echo", &[1, 2, 3]), Err(CallError::Failed(SupervisionError::BadMutation)));
    assert_eq!(client.mutate("supervisor", &[]), Err(CallError::Failed(SupervisionError::Protected)));
    assert_eq!(client.renew("supervisor"), Err(CallError::Failed(SupervisionError::Protected)));
    assert_eq!(household.events(), []);
}

#[test]
fn records_of_deaths_come_one_after_the_other_from_the_first_that_is_kept() {
    let double = double(&MadeUp::default());
    let client = double.client();
    let mut bytes = [0; RECORD_MAX];
    let (mut next, mut numbers) = (0, vec![]);
    loop {
        let part = client.crash_record(next, &mut bytes).expect("it is answered");
        let Some(record) = CrashRecord::decode(&bytes[..part.bytes]) else { break };
        numbers.push(record.number);
        next = part.next;
    }
    assert_eq!(numbers, [5, 6, 7]);
    let part = client.crash_record(0, &mut bytes[..10]).expect("it is answered");
    assert!(part.more && part.bytes > 10, "what does not fit is told");
}

#[test]
fn only_who_holds_the_bus_says_that_devices_come_and_go() {
    let household = MadeUp::default();
    let double = double(&household);
    household.0.bus.set(Some(7));
    let refused = Err(RetriedError::Failed(SupervisionError::NotTheBus));
    let stranger = double.client_with_badge(8);
    assert_eq!(stranger.release_devices(3, 4), refused);
    assert_eq!(stranger.look_for_devices(3, 4), Err(RetriedError::Failed(SupervisionError::NotTheBus)));
    assert!(household.0.looked_at.borrow().is_empty());
    let bus = double.client_with_badge(7);
    assert_eq!(bus.release_devices(3, 4), Ok(true));
    assert_eq!(bus.release_devices(3, 5), Ok(false));
    assert_eq!(bus.look_for_devices(2, 2), Ok(()));
    assert_eq!(*household.0.looked_at.borrow(), [2..=2]);
}
