//! Intel's IOMMU (Intel Virtualization Technology for Directed I/O, Architecture Specification, revision 4.1; sections are
//! given as "VT-d 11.4").

mod capability;

use super::domain::Domains;
use super::memory;
use super::tree::Format;
use super::{Remapping, Unusable, comes_about};
use crate::processor;
use crate::ram::RamPage;
use crate::registers::RegisterPage;
use abi::PAGE_SIZE;
use abi::boot::{IOMMUS_MAX, Iommu, Registers, Trigger};
use abi::device::{SourceId, SourceRange, Stray, StrayKind};
use capability::Capabilities;
use kernel_core::{Frame, IommuInfo, SpaceId};

/// Registers (VT-d 11.4).
mod register {
    pub(super) const CAPABILITIES: usize = 0x08;
    pub(super) const EXTENDED: usize = 0x10;
    pub(super) const COMMAND: usize = 0x18;
    pub(super) const STATUS: usize = 0x1c;
    pub(super) const ROOT_TABLE: usize = 0x20;
    pub(super) const FAULT_STATUS: usize = 0x34;
    pub(super) const FAULT_CONTROL: usize = 0x38;
    pub(super) const FAULT_DATA: usize = 0x3c;
    pub(super) const FAULT_ADDRESS: usize = 0x40;
    pub(super) const FAULT_ADDRESS_HIGH: usize = 0x44;
    pub(super) const PROTECTED_MEMORY: usize = 0x64;
    pub(super) const QUEUE_TAIL: usize = 0x88;
    pub(super) const QUEUE: usize = 0x90;
    pub(super) const INTERRUPT_TABLE: usize = 0xb8;
}

/// Bits of the command register and of the status register that answers it (VT-d 11.4.4).
mod command {
    pub(super) const TRANSLATION: u32 = 1 << 31;
    pub(super) const SET_ROOT_TABLE: u32 = 1 << 30;
    pub(super) const FLUSH_WRITES: u32 = 1 << 27;
    pub(super) const QUEUE: u32 = 1 << 26;
    pub(super) const INTERRUPTS: u32 = 1 << 25;
    pub(super) const SET_INTERRUPT_TABLE: u32 = 1 << 24;
    pub(super) const COMPATIBLE_INTERRUPTS: u32 = 1 << 23;
    /// Those that are not done once but stay.
    pub(super) const STAYING: u32 = !(SET_ROOT_TABLE | 1 << 29 | FLUSH_WRITES | SET_INTERRUPT_TABLE);
}

const PROTECTED_MEMORY_ON: u32 = 1 << 31;
const PROTECTED_MEMORY_STATUS: u32 = 1 << 0;
const FAULT_MASKED: u32 = 1 << 31;
const FAULT_OVERFLOW: u32 = 1 << 0;
/// In the upper half of a fault record: it holds a fault.
const FAULT: u64 = 1 << 63;
const FAULT_IS_READ: u64 = 1 << 62;
/// The first and the last reason of faults of interrupts (VT-d, appendix A).
const INTERRUPT_REASONS: core::ops::RangeInclusive<u8> = 0x20..=0x27;

/// Places of pages in [`memory`].
const ROOT_TABLE: usize = 0;
const INTERRUPT_TABLE: usize = 1;
const ANSWER: usize = 2;
const FIRST_QUEUE: usize = 3;
const FIRST_CONTEXT_TABLE: usize = FIRST_QUEUE + IOMMUS_MAX;
/// Context tables: a machine whose devices are on more buses than these has devices that nobody can use.
const CONTEXT_TABLES: usize = 16;
/// Pages in [`memory`].
pub(super) const PAGES: usize = FIRST_CONTEXT_TABLE + CONTEXT_TABLES;

/// Descriptors in a queue of one page.
const QUEUE_LENGTH: usize = 256;
/// Buses, and functions of a bus.
const BUSES: usize = 256;

/// A present entry of the root table or of a context table.
const PRESENT: u64 = 1;
/// Entries of the second-level page tables (VT-d 9.8).
const READ: u64 = 1 << 0;
const WRITE: u64 = 1 << 1;
const LARGE: u64 = 1 << 7;

