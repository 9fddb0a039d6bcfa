//! Event times as people and other systems write them: RFC 3339 text, with an offset or in a given time zone.
//!
//! ```text
//! 1738321200000 · "2025-01-31T12:00:00+01:00" · "2025-01-31T11:00:00Z"  ─▶ EventTime
//! "2025-01-31T12:00:00" ─▶ refused; in a given zone ─▶ EventTime, except where clocks are set back or forward
//! ```
//! Nothing is guessed: a text without an offset is refused, and so is a local time that occurs twice or never in
//! its zone.

use std::fmt;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, tz};
use serde::de::{self, Deserialize, Deserializer, Visitor};

use super::EventTime;

/// The type name under which an [`EventTime`] is deserialized, so that a format with a time type can recognise
/// that a time is expected and not a number.
const NAME: &str = "EventTime";

/// The reason why a text is not a point in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not an event time: {reason}")]
pub struct TimeTextError {
    text: String,
    reason: String,
}

impl EventTime {
    /// Parses RFC 3339 text with an offset: `2025-01-31T12:00:00+01:00`, `2025-01-31 11:00:00.123456Z`. Fractions
    /// of a millisecond are cut off, towards the past.
    ///
    /// # Errors
    /// When the text is not of this form, or has no offset.
    pub fn parse(text: &str) -> Result<Self, TimeTextError> {
        let refuse = |reason: String| TimeTextError { text: text.to_owned(), reason };
        match text.trim().parse::<Timestamp>() {
            Ok(timestamp) => Ok(Self::from(timestamp)),
            Err(_) if text.trim().parse::<DateTime>().is_ok() => Err(refuse(
                "it has no time zone: write an offset (Z, +01:00), or name its zone (EventTime::deserialize_in)"
                    .to_owned(),
            )),
            Err(error) => Err(refuse(error.to_string())),
        }
    }

    /// Parses text without an offset, `2025-01-31T12:00:00` or `2025-01-31`, as local time in `zone` (an IANA
    /// name, `Europe/Vienna`). If the text has an offset, the offset counts and not the zone. The rules of the
    /// zones are built in.
    ///
    /// # Errors
    /// When the text is not of this form, when there is no such zone, and when clocks in the zone show that time
    /// twice, or never.
    pub fn parse_in(zone: &str, text: &str) -> Result<Self, TimeTextError> {
        let refuse = |reason: String| TimeTextError { text: text.to_owned(), reason };
        let Ok(local) = text.trim().parse::<DateTime>() else { return Self::parse(text) };
        if let Ok(timestamp) = text.trim().parse::<Timestamp>() {
            return Ok(Self::from(timestamp));
        }
        let zone_rules = TimeZone::get(zone).map_err(|error| refuse(error.to_string()))?;
        let ambiguous = zone_rules.to_ambiguous_timestamp(local);
        let reason = match ambiguous.offset() {
            tz::AmbiguousOffset::Unambiguous { .. } => None,
            tz::AmbiguousOffset::Gap { .. } => Some("clocks are set forward over it"),
            tz::AmbiguousOffset::Fold { .. } => Some("clocks are set back and show it twice"),
        };
        if let Some(reason) = reason {
            return Err(refuse(format!("in {zone} {reason}: write an offset")));
        }
        ambiguous.unambiguous().map(Self::from).map_err(|error| refuse(error.to_string()))
    }

    /// Returns the time as text for people, in UTC: `2025-01-31T11:00:00Z`.
    #[must_use]
    pub fn readable(self) -> String {
        Timestamp::from_millisecond(self.0).map_or_else(|_| self.to_string(), |timestamp| timestamp.to_string())
    }

    /// Deserializes milliseconds or text; text without an offset is local time in `zone`:
    ///
    /// ```
    /// use tidemill_engine::EventTime;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Sale {
    ///     #[serde(deserialize_with = "vienna")]
    ///     at: EventTime,
    /// }
    /// fn vienna<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<EventTime, D::Error> {
    ///     EventTime::deserialize_in("Europe/Vienna", deserializer)
    /// }
    /// let sale: Sale = serde_json::from_str(r#"{"at": "2025-01-31T12:00:00"}"#)?;
    /// assert_eq!(sale.at, EventTime::parse("2025-01-31T11:00:00Z")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the value is neither, or text that [`parse_in`](Self::parse_in) refuses.
    pub fn deserialize_in<'de, D: Deserializer<'de>>(zone: &str, deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(NAME, TimeVisitor { zone: Some(zone) })
    }
}

impl From<Timestamp> for EventTime {
    fn from(timestamp: Timestamp) -> Self {
        // Milliseconds fit, since jiff's range of years is about ten thousand before and after the year 0.
        Self(i64::try_from(timestamp.as_nanosecond().div_euclid(1_000_000)).unwrap_or(i64::MAX))
    }
}

/// Human-readable formats may have text. The format of state and of the wire (bincode) always has the number.
impl<'de> Deserialize<'de> for EventTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_newtype_struct(NAME, TimeVisitor { zone: None })
        } else {
            i64::deserialize(deserializer).map(Self)
        }
    }
}

