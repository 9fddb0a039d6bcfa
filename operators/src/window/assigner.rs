//! Assigners: which windows a time belongs to, and how sliding windows share slices.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill_engine::EventTime;

use super::calendar::{self, Period, Weekday, Zone};
use super::own::{Own, WindowAssigner};
use super::span::Window;
use crate::length::{length_ms, positive_ms};

/// The rule that cuts time, or the sequence of records, into windows.
///
/// Lengths are whole milliseconds above zero: others are refused when the operator is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Assigner {
    /// Windows of one length that follow each other: [k·size + offset, (k+1)·size + offset).
    Tumbling {
        /// Length of a window.
        #[serde(with = "humantime_serde")]
        size: Duration,
        /// Start of one of the windows, as a length of time after the Unix epoch. With four days, windows of a week
        /// begin on Mondays in UTC. For days of a time zone there is [`Assigner::days`].
        #[serde(default, with = "humantime_serde")]
        offset: Duration,
    },
    /// Windows of one length, of which a new one begins every `slide`: [k·slide + offset, k·slide + offset + size).
    Sliding {
        /// Length of a window.
        #[serde(with = "humantime_serde")]
        size: Duration,
        /// Length of time from the start of a window to the start of the next one; at most `size`.
        #[serde(with = "humantime_serde")]
        slide: Duration,
        /// Start of one of the windows, as a length of time after the Unix epoch.
        #[serde(default, with = "humantime_serde")]
        offset: Duration,
    },
    /// Windows that begin with an event of a key and last until no event has come for `gap`. Windows that overlap are
    /// merged.
    Session {
        /// Length of the silence that ends a session.
        #[serde(with = "humantime_serde")]
        gap: Duration,
    },
    /// One window that ends only when the input ends. It is meant to be used with a trigger.
    Global,
    /// Windows of `size` records of a key, of which a new one begins every `every` records. A window fires when it is
    /// full; one that is not full when the input ends does not fire.
    Count {
        /// Number of records in a window.
        size: u64,
        /// Number of records from the start of a window to the start of the next one; at most `size`. Cost: each record
        /// is added to size / every windows.
        every: u64,
    },
    /// Days, weeks, months or years of a time zone, one after the other.
    Calendar {
        /// Length of a window, by the calendar.
        period: Period,
        /// Time zone of the calendar.
        zone: Zone,
    },
    /// Windows that the program defines itself, made from a [`WindowAssigner`]. They are code, not data: serializing
    /// them is an error.
    #[serde(skip)]
    Own(Own),
}

impl Assigner {
    /// Returns tumbling windows of this length.
    #[must_use]
    pub const fn tumbling(size: Duration) -> Self {
        Self::Tumbling { size, offset: Duration::ZERO }
    }

    /// Returns sliding windows of the length `size`, of which a new one begins every `slide`.
    #[must_use]
    pub const fn sliding(size: Duration, slide: Duration) -> Self {
        Self::Sliding { size, slide, offset: Duration::ZERO }
    }

    /// Returns session windows that end when no event has come for `gap`.
    #[must_use]
    pub const fn session(gap: Duration) -> Self {
        Self::Session { gap }
    }

    /// Returns windows of `size` records each, one after the other.
    #[must_use]
    pub const fn count(size: u64) -> Self {
        Self::Count { size, every: size }
    }

    /// Returns windows of a day, from midnight to midnight in the time zone with this IANA name. A day has 23 or 25
    /// hours where clocks change.
    #[must_use]
    pub fn days(zone: impl AsRef<str>) -> Self {
        Self::Calendar { period: Period::Day, zone: Zone::named(zone.as_ref()) }
    }

    /// Returns windows of a week that begins on Monday (ISO 8601), in the time zone with this IANA name.
    #[must_use]
    pub fn weeks(zone: impl AsRef<str>) -> Self {
        Self::weeks_from(Weekday::Monday, zone)
    }

