//! Who may send: whoever has the token, or has signed the request as of Standard Webhooks.
//!
//! Where neither is asked for, only names of this machine are answered to: a site whose name was made to point to this machine
//! (DNS rebinding) sends its own name. Other pages cannot send, since a browser asks first whether they may send JSON.

use std::net::IpAddr;

use hyper::header::{AUTHORIZATION, HOST, HeaderMap};
use hyper::http::request::Parts;
use hyper::{StatusCode, Version};
use subtle::ConstantTimeEq;
use tidemill_engine::{ConnectorError, ErrorKind};

use super::answer::Refusal;
use super::settings::Settings;
use crate::signature::SigningKey;

/// Least number of characters of a token: 64 random bits in hexadecimal.
const SHORTEST: usize = 16;
/// How far the time of a signature may be from the clock, in seconds.
const TOLERANCE: u64 = 5 * 60;

/// The rules of a server.
pub(super) struct Access {
    token: Option<String>,
    signing: Option<SigningKey>,
    /// Whether others than this machine may send without a token.
    open_to_all: bool,
}

impl Access {
    /// Reads the token and the secret.
    pub(super) fn open(settings: &Settings) -> Result<Self, ConnectorError> {
        let invalid = |what: &str, fault: String| {
            ConnectorError::new(
                ErrorKind::Invalid,
                format!("the {what} of {} cannot be used: {fault}", settings.address),
            )
        };
        let token = settings.token.read_as("token")?.map(|text| chosen(&text).map_err(|e| invalid("token", e)));
        let secret = settings.signing.read_as("secret of the signature")?;
        let signing = secret.map(|text| SigningKey::parse(&text).map_err(|e| invalid("secret of the signature", e)));
        Ok(Self { token: token.transpose()?, signing: signing.transpose()?, open_to_all: settings.open_to_all })
    }

    /// Returns whether callers have to show something.
    pub(super) fn is_guarded(&self) -> bool {
        self.token.is_some() || self.signing.is_some()
    }

    /// Judges the head of a request.
    pub(super) fn judge(&self, head: &Parts) -> Result<(), Refusal> {
        if let Some(token) = &self.token {
            let given = head.headers.get(AUTHORIZATION).and_then(|given| given.to_str().ok()?.split_once(' '));
            let is_it = |(scheme, given): (&str, &str)| {
                scheme.eq_ignore_ascii_case("bearer") && bool::from(token.as_bytes().ct_eq(given.trim().as_bytes()))
            };
            if !given.is_some_and(is_it) {
                let detail = "this needs the header \"Authorization: Bearer TOKEN\", with the token of this source";
                return Err(Refusal::caller(StatusCode::UNAUTHORIZED, detail));
            }
        }
        if !self.is_guarded() && !self.open_to_all && !host(head)?.is_none_or(is_of_this_machine) {
            let detail = "without a token, this source is asked by the name localhost or by an IP address only";
            return Err(Refusal::caller(StatusCode::MISDIRECTED_REQUEST, detail));
        }
        Ok(())
    }

    /// Returns the id of a signed request whose signature is right; `None` if requests need none.
    pub(super) fn verified<'a>(
        &self,
        headers: &'a HeaderMap,
        body: &[u8],
        now_seconds: u64,
    ) -> Result<Option<&'a str>, Refusal> {
        let Some(key) = &self.signing else { return Ok(None) };
        let unauthorized = |detail: &str| Refusal::caller(StatusCode::UNAUTHORIZED, detail);
        let header = |name: &str| {
            let missing = || unauthorized(&format!("this needs the header {name}, as of Standard Webhooks"));
            headers.get(name).and_then(|value| value.to_str().ok()).ok_or_else(missing)
        };
        let (id, time, signatures) =
            (header("webhook-id")?, header("webhook-timestamp")?, header("webhook-signature")?);
        let time: u64 = time.parse().map_err(|_| unauthorized("webhook-timestamp is not a number of seconds"))?;
        if !key.verifies(signatures, id, time, body) {
            return Err(unauthorized(
                "no signature in webhook-signature is that of this request by the secret of this source",
            ));
        }
        if time.abs_diff(now_seconds) > TOLERANCE {
            return Err(unauthorized("webhook-timestamp is more than 5 minutes from the time here"));
        }
        Ok(Some(id))
    }
}

