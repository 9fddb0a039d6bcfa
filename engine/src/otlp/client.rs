//! One request to the collector.

use std::time::Duration;

use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};

use super::encode::rejected;
use super::environment::OtlpSettings;

/// Maximum size of an answer, which has a sentence at most.
const MAX_ANSWER: u64 = 64 << 10;
/// The longest time that a collector may ask for before the next request.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(30);

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// The collector has taken it, except for so many spans.
    Taken {
        rejected: u64,
        why: String,
    },
    /// It may be taken later, after this time if the collector has said one.
    Later {
        why: String,
        after: Option<Duration>,
    },
    Refused {
        why: String,
    },
}

pub(super) struct Client {
    agent: Agent,
    url: String,
    headers: Vec<(String, String)>,
}

impl Client {
    pub(super) fn new(settings: &OtlpSettings) -> Self {
        // The system's OpenSSL and certificates, as for brokers and schema registries.
        let tls = TlsConfig::builder().provider(TlsProvider::NativeTls).root_certs(RootCerts::PlatformVerifier).build();
        let config = Agent::config_builder().http_status_as_error(false).max_redirects(0).tls_config(tls);
        let OtlpSettings { url, headers, .. } = settings;
        Self { agent: config.build().into(), url: url.clone(), headers: headers.clone() }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn send(&self, body: &[u8], timeout: Duration) -> Sent {
        let request = self.agent.post(&self.url).content_type("application/x-protobuf");
        let request = self.headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        let answer = request.config().timeout_global(Some(timeout)).build().send(body);
        let later = |error: &ureq::Error| Sent::Later { why: error.to_string(), after: None };
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(error) => return later(&error),
        };
        let status = answer.status();
        let seconds = || answer.headers().get("retry-after")?.to_str().ok()?.parse().ok();
        let after = seconds().map(|seconds| Duration::from_secs(seconds).min(MAX_RETRY_AFTER));
        let body = match answer.body_mut().with_config().limit(MAX_ANSWER).read_to_vec() {
            Ok(body) => body,
            // It has answered, and its status says whether the spans were taken.
            Err(_) if status.is_success() => Vec::new(),
            Err(error) => return later(&error),
        };
        if status.is_success() {
            let (rejected, why) = rejected(&body).unwrap_or_default();
            return Sent::Taken { rejected, why };
        }
        let said: String = String::from_utf8_lossy(&body).chars().filter(|c| !c.is_control()).take(200).collect();
        let why = format!("{status}: {said}").trim_end_matches([':', ' ']).to_owned();
        // These may be tried again, says the specification of OTLP, and no others.
        if matches!(status.as_u16(), 429 | 502..=504) { Sent::Later { why, after } } else { Sent::Refused { why } }
    }
}