    /// Returns windows of a week that begins on the day `from`, in the time zone with this IANA name.
    #[must_use]
    pub fn weeks_from(from: Weekday, zone: impl AsRef<str>) -> Self {
        Self::Calendar { period: Period::Week { from }, zone: Zone::named(zone.as_ref()) }
    }

    /// Returns windows of a calendar month in the time zone with this IANA name.
    #[must_use]
    pub fn months(zone: impl AsRef<str>) -> Self {
        Self::Calendar { period: Period::Month, zone: Zone::named(zone.as_ref()) }
    }

    /// Returns windows of a calendar year in the time zone with this IANA name.
    #[must_use]
    pub fn years(zone: impl AsRef<str>) -> Self {
        Self::Calendar { period: Period::Year, zone: Zone::named(zone.as_ref()) }
    }

    /// Moves the windows later by `offset`. To move them earlier by some time, pass their length (for sliding windows,
    /// their slide) minus that time. Only tumbling and sliding windows can be moved: others stay as they are.
    #[must_use]
    pub const fn offset(self, offset: Duration) -> Self {
        match self {
            Self::Tumbling { size, .. } => Self::Tumbling { size, offset },
            Self::Sliding { size, slide, .. } => Self::Sliding { size, slide, offset },
            other => other,
        }
    }

    /// Checks the lengths and returns the windows in milliseconds.
    pub(crate) fn cut(self) -> Result<Cut, String> {
        Ok(match self {
            Self::Tumbling { size, offset } => Cut::Tumbling {
                size_ms: positive_ms("the size of tumbling windows", size)?,
                offset_ms: length_ms("the offset of tumbling windows", offset)?,
            },
            Self::Sliding { size, slide, offset } => {
                let size_ms = positive_ms("the size of sliding windows", size)?;
                let slide_ms = positive_ms("the slide of sliding windows", slide)?;
                if size_ms < slide_ms {
                    return Err(format!(
                        "the slide of sliding windows is {slide:?}, above their size of {size:?}: events between them would \
                         be in no window"
                    ));
                }
                Cut::Sliding { size_ms, slide_ms, offset_ms: length_ms("the offset of sliding windows", offset)? }
            }
            Self::Session { gap } => Cut::Session { gap_ms: positive_ms("the gap of sessions", gap)? },
            Self::Global => Cut::Global,
            Self::Count { size, every } if every == 0 || size < every => {
                return Err(format!(
                    "windows of {size} records every {every}: every must be above 0 and not above size"
                ));
            }
            Self::Count { size, every } => Cut::Count { size, every },
            Self::Calendar { period, zone } => {
                calendar::check(zone)?;
                Cut::Calendar { period, zone }
            }
            Self::Own(own) => {
                own.0.check()?;
                Cut::Own(own)
            }
        })
    }
}

/// A checked [`Assigner`] with its lengths in milliseconds, as it is used for each record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    Tumbling { size_ms: i64, offset_ms: i64 },
    Sliding { size_ms: i64, slide_ms: i64, offset_ms: i64 },
    Session { gap_ms: i64 },
    Global,
    Count { size: u64, every: u64 },
    Calendar { period: Period, zone: Zone },
    Own(Own),
}

impl Cut {
    /// Describes everything that the windows depend on, for manifests and messages.
    pub(crate) fn parameters(self) -> String {
        match self {
            Self::Tumbling { size_ms, offset_ms } => format!("tumbling windows of {size_ms} ms{}", moved(offset_ms)),
            Self::Sliding { size_ms, slide_ms, offset_ms } => {
                format!("sliding windows of {size_ms} ms every {slide_ms} ms{}", moved(offset_ms))
            }
            Self::Session { gap_ms } => format!("sessions with a gap of {gap_ms} ms"),
            Self::Global => "one window of all time".to_owned(),
            Self::Count { size, every } if size == every => format!("windows of {size} records"),
            Self::Count { size, every } => format!("windows of {size} records every {every}"),
            Self::Calendar { period, zone } => period.describe(zone),
            Self::Own(own) => own.0.parameters(),
        }
    }

