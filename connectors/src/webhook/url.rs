//! `webhook+https://host/path#format=array…`: a webhook sink in one text.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use tidemill_engine::ErrorKind;

use super::address::Address;
use super::header::{Header, Value};
use super::settings::{Format, Settings};
use crate::password::Password;
use crate::url_options::Options;

/// Where records are sent, and how: `webhook+https://host[:port][/path][?query][#option=value&…]`, or `webhook+http://…`. What
/// stands between `webhook+` and `#` is the target's URL, with a query of its own, and is sent as it is. Options stand behind
/// `#`, which no URL sends. What `&`, `#` or `%` would be in a value is written as `%26`, `%23`, `%25`.
///
/// | option | |
/// |---|---|
/// | `format` | `json` (default): a record for each request; `array`, `lines`: several, as an array or as lines of JSON |
/// | `max-records` | with `array` and `lines`: how many records a request has at most; default: 100 |
/// | `max-bytes` | with `array` and `lines`: how many bytes; default: 1048576 |
/// | `header` | `Name:value`, a header of each request; may be there several times |
/// | `authorization-file`, `authorization-env` | where the value of `Authorization` is: a file, or an environment variable |
/// | `secret-file`, `secret-env` | where the secret is that requests are signed with |
/// | `ca` | a file with the certificate of the authority that has signed the server's |
/// | `cert`, `key` | files with a client's certificate, and with its key |
/// | `deadline` | how long the answer to a request may take; default: `30s` |
/// | `patience` | for how long a request is tried again; default: `5m` |
/// | `dead-letters` | the folder that keeps requests that the target refuses |
/// | `max-refused` | how many may be refused in a row; default: 10 |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookUrl(Settings);

/// The error of a text that should be a [`WebhookUrl`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{place}\": {reason}; it should look like webhook+https://host/path#dead-letters=FOLDER")]
pub struct WebhookUrlError {
    /// The text without what may be secret.
    place: String,
    reason: String,
}

impl WebhookUrlError {
    /// Returns the kind of the error, which asks the user to correct the text.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

const OPTIONS: [&str; 15] = [
    "format",
    "max-records",
    "max-bytes",
    "header",
    "authorization-file",
    "authorization-env",
    "secret-file",
    "secret-env",
    "ca",
    "cert",
    "key",
    "deadline",
    "patience",
    "dead-letters",
    "max-refused",
];

const MAX_RECORDS: NonZeroUsize = NonZeroUsize::new(100).expect("it is not zero");

impl WebhookUrl {
    /// Returns whether a text is meant to be such a URL.
    #[must_use]
    pub fn looks_like(text: &str) -> bool {
        text.starts_with("webhook+")
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.0
    }
}

impl FromStr for WebhookUrl {
    type Err = WebhookUrlError;

    fn from_str(text: &str) -> Result<Self, WebhookUrlError> {
        let target = text.strip_prefix("webhook+").unwrap_or_default();
        let (target, options) = target.split_once('#').unwrap_or((target, ""));
        parse(target, options).map(Self).map_err(|reason| {
            let place = Address::parse(target).map_or_else(|_| "webhook+…".to_owned(), |at| format!("webhook+{at}"));
            WebhookUrlError { place, reason }
        })
    }
}

fn parse(target: &str, options: &str) -> Result<Settings, String> {
    Address::parse(target)?;
    let mut settings = Settings::new(target);
    let options = Options::parse(options, &OPTIONS, &["header"])?;
    settings.format = format(&options)?;
    for header in options.all("header") {
        let (name, value) = header.split_once(':').ok_or("header= is not Name:value")?;
        settings.headers.push(Header { name: name.trim().to_owned(), value: Value::Given(value.trim().to_owned()) });
    }
    match options.secret("authorization-file", "authorization-env")? {
        Password::None => {}
        place => settings.headers.push(Header { name: "Authorization".to_owned(), value: Value::Secret(place) }),
    }
    settings.signing = options.secret("secret-file", "secret-env")?;
    let path = |name: &str| options.get(name).map(PathBuf::from);
    settings.certificate_authority = path("ca");
    settings.client_certificate = match (path("cert"), path("key")) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => return Err("cert= and key= need each other".to_owned()),
    };
    settings.dead_letters = path("dead-letters");
    settings.max_bytes = options.number("max-bytes")?.unwrap_or(settings.max_bytes);
    settings.max_refused = options.number("max-refused")?.unwrap_or(settings.max_refused);
    settings.deadline = options.duration("deadline")?.unwrap_or(settings.deadline);
    settings.patience = options.duration("patience")?.unwrap_or(settings.patience);
    let faults = settings.faults();
    if faults.is_empty() { Ok(settings) } else { Err(faults.join(", and ")) }
}

