//! Commands on files.

use crate::conversation::World;
use crate::doubles::Mishap;
use interfaces::filesystem::FsError;
use sha2::{Digest, Sha256};
use std::time::Duration;

fn world() -> World {
    let world = World::default();
    world.files.put("/readme.txt", "hello\nworld\n");
    world.files.put_folder("/a");
    world.files.put_folder("/a/b");
    world.files.put("/a/b/deep", "x");
    world.files.put("/a/Zebra", "zz");
    world.files.put("/a/apple", "");
    world
}

#[test]
fn ls_lists_folders_by_name() {
    let world = world();
    let mut shell = world.shell();
    assert_eq!(shell.done("ls /"), "disk/\n");
    assert_eq!(shell.done("ls /disk"), "a/\nreadme.txt\n");
    assert_eq!(shell.done("ls"), "a/\nreadme.txt\n");
    assert_eq!(shell.done("ls a"), "apple\nb/\nZebra\n");
    assert_eq!(shell.done("ls a/apple"), "/disk/a/apple\n");
    assert_eq!(
        shell.done("ls -l a"),
        "MODE  LENGTH  CHANGED              NAME\n\
         rw         0  2024-02-29 12:34:56  apple\n\
         rw         -  2024-02-29 12:34:56  b/\n\
         rw         2  2024-02-29 12:34:56  Zebra\n"
    );
    assert_eq!(
        shell.refused("ls /disk/nope"),
        "ls: cannot list /disk/nope: no such file or directory; `ls /disk` shows what is there.\n"
    );
    assert_eq!(
        shell.refused("ls /tmp"),
        "ls: cannot list /tmp: no such file or directory; all files are below /disk.\n"
    );
}

#[test]
fn a_folder_of_many_files_is_listed_whole() {
    let world = World::default();
    for number in 0..50 {
        world.files.put(&format!("/{number:02}"), "");
    }
    let expected: String = (0..50).map(|number| format!("{number:02}\n")).collect();
    assert_eq!(world.shell().done("ls"), expected);
}

#[test]
fn relative_paths_begin_in_the_current_folder() {
    let world = world();
    let mut shell = world.shell();
    shell.done("cd a/b");
    assert_eq!(shell.done("pwd"), "/disk/a/b\n");
    assert_eq!(shell.done("cat deep"), "x\n");
    assert_eq!(shell.done("cat ../../readme.txt"), "hello\nworld\n");
    assert_eq!(shell.refused("cd deep"), "cd: cannot go to /disk/a/b/deep: it is a file; name a folder.\n");
    shell.done("cd /");
    assert_eq!(shell.done("ls"), "disk/\n");
    shell.done("cd");
    assert_eq!(shell.done("pwd"), "/disk\n");
}

#[test]
fn cat_shows_exactly_the_files_bytes_in_large_pieces() {
    let world = world();
    let mut text = String::new();
    for number in 0..40_000 {
        text.push_str(&format!("line {number}\n"));
    }
    world.files.put("/large", text.clone());
    let mut shell = world.shell();
    assert!(shell.done("cat large") == text, "the file's text");
    assert!(world.files.largest_read.get() >= 64 * 1024);
    assert!(world.desk.largest_write.get() >= 16 * 1024);
    assert_eq!(world.files.open_files(), 0);
    assert_eq!(shell.done("cat readme.txt a/Zebra"), "hello\nworld\nzz\n");
}

#[test]
fn what_cat_shows_can_be_turned_back_into_the_files_bytes() {
    let world = world();
    let bytes: Vec<u8> =
        (0..2_000_u32).map(|number| b"\r\n\x1bab"[number.wrapping_mul(0x9e37_79b9) as usize % 5]).collect();
    world.files.put("/strange", bytes.clone());
    let shown = world.shell().types("cat strange\r");
    let shown = shown.strip_prefix("cat strange\r\n").and_then(|shown| shown.strip_suffix("bulkhead> "));
    let turned_back = shown.expect("there are echo and prompt").replace("\r\n", "\n");
    assert!(turned_back.as_bytes().starts_with(&bytes) && turned_back.len() <= bytes.len() + 1);
}

#[test]
fn cat_goes_on_with_the_next_file_after_one_that_fails() {
    let world = world();
    let answer = world.shell().refused("cat nope readme.txt a");
    assert_eq!(
        answer,
        "cat: cannot read /disk/nope: no such file or directory; `ls /disk` shows what is there.\n\
         hello\nworld\n\
         cat: cannot read /disk/a: it is a directory; `ls` shows what is in it.\n"
    );
}

