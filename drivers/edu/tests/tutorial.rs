//! The book's chapter on drivers shows this driver, and nothing else.

use std::fs;
use std::path::Path;

/// The chapter.
const CHAPTER: &str = "docs/tutorial/driver.md";

/// The blocks of code that name their file in a comment at their beginning: the file, and the code.
fn blocks(chapter: &str) -> Vec<(&str, &str)> {
    let mut parts = chapter.split("```");
    parts.next();
    parts
        .step_by(2)
        .filter_map(|block| block.strip_prefix("rust\n// "))
        .filter_map(|block| block.split_once('\n'))
        .filter(|(file, _)| file.ends_with(".rs"))
        .collect()
}

#[test]
fn every_piece_of_code_in_the_chapter_is_in_the_file_that_it_names() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let chapter = fs::read_to_string(root.join(CHAPTER)).expect("the chapter is there");
    let blocks = blocks(&chapter);
    assert!(blocks.len() >= 10, "only {} pieces of code were found", blocks.len());
    for (file, code) in blocks {
        let source =
            fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{CHAPTER} names {file}: {error}"));
        assert!(source.contains(code.trim_end()), "{CHAPTER} shows what {file} does not have:\n{code}");
    }
}

#[test]
fn the_chapter_plugs_the_device_in_as_the_driver_expects_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let chapter = fs::read_to_string(root.join(CHAPTER)).expect("the chapter is there");
    assert!(chapter.contains("vendor = 0x1234, devices = [0x11e8], interrupts = 1, qemu = \"edu\""));
}
