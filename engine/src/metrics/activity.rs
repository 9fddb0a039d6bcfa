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
    /// It is in its turn, or it waits for a thread or a writer of its own that has no room.
    Busy,
    /// It has nothing to do.
    Idle,
    /// It could go on, and is held back because of what comes after it.
    Backpressured,
}

impl Activity {
    pub(crate) const ALL: [Self; 3] = [Self::Busy, Self::Idle, Self::Backpressured];

    #[cfg_attr(not(feature = "http"), expect(dead_code, reason = "only /metrics has it as a label"))]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Busy => "busy",
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
    spent: [AtomicU64; 3],
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

    /// Returns the nanoseconds of each activity up to now, in the order of [`Activity::ALL`]. None of them ever
    /// decreases.
    pub(crate) fn read(&self) -> [u64; 3] {
        loop {
            let version = self.version.load(Ordering::Acquire);
            let mut spent = [0, 1, 2].map(|of| self.spent[of].load(Ordering::Relaxed));
            let (now, since) = (self.now.load(Ordering::Relaxed) as usize, self.since.load(Ordering::Relaxed));
            fence(Ordering::Acquire);
            if version.is_multiple_of(2) && version == self.version.load(Ordering::Relaxed) {
                spent[now] += self.elapsed().saturating_sub(since);
                return spent;
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
        let [busy, idle, held] = times.read();
        times.change(Activity::Backpressured);
        let [busy_then, idle_then, held_then] = times.read();
        assert_eq!((idle, held), (idle_then, 0));
        assert!(busy_then >= busy);
        times.change(Activity::Idle);
        let [busy_now, idle_now, held_now] = times.read();
        assert!(busy_now == busy_then && idle_now >= idle_then && held_now >= held_then);
    }

    /// Prometheus takes a counter that decreases for a restart.
    #[test]
    fn a_reader_never_sees_a_time_decrease() {
        let (times, stop) = (Times::begin(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for turn in (0..3).cycle() {
                    times.change(Activity::ALL[turn]);
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
            let mut last = [0; 3];
            for _ in 0..100_000 {
                let next = times.read();
                assert!(next.iter().zip(&last).all(|(next, last)| next >= last), "{last:?}, then {next:?}");
                last = next;
            }
            stop.store(true, Ordering::Relaxed);
        });
    }
}