#[test]
fn a_file_server_that_dies_ends_the_command_with_a_sentence_and_the_next_one_works() {
    let world = world();
    world.files.put("/large", vec![b'x'; 300_000]);
    let mut shell = world.shell();
    world.files.arrange("read", 2, Mishap::Forgets);
    let shown = shell.refused("cat large");
    assert!(
        shown.ends_with(
            "\ncat: cannot read /disk/large: the file server was restarted, and the file is no longer open; run the \
             command again.\n"
        ),
        "{}",
        &shown[shown.len() - 200..]
    );
    assert_eq!(shell.done("cat large").len(), 300_001);
    world.files.arrange("rename", 0, Mishap::Dies);
    let shown = shell.refused("mv large larger");
    assert!(shown.contains("the file server died while it was working on it, so it may be done or not"), "{shown}");
    shell.done("mv large larger");
}

#[test]
fn ctrl_c_ends_a_long_command_at_its_next_step() {
    let world = world();
    world.files.put("/huge", vec![b'\n'; 20_000_000]);
    let mut shell = world.shell();
    world.desk.interrupt_at.set(Some(Duration::from_secs(1)));
    let shown = shell.refused("cat huge");
    assert!(shown.ends_with("cat: stopped by Ctrl-C.\n"));
    assert!(shown.len() < 20_000_000, "it has not ended early");
    assert_eq!(world.files.open_files(), 0);
    shell.done("pwd");
}

#[test]
fn write_replaces_and_appends() {
    let world = world();
    let mut shell = world.shell();
    shell.done("write note some  words");
    assert_eq!(world.files.contents("/note").as_deref(), Some(&b"some words\n"[..]));
    shell.done("write -a note 'and  more'");
    assert_eq!(world.files.contents("/note").as_deref(), Some(&b"some words\nand  more\n"[..]));
    shell.done("write note -- short");
    assert_eq!(world.files.contents("/note").as_deref(), Some(&b"-- short\n"[..]));
    shell.refused("write a text");
    shell.refused("write / text");
    assert_eq!(world.files.open_files(), 0);
}

#[test]
fn a_write_that_the_disk_has_no_room_for_is_no_success() {
    let world = world();
    world.files.arrange("write", 0, Mishap::WritesOnly(2));
    assert_eq!(
        world.shell().refused("write note text"),
        "write: cannot write /disk/note: the disk is full; `df` shows what is free, `rm` makes room.\n"
    );
}

#[test]
fn a_write_whose_server_died_before_it_was_closed_is_no_success() {
    let world = world();
    world.files.arrange("close", 0, Mishap::Forgets);
    let shown = world.shell().refused("write note text");
    assert!(shown.contains("the file server was restarted"), "{shown}");
}

#[test]
fn cp_copies_to_a_new_file_into_a_folder_and_over_a_file() {
    let world = world();
    world.files.put("/large", (0..200_000_u32).map(|number| number as u8).collect::<Vec<u8>>());
    let large = world.files.contents("/large");
    let mut shell = world.shell();
    shell.done("cp large copy");
    assert_eq!(world.files.contents("/copy"), large);
    shell.done("cp large a");
    assert_eq!(world.files.contents("/a/large"), large);
    shell.done("cp large readme.txt");
    assert_eq!(world.files.contents("/readme.txt"), large);
    assert!(world.files.paths().iter().all(|path| !path.contains(".tmp")), "{:?}", world.files.paths());
    assert!(shell.refused("cp large ./large").contains("onto itself"));
    assert!(shell.refused("cp a b").contains("it is a folder"));
    assert_eq!(world.files.open_files(), 0);
}

#[test]
fn a_copy_that_fails_leaves_the_old_file_and_no_half_of_a_new_one() {
    let world = world();
    world.files.put("/large", vec![b'x'; 300_000]);
    let mut shell = world.shell();
    for mishap in [Mishap::Refuses(FsError::NoSpace), Mishap::Dies, Mishap::WritesOnly(10)] {
        world.files.arrange("write", 2, mishap);
        shell.refused("cp large readme.txt");
        world.files.arrange("write", 2, mishap);
        shell.refused("cp large new");
        assert_eq!(world.files.contents("/readme.txt").as_deref(), Some(&b"hello\nworld\n"[..]));
        assert_eq!(world.files.paths(), ["/a", "/a/Zebra", "/a/apple", "/a/b", "/a/b/deep", "/large", "/readme.txt"]);
    }
    world.files.arrange("read", 1, Mishap::Refuses(FsError::DeviceFailed));
    assert!(shell.refused("cp large new").contains("cannot read /disk/large: the disk could not read or write"));
    assert_eq!(world.files.contents("/new"), None);
}

