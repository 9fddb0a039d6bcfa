//! What an operator does with its time: it is busy, idle or backpressured.
//!
//! ```text
//! turn ───────┐             ┌─ turn ─┐
//!    busy     │ idle, busy  │  busy  │      the end of a turn says how the time until the next one counts
//!             └─or backpr.──┘        └───
//! ```
//! The clock is read twice in a turn, at its begin and its end, and one worker writes. A reader adds the time since the
//! last change, so that the times go on while an operator is not called.

use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::{Duration, Instant};

use crate::threads;

/// What an operator is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activity {
    /// It is in its turn.
    Busy,
    /// It has nothing to do.
    Idle,
    /// It could go on, and is held back because of what comes after it.
    Backpressured,
    /// It is busy, and its worker is not: it waits for threads or a writer of its own that have no room.
    Elsewhere,
}

/// How an operator has spent its time, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spent {
    /// In its turns, in which its worker can do nothing else: a part of `busy`.
    pub(crate) in_turn: u64,
    pub(crate) busy: u64,
    pub(crate) idle: u64,
    pub(crate) backpressured: u64,
}

impl Activity {
    #[cfg_attr(not(feature = "http"), expect(dead_code, reason = "only /metrics has it as a label"))]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Busy | Self::Elsewhere => "busy",
            Self::Idle => "idle",
            Self::Backpressured => "backpressured",
        }
    }
}

/// The times of one operator on one worker, in nanoseconds, by [`Activity`].
#[derive(Debug)]
pub(crate) struct Times {
    origin: Instant,
    /// Odd while the worker writes: a reader then tries again.
    version: AtomicU64,
    now: AtomicU64,
    since: AtomicU64,
    spent: [AtomicU64; 4],
    /// The largest times that a reader has returned.
    shown: [AtomicU64; 4],
}

impl Times {
    /// Begins to count: the operator is idle.
    pub(crate) fn begin() -> Self {
        Self {
            origin: threads::now(),
            version: AtomicU64::new(0),
            now: AtomicU64::new(Activity::Idle as u64),
            since: AtomicU64::new(0),
            spent: Default::default(),
            shown: Default::default(),
        }
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(threads::since(self.origin).as_nanos()).unwrap_or(u64::MAX)
    }

    /// Says what the operator does from now on. Only its worker calls this. Returns how long it did what it did before.
    pub(crate) fn change(&self, to: Activity) -> Duration {
        let at = self.elapsed();
        let before = self.now.load(Ordering::Relaxed) as usize;
        let took = at.saturating_sub(self.since.load(Ordering::Relaxed));
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        self.spent[before].store(self.spent[before].load(Ordering::Relaxed) + took, Ordering::Relaxed);
        self.now.store(to as u64, Ordering::Relaxed);
        self.since.store(at, Ordering::Relaxed);
        self.version.store(version + 2, Ordering::Release);
        Duration::from_nanos(took)
    }

    /// Returns how the time up to now was spent. No part of it ever decreases.
    pub(crate) fn read(&self) -> Spent {
        loop {
            let version = self.version.load(Ordering::Acquire);
            let mut spent = [0, 1, 2, 3].map(|of| self.spent[of].load(Ordering::Relaxed));
            let (now, since) = (self.now.load(Ordering::Relaxed) as usize, self.since.load(Ordering::Relaxed));
            let at = self.elapsed();
            fence(Ordering::Acquire);
            if version.is_multiple_of(2) && version == self.version.load(Ordering::Relaxed) {
                spent[now] += at.saturating_sub(since);
                // SUBTLE: the worker may have looked at the clock for its next change just before this did. Then it counts
                // less for what the operator does now than this has shown.
                for (spent, shown) in spent.iter_mut().zip(&self.shown) {
                    *spent = shown.fetch_max(*spent, Ordering::Relaxed).max(*spent);
                }
                let [in_turn, idle, backpressured, elsewhere] = spent;
                return Spent { in_turn, busy: in_turn + elsewhere, idle, backpressured };
            }
            std::hint::spin_loop();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn time_counts_for_what_the_operator_does() {
        let times = Times::begin();
        times.change(Activity::Busy);
        let first = times.read();
        times.change(Activity::Backpressured);
        let then = times.read();
        assert_eq!((first.idle, first.backpressured), (then.idle, 0));
        assert!(then.busy >= first.busy && then.busy == then.in_turn);
        times.change(Activity::Elsewhere);
        let later = times.read();
        assert!(later.in_turn == then.in_turn && later.busy >= then.busy);
        times.change(Activity::Idle);
        let now = times.read();
        assert!(now.busy >= later.busy && now.idle >= later.idle && now.backpressured >= then.backpressured);
    }

    #[test]
    fn what_was_shown_is_not_taken_back() {
        let times = Times::begin();
        times.change(Activity::Busy);
        let shown = std::iter::repeat_with(|| times.read()).find(|spent| spent.in_turn > 0).unwrap();
        // As if the worker had looked at the clock before this reader did, and changed after it.
        times.now.store(Activity::Idle as u64, Ordering::Relaxed);
        let then = times.read();
        assert!(then.in_turn >= shown.in_turn && then.busy >= shown.busy, "{shown:?}, then {then:?}");
    }

    /// Prometheus takes a counter that decreases for a restart.
    #[test]
    fn a_reader_never_sees_a_time_decrease() {
        let (times, stop) = (Times::begin(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let all = [Activity::Busy, Activity::Elsewhere, Activity::Idle, Activity::Backpressured];
                for activity in all.into_iter().cycle() {
                    times.change(activity);
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
            let parts = |of: Spent| [of.in_turn, of.busy, of.idle, of.backpressured];
            let mut last = Spent::default();
            let decreased = (0..100_000).map(|_| times.read()).find_map(|next| {
                let decreased = parts(next).into_iter().zip(parts(last)).any(|(next, last)| next < last);
                let last = std::mem::replace(&mut last, next);
                decreased.then_some((last, next))
            });
            stop.store(true, Ordering::Relaxed);
            assert!(decreased.is_none(), "one time, and a later one: {decreased:?}");
        });
    }
}
