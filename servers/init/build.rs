//! Tells the linker where user programs are linked to.

fn main() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../userlib/user.ld");
    println!("cargo:rustc-link-arg-bins=-T{script}");
    println!("cargo:rerun-if-changed={script}");
}
