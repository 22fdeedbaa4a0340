//! AMD's IOMMU (AMD I/O Virtualization Technology Specification, document 48882, revision 3.08; sections are given as
//! "48882 2.2.2").
//!
//! What it refuses is written to a log of its own, of which its interrupt tells. That is a message of the unit's PCI function,
//! whose configuration space the kernel leaves to others: so nobody reads the log, and it stays off.

use super::memory;
use super::tree::Format;
use super::{Remapping, Unusable, comes_about};
use crate::ram::RamPage;
use crate::registers::RegisterPage;
use abi::PAGE_SIZE;
use abi::boot::{IO_APICS_MAX, IOMMUS_MAX, Iommu, Registers, Trigger};
use abi::device::{SourceId, SourceRange, Stray};
use kernel_core::{Frame, IommuInfo, SpaceId};

/// Registers (48882 3.4): those of the first page, and those of the third.
mod register {
    pub(super) const DEVICE_TABLE: usize = 0x00;
    pub(super) const COMMANDS: usize = 0x08;
    pub(super) const CONTROL: usize = 0x18;
    pub(super) const EXCLUSION_BASE: usize = 0x20;
    pub(super) const FEATURES: usize = 0x30;

    /// Pages of registers; the third one's are counted from its start.
    pub(super) const PAGES: u32 = 3;
    pub(super) const COMMAND_HEAD: usize = 0x00;
    pub(super) const COMMAND_TAIL: usize = 0x08;
    pub(super) const STATUS: usize = 0x20;
}

/// Bits of the control register (48882 3.4.1).
mod control {
    pub(super) const TRANSLATION: u64 = 1 << 0;
    pub(super) const COHERENT: u64 = 1 << 10;
    pub(super) const COMMANDS: u64 = 1 << 12;
}

/// In the status register: commands are carried out.
const COMMANDS_RUN: u64 = 1 << 4;
/// In the register of features: everything can be forgotten at once.
const FORGETS_ALL: u64 = 1 << 6;

/// Buses whose functions the device table names: those of a bus take two pages.
const BUSES: usize = 16;
/// Words of an entry of the device table.
const ENTRY: usize = 4;
/// Entries of the device table in a page.
const ENTRIES: usize = 512 / ENTRY;

/// Places of pages in [`memory`].
const DEVICE_TABLE: usize = 0;
const DEVICE_TABLE_PAGES: usize = BUSES * 256 / ENTRIES;
const ANSWER: usize = DEVICE_TABLE + DEVICE_TABLE_PAGES;
const OWNERS: usize = ANSWER + 1;
const FIRST_QUEUE: usize = OWNERS + 1;
const FIRST_INTERRUPT_TABLE: usize = FIRST_QUEUE + IOMMUS_MAX;
const INTERRUPT_PAGES: usize = 10;
/// Pages in [`memory`].
pub(super) const PAGES: usize = FIRST_INTERRUPT_TABLE + INTERRUPT_PAGES;

/// Words of an interrupt table, which has an entry of four bytes for each vector.
const INTERRUPT_TABLE: usize = 128;
/// How many functions can have interrupts, the I/O APICs among them.
const INTERRUPT_TABLES: usize = INTERRUPT_PAGES * 512 / INTERRUPT_TABLE;
const _: () = assert!(INTERRUPT_TABLES >= 2 * IO_APICS_MAX, "devices have interrupts too");

/// Commands in a buffer of one page.
const QUEUE_LENGTH: usize = 256;

/// Levels of page tables. With three they cover 512 GiB, which keeps clear of the addresses with a meaning of their own just
/// below 1 TiB (48882 2.1.2).
const LEVELS: usize = 3;

/// Entries of page tables, and the first word of an entry of the device table (48882 2.2.3, 2.2.2.1).
const PRESENT: u64 = 1 << 0;
const READ: u64 = 1 << 61;
const WRITE: u64 = 1 << 62;
/// The level of the table that an entry names; with 0, what an entry of a page table names is memory.
const NEXT_LEVEL: u64 = 0b111 << 9;

