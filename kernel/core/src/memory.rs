//! Mapping, unmapping and donating memory.

use crate::capability::halves;
use crate::effect::{Effect, MapPiece, UnmapPiece};
use crate::frame::{Frame, FrameState};
use crate::identity::{CapId, MappingId, SpaceId, ThreadId};
use crate::kernel::{Kernel, Tables};
use crate::space::Mapping;
use crate::table::{Vacant, short};
use abi::Error;
use abi::syscall::{Charge, MapAccess};

/// A map that decoding has found to be possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MapOrder {
    pub(crate) space: SpaceId,
    pub(crate) memory: CapId,
    pub(crate) address: u64,
    pub(crate) frame: Frame,
    pub(crate) pages: u16,
    pub(crate) access: MapAccess,
    pub(crate) missing_tables: u8,
}

impl<T: Tables> Kernel<T> {
    /// The mapping with this public id.
    pub(crate) fn lookup_mapping(&self, id: u64) -> Result<MappingId, Error> {
        let [index, generation] = halves(id);
        let mapping = MappingId::from_index(index as usize).ok_or(Error::StaleHandle)?;
        match self.mappings.get(mapping.index(), generation) {
            Some(_) => Ok(mapping),
            None => Err(Error::StaleHandle),
        }
    }

    /// The public id of the mapping with this index.
    pub(crate) fn mapping_number(&self, index: usize) -> u64 {
        u64::from(self.mappings.generation(index)) << 32 | index as u64
    }

    /// Whether a run of frames is all RAM for user space, or all outside RAM. Tells which (`true`: a device).
    pub(crate) fn check_frames(&self, frame: Frame, pages: u64) -> Result<bool, Error> {
        let device = self.frames.state(frame) == FrameState::Absent;
        let pages = u32::try_from(pages).map_err(|_| Error::BadArgument)?;
        for state in self.frames.states(frame, pages) {
            match state {
                FrameState::Kernel if seeded!(KernelPageMapped) => {}
                FrameState::Kernel => return Err(Error::KernelPage),
                FrameState::User if device => return Err(Error::BadArgument),
                FrameState::Absent if !device => return Err(Error::BadArgument),
                FrameState::User | FrameState::Absent => {}
            }
        }
        Ok(device)
    }

    /// Takes a page from a space's pool for use as a table.
    pub(crate) fn take_table(&mut self, space: SpaceId) -> Option<Frame> {
        let entry = *self.spaces.at(space.index());
        if entry.pool == 0 {
            return None;
        }
        let frame = Frame(entry.pool);
        let next = self.frames.entry(frame).next;
        self.frames.set_next(frame, entry.tables);
        let entry = self.spaces.at_mut(space.index());
        entry.pool = next;
        entry.pool_count -= 1;
        entry.tables = frame.0;
        Some(frame)
    }

    /// Maps; returns the public id of the mapping and the frames that become tables for it, for [`Kernel::map_effect`].
    pub(crate) fn map(&mut self, order: &MapOrder) -> (u64, [Option<Frame>; 3]) {
        let mut tables = [None; 3];
        for table in tables.iter_mut().take(order.missing_tables as usize) {
            *table = self.take_table(order.space);
        }
        self.frames.pin(order.frame, order.pages.into());
        if let Some(account) = self.spaces.at(order.space.index()).account {
            self.charge(account, Charge::Mappings, 1);
        }
        let next_in_space = self.spaces.at(order.space.index()).first_mapping;
        let (index, _) = self.mappings.insert(Mapping {
            space: Some(order.space),
            address: order.address,
            frame: order.frame,
            pages: order.pages,
            access: Some(order.access),
            next_in_space,
            ..Mapping::EMPTY
        });
        if let Some(id) = MappingId::from_index(index) {
            if let Some(next) = next_in_space {
                self.mappings.at_mut(next.index()).previous_in_space = Some(id);
            }
            self.spaces.at_mut(order.space.index()).first_mapping = Some(id);
            self.adopt_mapping(id, Some(order.memory));
        }
        (self.mapping_number(index), tables)
    }

    /// What the shell is to do for a mapping, with these frames as tables.
    pub(crate) fn map_effect(&self, order: &MapOrder, tables: [Option<Frame>; 3]) -> Effect {
        Effect::Map(MapPiece {
            tree: self.tree_of(order.space),
            address: order.address,
            frame: order.frame,
            pages: order.pages,
            access: order.access,
            device: self.frames.state(order.frame) == FrameState::Absent,
            tables,
        })
    }

