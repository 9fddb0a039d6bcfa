//! The way of one request: who sends it, what it is, its body, and the wait for its commit.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, StatusCode};
use tidemill_engine::Clock;

use super::access::Access;
use super::answer::{Answer, Refusal, committed};
use super::body::{self, Encoding};
use super::budget::Budget;
use super::intake::{Accept, Accepted, Received};
use super::metrics::Counts;
use super::records::Form;

/// Longest idempotency key, in bytes.
const KEY: usize = 255;

/// What all connections of a source have in common.
pub(super) struct Service {
    pub(super) path: String,
    pub(super) access: Access,
    pub(super) max_bytes: usize,
    pub(super) answer_within: Duration,
    pub(super) budget: Arc<Budget>,
    pub(super) intake: Arc<dyn Accept>,
    pub(super) counts: Counts,
    pub(super) clock: Clock,
}

impl Service {
    /// Answers a request.
    pub(super) async fn answer(&self, from: SocketAddr, request: Request<Incoming>) -> Result<Answer, Infallible> {
        let taken = self.take(from, request).await;
        Ok(match taken {
            Ok(Accepted { records, repeated, .. }) => {
                let counter = if repeated { &self.counts.repeated } else { &self.counts.committed };
                counter.add(1);
                committed(records, repeated)
            }
            Err(refusal) => self.refuse(&refusal),
        })
    }

    /// Answers a request on a connection for which there is no room.
    pub(super) fn answer_full(&self) -> Answer {
        let mut answer = self.refuse(&Refusal::full("too many connections are open: send it again a little later"));
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        answer
    }

    fn refuse(&self, refusal: &Refusal) -> Answer {
        self.counts.count(refusal);
        refusal.answer()
    }

    /// Takes a request, and waits until it is committed.
    async fn take(&self, from: SocketAddr, request: Request<Incoming>) -> Result<Accepted, Refusal> {
        let (head, body) = request.into_parts();
        self.access.judge(&head)?;
        let (form, encoding) = self.expected(&head)?;
        let mut reserved = self.budget.reserve();
        let body = body::read(body, self.max_bytes, &mut reserved).await?;
        let signed = self.access.verified(&head.headers, &body, self.clock.now().0 / 1_000_000)?;
        // What is signed is the id; a key beside it could be anybody's.
        let key = signed.map_or_else(|| key(&head.headers), |id| checked(id).map(Some))?;
        let from = key.as_ref().map_or_else(|| from.to_string(), |key| format!("{from}, key {key:?}"));
        let received = Received { from, key, form, encoding, headers: head.headers, body, reserved };
        let intake = Arc::clone(&self.intake);
        // It takes too long for the thread that serves all connections.
        let accepted = tokio::task::spawn_blocking(move || intake.accept(received)).await;
        let mut accepted = accepted.map_err(|_| {
            Refusal::caller(StatusCode::INTERNAL_SERVER_ERROR, "the decoder has panicked: see the log of the job")
        })??;
        let Some(commit) = accepted.committed.take() else { return Ok(accepted) };
        match tokio::time::timeout(self.answer_within, commit).await {
            Ok(Ok(())) => Ok(accepted),
            Ok(Err(_)) => Err(Refusal::unanswered("the job ended before the request was committed: send it again")),
            Err(_) => Err(Refusal::unanswered(format!(
                "the request was taken, and not committed within {:?}: send it again, under the same Idempotency-Key if it must \
                 not count twice; a job commits at its checkpoints",
                self.answer_within
            ))),
        }
    }

    /// Returns what the body of a request is, if it is one that can be taken.
    fn expected(&self, head: &Parts) -> Result<(Form, Encoding), Refusal> {
        if head.uri.path() != self.path {
            return Err(Refusal::caller(StatusCode::NOT_FOUND, format!("records are sent to {}", self.path)));
        }
        if head.method != Method::POST {
            return Err(Refusal::caller(StatusCode::METHOD_NOT_ALLOWED, "records are sent by POST"));
        }
        let header = |name| match head.headers.get(&name).map(HeaderValue::to_str) {
            None => Ok(""),
            Some(Ok(value)) => Ok(value),
            Some(Err(_)) => Err(Refusal::caller(StatusCode::BAD_REQUEST, format!("the header {name} is not text"))),
        };
        let unsupported = |detail: String| Refusal::caller(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail);
        let media_type = header(CONTENT_TYPE)?;
        let form = Form::of(media_type).ok_or_else(|| {
            unsupported(format!(
                "Content-Type is \"{media_type}\": send application/json, a record or an array of records, or \
                 application/x-ndjson, a record in each line"
            ))
        })?;
        let encoding = header(CONTENT_ENCODING)?;
        let encoding = Encoding::of(encoding)
            .ok_or_else(|| unsupported(format!("Content-Encoding is \"{encoding}\", and can be gzip or zstd")))?;
        Ok((form, encoding))
    }
}

/// Returns the idempotency key of a request. The draft has it in quotation marks, and many callers have not.
fn key(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let mut keys = headers.get_all("idempotency-key").iter();
    let Some(key) = keys.next() else { return Ok(None) };
    let bad = |detail: &str| Refusal::caller(StatusCode::BAD_REQUEST, detail);
    if keys.next().is_some() {
        return Err(bad("there are several Idempotency-Keys"));
    }
    let key = key.to_str().map_err(|_| bad("Idempotency-Key is not text"))?.trim();
    let bare = key.strip_prefix('"').and_then(|key| key.strip_suffix('"')).unwrap_or(key);
    checked(bare).map(Some)
}

fn checked(key: &str) -> Result<String, Refusal> {
    if key.is_empty() || key.len() > KEY {
        let detail = format!("Idempotency-Key has {} bytes, and can have 1 to {KEY}", key.len());
        return Err(Refusal::caller(StatusCode::BAD_REQUEST, detail));
    }
    Ok(key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_same_with_and_without_quotation_marks() {
        let of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("idempotency-key", value.parse().unwrap());
            }
            key(&headers).map_err(|refusal| refusal.status.as_u16())
        };
        assert_eq!(of(&[]), Ok(None));
        for same in ["a-7", "\"a-7\"", " \"a-7\" "] {
            assert_eq!(of(&[same]), Ok(Some("a-7".to_owned())));
        }
        for bad in [&[""][..], &["\"\""], &["a", "a"], &["k".repeat(256).as_str()]] {
            assert_eq!(of(bad), Err(400), "{bad:?}");
        }
    }
}
