//! Typed tables of fixed length with generations: where every kernel object lives.

use crate::frame::FrameEntry;
use abi::boot::TABLE_SHARES;
use core::marker::PhantomData;

/// What a table holds.
pub trait Vacant {
    /// What is in a slot that was never used: all zero.
    const EMPTY: Self;
}

/// Storage of a table: an array whose length is a power of two, so that masking an index replaces a bounds check.
pub trait Slots<T> {
    /// How many slots.
    const LENGTH: usize;
    /// As it begins: every slot vacant.
    const EMPTY: Self;
    /// The slot with this index, taken modulo the length.
    fn at(&self, index: usize) -> &T;
    /// The slot with this index, taken modulo the length, to change.
    fn at_mut(&mut self, index: usize) -> &mut T;
}

impl<T: Vacant, const N: usize> Slots<T> for [T; N] {
    const EMPTY: Self = [const { T::EMPTY }; N];

    #[expect(clippy::disallowed_macros, reason = "the compiler evaluates it")]
    const LENGTH: usize = {
        assert!(N.is_power_of_two(), "a table's length must be a power of two");
        N
    };

    #[expect(clippy::indexing_slicing, reason = "masked by the length, which is a power of two")]
    fn at(&self, index: usize) -> &T {
        &self[index & (Self::LENGTH - 1)]
    }

    #[expect(clippy::indexing_slicing, reason = "masked by the length, which is a power of two")]
    fn at_mut(&mut self, index: usize) -> &mut T {
        &mut self[index & (Self::LENGTH - 1)]
    }
}

/// An index in a table, or a number below a table's length.
#[expect(
    clippy::cast_possible_truncation,
    reason = "no table but those of mappings and of capabilities has more than 65,536 slots"
)]
pub(crate) const fn short(index: usize) -> u16 {
    index as u16
}

/// A number of slots, objects or frames.
#[expect(clippy::cast_possible_truncation, reason = "frame numbers have 32 bits, and there is more of nothing else")]
pub(crate) const fn count(number: usize) -> u32 {
    number as u32
}

/// Storage of the frame table, whose length depends on the machine's memory.
pub trait FrameStore: AsRef<[FrameEntry]> + AsMut<[FrameEntry]> {}

impl<S: AsRef<[FrameEntry]> + AsMut<[FrameEntry]>> FrameStore for S {}

/// One slot of a table: an object, or room for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot<T> {
    /// Rises each time the object dies; 0 is never live.
    generation: u32,
    /// What keeps the object alive: capabilities, and objects that need it.
    references: u32,
    /// Next free slot, or next object to reap, while not live.
    next: u32,
    live: bool,
    value: T,
}

/// The last generation. A slot that has reached it is never used again, so that no stale reference comes back to life.
const LAST_GENERATION: u32 = u32::MAX;

impl<T: Vacant> Vacant for Slot<T> {
    const EMPTY: Self = Slot { generation: 0, references: 0, next: 0, live: false, value: T::EMPTY };
}

/// A table of objects. It begins with its slots.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub(crate) struct Table<T, S> {
    slots: S,
    /// First slot of the free list, 0 if it is empty.
    free: u32,
    /// Slots below this (and above 0) have been used before.
    fresh: u32,
    /// Objects that are dead but not yet taken apart: first and last of a queue through `next`.
    dying: u32,
    /// Slots at the end for which the machine has no memory. They are empty for ever.
    missing: u32,
    objects: PhantomData<T>,
}

/// An object's name and the generation that makes the name mean just this object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Reference<I> {
    pub(crate) id: I,
    pub(crate) generation: u32,
}

impl<T, S: Slots<Slot<T>>> Table<T, S> {
    /// A table that was never used.
    pub(crate) const EMPTY: Self =
        Table { slots: S::EMPTY, free: 0, fresh: 0, dying: 0, missing: 0, objects: PhantomData };

    /// Leaves out the last slots: of [`TABLE_SHARES`] shares of the table, all but the first ones. The table is empty.
    pub(crate) fn shorten(&mut self, shares: usize) {
        self.missing = count(S::LENGTH / TABLE_SHARES * TABLE_SHARES.saturating_sub(shares));
    }

    /// Whether [`Table::insert`] would find a slot.
    pub(crate) fn has_room(&self) -> bool {
        self.free != 0 || (self.fresh as usize) + 1 < self.length()
    }

    /// The index that the next [`Table::insert`] returns. Only to be asked when there is room.
    pub(crate) fn next_index(&self) -> usize {
        if self.free != 0 { self.free as usize } else { self.fresh as usize + 1 }
    }

