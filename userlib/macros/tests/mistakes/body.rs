use userlib::interface;

#[interface(name = "clock", version = 1)]
trait Clock {
    fn resolution() -> u64 {
        1
    }
}

fn main() {}
