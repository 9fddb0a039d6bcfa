//! `http+ingest://host:port/path?option=value…`: an HTTP source in one text.

use std::fmt;
use std::str::FromStr;

use tidemill_engine::ErrorKind;

use super::settings::Settings;
use crate::malformed::MaxMalformed;
use crate::url_options::Options;

/// Where records are taken, and how: `http+ingest://host:port/path[?option=value&…]`. What `&`, `#` or `%` would be in a value is
/// written as `%26`, `%23`, `%25`.
///
/// | option | |
/// |---|---|
/// | `token-file`, `token-env` | where the token is that callers need: a file, or an environment variable |
/// | `secret-file`, `secret-env` | where the secret is that requests have to be signed with |
/// | `open-to-all` | `true`: others than this machine may send without a token |
/// | `malformed` | `refuse` (default): with 400; `dead-letters` |
/// | `max-request-bytes`, `max-request-records` | what a request may have; default: 8388608, 10000 |
/// | `max-queued-bytes` | bytes of requests in memory; default: 67108864 |
/// | `max-connections` | default: 512 |
/// | `answer-within` | how long a request waits for its commit; default: `30s` |
/// | `remembered-keys`, `remembered-for` | idempotency keys; default: 65536, `24h` |
/// | `idle-after`, `max-out-of-orderness` | of event times; default: `5s`, `0s` |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngestUrl(Settings);

/// The error of a text that should be an [`IngestUrl`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{place}\": {reason}; it should look like http+ingest://127.0.0.1:9091/events?token-file=FILE")]
pub struct IngestUrlError {
    /// The text without its options and its user.
    place: String,
    reason: String,
}

impl IngestUrlError {
    /// Returns the kind of the error, which asks the user to correct the text.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

const SCHEME: &str = "http+ingest://";
const OPTIONS: [&str; 15] = [
    "token-file",
    "token-env",
    "secret-file",
    "secret-env",
    "open-to-all",
    "malformed",
    "max-request-bytes",
    "max-request-records",
    "max-queued-bytes",
    "max-connections",
    "answer-within",
    "remembered-keys",
    "remembered-for",
    "idle-after",
    "max-out-of-orderness",
];

impl IngestUrl {
    /// Returns whether a text is meant to be such a URL.
    #[must_use]
    pub fn looks_like(text: &str) -> bool {
        text.starts_with(SCHEME)
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.0
    }
}

impl FromStr for IngestUrl {
    type Err = IngestUrlError;

    fn from_str(text: &str) -> Result<Self, IngestUrlError> {
        parse(text).map(Self).map_err(|reason| {
            let place = text.split(['?', '#']).next().unwrap_or_default();
            let rest = place.rsplit('@').next().unwrap_or_default();
            let place = if rest == place { place.to_owned() } else { format!("{SCHEME}{rest}") };
            IngestUrlError { place, reason }
        })
    }
}

fn parse(text: &str) -> Result<Settings, String> {
    let Some(rest) = text.strip_prefix(SCHEME) else {
        return Err(match text.starts_with("https+ingest://") {
            true => "TLS is for a proxy in front of it: use http+ingest://".to_owned(),
            false => format!("it does not begin with {SCHEME}"),
        });
    };
    let (place, options) = rest.split_once('?').unwrap_or((rest, ""));
    let (address, path) = place.split_once('/').unwrap_or((place, ""));
    if address.contains('@') {
        return Err("a user or a password does not belong in a URL: use token-file= or token-env=".to_owned());
    }
    let mut settings = Settings::new(address.to_owned(), format!("/{path}"));
    let options = Options::parse(options, &OPTIONS, &[])?;
    settings.token = options.secret("token-file", "token-env")?;
    settings.signing = options.secret("secret-file", "secret-env")?;
    settings.open_to_all = match options.get("open-to-all") {
        None | Some("false") => false,
        Some("true") => true,
        Some(other) => return Err(format!("open-to-all={other}: it should be true or false")),
    };
    settings.malformed = match options.get("malformed") {
        None | Some("refuse") => None,
        Some("dead-letters") => Some(MaxMalformed::default()),
        Some(other) => return Err(format!("malformed={other}: it should be refuse or dead-letters")),
    };
    for (name, number) in [
        ("max-request-bytes", &mut settings.max_request_bytes),
        ("max-request-records", &mut settings.max_request_records),
        ("max-queued-bytes", &mut settings.max_queued_bytes),
        ("max-connections", &mut settings.max_connections),
        ("remembered-keys", &mut settings.remembered_keys),
    ] {
        *number = options.number(name)?.unwrap_or(*number);
    }
    for (name, time) in [
        ("answer-within", &mut settings.answer_within),
        ("remembered-for", &mut settings.remembered_for),
        ("idle-after", &mut settings.idle_after),
        ("max-out-of-orderness", &mut settings.max_out_of_orderness),
    ] {
        *time = options.duration(name)?.unwrap_or(*time);
    }
    let faults = settings.faults();
    if faults.is_empty() { Ok(settings) } else { Err(faults.join("; and ")) }
}

impl fmt::Display for IngestUrl {
    /// Writes no options.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}{}", self.0.address, self.0.path)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::password::Password;

