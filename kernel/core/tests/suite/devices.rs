//! Interrupts, ports, the log and statistics.

use crate::scene::{ALL, boot, notification, refused, statistics};
use abi::rights::{InterruptRights, NotificationRights, PortsRights, SystemRights};
use abi::syscall::InterruptSource;
use abi::time::NOW;
use abi::{Error, Syscall, root};
use kernel_core::CpuId;
use kernel_core::{Effect, InterruptId};
use model::machine::{DATA, own};

const MESSAGE: u64 = InterruptSource::Message.to_register();

/// The interrupt that was connected last.
fn connected(m: &crate::scene::M) -> InterruptId {
    *m.world.connected.keys().last().expect("an interrupt is connected")
}

#[test]
fn an_interrupt_sets_its_bits_once_it_is_acknowledged() {
    let mut m = boot();
    let bits = notification(&mut m);
    let interrupt = m.make(Syscall::InterruptCreate, &[root::INTERRUPTS.0, 4]);
    m.sys(Syscall::InterruptBind, &[interrupt.0, bits.0, 8]).unwrap();
    let line = connected(&m);
    // It starts masked: one that comes all the same is dropped.
    assert!(!m.world.connected[&line]);
    m.interrupt(line);
    assert_eq!(m.sys(Syscall::Wait, &[bits.0, NOW]), Err(Error::WouldBlock));
    m.sys(Syscall::InterruptAck, &[interrupt.0]).unwrap();
    assert!(m.world.connected[&line]);
    m.interrupt(line);
    assert_eq!(m.sys(Syscall::Wait, &[bits.0, NOW]).unwrap()[0], 8);
    m.sys(Syscall::InterruptMask, &[interrupt.0]).unwrap();
    assert!(!m.world.connected[&line]);
    m.interrupt(line);
    assert_eq!(m.sys(Syscall::Wait, &[bits.0, NOW]), Err(Error::WouldBlock));
}

#[test]
fn a_message_signalled_interrupt_comes_through_a_write() {
    let mut m = boot();
    let root = m.root.thread;
    let interrupt = m.make(Syscall::InterruptCreate, &[root::INTERRUPTS.0, MESSAGE]);
    let [address, data, ..] = m.sys(Syscall::InterruptMessage, &[interrupt.0]).unwrap();
    assert_eq!((address, data), (0xfee0_0000, u64::from(connected(&m).vector())));
    let line = m.make(Syscall::InterruptCreate, &[root::INTERRUPTS.0, 4]);
    refused(&mut m, root, Syscall::InterruptMessage, &[line.0], Error::WrongState);
    let weak = m.make(Syscall::CapCopy, &[interrupt.0, InterruptRights::HANDLE.bits().into(), 0]);
    refused(&mut m, root, Syscall::InterruptMessage, &[weak.0], Error::MissingRight);
    let blind = m.make(Syscall::CapCopy, &[interrupt.0, InterruptRights::MESSAGE.bits().into(), 0]);
    refused(&mut m, root, Syscall::InterruptAck, &[blind.0], Error::MissingRight);
    refused(&mut m, root, Syscall::InterruptMask, &[blind.0], Error::MissingRight);
    refused(&mut m, root, Syscall::Destroy, &[blind.0], Error::MissingRight);
}

#[test]
fn a_line_is_held_once_and_free_when_its_holder_is_gone() {
    let mut m = boot();
    let root = m.root.thread;
    let first = m.make(Syscall::InterruptCreate, &[root::INTERRUPTS.0, 4]);
    refused(&mut m, root, Syscall::InterruptCreate, &[root::INTERRUPTS.0, 4], Error::InUse);
    m.sys(Syscall::Destroy, &[first.0]).unwrap();
    assert!(m.world.connected.is_empty());
    let second = m.make(Syscall::InterruptCreate, &[root::INTERRUPTS.0, 4]);
    m.sys(Syscall::CapDelete, &[second.0]).unwrap();
    assert!(m.world.connected.is_empty());
}

#[test]
fn sources_that_do_not_exist_and_vectors_beyond_the_last_are_refused() {
    let mut m = boot();
    let root = m.root.thread;
    let control = root::INTERRUPTS.0;
    for wrong in [16, 0xff, 0x101, u64::MAX] {
        refused(&mut m, root, Syscall::InterruptCreate, &[control, wrong], Error::BadArgument);
    }
    m.world.lines.remove(&3);
    refused(&mut m, root, Syscall::InterruptCreate, &[control, 3], Error::NoHardware);
    let weak = m.make(Syscall::CapCopy, &[control, 0, 0]);
    refused(&mut m, root, Syscall::InterruptCreate, &[weak.0, 4], Error::MissingRight);
    while m.sys(Syscall::InterruptCreate, &[control, MESSAGE]).is_ok() {}
    refused(&mut m, root, Syscall::InterruptCreate, &[control, MESSAGE], Error::QuotaExceeded);
}

