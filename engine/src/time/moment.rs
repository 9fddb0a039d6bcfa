//! `Moment`, the timely timestamp: its order, its lattice, and the meet of a frontier.

use std::fmt;

#[cfg(feature = "tables")]
use differential_dataflow::lattice::Lattice;
use serde::{Deserialize, Serialize};
use timely::PartialOrder;
use timely::progress::timestamp::{PathSummary, Refines, Timestamp};

use super::{Epoch, EventTime};

/// The timely timestamp: the epoch and the watermark.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Moment {
    /// The epoch of the consistent cut that messages at this moment belong to.
    pub epoch: Epoch,
    /// The watermark: no record with an earlier event time is still to come, except late ones.
    pub watermark: EventTime,
}

impl Moment {
    /// Makes the moment of `epoch` at `watermark`.
    #[must_use]
    pub const fn new(epoch: Epoch, watermark: EventTime) -> Self {
        Self { epoch, watermark }
    }

    /// Returns the greatest moment that is at or before both.
    #[must_use]
    pub fn meet(self, other: Self) -> Self {
        Self { epoch: self.epoch.min(other.epoch), watermark: self.watermark.min(other.watermark) }
    }

    /// Returns the meet of a frontier, or `None` if it is empty: then nothing can come any more.
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

/// The lattice that differential dataflow computes with: join and meet take each axis on its own.
#[cfg(feature = "tables")]
impl Lattice for Moment {
    fn join(&self, other: &Self) -> Self {
        Self { epoch: self.epoch.max(other.epoch), watermark: self.watermark.max(other.watermark) }
    }

    fn meet(&self, other: &Self) -> Self {
        Self::meet(*self, *other)
    }
}

/// The only path summary: a moment passes unchanged. (Loops are in scopes of their own, which add a
/// counter to the moment.)
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

    #[cfg(feature = "tables")]
    #[test]
    fn join_and_meet_bound_both_from_either_side() {
        let (a, b) = (moment(2, 50), moment(1, 60));
        assert_eq!((a.join(&b), Lattice::meet(&a, &b)), (moment(2, 60), moment(1, 50)));
    }
}
