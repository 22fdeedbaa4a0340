use userlib::interface;

#[interface(name = "store", version = 1)]
trait Store<K> {
    fn put<V>(key: u64, value: V);
    fn get(key: impl Into<u64>) -> u64;
}

fn main() {}
