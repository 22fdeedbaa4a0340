//! What the kernel promises, one sentence a test, on a machine made of maps. Every entry into the core is followed by a
//! check of every invariant.

mod accounts;
mod boot;
mod budgets;
mod calls;
mod capabilities;
mod deadlines;
mod device_spaces;
mod devices;
mod documents;
mod domains;
mod faults;
mod forwards;
mod hostile;
mod leases;
mod mapping;
mod notifications;
mod processors;
mod round_trip;
mod scene;
mod shares;
mod teardown;
mod threads;
mod transfer;
mod watches;
