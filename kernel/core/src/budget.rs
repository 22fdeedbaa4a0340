//! Budgets: how much of a processor a thread may use, and at which priority.
//!
//! A budget whose slice equals its period is a plain turn among equals: it never runs dry. One with a shorter slice is a
//! sporadic server: what was used comes back one period after the run in which it was used began, in pieces, so that no
//! stretch of time as long as a period sees more than a slice and what was left of the piece before (Sprunt, Sha and
//! Lehoczky, "Aperiodic task scheduling for hard-real-time systems", 1989; kept in a short list of refills as Stanovic
//! et al. describe, "Defects of the POSIX sporadic server and how to correct them", 2010).

use crate::identity::{AccountId, CpuId, ThreadId};
use crate::table::Vacant;

/// How many pieces a budget can be in. When the list is full, pieces are joined at the later one's time, which never
/// gives more than the share.
const REFILLS: usize = 6;

/// A piece of a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Refill {
    /// From when on it can be used, in nanoseconds since boot.
    pub(crate) at: u64,
    /// Nanoseconds.
    pub(crate) amount: u64,
}

/// The pieces of a slice, the earliest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Refills {
    list: [Refill; REFILLS],
    count: u8,
}

impl Refills {
    const NONE: Refills = Refills { list: [Refill { at: 0, amount: 0 }; REFILLS], count: 0 };

    /// The whole slice, to be used from `at` on.
    fn full(slice: u64, at: u64) -> Self {
        let mut refills = Self::NONE;
        refills.list[0] = Refill { at, amount: slice };
        refills.count = 1;
        refills
    }

    pub(crate) fn as_slice(&self) -> &[Refill] {
        self.list.get(..usize::from(self.count)).unwrap_or(&self.list)
    }

    fn head(&self) -> Refill {
        self.list[0]
    }

    fn pop(&mut self) -> Refill {
        let head = self.list[0];
        self.list.copy_within(1.., 0);
        self.list[REFILLS - 1] = Refill { at: 0, amount: 0 };
        self.count = self.count.saturating_sub(1);
        head
    }

    /// Adds a piece at the end. One that follows without a gap belongs to the last one.
    fn push(&mut self, piece: Refill) {
        let count = usize::from(self.count);
        if let Some(last) = self.list.get_mut(count.wrapping_sub(1)) {
            if last.at.saturating_add(last.amount) >= piece.at {
                last.amount += piece.amount;
                return;
            }
            if count == REFILLS {
                last.at = piece.at - last.amount;
                last.amount += piece.amount;
                return;
            }
        }
        if let Some(place) = self.list.get_mut(count) {
            *place = piece;
            self.count += 1;
        }
    }

    /// Joins what can be used from `now` on without a gap, as if it had begun to be usable only now.
    fn wake(&mut self, now: u64) {
        if self.list[0].at > now {
            return;
        }
        self.list[0].at = now;
        while self.count > 1 && self.list[1].at <= now.saturating_add(self.list[0].amount) {
            let head = self.pop();
            self.list[0] = Refill { at: head.at, amount: head.amount + self.list[0].amount };
        }
    }

    /// Takes `used` nanoseconds away; they come back after `period`.
    fn charge(&mut self, used: u64, period: u64) {
        let mut used = used;
        while self.count > 0 && self.head().amount <= used {
            let Refill { at, amount } = self.pop();
            used -= amount;
            self.push_after_all(Refill { at: at.saturating_add(period), amount });
        }
        if used > 0 {
            let at = self.head().at;
            self.list[0] = Refill { at: at.saturating_add(used), amount: self.head().amount - used };
            self.push_after_all(Refill { at: at.saturating_add(period), amount: used });
        }
        // A crumb is not worth a switch: it waits for the next piece.
        while self.count > 1 && self.head().amount < Budget::MIN_SLICE {
            let crumb = self.pop();
            self.list[0].amount += crumb.amount;
        }
    }

    /// Adds a piece behind all others, never before the last one's time.
    fn push_after_all(&mut self, piece: Refill) {
        if self.count == 0 {
            self.list[0] = piece;
            self.count = 1;
        } else {
            self.push(piece);
        }
    }
}

/// A scheduling context: a priority, and runtime per period on one processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Budget {
    pub(crate) account: Option<AccountId>,
    pub(crate) priority: u8,
    /// Whose time it is.
    pub(crate) cpu: CpuId,
    /// Nanoseconds of runtime in a period.
    pub(crate) slice: u64,
    /// Nanoseconds.
    pub(crate) period: u64,
    /// What of the slice can be used when.
    pub(crate) refills: Refills,
    /// The thread whose own budget it is.
    pub(crate) thread: Option<ThreadId>,
}

