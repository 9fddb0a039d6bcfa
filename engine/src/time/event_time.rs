//! When a thing happened, in milliseconds.

use std::fmt;

use serde::Serialize;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_time_stops_at_its_ends() {
        assert_eq!(EventTime(i64::MAX - 1).plus_ms(5), EventTime::MAX);
        assert_eq!(EventTime::MIN.ms_since(EventTime(5)), i64::MIN);
    }
}
