use userlib::cap::{Cap, Memory};
use userlib::interface;
use userlib::ipc::List;

#[interface(name = "pool", version = 1)]
trait Pool {
    fn give(pages: List<Cap<Memory>, 5>);
}

fn main() {}