#[test]
fn files_and_folders_are_moved_made_and_removed() {
    let world = world();
    let mut shell = world.shell();
    shell.done("mv readme.txt a");
    shell.done("mv a/readme.txt 'read me'");
    assert!(world.files.contents("/read me").is_some());
    assert!(shell.refused("mv nope x").contains("cannot move /disk/nope: no such file"));
    shell.done("mkdir one one/two");
    assert!(shell.refused("mkdir one").contains("exists already"));
    assert!(shell.refused("rmdir one").contains("the directory is not empty; remove what is in it first"));
    shell.done("rmdir one/two one");
    assert!(shell.refused("rm a").contains("it is a folder; `rmdir` removes it if it is empty"));
    assert!(shell.refused("rm nope 'read me'").contains("no such file"));
    assert_eq!(world.files.contents("/read me"), None, "the others are removed all the same");
    assert!(shell.refused("rmdir /").contains("it only holds the folder `disk`"));
    assert!(shell.refused("rmdir /disk").contains("the root directory cannot be removed"));
    shell.done("sync");
}

#[test]
fn sum_shows_what_sha256sum_would() {
    let world = world();
    let noise: Vec<u8> = (0..150_000_u32).map(|number| ((number * 7) >> 3) as u8).collect();
    world.files.put("/a/noise", noise.clone());
    let line = |bytes: &[u8], path: &str| {
        let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{digest}  {path}\n")
    };
    let mut shell = world.shell();
    assert_eq!(
        shell.done("sum readme.txt a/noise"),
        line(b"hello\nworld\n", "/disk/readme.txt") + &line(&noise, "/disk/a/noise")
    );
    let all = [
        line(b"", "/disk/a/apple"),
        line(b"x", "/disk/a/b/deep"),
        line(&noise, "/disk/a/noise"),
        line(b"zz", "/disk/a/Zebra"),
        line(b"hello\nworld\n", "/disk/readme.txt"),
    ];
    assert_eq!(shell.done("sum -r /disk"), all.concat());
    assert_eq!(shell.done("sum -r /"), all.concat());
    assert_eq!(shell.done("sum -r readme.txt"), all[4]);
    assert!(shell.refused("sum a").contains("it is a directory"));
    world.files.arrange("read", 1, Mishap::Refuses(FsError::DeviceFailed));
    let shown = shell.refused("sum -r /disk");
    assert_eq!(shown.lines().count(), 5, "one fails and the others are read: {shown}");
}

#[test]
fn fill_writes_bytes_that_anybody_can_compute() {
    let world = world();
    let mut shell = world.shell();
    shell.done("fill noise 100K 7");
    let mut expected = vec![0; 100 << 10];
    shell::pattern::Pattern::new(7).fill(&mut expected);
    assert_eq!(world.files.contents("/noise"), Some(expected));
    shell.done("fill noise 0 7");
    assert_eq!(world.files.contents("/noise"), Some(vec![]));
    assert!(shell.refused("fill noise much 7").contains("`much` is no size"));
    assert!(shell.refused("fill noise 1K x").contains("`x` is no number"));
}

#[test]
fn stat_and_df_show_what_is_known() {
    let world = world();
    let mut shell = world.shell();
    assert_eq!(
        shell.done("stat readme.txt a"),
        "/disk/readme.txt\n  a file of 12 bytes\n  changed: 2024-02-29 12:34:56\n  can be read and written\n\
         /disk/a\n  a folder\n  changed: 2024-02-29 12:34:56\n  can be read and written\n"
    );
    assert_eq!(
        shell.done("df"),
        "FOLDER  LABEL  FORMAT   SIZE   USED   FREE   UNIT  MODE\n\
         /disk   TEST   FAT32   4 MiB  3 MiB  1 MiB  4 KiB  rw\n"
    );
}

#[test]
fn without_a_disk_every_command_on_files_says_so() {
    let world = world();
    world.files.missing.set(Some(FsError::NoDisk));
    let mut shell = world.shell();
    assert!(shell.types("\r").contains("cannot use /disk"));
    for command in [
        "ls",
        "cat x",
        "write x y",
        "cp x y",
        "mv x y",
        "rm x",
        "mkdir x",
        "rmdir x",
        "sync",
        "sum x",
        "df",
        "stat x",
        "fill x 1 1",
    ] {
        let shown = shell.refused(command);
        assert!(shown.contains("there is no disk; give the machine a disk"), "{command}: {shown}");
    }
    assert_eq!(shell.done("ls /"), "disk/\n");
}
