//! Guests: machines inside the machine, whose memory is a space and whose processors are threads.
//!
//! A monitor makes a [`GuestSpace`], maps memory into it, and a [`Vcpu`] for each processor of the guest. [`Vcpu::run`] enters the
//! guest and comes back when there is something that only the monitor can do. All that the monitor makes of it is its own
//! affair: nothing of this gives it more authority than it has.

pub mod layout;
mod processor;
mod space;
mod vcpu;

pub use processor::{Identification, identification, random_word, timestamp};
pub use space::GuestSpace;
pub use vcpu::{Kicker, Left, Seat, Vcpu, VcpuError};
