//! The span of a window: its start and its end.

use serde::{Deserialize, Serialize};
use tidemill_engine::EventTime;

/// A window [start, end) of time. A window that would reach beyond the range of `i64` is cut there; a record at
/// [`EventTime::MAX`] belongs to the window that ends there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Window {
    /// First moment in the window.
    pub start: EventTime,
    /// First moment after the window.
    pub end: EventTime,
}

impl Window {
    /// The window that covers all of time.
    pub const ALL: Self = Self { start: EventTime::MIN, end: EventTime::MAX };

    /// Returns whether `time` is in the window.
    pub(crate) fn holds(self, time: EventTime) -> bool {
        self.start <= time && (time < self.end || self.end == EventTime::MAX)
    }

    /// Returns whether a time is in both windows; two windows that end at the end of time share that time. A window
    /// that begins exactly where another one ends does not overlap it: the earlier one may have fired already, and a
    /// record that is on time must not change its result.
    pub(crate) fn overlaps(self, other: Self) -> bool {
        (self.start < other.end && other.start < self.end) || (self.end == other.end && self.end == EventTime::MAX)
    }
}
