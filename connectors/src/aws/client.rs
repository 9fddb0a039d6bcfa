//! Signed requests to a service that speaks JSON 1.1 (Kinesis), one at a time.
//!
//! A signature is valid for some minutes. What is signed is the time of the service, as of its last answer: where the machine's
//! clock is wrong, the first request is refused, and made again.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde::Deserialize;
use tidemill_engine::{Clock, ConnectorError};
use ureq::Agent;
use ureq::http::{Request, Uri};

use super::credentials::Credentials;
use super::sign::{self, Scope};
use super::{http, time};

/// Maximum time to connect.
const CONNECT: Duration = Duration::from_secs(5);
/// Maximum size of an answer: Kinesis gives 10 MiB of records, in base64.
const MAX: u64 = 32 << 20;

/// A service, as requests name it.
#[derive(Clone, Copy)]
pub(crate) struct Service {
    /// The name in signatures and host names: `kinesis`.
    pub(crate) name: &'static str,
    /// The beginning of `X-Amz-Target`: `Kinesis_20131202`.
    pub(crate) target: &'static str,
}

/// The address of a service: `https://host[:port]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    base: String,
    host: String,
}

impl Endpoint {
    /// Returns the endpoint of a service in a region.
    pub(crate) fn of_region(service: &str, region: &str) -> Self {
        let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        let host = format!("{service}.{region}.{domain}");
        Self { base: format!("https://{host}"), host }
    }

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("endpoint \"{text}\" is not http[s]://host[:port]");
        let url: Uri = text.trim_end_matches('/').parse().map_err(|_| wrong())?;
        let authority = url.authority().map(|authority| authority.as_str()).unwrap_or_default();
        let is_plain = matches!(url.path(), "" | "/") && url.query().is_none() && !authority.contains('@');
        match url.scheme_str() {
            Some(scheme @ ("http" | "https")) if is_plain && !authority.is_empty() => {
                // Clients leave the usual port out of the header `Host`, which is signed.
                let usual = if scheme == "http" { ":80" } else { ":443" };
                let host = authority.strip_suffix(usual).unwrap_or(authority);
                Ok(Self { base: format!("{scheme}://{authority}"), host: host.to_owned() })
            }
            _ => Err(wrong()),
        }
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.base)
    }
}

/// Why a call has no result.
#[derive(Debug)]
pub(crate) enum CallError {
    /// The service has refused it, with the code of an error.
    Refused { status: u16, code: String, message: String },
    /// There was no answer, or one that cannot be read: whether the call had an effect is not known.
    NoAnswer(String),
    /// There are no credentials.
    Credentials(ConnectorError),
}

/// Codes of errors by which a service says that it does not accept keys or signature.
const NOT_ACCEPTED: [&str; 6] = [
    "ExpiredTokenException",
    "ExpiredToken",
    "UnrecognizedClientException",
    "InvalidSignatureException",
    "InvalidClientTokenId",
    "RequestExpired",
];

/// A client of one service.
pub(crate) struct Client {
    agent: Agent,
    service: Service,
    endpoint: Endpoint,
    region: String,
    credentials: Credentials,
    clock: Clock,
    /// By how many seconds the clock of the service is ahead.
    ahead: AtomicI64,
}

impl Client {
    /// Makes a client with the credentials of this process. Nothing is asked yet.
    pub(crate) fn new(service: Service, endpoint: Endpoint, region: &str, clock: Clock) -> Self {
        let (agent, region) = (http::agent(CONNECT), region.to_owned());
        let credentials = Credentials::of_this_process(clock.clone());
        Self { agent, service, endpoint, region, credentials, clock, ahead: AtomicI64::new(0) }
    }

    /// Returns the time by the clock of the service, as of its answers, in milliseconds since the Unix epoch. It is wrong by up
    /// to a second.
    pub(crate) fn service_time(&self) -> i64 {
        let own = i64::try_from(self.clock.now().0 / 1000).unwrap_or(i64::MAX);
        own.saturating_add(self.ahead.load(Ordering::Relaxed) * 1000)
    }

