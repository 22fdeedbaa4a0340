//! Carrying out what the core decided.

use crate::iommu::Iommu;
use crate::iommu::tree::DeviceTree;
use crate::page_table::PageTable;
use crate::per_cpu::PerCpu;
use crate::ram::RamPage;
use crate::state::{Machine, State};
use crate::svm::{ControlBlock, ExtendedState};
use crate::user_memory::{self, UserRange};
use crate::{log_ring, processor, serial};
use abi::boot::Trigger;
use abi::fault::{FAULT_WORDS, FaultWord};
use abi::message::{REGISTER_WORDS, offset};
use abi::syscall::{InterruptSource, Registers, Statistics};
use kernel_core::{
    CpuId, Effect, FaultReport, Frame, Guest, Resume, ThreadId, Transfer, TransferSource, Tree, UnmapPiece,
};
use x86_64::instructions::port::Port;

/// Pages of a range that are forgotten one by one; for more, forgetting everything is cheaper.
const SINGLE_FLUSHES_MAX: u16 = 32;

fn table(root: Frame) -> PageTable {
    // SAFETY: the effects name root tables of living spaces only, which `Effect::MakeRoot` has prepared.
    unsafe { PageTable::at(root) }
}

fn device_tree(tree: Tree, iommu: &Iommu) -> DeviceTree<'_> {
    // SAFETY: as above, of device spaces, which `Effect::AttachDevices` has prepared.
    unsafe { DeviceTree::at(tree.root, iommu.get().format()) }
}

fn page(frame: Frame) -> RamPage {
    // SAFETY: the effects name donated frames and pinned message buffers only: RAM of users or former users.
    unsafe { RamPage::new(frame) }
}

fn vcpu(control: Frame, extended: Frame) -> (ControlBlock, ExtendedState) {
    // SAFETY: the core names pages that were donated for a virtual processor, and are its for as long as its thread lives.
    unsafe { (ControlBlock::at(control), ExtendedState::at(extended)) }
}

#[cold]
fn make_vcpu(control: Frame, extended: Frame) {
    let (control, extended) = vcpu(control, extended);
    control.prepare();
    extended.prepare();
}

impl State {
    /// Carries an effect out and tells the core what it found out on the way.
    pub fn carry_out(&mut self, machine: &Machine, effect: Effect) {
        match effect {
            Effect::None => {}
            Effect::Deliver(transfers) => {
                for transfer in transfers.iter().flatten() {
                    self.deliver(transfer);
                }
            }
            Effect::Copy(copy) => {
                let result = user_memory::copy(&copy);
                self.kernel.copied(&copy, result);
            }
            Effect::Map(piece) => match piece.tree.device.zip(machine.iommu.as_ref()) {
                Some((space, iommu)) => {
                    device_tree(piece.tree, iommu).map(&piece);
                    iommu.get().notice(space, piece.address, piece.pages);
                }
                None => table(piece.tree.root).map(&piece),
            },
            Effect::Unmap(piece) => match piece.tree.device.zip(machine.iommu.as_ref()) {
                Some((space, iommu)) => {
                    device_tree(piece.tree, iommu).unmap(piece.address, piece.pages);
                    iommu.get().forget(space, piece.address, piece.pages);
                }
                None => self.unmap(&piece),
            },
            Effect::AttachDevices { sources, space, root } => {
                page(root).zero();
                processor::flush(page(root));
                if let Some(iommu) = &machine.iommu {
                    iommu.get().attach(sources, space, root);
                }
            }
            Effect::DetachDevices { sources, space } => {
                if let Some(iommu) = &machine.iommu {
                    iommu.get().detach(sources, space);
                }
            }
            Effect::MakeRoot(frame) => {
                page(frame).zero();
                table(frame).share_kernel_half(table(machine.root));
            }
            Effect::MakeGuestRoot(frame) => page(frame).zero(),
            Effect::MakeVcpu { control, extended } => make_vcpu(control, extended),
            Effect::ReturnTables(frames) => {
                let processor = PerCpu::current();
                for frame in frames.into_iter().flatten() {
                    if processor.uses_root(frame) {
                        // SAFETY: this is the kernel's own root table.
                        unsafe { processor.use_root(machine.root) };
                    }
                    page(frame).zero();
                }
            }
            Effect::StartThread { thread, instruction, stack, argument } => {
                self.contexts.get_mut(thread).start(instruction, stack, argument);
            }
            Effect::WriteRegisters { thread, runtime, root, address } => {
                let registers = self.contexts.get(thread).registers(runtime);
                write_words(root, address, &register_words(&registers));
            }
            Effect::WriteWords { root, address, count, words } => {
                write_words(root, address, &words[..(count as usize).min(words.len())]);
            }
            Effect::WriteStatistics { root, address, statistics } => {
                let statistics = Statistics {
                    idle: self.idle(),
                    processors: machine.processors.as_slice().len() as u64,
                    processors_used: self.kernel.online().count() as u64,
                    ..statistics
                };
                write_words(root, address, &statistics_words(&statistics));
            }
            Effect::WriteTimes { root, address } => {
                let times = self.take_times();
                write_words(root, address, &times.words());
            }
            Effect::ReadLog { root, address, length, position } => {
                let (bytes, next) = read_log(root, address, length, position);
                self.kernel.log_read(bytes, next);
            }
            Effect::SetThreadLocal(address) => {
                if let Some(thread) = self.kernel.current(PerCpu::current().cpu()) {
                    let context = self.contexts.get_mut(thread);
                    context.set_thread_local(address);
                    // It may stay, and then nothing more is loaded.
                    processor::load_user_segments(context.thread_local);
                }
            }
            Effect::PortIn { port, width } => self.kernel.port_read(port_in(port, width)),
            Effect::PortOut { port, width, value } => port_out(port, width, value),
            Effect::ConnectInterrupt { interrupt, source } => {
                if let InterruptSource::Isa(line) = source {
                    machine.lines.connect(line, interrupt.vector(), machine.interrupted(), machine.remapping());
                }
            }
            Effect::RouteInterrupt { interrupt, source } => {
                if let Some(iommu) = machine.remapping() {
                    iommu.route(interrupt.vector(), Some(source), Trigger::Edge, machine.interrupted());
                }
            }
            Effect::HearStrays => {
                // What came meanwhile may have been more than fitted: it comes first, and its interrupt was the first one's.
                self.hear_strays(machine, PerCpu::current().cpu(), machine.clock.now());
            }
            Effect::DisconnectInterrupt { interrupt, source } => {
                set_masked(machine, source, true);
                if let Some(iommu) = machine.remapping() {
                    iommu.unroute(interrupt.vector());
                }
            }
            Effect::MaskInterrupt { source, .. } => set_masked(machine, source, true),
            Effect::UnmaskInterrupt { source, .. } => set_masked(machine, source, false),
        }
    }