/// In the first word of an entry of the device table: its second bit makes its other bits on translation valid.
const TRANSLATED: u64 = PRESENT | 1 << 1;
/// The first word of a function that sees nothing: no levels of page tables, and no right to do without.
const BLIND: u64 = TRANSLATED;
/// The third word of a function that can raise no interrupt: the bits on interrupts are valid, and say that all are refused.
const MUTE: u64 = 1 << 0;
/// The third word of a function with an interrupt table of two to the power of 8 entries: fixed interrupts are remapped.
const REMAPPED: u64 = MUTE | 8 << 1 | 0b10 << 60;

/// In the page that says who has which interrupt table: somebody has it.
const OWNED: u64 = 1 << 16;
/// Somebody who keeps it for ever.
const KEPT: u64 = 1 << 17;

/// Where devices write to raise an interrupt.
const MESSAGE_ADDRESS: u64 = 0xfee0_0000;

/// What a unit is told through its command buffer (48882 2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Command {
    low: u64,
    high: u64,
}

impl Command {
    /// Forget everything.
    const EVERYTHING: Self = Command { low: 8 << 60, high: 0 };
    /// In the address of translations to be forgotten: what the entries above have linked, too.
    const AND_TABLES: u64 = 1 << 1;
    /// There too: the address's lowest bit that is zero tells how many pages.
    const SEVERAL: u64 = 1 << 0;

    /// Forget what the device table says of a function.
    const fn function(source: SourceId) -> Self {
        Command { low: 2 << 60 | source.0 as u64, high: 0 }
    }

    /// Forget the translations of `1 << order` pages of one domain, which begin at a multiple of that many.
    const fn pages(domain: u16, address: u64, order: u32) -> Self {
        let several = if order == 0 { 0 } else { Self::SEVERAL | ((1 << (order - 1)) - 1) << 12 };
        Command { low: 3 << 60 | (domain as u64) << 32, high: address | several | Self::AND_TABLES }
    }

    /// Forget all translations of one domain.
    const fn translations(domain: u16) -> Self {
        Self::pages(domain, 0, 52)
    }

    /// Forget the interrupt table of a function.
    const fn interrupts(source: SourceId) -> Self {
        Command { low: 5 << 60 | source.0 as u64, high: 0 }
    }

    /// When all before is done, and no access that used what was forgotten is under way, write 1 to this address.
    const fn answer(address: u64) -> Self {
        Command { low: 1 << 60 | address | 1 << 0, high: 1 }
    }
}

/// The identifier under which the units know a space. QEMU 7.2 refuses those with bit 8 set, which it takes for
/// reserved.
fn domain(space: SpaceId) -> u16 {
    let index = space.index() as u16;
    index & 0xff | (index & !0xff) << 1
}

/// The first word of a function that sees the page tables below a root table.
fn sight(root: Frame) -> u64 {
    TRANSLATED | (LEVELS as u64) << 9 | root.address() | READ | WRITE
}

/// An entry of an interrupt table (48882 2.2.5.2).
fn interrupt(vector: u8, trigger: Trigger, processor: u8) -> u32 {
    // What is level-triggered asks for word of its end.
    let level = u32::from(trigger == Trigger::Level) << 5;
    PRESENT as u32 | level | u32::from(processor) << 8 | u32::from(vector) << 16
}

/// A word of an interrupt table, which has the entries of two vectors, with this vector's changed.
fn with_entry(word: u64, vector: u8, entry: u32) -> u64 {
    let shift = u32::from(vector) % 2 * 32;
    word & !(u64::from(u32::MAX) << shift) | u64::from(entry) << shift
}

/// The bits of the control register that the firmware asks for in its description (48882 5.2.2.1).
fn asked_for(flags: u32) -> u64 {
    [(0, 1), (1, 8), (2, 9), (3, 11)].iter().map(|(flag, bit)| u64::from(flags >> flag & 1) << bit).sum()
}

/// Which table is a function's, or could be: its own, else the first that nobody has.
fn table_for(owners: impl Iterator<Item = u64> + Clone, source: SourceId) -> Option<usize> {
    let own = |owner: u64| owner & OWNED != 0 && owner as u16 == source.0;
    owners.clone().position(own).or_else(|| owners.clone().position(|owner| owner & OWNED == 0))
}

/// One unit: its registers, and the page with its commands.
#[derive(Clone, Copy, Debug)]
struct Unit {
    registers: RegisterPage,
    /// Where the commands stand.
    pointers: RegisterPage,
    commands: RamPage,
    /// What goes into its control register.
    control: u64,
}

