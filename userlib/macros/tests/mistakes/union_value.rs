use userlib::Value;

#[derive(Value)]
union Number {
    whole: u64,
    bytes: [u8; 8],
}

fn main() {}