#[test]
fn every_line_is_held_by_itself() {
    for line in 0..16 {
        let mut m = boot();
        let root = m.root.thread;
        m.make(Syscall::InterruptCreate, &[root::INTERRUPTS.0, line]);
        refused(&mut m, root, Syscall::InterruptCreate, &[root::INTERRUPTS.0, line], Error::InUse);
        m.make(Syscall::InterruptCreate, &[root::INTERRUPTS.0, (line + 1) % 16]);
    }
}

#[test]
fn binding_an_interrupt_needs_bits_that_its_binder_may_set() {
    let mut m = boot();
    let root = m.root.thread;
    let bits = notification(&mut m);
    let interrupt = m.make(Syscall::InterruptCreate, &[root::INTERRUPTS.0, MESSAGE]);
    let badged = m.make(Syscall::CapCopy, &[bits.0, NotificationRights::NOTIFY.bits().into(), 2]);
    refused(&mut m, root, Syscall::InterruptBind, &[interrupt.0, badged.0, 1], Error::BadArgument);
    refused(&mut m, root, Syscall::InterruptBind, &[interrupt.0, bits.0, 0], Error::BadArgument);
    refused(&mut m, root, Syscall::InterruptBind, &[interrupt.0, 0, 1], Error::BadHandle);
    m.sys(Syscall::InterruptBind, &[interrupt.0, badged.0, 2]).unwrap();
}

#[test]
fn an_interrupt_whose_notification_is_gone_is_harmless() {
    let mut m = boot();
    let bits = notification(&mut m);
    let interrupt = m.make(Syscall::InterruptCreate, &[root::INTERRUPTS.0, 4]);
    m.sys(Syscall::InterruptBind, &[interrupt.0, bits.0, 1]).unwrap();
    m.sys(Syscall::InterruptAck, &[interrupt.0]).unwrap();
    m.sys(Syscall::Destroy, &[bits.0]).unwrap();
    let next = notification(&mut m);
    m.interrupt(connected(&m));
    assert_eq!(m.sys(Syscall::Wait, &[next.0, NOW]), Err(Error::WouldBlock));
    // And one that nobody holds any more.
    let line = connected(&m);
    m.sys(Syscall::Destroy, &[interrupt.0]).unwrap();
    assert_eq!(m.kernel.interrupt(CpuId::BOOT, line, m.now), Effect::None);
}

#[test]
fn an_interrupt_wakes_who_waits_for_it() {
    let mut m = boot();
    let root = m.root.thread;
    let bits = notification(&mut m);
    let interrupt = m.make(Syscall::InterruptCreate, &[root::INTERRUPTS.0, 4]);
    m.sys(Syscall::InterruptBind, &[interrupt.0, bits.0, 1]).unwrap();
    m.sys(Syscall::InterruptAck, &[interrupt.0]).unwrap();
    crate::scene::waits(&mut m, root, Syscall::Wait, &[bits.0, abi::time::NEVER]);
    assert_eq!(m.current(), None);
    m.interrupt(connected(&m));
    assert_eq!(m.result_of(root).unwrap()[0], 1);
}

#[test]
fn every_interrupt_has_a_vector_of_its_own_between_the_exceptions_and_the_kernels() {
    for index in 1..=InterruptId::VECTORS {
        let interrupt = InterruptId::from_index(index).unwrap();
        assert!((0x31..=0xef).contains(&interrupt.vector()));
        assert_eq!(InterruptId::from_vector(interrupt.vector()), Some(interrupt));
    }
    assert_eq!(InterruptId::from_vector(0x30), None);
    assert_eq!(InterruptId::from_vector(0xf0), None);
}