    #[test]
    fn a_url_has_address_path_and_options() {
        let url: IngestUrl = "http+ingest://0.0.0.0:9091/a/b%20c?token-file=/t&secret-env=S&malformed=dead-letters&\
            max-request-bytes=9&max-request-records=8&max-queued-bytes=70&max-connections=6&answer-within=5s&\
            remembered-keys=4&remembered-for=1h&idle-after=3s&max-out-of-orderness=2s"
            .parse()
            .unwrap_or_else(|e: IngestUrlError| panic!("{e}"));
        assert_eq!(url.to_string(), "http+ingest://0.0.0.0:9091/a/b%20c");
        let mut expected = Settings::new("0.0.0.0:9091".to_owned(), "/a/b%20c".to_owned());
        expected.token = Password::File("/t".into());
        expected.signing = Password::Variable("S".to_owned());
        expected.malformed = Some(MaxMalformed::default());
        (expected.max_request_bytes, expected.max_request_records, expected.max_queued_bytes) = (9, 8, 70);
        (expected.max_connections, expected.remembered_keys) = (6, 4);
        expected.answer_within = Duration::from_secs(5);
        expected.remembered_for = Duration::from_secs(3600);
        expected.idle_after = Duration::from_secs(3);
        expected.max_out_of_orderness = Duration::from_secs(2);
        assert_eq!(*url.settings(), expected);
        let plain: IngestUrl = "http+ingest://127.0.0.1:0".parse().unwrap();
        assert_eq!(*plain.settings(), Settings::new("127.0.0.1:0".to_owned(), "/".to_owned()));
    }

    #[test]
    fn what_is_wrong_is_said_and_no_secret_with_it() {
        for (text, reason) in [
            ("http://127.0.0.1:9091/events", "does not begin with http+ingest://"),
            ("https+ingest://127.0.0.1:9091/events", "TLS is for a proxy"),
            ("http+ingest://ada:hunter2@127.0.0.1:9091/events", "does not belong in a URL"),
            ("http+ingest://events/x", "\"events\" is not an address"),
            ("http+ingest://127.0.0.1/x", "\"127.0.0.1\" is not an address"),
            ("http+ingest://127.0.0.1:9091/x?token=hunter2", "no option is called \"token\" (there are: token-file,"),
            ("http+ingest://127.0.0.1:9091/x?hunter2", "not name=value"),
            ("http+ingest://127.0.0.1:9091/x?token-file=/a&token-env=B", "exclude each other"),
            ("http+ingest://127.0.0.1:9091/x?open-to-all=yes", "true or false"),
            ("http+ingest://127.0.0.1:9091/x?malformed=drop", "refuse or dead-letters"),
            ("http+ingest://127.0.0.1:9091/x?max-connections=0", "max_connections is 0"),
            ("http+ingest://127.0.0.1:9091/x?answer-within=soon", "should be a time as 1h"),
            ("http+ingest://0.0.0.0:9091/x", "set a token"),
            ("http+ingest://127.0.0.1:9091/a b", "the path \"/a b\" is not one"),
        ] {
            let error = text.parse::<IngestUrl>().unwrap_err().to_string();
            assert!(error.contains(reason) && !error.contains("hunter2") && !error.contains("ada:"), "{error}");
        }
    }
}
