//! What each client sees when a provider dies under a call of it is what `system.toml` declares.

use std::thread;
use std::time::{Duration, Instant};

use manifest::OnDeath;
use system_tests::{Bench, Shell};
use xtask::disk::{self, BIG_FILE, Fingerprint};

use crate::authority::composed;
use crate::supervision::settled;

/// How long a command may take while providers die.
const PATIENCE: Duration = Duration::from_secs(300);

/// How to let a provider die under a call of a client, and how to see what comes of it.
struct Probe {
    /// Plans the death.
    plan: &'static [&'static str],
    /// What has the client call the provider, from now until after the death. Where nothing is typed, the shell waits for that
    /// in a call.
    command: Option<String>,
    /// What the command says if nothing is lost.
    expected: String,
}

/// The probe of one use of the default system.
fn probe(client: &str, interface: &str, file: &Fingerprint) -> Probe {
    let probe = |plan, command: &str, expected: &str| Probe {
        plan,
        command: Some(command.to_owned()),
        expected: expected.to_owned(),
    };
    let sum = format!("sum /disk/{BIG_FILE}");
    match (client, interface) {
        ("shell", "console") => Probe { plan: &["kill uart --after 300ms"], command: None, expected: String::new() },
        ("shell", "filesystem") => probe(&["kill fat --after 200ms"], &sum, &file.hex()),
        ("shell", "block") => probe(&["kill virtio-blk --after 100ms"], "repeat 200 disk", "requests"),
        ("shell", "echo") => probe(&["kill echo --after 200ms"], "ping 500", "500 of 500"),
        ("shell", "supervision") => probe(&["crash supervisor panic --after 300ms"], "repeat 40 ps", "supervisor"),
        // The driver calls when it starts.
        ("virtio-blk", "pci") => probe(&["kill pci --after 200ms", "kill virtio-blk --after 200ms"], &sum, &file.hex()),
        ("fat", "block") => probe(&["kill virtio-blk --after 200ms"], &sum, &file.hex()),
        _ => panic!("{client} uses {interface}, and nobody has said how to see what a death means to it"),
    }
}

/// How to let a provider die under a client that is promised nothing, so that it loses something.
struct Loss {
    /// Commands that may do it, if the moment is right; that the provider is away just then is no failure.
    plan: &'static [&'static str],
    /// What the client says in its log of what it lost.
    said: &'static str,
}

/// The loss of one use of the default system of which the least is declared.
fn loss(client: &str, interface: &str) -> Loss {
    match (client, interface) {
        // Who dies again and again is away for longer each time, and at last for longer than a call waits.
        ("crashlog", "filesystem") => Loss { plan: &["kill fat"], said: "deaths cannot be written to /crashes.log: " },
        // A death of which the supervisor has told nobody; the next one shows that one is missing.
        ("crashlog", "supervision") => Loss {
            plan: &[
                "kill echo --after 300ms",
                "crash supervisor panic --after 300ms",
                "sleep 1s",
                "kill echo",
                "sleep 1s",
            ],
            said: "deaths of which nothing was told: ",
        },
        _ => panic!("{client} uses {interface}, and nobody has said how to see what it loses at a death"),
    }
}

/// Runs a command again and again until it says something.
fn until(shell: &mut Shell, command: &str, said: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let reply = shell.run_within(command, PATIENCE);
        if reply.succeeded && reply.text.contains(said) {
            return;
        }
        assert!(Instant::now() < deadline, "`{command}` does not say `{said}`:\n{}", reply.text);
    }
}

/// Lets a provider die until a client that is promised nothing has lost something: it says so, lives, and goes on.
fn prove_loss(client: &str, interface: &str, server: &str) {
    let bench = Bench::with_default_disk();
    let loss = loss(client, interface);
    let mut shell = bench.boot();
    shell.must("ls /disk");
    shell.must("kill echo");
    // From here on it knows which deaths there were.
    until(&mut shell, "crashes --kept", "echo, life 0, ");
    let deadline = Instant::now() + PATIENCE;
    while !shell.must(&format!("log {client}")).contains(loss.said) {
        assert!(Instant::now() < deadline, "{client} does not say what it lost:\n{}", shell.must("log -n 60"));
        for command in loss.plan {
            shell.run(command);
        }
    }
    let now = settled(&mut shell);
    assert!(now[server].restarts > 0, "{server} did not die");
    assert_eq!(now[client].restarts, 0, "{client} died with {server}");
    shell.must("kill echo");
    until(&mut shell, "crashes --kept", &format!("echo, life {}, ", now["echo"].restarts));
    shell.shut_down();
}

/// Carries a command out; tells whether it did what it does if nothing is lost.
fn succeeds(shell: &mut Shell, probe: &Probe) -> bool {
    let command = probe.command.as_deref().unwrap_or("ping");
    let reply = shell.run_within(command, PATIENCE);
    reply.succeeded && reply.text.contains(&probe.expected)
}

/// Lets a provider die under a call, and looks at what the client sees.
fn prove(client: &str, interface: &str, server: &str, word: OnDeath) {
    let bench = Bench::with_default_disk();
    let file = Fingerprint::of(&disk::read_file(bench.disk(), BIG_FILE).expect("the default disk has it"));
    let probe = probe(client, interface, &file);
    let mut shell = bench.boot();
    shell.must("ls /disk");
    for command in probe.plan {
        shell.must(command);
    }
    if probe.command.is_none() {
        thread::sleep(Duration::from_secs(2));
    }
    let first = succeeds(&mut shell, &probe);
    let deadline = Instant::now() + PATIENCE;
    while settled(&mut shell)[server].restarts == 0 {
        assert!(Instant::now() < deadline, "{server} did not die");
    }
    match word {
        OnDeath::Transparent => assert!(first, "{client} saw the death of {server}"),
        OnDeath::Retry => {
            while !succeeds(&mut shell, &probe) {
                assert!(Instant::now() < deadline, "{client} asks {server} in vain");
            }
        }
        OnDeath::Error => unreachable!("nothing is promised"),
    }
    let now = settled(&mut shell);
    assert!(now[client].restarts <= u64::from(client == "virtio-blk"), "{client} died with {server}");
    shell.shut_down();
}

/// Clients that ask nothing of a provider on the default machine, and the test that has them ask it elsewhere while it dies: only
/// where there are slots does the bus tell of devices that come and go.
const ELSEWHERE: [(&str, &str, &str); 1] =
    [("pci", "supervision", "hot_unplug::without_its_disk_that_is_taken_out_a_driver_waits_and_says_so")];

#[test]
fn every_client_sees_what_is_declared_when_a_provider_dies_under_its_call() {
    let system = composed();
    let mut proven = 0;
    for (_, domain) in system.domains() {
        for usage in &domain.uses {
            let endpoint = &system[usage.endpoint];
            let server = &system[endpoint.server].name;
            eprintln!("{} uses {} of {server}: {}", domain.name, endpoint.interface, usage.on_death.name());
            let proof = ELSEWHERE
                .iter()
                .find(|(client, interface, _)| (*client, *interface) == (&*domain.name, &*endpoint.interface));
            if let Some((.., proof)) = proof {
                eprintln!("  see {proof}");
                continue;
            }
            match usage.on_death {
                OnDeath::Error => prove_loss(&domain.name, &endpoint.interface, server),
                word => prove(&domain.name, &endpoint.interface, server, word),
            }
            proven += 1;
        }
    }
    assert!(proven > 0, "nobody uses anything");
}