/// Where devices write to raise an interrupt.
const MESSAGE_ADDRESS: u64 = 0xfee0_0000;

/// What a unit is told through its queue (VT-d 6.5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Descriptor {
    low: u64,
    high: u64,
}

impl Descriptor {
    /// Forget every context entry.
    const ALL_CONTEXTS: Self = Descriptor { low: 1 | 1 << 4, high: 0 };
    /// Forget every translation.
    const ALL_TRANSLATIONS: Self = Descriptor { low: 2 | 1 << 4 | Self::DRAIN, high: 0 };
    /// Forget every entry of the interrupt table.
    const ALL_INTERRUPTS: Self = Descriptor { low: 4, high: 0 };
    /// Let accesses that are under way come to their end first.
    const DRAIN: u64 = 0b11 << 6;

    /// Forget the context entries of one domain.
    const fn contexts(domain: u16) -> Self {
        Descriptor { low: 1 | 2 << 4 | (domain as u64) << 16, high: 0 }
    }

    /// Forget the translations of one domain.
    const fn translations(domain: u16) -> Self {
        Descriptor { low: 2 | 2 << 4 | Self::DRAIN | (domain as u64) << 16, high: 0 }
    }

    /// Forget the translations of `1 << order` pages of one domain, which begin at a multiple of that many.
    const fn pages(domain: u16, address: u64, order: u64) -> Self {
        Descriptor { low: 2 | 3 << 4 | Self::DRAIN | (domain as u64) << 16, high: address | order }
    }

    /// Forget one entry of the interrupt table.
    const fn interrupt(index: u8) -> Self {
        Descriptor { low: 4 | 1 << 4 | (index as u64) << 32, high: 0 }
    }

    /// When all before is done, write 1 to this address.
    const fn answer(address: u64) -> Self {
        Descriptor { low: 5 | 1 << 5 | 1 << 32, high: address }
    }
}

/// One unit: registers and the page in which its queue is.
#[derive(Clone, Copy, Debug)]
struct Unit {
    registers: RegisterPage,
    /// The page of registers in which its fault records are, where in it, and how many.
    faults: Option<(RegisterPage, usize, usize)>,
    queue: RamPage,
}

impl Unit {
    /// Sets or clears a bit of the command register and waits until the status register says so.
    fn command(&self, bit: u32, on: bool, what: &'static str) -> Result<(), Unusable> {
        let staying = self.registers.read(register::STATUS) & command::STAYING;
        let value = if on { staying | bit } else { staying & !bit };
        self.registers.write(register::COMMAND, value);
        let done = || (self.registers.read(register::STATUS) & bit != 0) == on;
        if comes_about(done) { Ok(()) } else { Err(Unusable::Silent(what)) }
    }

    /// Tells the unit something, and waits until it has done it.
    fn tell(&self, descriptors: &[Descriptor], answer: RamPage) {
        let mut tail = self.registers.read_wide(register::QUEUE_TAIL) as usize >> 4;
        answer.set_word(0, 0);
        processor::flush_word(answer, 0);
        for descriptor in descriptors.iter().copied().chain([Descriptor::answer(answer.frame().address())]) {
            self.queue.set_word(2 * tail, descriptor.low);
            self.queue.set_word(2 * tail + 1, descriptor.high);
            processor::flush_word(self.queue, 2 * tail);
            tail = (tail + 1) % QUEUE_LENGTH;
        }
        self.registers.write_wide(register::QUEUE_TAIL, (tail as u64) << 4);
        if !comes_about(|| answer.word(0) & 0xffff_ffff == 1) {
            // Devices may still see what they were to see no more: nothing that follows would be safe.
            panic!("the IOMMU does not forget what it is told to forget");
        }
    }