/// Takes a token that somebody has chosen. The error says what is wrong with it, without showing it.
fn chosen(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.len() < SHORTEST {
        return Err(format!("it has {} characters, the minimum is {SHORTEST}", text.len()));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("it has characters that cannot be in a header: use letters and digits".to_owned());
    }
    Ok(text.to_owned())
}

/// Returns the host of a request. A request for a whole address has it there; one of HTTP/1.0 may have none.
fn host(head: &Parts) -> Result<Option<&str>, Refusal> {
    if let Some(authority) = head.uri.authority() {
        return Ok(Some(authority.as_str()));
    }
    let mut hosts = head.headers.get_all(HOST).iter();
    match (hosts.next().map(|host| host.to_str()), hosts.next()) {
        (Some(Ok(host)), None) => Ok(Some(host)),
        (None, _) if head.version == Version::HTTP_10 => Ok(None),
        _ => Err(Refusal::caller(StatusCode::BAD_REQUEST, "the request has no Host, or several")),
    }
}

/// Returns whether `host`, with or without a port, is an address or `localhost`.
fn is_of_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty() => name,
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    address.parse::<IpAddr>().is_ok() || name.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn access(token: Option<&str>, open_to_all: bool) -> Access {
        Access { token: token.map(str::to_owned), signing: None, open_to_all }
    }

    fn judged(access: &Access, headers: &[(&str, &str)]) -> Option<u16> {
        let request = headers.iter().fold(Request::builder(), |request, (name, value)| request.header(*name, *value));
        let (head, ()) = request.body(()).unwrap().into_parts();
        access.judge(&head).err().map(|refusal| refusal.status.as_u16())
    }

    #[test]
    fn whoever_has_the_token_may_send_under_any_name() {
        let access = access(Some("0123456789abcdef"), false);
        for (given, status) in [
            ("Bearer 0123456789abcdef", None),
            ("bearer  0123456789abcdef ", None),
            ("Bearer 0123456789abcdee", Some(401)),
            ("Bearer ", Some(401)),
            ("Basic 0123456789abcdef", Some(401)),
            ("0123456789abcdef", Some(401)),
        ] {
            assert_eq!(judged(&access, &[("host", "events.example"), ("authorization", given)]), status, "{given}");
        }
        assert_eq!(judged(&access, &[("host", "localhost")]), Some(401));
    }

    #[test]
    fn without_a_token_only_names_of_this_machine_are_answered_to() {
        for (host, status) in [
            ("127.0.0.1:9091", None),
            ("[::1]:9091", None),
            ("LocalHost", None),
            ("evil.example", Some(421)),
            ("localhost.evil.example:80", Some(421)),
            ("", Some(421)),
        ] {
            assert_eq!(judged(&access(None, false), &[("host", host)]), status, "{host}");
        }
        assert_eq!(judged(&access(None, false), &[]), Some(400));
        assert_eq!(judged(&access(None, true), &[("host", "events.example")]), None);
    }

    #[test]
    fn a_token_that_cannot_be_one_is_refused_and_not_shown() {
        assert_eq!(chosen(" 0123456789abcdef\n").unwrap(), "0123456789abcdef");
        for (text, reason) in
            [("", "0 characters"), ("hunter2", "7 characters"), ("hunter2 hunter2 hunter2", "in a header")]
        {
            let fault = chosen(text).unwrap_err();
            assert!(fault.contains(reason) && !fault.contains("hunter2"), "{fault}");
        }
    }
}
