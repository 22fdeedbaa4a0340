//! Domains that are restarted together when one of them cannot be kept alive by itself.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::{DomainIndex, GroupIndex, System};

/// Domains, and groups of such, whose deaths are dealt with together once one of them has died more often than its own
/// restart policy allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Unique among the groups: lowercase letters, digits and dashes.
    pub name: String,
    /// The group to which it belongs, which comes before it; `None` if it is the system's own.
    pub parent: Option<GroupIndex>,
    /// Domains that belong to it and to no group within it; sorted, without repeats.
    pub members: Vec<DomainIndex>,
    /// Who is restarted when one of its members, or a group within it, is beyond its own limit.
    pub strategy: Strategy,
    /// Most such restarts within the window; one more, and the group it belongs to has to see to it.
    pub limit: u32,
    /// The window over which they are counted, in milliseconds.
    pub window_ms: u32,
}

/// Who is restarted along with a part of a group that is beyond its own limit. The order is that in which domains are
/// started, which is that of the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Strategy {
    /// Nobody.
    OneForOne,
    /// Whoever is started after it.
    RestForOne,
    /// The whole group.
    OneForAll,
}

impl Strategy {
    /// Every strategy, in the order of the manifest's documentation.
    pub const ALL: [Self; 3] = [Self::OneForOne, Self::RestForOne, Self::OneForAll];

    /// The word for the strategy in `system.toml`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OneForOne => "one-for-one",
            Self::RestForOne => "rest-for-one",
            Self::OneForAll => "one-for-all",
        }
    }
}

impl System {
    /// The innermost group to which a domain belongs.
    pub fn group_of(&self, domain: DomainIndex) -> Option<GroupIndex> {
        let place = self.groups.iter().position(|group| group.members.contains(&domain))?;
        Some(GroupIndex(place as u16))
    }

    /// Whether a group is another one, or lies within it.
    pub fn is_within(&self, group: GroupIndex, other: GroupIndex) -> bool {
        let mut at = Some(group);
        // A parent comes before its children, so that this ends.
        while let Some(index) = at {
            if index == other {
                return true;
            }
            at = self.groups.get(index.position()).and_then(|group| group.parent).filter(|parent| *parent < index);
        }
        false
    }

    /// Every domain that belongs to a group or to one within it, in the order in which they are started.
    pub fn domains_in(&self, group: GroupIndex) -> Vec<DomainIndex> {
        let within = (0_u16..).map(GroupIndex).zip(&self.groups).filter(|(index, _)| self.is_within(*index, group));
        let mut domains: Vec<_> = within.flat_map(|(_, group)| group.members.iter().copied()).collect();
        domains.sort_unstable();
        domains
    }
}