    /// Tells the core what the IOMMU has refused. A device may stray as fast as it likes: no entry works on more than the
    /// core keeps, and as long as that has not been asked for there is no further interrupt.
    pub fn hear_strays(&mut self, machine: &Machine, cpu: CpuId, now: u64) {
        const MOST: usize = 8;
        let Some(iommu) = &machine.iommu else { return };
        for _ in 0..MOST {
            let Some(stray) = iommu.get().take_stray() else { break };
            self.kernel.stray(cpu, stray, now);
        }
        if !self.kernel.has_strays() {
            iommu.get().hear_again();
        }
    }

    fn deliver(&mut self, transfer: &Transfer) {
        let count = transfer.words as usize;
        let words = match transfer.source {
            TransferSource::Thread(thread, _) => self.contexts.get(thread).message_words(),
            TransferSource::Fault(thread, report) => self.fault_words(thread, &report),
        };
        self.contexts.get_mut(transfer.target).set_message_words(&words);
        let Some(target) = transfer.target_buffer.map(page) else { return };
        if let TransferSource::Thread(_, Some(source)) = transfer.source {
            let source = page(source);
            target.copy_words(source, offset::WORDS / 8 + REGISTER_WORDS, count.saturating_sub(REGISTER_WORDS));
        }
        for (place, handle) in transfer.handles.iter().take(transfer.caps as usize).enumerate() {
            target.set_word(offset::CAPS_IN / 8 + place, *handle);
        }
    }

    fn fault_words(&self, thread: ThreadId, report: &FaultReport) -> [u64; REGISTER_WORDS] {
        const { assert!(FAULT_WORDS as usize <= REGISTER_WORDS) };
        let context = self.contexts.get(thread);
        let (stack, frame) = context.stack_and_frame();
        let mut words = [0; REGISTER_WORDS];
        for (word, value) in [
            (FaultWord::Address, report.address),
            (FaultWord::InstructionPointer, context.instruction),
            (FaultWord::StackPointer, stack),
            (FaultWord::Code, report.code),
            (FaultWord::FramePointer, frame),
            (FaultWord::Thread, thread.index() as u64),
        ] {
            words[word as usize] = value;
        }
        words
    }

    #[inline(always)]
    fn unmap(&mut self, piece: &UnmapPiece) {
        table(piece.tree.root).unmap(piece.address, piece.pages);
        let processor = PerCpu::current();
        if !processor.uses_root(piece.tree.root) {
            // No translation of another space is kept: loading its root table again forgets them all. What other processors
            // remember is the core's business.
            return;
        }
        if piece.pages <= SINGLE_FLUSHES_MAX {
            for page in 0..u64::from(piece.pages) {
                processor::forget_translation(piece.address + page * abi::PAGE_SIZE);
            }
        } else {
            processor.forget_translations();
        }
    }

    /// Changes a thread's registers as the core wants them when it goes on.
    pub fn prepare(&mut self, thread: ThreadId, resume: Resume) {
        match resume {
            Resume::Continue => {}
            Resume::Result(result) => self.contexts.get_mut(thread).set_result(result),
            Resume::Value(value) => self.contexts.get_mut(thread).set_result([value, 0, 0, 0]),
            Resume::Again => self.contexts.get_mut(thread).repeat_syscall(),
            Resume::EnterGuest => self.enter_guest(thread),
            Resume::LeaveGuest => self.leave_guest(thread),
        }
    }

