use userlib::interface;
use userlib::ipc::{CallError, RetriedError};

#[interface(name = "counter", version = 1)]
trait Counter {
    fn increment() -> Result<u64, u32>;
    #[idempotent]
    fn read() -> Result<u64, u32>;
}

fn why(error: CallError<u32>) -> u32 {
    match error {
        CallError::Failed(why) => why,
        CallError::TimedOut | CallError::NotUnderstood | CallError::Busy | CallError::Refused(_) => 0,
    }
}

// What is repeated by itself has no such case.
fn why_not_read(error: RetriedError<u32>) -> u32 {
    match error {
        RetriedError::Failed(why) => why,
        RetriedError::Unavailable | RetriedError::TimedOut => 0,
        RetriedError::NotUnderstood | RetriedError::Busy | RetriedError::Refused(_) => 0,
    }
}

fn use_both(counter: &CounterClient) -> Result<(), (u32, u32)> {
    let count = counter.increment().map_err(|error| (why(error), 0))?;
    counter.read().map(|read| assert_eq!(read, count)).map_err(|error| (0, why_not_read(error)))
}

fn main() {}