    /// Returns whether each time is in exactly one window, which ends where the next one begins.
    pub(crate) fn is_end_to_end(self) -> bool {
        matches!(self, Self::Tumbling { .. } | Self::Calendar { .. })
    }

    /// Returns whether a window that begins later may end earlier.
    pub(crate) fn nests(self) -> bool {
        matches!(self, Self::Own(_))
    }

    /// Returns whether windows of a key that overlap are merged into one.
    pub(crate) fn merges(self) -> bool {
        matches!(self, Self::Session { .. })
    }

    /// Calls `found` with each window of `time`. The windows of the library come in order, the earliest first.
    pub(crate) fn assign(self, time: EventTime, mut found: impl FnMut(Window)) {
        match self {
            Self::Tumbling { size_ms, offset_ms } => {
                let start = grid_before(time, size_ms, offset_ms);
                found(window(start, size_ms));
            }
            Self::Session { gap_ms } => found(Window { start: time, end: time.plus_ms(gap_ms) }),
            Self::Global | Self::Count { .. } => found(Window::ALL),
            Self::Calendar { period, zone } => found(period.window(zone, time)),
            Self::Own(own) => own.0.assign(time, &mut found),
            Self::Sliding { size_ms, slide_ms, offset_ms } => {
                let last = grid_before(time, slide_ms, offset_ms);
                let earlier = (i128::from(size_ms) - 1 - (i128::from(time.0) - last)) / i128::from(slide_ms);
                for back in (0..=earlier).rev() {
                    found(window(last - back * i128::from(slide_ms), size_ms));
                }
            }
        }
    }
}

impl<W: WindowAssigner> From<W> for Assigner {
    /// Keeps the assigner for the life of the process: make one for each operator, not one for each record.
    fn from(assigner: W) -> Self {
        Self::Own(Own(Box::leak(Box::new(assigner))))
    }
}

/// Describes the offset of the windows; empty if there is none.
fn moved(offset_ms: i64) -> String {
    if offset_ms == 0 { String::new() } else { format!(" from {offset_ms} ms on") }
}

/// Returns the last time of the grid {k·step + offset} up to `time`. The grid goes on beyond the range of `i64`.
fn grid_before(time: EventTime, step_ms: i64, offset_ms: i64) -> i128 {
    // Division of 128 bits takes several times as long, and is needed only near the ends of time.
    let since = match time.0.checked_sub(offset_ms) {
        Some(since) => i128::from(since.rem_euclid(step_ms)),
        None => (i128::from(time.0) - i128::from(offset_ms)).rem_euclid(step_ms.into()),
    };
    i128::from(time.0) - since
}

/// Returns the first time of the grid {k·step + offset} after `time`.
fn grid_after(time: i128, step_ms: i64, offset_ms: i64) -> i128 {
    let step = i128::from(step_ms);
    match i64::try_from(time) {
        Ok(time) => grid_before(EventTime(time), step_ms, offset_ms) + step,
        Err(_) => time - (time - i128::from(offset_ms)).rem_euclid(step) + step,
    }
}

fn clamp(time: i128) -> EventTime {
    EventTime(time.clamp(i64::MIN.into(), i64::MAX.into()) as i64)
}

fn window(start: i128, size_ms: i64) -> Window {
    Window { start: clamp(start), end: clamp(start + i128::from(size_ms)) }
}

/// Returns the first multiple of `step_ms` after `time`.
pub(crate) fn next_multiple(time: EventTime, step_ms: i64) -> EventTime {
    clamp(grid_after(time.0.into(), step_ms, 0))
}

/// The slices that sliding windows share: a new slice begins wherever a window begins or ends.
///
/// There are at most two slices per slide, whatever the lengths (the "paired windows" of Krishnamurthy, Wu and
/// Franklin, "On-the-fly sharing for streamed aggregation", 2006).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slices {
    size_ms: i64,
    slide_ms: i64,
    offset_ms: i64,
    /// The offset of the grid on which windows end.
    ends_offset_ms: i64,
}

