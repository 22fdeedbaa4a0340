//! Boot archives that cannot be used: the loader says so in one sentence, and starts nothing.

use std::ffi::OsString;
use std::fs;
use std::thread;
use std::time::Duration;

use archive::{Archive, Builder};
use system_tests::{Bench, system};
use userlib::entry::BUILT_FOR;
use xtask::build::{self, KERNEL, LOADER};
use xtask::console::Console;
use xtask::machine::Memory;

/// How long a loader may take to find out.
const LIMIT: Duration = Duration::from_secs(60);
/// How long it then must not say anything more.
const SILENCE: Duration = Duration::from_millis(500);

/// The boot archive of the system.
fn boot_archive() -> Vec<u8> {
    let image = fs::read(&system().image).expect("the image that was built");
    // In the image it starts at a page boundary, as in memory.
    let mut starts = (0..image.len()).step_by(archive::PAGE).filter(|&at| image[at..].starts_with(&archive::MAGIC));
    let start = starts.next().expect("the image has an archive in it");
    let length = u64::from_le_bytes(image[start + 24..start + 32].try_into().expect("eight bytes"));
    let bytes = image[start..start + length as usize].to_vec();
    Archive::parse(&bytes).expect("the archive that was built is one");
    bytes
}

/// A machine that starts the loader alone, with `archive` as QEMU's initial RAM disk.
fn with_module(archive: &[u8]) -> Bench {
    let mut bench = Bench::without_disk();
    let path = bench.path("archive");
    fs::write(&path, archive).expect("the archive is written");
    bench.machine.image.clone_from(&system().programs[LOADER]);
    bench.machine.extra = vec![OsString::from("-initrd"), path.into()];
    bench
}

/// Asserts that the loader refuses with exactly one sentence, that this has all the `words`, and that nothing else
/// happens.
fn is_refused(bench: &Bench, words: &[&str]) {
    let mut console = Console::start(&bench.machine, None).expect("QEMU starts");
    let refused = console.wait_for("a sentence of the loader's", LIMIT, |screen| {
        screen.lines().iter().any(|line| line.starts_with("loader: ")).then_some(())
    });
    refused.unwrap_or_else(|error| panic!("{error}"));
    // Whatever else it does takes no longer than this.
    thread::sleep(SILENCE);
    let shown = console.transcript();
    let sentences: Vec<&str> = shown.lines().filter(|line| !line.trim().is_empty()).collect();
    let [sentence] = sentences[..] else { panic!("not one sentence:\n{shown}") };
    for word in words {
        assert!(sentence.contains(word), "it does not mention {word}: {sentence}");
    }
    console.cut_power().expect("QEMU is ended");
}

#[test]
fn an_archive_that_is_passed_beside_the_loader_boots() {
    let mut shell = with_module(&boot_archive()).boot();
    shell.must("ping");
    shell.shut_down();
}

#[test]
fn no_archive_at_all() {
    let mut bench = with_module(&[]);
    bench.machine.extra.clear();
    is_refused(&bench, &["no boot archive"]);
}

#[test]
fn an_archive_that_was_cut_off() {
    let archive = boot_archive();
    for length in [archive.len() - 1, archive.len() / 2, 40] {
        is_refused(&with_module(&archive[..length]), &["boot archive", "bytes"]);
    }
}

#[test]
fn an_archive_with_more_bytes_than_it_says() {
    let mut archive = boot_archive();
    archive.push(0);
    is_refused(&with_module(&archive), &["boot archive", "bytes"]);
}

#[test]
fn an_archive_in_which_one_bit_is_wrong() {
    let archive = boot_archive();
    for at in [archive.len() / 3, archive.len() - 5000, 40] {
        let mut wrong = archive.clone();
        wrong[at] ^= 0x10;
        is_refused(&with_module(&wrong), &["boot archive", "checksum"]);
    }
}

#[test]
fn what_is_no_archive() {
    is_refused(&with_module(&vec![0x5a; 100_000]), &["boot archive"]);
}

#[test]
fn an_archive_without_a_kernel() {
    let archive = boot_archive();
    let mut builder = Builder::new();
    for file in Archive::parse(&archive).expect("an archive").files().filter(|file| file.name != KERNEL) {
        builder.add(file.name, file.contents.to_vec()).expect("it was in an archive before");
    }
    is_refused(&with_module(&builder.finish().expect("it is smaller now")), &["boot archive", KERNEL]);
}

#[test]
fn an_archive_whose_kernel_is_no_program() {
    let mut builder = Builder::new();
    builder.add(KERNEL, b"not a program at all".to_vec()).expect("a name that can be");
    is_refused(&with_module(&builder.finish().expect("it is small")), &[KERNEL, "boot archive"]);
}

#[test]
fn an_archive_that_is_larger_than_the_memory() {
    let mut builder = Builder::new();
    builder.add(KERNEL, vec![0; 96 << 20]).expect("a name that can be");
    let archive = builder.finish().expect("it is below the limit");
    let loader = fs::read(&system().programs[LOADER]).expect("the loader that was built");
    let image = archive::embed(&loader, &archive).expect("it fits below the devices");
    let mut bench = Bench::without_disk();
    bench.machine.image = bench.path("too-large.elf");
    fs::write(&bench.machine.image, image).expect("the image is written");
    bench.machine.memory = Memory::mebibytes(64);
    is_refused(&bench, &["boot archive", "memory"]);
}

/// The boot archive, with `change` made to the program `name`.
fn with_changed_program(name: &str, change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let archive = boot_archive();
    let mut builder = Builder::new();
    for file in Archive::parse(&archive).expect("an archive").files() {
        let mut contents = file.contents.to_vec();
        if file.name == name {
            change(&mut contents);
        }
        builder.add(file.name, contents).expect("it was in an archive before");
    }
    builder.finish().expect("it is as large as before")
}

/// Makes a program say that it was built for ABI 1.
fn age(program: &mut [u8]) {
    let name = b"Bulkhead\0\0\0\0";
    let at = program.windows(name.len()).position(|bytes| bytes == name).expect("a program has the note");
    program[at + name.len()..][..4].copy_from_slice(&1_u32.to_le_bytes());
}

#[test]
fn a_program_that_was_built_for_another_abi_is_not_started_and_the_others_are() {
    let archive = with_changed_program("echo", |program| age(program));
    let mut shell = with_module(&archive).boot();
    let log = shell.must("log echo");
    let expected = format!("built for ABI 1.{}, this system has {BUILT_FOR}: rebuild it", BUILT_FOR.start);
    assert!(log.contains(&expected), "{log}");
    shell.must("uptime");
    shell.shut_down();
}

#[test]
fn a_program_that_was_built_for_another_abi_does_not_get_into_an_image() {
    let mut program = fs::read(&system().programs["echo"]).expect("the program that was built");
    assert!(build::check_abi("echo", &program).is_ok());
    age(&mut program);
    let refusal = build::check_abi("echo", &program).expect_err("it is of another ABI").to_string();
    assert!(refusal.contains("`echo` was built for ABI 1."), "{refusal}");
    assert!(build::check_abi("xtask", &fs::read("/proc/self/exe").expect("this program")).is_err());
}