impl Unit {
    /// Makes it use the kernel's tables. It is not switched off in between if it is on.
    fn start(&self, device_table: RamPage) -> Result<(), Unusable> {
        /// Two to the power of this.
        const LENGTH: u64 = QUEUE_LENGTH.trailing_zeros() as u64;
        let running =
            |run: bool| comes_about(|| (self.pointers.read_wide(register::STATUS) & COMMANDS_RUN != 0) == run);
        let before = self.registers.read_wide(register::CONTROL);
        self.registers.write_wide(register::CONTROL, before & control::TRANSLATION);
        if !running(false) {
            return Err(Unusable::Silent("stop carrying out commands"));
        }
        self.registers.write_wide(register::EXCLUSION_BASE, 0);
        let size = DEVICE_TABLE_PAGES as u64 - 1;
        self.registers.write_wide(register::DEVICE_TABLE, device_table.frame().address() | size);
        self.registers.write_wide(register::COMMANDS, self.commands.frame().address() | LENGTH << 56);
        self.pointers.write_wide(register::COMMAND_HEAD, 0);
        self.pointers.write_wide(register::COMMAND_TAIL, 0);
        self.registers.write_wide(register::CONTROL, self.control);
        if running(true) { Ok(()) } else { Err(Unusable::Silent("carry out commands")) }
    }

    /// Tells the unit something, as much at once as fits, and waits until it has done it.
    fn tell(&self, commands: impl Iterator<Item = Command>, answer: RamPage) {
        let mut commands = commands.peekable();
        while commands.peek().is_some() {
            let mut tail = self.pointers.read_wide(register::COMMAND_TAIL) as usize >> 4;
            answer.set_word(0, 0);
            let last = Command::answer(answer.frame().address());
            for command in commands.by_ref().take(QUEUE_LENGTH / 2).chain([last]) {
                self.commands.set_word(2 * tail, command.low);
                self.commands.set_word(2 * tail + 1, command.high);
                tail = (tail + 1) % QUEUE_LENGTH;
            }
            self.pointers.write_wide(register::COMMAND_TAIL, (tail as u64) << 4);
            if !comes_about(|| answer.word(0) == 1) {
                // Devices may still see what they were to see no more: nothing that follows would be safe.
                panic!("the IOMMU does not forget what it is told to forget");
            }
        }
    }
}

/// The interrupts of one function.
#[derive(Clone, Copy, Debug)]
struct InterruptTable {
    page: RamPage,
    /// Its first word in the page.
    first: usize,
}

impl InterruptTable {
    fn address(self) -> u64 {
        self.page.frame().address() + 8 * self.first as u64
    }

    fn has(self, vector: u8) -> bool {
        let word = self.page.word(self.first + usize::from(vector) / 2);
        word != with_entry(word, vector, 0)
    }

    fn set(self, vector: u8, entry: u32) {
        let place = self.first + usize::from(vector) / 2;
        self.page.set_word(place, with_entry(self.page.word(place), vector, entry));
    }

    fn is_empty(self) -> bool {
        (0..INTERRUPT_TABLE).all(|place| self.page.word(self.first + place) == 0)
    }
}

/// All units of a machine.
#[derive(Debug)]
pub struct AmdVi {
    units: [Option<Unit>; IOMMUS_MAX],
    info: IommuInfo,
    answer: RamPage,
    /// A word for each interrupt table: who has it.
    owners: RamPage,
    /// The kernel's root table.
    root: Frame,
}

impl AmdVi {
    /// How page tables look (48882 2.2.3).
    const FORMAT: Format = Format {
        levels: LEVELS,
        has_large_pages: true,
        needs_flush: false,
        table: |level| PRESENT | (level as u64) << 9 | READ | WRITE,
        page: |_, writable| PRESENT | READ | if writable { WRITE } else { 0 },
        present: PRESENT,
        is_large: |entry| entry & NEXT_LEVEL == 0,
    };

