//! What an answer means.

use std::fmt;
use std::time::{Duration, SystemTime};

use ureq::http::StatusCode;

use super::address::Address;

/// How much of an answer's body is shown, in characters.
const SHOWN: usize = 300;

/// The answer to a request.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// The values of these headers, if there are any.
    pub(super) retry_after: Option<String>,
    pub(super) location: Option<String>,
    /// The beginning of the body, as it can be shown.
    pub(super) start: String,
}

/// The meaning of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Delivered,
    /// The same request may be taken later.
    Later,
    /// The target does not take this request.
    Refused,
    /// The same, and another token or signature might be taken.
    Unauthorized,
    /// The URL is not the target's.
    Elsewhere,
}

impl Answer {
    pub(super) fn meaning(&self) -> Meaning {
        match self.status.as_u16() {
            200..=299 => Meaning::Delivered,
            401 | 403 => Meaning::Unauthorized,
            // 409: a request with the same key is at work (draft-ietf-httpapi-idempotency-key-header, 2.6).
            408 | 409 | 425 | 429 | 500.. => Meaning::Later,
            400..=499 => Meaning::Refused,
            _ => Meaning::Elsewhere,
        }
    }

    /// Returns how long the target wants to be left alone: `Retry-After`, in seconds or as a date (RFC 9110, 10.2.3).
    pub(super) fn retry_after(&self, now: SystemTime) -> Option<Duration> {
        let text = self.retry_after.as_ref()?.trim();
        if let Ok(seconds) = text.parse::<u64>() {
            return Some(Duration::from_secs(seconds));
        }
        let date = httpdate::parse_http_date(text).ok()?;
        Some(date.duration_since(now).unwrap_or_default())
    }

    /// Returns where a redirect leads to, as far as it can be shown.
    pub(super) fn leads_to(&self) -> Option<Address> {
        self.location.as_ref().and_then(|location| Address::parse(location).ok())
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status.as_u16())?;
        if let Some(reason) = self.status.canonical_reason() {
            write!(f, " {reason}")?;
        }
        if self.start.is_empty() { Ok(()) } else { write!(f, ": \"{}\"", self.start) }
    }
}

/// Returns the beginning of a body: without line breaks, and without any of these secrets, which some servers send back.
pub(super) fn shown(body: &[u8], secrets: &[&str]) -> String {
    let mut text = String::from_utf8_lossy(body).into_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, "…");
    }
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    let start: String = text.trim().chars().take(SHOWN).map(printable).collect();
    if text.trim().chars().nth(SHOWN).is_some() { start + "…" } else { start }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, retry_after: Option<&str>) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: retry_after.map(str::to_owned),
            location: None,
            start: "so it is".to_owned(),
        }
    }

    #[test]
    fn each_status_has_one_meaning() {
        let of = |statuses: &[u16], meaning| {
            for status in statuses {
                assert_eq!(answer(*status, None).meaning(), meaning, "{status}");
            }
        };
        of(&[200, 201, 202, 204, 208, 299], Meaning::Delivered);
        of(&[408, 409, 425, 429, 500, 501, 502, 503, 504, 529, 599], Meaning::Later);
        of(&[400, 402, 404, 405, 410, 413, 415, 422, 451, 499], Meaning::Refused);
        of(&[401, 403], Meaning::Unauthorized);
        of(&[100, 101, 300, 301, 302, 303, 304, 307, 308], Meaning::Elsewhere);
        assert_eq!(answer(422, None).to_string(), "422 Unprocessable Entity: \"so it is\"");
        assert_eq!(answer(599, None).to_string(), "599: \"so it is\"");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let after = |text: &str| answer(429, Some(text)).retry_after(now);
        assert_eq!(after("120"), Some(Duration::from_secs(120)));
        assert_eq!(after(" 0 "), Some(Duration::ZERO));
        assert_eq!(after("Sun, 06 Nov 1994 08:50:07 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(after("Sunday, 06-Nov-94 08:50:07 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(after("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        for text in ["", "-1", "soon", "1.5", "99999999999999999999999"] {
            assert_eq!(after(text), None, "{text}");
        }
        assert_eq!(after("18446744073709551615"), Some(Duration::from_secs(u64::MAX)));
        assert_eq!(answer(429, None).retry_after(now), None);
    }

    #[test]
    fn what_is_shown_of_a_body_is_short_and_has_no_secret() {
        let secrets = ["Bearer hunter2", ""];
        assert_eq!(shown(b" no:\r\nBearer hunter2 \xff ", &secrets), "no:  … \u{fffd}");
        let long = shown("ü".repeat(400).as_bytes(), &[]);
        assert_eq!((long.chars().count(), long.ends_with("ü…")), (SHOWN + 1, true));
    }
}
