//! Interrupt controllers: a local APIC for each processor, an I/O APIC, the old pair of 8259 PICs, and what carries
//! interrupts between them.

mod fabric;
mod io_apic;
mod local_apic;
mod message;
mod pic;

pub use fabric::{Fabric, Pending, Signal};
pub use io_apic::{IoApic, PINS};
pub use local_apic::{BUS_HERTZ, Consequence, LocalApic, MIN_PERIOD_NS};
pub use message::{Delivery, Destination, Message, Trigger};
pub use pic::PicPair;
