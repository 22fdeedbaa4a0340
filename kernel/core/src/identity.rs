//! Names of objects inside the kernel: indices into its tables, one type for each table.
//!
//! Slot 0 of every table stays empty, so that `Option` of an index costs nothing and zeroed memory means "none".

use core::num::{NonZeroU16, NonZeroU32};

macro_rules! identities {
    ($($(#[doc = $doc:expr])* $name:ident($inner:ty, $raw:ty);)*) => {
        $(
            $(#[doc = $doc])*
            #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
            #[repr(transparent)]
            pub struct $name($inner);

            impl $name {
                /// The name of the slot with this index; there is none with index 0.
                #[expect(clippy::cast_possible_truncation, reason = "what is too big is turned down before")]
                pub const fn from_index(index: usize) -> Option<Self> {
                    if index > <$raw>::MAX as usize {
                        return None;
                    }
                    match <$inner>::new(index as $raw) {
                        Some(inner) => Some($name(inner)),
                        None => None,
                    }
                }

                /// The slot's index in its table.
                pub const fn index(self) -> usize {
                    self.0.get() as usize
                }
            }

            impl core::fmt::Debug for $name {
                fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                    write!(f, concat!(stringify!($name), "({})"), self.0)
                }
            }
        )*
    };
}

identities! {
    /// An account.
    AccountId(NonZeroU16, u16);
    /// A slot of the arena in which all capability tables lie.
    CapId(NonZeroU32, u32);
    /// An address space.
    SpaceId(NonZeroU16, u16);
    /// A domain.
    DomainId(NonZeroU16, u16);
    /// A thread.
    ThreadId(NonZeroU16, u16);
    /// A budget.
    BudgetId(NonZeroU16, u16);
    /// An endpoint.
    EndpointId(NonZeroU16, u16);
    /// A notification.
    NotificationId(NonZeroU16, u16);
    /// A mapping.
    MappingId(NonZeroU32, u32);
    /// An interrupt.
    InterruptId(NonZeroU16, u16);
}

/// A processor, numbered from 0 in the order in which the loader names them. 0 is the one that boots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct CpuId(u8);

impl CpuId {
    /// The processor that boots.
    pub const BOOT: CpuId = CpuId(0);
    /// The most processors there can be.
    pub const MAX: usize = 32;

    /// The processor with this number.
    #[expect(clippy::cast_possible_truncation, reason = "it is below the most processors, which are few")]
    pub const fn from_index(index: usize) -> Option<Self> {
        if index < Self::MAX { Some(CpuId(index as u8)) } else { None }
    }

    /// Its number.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Its bit in a [`CpuSet`].
    pub const fn bit(self) -> u32 {
        1 << self.0
    }
}

/// Processors, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct CpuSet(pub u32);

impl CpuSet {
    /// The processors in the set, from the lowest number up.
    pub fn iter(self) -> impl Iterator<Item = CpuId> {
        let mut left = self.0;
        core::iter::from_fn(move || {
            let index = left.trailing_zeros();
            left &= left.wrapping_sub(1);
            CpuId::from_index(index as usize)
        })
    }

    pub(crate) const fn insert(&mut self, cpu: CpuId) {
        self.0 |= cpu.bit();
    }
}

impl InterruptId {
    /// The first vector that an interrupt object can have, less one: index 1 has vector 0x31.
    const FIRST_VECTOR: usize = 0x30;
    /// How many interrupt objects can have a vector: 0x31 to 0xef. Those above are the kernel's own.
    pub const VECTORS: usize = 0xef - Self::FIRST_VECTOR;

    /// The interrupt vector of this object.
    #[expect(clippy::cast_possible_truncation, reason = "the root's limit leaves no object beyond the last vector")]
    pub const fn vector(self) -> u8 {
        (Self::FIRST_VECTOR + self.index()) as u8
    }

    /// The object whose vector this is.
    pub const fn from_vector(vector: u8) -> Option<Self> {
        let vector = vector as usize;
        if vector > Self::FIRST_VECTOR && vector <= Self::FIRST_VECTOR + Self::VECTORS {
            Self::from_index(vector - Self::FIRST_VECTOR)
        } else {
            None
        }
    }
}
