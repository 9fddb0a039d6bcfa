//! Which windows an event time belongs to.

use serde::{Deserialize, Serialize};
use tidemill_engine::EventTime;

/// A window [start, end) of event time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Window {
    /// First moment in it.
    pub start: EventTime,
    /// First moment after it.
    pub end: EventTime,
}

/// How event time is cut into windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assigner {
    /// One after the other: [k·size, (k+1)·size).
    Tumbling {
        /// Length, ms.
        size_ms: i64,
    },
    /// Of one length, a new one every `slide_ms`: [k·slide, k·slide + size).
    Sliding {
        /// Length, ms.
        size_ms: i64,
        /// From start to start, ms.
        slide_ms: i64,
    },
    /// From the first event of a key until none came for `gap_ms`; windows that touch are merged.
    Session {
        /// Silence that ends a session, ms.
        gap_ms: i64,
    },
}

impl Assigner {
    /// Tumbling windows of this length.
    #[must_use]
    pub const fn tumbling(size_ms: i64) -> Self {
        Self::Tumbling { size_ms }
    }

    /// Sliding windows of this length, a new one every `slide_ms`.
    #[must_use]
    pub const fn sliding(size_ms: i64, slide_ms: i64) -> Self {
        Self::Sliding { size_ms, slide_ms }
    }

    /// Session windows with this gap.
    #[must_use]
    pub const fn session(gap_ms: i64) -> Self {
        Self::Session { gap_ms }
    }

    /// Whether the lengths make sense.
    pub(crate) fn check(self) -> Result<(), String> {
        match self {
            Self::Tumbling { size_ms } if size_ms <= 0 => Err(format!("tumbling windows of {size_ms} ms")),
            Self::Sliding { size_ms, slide_ms } if slide_ms <= 0 || size_ms < slide_ms => {
                Err(format!("sliding windows of {size_ms} ms every {slide_ms} ms: 0 < slide ≤ size"))
            }
            Self::Session { gap_ms } if gap_ms <= 0 => Err(format!("sessions with a gap of {gap_ms} ms")),
            _ => Ok(()),
        }
    }

    /// Whether windows of a key that touch are one.
    pub(crate) fn merges(self) -> bool {
        matches!(self, Self::Session { .. })
    }

    /// Hands each window of `time` to `found`, the earliest first.
    pub(crate) fn assign(self, time: EventTime, mut found: impl FnMut(Window)) {
        match self {
            Self::Tumbling { size_ms } => found(aligned(time, size_ms, size_ms)),
            Self::Session { gap_ms } => found(Window { start: time, end: time.plus_ms(gap_ms) }),
            Self::Sliding { size_ms, slide_ms } => {
                let last = aligned(time, slide_ms, size_ms);
                let count = (size_ms + slide_ms - 1) / slide_ms;
                for back in (0..count).rev() {
                    let start = last.start.plus_ms(-back.saturating_mul(slide_ms));
                    let window = Window { start, end: start.plus_ms(size_ms) };
                    if window.end > time {
                        found(window);
                    }
                }
            }
        }
    }
}

/// The window of length `size_ms` that begins at the last multiple of `step_ms` up to `time`.
fn aligned(time: EventTime, step_ms: i64, size_ms: i64) -> Window {
    let start = EventTime(time.0.saturating_sub(time.0.rem_euclid(step_ms)));
    Window { start, end: start.plus_ms(size_ms) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn windows(assigner: Assigner, time: i64) -> Vec<(i64, i64)> {
        let mut windows = Vec::new();
        assigner.assign(EventTime(time), |w| windows.push((w.start.0, w.end.0)));
        windows
    }

    #[test]
    fn windows_are_aligned_to_the_epoch_also_before_it() {
        assert_eq!(windows(Assigner::tumbling(10), 25), [(20, 30)]);
        assert_eq!(windows(Assigner::tumbling(10), -1), [(-10, 0)]);
        assert_eq!(windows(Assigner::sliding(10, 5), 12), [(5, 15), (10, 20)]);
        assert_eq!(windows(Assigner::sliding(10, 4), 9), [(0, 10), (4, 14), (8, 18)]);
    }

    proptest! {
        #[test]
        fn exactly_the_windows_that_hold_the_time_are_found(time in -10_000..10_000i64, slide in 1..50i64, more in 0..200i64) {
            let size = slide + more;
            let found = windows(Assigner::sliding(size, slide), time);
            let expected: Vec<(i64, i64)> = (-1000..1000)
                .map(|k| (k * slide, k * slide + size))
                .filter(|(start, end)| *start <= time && time < *end)
                .collect();
            let expected: Vec<_> = expected.into_iter().filter(|(s, _)| s.abs() <= 1000 * slide).collect();
            if (time.abs() + size) / slide < 999 { prop_assert_eq!(found, expected); }
        }

        #[test]
        fn no_time_makes_it_panic(time: i64, size in 1..i64::MAX) {
            prop_assert_eq!(windows(Assigner::tumbling(size), time).len(), 1);
        }
    }
}
