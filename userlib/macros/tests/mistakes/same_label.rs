use userlib::interface;

// Two names that were searched for: their labels are the same by chance.
#[interface(name = "driver", version = 1)]
trait Driver {
    fn take_driver_once_sadly();
    fn save_word_here_partly();
}

fn main() {}