#[test]
fn ports_are_read_and_written_within_the_range_held() {
    let mut m = boot();
    let root = m.root.thread;
    let part = m.make(Syscall::PortsSplit, &[root::PORTS.0, 0x3f8, 8, ALL]);
    m.sys(Syscall::PortOut, &[part.0, 0x3f8, 1, 0x41]).unwrap();
    assert_eq!(m.sys(Syscall::PortIn, &[part.0, 0x3f8, 1]).unwrap()[0], 0x41);
    assert_eq!(m.sys(Syscall::PortIn, &[part.0, 0x3fc, 4]).unwrap()[0], u64::from(u32::MAX));
    for (port, width) in [(0x3f7, 1), (0x400, 1), (0x3fd, 4), (0x3ff, 2), (u64::MAX, 1), (0x1_03f8, 1)] {
        refused(&mut m, root, Syscall::PortIn, &[part.0, port, width], Error::BadArgument);
        refused(&mut m, root, Syscall::PortOut, &[part.0, port, width, 0], Error::BadArgument);
    }
    for width in [0, 3, 8, u64::MAX] {
        refused(&mut m, root, Syscall::PortIn, &[part.0, 0x3f8, width], Error::BadArgument);
    }
    refused(&mut m, root, Syscall::PortOut, &[part.0, 0x3f8, 4, 1 << 32], Error::BadArgument);
}

#[test]
fn port_rights_only_shrink() {
    let mut m = boot();
    let root = m.root.thread;
    let input = m.make(Syscall::PortsSplit, &[root::PORTS.0, 0x60, 1, PortsRights::IN.bits().into()]);
    refused(&mut m, root, Syscall::PortOut, &[input.0, 0x60, 1, 0], Error::MissingRight);
    refused(&mut m, root, Syscall::PortsSplit, &[input.0, 0x60, 1, ALL], Error::MissingRight);
    let part = m.make(Syscall::PortsSplit, &[root::PORTS.0, 0x60, 2, ALL]);
    for (first, count) in [(0x5f, 2), (0x61, 2), (0x60, 0), (0x60, u64::MAX), (0x62, 1)] {
        refused(&mut m, root, Syscall::PortsSplit, &[part.0, first, count, ALL], Error::BadArgument);
    }
    m.sys(Syscall::CapRevoke, &[root::PORTS.0]).unwrap();
    refused(&mut m, root, Syscall::PortIn, &[input.0, 0x60, 1], Error::StaleHandle);
    m.sys(Syscall::PortIn, &[root::PORTS.0, 0xffff, 1]).unwrap();
    refused(&mut m, root, Syscall::PortIn, &[root::PORTS.0, 0xffff, 2], Error::BadArgument);
}

#[test]
fn the_log_is_read_into_memory_that_is_the_readers() {
    let mut m = boot();
    let root = m.root.thread;
    assert_eq!(m.sys(Syscall::LogRead, &[own::SYSTEM.0, DATA, 100, 7]).unwrap()[..2], [3, 10]);
    assert_eq!(m.load(DATA, 3), b"log");
    refused(&mut m, root, Syscall::LogRead, &[own::SYSTEM.0, 0x9000_0000, 8, 0], Error::BadAddress);
    refused(&mut m, root, Syscall::LogRead, &[own::SYSTEM.0, u64::MAX, 8, 0], Error::BadAddress);
    let weak = m.make(Syscall::CapCopy, &[own::SYSTEM.0, SystemRights::INSPECT.bits().into(), 0]);
    refused(&mut m, root, Syscall::LogRead, &[weak.0, DATA, 8, 0], Error::MissingRight);
    let blind = m.make(Syscall::CapCopy, &[own::SYSTEM.0, SystemRights::LOG.bits().into(), 0]);
    refused(&mut m, root, Syscall::Statistics, &[blind.0, DATA], Error::MissingRight);
    refused(&mut m, root, Syscall::Statistics, &[own::SYSTEM.0, DATA + 4096 - 16], Error::BadAddress);
}

#[test]
fn statistics_count_frames_and_objects() {
    let mut m = boot();
    let counted = statistics(&mut m);
    // RAM; the image's and the root's tables; data page and message buffer.
    assert_eq!(counted[..3], [160, 20, 2]);
    let notification_kind = 3 + abi::syscall::Charge::Notifications as usize;
    notification(&mut m);
    assert_eq!(statistics(&mut m)[notification_kind], counted[notification_kind] + 1);
}

#[test]
fn the_authority_over_the_machine_itself_is_not_an_object_to_destroy() {
    let mut m = boot();
    let root = m.root.thread;
    for handle in [own::PORTS, own::SYSTEM, root::INTERRUPTS, own::RAM] {
        refused(&mut m, root, Syscall::Destroy, &[handle.0], Error::WrongKind);
    }
}