    /// Makes every unit block every device and, if the machine `remaps` interrupts, every interrupt. `lines` are the sources of
    /// the I/O APICs, as far as they are known.
    ///
    /// # Safety
    /// Called once, at boot; the loader has mapped the registers, and nothing else uses them; `root` is the kernel's root
    /// table.
    pub(super) unsafe fn start(
        described: &[Iommu],
        lines: impl Iterator<Item = Option<SourceId>> + Clone,
        remaps: bool,
        root: Frame,
    ) -> Result<Self, Unusable> {
        const MEMORY: Unusable = Unusable::Lacks("memory for its tables");
        let own = |number| memory::page(number, root).ok_or(MEMORY);
        let known = lines.clone().flatten().all(is_known);
        let mut amd = AmdVi {
            units: [None; IOMMUS_MAX],
            info: IommuInfo { address_bits: 39, remaps_interrupts: remaps && known, reports_refusals: false },
            answer: own(ANSWER)?,
            owners: own(OWNERS)?,
            root,
        };
        for (number, (place, iommu)) in amd.units.iter_mut().zip(described).enumerate() {
            let shift = u64::from(register::PAGES - 1) * PAGE_SIZE;
            let third = Registers { phys: iommu.registers.phys + shift, virt: iommu.registers.virt + shift };
            // SAFETY: as the caller vouches; the third page is used only if it is one of those that are mapped.
            let pages = unsafe { (RegisterPage::new(&iommu.registers), RegisterPage::new(&third)) };
            let (Some(registers), Some(pointers), true) = (pages.0, pages.1, iommu.pages >= register::PAGES) else {
                return Err(Unusable::Lacks("registers"));
            };
            if registers.read_wide(register::FEATURES) & FORGETS_ALL == 0 {
                return Err(Unusable::Lacks("a command to forget everything"));
            }
            let control = control::TRANSLATION | control::COHERENT | control::COMMANDS | asked_for(iommu.flags);
            *place = Some(Unit { registers, pointers, commands: own(FIRST_QUEUE + number)?, control });
        }
        let first = own(DEVICE_TABLE)?;
        for number in 0..DEVICE_TABLE_PAGES {
            let page = own(DEVICE_TABLE + number)?;
            if page.frame() != first.frame().offset(number as u32) {
                return Err(Unusable::Lacks("memory in one piece for its device table"));
            }
            for entry in 0..ENTRIES {
                page.set_word(entry * ENTRY + 2, if amd.info.remaps_interrupts { MUTE } else { 0 });
                page.set_word(entry * ENTRY, BLIND);
            }
        }
        amd.units().try_for_each(|unit| unit.start(first))?;
        amd.tell([Command::EVERYTHING]);
        if amd.info.remaps_interrupts {
            // Lines are connected without asking whether there is room.
            lines.flatten().for_each(|source| amd.keep_table(source));
        }
        Ok(amd)
    }

    fn units(&self) -> impl Iterator<Item = &Unit> {
        self.units.iter().flatten()
    }

    fn tell(&self, commands: impl IntoIterator<Item = Command, IntoIter: Clone>) {
        let commands = commands.into_iter();
        self.units().for_each(|unit| unit.tell(commands.clone(), self.answer));
    }

    /// The page and the first word of a function's entry in the device table.
    fn entry(&self, source: SourceId) -> Option<(RamPage, usize)> {
        let number = usize::from(source.0);
        let page = if is_known(source) { memory::page(DEVICE_TABLE + number / ENTRIES, self.root) } else { None };
        page.map(|page| (page, number % ENTRIES * ENTRY))
    }

    /// Changes a word of a function's entry.
    fn put(&self, source: SourceId, word: usize, value: u64) {
        if let Some((page, first)) = self.entry(source) {
            page.set_word(first + word, value);
        }
    }

    fn owners(&self) -> impl Iterator<Item = u64> + Clone {
        (0..INTERRUPT_TABLES).map(|number| self.owners.word(number))
    }

    fn interrupt_table(&self, number: usize) -> Option<InterruptTable> {
        const IN_PAGE: usize = 512 / INTERRUPT_TABLE;
        let page = memory::page(FIRST_INTERRUPT_TABLE + number / IN_PAGE, self.root)?;
        Some(InterruptTable { page, first: number % IN_PAGE * INTERRUPT_TABLE })
    }

    /// The interrupt table of a function, which gets one if it has none. `None` if there is none left.
    fn table_of(&self, source: SourceId) -> Option<InterruptTable> {
        let number = table_for(self.owners(), source)?;
        let table = self.interrupt_table(number)?;
        if self.owners.word(number) & OWNED == 0 {
            self.owners.set_word(number, OWNED | u64::from(source.0));
            self.put(source, 2, REMAPPED | table.address());
            self.tell([Command::function(source), Command::interrupts(source)]);
        }
        Some(table)
    }

