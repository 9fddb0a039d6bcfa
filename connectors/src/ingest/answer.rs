//! Answers: JSON for what was taken, and errors as RFC 9457 has them (`application/problem+json`).

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ACCEPT_ENCODING, ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde_json::json;

/// The body of an answer, which is small.
pub(super) type Answer = Response<Full<Bytes>>;

/// What callers may send, as the answer to another type says it.
const ACCEPTED: &str = "application/json, application/x-ndjson";

/// Why a request was not taken, or not answered with 200.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) reason: Reason,
    detail: String,
}

/// What a refusal counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// The caller has to change something.
    Caller,
    /// There is no room: the caller may repeat it a little later.
    Full,
    /// It is not known to be committed: the caller has to repeat it.
    Unanswered,
}

impl Refusal {
    /// The caller has to change something before the request can be taken.
    pub(super) fn caller(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, reason: Reason::Caller, detail: detail.into() }
    }

    pub(super) fn full(detail: impl Into<String>) -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, reason: Reason::Full, detail: detail.into() }
    }

    pub(super) fn unanswered(detail: impl Into<String>) -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, reason: Reason::Unanswered, detail: detail.into() }
    }

    pub(super) fn answer(&self) -> Answer {
        let title = self.status.canonical_reason().unwrap_or("Error");
        let body =
            json!({ "type": "about:blank", "title": title, "status": self.status.as_u16(), "detail": self.detail });
        let mut answer = answer(self.status, "application/problem+json", body.to_string());
        let mut set = |name: HeaderName, value| answer.headers_mut().insert(name, HeaderValue::from_static(value));
        match self.status {
            StatusCode::UNAUTHORIZED => _ = set(WWW_AUTHENTICATE, "Bearer"),
            StatusCode::METHOD_NOT_ALLOWED => _ = set(ALLOW, "POST"),
            StatusCode::SERVICE_UNAVAILABLE => _ = set(RETRY_AFTER, "1"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                set(HeaderName::from_static("accept-post"), ACCEPTED);
                set(ACCEPT_ENCODING, "gzip, zstd");
            }
            _ => {}
        }
        answer
    }
}

/// Returns the answer that says that so many records are committed. `repeated`: the request was known by its key.
pub(super) fn committed(records: usize, repeated: bool) -> Answer {
    let body = if repeated { json!({ "records": records, "repeated": true }) } else { json!({ "records": records }) };
    answer(StatusCode::OK, "application/json", body.to_string())
}

fn answer(status: StatusCode, kind: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}
