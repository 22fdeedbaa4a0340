//! `cargo xtask`.

fn main() {
    match xtask::setup::ensure() {
        Ok(s) => println!("{}", s.path().display()),
        Err(e) => eprintln!("{e}"),
    }
}
