//! Event time: when a thing happened, in milliseconds.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::Serialize;

use super::durations::{between, in_ms};

/// Milliseconds since the Unix epoch, UTC: when a thing happened, as its record says.
///
/// It is not `SystemTime`, since event time is independent of the wall clock.
///
/// As a field of the records that a source reads, it is deserialized from milliseconds, RFC 3339 text with an offset
/// (`2025-01-31T12:00:00+01:00`), and Parquet times in any unit; from text without an offset by
/// [`deserialize_in`](Self::deserialize_in). It is serialized as milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct EventTime(pub i64);

impl EventTime {
    /// The earliest time, before every event.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest time, after every event: the end of time.
    pub const MAX: Self = Self(i64::MAX);

    /// Returns how long after `earlier` this time is; zero if it is not after it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        between(earlier.0, self.0)
    }

    /// Returns this time moved by `ms` milliseconds, stopping at [`MIN`](Self::MIN) and [`MAX`](Self::MAX).
    #[doc(hidden)]
    #[must_use]
    pub const fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Returns the milliseconds from `earlier` to this time, stopping at the ends of `i64`.
    #[doc(hidden)]
    #[must_use]
    pub const fn ms_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Converts milliseconds since the Unix epoch.
impl From<i64> for EventTime {
    fn from(ms: i64) -> Self {
        Self(ms)
    }
}

/// Adds the whole milliseconds of a duration, up to [`EventTime::MAX`].
impl Add<Duration> for EventTime {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(in_ms(duration)))
    }
}

/// Subtracts the whole milliseconds of a duration, down to [`EventTime::MIN`].
impl Sub<Duration> for EventTime {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(in_ms(duration)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_time_stops_at_its_ends() {
        assert_eq!(EventTime(i64::MAX - 1).plus_ms(5), EventTime::MAX);
        assert_eq!(EventTime::MIN.ms_since(EventTime(5)), i64::MIN);
        assert_eq!(EventTime(i64::MAX - 1) + Duration::MAX, EventTime::MAX);
        assert_eq!(EventTime(-3) - Duration::MAX, EventTime::MIN);
        assert_eq!(EventTime(1_500) - Duration::from_micros(1_999), EventTime(1_499));
        assert_eq!(EventTime(1_500).since(EventTime(-500)), Duration::from_secs(2));
        assert_eq!(EventTime(-500).since(EventTime(1_500)), Duration::ZERO);
    }
}
