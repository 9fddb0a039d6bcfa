//! POST of one request: connection, TLS, headers, signature; and the answer, within a time and a size.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tidemill_engine::{ConnectorError, ErrorKind};
use tracing::{Dispatch, dispatcher};
use ureq::http::Response;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, TlsProvider, parse_pem};
use ureq::{Agent, Body};

use super::address::Address;
use super::answer::{Answer, shown};
use super::requests::Request;
use super::settings::Settings;
use crate::signature::SigningKey;

/// How much of an answer's body is read.
const MAX_ANSWER: u64 = 64 << 10;
/// Maximum time to connect.
const CONNECT: Duration = Duration::from_secs(10);

/// A request, ready to be sent any number of times.
#[derive(Clone, Debug)]
pub(super) struct Post {
    pub(super) key: String,
    pub(super) content_type: Arc<str>,
    pub(super) request: Request,
    /// All requests of the epoch.
    pub(super) bytes: Arc<Vec<u8>>,
}

impl Post {
    pub(super) fn body(&self) -> &[u8] {
        self.bytes.get(self.request.body.clone()).unwrap_or_default()
    }
}

/// A client that has read what is secret.
pub(super) struct Client {
    agent: Agent,
    address: Address,
    headers: Vec<(String, String)>,
    signing: Option<SigningKey>,
}

impl Client {
    /// Makes a client: reads certificates, headers and the secret.
    pub(super) fn new(settings: &Settings) -> Result<Self, ConnectorError> {
        let address = settings.address.clone().map_err(|reason| ConnectorError::new(ErrorKind::Invalid, reason))?;
        let read = |header: &super::header::Header| Ok((header.name.clone(), header.read()?));
        let headers = settings.headers.iter().map(read).collect::<Result<_, ConnectorError>>()?;
        let signing = settings.signing.read_as("secret of the signature")?.map(|text| {
            SigningKey::parse(&text).map_err(|reason| {
                ConnectorError::new(ErrorKind::Invalid, format!("the secret of the signature cannot be used: {reason}"))
            })
        });
        // An answer that is no success says why in its body. A redirect would send the records elsewhere, or lose them.
        let config = Agent::config_builder().http_status_as_error(false).max_redirects(0);
        let config = config.timeout_connect(Some(CONNECT)).user_agent(concat!("tidemill/", env!("CARGO_PKG_VERSION")));
        let agent = config.tls_config(tls(settings)?).build().new_agent();
        Ok(Self { agent, address, headers, signing: signing.transpose()? })
    }

    /// Sends a request. The answer, all of it that is read, may take as long as `limit`. `seconds` is the time, since the Unix
    /// epoch, that is signed.
    pub(super) fn post(&self, post: &Post, limit: Duration, seconds: u64) -> Result<Answer, String> {
        let mut request = self.agent.post(self.address.whole());
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request = request.header("Content-Type", &*post.content_type);
        // A string of structured fields (RFC 9651), as the draft wants it.
        request = request.header("Idempotency-Key", format!("\"{}\"", post.key));
        if let Some(signing) = &self.signing {
            request = request.header("webhook-id", &post.key).header("webhook-timestamp", seconds.to_string());
            request = request.header("webhook-signature", signing.sign(&post.key, seconds, post.body()));
        }
        let request = request.config().timeout_global(Some(limit)).build();
        // The client's own log has the URL, and at the level TRACE each byte that is sent, with all headers.
        dispatcher::with_default(&Dispatch::none(), || self.exchange(request.send(post.body()), limit))
    }

    fn exchange(&self, sent: Result<Response<Body>, ureq::Error>, limit: Duration) -> Result<Answer, String> {
        let failed = |error: &ureq::Error| self.failed(error, limit);
        let mut answer = sent.map_err(|e| failed(&e))?;
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (retry_after, location) = (header("retry-after"), header("location"));
        let body = start(answer.body_mut()).map_err(|e| failed(&ureq::Error::from(e)))?;
        Ok(Answer { status: answer.status(), retry_after, location, start: shown(&body, &self.secrets()) })
    }

    /// Returns what is not shown of an answer that repeats it: path and query, and values of headers, a token also without its
    /// `Bearer`.
    fn secrets(&self) -> Vec<&str> {
        let token = |value: &'_ str| value.split_once(' ').map_or(0, |(scheme, _)| scheme.len() + 1);
        let values = self.headers.iter().flat_map(|(_, value)| [value.as_str(), &value[token(value)..]]);
        self.address.hidden().into_iter().chain(values).collect()
    }

    fn failed(&self, error: &ureq::Error, limit: Duration) -> String {
        match error {
            ureq::Error::Timeout(_) => format!("there was no whole answer within {limit:?}"),
            // Its text has the URL.
            ureq::Error::BadUri(_) => format!("{} cannot be called", self.address),
            error => error.to_string(),
        }
    }
}

/// Reads the body of an answer, up to a limit: what comes after it is of no interest.
fn start(body: &mut Body) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    body.as_reader().take(MAX_ANSWER).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// TLS is the system's OpenSSL, as for the other connectors.
fn tls(settings: &Settings) -> Result<TlsConfig, ConnectorError> {
    let mut tls = TlsConfig::builder().provider(TlsProvider::NativeTls).root_certs(RootCerts::PlatformVerifier);
    if let Some(path) = &settings.certificate_authority {
        tls = tls.root_certs(RootCerts::Specific(Arc::new(certificates(path)?)));
    }
    if let Some((certificate, key)) = &settings.client_certificate {
        let (chain, private) = (certificates(certificate)?, private_key(key)?);
        let identity = native_tls::Identity::from_pkcs8(&read(certificate)?, &read(key)?);
        identity.map_err(|e| {
            unusable(
                key,
                &format!(
                    "{e}; it should be of PKCS #8 (\"BEGIN PRIVATE KEY\"), which openssl pkcs8 -topk8 -nodes makes"
                ),
            )
        })?;
        tls = tls.client_cert(Some(ClientCert::new_with_certs(&chain, private)));
    }
    Ok(tls.build())
}

fn unusable(path: &Path, reason: &str) -> ConnectorError {
    ConnectorError::new(ErrorKind::Invalid, format!("could not use \"{}\": {reason}", path.display()))
}

fn read(path: &Path) -> Result<Vec<u8>, ConnectorError> {
    fs::read(path).map_err(|e| unusable(path, &e.to_string()))
}

fn pem(path: &Path) -> Result<Vec<PemItem<'static>>, ConnectorError> {
    parse_pem(&read(path)?).collect::<Result<_, _>>().map_err(|e| unusable(path, &e.to_string()))
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, ConnectorError> {
    let certificate = |item: PemItem<'static>| match item {
        PemItem::Certificate(certificate) => Some(certificate),
        _ => None,
    };
    let certificates: Vec<_> = pem(path)?.into_iter().filter_map(certificate).collect();
    if certificates.is_empty() {
        return Err(unusable(path, "it has no certificate in PEM"));
    }
    for certificate in &certificates {
        native_tls::Certificate::from_der(certificate.der()).map_err(|e| unusable(path, &e.to_string()))?;
    }
    Ok(certificates)
}

fn private_key(path: &Path) -> Result<PrivateKey<'static>, ConnectorError> {
    let key = |item: PemItem<'static>| match item {
        PemItem::PrivateKey(key) => Some(key),
        _ => None,
    };
    pem(path)?.into_iter().find_map(key).ok_or_else(|| unusable(path, "it has no private key in PEM"))
}