    fn take_stray(&self) -> Option<Stray> {
        let (page, first, count) = self.faults?;
        let control = self.registers.read(register::FAULT_CONTROL);
        self.registers.write(register::FAULT_CONTROL, control | FAULT_MASKED);
        let earliest = (self.registers.read(register::FAULT_STATUS) >> 8 & 0xff) as usize;
        let place = (0..count).map(|number| first + 16 * ((earliest + number) % count));
        for place in place {
            let high = page.read_wide(place + 8);
            if high & FAULT != 0 {
                let low = page.read_wide(place);
                // Writing the bit clears it.
                page.write(place + 12, (FAULT >> 32) as u32);
                return Some(stray(low, high));
            }
        }
        self.registers.write(register::FAULT_STATUS, FAULT_OVERFLOW);
        None
    }
}

/// What a fault record says (VT-d 11.4.14).
fn stray(low: u64, high: u64) -> Stray {
    let reason = (high >> 32) as u8;
    let (kind, address) = if INTERRUPT_REASONS.contains(&reason) {
        (StrayKind::Interrupt, low >> 48)
    } else if high & FAULT_IS_READ != 0 {
        (StrayKind::Read, low & !(PAGE_SIZE - 1))
    } else {
        (StrayKind::Write, low & !(PAGE_SIZE - 1))
    };
    Stray { source: SourceId(high as u16), kind, reason, address }
}

/// All units of a machine.
#[derive(Debug)]
pub struct Vtd {
    units: [Option<Unit>; IOMMUS_MAX],
    format: Format,
    info: IommuInfo,
    /// They may remember that nothing is mapped.
    remembers_absence: bool,
    needs_write_flush: bool,
    /// The most pages that they forget at once, as a power of two; none if they only forget whole spaces.
    forgets_at_once: Option<u64>,
    root_table: RamPage,
    interrupt_table: RamPage,
    answer: RamPage,
    domains: Domains,
    /// The kernel's root table.
    root: Frame,
}

impl Vtd {
    /// Makes every unit block every device and, if the machine `remaps` interrupts, every interrupt.
    ///
    /// # Safety
    /// Called once, at boot; the loader has mapped the registers, and nothing else uses them; `root` is the kernel's root
    /// table.
    pub(super) unsafe fn start(described: &[Iommu], remaps: bool, root: Frame) -> Result<Self, Unusable> {
        let own = |number| memory::page(number, root).ok_or(Unusable::Lacks("memory for its tables"));
        let mut vtd = Vtd {
            units: [None; IOMMUS_MAX],
            format: Format {
                levels: 4,
                has_large_pages: true,
                needs_flush: false,
                table: |_| READ | WRITE,
                page: |level, writable| READ | if writable { WRITE } else { 0 } | if level > 0 { LARGE } else { 0 },
                present: READ | WRITE,
                is_large: |entry| entry & LARGE != 0,
            },
            info: IommuInfo { address_bits: 48, remaps_interrupts: remaps, reports_refusals: true },
            remembers_absence: false,
            needs_write_flush: false,
            forgets_at_once: Some(u64::MAX),
            root_table: own(ROOT_TABLE)?,
            interrupt_table: own(INTERRUPT_TABLE)?,
            answer: own(ANSWER)?,
            domains: Domains::new(u64::MAX),
            root,
        };
        let (mut levels, mut width) = ([true; 2], u8::MAX);
        for (number, (place, iommu)) in vtd.units.iter_mut().zip(described).enumerate() {
            // SAFETY: as the caller vouches.
            let registers = unsafe { RegisterPage::new(&iommu.registers) };
            let registers = registers.ok_or(Unusable::Lacks("registers"))?;
            let can = Capabilities {
                basic: registers.read_wide(register::CAPABILITIES),
                extended: registers.read_wide(register::EXTENDED),
            };
            if !can.has_queue() {
                return Err(Unusable::Lacks("a queue to be told through"));
            }
            vtd.domains.limit(can.domains());
            levels[0] &= can.basic >> 9 & 1 != 0;
            levels[1] &= can.basic >> 10 & 1 != 0;
            can.levels().ok_or(Unusable::Lacks("page tables of three or four levels"))?;
            width = width.min(can.address_bits());
            vtd.format.has_large_pages &= can.has_large_pages();
            vtd.format.needs_flush |= !can.is_coherent();
            vtd.info.remaps_interrupts &= can.remaps_interrupts();
            vtd.remembers_absence |= can.remembers_absence();
            vtd.needs_write_flush |= can.needs_write_flush();
            vtd.forgets_at_once = match vtd.forgets_at_once {
                Some(most) if can.forgets_single_pages() => Some(most.min(can.forgets_at_once())),
                _ => None,
            };
            let (offset, count) = can.fault_records();
            let page = offset / PAGE_SIZE as usize;
            let within = offset % PAGE_SIZE as usize + 16 * count <= PAGE_SIZE as usize && page < iommu.pages as usize;
            let shift = (page as u64) * PAGE_SIZE;
            let records = Registers { phys: iommu.registers.phys + shift, virt: iommu.registers.virt + shift };
            // SAFETY: as the caller vouches; the page is one of those that are mapped.
            let records = if within { unsafe { RegisterPage::new(&records) } } else { None };
            let faults = records.map(|page| (page, offset % PAGE_SIZE as usize, count));
            vtd.info.reports_refusals &= faults.is_some();
            if faults.is_none() {
                log::warn!("the IOMMU's records of what devices were refused are not used: they lie too far away");
            }
            *place = Some(Unit { registers, faults, queue: own(FIRST_QUEUE + number)? });
        }
        match levels {
            [_, true] => {}
            [true, false] => (vtd.format.levels, vtd.info.address_bits) = (3, 39),
            [false, false] => return Err(Unusable::Lacks("a number of levels that all units have")),
        }
        vtd.info.address_bits = vtd.info.address_bits.min(width);
        vtd.block_everything()?;
        Ok(vtd)
    }

