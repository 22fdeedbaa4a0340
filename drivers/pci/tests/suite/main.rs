//! The PCI server's rules against machines made up for the purpose, honest and hostile ones.

mod arrivals;
mod bars;
mod capabilities;
mod claims;
mod enumeration;
mod machine;
mod messages;
mod placements;
mod plain_messages;
mod restarts;
mod service;
mod slots;
