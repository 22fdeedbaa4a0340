//! What is behind `cargo xtask`: setting up a machine, building the system, booting it in QEMU, talking to its
//! shell, and the test suites, measurements and audits that use all of that.
//!
//! It is a library so that the system tests (`tests/system`) drive the machine with the very code that
//! `cargo xtask run` uses. The program in `main.rs` only reads arguments and turns errors into exit codes.

pub mod audit;
pub mod bench;
pub mod book;
pub mod build;
pub mod console;
pub mod coverage;
pub mod crashes;
pub mod disk;
pub mod doctor;
pub mod fault;
pub mod fuzz;
pub mod guest;
pub mod linux;
pub mod machine;
pub mod manifest;
pub mod messages;
pub mod mutants;
pub mod process;
pub mod progress;
pub mod replay;
pub mod run;
pub mod scaffold;
pub mod session;
pub mod setup;
pub mod suites;
pub mod workspace;