    fn units(&self) -> impl Iterator<Item = &Unit> {
        self.units.iter().flatten()
    }

    /// Gives the units the kernel's tables, which are empty.
    fn block_everything(&self) -> Result<(), Unusable> {
        if self.format.needs_flush {
            // What the loader has cleared may still be in a cache, and in memory what a former system has left there.
            (0..PAGES).filter_map(|number| memory::page(number, self.root)).for_each(processor::flush);
        }
        for unit in self.units() {
            let registers = unit.registers;
            if registers.read(register::STATUS) & command::QUEUE != 0 {
                unit.command(command::QUEUE, false, "stop its queue")?;
            }
            registers.write_wide(register::ROOT_TABLE, self.root_table.frame().address());
            unit.command(command::SET_ROOT_TABLE, true, "take its root table")?;
            registers.write_wide(register::QUEUE_TAIL, 0);
            registers.write_wide(register::QUEUE, unit.queue.frame().address());
            unit.command(command::QUEUE, true, "start its queue")?;
            unit.tell(&[Descriptor::ALL_CONTEXTS], self.answer);
            unit.tell(&[Descriptor::ALL_TRANSLATIONS], self.answer);
            unit.command(command::TRANSLATION, true, "translate")?;
            if registers.read(register::PROTECTED_MEMORY) & PROTECTED_MEMORY_STATUS != 0 {
                // The firmware's own protection would block what the kernel allows.
                registers.write(
                    register::PROTECTED_MEMORY,
                    registers.read(register::PROTECTED_MEMORY) & !PROTECTED_MEMORY_ON,
                );
            }
            if self.info.remaps_interrupts {
                /// 256 entries: two to the power of this and one.
                const SIZE: u64 = 7;
                registers.write_wide(register::INTERRUPT_TABLE, self.interrupt_table.frame().address() | SIZE);
                unit.command(command::SET_INTERRUPT_TABLE, true, "take its interrupt table")?;
                unit.tell(&[Descriptor::ALL_INTERRUPTS], self.answer);
                unit.command(command::COMPATIBLE_INTERRUPTS, false, "block interrupts that are not remapped")?;
                unit.command(command::INTERRUPTS, true, "remap interrupts")?;
            }
        }
        Ok(())
    }

    fn tell(&self, descriptors: &[Descriptor]) {
        self.units().for_each(|unit| unit.tell(descriptors, self.answer));
    }