    /// Calls an operation with a request in JSON, and returns the answer's body. The answer may take as long as `limit`.
    pub(crate) fn call(&self, operation: &str, body: &[u8], limit: Duration) -> Result<Vec<u8>, CallError> {
        let keys = self.credentials.keys().map_err(CallError::Credentials)?;
        match self.attempt(operation, body, limit, &keys) {
            // Keys may have been replaced, and the clock is set now: the second refusal is meant.
            Err(CallError::Refused { code, .. }) if NOT_ACCEPTED.contains(&code.as_str()) => {
                self.credentials.forget(&keys);
                let keys = self.credentials.keys().map_err(CallError::Credentials)?;
                self.attempt(operation, body, limit, &keys)
            }
            result => result,
        }
    }

    fn attempt(
        &self,
        operation: &str,
        body: &[u8],
        limit: Duration,
        keys: &super::credentials::Keys,
    ) -> Result<Vec<u8>, CallError> {
        let at = self.service_time().div_euclid(1000);
        let (date, target) = (time::compact(at), format!("{}.{operation}", self.service.target));
        let mut headers = vec![
            ("content-type", "application/x-amz-json-1.1"),
            ("host", self.endpoint.host.as_str()),
            ("x-amz-date", date.as_str()),
        ];
        headers.extend(keys.session_token.as_deref().map(|token| ("x-amz-security-token", token)));
        headers.push(("x-amz-target", target.as_str()));
        let signed = sign::Request { method: "POST", path: "/", query: "", headers: &headers, body };
        let scope = Scope { region: &self.region, service: self.service.name, at };
        let authorization = signed.authorization(keys, &scope);
        let request = Request::post(format!("{}/", self.endpoint)).header("authorization", authorization);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let request = request.body(body).map_err(|e| CallError::NoAnswer(e.to_string()))?;
        let answer = http::send(&self.agent, request, limit, MAX).map_err(CallError::NoAnswer)?;
        if let Some(theirs) = answer.date.as_deref().and_then(time::parse_header) {
            let ahead = theirs - i64::try_from(self.clock.now().0 / 1_000_000).unwrap_or(theirs);
            self.ahead.store(ahead, Ordering::Relaxed);
        }
        match answer.status {
            200 => Ok(answer.body),
            status => Err(refused(status, &answer.body)),
        }
    }
}

#[derive(Deserialize)]
struct Refusal {
    /// May have a namespace before `#`.
    #[serde(rename = "__type")]
    code: String,
    #[serde(alias = "Message", default)]
    message: String,
}

fn refused(status: u16, body: &[u8]) -> CallError {
    match serde_json::from_slice::<Refusal>(body) {
        Ok(Refusal { code, message }) => {
            let code = code.rsplit('#').next().unwrap_or_default().to_owned();
            CallError::Refused { status, code, message }
        }
        // A proxy, or another kind of server.
        Err(_) => {
            let start: String = String::from_utf8_lossy(body).chars().filter(|c| !c.is_control()).take(200).collect();
            CallError::Refused { status, code: format!("status {status}"), message: start }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_those_of_regions_or_given() {
        assert_eq!(Endpoint::of_region("kinesis", "eu-west-1").to_string(), "https://kinesis.eu-west-1.amazonaws.com");
        assert!(Endpoint::of_region("kinesis", "cn-north-1").host.ends_with(".cn"));
        let given = Endpoint::parse("http://127.0.0.1:4567/").unwrap();
        assert_eq!((given.base.as_str(), given.host.as_str()), ("http://127.0.0.1:4567", "127.0.0.1:4567"));
        assert_eq!(Endpoint::parse("https://proxy:443").unwrap().host, "proxy");
        for bad in ["127.0.0.1:4567", "ftp://a", "http://a/b", "http://a?b=c", "http://ada:lovelace@a", "http://", ""] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn refusals_are_read_in_each_of_their_forms() {
        let of = |body: &str| match refused(400, body.as_bytes()) {
            CallError::Refused { code, message, .. } => (code, message),
            other => panic!("{other:?}"),
        };
        let wanted = |code: &str, message: &str| (code.to_owned(), message.to_owned());
        assert_eq!(of(r#"{"__type":"a.b#Throttled","message":"no"}"#), wanted("Throttled", "no"));
        assert_eq!(of(r#"{"__type":"Throttled","Message":"no"}"#), wanted("Throttled", "no"));
        assert_eq!(of(r#"{"__type":"Throttled"}"#), wanted("Throttled", ""));
        assert_eq!(of("<html>\r\n"), wanted("status 400", "<html>"));
    }
}
