use userlib::interface;

#[interface(name = "Wall Clock", version = 1)]
trait Clock {
    fn time() -> u64;
}

fn main() {}