    fn put(&self, table: RamPage, place: usize, word: u64) {
        table.set_word(place, word);
        if self.format.needs_flush {
            processor::flush_word(table, place);
        }
    }

    /// Makes sure that the units see what was written.
    fn settle(&self) {
        if self.needs_write_flush {
            for unit in self.units() {
                let staying = unit.registers.read(register::STATUS) & command::STAYING;
                unit.registers.write(register::COMMAND, staying | command::FLUSH_WRITES);
                let done = || unit.registers.read(register::STATUS) & command::FLUSH_WRITES == 0;
                if !comes_about(done) {
                    panic!("the IOMMU does not take over what was written");
                }
            }
        }
    }

    /// The context table of a bus, if it has one.
    fn context_table(&self, bus: u8) -> Option<RamPage> {
        let entry = self.root_table.word(2 * usize::from(bus));
        // SAFETY: entries of the root table name pages of `memory`.
        (entry & PRESENT != 0).then(|| unsafe { RamPage::new(Frame((entry >> 12) as u32)) })
    }

    /// A page for the context table of one more bus.
    fn spare_context_table(&self) -> Option<RamPage> {
        let used = (0..BUSES).filter(|bus| self.root_table.word(2 * bus) & PRESENT != 0).count();
        if used < CONTEXT_TABLES { memory::page(FIRST_CONTEXT_TABLE + used, self.root) } else { None }
    }

    /// The identifier under which the units know a space.
    fn domain(&self, space: SpaceId) -> u16 {
        self.domains.of(space)
    }
}

impl Remapping for Vtd {
    fn info(&self) -> IommuInfo {
        self.info
    }

    fn format(&self) -> &Format {
        &self.format
    }

    fn has_sources(&self, sources: SourceRange) -> bool {
        let has_table = self.context_table(sources.first().bus()).is_some() || self.spare_context_table().is_some();
        has_table && self.domains.free().is_some()
    }

    fn can_route(&self, _: SourceId) -> bool {
        // One table for all.
        true
    }

    fn attach(&self, sources: SourceRange, space: SpaceId, root: Frame) {
        let bus = sources.first().bus();
        let table = self.context_table(bus).or_else(|| {
            let table = self.spare_context_table()?;
            self.put(self.root_table, 2 * usize::from(bus), table.frame().address() | PRESENT);
            Some(table)
        });
        // The core has asked `has_sources` before.
        let Some(table) = table else { return };
        let width = if self.format.levels == 4 { 2 } else { 1 };
        let functions = usize::from(sources.first().0 as u8)..usize::from(sources.last().0 as u8) + 1;
        // Whose translations they are is in memory before there are any.
        self.domains.give(space);
        let halves = [(1, width | u64::from(self.domain(space)) << 8), (0, root.address() | PRESENT)];
        for (half, word) in halves {
            functions.clone().for_each(|function| table.set_word(2 * function + half, word));
            if self.format.needs_flush {
                processor::flush_words(table, 2 * functions.start..2 * functions.end);
            }
        }
        if self.remembers_absence {
            self.tell(&[Descriptor::ALL_CONTEXTS]);
            self.tell(&[Descriptor::translations(self.domain(space))]);
        }
        self.settle();
    }

    fn detach(&self, sources: SourceRange, space: SpaceId) {
        if let Some(table) = self.context_table(sources.first().bus()) {
            for function in sources.first().0 as u8..=sources.last().0 as u8 {
                self.put(table, 2 * usize::from(function), 0);
                self.put(table, 2 * usize::from(function) + 1, 0);
            }
        }
        self.settle();
        // One after the other: what is translated meanwhile must not be by an entry that is to be forgotten (VT-d 6.5.2).
        self.tell(&[Descriptor::contexts(self.domain(space))]);
        self.tell(&[Descriptor::translations(self.domain(space))]);
        self.domains.take_back(space);
    }

