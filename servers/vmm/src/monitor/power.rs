//! Switching the guest's machine on and off.

use super::clock::Reading;
use super::disk::RingDisk;
use super::failure::StartFailure;
use super::machine::{Devices, Machine, Source};
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::time::Duration;
use interfaces::guest::GuestState;
use userlib::abi::Error;
use userlib::guest::{self, GuestSpace, Seat, Vcpu};
use userlib::log;
use userlib::time::Instant;
use vmm::board::{Board, Parts};
use vmm::boot::{self, Boot, MemoryMap, ProcessorState, acpi};
use vmm::processor::GuestClock;

/// The bit of the monitor's notification by which the guest's first processor says that it has left the guest; those of the
/// others follow. Manifests assign lower ones.
pub(super) const FIRST_BIT: u32 = 32;

/// Switches the machine on, once everything of its former life is gone.
///
/// # Errors
/// [`StartFailure`]; the machine is then off.
pub(super) async fn start(machine: &Rc<Machine>) -> Result<(), StartFailure> {
    if machine.is_on() {
        return Err(StartFailure::On);
    }
    machine.disks_found().await;
    machine.quiet().await;
    // Somebody else may have been faster.
    if machine.is_on() {
        return Err(StartFailure::On);
    }
    switch_on(machine).inspect_err(|_| machine.end_life(GuestState::Failed))
}

/// Switches the machine of a guest that resets it on again, unless somebody has taken its power away meanwhile.
pub(super) async fn begin_again(machine: Rc<Machine>) {
    let life = machine.life();
    machine.quiet().await;
    if machine.life() == life
        && let Err(error) = switch_on(&machine)
    {
        log::error!("the guest's machine is not switched on again: {error}");
        machine.end_life(GuestState::Failed);
    }
}

/// Takes its power away.
pub(super) async fn kill(machine: &Machine) {
    machine.end_life(GuestState::Off);
    machine.quiet().await;
}

fn switch_on(machine: &Rc<Machine>) -> Result<(), StartFailure> {
    let resources = &machine.resources;
    machine.ram.forget();
    let space = GuestSpace::create(resources.account, resources.memory, resources.kernel_pages());
    let space = Rc::new(space.map_err(|error| match error {
        Error::NoHardware => StartFailure::NoHardware,
        error => StartFailure::Space(error),
    })?);
    let board = make_board(machine);
    let first = load(machine, &board).map_err(StartFailure::Boot)?;
    // All processors of the guest have the same time, which begins now.
    let now = Reading::take();
    let clock = GuestClock {
        hertz: now.hertz_since(machine.began),
        counter: now.counter,
        time: resources.boot_time + now.at / 1_000_000_000,
    };
    let mut vcpus = Vec::new();
    for number in 0..resources.settings.processors {
        let mut vcpu = Vcpu::create(&seat(machine, &space, number)).map_err(StartFailure::Processor)?;
        vcpu.state().tsc_offset = now.counter.wrapping_neg();
        vcpus.push(vcpu);
    }
    let life = machine.begin_life(board, now);
    for (number, vcpu) in (0_u8..).zip(vcpus) {
        let first = (number == 0).then_some(first);
        machine.spawn(machine.clone().run_processor(life, number, space.clone(), vcpu, first, clock));
    }
    machine.spawn(machine.clone().keep_time(life));
    machine.spawn(machine.clone().carry_stream(life));
    if machine.is_new.take() {
        let settings = &resources.settings;
        log::info!(
            "the guest has {} MiB, {} processors and {} disks; it begins {} ticks after its monitor",
            settings.memory >> 20,
            settings.processors,
            machine.disks.borrow().len(),
            guest::timestamp().wrapping_sub(machine.began.counter)
        );
    }
    Ok(())
}

fn make_board(machine: &Machine) -> Devices {
    let now = Instant::now().nanoseconds();
    Board::new(Parts {
        processors: machine.resources.settings.processors,
        disks: machine.disks.borrow().iter().cloned().map(RingDisk::new).collect(),
        entropy: guest::random_word().map(|_| Source),
        network: machine.network_card(),
        time: machine.resources.boot_time + now / 1_000_000_000,
        now,
    })
}

/// Writes what the guest finds into its memory.
fn load(machine: &Machine, board: &Devices) -> Result<ProcessorState, boot::BootError> {
    let resources = &machine.resources;
    let mut memory = &machine.ram;
    let rsdp = acpi::write(board.description(), &mut memory)?;
    let boot = Boot {
        image: resources.kernel,
        initrd: resources.initrd,
        command_line: &resources.settings.command_line,
        map: MemoryMap::new(resources.settings.memory),
        rsdp,
    };
    boot::load(&boot, &mut memory)
}

fn seat<'a>(machine: &'a Machine, space: &'a GuestSpace, number: u8) -> Seat<'a> {
    let resources = &machine.resources;
    let settings = &resources.settings;
    Seat {
        account: resources.account,
        domain: resources.domain,
        own_space: &resources.own_space,
        guest: space,
        memory: resources.memory,
        first_page: resources.thread_page(number),
        priority: settings.priority,
        turn: Duration::from_micros(settings.time_slice_us.into()),
        processor: settings.cpu.saturating_add(number),
        monitor: resources.notification,
        bit: 1 << (FIRST_BIT + u32::from(number)),
    }
}
