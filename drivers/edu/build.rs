//! Tells the linker where user programs are linked to; a build for the host needs no place.

fn main() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../userlib/user.ld");
    println!("cargo:rerun-if-changed={script}");
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        println!("cargo:rustc-link-arg-bins=-T{script}");
    }
}