    /// Pins a page as a thread's message buffer.
    pub(crate) fn give_buffer(&mut self, thread: ThreadId, memory: CapId, frame: Frame, address: u64) {
        self.drop_buffer(thread);
        self.frames.pin(frame, 1);
        let (index, _) = self.mappings.insert(Mapping {
            thread: Some(thread),
            address,
            frame,
            pages: 1,
            access: Some(MapAccess::ReadWrite),
            ..Mapping::EMPTY
        });
        if let Some(id) = MappingId::from_index(index) {
            self.adopt_mapping(id, Some(memory));
            let entry = self.thread_mut(thread);
            entry.buffer = Some(frame);
            entry.buffer_mapping = Some(id);
        }
    }

    /// Takes a thread's message buffer away.
    pub(crate) fn drop_buffer(&mut self, thread: ThreadId) {
        if let Some(mapping) = self.thread(thread).buffer_mapping {
            self.remove_mapping(mapping);
        }
    }

    /// Makes a mapping a child of a memory capability.
    fn adopt_mapping(&mut self, id: MappingId, parent: Option<CapId>) {
        let next = parent.and_then(|parent| self.cap(parent).first_mapping);
        let mapping = self.mappings.at_mut(id.index());
        mapping.parent = parent;
        mapping.next = next;
        mapping.previous = None;
        if let Some(next) = next {
            self.mappings.at_mut(next.index()).previous = Some(id);
        }
        if let Some(parent) = parent {
            self.cap_mut(parent).first_mapping = Some(id);
        }
    }

    fn disown_mapping(&mut self, id: MappingId) {
        let Mapping { parent, next, previous, .. } = *self.mappings.at(id.index());
        match previous {
            Some(previous) => self.mappings.at_mut(previous.index()).next = next,
            None => {
                if let Some(parent) = parent {
                    self.cap_mut(parent).first_mapping = next;
                }
            }
        }
        if let Some(next) = next {
            self.mappings.at_mut(next.index()).previous = previous;
        }
    }

    /// Hands up to `limit` mappings of a capability to another; tells whether none is left.
    pub(crate) fn hand_mappings_up(&mut self, from: CapId, to: CapId, limit: usize) -> bool {
        for _ in 0..limit {
            let Some(mapping) = self.cap(from).first_mapping else { return true };
            self.disown_mapping(mapping);
            self.adopt_mapping(mapping, Some(to));
        }
        self.cap(from).first_mapping.is_none()
    }

    /// Removes a mapping from the tables and gives the effect that removes it from the page tables.
    pub(crate) fn remove_mapping(&mut self, id: MappingId) -> Effect {
        self.disown_mapping(id);
        let mapping = *self.mappings.at(id.index());
        if let Some(space) = mapping.space {
            self.shoot_down(space, mapping.frame, mapping.pages);
        }
        if !seeded!(PinsKept) {
            self.frames.unpin(mapping.frame, mapping.pages.into());
        }
        self.mappings.condemn(id.index());
        self.mappings.bury();
        if let Some(thread) = mapping.thread {
            let entry = self.thread_mut(thread);
            entry.buffer = None;
            entry.buffer_mapping = None;
        }
        let Some(space) = mapping.space else { return Effect::None };
        let (next, previous) = (mapping.next_in_space, mapping.previous_in_space);
        match previous {
            Some(previous) => self.mappings.at_mut(previous.index()).next_in_space = next,
            None => self.spaces.at_mut(space.index()).first_mapping = next,
        }
        if let Some(next) = next {
            self.mappings.at_mut(next.index()).previous_in_space = previous;
        }
        if let Some(account) = self.spaces.at(space.index()).account {
            self.discharge(account, Charge::Mappings, 1);
        }
        let tree = self.tree_of(space);
        if tree.device.is_some() && seeded!(DevicePageKept) {
            return Effect::None;
        }
        Effect::Unmap(UnmapPiece { tree: self.tree_of(space), address: mapping.address, pages: mapping.pages })
    }

    /// Donates pages to a space's pool. They are zeroed when they become tables; those that never do go back as they came.
    pub(crate) fn donate_tables(&mut self, space: SpaceId, first: Frame, count: u8) {
        for index in 0..u32::from(count) {
            let frame = first.offset(index);
            let pool = self.spaces.at(space.index()).pool;
            self.frames.donate(frame, short(space.index()), pool);
            let entry = self.spaces.at_mut(space.index());
            entry.pool = frame.0;
            entry.pool_count += 1;
        }
    }
}