impl Vacant for Budget {
    const EMPTY: Self = Self {
        account: None,
        priority: 0,
        cpu: CpuId::BOOT,
        slice: 0,
        period: 0,
        refills: Refills::NONE,
        thread: None,
    };
}

impl Budget {
    /// The shortest slice: shorter ones would let a thread keep the machine busy with switching.
    pub(crate) const MIN_SLICE: u64 = 10_000;
    /// The longest slice and period: an hour.
    pub(crate) const MAX_SLICE: u64 = 3_600_000_000_000;

    pub(crate) fn new(account: AccountId, priority: u8, slice: u64, period: u64, cpu: CpuId) -> Self {
        let refills = Refills::full(slice, 0);
        Budget { account: Some(account), priority, cpu, slice, period, refills, thread: None }
    }

    /// Whether it is a turn among equals, which never runs dry.
    pub(crate) const fn is_turn(&self) -> bool {
        self.slice == self.period
    }

    /// How far ahead of `now` a piece is that can be used from `at` on, in nanoseconds and eight periods; what is longer
    /// past is all alike.
    pub(crate) const fn distance(&self, at: u64, now: u64) -> u64 {
        const LONG: u64 = 8;
        let oldest = self.period.saturating_mul(LONG);
        at.saturating_add(oldest).saturating_sub(now)
    }

    /// Whether something of it can be used now.
    pub(crate) fn is_usable(&self, now: u64) -> bool {
        self.is_turn() || self.refills.head().at <= now
    }

    /// From when on something of it can be used.
    pub(crate) fn usable_from(&self) -> u64 {
        self.refills.head().at
    }

    /// Nanoseconds for which it lasts if it is used from now on. Only to be asked while it is usable.
    pub(crate) fn lasts(&self) -> u64 {
        self.refills.head().amount
    }

    /// A thread begins to run on it.
    pub(crate) fn begin(&mut self, now: u64) {
        if !self.is_turn() {
            self.refills.wake(now);
        }
    }

    /// Takes away what was used. Tells whether the turn, or what could be used without a gap, is over.
    #[inline(always)]
    pub(crate) fn charge(&mut self, used: u64, now: u64) -> bool {
        if self.is_turn() { self.charge_turn(used) } else { self.charge_share(used, now) }
    }

    /// The same of a turn among equals.
    #[inline(always)]
    pub(crate) fn charge_turn(&mut self, used: u64) -> bool {
        // A turn is one piece, always.
        let piece = &mut self.refills.list[0];
        let left = piece.amount.saturating_sub(used);
        piece.amount = if left == 0 { self.slice } else { left };
        left == 0
    }

