//! Ports and interrupts.

use super::cases;
use crate::bench::Bench;
use crate::call::{call, now, port_in, port_out, results, sleep, soon, wait};
use crate::outcome::{Outcome, holds, refused, same};
use abi::rights::{InterruptRights, Kind, NotificationRights, PortsRights};
use abi::syscall::{Charge, InterruptSource, Syscall};
use abi::time::NOW;
use abi::{Error, root};

cases![
    ports_are_used_only_within_their_range,
    ports_need_their_rights,
    an_access_to_a_port_has_a_width_of_its_own,
    an_interrupt_line_is_held_by_one_object,
    an_unknown_interrupt_source_is_refused,
    an_interrupt_starts_masked_and_arrives_as_bits,
    an_interrupt_that_is_masked_does_not_arrive,
    an_interrupt_that_was_destroyed_does_not_arrive,
    every_message_interrupt_has_a_message_of_its_own,
    binding_an_interrupt_needs_its_rights,
];

/// A port that can be read and written without harm: the scratch register of the serial port.
const SCRATCH: u64 = 0x3ff;

fn ports_are_used_only_within_their_range(_: &mut Bench) -> Outcome {
    let ports = call(Syscall::PortsSplit, [root::PORTS.0, 0x3f8, 8, u16::MAX.into()])?;
    same(results(Syscall::CapInfo, [ports]).rax, Kind::Ports as u64)?;
    port_out(ports, SCRATCH, 1, 0x5a)?;
    same(port_in(ports, SCRATCH, 1)?, 0x5a)?;
    for (port, width) in [(0x3f7, 1), (0x400, 1), (0x3ff, 2), (0x3fd, 4), (0, 1), (0x1_03f8, 1), (u64::MAX, 1)] {
        refused(port_in(ports, port, width), Error::BadArgument)?;
        refused(port_out(ports, port, width, 0), Error::BadArgument)?;
    }
    for (first, count) in [(0x3f7, 2), (0x3ff, 2), (0x3f8, 0), (0x3f8, 9), (u64::MAX, 2)] {
        refused(call(Syscall::PortsSplit, [ports, first, count, u16::MAX.into()]), Error::BadArgument)?;
    }
    refused(call(Syscall::PortsSplit, [root::PORTS.0, 0xffff, 2, u16::MAX.into()]), Error::BadArgument)
}

fn ports_need_their_rights(_: &mut Bench) -> Outcome {
    let input = call(Syscall::PortsSplit, [root::PORTS.0, SCRATCH, 1, PortsRights::IN.bits().into()])?;
    let output = call(Syscall::PortsSplit, [root::PORTS.0, SCRATCH, 1, PortsRights::OUT.bits().into()])?;
    port_in(input, SCRATCH, 1)?;
    refused(port_out(input, SCRATCH, 1, 0), Error::MissingRight)?;
    port_out(output, SCRATCH, 1, 1)?;
    refused(port_in(output, SCRATCH, 1), Error::MissingRight)?;
    refused(call(Syscall::PortsSplit, [input, SCRATCH, 1, 1]), Error::MissingRight)
}

fn an_access_to_a_port_has_a_width_of_its_own(_: &mut Bench) -> Outcome {
    for width in [0, 3, 5, 8, u64::MAX] {
        refused(port_in(root::PORTS.0, SCRATCH, width), Error::BadArgument)?;
    }
    // Only as many bits as were asked for come back.
    holds(port_in(root::PORTS.0, SCRATCH, 1)? < 1 << 8, "a byte is a byte")?;
    refused(port_out(root::PORTS.0, SCRATCH, 1, 1 << 32), Error::BadArgument)
}

fn create(source: u64) -> Result<u64, Error> {
    call(Syscall::InterruptCreate, [root::INTERRUPTS.0, source])
}

fn an_interrupt_line_is_held_by_one_object(bench: &mut Bench) -> Outcome {
    let used = |bench: &Bench| -> Result<u64, Error> {
        let _ = bench;
        Ok(crate::bench::statistics()?.objects[Charge::Interrupts as usize])
    };
    let before = used(bench)?;
    let line = create(InterruptSource::Isa(5).to_register())?;
    refused(create(InterruptSource::Isa(5).to_register()), Error::InUse)?;
    same(used(bench)?, before + 1)?;
    call(Syscall::CapDelete, [line])?;
    let line = create(InterruptSource::Isa(5).to_register())?;
    call(Syscall::Destroy, [line])?;
    create(InterruptSource::Isa(5).to_register())?;
    Ok(())
}

fn an_unknown_interrupt_source_is_refused(_: &mut Bench) -> Outcome {
    for source in [16, 0xff, 0x101, u64::MAX] {
        refused(create(source), Error::BadArgument)?;
    }
    refused(call(Syscall::InterruptCreate, [root::ACCOUNT.0, 5]), Error::WrongKind)
}

