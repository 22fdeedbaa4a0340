//! Bugs to plant: each is a mistake that somebody could have made, and the tests of the search find every one of them.
//!
//! They exist only with the feature `seeded-bugs`, which nothing but those tests enables. Without it every planted place
//! is the constant `false`.

/// Whether a bug is planted here.
#[cfg(not(feature = "seeded-bugs"))]
macro_rules! seeded {
    ($bug:ident) => {
        false
    };
}

/// Whether a bug is planted here.
#[cfg(feature = "seeded-bugs")]
macro_rules! seeded {
    ($bug:ident) => {
        $crate::seed::is_planted($crate::seed::Bug::$bug)
    };
}

#[cfg(feature = "seeded-bugs")]
mod planted {
    use core::sync::atomic::{AtomicU8, Ordering};

    macro_rules! bugs {
        ($($(#[doc = $doc:expr])* $name:ident,)*) => {
            /// A bug to plant.
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            #[repr(u8)]
            pub enum Bug { $($(#[doc = $doc])* $name,)* }

            impl Bug {
                /// Every bug.
                pub const ALL: &'static [Bug] = &[$(Bug::$name),*];

                /// What is wrong with it.
                pub const fn sentence(self) -> &'static str {
                    match self { $(Bug::$name => concat!($($doc),*).trim_ascii(),)* }
                }
            }
        };
    }

    bugs! {
        /// A stale reply is accepted.
        StaleReply,
        /// A lease outlives its call.
        LeaseAfterCall,
        /// Children are lost when a capability is deleted.
        ChildrenLost,
        /// A budget is not returned when its thread dies.
        BudgetKept,
        /// A dead thread stays in its queue.
        DeadThreadQueued,
        /// A page of the kernel is mapped for a user.
        KernelPageMapped,
        /// A device space is taken apart while its device sees it.
        DeviceLeftAttached,
        /// A device is given a second space while it has one.
        DeviceSharedByTwo,
        /// A page stays in a device's tables when its mapping goes.
        DevicePageKept,
        /// Memory that is not for devices is mapped for one.
        DmaRightIgnored,
        /// A generation is used twice.
        GenerationReused,
        /// A page is donated while it is mapped.
        DonatedWhileMapped,
        /// A call may go up.
        LevelUnchecked,
        /// A badge is replaced by another one.
        BadgeForged,
        /// A copy has all rights of the original.
        RightsKept,
        /// A notification is not charged to its account.
        QuotaUncharged,
        /// The timer ends no wait.
        DeadlineIgnored,
        /// Among equals who comes last goes first.
        QueueReversed,
        /// A doorbell does not ring.
        DoorbellLost,
        /// Nobody hears of a caller that is gone.
        WatchLost,
        /// A fault is lost with the handler that had taken it.
        FaultLost,
        /// The pins of a mapping stay when it goes.
        PinsKept,
        /// An endpoint goes and leaves its callers behind.
        CallersLeft,
        /// A refused call uses up a call number.
        RefusalCounted,
        /// A bit that was set is lost when another one is.
        BitLost,
        /// A server keeps its caller's budget after the answer.
        LoanKept,
        /// A processor goes on using a translation that is gone.
        TranslationKept,
    }

    static PLANTED: AtomicU8 = AtomicU8::new(u8::MAX);

    /// Plants a bug in place of the one that was, or none.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.store(bug.map_or(u8::MAX, |bug| bug as u8), Ordering::SeqCst);
    }

    pub(crate) fn is_planted(bug: Bug) -> bool {
        PLANTED.load(Ordering::Relaxed) == bug as u8
    }
}

#[cfg(feature = "seeded-bugs")]
pub(crate) use planted::is_planted;
#[cfg(feature = "seeded-bugs")]
pub use planted::{Bug, plant};
