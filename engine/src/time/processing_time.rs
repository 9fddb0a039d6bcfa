//! Processing time: when a record is handled, in milliseconds.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::durations::{between, in_ms};

/// Milliseconds since the Unix epoch, UTC, by the job's clock: when a record is handled, not when its event happened.
///
/// It is a type of its own, so that it is never compared with [`EventTime`](super::EventTime).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProcessingTime(pub i64);

impl ProcessingTime {
    /// Returns how long after `earlier` this time is; zero if it is not after it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        between(earlier.0, self.0)
    }
}

/// Adds the whole milliseconds of a duration, up to the largest time.
impl Add<Duration> for ProcessingTime {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(in_ms(duration)))
    }
}

/// Subtracts the whole milliseconds of a duration, down to the smallest time.
impl Sub<Duration> for ProcessingTime {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(in_ms(duration)))
    }
}

impl fmt::Display for ProcessingTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}
