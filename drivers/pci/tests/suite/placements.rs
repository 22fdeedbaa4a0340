use crate::machine::{Machine, PAGE, Registers, WINDOW, address};
use pci::bar;
use pci::function::Function;
use pci::placement::{Obstacle, Placement, Window, check, for_driver, message_table};
use proptest::prelude::*;

fn functions(all: Vec<Registers>) -> Vec<Function> {
    let numbered = (1u8..).zip(all).map(|(device, registers)| ((0, device, 0), registers));
    let machine = Machine::new(numbered);
    pci::enumeration::enumerate(&&machine)
        .into_iter()
        .map(|at| {
            let mut function = Function::read(&&machine, at);
            function.bars = bar::measure(&&machine, at);
            function.measured = true;
            function
        })
        .collect()
}

fn plain() -> Registers {
    Registers::new(1, 2)
}

#[test]
fn a_drivers_registers_are_found_in_the_window() {
    let functions = functions(vec![Registers::disk(0xc100_0000)]);
    let placement = Placement { window: 1, first: 0x1004, pages: 4, offset: 0, start: 0, length: 0x4000 };
    let other = Window { frame: 0x10, pages: 5 };
    assert_eq!(for_driver(&functions, &[other, WINDOW], 0, 4), Ok(placement));
}

#[test]
fn the_page_of_the_interrupt_table_is_never_a_drivers() {
    let functions = functions(vec![Registers::disk(0xc100_0000)]);
    assert_eq!(for_driver(&functions, &[WINDOW], 0, 1), Err(Obstacle::OnlyMessages));
    let table = message_table(&functions, &[WINDOW], 0).unwrap();
    assert_eq!((table.first, table.pages, table.offset, table.length), (0x1000, 1, 0, 48));
}

#[test]
fn of_registers_around_an_interrupt_table_the_longest_part_is_given() {
    let before = plain().bar32(0, 0xc000_0000, 0x8000).msix(0x70, 1, (0, 0x6000), (0, 0x6800));
    let behind = plain().bar32(0, 0xc010_0000, 0x8000).msix(0x70, 1, (0, 0x1000), (0, 0x0));
    let functions = functions(vec![before, behind]);
    let placement = for_driver(&functions, &[WINDOW], 0, 0).unwrap();
    assert_eq!((placement.first, placement.pages, placement.start), (0, 6, 0));
    let placement = for_driver(&functions, &[WINDOW], 1, 0).unwrap();
    assert_eq!((placement.first, placement.pages, placement.start, placement.length), (0x102, 6, 0x2000, 0x6000));
}

#[test]
fn an_interrupt_table_beyond_its_registers_is_refused() {
    let functions = functions(vec![plain().bar32(1, 0xc000_0000, 0x1000).msix(0x70, 200, (1, 0x800), (1, 0))]);
    assert_eq!(message_table(&functions, &[WINDOW], 0), Err(Obstacle::TableOutside));
}

#[test]
fn registers_smaller_than_a_page_begin_within_it() {
    let functions = functions(vec![plain().bar32(0, 0xc000_0400, 0x100)]);
    let placement = for_driver(&functions, &[WINDOW], 0, 0).unwrap();
    assert_eq!((placement.first, placement.pages, placement.offset, placement.length), (0, 1, 0x400, 0x100));
}

#[test]
fn registers_in_a_page_with_those_of_another_function_are_refused() {
    let functions = functions(vec![plain().bar32(0, 0xc000_0400, 0x100), plain().bar32(0, 0xc000_0800, 0x100)]);
    let obstacle = Obstacle::SharesPage(address(0, 2, 0));
    assert_eq!(for_driver(&functions, &[WINDOW], 0, 0), Err(obstacle));
}

#[test]
fn registers_that_overlap_others_are_refused_to_both() {
    let functions = functions(vec![plain().bar32(0, 0xc000_0000, 0x4000), plain().bar32(3, 0xc000_2000, 0x1000)]);
    assert_eq!(for_driver(&functions, &[WINDOW], 0, 0), Err(Obstacle::Overlaps(address(0, 2, 0))));
    assert_eq!(for_driver(&functions, &[WINDOW], 1, 3), Err(Obstacle::Overlaps(address(0, 1, 0))));
}

