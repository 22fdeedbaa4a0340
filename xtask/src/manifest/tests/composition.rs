//! What the compiler makes of texts without errors.

use manifest::{DomainIndex, Restart};

use super::*;

#[test]
fn the_least_manifest_is_a_supervisor_with_the_defaults() {
    let system = compiled("[supervisor]");
    assert_eq!(system.domains.len(), 1);
    let supervisor = &system[DomainIndex::SUPERVISOR];
    assert_eq!((supervisor.priority, supervisor.memory, supervisor.threads), (240, 1 << 20, 4));
    assert_eq!((supervisor.time_slice_us, supervisor.capabilities), (5000, 256));
    assert_eq!(system[supervisor.provides[0]].interface_id, 0xa0);
    assert_eq!(system.reserve, 24 << 20);
}

#[test]
fn defaults_hold_where_a_domain_says_nothing_else() {
    let system = compiled(
        r#"
        [defaults]
        priority = 7
        memory = "128K"
        heartbeat = "10500us"
        restart = "never"
        [supervisor]
        [domain.a]
        kind = "app"
        [domain.b]
        kind = "app"
        priority = 0xff
        memory = "4M"
        heartbeat = "none"
        restart = { limit = 3, backoff = "5s" }
        "#,
    );
    let (a, b) = (&system.domains[1], &system.domains[2]);
    assert_eq!((a.priority, a.memory, a.heartbeat_ms, a.restart), (7, 128 << 10, 11, Restart::Never));
    let restart = Restart::OnDeath { limit: 3, window_ms: 60_000, backoff_ms: 5_000, max_backoff_ms: 5_000 };
    assert_eq!((b.priority, b.memory, b.heartbeat_ms, b.restart), (255, 4 << 20, 0, restart));
}

#[test]
fn domains_keep_the_order_in_which_they_are_written() {
    let system = compiled("[supervisor]\n[domain.c]\nkind='app'\n[domain.a]\nkind='app'\n[domain.b]\nkind='app'");
    let names: Vec<_> = system.domains.iter().map(|domain| domain.name.as_str()).collect();
    assert_eq!(names, ["supervisor", "c", "a", "b"]);
}

#[test]
fn a_use_finds_its_provider_whether_or_not_it_is_named() {
    let system = compiled(
        r#"
        [supervisor]
        [domain.a]
        kind = "server"
        provides = ["block", "echo"]
        [domain.b]
        kind = "server"
        provides = ["block"]
        uses = ["block"]
        [domain.c]
        kind = "app"
        uses = [
            "echo",
            { interface = "block", from = "b" },
            { interface = "block", from = "a", name = "raw" },
        ]
        "#,
    );
    let server = |domain: usize, usage: usize| {
        let usage = &system.domains[domain].uses[usage];
        (usage.name.as_str(), system[system[usage.endpoint].server].name.as_str())
    };
    assert_eq!(server(2, 0), ("block", "a"), "a domain never means itself");
    assert_eq!([server(3, 0), server(3, 1), server(3, 2)], [("echo", "a"), ("block", "b"), ("raw", "a")]);
    let levels: Vec<_> = system.domains.iter().map(|domain| domain.level).collect();
    assert_eq!(levels, [0, 1, 2, 3]);
}

#[test]
fn a_level_is_that_of_the_longest_way_down() {
    let system = compiled(
        r#"
        [supervisor]
        [domain.c]
        kind = "app"
        uses = ["filesystem", "echo"]
        [domain.b]
        kind = "server"
        provides = ["filesystem"]
        uses = ["echo"]
        [domain.a]
        kind = "server"
        provides = ["echo"]
        uses = ["supervision"]
        "#,
    );
    let levels: Vec<_> = system.domains.iter().map(|domain| domain.level).collect();
    assert_eq!(levels, [0, 3, 2, 1]);
}

#[test]
fn a_server_works_as_urgently_as_whoever_may_be_waiting_for_it() {
    let system = compiled(
        r#"
        [supervisor]
        priority = 20
        [domain.a]
        kind = "server"
        provides = ["block"]
        priority = 10
        [domain.b]
        kind = "server"
        provides = ["filesystem"]
        uses = ["block"]
        priority = 30
        [domain.c]
        kind = "app"
        uses = ["filesystem", "supervision"]
        priority = 200
        [domain.echo]
        kind = "server"
        provides = ["echo"]
        uses = ["block"]
        priority = 90
        [domain.shell]
        kind = "app"
        uses = ["echo"]
        priority = 5
        "#,
    );
    let ceilings: Vec<_> =
        system.endpoints.iter().map(|endpoint| (endpoint.interface.as_str(), endpoint.ceiling)).collect();
    let expected = [("supervision", 200), ("block", 200), ("filesystem", 200), ("echo", 90)];
    assert_eq!(ceilings, expected);
}

