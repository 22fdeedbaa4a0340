//! Guests, seen from outside: what a person at the shell sees of them, what they leave on their disks, and that they harm nobody.

mod appliance;
mod boot;
mod console;
mod disk;
mod fetched;
mod harm;
mod network;
mod power;
mod several;
