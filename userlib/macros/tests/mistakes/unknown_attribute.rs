use userlib::interface;

#[interface(name = "clock", version = 1)]
trait Clock {
    #[retry(3)]
    fn time() -> u64;
}

fn main() {}
