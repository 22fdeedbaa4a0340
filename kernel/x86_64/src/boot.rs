//! From the loader's hands to the first thread.

use crate::clock::{Clock, Reference};
use crate::interrupt_line::InterruptLines;
use crate::iommu::Iommu;
use crate::local_apic::{LocalApic, STRAY_VECTOR};
use crate::page_table::PageTable;
use crate::per_cpu::PerCpu;
use crate::processor::{self, Protections};
use crate::segment::Stacks;
use crate::state::{self, Machine, State};
use crate::{dispatch, emergency, entry, extent, interrupt_table, log_ring, root, serial, startup, svm};
use abi::boot::{BootInfo, DIRECT_MAP_BASE, FRAME_ENTRY_SIZE};
use kernel_core::{CpuId, Frame, FrameEntry};

/// Why the kernel cannot run on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unbootable {
    /// Loader and kernel are of different builds.
    Loader,
    /// The interrupt controller cannot be used.
    LocalApic(crate::local_apic::Unusable),
    /// Nothing tells how fast time passes.
    Clock,
    /// The root domain cannot be made.
    Root(root::Unmakeable),
}

impl core::fmt::Display for Unbootable {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Unbootable::Loader => f.write_str("loader and kernel do not belong together; build the image anew"),
            Unbootable::LocalApic(reason) => reason.fmt(f),
            Unbootable::Clock => f.write_str("neither HPET nor PM timer nor PIT gives a usable time"),
            Unbootable::Root(reason) => reason.fmt(f),
        }
    }
}

/// Takes the machine over from the loader and runs the root domain.
///
/// # Safety
/// Called once, by the boot processor, in the state that [`abi::boot`] describes, on the stack that `stacks` names as the
/// kernel's, with the boot information at `info`.
pub unsafe fn start(info: *const BootInfo, stacks: &Stacks) -> ! {
    // SAFETY: the caller vouches that this is the one start; the serial port is the kernel's until user space runs.
    unsafe {
        interrupt_table::fill();
        PerCpu::initialise(CpuId::BOOT, stacks);
        serial::start();
    }
    log_ring::start();
    // SAFETY: the loader passes a mapped page of the direct map, which nobody changes before the root domain runs; a loader
    // of another build is found out before anything but the header is used.
    let info = unsafe { &*info };
    // SAFETY: as the caller vouches.
    match unsafe { prepare(info) } {
        Ok(machine) => {
            // SAFETY: no thread has run yet, and nobody else uses low memory.
            unsafe { startup::start_others(machine, info) };
            greet_processors(machine);
            let state = state::lock();
            let context = dispatch::leave(state, machine, machine.clock.now());
            // SAFETY: `leave` has chosen the thread, loaded its space and told the entry code.
            unsafe { entry::resume(context) }
        }
        Err(reason) => emergency::unusable_machine(&reason),
    }
}

/// # Safety
/// As for [`start`].
unsafe fn prepare(info: &BootInfo) -> Result<&'static Machine, Unbootable> {
    if !info.is_compatible() {
        return Err(Unbootable::Loader);
    }
    let protections = Protections::detect();
    let root_table = processor::root_table();
    // SAFETY: this runs once, in the loader's address space, of whose lower half nothing is used any more: the kernel runs
    // on its own stack and tables. The registers are mapped by the loader and used by nobody else.
    let (local_apic, lines) = unsafe {
        processor::enable_protections(protections);
        processor::enable_syscall(entry::syscall_entry());
        PageTable::at(root_table).drop_lower_half();
        processor::load_root_table(root_table);
        // First the legacy controllers, while the local one still listens to them: QEMU keeps an interrupt request that is
        // withdrawn only later, and delivers it without a vector.
        let mut lines = InterruptLines::NONE;
        lines.start(&info.platform);
        let local_apic = LocalApic::start(&info.platform.local_apic).map_err(Unbootable::LocalApic)?;
        (local_apic, lines)
    };
    let (mut iommu, mut pages) = (None, 0);
    let meanwhile = || {
        // SAFETY: as above, for the IOMMU; the root table is the kernel's.
        iommu = unsafe { Iommu::start(&info.platform, root_table) };
        let mut state = state::lock();
        // SAFETY: the loader has set this memory aside for the frame table, zeroed, and mapped it.
        state.kernel.attach_frames(unsafe { frame_table(info) });
        state.kernel.shorten_tables(info.table_shares);
        pages = declare_memory(&mut state, info);
    };
    // SAFETY: as above, for the machine's timers.
    let calibration = unsafe { Clock::calibrate(&info.platform, info.entry_tsc, &local_apic, meanwhile) };
    let calibration = calibration.map_err(|_| Unbootable::Clock)?;
    local_apic.enable_timer();
    log_ring::set_clock(calibration.clock);
    let machine = state::set_machine(Machine {
        clock: calibration.clock,
        local_apic,
        lines,
        iommu,
        processors: info.platform.cpus,
        protections,
        root: root_table,
        has_guests: svm::is_there(root_table),
    });
    if machine.has_guests {
        svm::fill();
        // SAFETY: the processor has it.
        unsafe { svm::enable() };
    }

    if let Some(iommu) = &machine.iommu {
        iommu.get().hear(STRAY_VECTOR, machine.interrupted());
    }

    let mut state = state::lock();
    let state = &mut *state;
    greet(pages, calibration.hz, &calibration.reference, protections);
    // SAFETY: it is in use already; this makes it known.
    unsafe { PerCpu::current().use_root(root_table) };
    root::make(state, machine, info, processor::physical_address_bits()).map_err(Unbootable::Root)?;
    Ok(machine)
}

/// The frame table's memory.
///
/// # Safety
/// Called once, with the boot information of a loader that keeps the promises of [`abi::boot`].
unsafe fn frame_table(info: &BootInfo) -> &'static mut [FrameEntry] {
    const { assert!(size_of::<FrameEntry>() as u64 == FRAME_ENTRY_SIZE) };
    let fitting = info.frame_table.len / FRAME_ENTRY_SIZE;
    let first = core::ptr::with_exposed_provenance_mut((DIRECT_MAP_BASE + info.frame_table.start) as usize);
    // SAFETY: the memory is mapped, page-aligned, the kernel's alone, and zeroed, which is a valid entry.
    unsafe { core::slice::from_raw_parts_mut(first, fitting.min(info.frames) as usize) }
}

/// Tells the core who has each frame of RAM. Returns how many there are.
fn declare_memory(state: &mut State, info: &BootInfo) -> u64 {
    let mut pages = 0;
    for region in info.memory.as_slice() {
        let Some(owner) = extent::owner(region.kind) else { continue };
        let first = (region.extent.start / abi::PAGE_SIZE) as u32;
        let count = (region.extent.len / abi::PAGE_SIZE) as u32;
        for index in 0..count {
            state.kernel.declare_ram(Frame(first + index), owner);
        }
        pages += u64::from(count);
    }
    pages
}

fn greet(pages: u64, hz: u64, reference: &Reference, protections: Protections) {
    let mebibytes = (pages * abi::PAGE_SIZE) >> 20;
    log::info!("{mebibytes} MiB of memory, {} MHz by {reference}, {protections}", hz / 1_000_000);
}

fn greet_processors(machine: &Machine) {
    let used = state::lock().kernel.online().count();
    log::info!("{used} of {} CPUs in use", machine.processors.as_slice().len());
}