impl Slices {
    pub(crate) fn new(size_ms: i64, slide_ms: i64, offset_ms: i64) -> Self {
        let ends = (i128::from(offset_ms) + i128::from(size_ms)).rem_euclid(slide_ms.into());
        Self { size_ms, slide_ms, offset_ms, ends_offset_ms: ends as i64 }
    }

    /// Returns the slice of `time`. It lies between two neighbouring edges of windows, also at the ends of `i64`.
    pub(crate) fn of(self, time: EventTime) -> Window {
        let start = grid_before(time, self.slide_ms, self.offset_ms);
        let inner = start + i128::from(self.size_ms % self.slide_ms);
        let next = start + i128::from(self.slide_ms);
        let (start, end) = if i128::from(time.0) < inner { (start, inner) } else { (inner.max(start), next) };
        Window { start: clamp(start), end: clamp(end) }
    }

    /// Returns the end of the first window that ends after `time`, and no earlier than `slice` does.
    pub(crate) fn first_end_after(self, time: EventTime, slice: Window) -> EventTime {
        // The first window that contains the slice ends at the first window end at or after the end of the slice.
        let before = i128::from(slice.end.0) - 1;
        clamp(self.ends_from(before.max(time.0.into())))
    }

    /// Returns the end of the last window that contains the slice.
    pub(crate) fn last_end_of(self, slice: Window) -> EventTime {
        clamp(grid_before(slice.start, self.slide_ms, self.offset_ms) + i128::from(self.size_ms))
    }

    /// Returns the start of the first slice that is still needed after `time`: one in a window whose end, plus the
    /// allowed lateness of `lateness_ms`, is after `time`. The start may lie beyond the range of `i64`; at the end of
    /// time it is after all slices.
    pub(crate) fn first_needed_after(self, time: EventTime, lateness_ms: i64) -> i128 {
        if time == EventTime::MAX {
            return i128::MAX;
        }
        let last_over = i128::from(time.0) - i128::from(lateness_ms) - i128::from(self.size_ms);
        grid_after(last_over, self.slide_ms, self.offset_ms)
    }

    /// Returns the window that ends at `end`.
    pub(crate) fn ending_at(self, end: EventTime) -> Window {
        if end == EventTime::MAX {
            // The window ends at the last edge, which may be beyond the end of time. It begins its size before that
            // edge.
            let end = self.ends_from(i128::from(i64::MAX) - 1);
            return window(end - i128::from(self.size_ms), self.size_ms);
        }
        window(i128::from(end.0) - i128::from(self.size_ms), self.size_ms)
    }

    /// Returns the end of the window after the one that ends at `end`.
    pub(crate) fn end_after(self, end: EventTime) -> EventTime {
        end.plus_ms(self.slide_ms)
    }