    #[inline(never)]
    fn charge_share(&mut self, used: u64, now: u64) -> bool {
        // Whatever delayed the timer, a few slices of debt are enough to make up for it.
        self.refills.charge(used.min(self.slice.saturating_mul(4)), self.period);
        !self.is_usable(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const SLICE: u64 = 2_000_000;
    const PERIOD: u64 = 10_000_000;

    fn budget() -> Budget {
        let account = AccountId::from_index(1).expect("not 0");
        Budget::new(account, 1, SLICE, PERIOD, CpuId::BOOT)
    }

    fn total(budget: &Budget) -> u64 {
        budget.refills.as_slice().iter().map(|refill| refill.amount).sum()
    }

    #[test]
    fn what_was_used_at_once_comes_back_a_period_after_the_run_began() {
        let mut budget = budget();
        budget.begin(5_000_000);
        assert!(budget.charge(SLICE, 5_000_000 + SLICE));
        assert_eq!(budget.usable_from(), 5_000_000 + PERIOD);
        assert!(!budget.is_usable(5_000_000 + PERIOD - 1));
        assert!(budget.is_usable(5_000_000 + PERIOD));
    }

    #[test]
    fn many_short_charges_are_the_same_as_one() {
        let mut budget = budget();
        budget.begin(0);
        for piece in 1..=1000 {
            budget.charge(SLICE / 1000, piece * (SLICE / 1000));
        }
        // But for a crumb at the end, which was not worth a switch.
        assert!((PERIOD..PERIOD + Budget::MIN_SLICE).contains(&budget.usable_from()));
        assert!(budget.lasts() > SLICE - Budget::MIN_SLICE);
        assert_eq!(total(&budget), SLICE);
    }

    #[test]
    fn a_turn_begins_again_as_soon_as_it_is_over() {
        let account = AccountId::from_index(1).expect("not 0");
        let mut budget = Budget::new(account, 1, SLICE, SLICE, CpuId::BOOT);
        assert!(!budget.charge(SLICE - 1, SLICE - 1));
        assert!(budget.charge(1, SLICE));
        assert!(budget.is_usable(SLICE));
        assert_eq!(budget.lasts(), SLICE);
    }

    #[test]
    fn what_is_used_too_much_is_missing_later() {
        let mut budget = budget();
        budget.begin(0);
        budget.charge(3 * SLICE, 3 * SLICE);
        assert!(budget.usable_from() > PERIOD, "the debt delays the next slice");
        assert_eq!(total(&budget), SLICE);
    }

    #[test]
    fn an_absurd_charge_comes_to_an_end() {
        let mut budget = budget();
        budget.charge(u64::MAX, u64::MAX);
        assert_eq!(total(&budget), SLICE);
    }

    /// A thread that runs and rests for pseudo-random stretches; returns when it ran.
    fn runs(seed: u64) -> (Budget, Vec<(u64, u64)>) {
        let mut budget = budget();
        let (mut state, mut now, mut runs) = (seed, 0, Vec::new());
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for _ in 0..2000 {
            now = (now + random(4_000_000)).max(budget.usable_from());
            budget.begin(now);
            let length = (1 + random(SLICE)).min(budget.lasts());
            budget.charge(length, now + length);
            runs.push((now, now + length));
            now += length;
            assert_eq!(total(&budget), SLICE, "nothing is lost and nothing is made");
            assert!(budget.refills.as_slice().is_sorted_by_key(|refill| refill.at));
        }
        (budget, runs)
    }

    #[test]
    fn a_piece_for_which_there_is_no_room_waits_so_that_both_end_when_it_would() {
        let mut refills = Refills::full(10, 0);
        for number in 1..REFILLS as u64 {
            refills.push(Refill { at: 100 * number, amount: 10 });
        }
        refills.push(Refill { at: 1_000, amount: 5 });
        assert_eq!(usize::from(refills.count), REFILLS);
        assert_eq!(refills.as_slice().last(), Some(&Refill { at: 990, amount: 15 }));
    }

    #[test]
    fn pieces_that_can_be_used_without_a_gap_are_one_when_somebody_begins() {
        let two = || {
            let mut refills = Refills::full(10, 100);
            refills.list[1] = Refill { at: 150, amount: 5 };
            refills.count = 2;
            refills
        };
        for (now, pieces) in [
            (99, &[Refill { at: 100, amount: 10 }, Refill { at: 150, amount: 5 }][..]),
            (139, &[Refill { at: 139, amount: 10 }, Refill { at: 150, amount: 5 }]),
            (140, &[Refill { at: 140, amount: 15 }]),
            (500, &[Refill { at: 500, amount: 15 }]),
        ] {
            let mut refills = two();
            refills.wake(now);
            assert_eq!(refills.as_slice(), pieces, "at {now}");
        }
        let mut refills = two();
        refills.list[1].at = 110;
        refills.wake(100);
        assert_eq!(refills.as_slice(), [Refill { at: 100, amount: 15 }], "the very moment is not too early");
    }

    #[test]
    fn what_is_left_of_a_piece_stays_where_it_is_unless_it_is_a_crumb() {
        for (left, pieces) in [
            (
                Budget::MIN_SLICE,
                &[(SLICE - Budget::MIN_SLICE, Budget::MIN_SLICE), (PERIOD, SLICE - Budget::MIN_SLICE)][..],
            ),
            (Budget::MIN_SLICE - 1, &[(PERIOD, SLICE)]),
            (0, &[(PERIOD, SLICE)]),
        ] {
            let mut refills = Refills::full(SLICE, 0);
            refills.charge(SLICE - left, PERIOD);
            let found: Vec<_> = refills.as_slice().iter().map(|refill| (refill.at, refill.amount)).collect();
            assert_eq!(found, pieces, "{left} ns left");
        }
    }

    #[test]
    fn no_stretch_as_long_as_a_period_sees_more_than_the_share() {
        for seed in 0..40 {
            let (_, runs) = runs(seed);
            for (index, (start, _)) in runs.iter().enumerate() {
                let end = start + PERIOD;
                let used: u64 = runs[index..]
                    .iter()
                    .take_while(|(from, _)| *from < end)
                    .map(|(from, to)| to.min(&end) - from)
                    .sum();
                assert!(used <= SLICE, "seed {seed}: {used} ns in the period from {start}");
            }
        }
    }

    #[test]
    fn who_always_wants_to_run_gets_the_whole_share() {
        let mut budget = budget();
        let (mut now, mut got) = (0, 0);
        while now < 100 * PERIOD {
            now = now.max(budget.usable_from());
            budget.begin(now);
            let length = budget.lasts().min(37_000);
            budget.charge(length, now + length);
            got += length;
            now += length;
        }
        assert!(got >= 99 * SLICE, "only {got} ns of {}", 100 * SLICE);
    }
}
