//! What a person can ask the shell.

use system_tests::Bench;

#[test]
fn help_names_every_command_and_explains_each() {
    let mut shell = Bench::without_disk().boot();
    let help = shell.must("help");
    for command in [
        "help", "ps", "mem", "caps", "ls", "cat", "write", "cp", "mv", "rm", "mkdir", "sync", "time", "kill",
        "restart", "crash", "uptime", "log", "shutdown",
    ] {
        assert!(help.split_whitespace().any(|word| word == command), "`help` does not mention {command}:\n{help}");
        let explanation = shell.must(&format!("help {command}"));
        assert!(explanation.contains(command), "{explanation}");
    }
    shell.shut_down();
}

#[test]
fn what_is_no_command_is_refused_with_a_sentence() {
    let mut shell = Bench::without_disk().boot();
    let refusal = shell.must_fail("frobnicate /disk");
    assert!(refusal.contains("frobnicate"), "{refusal}");
    shell.shut_down();
}

#[test]
fn ps_lists_the_domains_of_the_manifest() {
    let mut shell = Bench::without_disk().boot();
    let list = shell.must("ps");
    for domain in ["supervisor", "uart", "pci", "fat", "echo", "shell"] {
        assert!(list.lines().any(|line| line.starts_with(domain)), "`ps` does not list {domain}:\n{list}");
    }
    shell.shut_down();
}

#[test]
fn a_server_that_panics_faults_hangs_or_is_killed_comes_back_and_answers() {
    let mut shell = Bench::without_disk().boot();
    for (command, cause) in [
        ("kill echo", "killed"),
        ("crash echo panic", "panic"),
        ("crash echo fault", "access"),
        ("crash echo hang", "heartbeat"),
    ] {
        shell.must("ping");
        shell.run(command);
        // What the interface promises: a call that is made while the server is away waits for the next instance, or
        // says that it died. Then it answers again.
        let answered = (0..20).any(|_| shell.run("ping").succeeded);
        assert!(answered, "after `{command}` the echo server did not come back:\n{}", shell.must("ps"));
        let list = shell.must("ps");
        let line = list.lines().find(|line| line.starts_with("echo")).unwrap_or_default();
        assert!(line.contains(cause), "`ps` does not name the cause of `{command}`: {line}");
    }
    shell.shut_down();
}

#[test]
fn only_so_much_can_be_planned_for_later_until_some_of_it_has_happened() {
    let mut shell = Bench::without_disk().boot();
    for _ in 0..31 {
        shell.must("kill echo --after 10min");
    }
    shell.must("kill echo --after 300ms");
    let refusal = shell.must_fail("crash echo panic --after 10min");
    assert!(refusal.contains("too much is planned"), "{refusal}");
    let begun = std::time::Instant::now();
    while !shell.run("crash echo panic --after 10min").succeeded {
        assert!(begun.elapsed().as_secs() < 60, "{}", shell.transcript());
    }
    shell.shut_down();
}