    /// Returns the first end of a window after `time`.
    fn ends_from(self, time: i128) -> i128 {
        grid_after(time, self.slide_ms, self.ends_offset_ms)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tumbling(size_ms: i64, offset_ms: i64) -> Cut {
        Cut::Tumbling { size_ms, offset_ms }
    }

    fn sliding(size_ms: i64, slide_ms: i64, offset_ms: i64) -> Cut {
        Cut::Sliding { size_ms, slide_ms, offset_ms }
    }

    fn windows(cut: Cut, time: i64) -> Vec<(i64, i64)> {
        let mut windows = Vec::new();
        cut.assign(EventTime(time), |w| windows.push((w.start.0, w.end.0)));
        windows
    }

    #[test]
    fn windows_are_aligned_to_the_epoch_also_before_it() {
        assert_eq!(windows(tumbling(10, 0), 25), [(20, 30)]);
        assert_eq!(windows(tumbling(10, 0), -1), [(-10, 0)]);
        assert_eq!(windows(tumbling(10, 3), 22), [(13, 23)]);
        assert_eq!(windows(tumbling(10, -7), 23), [(23, 33)]);
        assert_eq!(windows(sliding(10, 5, 0), 12), [(5, 15), (10, 20)]);
        assert_eq!(windows(sliding(10, 4, 0), 9), [(0, 10), (4, 14), (8, 18)]);
    }

    #[test]
    fn at_the_ends_of_time_windows_are_shorter() {
        let (start, end) = windows(tumbling(10, 0), i64::MIN)[0];
        assert_eq!((start, end), (i64::MIN, i64::MIN + 8), "-9223372036854775808 is 8 ms before a multiple of 10");
        assert_eq!(windows(tumbling(10, 0), i64::MIN + 8), [(i64::MIN + 8, i64::MIN + 18)]);
        assert_eq!(windows(tumbling(10, 0), i64::MAX), [(i64::MAX - 7, i64::MAX)]);
    }

    proptest! {
        #[test]
        fn exactly_the_windows_that_hold_the_time_are_found(
            time in -10_000..10_000i64, slide in 1..50i64, more in 0..200i64, offset in -100..100i64,
        ) {
            let size = slide + more;
            let found = windows(sliding(size, slide, offset), time);
            let reach = (time.abs() + size + 100) / slide + 2;
            let expected: Vec<(i64, i64)> = (-reach..=reach)
                .map(|k| (k * slide + offset, k * slide + offset + size))
                .filter(|(start, end)| *start <= time && time < *end)
                .collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn a_window_is_the_slices_in_it(
            time in -1000..1000i64, slide in 1..20i64, more in 0..60i64, offset in -30..30i64,
        ) {
            let size = slide + more;
            let slices = Slices::new(size, slide, offset);
            let slice = slices.of(EventTime(time));
            prop_assert!(slice.start.0 <= time && time < slice.end.0);
            // All times of a slice are in the same windows, and the edges outside are not.
            let of = |time: i64| windows(sliding(size, slide, offset), time);
            (slice.start.0..slice.end.0).for_each(|other| assert_eq!(of(other), of(time)));
            prop_assert_ne!(of(slice.end.0), of(time));
            let ends: Vec<i64> = of(time).iter().map(|(_, end)| *end).collect();
            prop_assert_eq!(slices.first_end_after(EventTime(-9999), slice).0, ends[0]);
            prop_assert_eq!(slices.last_end_of(slice).0, *ends.last().unwrap());
            prop_assert_eq!(slices.first_end_after(EventTime(ends[0]), slice).0, ends[0] + slide);
            for lateness in [0, 7] {
                for at in [*ends.last().unwrap() + lateness - 1, *ends.last().unwrap() + lateness, time] {
                    let is_needed = slices.last_end_of(slice).0 + lateness > at;
                    prop_assert_eq!(i128::from(slice.start.0) >= slices.first_needed_after(EventTime(at), lateness), is_needed);
                }
            }
        }

        #[test]
        fn no_time_makes_it_panic(time: i64, size in 1..i64::MAX, slide in 1..i64::MAX, offset: i64, at: i64) {
            let found = windows(tumbling(size, offset), time);
            prop_assert!(matches!(found[..], [(start, end)] if start <= time && (time < end || end == i64::MAX)));
            let slices = Slices::new(size.max(slide), slide.min(size), offset);
            let slice = slices.of(EventTime(time));
            prop_assert!(slice.start.0 <= time && (time < slice.end.0 || slice.end.0 == i64::MAX));
            let end = slices.first_end_after(EventTime::MIN, slice);
            let window = slices.ending_at(end);
            prop_assert!(end >= slice.end && window.start <= slice.start && slices.last_end_of(slice) >= end);
            let is_needed = slices.last_end_of(slice).plus_ms(slide) > EventTime(at);
            prop_assert_eq!(i128::from(slice.start.0) >= slices.first_needed_after(EventTime(at), slide), is_needed);
        }
    }
}
