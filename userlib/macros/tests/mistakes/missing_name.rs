use userlib::interface;

#[interface(version = 1)]
trait Clock {
    fn time() -> u64;
}

fn main() {}
