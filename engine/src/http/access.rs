//! Who may ask: requests that a web site elsewhere has a browser send are refused.
//!
//! * `Host` is an IP address, `localhost`, or a name that the job was given. A site whose name was made to point to
//!   this machine (DNS rebinding) sends its own name.
//! * `Origin`, on a request that changes something, is the page that was served from here.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;

/// The rules of a server.
#[derive(Debug)]
pub(super) struct Access {
    /// Names under which it may be asked, apart from addresses and `localhost`.
    names: Vec<String>,
}

impl Access {
    pub(super) fn new() -> Self {
        Self { names: Vec::new() }
    }

    fn judge(&self, request: &Request) -> Result<(), Problem> {
        let host = host(request.uri(), request.headers());
        let host = host.ok_or_else(|| Problem::new(StatusCode::BAD_REQUEST, "the request has no Host, or several"))?;
        if !self.is_ours(host) {
            let detail = format!("this job is not served as \"{host}\": use its IP address or localhost");
            return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, detail));
        }
        if !request.method().is_safe() {
            for origin in request.headers().get_all(ORIGIN) {
                let of_here = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
                if !of_here.is_some_and(|(_, origin)| origin.eq_ignore_ascii_case(host)) {
                    let detail = "the page that sent this request is not one of this job";
                    return Err(Problem::new(StatusCode::FORBIDDEN, detail));
                }
            }
        }
        Ok(())
    }

    /// Returns whether `host`, with or without a port, is a name of this server.
    fn is_ours(&self, host: &str) -> bool {
        let name = without_port(host);
        let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        address.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || self.names.iter().any(|own| own.eq_ignore_ascii_case(name))
    }
}

/// Refuses a request that must not be answered.
pub(super) async fn check(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    match access.judge(&request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// Returns the host of a request. A request for a whole address has it there.
fn host<'r>(uri: &'r Uri, headers: &'r HeaderMap) -> Option<&'r str> {
    if let Some(authority) = uri.authority() {
        return Some(authority.as_str());
    }
    let mut hosts = headers.get_all(HOST).iter();
    let first = hosts.next()?.to_str().ok()?;
    hosts.next().is_none().then_some(first)
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.is_empty() => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_localhost_are_ours_and_other_names_are_not() {
        let access = Access { names: vec!["job.internal".to_owned()] };
        for host in ["127.0.0.1", "127.0.0.1:9090", "[::1]:9090", "[::1]", "10.1.2.3:80", "LocalHost:1", "job.internal"]
        {
            assert!(access.is_ours(host), "{host}");
        }
        for host in ["evil.example", "evil.example:9090", "localhost.evil.example", "127.0.0.1.evil.example", "", ":80"]
        {
            assert!(!access.is_ours(host), "{host}");
        }
    }

    #[test]
    fn a_request_that_changes_something_comes_from_this_page_or_from_none() {
        let access = Access { names: Vec::new() };
        let judge = |method: &str, origin: Option<&str>| {
            let mut request = Request::builder().method(method).uri("/x").header(HOST, "localhost:9090");
            if let Some(origin) = origin {
                request = request.header(ORIGIN, origin);
            }
            let request = request.body(axum::body::Body::empty()).unwrap();
            access.judge(&request).is_ok()
        };
        assert!(judge("POST", None));
        assert!(judge("POST", Some("http://localhost:9090")));
        assert!(judge("GET", Some("http://evil.example")));
        for other in ["http://evil.example", "http://localhost:9091", "null", ""] {
            assert!(!judge("POST", Some(other)), "{other}");
        }
    }

    #[test]
    fn a_request_has_one_host() {
        let two = Request::builder().uri("/").header(HOST, "localhost").header(HOST, "evil.example");
        let none = Request::builder().uri("/");
        let whole = Request::builder().uri("http://evil.example/").header(HOST, "localhost");
        for request in [two, none, whole] {
            let request = request.body(axum::body::Body::empty()).unwrap();
            assert!(Access { names: Vec::new() }.judge(&request).is_err(), "{request:?}");
        }
    }
}
