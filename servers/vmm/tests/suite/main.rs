//! The device models, the instruction emulation and the boot, driven as a guest drives them and as none should.

mod boot;
mod clocks;
mod instructions;
mod interrupts;
mod machines;
mod pics;
mod serial;
mod virtio;
