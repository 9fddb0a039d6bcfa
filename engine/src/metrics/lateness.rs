//! A log message that explains why records are late: one event in the future moves a watermark there, and all records
//! that come after it are late. This module only reports; it does not change how records are handled.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::locks::lock;
use crate::time::EventTime;

/// Number of records after which the share of late ones is counted anew.
const WINDOW: u64 = 1024;
/// Minimum number of late records for a report, since a few prove nothing.
const FEW: u64 = 32;

/// The share of late records of one operator on one worker. Only that worker updates it.
#[derive(Debug, Default)]
pub(crate) struct LateShare {
    late: AtomicU64,
    of: AtomicU64,
    reported: AtomicBool,
}

impl LateShare {
    /// Adds `late` late records of `of` records. Returns the share, as (late, all), when more than half are late
    /// for the first time since fewer than a tenth were.
    pub(crate) fn add(&self, late: u64, of: u64) -> Option<(u64, u64)> {
        let late = self.late.load(Ordering::Relaxed) + late;
        let of = self.of.load(Ordering::Relaxed) + of;
        let most = late >= FEW && late * 2 > of;
        let is_news = most && !self.reported.swap(true, Ordering::Relaxed);
        let over = of >= WINDOW;
        if over && late * 10 < of {
            self.reported.store(false, Ordering::Relaxed);
        }
        self.late.store(if over { 0 } else { late }, Ordering::Relaxed);
        self.of.store(if over { 0 } else { of }, Ordering::Relaxed);
        is_news.then_some((late, of))
    }
}

/// A step of a source's watermark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Jump {
    pub(crate) source: String,
    pub(crate) from: EventTime,
    pub(crate) to: EventTime,
    /// The latest event time that was read just before the step.
    pub(crate) by: EventTime,
}

/// The widest watermark step of any source of the process.
#[derive(Debug, Default)]
pub(crate) struct Jumps {
    widest_ms: AtomicU64,
    widest: Mutex<Option<Jump>>,
}

impl Jumps {
    /// Records a step if it is the widest so far, as returned by `jump`. A step from the beginning of time or to
    /// its end is ignored.
    pub(crate) fn note(&self, from: EventTime, to: EventTime, jump: impl FnOnce() -> Jump) {
        let ms = to.ms_since(from).unsigned_abs();
        if from > EventTime::MIN && to < EventTime::MAX && ms > self.widest_ms.fetch_max(ms, Ordering::Relaxed) {
            *lock(&self.widest) = Some(jump());
        }
    }

    pub(crate) fn widest(&self) -> Option<Jump> {
        lock(&self.widest).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mostly_late_is_reported_once_until_hardly_any_record_is_late() {
        let share = LateShare::default();
        assert_eq!(share.add(31, 31), None, "few");
        assert_eq!(share.add(1, 10), Some((32, 41)));
        assert!((0..100).all(|_| share.add(9, 10).is_none()), "it is known");
        assert!((0..300).all(|_| share.add(0, 10).is_none()));
        assert!((0..100).filter_map(|_| share.add(10, 10)).count() == 1, "again");
        let trickle = LateShare::default();
        assert!((0..10_000).all(|_| trickle.add(4, 10).is_none()), "less than half");
    }

    #[test]
    fn the_widest_step_is_kept() {
        let jumps = Jumps::default();
        let note = |from: i64, to: i64| {
            let (from, to) = (EventTime(from), EventTime(to));
            jumps.note(from, to, || Jump { source: "s".to_owned(), from, to, by: to });
        };
        note(i64::MIN, 1_000_000);
        assert_eq!(jumps.widest(), None);
        note(5, 10);
        note(10, 1000);
        note(1000, 1010);
        assert_eq!(jumps.widest().map(|jump| (jump.from.0, jump.to.0)), Some((10, 1000)));
    }
}
