//! A window: from when to when.

use serde::{Deserialize, Serialize};
use tidemill_engine::EventTime;

/// A window [start, end) of time. Next to the ends of `i64` it is as long as there is time: what is at
/// [`EventTime::MAX`] belongs to the window that ends there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Window {
    /// First moment in it.
    pub start: EventTime,
    /// First moment after it.
    pub end: EventTime,
}

impl Window {
    /// All of time.
    pub const ALL: Self = Self { start: EventTime::MIN, end: EventTime::MAX };

    /// Whether `time` is in it.
    pub(crate) fn holds(self, time: EventTime) -> bool {
        self.start <= time && (time < self.end || self.end == EventTime::MAX)
    }

    /// Whether there is a time in both; those that end at the end of time have that. Where one only begins as the other ends, the
    /// other may have been told already, and nothing that is on time is to change that.
    pub(crate) fn overlaps(self, other: Self) -> bool {
        (self.start < other.end && other.start < self.end) || (self.end == other.end && self.end == EventTime::MAX)
    }
}
