//! Errors as RFC 9457 has them: `application/problem+json`, the same for people and programs.

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// An answer that says what is wrong.
#[derive(Debug, Serialize)]
pub(super) struct Problem {
    /// No page of its own describes it: the status says what kind it is.
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        Self { r#type: "about:blank", title, status: status.as_u16(), detail: detail.into() }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let kind = HeaderValue::from_static("application/problem+json");
        // Texts and a number can always be serialized.
        (status, [(CONTENT_TYPE, kind)], serde_json::to_string(&self).unwrap_or_default()).into_response()
    }
}
