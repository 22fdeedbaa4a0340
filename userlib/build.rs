//! Tells the linker where programs lie in their address space: the linker script `user.ld` goes into the link of every
//! program that depends on this crate, wherever that program's own crate is, as a library of that name would.

use std::env;
use std::fs;
use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=user.ld");
    println!("cargo:rerun-if-changed=build.rs");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        // A copy, which stays where it is for as long as what was built lasts: the tree may be moved, or be a copy itself.
        let folder = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
        fs::copy("user.ld", folder.join("user.ld")).expect("the linker script can be copied");
        println!("cargo:rustc-link-search=native={}", folder.display());
        println!("cargo:rustc-link-lib=dylib:+verbatim=user.ld");
    }
}
