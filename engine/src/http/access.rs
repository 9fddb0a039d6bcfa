//! Who may ask for what.
//!
//! * `Host`, where there is one, is an IP address, `localhost`, or a name that the job was given. A site whose name was
//!   made to point to this machine (DNS rebinding) sends its own name.
//! * `Origin`, on a request that changes something, is the page that was served from here.
//! * Whatever changes something needs the token. Beyond loopback so does the rest, except the files of the page, which
//!   are the same for everybody and ask for the token themselves, and the two questions whether the process lives.

use std::env;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use super::token::Token;
use super::watched::Watched;
use crate::error::{JobError, Remedy};

/// The variable that has the token, if no file has it.
const VARIABLE: &str = "TIDEMILL_HTTP_TOKEN";
/// The file in the directory of the checkpoints that a token is written to.
const FILE: &str = "http-token";

/// The rules of a server.
pub(super) struct Access {
    /// Names under which it may be asked, apart from addresses and `localhost`.
    names: Vec<String>,
    token: Token,
    /// Whether others than this machine can ask: then reading needs the token, too.
    exposed: bool,
}

/// Returns the rules of a server at `address`. A token that nobody has chosen is drawn, and told to whoever may read
/// the checkpoints or the log.
pub(super) fn open(address: SocketAddr, watched: &Watched) -> Result<Access, JobError> {
    let exposed = !address.ip().to_canonical().is_loopback();
    let token = match chosen(watched.token_file.as_deref())? {
        Some(token) => token,
        None if exposed => {
            let reason = format!(
                "http is {address}, which others than this machine can reach: set a token of your own, in a file \
                 (http_token_file) or in {VARIABLE}, or serve at 127.0.0.1"
            );
            return Err(JobError::setting(reason, [Remedy::Setting("http_token_file"), Remedy::Setting("http")]));
        }
        None => draw(address, watched)?,
    };
    Ok(Access { names: watched.names.clone(), token, exposed })
}

/// Returns the token that somebody has chosen.
fn chosen(file: Option<&Path>) -> Result<Option<Token>, JobError> {
    let wrong = |whence: String, fault: String| {
        JobError::setting(format!("the token for HTTP in {whence}: {fault}"), [Remedy::Setting("http_token_file")])
    };
    if let Some(file) = file {
        let whence = || format!("\"{}\"", file.display());
        let text = std::fs::read_to_string(file).map_err(|error| wrong(whence(), error.to_string()))?;
        return Token::chosen(&text).map(Some).map_err(|fault| wrong(whence(), fault));
    }
    let text = env::var(VARIABLE).ok().filter(|text| !text.is_empty());
    text.map(|text| Token::chosen(&text)).transpose().map_err(|fault| wrong(VARIABLE.to_owned(), fault))
}

fn draw(address: SocketAddr, watched: &Watched) -> Result<Token, JobError> {
    let failed = |source| JobError::Io { what: "draw the token for HTTP".to_owned(), source };
    let token = Token::draw().map_err(failed)?;
    let Some(dir) = &watched.checkpoint_dir else {
        tracing::info!("the page that may stop the job is http://{address}/#token={}", token.secret());
        return Ok(token);
    };
    // Each process of a job has a token of its own, and all have one directory.
    let file = if watched.index == 0 { FILE.to_owned() } else { format!("{FILE}-{}", watched.index) };
    let path = dir.join(file);
    token.write(&path).map_err(|source| JobError::Io { what: format!("write \"{}\"", path.display()), source })?;
    tracing::info!("requests that change something need the token in \"{}\"", path.display());
    Ok(token)
}