    fn forget(&self, space: SpaceId, address: u64, pages: u16) {
        self.settle();
        let domain = self.domain(space);
        let order = u64::from(pages.next_power_of_two().trailing_zeros());
        let single =
            self.forgets_at_once.is_some_and(|most| order <= most) && address.is_multiple_of(PAGE_SIZE << order);
        self.tell(&[if single { Descriptor::pages(domain, address, order) } else { Descriptor::translations(domain) }]);
    }

    fn notice(&self, space: SpaceId, address: u64, pages: u16) {
        if self.remembers_absence {
            self.forget(space, address, pages);
        } else {
            self.settle();
        }
    }

    fn route(&self, vector: u8, source: Option<SourceId>, trigger: Trigger, processor: u8) {
        let place = 2 * usize::from(vector);
        // Verify all bits of the source's number (VT-d 9.9).
        let verified = source.map_or(0, |source| u64::from(source.0) | 1 << 18);
        self.put(self.interrupt_table, place, 0);
        self.put(self.interrupt_table, place + 1, verified);
        let level = u64::from(trigger == Trigger::Level) << 4;
        self.put(self.interrupt_table, place, PRESENT | level | u64::from(vector) << 16 | u64::from(processor) << 40);
        self.settle();
        self.tell(&[Descriptor::interrupt(vector)]);
    }

    fn unroute(&self, vector: u8) {
        self.put(self.interrupt_table, 2 * usize::from(vector), 0);
        self.settle();
        self.tell(&[Descriptor::interrupt(vector)]);
    }

    fn message(&self, vector: u8) -> (u64, u32) {
        // The index in bits 5 to 19; bit 4 says that it is one (VT-d 5.1.2.2).
        (MESSAGE_ADDRESS | u64::from(vector) << 5 | 1 << 4, 0)
    }

    fn line(&self, vector: u8) -> u64 {
        // The index in bits 49 to 63; bit 48 says that it is one (VT-d 5.1.5.1).
        u64::from(vector) << 49 | 1 << 48 | u64::from(vector)
    }

    fn hear(&self, vector: u8, processor: u8) {
        for unit in self.units() {
            unit.registers.write(register::FAULT_CONTROL, FAULT_MASKED);
            unit.registers.write(register::FAULT_DATA, vector.into());
            unit.registers.write(register::FAULT_ADDRESS, MESSAGE_ADDRESS as u32 | u32::from(processor) << 12);
            unit.registers.write(register::FAULT_ADDRESS_HIGH, 0);
        }
        self.hear_again();
    }

    fn take_stray(&self) -> Option<Stray> {
        self.units().find_map(Unit::take_stray)
    }

    fn hear_again(&self) {
        for unit in self.units() {
            let control = unit.registers.read(register::FAULT_CONTROL);
            unit.registers.write(register::FAULT_CONTROL, control & !FAULT_MASKED);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_tells_who_wanted_what() {
        let read = stray(0x1234_5678_9000, FAULT | FAULT_IS_READ | 0x06 << 32 | 0x0010);
        assert_eq!(
            read,
            Stray { source: SourceId::new(0, 2, 0), kind: StrayKind::Read, reason: 6, address: 0x1234_5678_9000 }
        );
        assert_eq!(stray(0x5000, FAULT | 0x05 << 32 | 0x10).kind, StrayKind::Write);
        let interrupt = stray(0x0031_u64 << 48, FAULT | 0x26 << 32 | 0x18);
        assert_eq!((interrupt.kind, interrupt.address, interrupt.reason), (StrayKind::Interrupt, 0x31, 0x26));
    }

    #[test]
    fn descriptors_name_the_domain_and_what_it_is_to_forget() {
        let pages = Descriptor::pages(0x1ff, 0x40_0000, 9);
        assert_eq!((pages.low, pages.high), (0x01ff_00f2, 0x40_0009));
        assert_eq!(Descriptor::contexts(3).low, 0x0003_0021);
        assert_eq!(Descriptor::interrupt(0x41).low, 0x41_0000_0014);
        assert_eq!(Descriptor::answer(0x7000), Descriptor { low: 1 << 32 | 0x25, high: 0x7000 });
    }
}
