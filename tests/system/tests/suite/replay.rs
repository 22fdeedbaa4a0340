//! The kernel in a machine does what its core does on the host.

use std::path::Path;

use xtask::replay::replay;

#[test]
fn two_hundred_calls_of_every_kind_come_to_the_same_in_the_machine_as_on_the_host() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../script/scripts/mixed.script");
    let comparison = replay(&script).expect("the script can be carried out");
    assert_eq!(comparison.disagreements(), 0, "{comparison}");
}
