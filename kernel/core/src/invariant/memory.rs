//! Frames and mappings.

use super::{Contradiction, expect};
use crate::capability::Extent;
use crate::frame::{Frame, FrameState};
use crate::identity::{MappingId, SpaceId};
use crate::kernel::{Kernel, Tables};
use crate::table::count;
use abi::rights::{Kind, MemoryRights};
use abi::{PAGE_SIZE, USER_END};

impl<T: Tables> Kernel<T> {
    pub(super) fn mappings_are_derived(&self) -> Result<(), Contradiction> {
        let mut listed = 0;
        for id in self.full_slots() {
            let slot = self.cap(id);
            let (mut next, mut previous) = (slot.first_mapping, None);
            while let Some(mapping) = next {
                let entry = self.mappings.at(mapping.index());
                expect(self.mappings.is_live(mapping.index()), "a dead mapping in a list", mapping.index())?;
                expect(entry.parent == Some(id), "a mapping of another capability", mapping.index())?;
                expect(entry.previous == previous, "a mapping with a wrong link", mapping.index())?;
                previous = next;
                next = entry.next;
                listed += 1;
                expect(listed < self.mappings.length(), "a list of mappings without an end", id.index())?;
            }
        }
        expect(listed == self.mappings.live_indices().count(), "a mapping in no capability's list", 0)?;
        for index in self.mappings.live_indices() {
            let entry = self.mappings.at(index);
            let Some(capability) = entry.parent.and_then(|parent| self.cap(parent).capability()) else {
                return expect(false, "a mapping without a capability", index);
            };
            let extent = Extent::from_badge(capability.badge);
            let covered = capability.kind == Kind::Memory
                && entry.frame.0 >= extent.frame
                && u64::from(entry.frame.0) + u64::from(entry.pages)
                    <= u64::from(extent.frame) + u64::from(extent.pages);
            expect(covered && entry.pages > 0, "a mapping beyond its capability", index)?;
            let mut needed = MemoryRights::READ;
            let for_device = entry.space.is_some_and(|space| self.spaces.at(space.index()).is_device());
            needed.set(MemoryRights::DMA, for_device);
            needed.set(MemoryRights::WRITE, entry.access.is_some_and(|access| access.writes()));
            needed.set(MemoryRights::EXECUTE, entry.access.is_some_and(|access| access.executes()));
            expect(capability.rights & needed.bits() == needed.bits(), "a mapping that allows more", index)?;
        }
        Ok(())
    }

    pub(super) fn mappings_have_one_holder(&self) -> Result<(), Contradiction> {
        let mut listed = 0;
        for index in self.spaces.present_indices() {
            let (mut next, mut previous) = (self.spaces.at(index).first_mapping, None);
            while let Some(mapping) = next {
                let entry = self.mappings.at(mapping.index());
                expect(self.mappings.is_live(mapping.index()), "a space lists a dead mapping", index)?;
                expect(entry.space == SpaceId::from_index(index), "a mapping of another space", mapping.index())?;
                expect(entry.previous_in_space == previous, "a mapping with a wrong link", mapping.index())?;
                previous = next;
                next = entry.next_in_space;
                listed += 1;
                expect(listed < self.mappings.length(), "a list of mappings without an end", index)?;
            }
        }
        for index in self.mappings.live_indices() {
            let entry = self.mappings.at(index);
            let end = entry.address.saturating_add(u64::from(entry.pages) * PAGE_SIZE);
            expect(end <= USER_END, "a mapping outside of user space", index)?;
            match (entry.space, entry.thread) {
                (Some(_), None) => {
                    let windows = (entry.address / PAGE_SIZE / 512, (end - 1) / PAGE_SIZE / 512);
                    let aligned = entry.address.is_multiple_of(PAGE_SIZE) && windows.0 == windows.1;
                    expect(aligned && entry.address != 0, "a mapping at an impossible place", index)?;
                    listed -= 1;
                }
                (None, Some(thread)) => {
                    let holder = self.thread(thread);
                    let held = self.threads.is_live(thread.index())
                        && holder.buffer_mapping == MappingId::from_index(index)
                        && holder.buffer == Some(entry.frame);
                    expect(held && entry.pages == 1, "a message buffer that its thread does not know", index)?;
                }
                _ => return expect(false, "a mapping without a holder or with two", index),
            }
        }
        expect(listed == 0, "a mapping that its space does not list", 0)?;
        for thread in self.live_threads() {
            let entry = self.thread(thread);
            let paired = match entry.buffer_mapping {
                Some(mapping) => self.mappings.at(mapping.index()).thread == Some(thread) && entry.buffer.is_some(),
                None => entry.buffer.is_none(),
            };
            expect(paired, "a thread with half a message buffer", thread.index())?;
        }
        Ok(())
    }

