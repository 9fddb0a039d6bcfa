//! Credentials, from the first place that has some, in the order of AWS's own clients.
//!
//! ```text
//! environment ─▶ web identity (STS) ─▶ profile (a file) ─▶ container (ECS, EKS) ─▶ instance (EC2)
//!       those with an end are renewed before it, and when the service says that they are expired
//! ```
//! Known limits: no SSO, no `credential_process`, no `role_arn` of a profile.

mod instance;
mod profile;
mod web_identity;

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tidemill_engine::{Clock, ConnectorError, ErrorKind};
use ureq::http::Request;

use super::{http, time};

/// Keys are renewed this long before they expire.
const BEFORE: i64 = 300;
/// While keys cannot be renewed, the old ones are used until this long before they expire.
const LAST: i64 = 10;
/// Maximum time that one request for keys may take.
const LIMIT: Duration = Duration::from_secs(5);
/// Maximum size of an answer with keys.
const MAX: u64 = 256 << 10;

/// The keys of an identity.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Keys {
    pub(super) access_key: String,
    pub(super) secret_key: String,
    pub(super) session_token: Option<String>,
    /// When they expire, in seconds since the Unix epoch.
    pub(super) expires: Option<i64>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// Why a place has no keys.
enum Lack {
    /// It was not set up, so the next place is asked.
    NotThere(String),
    /// It was set up, and does not work: other keys would be someone else's.
    Broken(ConnectorError),
}

impl Lack {
    fn broken(kind: ErrorKind, place: &str, reason: impl fmt::Display) -> Self {
        Self::Broken(ConnectorError::new(kind, format!("could not get credentials of AWS from {place}: {reason}")))
    }
}

/// Returns the value of an environment variable.
type Variables = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Where credentials come from, and those that are valid.
pub(crate) struct Credentials {
    variables: Variables,
    clock: Clock,
    agent: ureq::Agent,
    current: Mutex<Option<Keys>>,
}

impl Credentials {
    /// Returns the credentials of this process.
    pub(super) fn of_this_process(clock: Clock) -> Self {
        Self::new(clock, Box::new(|name| std::env::var(name).ok().filter(|value| !value.is_empty())))
    }

    fn new(clock: Clock, variables: Variables) -> Self {
        // The addresses of containers and instances are on the machine itself: it is soon known that nobody is there.
        Self { variables, clock, agent: http::agent(Duration::from_secs(1)), current: Mutex::default() }
    }

    /// Returns keys that are valid for a while. It may ask another server for them.
    pub(super) fn keys(&self) -> Result<Keys, ConnectorError> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let now = i64::try_from(self.clock.now().0 / 1_000_000).unwrap_or(i64::MAX);
        let lasts = |keys: &Keys, margin| keys.expires.is_none_or(|end| end - now > margin);
        if let Some(keys) = current.as_ref().filter(|keys| lasts(keys, BEFORE)) {
            return Ok(keys.clone());
        }
        match (self.find(), current.as_ref().filter(|keys| lasts(keys, LAST))) {
            (Ok(keys), _) => {
                *current = Some(keys.clone());
                Ok(keys)
            }
            (Err(error), Some(old)) => {
                tracing::warn!(%error, "credentials could not be renewed; the old ones are still valid");
                Ok(old.clone())
            }
            (Err(error), None) => Err(error),
        }
    }

    /// Forgets keys that the service has refused, so that the next call looks for others.
    pub(super) fn forget(&self, refused: &Keys) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref() == Some(refused) {
            *current = None;
        }
    }

    fn find(&self) -> Result<Keys, ConnectorError> {
        let mut reasons = Vec::new();
        let places = [Self::environment, Self::web_identity, Self::profile, Self::container, Self::instance];
        for place in places {
            match place(self) {
                Ok(keys) => return Ok(keys),
                Err(Lack::NotThere(reason)) => reasons.push(reason),
                Err(Lack::Broken(error)) => return Err(error),
            }
        }
        let message = format!(
            "there are no credentials of AWS: {}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or one of the others",
            reasons.join(", ")
        );
        Err(ConnectorError::new(ErrorKind::Invalid, message))
    }

    fn variable(&self, name: &str) -> Option<String> {
        (self.variables)(name)
    }

    fn environment(&self) -> Result<Keys, Lack> {
        match (self.variable("AWS_ACCESS_KEY_ID"), self.variable("AWS_SECRET_ACCESS_KEY")) {
            (Some(access_key), Some(secret_key)) => {
                Ok(Keys { access_key, secret_key, session_token: self.variable("AWS_SESSION_TOKEN"), expires: None })
            }
            (None, None) => Err(Lack::NotThere("AWS_ACCESS_KEY_ID is not set".to_owned())),
            _ => {
                let reason = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY need each other";
                Err(Lack::broken(ErrorKind::Invalid, "the environment", reason))
            }
        }
    }

    /// Asks a server for something. What it answers may be secret, so an error has its status only.
    fn ask<B: ureq::AsSendBody>(&self, request: Result<Request<B>, ureq::http::Error>) -> Result<http::Answer, String> {
        let request = request.map_err(|e| e.to_string())?;
        let answer = http::send(&self.agent, request, LIMIT, MAX)?;
        if answer.status != 200 { Err(format!("it answered with status {}", answer.status)) } else { Ok(answer) }
    }
}

/// Keys as containers and instances have them.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Served {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
    expiration: Option<String>,
}

impl Served {
    fn parse(body: &[u8]) -> Result<Keys, String> {
        // The error of the parser has values.
        let served: Self = serde_json::from_slice(body).map_err(|_| "its answer has no keys".to_owned())?;
        let Self { access_key_id, secret_access_key, token, expiration } = served;
        let expires = expiration.map(|text| time::parse(&text).ok_or("it does not say when its keys expire"));
        Ok(Keys {
            access_key: access_key_id,
            secret_key: secret_access_key,
            session_token: token,
            expires: expires.transpose()?,
        })
    }
}

#[cfg(test)]
mod tests;
