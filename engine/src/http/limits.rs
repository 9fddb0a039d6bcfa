//! Bodies of requests: how long they may be, and how long they may take.

use std::time::Duration;

use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;

/// Longest body of a request, in bytes.
const LONGEST: usize = 64 << 10;
/// Time in which a body has to be sent.
const TIME: Duration = Duration::from_secs(10);

/// Reads the body of a request before anything else sees the request.
pub(super) async fn read_body(request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let too_long = || {
        let detail = format!("the body is longer than {LONGEST} bytes, or was not sent as it should be");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail).into_response()
    };
    // The head says how long it will be: nobody has to wait for it.
    if body.size_hint().lower() > LONGEST as u64 {
        return too_long();
    }
    match tokio::time::timeout(TIME, to_bytes(body, LONGEST)).await {
        Ok(Ok(bytes)) => next.run(Request::from_parts(head, Body::from(bytes))).await,
        Ok(Err(_)) => too_long(),
        Err(_) => {
            let detail = format!("the body did not arrive within {} s", TIME.as_secs());
            Problem::new(StatusCode::REQUEST_TIMEOUT, detail).into_response()
        }
    }
}