    #[cold]
    fn enter_guest(&mut self, thread: ThreadId) {
        let Some(guest) = self.kernel.guest(thread) else { return };
        let (control, extended) = vcpu(guest.control, guest.extended);
        control.confine(guest.root);
        // Without a buffer, which it may have lost by now, the guest goes on as it was; one that was never run cannot.
        if let Some(buffer) = guest.buffer {
            control.import(page(buffer), extended);
        }
        self.contexts.get_mut(thread).enter_guest(guest.control, guest.extended);
    }

    #[cold]
    fn leave_guest(&mut self, thread: ThreadId) {
        self.contexts.get_mut(thread).leave_guest(self.kernel.result_of_guest(thread));
        if let Some(Guest { control, extended, buffer: Some(buffer), .. }) = self.kernel.guest(thread) {
            let (control, extended) = vcpu(control, extended);
            control.export(page(buffer), extended);
        }
    }
}

fn set_masked(machine: &Machine, source: InterruptSource, masked: bool) {
    match source {
        InterruptSource::Isa(line) => machine.lines.set_masked(line, masked),
        // The device's own mask is its driver's; the core drops what comes nevertheless.
        InterruptSource::Message => {}
    }
}

/// Writes words to user memory that the core has found writable.
fn write_words(root: Frame, address: u64, words: &[u64]) {
    let written =
        UserRange::new(table(root), address, words.len() as u64 * 8).and_then(|range| range.write_words(words));
    debug_assert!(written.is_some(), "the core allowed a write to memory that is not writable");
}

const REGISTER_COUNT: usize = size_of::<Registers>() / 8;

/// [`Registers`] as they lie in memory.
fn register_words(registers: &Registers) -> [u64; REGISTER_COUNT] {
    let mut words = [0; REGISTER_COUNT];
    words[..16].copy_from_slice(&registers.general);
    words[16..].copy_from_slice(&[registers.rip, registers.rflags, registers.fs_base, registers.runtime]);
    words
}

const STATISTIC_COUNT: usize = size_of::<Statistics>() / 8;

/// [`Statistics`] as they lie in memory.
fn statistics_words(statistics: &Statistics) -> [u64; STATISTIC_COUNT] {
    const OBJECTS: usize = abi::syscall::Charge::COUNT;
    let mut words = [0; STATISTIC_COUNT];
    words[..3].copy_from_slice(&[statistics.frames, statistics.kernel_frames, statistics.mapped_frames]);
    words[3..3 + OBJECTS].copy_from_slice(&statistics.objects);
    words[3 + OBJECTS..].copy_from_slice(&[statistics.idle, statistics.processors, statistics.processors_used]);
    words
}

/// Copies the log from a position to user memory. Tells how many bytes, and the position after them.
fn read_log(root: Frame, address: u64, length: u64, position: u64) -> (u64, u64) {
    let mut piece = [0; 256];
    let (mut done, mut next) = (0, position);
    while done < length {
        let wanted = piece.len().min((length - done) as usize);
        let (count, start) = log_ring::read(next, &mut piece[..wanted]);
        next = start + count as u64;
        let written =
            UserRange::new(table(root), address + done, count as u64).and_then(|range| range.write(&piece[..count]));
        if count == 0 || written.is_none() {
            break;
        }
        done += count as u64;
    }
    (done, next)
}

fn port_in(port: u16, width: u8) -> u32 {
    // SAFETY: the core has found a capability for these ports; what reading does is its holder's.
    unsafe {
        match width {
            1 => u32::from(Port::<u8>::new(port).read()),
            2 => u32::from(Port::<u16>::new(port).read()),
            _ => Port::<u32>::new(port).read(),
        }
    }
}

fn port_out(port: u16, width: u8, value: u32) {
    if serial::PORTS.contains(&port) {
        serial::hand_over();
    }
    // SAFETY: the core has found a capability for these ports; what writing does is its holder's.
    unsafe {
        match width {
            1 => Port::<u8>::new(port).write(value as u8),
            2 => Port::<u16>::new(port).write(value as u16),
            _ => Port::<u32>::new(port).write(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_lie_in_memory_as_their_type_says() {
        let registers =
            Registers { general: core::array::from_fn(|n| n as u64), rip: 16, rflags: 17, fs_base: 18, runtime: 19 };
        assert_eq!(register_words(&registers), core::array::from_fn(|n| n as u64));
        assert_eq!(core::mem::offset_of!(Registers, runtime), 19 * 8);
    }

    #[test]
    fn statistics_lie_in_memory_as_their_type_says() {
        let statistics = Statistics { mapped_frames: 3, idle: 4, processors_used: 5, ..Statistics::default() };
        let words = statistics_words(&statistics);
        assert_eq!(words[core::mem::offset_of!(Statistics, mapped_frames) / 8], 3);
        assert_eq!(words[core::mem::offset_of!(Statistics, idle) / 8], 4);
        assert_eq!(words[core::mem::offset_of!(Statistics, processors_used) / 8], 5);
    }
}
