//! An Ethernet switch between its clients.
//!
//! Each client is a port, with one address that follows from which domain it is. So the switch learns nothing: whom a frame is
//! for is known before anybody has sent one, and no frame can change it. What a client sends from another address goes nowhere.
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

mod forwarding;
mod service;

pub use forwarding::{Line, LineClosed, Offered, ROUND_FRAMES, Switch};
pub use service::{Ports, RingLine, Service};
