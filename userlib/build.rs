//! Tells the linker where programs lie in their address space: the linker script `user.ld` goes into the link of every
//! program that depends on this crate, wherever that program's own crate is, as a library of that name would.

fn main() {
    let folder = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    println!("cargo:rerun-if-changed=user.ld");
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        println!("cargo:rustc-link-search=native={folder}");
        println!("cargo:rustc-link-lib=dylib:+verbatim=user.ld");
    }
}
