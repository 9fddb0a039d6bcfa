//! The two clocks of a job: event time, carried by every record, and `Moment`, the timely timestamp.
//!
//! ```text
//!             epoch: the consistent cut, +1 per tick of the checkpoint clock
//!               │
//! Moment { epoch, watermark }      a ≤ b  ⇔  a.epoch ≤ b.epoch ∧ a.watermark ≤ b.watermark
//!                    │
//!                  no record with an earlier event time is still to come (late records excepted)
//! ```
//! The order must be the product order. With A at (e+1, 50) and B at (e, 60) the lexicographic least
//! element is (e, 60), so 60 would pass for the watermark while A may still send 55; the meet is (e, 50).

mod text;

use std::fmt;

use differential_dataflow::lattice::Lattice;
use serde::{Deserialize, Serialize};
use timely::PartialOrder;
use timely::progress::timestamp::{PathSummary, Refines, Timestamp};

pub use text::TimeTextError;

/// Milliseconds since the Unix epoch, UTC: when a thing happened, as its record says.
///
/// Not `SystemTime`: the wall clock is another thing.
///
/// As a field of what a source reads it takes milliseconds, RFC 3339 text with an offset (`2025-01-31T12:00:00+01:00`), and
/// times of Parquet in any unit; text without an offset by [`deserialize_in`](Self::deserialize_in). It is written as
/// milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct EventTime(pub i64);

impl EventTime {
    /// Before every event.
    pub const MIN: Self = Self(i64::MIN);
    /// After every event.
    pub const MAX: Self = Self(i64::MAX);

    /// This time moved by `ms` milliseconds, stopping at [`MIN`](Self::MIN) and [`MAX`](Self::MAX).
    #[must_use]
    pub const fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this time, stopping at the ends of `i64`.
    #[must_use]
    pub const fn ms_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            i64::MIN => f.write_str("-∞"),
            i64::MAX => f.write_str("+∞"),
            ms => write!(f, "{ms} ms"),
        }
    }
}

/// Number of a consistent cut: +1 per tick of the checkpoint clock, never used again once committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The timely timestamp: which cut, and how far event time has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Moment {
    /// The consistent cut that messages at this moment belong to.
    pub epoch: Epoch,
    /// No record with an earlier event time is still to come.
    pub watermark: EventTime,
}

impl Moment {
    /// The moment of `epoch` at `watermark`.
    #[must_use]
    pub const fn new(epoch: Epoch, watermark: EventTime) -> Self {
        Self { epoch, watermark }
    }

    /// The greatest moment that is at or before both.
    #[must_use]
    pub fn meet(self, other: Self) -> Self {
        Self { epoch: self.epoch.min(other.epoch), watermark: self.watermark.min(other.watermark) }
    }

    /// The meet of a frontier, or `None` of an empty one: nothing can come any more.
    #[must_use]
    pub fn meet_of(frontier: &[Self]) -> Option<Self> {
        frontier.iter().copied().reduce(Self::meet)
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(epoch {}, watermark {})", self.epoch, self.watermark)
    }
}

impl PartialOrder for Moment {
    fn less_equal(&self, other: &Self) -> bool {
        self.epoch <= other.epoch && self.watermark <= other.watermark
    }
}

/// Each axis on its own: what differential dataflow computes with.
impl Lattice for Moment {
    fn join(&self, other: &Self) -> Self {
        Self { epoch: self.epoch.max(other.epoch), watermark: self.watermark.max(other.watermark) }
    }

    fn meet(&self, other: &Self) -> Self {
        Self::meet(*self, *other)
    }
}

/// The only summary of a path: a moment passes unchanged (loops are in scopes of their own, with a
/// counter beside it).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unchanged;

impl PartialOrder for Unchanged {
    fn less_equal(&self, _: &Self) -> bool {
        true
    }
}

impl PathSummary<Moment> for Unchanged {
    fn results_in(&self, moment: &Moment) -> Option<Moment> {
        Some(*moment)
    }
    fn followed_by(&self, _: &Self) -> Option<Self> {
        Some(Self)
    }
}

impl Timestamp for Moment {
    type Summary = Unchanged;
    fn minimum() -> Self {
        Self::new(Epoch(0), EventTime::MIN)
    }
}

impl Refines<()> for Moment {
    fn to_inner((): ()) -> Self {
        Self::minimum()
    }
    fn to_outer(self) {}
    fn summarize(_: Unchanged) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(epoch: u64, watermark: i64) -> Moment {
        Moment::new(Epoch(epoch), EventTime(watermark))
    }

    #[test]
    fn the_order_is_the_product_order() {
        let (a, b) = (moment(2, 50), moment(1, 60));
        assert!(!a.less_equal(&b) && !b.less_equal(&a));
        assert!(moment(1, 50).less_equal(&a) && moment(1, 50).less_equal(&b));
    }

    #[test]
    fn the_meet_takes_each_axis_on_its_own() {
        let frontier = [moment(2, 50), moment(1, 60)];
        assert_eq!(Moment::meet_of(&frontier), Some(moment(1, 50)));
        assert_eq!(Moment::meet_of(&[]), None);
    }

    #[test]
    fn join_and_meet_bound_both_from_either_side() {
        let (a, b) = (moment(2, 50), moment(1, 60));
        assert_eq!((a.join(&b), Lattice::meet(&a, &b)), (moment(2, 60), moment(1, 50)));
    }

    #[test]
    fn event_time_stops_at_its_ends() {
        assert_eq!(EventTime(i64::MAX - 1).plus_ms(5), EventTime::MAX);
        assert_eq!(EventTime::MIN.ms_since(EventTime(5)), i64::MIN);
    }
}
