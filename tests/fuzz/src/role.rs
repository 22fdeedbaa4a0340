//! What the registers of each system call are for, and how bytes choose a value for one.

use crate::bytes::Bytes;
use crate::playground::{INTERFACE, Machine};
use abi::fault::FAULT_INTERFACE;
use abi::rights::{Kind, RawRights};
use abi::syscall::{InterruptSource, MapAccess};
use abi::time::{NEVER, NOW};
use abi::{Syscall, USER_END};
use kernel_core::ThreadId;
use model::machine::{BUFFER, DATA, SLICE};

/// What a register is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Nothing: it is zero.
    Unused,
    /// A handle of this kind.
    Of(Kind),
    /// A handle of this kind, or none.
    Maybe(Kind),
    /// A handle of any kind.
    Any,
    /// Names a call.
    Token,
    /// Names a mapping.
    Mapping,
    /// Rights.
    Rights,
    /// An address.
    Address,
    /// A deadline.
    Deadline,
    /// A slice or a period.
    Time,
    /// An interface.
    Interface,
    /// How a range is mapped.
    Access,
    /// Where an interrupt comes from.
    Source,
    /// A port.
    Port,
    /// A count, a page, a level, a badge, bits: mostly a small number.
    Small,
    /// A table's length.
    Length,
}

/// Values at which something begins or ends.
const EDGES: [u64; 16] = [
    0,
    1,
    u16::MAX as u64,
    1 << 16,
    u32::MAX as u64,
    1 << 32,
    1 << 48,
    (1 << 62) - 1,
    1 << 62,
    1 << 63,
    u64::MAX,
    USER_END - 1,
    USER_END - 4096,
    USER_END,
    DATA + 4090,
    BUFFER,
];

/// The registers of a system call.
pub(crate) fn roles(syscall: Syscall) -> [Role; 6] {
    use Role::{
        Access, Address, Any, Deadline, Interface, Length, Mapping, Maybe, Of, Port, Rights, Small, Source, Time,
    };
    use Role::{Token, Unused};
    use Syscall as S;
    let given: &[Role] = match syscall {
        S::Call => &[Of(Kind::Endpoint), Unused, Deadline, Interface],
        S::Receive => &[Maybe(Kind::Endpoint), Small, Deadline],
        S::Reply => &[Token],
        S::ReplyReceive => &[Maybe(Kind::Endpoint), Unused, Deadline, Token, Small],
        S::ReplyFault => &[Token, Small],
        S::Forward => &[Token, Of(Kind::Endpoint)],
        S::Notify => &[Of(Kind::Notification), Small],
        S::Wait => &[Maybe(Kind::Notification), Deadline],
        S::LeaseRead | S::LeaseWrite => &[Token, Small, Small, Address, Small],
        S::LeaseInfo => &[Token, Small],
        S::CapCopy => &[Any, Rights, Small],
        S::CapGrant => &[Of(Kind::Domain), Any, Rights, Small],
        S::CapMove => &[Of(Kind::Domain), Any],
        S::CapDelete | S::CapRevoke | S::CapInfo | S::Destroy => &[Any],
        S::CapInspect => &[Of(Kind::Domain), Small],
        S::AccountCreate | S::AccountInfo => &[Of(Kind::Account), Address],
        S::EndpointCreate => &[Of(Kind::Account), Interface, Small, Small],
        S::NotificationCreate => &[Of(Kind::Account)],
        S::BudgetCreate => &[Of(Kind::Account), Small, Time, Time, Small],
        S::SpaceCreate | S::GuestSpaceCreate => &[Of(Kind::Account), Of(Kind::Memory), Small],
        S::DeviceSpaceCreate => &[Of(Kind::Account), Of(Kind::Memory), Small, Of(Kind::DeviceControl), Small],
        S::DeviceRoute => &[Of(Kind::DeviceControl), Of(Kind::Interrupt), Small],
        S::DeviceWatch => &[Of(Kind::DeviceControl), Maybe(Kind::Notification), Small],
        S::DeviceStray | S::DeviceInfo => &[Of(Kind::DeviceControl)],
        S::DomainCreate => &[Of(Kind::Account), Of(Kind::Space), Small, Length, Maybe(Kind::Endpoint), Small],
        S::ThreadCreate => &[Of(Kind::Account), Of(Kind::Domain), Of(Kind::Budget)],
        S::InterruptCreate => &[Of(Kind::InterruptControl), Source],
        S::EndpointBind | S::EndpointWatch => &[Of(Kind::Endpoint), Maybe(Kind::Notification), Small],
        S::BudgetMove => &[Of(Kind::Budget), Small],
        S::MemorySplit => &[Of(Kind::Memory), Small, Small, Rights],
        S::MemoryInfo => &[Of(Kind::Memory)],
        S::Map => &[Of(Kind::Space), Of(Kind::Memory), Address, Small, Small, Access],
        S::Unmap => &[Of(Kind::Space), Mapping],
        S::SpaceDonate => &[Of(Kind::Space), Of(Kind::Memory), Small, Small],
        S::ThreadBuffer => &[Of(Kind::Thread), Of(Kind::Memory), Small, Address],
        S::ThreadBind => &[Of(Kind::Thread), Maybe(Kind::Notification)],
        S::VcpuCreate => &[Of(Kind::Thread), Of(Kind::Space)],
        S::ThreadStart => &[Of(Kind::Thread), Address, Address, Small],
        S::ThreadStop => &[Of(Kind::Thread)],
        S::ThreadRead => &[Of(Kind::Thread), Address],
        S::ThreadLocal => &[Address],
        S::ThreadExit | S::ThreadPanic => &[Small],
        S::InterruptBind => &[Of(Kind::Interrupt), Of(Kind::Notification), Small],
        S::InterruptAck | S::InterruptMask | S::InterruptMessage => &[Of(Kind::Interrupt)],
        S::PortsSplit => &[Of(Kind::Ports), Port, Small, Rights],
        S::PortIn => &[Of(Kind::Ports), Port, Small],
        S::PortOut => &[Of(Kind::Ports), Port, Small, Small],
        S::LogRead => &[Of(Kind::System), Address, Small, Small],
        S::Statistics | S::EntryTimes => &[Of(Kind::System), Address],
        S::Yield | S::VcpuRun | S::Clock => &[],
    };
    let mut roles = [Unused; 6];
    roles[..given.len()].copy_from_slice(given);
    roles
}

