//! The server as its clients see it.

use echo::Echo;
use interfaces::echo::{EchoDouble, EchoError, Misbehaviour};
use userlib::host::Fault;
use userlib::ipc::CallError;

fn double() -> EchoDouble {
    EchoDouble::restarting(|| Echo::new(|_| ()))
}

#[test]
fn bytes_come_back_and_a_short_output_is_refused() {
    let (double, mut output) = (double(), [0; 9000]);
    let input: Vec<u8> = (0..9000).map(|index| index as u8).collect();
    assert_eq!(double.client().echo(&input, &mut output), Ok(9000));
    assert!(input == output);
    assert_eq!(double.client().echo(&input, &mut [0; 10]), Err(CallError::Failed(EchoError::TooShort)));
}

#[test]
fn a_new_instance_counts_from_the_start() {
    let double = double();
    let client = double.client();
    assert_eq!((client.count(), client.count()), (Ok(1), Ok(2)));
    double.faults().plan(Fault::DiesBefore);
    assert_eq!(client.count(), Err(CallError::ServerDied));
    assert_eq!(client.count(), Ok(1));
    double.faults().plan(Fault::DiesAfter);
    assert_eq!(client.ping(5), Ok(5), "what is idempotent is repeated");
}

#[test]
fn who_is_blamed_or_left_without_an_answer_learns_of_it() {
    let double = double();
    let client = double.client();
    assert!(matches!(client.misbehave(Misbehaviour::BlameCaller), Err(CallError::Refused(_))));
    assert_eq!(client.misbehave(Misbehaviour::Silence), Err(CallError::TimedOut));
}

#[test]
fn any_messages_to_echo() {
    let double = double();
    let mut counted = 0;
    let tally = double.fuzz(&[], |client| {
        assert_eq!(client.ping(7), Ok(7));
        let count = client.count().expect("it counts");
        assert!(count > counted);
        counted = count;
    });
    assert_eq!(tally.answered.len(), 5, "{tally}");
}
