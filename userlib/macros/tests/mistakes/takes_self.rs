use userlib::interface;

#[interface(name = "clock", version = 1)]
trait Clock {
    fn time(&self) -> u64;
}

fn main() {}