struct TimeVisitor<'a> {
    zone: Option<&'a str>,
}

impl<'de> Visitor<'de> for TimeVisitor<'_> {
    type Value = EventTime;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("milliseconds since the Unix epoch, or RFC 3339 text")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<EventTime, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_i64<E: de::Error>(self, ms: i64) -> Result<EventTime, E> {
        Ok(EventTime(ms))
    }

    fn visit_u64<E: de::Error>(self, ms: u64) -> Result<EventTime, E> {
        let wrong = || E::invalid_value(de::Unexpected::Unsigned(ms), &self);
        i64::try_from(ms).map(EventTime).map_err(|_| wrong())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<EventTime, E> {
        match self.zone {
            None => EventTime::parse(text),
            Some(zone) => EventTime::parse_in(zone, text),
        }
        .map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOON: EventTime = EventTime(1_738_324_800_000);

    #[test]
    fn text_with_an_offset_is_a_point_in_time_and_text_without_is_refused() {
        for text in [
            "2025-01-31T12:00:00Z",
            "2025-01-31T13:00:00+01:00",
            "2025-01-31 12:00:00.000999Z",
            " 2025-01-31T04:30:00-07:30 ",
        ] {
            assert_eq!(EventTime::parse(text), Ok(NOON));
            assert_eq!(EventTime::parse_in("Asia/Tokyo", text), Ok(NOON), "the offset counts");
        }
        assert_eq!(EventTime::parse("1969-12-31T23:59:59.9995Z"), Ok(EventTime(-1)), "towards the past");
        for (text, reason) in [
            ("2025-01-31T12:00:00", "has no time zone"),
            ("2025-01-31", "has no time zone"),
            ("2025-02-30T12:00:00Z", "2025-02-30"),
            ("noon", "noon"),
            ("", "not an event time"),
        ] {
            let error = EventTime::parse(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn text_in_a_zone_is_refused_where_its_clocks_are_set() {
        let vienna = |text: &str| EventTime::parse_in("Europe/Vienna", text);
        assert_eq!(vienna("2025-01-31T13:00:00"), Ok(NOON));
        assert_eq!(vienna("2025-07-01T02:00"), EventTime::parse("2025-07-01T00:00:00Z"));
        assert_eq!(vienna("2025-07-01"), EventTime::parse("2025-06-30T22:00:00Z"));
        for (text, reason) in [("2025-03-30T02:30:00", "set forward"), ("2025-10-26T02:30:00", "twice")] {
            let error = vienna(text).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains("Europe/Vienna"), "{error}");
        }
        assert_eq!(vienna("2025-10-26T02:30:00+01:00"), EventTime::parse("2025-10-26T01:30:00Z"));
        assert!(EventTime::parse_in("Europe/Wien", "2025-01-31T13:00:00").unwrap_err().to_string().contains("Wien"));
    }

    proptest! {
        /// Times that jiff has written in any zone, with the offset or, where it is not ambiguous, without it.
        #[test]
        fn what_is_written_is_read(ms in -60_000_000_000_000..250_000_000_000_000_i64, zone in prop::sample::select(
            vec!["Europe/Vienna", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "UTC"],
        )) {
            let at = Timestamp::from_millisecond(ms).unwrap().to_zoned(TimeZone::get(zone).unwrap());
            let local = at.datetime();
            let offset = at.strftime("%Y-%m-%dT%H:%M:%S%.f%:z").to_string();
            // Offsets of old times have seconds, which RFC 3339 does not allow.
            if at.offset().seconds() % 60 == 0 {
                prop_assert_eq!(EventTime::parse(&offset), Ok(EventTime(ms)));
            }
            match EventTime::parse_in(zone, &local.to_string()) {
                Ok(read) => prop_assert_eq!(read, EventTime(ms)),
                Err(error) => prop_assert!(error.to_string().contains("twice"), "{}", error),
            }
        }
    }

    #[test]
    fn state_and_wire_have_the_number_alone() {
        use tidemill_state::Shape;
        assert_eq!(Shape::of::<EventTime>(), Shape::of::<i64>());
    }

    #[test]
    fn numbers_and_text_are_taken() {
        let of = |json: &str| serde_json::from_str::<EventTime>(json).map_err(|e| e.to_string());
        assert_eq!(of("1738324800000"), Ok(NOON));
        assert_eq!(of("-1"), Ok(EventTime(-1)));
        assert_eq!(of("\"2025-01-31T12:00:00Z\""), Ok(NOON));
        for (json, reason) in [
            ("\"2025-01-31T12:00:00\"", "has no time zone"),
            ("18446744073709551615", "milliseconds"),
            ("1.5", "milliseconds"),
            ("null", "milliseconds"),
        ] {
            let error = of(json).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
        assert_eq!(serde_json::to_string(&NOON).unwrap(), "1738324800000");
    }
}
