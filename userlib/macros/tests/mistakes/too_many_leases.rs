use userlib::interface;

#[interface(name = "archive", version = 1)]
trait Archive {
    fn pack(first: &[u8], second: &[u8], name: &str, comment: &str, output: &mut [u8]) -> u64;
}

fn main() {}
