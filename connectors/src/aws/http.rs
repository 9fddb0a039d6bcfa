//! Requests over HTTP whose answers are small or bounded. The system's OpenSSL does TLS, as for the other connectors.

use std::io::Read;
use std::time::Duration;

use tracing::{Dispatch, dispatcher};
use ureq::http::Request;
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};
use ureq::{Agent, AsSendBody};

/// An answer, whatever its status is.
pub(super) struct Answer {
    pub(super) status: u16,
    /// The header `Date`.
    pub(super) date: Option<String>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// Returns the body as text.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Makes a client that follows no redirects: a signature is for one host.
pub(super) fn agent(connect: Duration) -> Agent {
    let tls = TlsConfig::builder().provider(TlsProvider::NativeTls).root_certs(RootCerts::PlatformVerifier).build();
    let config = Agent::config_builder().http_status_as_error(false).max_redirects(0).timeout_connect(Some(connect));
    config.user_agent(concat!("tidemill/", env!("CARGO_PKG_VERSION"))).tls_config(tls).build().new_agent()
}

/// Sends a request. The whole answer may take as long as `limit`, and have `max` bytes.
pub(super) fn send<B: AsSendBody>(
    agent: &Agent,
    request: Request<B>,
    limit: Duration,
    max: u64,
) -> Result<Answer, String> {
    let request = agent.configure_request(request).timeout_global(Some(limit)).build();
    // The client's own log has the headers of each request, and so tokens.
    dispatcher::with_default(&Dispatch::none(), || exchange(agent, request, limit, max))
}

fn exchange<B: AsSendBody>(agent: &Agent, request: Request<B>, limit: Duration, max: u64) -> Result<Answer, String> {
    let failed = |error: ureq::Error| match error {
        ureq::Error::Timeout(_) => format!("there was no whole answer within {limit:?}"),
        error => error.to_string(),
    };
    let mut answer = agent.run(request).map_err(failed)?;
    let date = answer.headers().get("date").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut body = Vec::new();
    let reader = answer.body_mut().as_reader();
    reader.take(max + 1).read_to_end(&mut body).map_err(|e| failed(ureq::Error::from(e)))?;
    if body.len() as u64 > max {
        return Err(format!("the answer has more than {max} bytes"));
    }
    Ok(Answer { status: answer.status().as_u16(), date, body })
}
