use pci::message::{TableRegisters, mask, program};
use std::cell::RefCell;

/// A table of four entries that checks each write.
#[derive(Default)]
struct Table {
    words: RefCell<[u32; 16]>,
}

impl TableRegisters for Table {
    fn read(&self, offset: u64) -> u32 {
        self.words.borrow()[offset as usize / 4]
    }

    fn write(&self, offset: u64, value: u32) {
        let mut words = self.words.borrow_mut();
        let index = offset as usize / 4;
        if index % 4 != 3 {
            assert_eq!(words[index | 3] & 1, 1, "an entry is changed only while it is masked");
        }
        words[index] = value;
    }
}

#[test]
fn an_entry_is_masked_while_it_changes_and_unmasked_afterwards() {
    let table = Table::default();
    program(&table, 2, 0x1_fee0_1000, 0x41);
    assert_eq!(table.words.borrow()[8..12], [0xfee0_1000, 1, 0x41, 0]);
    assert_eq!(table.words.borrow()[..8], [0; 8]);
}

#[test]
fn masking_an_entry_keeps_its_message_and_the_reserved_bits() {
    let table = Table { words: RefCell::new([0xa0; 16]) };
    mask(&table, 1);
    assert_eq!(table.words.borrow()[4..8], [0xa0, 0xa0, 0xa0, 0xa1]);
}