/// The line of the interval timer.
const TIMER: InterruptSource = InterruptSource::Isa(0);

/// A millisecond, in ticks of the interval timer.
const MILLISECOND: u16 = 1193;

/// Lets the interval timer interrupt once, after so many of its ticks (8254 data sheet, mode 0).
pub(crate) fn start_timer(ticks: u16) -> Result<(), Error> {
    let [low, high] = ticks.to_le_bytes();
    for (port, value) in [(0x43, 0x30), (0x40, low), (0x40, high)] {
        port_out(root::PORTS.0, port, 1, value.into())?;
    }
    Ok(())
}

/// The timer's interrupt and the notification to which it is bound.
pub(crate) fn timer(bench: &mut Bench) -> Result<(u64, u64), Error> {
    let (interrupt, notification) = (create(TIMER.to_register())?, bench.notification()?);
    call(Syscall::InterruptBind, [interrupt, notification, 0b100])?;
    Ok((interrupt, notification))
}

fn an_interrupt_starts_masked_and_arrives_as_bits(bench: &mut Bench) -> Outcome {
    let (interrupt, notification) = timer(bench)?;
    start_timer(MILLISECOND)?;
    sleep(5_000_000);
    refused(wait(notification, NOW), Error::WouldBlock)?;
    for _ in 0..3 {
        call(Syscall::InterruptAck, [interrupt])?;
        // What came while it was masked may come now.
        let _ = wait(notification, now() + 2_000_000);
        call(Syscall::InterruptAck, [interrupt])?;
        start_timer(MILLISECOND)?;
        same(wait(notification, soon())?, 0b100)?;
    }
    Ok(())
}

fn an_interrupt_that_is_masked_does_not_arrive(bench: &mut Bench) -> Outcome {
    let (interrupt, notification) = timer(bench)?;
    call(Syscall::InterruptAck, [interrupt])?;
    let _ = wait(notification, now() + 2_000_000);
    call(Syscall::InterruptMask, [interrupt])?;
    start_timer(MILLISECOND)?;
    refused(wait(notification, now() + 5_000_000), Error::TimedOut)
}

fn an_interrupt_that_was_destroyed_does_not_arrive(bench: &mut Bench) -> Outcome {
    let (interrupt, notification) = timer(bench)?;
    call(Syscall::InterruptAck, [interrupt])?;
    let _ = wait(notification, now() + 2_000_000);
    call(Syscall::Destroy, [interrupt])?;
    start_timer(MILLISECOND)?;
    refused(wait(notification, now() + 5_000_000), Error::TimedOut)?;
    refused(call(Syscall::InterruptAck, [interrupt]), Error::StaleHandle)?;
    // And one without its notification does no harm.
    let (interrupt, notification) = timer(bench)?;
    call(Syscall::InterruptAck, [interrupt])?;
    call(Syscall::Destroy, [notification])?;
    start_timer(MILLISECOND)?;
    sleep(5_000_000);
    Ok(())
}

fn every_message_interrupt_has_a_message_of_its_own(_: &mut Bench) -> Outcome {
    let mut messages = [(0, 0); 4];
    for place in &mut messages {
        let interrupt = create(InterruptSource::Message.to_register())?;
        let found = results(Syscall::InterruptMessage, [interrupt]);
        *place = (found.value()?, found.rdi);
        holds(place.0 & 0xfff0_0000 == 0xfee0_0000, "it is written to a local interrupt controller")?;
    }
    for (number, message) in messages.iter().enumerate() {
        holds(!messages[..number].contains(message), "no two are the same")?;
    }
    let line = create(InterruptSource::Isa(5).to_register())?;
    refused(call(Syscall::InterruptMessage, [line]), Error::WrongState)
}

fn binding_an_interrupt_needs_its_rights(bench: &mut Bench) -> Outcome {
    let (interrupt, notification) = (create(InterruptSource::Isa(5).to_register())?, bench.notification()?);
    let weak = call(Syscall::CapCopy, [interrupt, InterruptRights::MESSAGE.bits().into(), 0])?;
    let deaf = call(Syscall::CapCopy, [notification, NotificationRights::WAIT.bits().into(), 0])?;
    refused(call(Syscall::InterruptBind, [weak, notification, 1]), Error::MissingRight)?;
    refused(call(Syscall::InterruptAck, [weak]), Error::MissingRight)?;
    refused(call(Syscall::InterruptMask, [weak]), Error::MissingRight)?;
    refused(call(Syscall::InterruptBind, [interrupt, deaf, 1]), Error::MissingRight)?;
    for bits in [0, 1 << 63] {
        refused(call(Syscall::InterruptBind, [interrupt, notification, bits]), Error::BadArgument)?;
    }
    Ok(())
}
