//! Times as AWS writes them. All are in seconds since the Unix epoch, UTC.

use std::time::UNIX_EPOCH;

use jiff::Timestamp;

/// Returns a time as signatures have it: `20150830T123600Z`.
pub(super) fn compact(seconds: i64) -> String {
    Timestamp::from_second(seconds).unwrap_or_default().strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// Parses a time as in `2015-08-30T12:36:00Z`, of when credentials expire.
pub(super) fn parse(text: &str) -> Option<i64> {
    text.parse().ok().map(Timestamp::as_second)
}

/// Parses a time as the header `Date` has it.
pub(super) fn parse_header(text: &str) -> Option<i64> {
    let time = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(time.as_secs()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read() {
        assert_eq!(compact(1_440_938_160), "20150830T123600Z");
        assert_eq!(parse("2015-08-30T12:36:00Z"), Some(1_440_938_160));
        assert_eq!(parse_header("Sun, 30 Aug 2015 12:36:00 GMT"), Some(1_440_938_160));
        assert_eq!((parse("soon"), parse_header("soon")), (None, None));
    }
}
