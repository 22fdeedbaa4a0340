//! The values.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

/// Most bytes of a key.
pub const KEY_BYTES: usize = 64;
/// Most bytes of a value.
pub const VALUE_BYTES: usize = 1024;
/// Most bytes of all entries together: their keys, their values, and [`ENTRY_BYTES`] for each.
pub const STORE_BYTES: usize = 128 << 10;
/// What an entry takes beside its key and its value, whose blocks on the heap are rounded up, and which lie in a tree.
pub const ENTRY_BYTES: usize = 160;

/// Why a value was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The key is empty or too long.
    BadKey,
    /// The value is too long.
    LongValue,
    /// There is no room.
    Full,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::BadKey => write!(f, "a key has 1 to {KEY_BYTES} bytes"),
            StoreError::LongValue => write!(f, "a value has at most {VALUE_BYTES} bytes"),
            StoreError::Full => write!(
                f,
                "all entries together have at most {STORE_BYTES} bytes, {ENTRY_BYTES} each beside key and value: delete some"
            ),
        }
    }
}

impl core::error::Error for StoreError {}

/// Values by their keys.
#[derive(Clone, Debug, Default)]
pub struct Store {
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Bytes of all entries.
    bytes: usize,
}

impl Store {
    /// An empty one.
    pub const fn new() -> Self {
        Self { entries: BTreeMap::new(), bytes: 0 }
    }

    /// How many values there are.
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.entries.get(key).map(Vec::as_slice)
    }

    /// Gives a key a value, instead of the one that it has.
    ///
    /// # Errors
    /// [`StoreError`]; the key then has what it had.
    pub fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        if key.is_empty() || key.len() > KEY_BYTES {
            return Err(StoreError::BadKey);
        }
        if value.len() > VALUE_BYTES {
            return Err(StoreError::LongValue);
        }
        let former = self.get(key).map_or(0, |value| size(key, value));
        let bytes = self.bytes - former + size(key, value);
        if bytes > STORE_BYTES {
            return Err(StoreError::Full);
        }
        self.bytes = bytes;
        self.entries.insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    /// Deletes a key with its value. Returns whether there was one.
    pub fn delete(&mut self, key: &[u8]) -> bool {
        let former = self.entries.remove(key);
        self.bytes -= former.as_ref().map_or(0, |value| size(key, value));
        former.is_some()
    }
}

/// Bytes of an entry.
fn size(key: &[u8], value: &[u8]) -> usize {
    ENTRY_BYTES + key.len() + value.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::vec;

    #[test]
    fn a_key_has_the_value_that_it_was_given_last() {
        let mut store = Store::new();
        assert_eq!(store.get(b"a"), None);
        store.set(b"a", b"1").unwrap();
        store.set(b"a", b"23").unwrap();
        assert_eq!((store.get(b"a"), store.count()), (Some(b"23".as_slice()), 1));
        assert!(store.delete(b"a"));
        assert!(!store.delete(b"a"));
        assert_eq!((store.get(b"a"), store.count(), store.bytes), (None, 0, 0));
    }

    #[test]
    fn what_is_too_long_changes_nothing() {
        let mut store = Store::new();
        store.set(b"a", b"1").unwrap();
        assert_eq!(store.set(b"", b"1"), Err(StoreError::BadKey));
        assert_eq!(store.set(&[b'k'; KEY_BYTES + 1], b"1"), Err(StoreError::BadKey));
        assert_eq!(store.set(b"a", &[b'v'; VALUE_BYTES + 1]), Err(StoreError::LongValue));
        assert_eq!(store.get(b"a"), Some(b"1".as_slice()));
    }

    #[test]
    fn entries_of_next_to_nothing_fill_it_too() {
        let mut store = Store::new();
        while store.set(format!("{}", store.count()).as_bytes(), b"").is_ok() {}
        assert!(store.count() < STORE_BYTES / ENTRY_BYTES, "{}", store.count());
    }

    #[test]
    fn a_full_store_takes_a_value_once_another_is_deleted() {
        let mut store = Store::new();
        let value = vec![b'v'; VALUE_BYTES];
        let mut number = 0;
        while store.set(format!("{number}").as_bytes(), &value).is_ok() {
            number += 1;
        }
        assert_eq!(store.set(format!("{number}").as_bytes(), &value), Err(StoreError::Full));
        store.set(b"0", &value).expect("it replaces as much");
        assert!(store.delete(b"1"));
        store.set(b"1", &value).unwrap();
        assert_eq!(store.count(), number);
    }
}