    /// Places an object. The caller has checked [`Table::has_room`]. Returns index and generation.
    pub(crate) fn insert(&mut self, value: T) -> (usize, u32) {
        let index = self.next_index();
        if self.free != 0 {
            self.free = self.slots.at(index).next;
        } else {
            self.fresh += 1;
        }
        let slot = self.slots.at_mut(index);
        slot.generation += u32::from(slot.generation == 0 || !seeded!(GenerationReused));
        slot.references = 0;
        slot.next = 0;
        slot.live = true;
        slot.value = value;
        (index, slot.generation)
    }

    /// The object with this index if it lives in this generation.
    pub(crate) fn get(&self, index: usize, generation: u32) -> Option<&T> {
        let slot = self.slots.at(index);
        if slot.live && slot.generation == generation && index < S::LENGTH { Some(&slot.value) } else { None }
    }

    /// The generation in which the slot is.
    pub(crate) fn generation(&self, index: usize) -> u32 {
        self.slots.at(index).generation
    }

    /// Whether a live object has this index.
    pub(crate) fn is_live(&self, index: usize) -> bool {
        index < S::LENGTH && self.slots.at(index).live
    }

    /// The object with an index that the kernel itself keeps, alive or on its way out.
    pub(crate) fn at(&self, index: usize) -> &T {
        &self.slots.at(index).value
    }

    /// The same, to change.
    pub(crate) fn at_mut(&mut self, index: usize) -> &mut T {
        &mut self.slots.at_mut(index).value
    }

    /// How many references keep the object alive.
    pub(crate) fn references(&self, index: usize) -> u32 {
        self.slots.at(index).references
    }

    /// One more reference.
    pub(crate) fn retain(&mut self, index: usize) {
        self.slots.at_mut(index).references += 1;
    }

    /// One reference less; tells how many are left.
    pub(crate) fn release(&mut self, index: usize) -> u32 {
        let slot = self.slots.at_mut(index);
        slot.references = slot.references.saturating_sub(1);
        slot.references
    }

    /// Makes every reference to a live object stale and queues the object to be taken apart.
    pub(crate) fn condemn(&mut self, index: usize) {
        let first = self.dying;
        let slot = self.slots.at_mut(index);
        if slot.live {
            slot.live = false;
            slot.next = first;
            self.dying = count(index);
        }
    }

    /// The object to be taken apart next.
    pub(crate) fn condemned(&self) -> Option<usize> {
        if self.dying == 0 { None } else { Some(self.dying as usize) }
    }

    /// Frees the slot of the object that [`Table::condemned`] named, now that nothing of it is left.
    pub(crate) fn bury(&mut self) {
        let index = self.dying as usize;
        if index == 0 {
            return;
        }
        let free = self.free;
        let slot = self.slots.at_mut(index);
        self.dying = slot.next;
        slot.next = 0;
        slot.references = 0;
        if slot.generation < LAST_GENERATION {
            slot.next = free;
            self.free = count(index);
        }
    }

    /// Index of every live object, for invariants and statistics.
    pub(crate) fn live_indices(&self) -> impl Iterator<Item = usize> + '_ {
        (1..=self.fresh as usize).filter(|index| self.slots.at(*index).live)
    }

    /// Index of every object that is dead but not yet taken apart.
    pub(crate) fn condemned_indices(&self) -> impl Iterator<Item = usize> + '_ {
        self.chain(self.dying)
    }

    /// Index of every object of which something is left.
    pub(crate) fn present_indices(&self) -> impl Iterator<Item = usize> + '_ {
        self.live_indices().chain(self.condemned_indices())
    }

    /// Whether anything is left of the object with this index.
    pub(crate) fn is_present(&self, index: usize) -> bool {
        self.is_live(index) || self.condemned_indices().any(|condemned| condemned == index)
    }

    /// The slots from this one on through `next`. Ends after as many as there are, should it be a circle.
    fn chain(&self, first: u32) -> impl Iterator<Item = usize> + '_ {
        let next = |index: &usize| Some(self.slots.at(*index).next as usize).filter(|next| *next != 0);
        core::iter::successors(Some(first as usize).filter(|first| *first != 0), next).take(S::LENGTH)
    }

    /// How many slots the table has.
    pub(crate) fn length(&self) -> usize {
        S::LENGTH - self.missing as usize
    }

    /// Whether every slot that was ever used is exactly one of live, condemned, free or used up, and the two lists
    /// hold just those.
    pub(crate) fn lists_are_sound(&self) -> bool {
        let fresh = self.fresh as usize;
        let dead = |index: usize| index <= fresh && !self.slots.at(index).live;
        let used_up = (1..=fresh).filter(|index| {
            let slot = self.slots.at(*index);
            !slot.live && slot.generation == LAST_GENERATION && !self.condemned_indices().any(|other| other == *index)
        });
        fresh < self.length()
            && self.chain(self.free).all(dead)
            && self.condemned_indices().all(dead)
            && self.live_indices().count()
                + self.chain(self.free).count()
                + self.condemned_indices().count()
                + used_up.count()
                == fresh
            && self.live_indices().all(|index| self.slots.at(index).generation != 0)
            && (fresh + 1..S::LENGTH).all(|index| self.slots.at(index).generation == 0 && !self.slots.at(index).live)
    }

    /// Feeds the order in which slots will be used to a hasher.
    pub(crate) fn hash_lists(&self, hasher: &mut impl core::hash::Hasher) {
        hasher.write_u32(self.fresh);
        self.chain(self.free).for_each(|index| hasher.write_usize(index));
        hasher.write_u32(0);
        self.condemned_indices().for_each(|index| hasher.write_usize(index));
    }
}

