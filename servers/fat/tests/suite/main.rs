//! The file system against images made by `mkfs.fat`, with `fsck.fat -n` as the judge.

mod crash;
mod damage;
mod direct;
mod sequences;
mod service;
mod support;
mod volume;