    /// Gives a function an interrupt table for ever.
    fn keep_table(&self, source: SourceId) {
        if self.table_of(source).is_some()
            && let Some(number) = table_for(self.owners(), source)
        {
            self.owners.set_word(number, self.owners.word(number) | KEPT);
        }
    }
}

/// Whether the device table has an entry for a function.
const fn is_known(source: SourceId) -> bool {
    (source.bus() as usize) < BUSES
}

impl Remapping for AmdVi {
    fn info(&self) -> IommuInfo {
        self.info
    }

    fn format(&self) -> &Format {
        &Self::FORMAT
    }

    fn has_sources(&self, sources: SourceRange) -> bool {
        is_known(sources.first())
    }

    fn can_route(&self, source: SourceId) -> bool {
        is_known(source) && table_for(self.owners(), source).is_some()
    }

    fn attach(&self, sources: SourceRange, space: SpaceId, root: Frame) {
        let sources = (sources.first().0..=sources.last().0).map(SourceId);
        // The unit reads an entry's words one after the other, in whatever order: whose translations they are is known to it
        // before there are any.
        sources.clone().for_each(|source| self.put(source, 1, domain(space).into()));
        self.tell(sources.clone().map(Command::function).chain([Command::translations(domain(space))]));
        sources.clone().for_each(|source| self.put(source, 0, sight(root)));
        self.tell(sources.map(Command::function));
    }

    fn detach(&self, sources: SourceRange, space: SpaceId) {
        let sources = (sources.first().0..=sources.last().0).map(SourceId);
        sources.clone().for_each(|source| self.put(source, 0, BLIND));
        self.tell(sources.map(Command::function).chain([Command::translations(domain(space))]));
    }

    fn forget(&self, space: SpaceId, address: u64, pages: u16) {
        let order = pages.next_power_of_two().trailing_zeros();
        let aligned = address.is_multiple_of(PAGE_SIZE << order);
        let domain = domain(space);
        self.tell([if aligned { Command::pages(domain, address, order) } else { Command::translations(domain) }]);
    }

    fn notice(&self, space: SpaceId, address: u64, pages: u16) {
        // Whether a unit remembers that nothing was there is written where the kernel does not look, in the configuration
        // space of its PCI function (48882 3.2.1): so it may.
        self.forget(space, address, pages);
    }

    fn route(&self, vector: u8, source: Option<SourceId>, trigger: Trigger, processor: u8) {
        self.unroute(vector);
        // Interrupts of unknown sources are not remapped at all, and the core has asked `can_route` before.
        let Some((source, table)) = source.and_then(|source| Some((source, self.table_of(source)?))) else { return };
        table.set(vector, interrupt(vector, trigger, processor));
        self.tell([Command::interrupts(source)]);
    }

    fn unroute(&self, vector: u8) {
        for (number, owner) in self.owners().enumerate().filter(|(_, owner)| owner & OWNED != 0) {
            let Some(table) = self.interrupt_table(number) else { continue };
            if !table.has(vector) {
                continue;
            }
            let source = SourceId(owner as u16);
            table.set(vector, 0);
            if table.is_empty() && owner & KEPT == 0 {
                self.put(source, 2, MUTE);
                self.owners.set_word(number, 0);
            }
            self.tell([Command::function(source), Command::interrupts(source)]);
        }
    }

    fn message(&self, vector: u8) -> (u64, u32) {
        // The index in bits 0 to 10 (48882 2.2.5.1).
        (MESSAGE_ADDRESS, vector.into())
    }

    fn line(&self, vector: u8) -> u64 {
        // The index in the bits of vector and delivery mode (48882 2.2.5.1).
        vector.into()
    }

    fn hear(&self, _: u8, _: u8) {}

    fn take_stray(&self) -> Option<Stray> {
        None
    }

