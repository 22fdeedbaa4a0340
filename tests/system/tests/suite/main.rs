//! The whole system, seen from outside: what a person at its shell sees, and what is on its disk afterwards.

mod authority;
mod boot;
mod commands;
mod copy;
mod crash_loops;
mod crash_records;
mod crashes;
mod device_errors;
mod direct;
mod escalation;
mod files;
mod groups;
mod hardships;
mod hot_unplug;
mod interrupted_writes;
mod noise;
mod on_death;
mod processors;
mod refusals;
mod replay;
mod scaffold;
mod scripts;
mod sessions;
mod strays;
mod supervision;
mod tutorial;