    fn all_frames(&self) -> impl Iterator<Item = Frame> + '_ {
        (0..count(self.frames.length())).map(Frame)
    }

    pub(super) fn pins_count_mappings(&self) -> Result<(), Contradiction> {
        for frame in self.all_frames() {
            let covers = |index: &usize| {
                let entry = self.mappings.at(*index);
                frame.0 >= entry.frame.0 && frame.0 - entry.frame.0 < u32::from(entry.pages)
            };
            let entry = self.frames.entry(frame);
            let ram = entry.state != FrameState::Absent;
            let count = if ram { self.mappings.live_indices().filter(covers).count() } else { 0 };
            expect(entry.pins as usize == count, "a frame counts otherwise", frame.0 as usize)?;
        }
        Ok(())
    }

    pub(super) fn kernel_frames_are_never_mapped(&self) -> Result<(), Contradiction> {
        for frame in self.all_frames().filter(|frame| self.frames.state(*frame) == FrameState::Kernel) {
            expect(self.frames.entry(frame).pins == 0, "a frame of the kernel is pinned", frame.0 as usize)?;
            expect(!self.is_quarantined(frame), "a frame of the kernel is remembered", frame.0 as usize)?;
        }
        for index in self.mappings.live_indices() {
            let entry = self.mappings.at(index);
            for page in 0..u32::from(entry.pages) {
                let kernel = self.frames.state(entry.frame.offset(page)) == FrameState::Kernel;
                expect(!kernel, "a mapping covers a frame of the kernel", index)?;
            }
        }
        Ok(())
    }

    pub(super) fn donated_frames_have_one_place(&self) -> Result<(), Contradiction> {
        let mut placed = 0;
        for index in self.spaces.present_indices() {
            let space = self.spaces.at(index);
            let mut check = |first: u32| {
                let (mut next, mut count) = (first, 0);
                while next != 0 {
                    let entry = self.frames.entry(Frame(next));
                    let donated = entry.state == FrameState::Kernel && entry.owner as usize == index;
                    expect(donated, "a frame in a list of a space that it does not belong to", next as usize)?;
                    count += 1;
                    placed += 1;
                    expect(count <= self.frames.length(), "a list of frames without an end", index)?;
                    next = entry.next;
                }
                Ok(count)
            };
            let pool = check(space.pool)?;
            check(space.tables)?;
            expect(pool == space.pool_count as usize, "a space counts its pool otherwise", index)?;
            let root = self.frames.entry(space.root);
            let donated = root.state == FrameState::Kernel && root.owner as usize == index;
            expect(donated, "a root table that does not belong to its space", index)?;
            placed += 1;
        }
        let donated = self.all_frames().filter(|frame| self.frames.entry(*frame).owner != 0).count();
        expect(donated == placed, "a donated frame in no list, or in two", 0)
    }

    pub(super) fn frame_counters_agree(&self) -> Result<(), Contradiction> {
        let count = |wanted: fn(&crate::FrameEntry) -> bool| {
            self.all_frames().filter(|frame| wanted(&self.frames.entry(*frame))).count() as u64
        };
        let ram = count(|entry| entry.state != FrameState::Absent);
        expect(self.frames.total == ram, "another number of frames", 0)?;
        let kernel = count(|entry| entry.state == FrameState::Kernel);
        expect(self.frames.kernel == kernel, "another number of frames of the kernel", 0)?;
        let mapped = count(|entry| entry.pins > 0);
        expect(self.frames.mapped == mapped, "another number of mapped frames", 0)
    }
}