/// What observers need; see [`crate::Kernel::difference`] and [`crate::Kernel::normal`].
impl<T: Copy, S: Slots<Slot<T>>> Table<T, S> {
    /// Whether two tables are the same, their objects compared by `same`.
    pub(crate) fn is_like(&self, other: &Self, same: impl Fn(&T, &T) -> bool) -> bool {
        let lists = |table: &Self| (table.free, table.fresh, table.dying);
        let meta = |slot: &Slot<T>| (slot.generation, slot.references, slot.next, slot.live);
        lists(self) == lists(other)
            && (0..S::LENGTH)
                .map(|index| (self.slots.at(index), other.slots.at(index)))
                .all(|(one, two)| meta(one) == meta(two) && same(&one.value, &two.value))
    }

    /// Replaces generations by 1 of what lives and 0 of what does not, and leaves nothing of what is gone.
    pub(crate) fn forget_generations(&mut self, empty: T) {
        for index in 0..S::LENGTH {
            let present = self.is_present(index);
            let slot = self.slots.at_mut(index);
            slot.generation = u32::from(slot.live);
            if !slot.live {
                slot.references = 0;
            }
            if !present {
                slot.value = empty;
            }
        }
    }

    /// Feeds all of it to a hasher.
    pub(crate) fn hash_all(&self, hasher: &mut impl core::hash::Hasher)
    where
        T: core::hash::Hash,
    {
        use core::hash::Hash;
        (self.free, self.fresh, self.dying).hash(hasher);
        (0..S::LENGTH).for_each(|index| self.slots.at(index).hash(hasher));
    }
}

#[cfg(test)]
impl<T, S: Slots<Slot<T>>> Table<T, S> {
    /// Breaks the table: one of its slots is in no list.
    pub(crate) fn lose_a_slot(&mut self) {
        self.fresh += 1;
    }

    /// Makes this the last generation of an object.
    pub(crate) fn age(&mut self, index: usize) {
        self.slots.at_mut(index).generation = LAST_GENERATION;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Vacant for u8 {
        const EMPTY: Self = 0;
    }

    /// Three objects at most.
    fn table() -> Table<u8, [Slot<u8>; 4]> {
        Table::EMPTY
    }

    #[test]
    fn a_slot_is_used_again_for_another_object_than_its_name_means() {
        let mut table = table();
        let (index, generation) = table.insert(1);
        table.condemn(index);
        assert_eq!(table.get(index, generation), None);
        table.bury();
        let (again, next) = table.insert(2);
        assert_eq!((again, next), (index, generation + 1));
        assert_eq!((table.get(index, generation), table.get(index, next)), (None, Some(&2)));
    }

    #[test]
    fn a_slot_whose_generations_are_used_up_is_never_used_again() {
        let mut table = table();
        let (index, _) = table.insert(1);
        table.age(index);
        table.condemn(index);
        table.bury();
        assert_ne!(table.insert(2).0, index);
        assert_ne!(table.insert(3).0, index);
        assert!(!table.has_room());
    }

    #[test]
    fn a_table_that_was_shortened_takes_fewer() {
        let mut table = Table::<u8, [Slot<u8>; 16]>::EMPTY;
        table.shorten(TABLE_SHARES / 4);
        assert_eq!(table.length(), 4);
        for value in 1..4 {
            assert!(table.has_room());
            table.insert(value);
        }
        assert!(!table.has_room() && table.lists_are_sound());
    }

    #[test]
    fn no_object_has_an_index_behind_the_table() {
        let mut table = table();
        let (index, generation) = table.insert(1);
        assert!(table.is_live(index) && table.get(index, generation).is_some());
        assert!(!table.is_live(4 + index) && table.get(4 + index, generation).is_none());
    }
}