#[test]
fn two_overlapping_registers_of_one_function_are_refused() {
    let functions = functions(vec![plain().bar32(0, 0xc000_0000, 0x4000).bar32(1, 0xc000_0000, 0x1000)]);
    assert_eq!(for_driver(&functions, &[WINDOW], 0, 1), Err(Obstacle::Overlaps(address(0, 1, 0))));
}

#[test]
fn registers_outside_of_all_windows_are_refused() {
    for base in [0x10_0000u32, 0xd000_0000, 0xcfff_8000] {
        let functions = functions(vec![plain().bar32(0, base, 0x8000).bar32(2, 0xcfff_0000, 0x1000)]);
        let expected = if base == 0xcfff_8000 { None } else { Some(Obstacle::NoWindow) };
        assert_eq!(for_driver(&functions, &[WINDOW], 0, 0).err(), expected, "{base:#x}");
    }
}

#[test]
fn registers_without_an_address_and_those_that_are_not_there_are_refused() {
    let functions = functions(vec![plain().bar32(0, 0, 0x1000)]);
    assert_eq!(for_driver(&functions, &[WINDOW], 0, 0), Err(Obstacle::NotPlaced));
    for index in [1, 5, 6, 255] {
        assert_eq!(for_driver(&functions, &[WINDOW], 0, index), Err(Obstacle::NoBar));
    }
}

proptest! {
    /// The heart of it: whatever functions answer, what a driver gets has no page in common with a page of its own
    /// interrupt table, with registers of others, or with anything outside of the windows.
    #[test]
    fn whatever_functions_answer_drivers_get_only_pages_of_their_own(
        bases in proptest::collection::vec(0xbff0u32..0xc010, 6),
        shifts in proptest::collection::vec(8u32..16, 6),
        table in (0u32..3, 0u32..0x2000, 0u32..3, 0u32..0x2000, 1u16..300),
    ) {
        let mut all = Vec::new();
        for pair in 0..3 {
            let mut registers = plain();
            for index in 0..2 {
                let at = pair * 2 + index;
                registers = registers.bar32(index, bases[at] << 16, 1 << shifts[at]);
            }
            let (bar, offset, pending_bar, pending_offset, entries) = table;
            all.push(registers.msix(0x70, entries, (bar, offset * 8), (pending_bar, pending_offset * 8)));
        }
        let functions = functions(all);
        for owner in 0..functions.len() {
            for index in 0..6 {
                let Ok(given) = for_driver(&functions, &[WINDOW], owner, index) else { continue };
                prop_assert!(given.first + given.pages <= WINDOW.pages);
                let start = (WINDOW.frame + given.first) * PAGE;
                let pages = start..start + given.pages * PAGE;
                for (position, function) in functions.iter().enumerate() {
                    for bar in function.bars.iter().flatten() {
                        let touches = bar.base < pages.end && bar.end().unwrap() > pages.start;
                        prop_assert!(!touches || position == owner);
                    }
                }
                let function = &functions[owner];
                let msix = function.msix.unwrap();
                if let Some(bar) = &function.bars[usize::from(msix.table_bar)] {
                    let table = bar.base + msix.table_offset;
                    prop_assert!(table >= pages.end || table + msix.table_bytes() <= pages.start);
                }
            }
        }
    }

    #[test]
    fn no_registers_whatever_make_the_check_panic(base: u64, length in 0u32..64, frame in 0u64..1 << 52, pages: u64) {
        let mut functions = functions(vec![plain().bar32(0, 0xc000_0000, 0x1000)]);
        let bar = bar::Bar { index: 0, base, length: Some(1 << length), prefetchable: false };
        functions[0].bars[0] = Some(bar);
        let _ = check(&functions, &[Window { frame, pages }], 0, &bar);
    }
}
