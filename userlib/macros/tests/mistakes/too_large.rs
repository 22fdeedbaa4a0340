use userlib::interface;

#[interface(name = "store", version = 1)]
trait Store {
    fn put(key: u64, contents: [u8; 1024]);
    fn get(key: u64) -> [u64; 200];
}

fn main() {}
