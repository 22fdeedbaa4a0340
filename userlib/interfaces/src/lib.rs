//! The standard interfaces between Bulkhead's domains.
//!
//! Each is a trait under `userlib::interface`, which makes a client, a server trait and a dispatcher of it. The ids are
//! in [`ALL`], for those who check on the host which domains fit together.
#![cfg_attr(target_os = "none", no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod block;
pub mod console;
pub mod crash;
pub mod crash_log;
pub mod crash_report;
pub mod echo;
pub mod file_ring;
pub mod filesystem;
pub mod guest;
pub mod link;
pub mod mutation;
pub mod pci;
pub mod stream;
pub mod supervision;

// What a crate outside of this repository needs, it finds in `userlib` itself.
pub use userlib::command;
use userlib::ipc::InterfaceInfo;
pub(crate) use userlib::sentences;

/// Every standard interface.
pub const ALL: &[InterfaceInfo] = &[
    block::BlockClient::INTERFACE,
    command::CommandClient::INTERFACE,
    console::ConsoleClient::INTERFACE,
    echo::EchoClient::INTERFACE,
    filesystem::FilesystemClient::INTERFACE,
    guest::GuestClient::INTERFACE,
    link::LinkClient::INTERFACE,
    pci::PciClient::INTERFACE,
    stream::StreamClient::INTERFACE,
    supervision::SupervisionClient::INTERFACE,
];

/// The standard interface with this name, in the version that this library has.
pub fn by_name(name: &str) -> Option<&'static InterfaceInfo> {
    ALL.iter().find(|interface| interface.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_interfaces_share_a_name_or_an_id() {
        for (index, a) in ALL.iter().enumerate() {
            assert_ne!(a.id, userlib::abi::fault::FAULT_INTERFACE);
            for b in &ALL[index + 1..] {
                assert_ne!(a.name, b.name);
                assert_ne!(a.id, b.id, "{} and {}", a.name, b.name);
            }
        }
    }

    #[test]
    fn an_id_follows_from_name_and_version() {
        for interface in ALL {
            assert_eq!(interface.id, userlib::ipc::interface_id(interface.name, interface.version));
        }
    }

    #[test]
    fn interfaces_are_found_by_name() {
        assert_eq!(by_name("echo"), Some(&echo::EchoClient::INTERFACE));
        assert_eq!(by_name("no-such"), None);
    }
}