fn format(options: &Options) -> Result<Format, String> {
    let max_records = options.number("max-records")?;
    match options.get("format").unwrap_or("json") {
        "array" => Ok(Format::Array(max_records.unwrap_or(MAX_RECORDS))),
        "lines" => Ok(Format::Lines(max_records.unwrap_or(MAX_RECORDS))),
        "json" => match ["max-records", "max-bytes"].into_iter().find(|name| options.get(name).is_some()) {
            Some(name) => Err(format!("{name}= is for format=array and format=lines")),
            None => Ok(Format::One),
        },
        other => Err(format!("format is \"{other}\", and can be json, array or lines")),
    }
}

impl fmt::Display for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.address {
            Ok(address) => write!(f, "webhook+{address}"),
            Err(_) => f.write_str("webhook+…"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_target_has_its_own_query_and_options_stand_behind_it() {
        let url: WebhookUrl = "webhook+https://h:8443/in?tenant=7&format=x%23y#format=array&max-records=9&max-bytes=99&header=X-A:%201%262&header=X-B:2&authorization-env=TOKEN&secret-file=/s&ca=/ca&cert=/c&key=/k&deadline=2s&patience=1m&dead-letters=/d&max-refused=3"
            .parse()
            .unwrap();
        let settings = url.settings();
        assert_eq!(settings.address.as_ref().unwrap().whole(), "https://h:8443/in?tenant=7&format=x%23y");
        assert_eq!(url.to_string(), "webhook+https://h:8443/…");
        let header = |name: &str, value| Header { name: name.to_owned(), value };
        let given = |value: &str| Value::Given(value.to_owned());
        let expected = Settings {
            address: settings.address.clone(),
            headers: vec![
                header("X-A", given("1&2")),
                header("X-B", given("2")),
                header("Authorization", Value::Secret(Password::Variable("TOKEN".to_owned()))),
            ],
            signing: Password::File("/s".into()),
            certificate_authority: Some("/ca".into()),
            client_certificate: Some(("/c".into(), "/k".into())),
            format: Format::Array(NonZeroUsize::new(9).unwrap()),
            max_bytes: NonZeroUsize::new(99).unwrap(),
            deadline: Duration::from_secs(2),
            patience: Duration::from_secs(60),
            dead_letters: Some("/d".into()),
            max_refused: NonZeroUsize::new(3).unwrap(),
        };
        assert_eq!(*settings, expected);
        let url: WebhookUrl = "webhook+http://h#format=lines".parse().unwrap();
        assert_eq!(url.settings().format, Format::Lines(MAX_RECORDS));
        let url: WebhookUrl = "webhook+http://h/?a=b".parse().unwrap();
        assert_eq!(*url.settings(), Settings::new("http://h/?a=b"));
        assert!(WebhookUrl::looks_like("webhook+http://h") && !WebhookUrl::looks_like("http://h"));
    }

    #[test]
    fn what_is_wrong_is_said_and_no_secret_with_it() {
        for (text, reason) in [
            ("https://h/hunter2", "does not begin with http:// or https://"),
            ("webhook+ftp://h/hunter2", "does not begin with http:// or https://"),
            ("webhook+https://me:hunter2@h/", "does not belong in a URL"),
            ("webhook+https://h/hunter2#format", "not name=value"),
            (
                "webhook+https://h/hunter2#token=hunter2",
                "no option is called \"token\" (there are: format, max-records,",
            ),
            ("webhook+https://h#format=xml", "can be json, array or lines"),
            ("webhook+https://h#max-records=5", "max-records= is for format=array"),
            ("webhook+https://h#format=json&max-bytes=5", "max-bytes= is for format=array"),
            ("webhook+https://h#format=array&max-records=0", "a number from 1 on"),
            ("webhook+https://h#format=array&max-bytes=0", "a number from 1 on"),
            ("webhook+https://h#max-refused=0", "a number from 1 on"),
            ("webhook+https://h#deadline=0s", "deadline is less than 1 ms"),
            ("webhook+https://h#patience=soon", "should be a time as 1h"),
            ("webhook+https://h#format=array&format=lines", "\"format\" is there twice"),
            ("webhook+https://h#secret-file=/a&secret-env=B", "exclude each other"),
            ("webhook+https://h#authorization-file=/a&authorization-env=B", "exclude each other"),
            ("webhook+https://h#cert=/a", "need each other"),
            ("webhook+http://h#ca=/a", "https:// only"),
            ("webhook+https://h#header=hunter2", "not Name:value"),
            ("webhook+https://h#header=Idempotency-Key:hunter2", "is set by the sink"),
            ("webhook+https://h#header=X-A:hunter2%0d%0aX-B:2", "a character that no header has"),
            ("webhook+https://h#header=X-A:", "is empty"),
        ] {
            let error = text.parse::<WebhookUrl>().unwrap_err().to_string();
            assert!(error.contains(reason) && !error.contains("hunter2"), "{error}");
        }
    }
}
