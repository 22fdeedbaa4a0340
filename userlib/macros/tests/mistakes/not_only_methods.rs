use userlib::interface;

#[interface(name = "clock", version = 1)]
trait Clock: Clone {
    const RESOLUTION: u64;
    fn time() -> u64;
    fn time() -> u32;
}

fn main() {}
