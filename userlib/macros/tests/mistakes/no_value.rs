use userlib::interface;

struct Alarm {
    time: u64,
}

#[interface(name = "clock", version = 1)]
trait Clock {
    fn set(alarm: Alarm);
    fn name(zone: String);
}

fn main() {}