    fn hear_again(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISK: SourceId = SourceId::new(0, 3, 0);

    #[test]
    fn who_sees_nothing_has_valid_entries_without_rights() {
        assert_eq!(BLIND, 0b11, "without either bit the device would see all of memory");
        assert_eq!(MUTE >> 60 & 0b11, 0b00, "all interrupts are refused");
        assert_eq!(MUTE & 1, 1, "without it they would pass as they are");
    }

    #[test]
    fn who_sees_a_space_sees_it_through_three_levels() {
        let word = sight(Frame(0x1_2345));
        assert_eq!(word & 0x000f_ffff_ffff_f000, 0x1234_5000);
        assert_eq!((word & 0b11, word >> 9 & 0b111, word >> 61), (0b11, 3, 0b11));
    }

    #[test]
    fn commands_name_whom_they_are_about() {
        assert_eq!(Command::function(DISK), Command { low: 0x2000_0000_0000_0018, high: 0 });
        assert_eq!(Command::interrupts(DISK), Command { low: 0x5000_0000_0000_0018, high: 0 });
        assert_eq!(Command::answer(0x7000), Command { low: 0x1000_0000_0000_7001, high: 1 });
        assert_eq!(Command::translations(0x2ff).low, 0x3000_02ff_0000_0000);
    }

    #[test]
    fn the_lowest_zero_in_an_address_tells_how_many_pages_are_forgotten() {
        let pages = |order| Command::pages(3, 0x4000_0000, order).high & !Command::AND_TABLES;
        assert_eq!(pages(0), 0x4000_0000, "one page");
        assert_eq!(pages(1), 0x4000_0001, "two pages: bit 12 is zero");
        assert_eq!(pages(2), 0x4000_1001, "four");
        assert_eq!(pages(9), 0x400f_f001, "2 MiB");
        assert_eq!(Command::translations(3).high, 0x7fff_ffff_ffff_f003, "all that there are");
    }

    #[test]
    fn an_interrupt_goes_to_its_vector_at_its_processor() {
        assert_eq!(interrupt(0x41, Trigger::Edge, 3), 0x0041_0301);
        assert_eq!(interrupt(0x41, Trigger::Level, 3), 0x0041_0321);
    }

    #[test]
    fn two_vectors_share_a_word_without_touching_each_other() {
        let both = with_entry(with_entry(0, 0x40, 0x1111_1111), 0x41, 0x2222_2222);
        assert_eq!(both, 0x2222_2222_1111_1111);
        assert_eq!(with_entry(both, 0x40, 0), 0x2222_2222_0000_0000);
        assert_eq!(with_entry(both, 0x41, 0), 0x1111_1111);
    }

    #[test]
    fn a_function_keeps_its_table_and_takes_no_others() {
        let owners = [OWNED | KEPT | 0xa0, OWNED, 0, OWNED | 0x18, 0];
        let find = |source| table_for(owners.iter().copied(), source);
        assert_eq!(find(SourceId(0xa0)), Some(0));
        assert_eq!(find(SourceId(0)), Some(1), "the number of the first function is a number like others");
        assert_eq!(find(DISK), Some(3), "its own, although another one is free");
        assert_eq!(find(SourceId(0x20)), Some(2));
        assert_eq!(table_for([OWNED | 0xa0; 2].into_iter(), DISK), None);
    }

    #[test]
    fn each_space_has_an_identifier_of_its_own_that_every_unit_takes() {
        let all = (0..kernel_core::SPACES_MAX).filter_map(SpaceId::from_index).map(domain);
        let distinct: std::collections::BTreeSet<u16> = all.clone().collect();
        assert!(distinct.len() > 256 && distinct.len() == all.clone().count());
        assert!(all.clone().all(|domain| domain & 1 << 8 == 0));
    }

    #[test]
    fn what_the_firmware_asks_for_is_carried_over() {
        assert_eq!(asked_for(0), 0);
        assert_eq!(asked_for(0b1111), 1 << 1 | 1 << 8 | 1 << 9 | 1 << 11);
        assert_eq!(asked_for(0xb0), 0, "the rest only says what there is");
    }

    #[test]
    fn entries_of_page_tables_say_at_which_level_to_go_on() {
        let format = AmdVi::FORMAT;
        assert_eq!((format.table)(2), READ | WRITE | 2 << 9 | PRESENT);
        assert!(!(format.is_large)((format.table)(1)) && (format.is_large)((format.page)(1, true)));
        assert_eq!((format.page)(0, false) & (READ | WRITE), READ);
    }
}
