use userlib::Value;

#[derive(Value)]
enum Nothing {}

fn main() {}
