//! Devices: the spaces that they see, the interrupts that they may raise, and what they were refused.

use crate::effect::Effect;
use crate::frame::Frame;
use crate::identity::{AccountId, CpuId, InterruptId, NotificationId, SpaceId, ThreadId};
use crate::kernel::{Kernel, Tables};
use crate::space::{Flavour, Space};
use crate::table::Reference;
use crate::{Resume, Tree};
use abi::device::{SourceId, SourceRange, Stray};

/// Refused accesses that are kept until somebody asks; more are counted only.
const STRAYS: usize = 8;

/// Accesses that the IOMMU has refused and that nobody has asked for yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Strays {
    /// The earliest first, without gaps.
    pub(crate) list: [Option<Stray>; STRAYS],
    /// How many came while the list was full.
    pub(crate) lost: u32,
    /// What is set when one comes.
    pub(crate) watch: Option<Reference<NotificationId>>,
    pub(crate) watch_bits: u64,
}

impl Strays {
    pub(crate) const NONE: Strays = Strays { list: [None; STRAYS], lost: 0, watch: None, watch_bits: 0 };

    fn push(&mut self, stray: Stray) {
        match self.list.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(stray),
            None => self.lost = self.lost.saturating_add(1),
        }
    }

    /// The earliest, and how many were lost since the last time that this was told.
    fn pop(&mut self) -> Option<(Stray, u32)> {
        let earliest = self.list[0].take()?;
        self.list.rotate_left(1);
        Some((earliest, core::mem::take(&mut self.lost)))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list[0].is_none()
    }

    /// Breaks the list: the earliest is not the first.
    #[cfg(test)]
    pub(crate) fn open_a_gap(&mut self) {
        let stray = Stray { source: SourceId(8), kind: abi::device::StrayKind::Read, reason: 0, address: 0 };
        self.list[1] = Some(stray);
    }

    /// Whether the earliest comes first.
    pub(crate) fn has_no_gap(&self) -> bool {
        self.list.iter().is_sorted_by_key(|place| place.is_none())
    }
}

impl<T: Tables> Kernel<T> {
    /// The page tables of a space, as the shell and its view of the machine know them.
    pub(crate) fn tree_of(&self, id: SpaceId) -> Tree {
        let space = self.spaces.at(id.index());
        Tree { root: space.root, device: space.is_device().then_some(id) }
    }

    /// The spaces that devices see, with the functions that see them. There are no more than an IOMMU tells apart, however
    /// many others there are.
    pub fn seen_spaces(&self) -> impl Iterator<Item = (SpaceId, SourceRange)> + '_ {
        let next = |id: &SpaceId| self.spaces.at(id.index()).next_seen;
        let seen = core::iter::successors(self.seen, next).take(self.spaces.length());
        seen.filter_map(|id| Some((id, self.spaces.at(id.index()).sources?)))
    }

    /// Whether one of these functions has a space: one that lives, or one that is not taken apart yet.
    pub(crate) fn has_device_space(&self, sources: SourceRange) -> bool {
        self.seen_spaces().any(|(_, others)| others.overlaps(sources))
    }

    /// No function sees the space any more. Tells which did.
    pub(crate) fn forget_sources(&mut self, id: SpaceId) -> Option<SourceRange> {
        let sources = self.spaces.at_mut(id.index()).sources.take()?;
        let next = self.spaces.at_mut(id.index()).next_seen.take();
        let before = |other: &SpaceId| self.spaces.at(other.index()).next_seen == Some(id);
        match core::iter::successors(self.seen, |other| self.spaces.at(other.index()).next_seen).find(before) {
            Some(before) => self.spaces.at_mut(before.index()).next_seen = next,
            None => self.seen = next,
        }
        Some(sources)
    }

    pub(crate) fn create_device_space(
        &mut self,
        account: AccountId,
        root: Frame,
        sources: SourceRange,
    ) -> ((usize, u32), Effect) {
        let made = self.create_space(account, root);
        let Some(space) = SpaceId::from_index(made.0) else { return (made, Effect::None) };
        let next_seen = self.seen.replace(space);
        *self.spaces.at_mut(made.0) =
            Space { flavour: Flavour::Device, sources: Some(sources), next_seen, ..*self.spaces.at(made.0) };
        (made, Effect::AttachDevices { sources, space, root })
    }

    /// Lets a function, and no other, raise an interrupt.
    pub(crate) fn route(&mut self, interrupt: InterruptId, source: SourceId) -> Effect {
        self.interrupts.at_mut(interrupt.index()).device = Some(source);
        Effect::RouteInterrupt { interrupt, source }
    }

    pub(crate) fn watch_devices(&mut self, watch: Option<(NotificationId, u64)>) {
        self.strays.watch = watch.map(|(id, _)| self.notification_reference(id));
        self.strays.watch_bits = watch.map_or(0, |(_, bits)| bits);
        // What came before anybody watched must not be forgotten.
        if !self.strays.is_empty() {
            self.tell_of_strays();
        }
    }

    fn tell_of_strays(&mut self) {
        if let Some(watch) = self.strays.watch
            && self.notifications.get(watch.id.index(), watch.generation).is_some()
        {
            self.notify(watch.id, self.strays.watch_bits);
        }
    }

    /// The IOMMU has refused a device something. The shell hears of no more until [`Effect::HearStrays`].
    pub fn stray(&mut self, cpu: CpuId, stray: Stray, now: u64) {
        self.enter(cpu, now);
        self.strays.push(stray);
        self.tell_of_strays();
    }

    pub(crate) fn take_stray(&mut self, thread: ThreadId) -> Effect {
        if let Some((stray, lost)) = self.strays.pop() {
            self.thread_mut(thread).resume = Resume::Result([0, stray.address, stray.to_register(), u64::from(lost)]);
        }
        // Whoever strays without end is heard of only as fast as somebody listens.
        if self.strays.is_empty() { Effect::HearStrays } else { Effect::None }
    }
}