#[test]
fn each_ring_has_event_bits_of_its_own_and_heartbeats_have_none() {
    let system = compiled(
        r#"
        [supervisor]
        [domain.a]
        kind = "server"
        provides = ["block"]
        heartbeat = "1s"
        [domain.b]
        kind = "app"
        uses = [{ interface = "block", ring = "4K" }]
        heartbeat = "1s"
        [domain.c]
        kind = "app"
        uses = [{ interface = "block", ring = "8K" }]
        "#,
    );
    let a = system.domain_named("a").expect("a is declared");
    let doorbells: Vec<_> = system.rings.iter().map(|ring| ring.doorbell).collect();
    assert!(doorbells.iter().all(|signal| system[signal.notification].owner == a));
    assert_eq!(doorbells.iter().map(|signal| signal.mask()).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(system.notification_of(DomainIndex::SUPERVISOR), None);
    assert_eq!(system.check(), Ok(()));
}

#[test]
fn rings_of_a_servers_clients_are_lent_to_the_device_of_whom_it_asks_and_no_others() {
    let system = compiled(
        r#"
        [supervisor]
        [domain.a]
        kind = "server"
        provides = ["block"]
        [domain.b]
        kind = "server"
        provides = ["filesystem", "echo"]
        uses = [{ interface = "block", ring = "8K", lends = "filesystem" }]
        [domain.c]
        kind = "app"
        uses = [{ interface = "echo", ring = "4K" }, { interface = "filesystem", ring = "12K" }]
        [domain.echo]
        kind = "app"
        uses = [{ interface = "filesystem", ring = "16K" }]
        "#,
    );
    let [disk, a, b] = ["a", "c", "echo"].map(|name| system.domain_named(name).expect("it is declared"));
    let lent: Vec<_> = system.rings_lent_to(disk).map(|(index, ring)| (ring.client, system.area_of(index))).collect();
    assert_eq!(lent, [(a, 1), (b, 2)]);
    assert_eq!(system.rings.iter().filter(|ring| ring.lent_to.is_none()).count(), 2);
    assert!(
        system.may_reach(disk, a) && system.may_reach(a, disk),
        "it is asked through the ring, and its device writes there"
    );
    let fs = system.domain_named("b").expect("it is declared");
    for (_, ring) in system.rings_lent_to(disk) {
        let owners = [ring.doorbell, ring.completion].map(|signal| system[signal.notification].owner);
        assert_eq!(owners, [disk, ring.client], "who serves the ring is told of nothing");
        assert_eq!(ring.driver, fs);
    }
    assert_eq!(system.check(), Ok(()));
}

#[test]
fn compiling_twice_gives_the_same_bytes() {
    let source = include_str!("../../../../system.toml");
    assert_eq!(compiled(source).encode(), compiled(source).encode());
}

#[test]
fn any_binary_will_do_if_none_are_known() {
    let source = "[supervisor]\n[domain.a]\nkind = 'app'\nbinary = 'not-built-yet'";
    assert!(compile_text(source).is_err());
    let environment = Environment { binaries: None, ..environment() };
    assert!(compile("system.toml", source, &environment).is_ok());
}

#[test]
fn a_use_promises_least_unless_it_says_what_a_death_means() {
    let source = |word: &str| {
        format!(
            "[supervisor]\n[domain.a]\nkind = \"server\"\nprovides = [\"echo\"]\n[domain.b]\nkind = \"app\"\n\
             uses = [{{ interface = \"echo\"{word} }}]\n"
        )
    };
    for (written, meant) in [
        ("", manifest::OnDeath::Error),
        (", on-death = \"transparent\"", manifest::OnDeath::Transparent),
        (", on-death = \"retry\"", manifest::OnDeath::Retry),
        (", on-death = \"error\"", manifest::OnDeath::Error),
    ] {
        assert_eq!(compiled(&source(written)).domains[2].uses[0].on_death, meant);
    }
    assert_eq!(
        mistakes(&source(", on-death = \"retries\"")),
        ["7:42 unknown-word `\"retries\"`: `on-death` cannot be `retries` (there are `transparent`, `retry`, `error`)"]
    );
}
