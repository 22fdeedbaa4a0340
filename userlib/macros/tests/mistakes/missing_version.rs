use userlib::interface;

#[interface(name = "clock")]
trait Clock {
    fn time() -> u64;
}

fn main() {}
