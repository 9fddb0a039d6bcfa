//! Blocking HTTP calls with JSON.

use std::time::{Duration, Instant};

use ureq::http::StatusCode;
use ureq::{Agent, Body};

use super::call::CallError;
use super::json;
use tidemill_engine::call_span::traceparent;
use tidemill_engine::threads;

/// Maximum size of an answer.
const MAX_ANSWER: u64 = 256 << 20;

pub(super) struct RestClient {
    agent: Agent,
    base: String,
}

impl RestClient {
    pub(super) fn new(authority: &str, connect_timeout: Duration) -> Self {
        // Redirects would send the batch elsewhere, and an answer that is an error says why in its body.
        let config = Agent::config_builder().http_status_as_error(false).max_redirects(0);
        let config = config.timeout_connect(Some(connect_timeout)).build();
        Self { agent: config.into(), base: format!("http://{authority}") }
    }

    pub(super) fn get(&self, path: &str, deadline: Instant) -> Result<serde_json::Value, CallError> {
        let request = self.agent.get(format!("{}{path}", self.base)).config().timeout_global(left(deadline)?).build();
        answer(request.call())
    }

    pub(super) fn post(&self, path: &str, body: &[u8], deadline: Instant) -> Result<serde_json::Value, CallError> {
        let request = self.agent.post(format!("{}{path}", self.base)).content_type("application/json");
        let request = match traceparent() {
            Some(parent) => request.header("traceparent", parent),
            None => request,
        };
        answer(request.config().timeout_global(left(deadline)?).build().send(body))
    }
}

fn left(deadline: Instant) -> Result<Option<Duration>, CallError> {
    let left = deadline.saturating_duration_since(threads::now());
    if left.is_zero() { Err(CallError::late()) } else { Ok(Some(left)) }
}

fn failed(error: &ureq::Error) -> CallError {
    match error {
        ureq::Error::Timeout(_) => CallError::late(),
        error => CallError::Unavailable(error.to_string()),
    }
}

fn answer(answer: Result<ureq::http::Response<Body>, ureq::Error>) -> Result<serde_json::Value, CallError> {
    let mut answer = answer.map_err(|e| failed(&e))?;
    let status = answer.status();
    let body = answer.body_mut().with_config().limit(MAX_ANSWER).read_to_vec().map_err(|e| failed(&e))?;
    if status != StatusCode::OK {
        let reason: String = String::from_utf8_lossy(&body).chars().take(500).collect();
        return Err(sort(status, format!("{status}: {reason}")));
    }
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(serde_json::Value::Null);
    }
    json::parse(&body)
}

/// Messages of servers that fail to write an answer because of a NaN in it: Python's json, OpenVINO Model Server.
const UNWRITABLE: [&str; 2] = ["not JSON compliant", "cannot be serialized to JSON"];

/// Classifies a status: whether the server or the batch is at fault.
fn sort(status: StatusCode, text: String) -> CallError {
    match status.as_u16() {
        400 | 413 | 422 => CallError::Refused(text),
        404 | 405 | 501 => CallError::Unimplemented(text),
        500 if UNWRITABLE.iter().any(|reason| text.contains(reason)) => CallError::Refused(text),
        502..=504 => CallError::Unavailable(text),
        500..=599 => CallError::Failed(text),
        _ => CallError::Unavailable(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_cannot_write_a_nan_is_well() {
        let sort = |text: &str| sort(StatusCode::INTERNAL_SERVER_ERROR, text.to_owned());
        let python = "500: {\"error\": \"ValueError: Out of range float values are not JSON compliant: nan\"}";
        assert_eq!(sort(python), CallError::Refused(python.to_owned()));
        assert_eq!(sort("500: out of memory"), CallError::Failed("500: out of memory".to_owned()));
    }
}
