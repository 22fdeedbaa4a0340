use userlib::interface;

#[interface(name = "clock", version = 1)]
trait Clock {
    fn set(time: &u64);
    fn name(output: &mut str);
    fn alarms(times: &[u64]);
    fn zone() -> &str;
}

fn main() {}