impl Role {
    /// A value: mostly one that makes sense.
    pub(crate) fn read(self, bytes: &mut Bytes<'_>, machine: &Machine, thread: ThreadId) -> u64 {
        if self == Role::Unused {
            return 0;
        }
        let selector = bytes.byte();
        match selector {
            0xf0..0xf8 => return Bytes::one_of(bytes.byte(), &EDGES),
            0xf8..0xfc => return bytes.word(),
            // A handle of an earlier life, a value just beside one.
            0xfc..=0xff => return self.choose(bytes.byte(), machine, thread).wrapping_add(1 << (16 * (selector & 1))),
            _ => {}
        }
        self.choose(selector, machine, thread)
    }

    fn choose(self, selector: u8, machine: &Machine, thread: ThreadId) -> u64 {
        let held = |wanted: Option<Kind>| {
            let held =
                machine.kernel.held_by(thread).filter(|(_, kind, ..)| wanted.is_none_or(|wanted| wanted == *kind));
            Bytes::one_of(selector, &held.map(|(handle, ..)| handle.0).collect::<Vec<u64>>())
        };
        let one_of = |values: &[u64]| Bytes::one_of(selector, values);
        match self {
            Role::Unused => 0,
            Role::Of(kind) => held(Some(kind)),
            Role::Maybe(_) if selector >= 0xe0 => 0,
            Role::Maybe(kind) => held(Some(kind)),
            Role::Any => held(None),
            Role::Token => {
                let threads = machine.kernel.living_threads();
                one_of(&threads.map(|thread| machine.kernel.latest_call(thread).0).collect::<Vec<u64>>())
            }
            Role::Mapping => one_of(&machine.kernel.mapping_ids().collect::<Vec<u64>>()),
            Role::Rights => one_of(&[RawRights::MAX.into(), RawRights::MAX.into(), 1, 2, 3, 7, 0x1f, 0]),
            Role::Address => one_of(&[DATA, DATA + 8, BUFFER, 0x40_4000, 0x40_5000, 0x80_0000, 0x4000_0000, 0x1000]),
            Role::Deadline => one_of(&[NEVER, NOW, machine.now + SLICE / 2, machine.now + 3 * SLICE]),
            Role::Time => one_of(&[SLICE, SLICE / 4, SLICE / 1000, 2 * SLICE]),
            Role::Interface => one_of(&[INTERFACE, INTERFACE, INTERFACE, FAULT_INTERFACE]),
            Role::Access => {
                one_of(&[MapAccess::ReadWrite as u64, MapAccess::Read as u64, MapAccess::ReadExecute as u64, 7])
            }
            Role::Source => one_of(&[InterruptSource::Message.to_register(), 4, 0x100, 3, 16]),
            Role::Port => one_of(&[0x3f8, 0x3f9, 0x80, 0xffff]),
            Role::Length => one_of(&[16, 32, 16, 64]),
            Role::Small if selector < 0xc0 => u64::from(selector) % 16,
            Role::Small => one_of(&[250, 252, 251, 249, 255, 256, 16, 64]),
        }
    }
}
