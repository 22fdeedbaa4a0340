use userlib::Value;
use userlib::cap::{Cap, Memory};

#[derive(Value)]
struct Parcel {
    number: u64,
    contents: Cap<Memory>,
}

fn main() {}