impl Access {
    fn judge(&self, request: &Request) -> Result<(), Problem> {
        let host = host(request)?;
        if let Some(host) = host.filter(|host| !self.is_ours(host)) {
            let detail = format!(
                "this job is not served as \"{host}\": use its IP address or localhost, or set http_names for the job"
            );
            return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, detail));
        }
        let changes = !request.method().is_safe();
        if changes {
            for origin in request.headers().get_all(ORIGIN) {
                let of_here = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
                let is_here = |host: &str| of_here.is_some_and(|(_, origin)| origin.eq_ignore_ascii_case(host));
                if !host.is_some_and(is_here) {
                    let detail = "the page that sent this request is not one of this job";
                    return Err(Problem::new(StatusCode::FORBIDDEN, detail));
                }
            }
        }
        if (changes || self.exposed && !is_for_all(request.uri().path())) && !self.has_token(request.headers()) {
            let detail = "this needs the header \"Authorization: Bearer TOKEN\", with the token of this job";
            return Err(Problem::new(StatusCode::UNAUTHORIZED, detail));
        }
        Ok(())
    }

    fn has_token(&self, headers: &HeaderMap) -> bool {
        let given =
            headers.get(AUTHORIZATION).and_then(|given| given.to_str().ok()).and_then(|given| given.split_once(' '));
        given.is_some_and(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer") && self.token.is(token.trim()))
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
        Err(problem) => {
            let mut response = problem.into_response();
            if response.status() == StatusCode::UNAUTHORIZED {
                response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            response
        }
    }
}

/// Returns the host of a request. A request for a whole address has it there. A request of HTTP/1.0 may have none, as
/// the checks of load balancers do; a browser always says one.
fn host(request: &Request) -> Result<Option<&str>, Problem> {
    if let Some(authority) = request.uri().authority() {
        return Ok(Some(authority.as_str()));
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next().map(HeaderValue::to_str), hosts.next()) {
        (Some(Ok(host)), None) => Ok(Some(host)),
        (None, _) if request.version() == Version::HTTP_10 => Ok(None),
        _ => Err(Problem::new(StatusCode::BAD_REQUEST, "the request has no Host, or several")),
    }
}

/// Returns whether a path may be read without a token, from anywhere.
fn is_for_all(path: &str) -> bool {
    matches!(path, "/" | "/livez" | "/readyz") || path.starts_with("/app/")
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.is_empty() => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn access(exposed: bool) -> Access {
        Access { names: vec!["job.internal".to_owned()], token: Token::chosen(TOKEN).unwrap(), exposed }
    }

    /// Asks with these headers, and returns the status of a refusal.
    fn asked(access: &Access, method: &str, path: &str, headers: &[(&str, &str)]) -> Option<u16> {
        let request = Request::builder().method(method).uri(path);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let refused = access.judge(&request.body(Body::empty()).unwrap()).err()?;
        Some(refused.into_response().status().as_u16())
    }

    #[test]
    fn addresses_and_localhost_are_ours_and_other_names_are_not() {
        for host in ["127.0.0.1", "127.0.0.1:9090", "[::1]:9090", "[::1]", "10.1.2.3:80", "LocalHost:1", "job.internal"]
        {
            assert!(access(false).is_ours(host), "{host}");
        }
        for host in ["evil.example", "evil.example:9090", "localhost.evil.example", "127.0.0.1.evil.example", "", ":80"]
        {
            assert!(!access(false).is_ours(host), "{host}");
        }
    }

    #[test]
    fn a_request_that_changes_something_comes_from_this_page_or_from_none() {
        let (host, token) = (("host", "localhost:9090"), ("authorization", "Bearer 0123456789abcdef"));
        let from = |method, origin| asked(&access(false), method, "/x", &[host, token, ("origin", origin)]);
        assert_eq!(asked(&access(false), "POST", "/x", &[host, token]), None);
        assert_eq!(from("POST", "http://localhost:9090"), None);
        assert_eq!(from("GET", "http://evil.example"), None);
        for other in ["http://evil.example", "http://localhost:9091", "null", ""] {
            assert_eq!(from("POST", other), Some(403), "{other}");
        }
    }

    #[test]
    fn a_request_has_one_host() {
        let access = access(false);
        assert_eq!(asked(&access, "GET", "/", &[]), Some(400));
        assert_eq!(asked(&access, "GET", "/", &[("host", "localhost"), ("host", "evil.example")]), Some(400));
        assert_eq!(asked(&access, "GET", "http://evil.example/", &[("host", "localhost")]), Some(421));
    }

    #[test]
    fn a_check_by_an_old_protocol_needs_no_host() {
        let asked = |method: &str, origin: Option<&str>| {
            let request = Request::builder().method(method).uri("/livez").version(Version::HTTP_10);
            let request = request.header(AUTHORIZATION, format!("Bearer {TOKEN}"));
            let request = origin.into_iter().fold(request, |request, origin| request.header(ORIGIN, origin));
            let refused = access(false).judge(&request.body(Body::empty()).unwrap()).err()?;
            Some(refused.into_response().status().as_u16())
        };
        assert_eq!(asked("GET", None), None);
        assert_eq!(asked("POST", None), None);
        assert_eq!(asked("POST", Some("http://localhost:9090")), Some(403));
    }

    #[test]
    fn who_has_the_token_may_change_something_and_read_from_elsewhere() {
        let with = |exposed, method, path, token: &str| {
            asked(&access(exposed), method, path, &[("host", "localhost"), ("authorization", token)])
        };
        for wrong in ["", "Bearer", "Bearer ", "Bearer 0123456789abcdee", "Basic 0123456789abcdef", TOKEN] {
            assert_eq!(with(false, "POST", "/api/v1/stop", wrong), Some(401), "{wrong}");
            assert_eq!(with(false, "GET", "/api/v1/job", wrong), None, "{wrong}");
            assert_eq!(with(true, "GET", "/api/v1/job", wrong), Some(401), "{wrong}");
            assert_eq!(with(true, "GET", "/metrics", wrong), Some(401), "{wrong}");
            for free in ["/livez", "/readyz", "/", "/app/main.js"] {
                assert_eq!(with(true, "GET", free, wrong), None, "{free}");
            }
        }
        assert_eq!(with(false, "POST", "/api/v1/stop", "bearer 0123456789abcdef"), None);
        assert_eq!(with(true, "GET", "/api/v1/job", "Bearer 0123456789abcdef"), None);
    }
}
