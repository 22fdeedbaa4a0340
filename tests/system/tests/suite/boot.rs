//! Booting, on every kind of machine.

use system_tests::Bench;

#[test]
fn a_machine_boots_to_its_shell_and_powers_off_when_told_to() {
    let mut shell = Bench::with_default_disk().boot();
    let help = shell.must("help");
    for command in ["ls", "cat", "ps", "shutdown"] {
        assert!(help.contains(command), "`help` does not mention {command}:\n{help}");
    }
    shell.shut_down();
}
