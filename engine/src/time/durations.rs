//! Durations, as programs write them.

use std::time::Duration;

/// Returns a duration of `n` milliseconds.
#[must_use]
pub const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Returns a duration of `n` seconds.
#[must_use]
pub const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Returns a duration of `n` minutes.
#[must_use]
pub const fn minutes(n: u64) -> Duration {
    Duration::from_secs(n.saturating_mul(60))
}

/// Returns a duration of `n` hours.
#[must_use]
pub const fn hours(n: u64) -> Duration {
    Duration::from_secs(n.saturating_mul(60 * 60))
}

/// Returns a duration of `n` days of 24 hours. For calendar days, which differ in length, use windows by time zone.
#[must_use]
pub const fn days(n: u64) -> Duration {
    Duration::from_secs(n.saturating_mul(24 * 60 * 60))
}

/// Returns the whole milliseconds of a duration; at most `i64::MAX`.
#[doc(hidden)]
#[must_use]
pub const fn in_ms(duration: Duration) -> i64 {
    let ms = duration.as_millis();
    if ms > i64::MAX as u128 { i64::MAX } else { ms as i64 }
}

/// Returns the duration between two instants in milliseconds; zero if `to` is not after `from`.
pub(super) const fn between(from: i64, to: i64) -> Duration {
    let ms = to.saturating_sub(from);
    if ms > 0 { Duration::from_millis(ms.unsigned_abs()) } else { Duration::ZERO }
}

/// Returns a duration as milliseconds, the unit of event time.
///
/// # Errors
/// When the duration is not a whole number of milliseconds, or more of them than fit an `i64`; the text completes the
/// sentence "SOMETHING is …".
#[doc(hidden)]
pub fn whole_ms(duration: Duration) -> Result<i64, String> {
    if !duration.subsec_nanos().is_multiple_of(1_000_000) {
        return Err(format!("{duration:?}, but event time has whole milliseconds"));
    }
    i64::try_from(duration.as_millis()).map_err(|_| format!("{duration:?}, which is longer than all of event time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_whole_milliseconds_or_are_refused() {
        assert_eq!(whole_ms(minutes(2) + millis(5)), Ok(120_005));
        let refused = whole_ms(Duration::from_micros(1_500)).unwrap_err();
        assert_eq!(refused, "1.5ms, but event time has whole milliseconds");
        let refused = whole_ms(Duration::from_secs(u64::MAX)).unwrap_err();
        assert_eq!(refused, "18446744073709551615s, which is longer than all of event time");
        assert_eq!((in_ms(Duration::MAX), in_ms(days(1))), (i64::MAX, hours(24).as_millis() as i64));
        assert_eq!(days(u64::MAX), Duration::from_secs(u64::MAX));
    }
}
