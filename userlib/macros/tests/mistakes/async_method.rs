use userlib::interface;

#[interface(name = "clock", version = 1)]
trait Clock {
    async fn sleep(nanoseconds: u64);
}

fn main() {}
