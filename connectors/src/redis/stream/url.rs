//! `redis://host/0?stream=readings…`: streams and how they are read, in one text.

use std::fmt;
use std::str::FromStr;

use serde::de::DeserializeOwned;

use super::super::address::{Address, CONNECTION, without_secrets};
use super::super::url::RedisUrlError;
use super::entry::{StreamEntry, stream_fields, stream_json};
use super::settings::Settings;
use crate::url_options::Options;

/// Streams of a server, and how they are read: `redis://[user@]host[:port][/database]?stream=KEY[&option=value…]`, or
/// `rediss://` for TLS. What `?`, `&`, `@` or `%` would be in a value is written as `%3F`, `%26`, `%40`, `%25`.
///
/// | option | |
/// |---|---|
/// | `stream` | the key of a stream; there may be several |
/// | `json` | the field that has a record as JSON; default: the fields of an entry are those of the record |
/// | `start` | `earliest` (default), `latest`, or the id of an entry, after which reading begins without a checkpoint |
/// | `lost-entries` | `refuse` (default) or `accept`: what happens when entries are gone that were not read |
/// | `until-end` | `true`: the source ends after the entries that are there when it opens |
/// | `idle-after`, `max-out-of-orderness`, `patience` | times, as `5s` |
/// | `password-file`, `password-env` | where the password is: a file, or an environment variable |
/// | `ca` | with `rediss://`: a file with the certificate of the authority that has signed the server's |
#[derive(Clone, Debug)]
pub struct RedisStreamUrl {
    pub(super) settings: Settings,
    /// The field that has records as JSON.
    pub(super) json: Option<String>,
}

/// What [`RedisStreamUrl::decoder`] returns.
pub type StreamDecoder<T> = Box<dyn Fn(StreamEntry<'_>) -> Result<T, String> + Send + Sync>;

const OPTIONS: [&str; 8] =
    ["stream", "json", "start", "lost-entries", "until-end", "idle-after", "max-out-of-orderness", "patience"];

impl RedisStreamUrl {
    /// Returns whether a text is meant to be such a URL: one of Redis with the option `stream`.
    #[must_use]
    pub fn looks_like(text: &str) -> bool {
        let of_redis = text.starts_with("redis://") || text.starts_with("rediss://");
        of_redis && text.split_once('?').is_some_and(|(_, query)| query.split('&').any(|o| o.starts_with("stream=")))
    }

    /// Returns the decoder that the URL asks for: of JSON in a field, or of the fields of an entry.
    #[must_use]
    pub fn decoder<T: DeserializeOwned + 'static>(&self) -> StreamDecoder<T> {
        match &self.json {
            Some(field) => Box::new(stream_json(field)),
            None => Box::new(stream_fields()),
        }
    }
}

impl FromStr for RedisStreamUrl {
    type Err = RedisUrlError;

    fn from_str(text: &str) -> Result<Self, RedisUrlError> {
        let wrong =
            |reason| RedisUrlError::new(without_secrets(text), reason, "redis://127.0.0.1:6379/0?stream=readings");
        parse(text).map_err(wrong)
    }
}

fn parse(text: &str) -> Result<RedisStreamUrl, String> {
    let address = Address::parse(text)?;
    let options = Options::parse(address.query, &[&OPTIONS[..], &CONNECTION].concat(), &["stream"])?;
    let mut settings = Settings::new(address.server(&options)?, options.all("stream"));
    if settings.keys.is_empty() {
        return Err("it names no stream: add ?stream=KEY".to_owned());
    }
    set(&options, "start", &mut settings.start)?;
    set(&options, "lost-entries", &mut settings.lost_entries)?;
    if let Some(until_end) = options.get("until-end") {
        settings.until_end =
            until_end.parse().map_err(|_| format!("until-end={until_end}: it should be true or false"))?;
    }
    for (name, time) in [
        ("idle-after", &mut settings.idle_after),
        ("max-out-of-orderness", &mut settings.max_out_of_orderness),
        ("patience", &mut settings.patience),
    ] {
        if let Some(given) = options.duration(name)? {
            *time = given;
        }
    }
    Ok(RedisStreamUrl { settings, json: options.get("json").map(str::to_owned) })
}

/// Sets what an option says.
fn set<V: FromStr<Err = String>>(options: &Options, name: &str, value: &mut V) -> Result<(), String> {
    if let Some(text) = options.get(name) {
        *value = text.parse().map_err(|wanted| format!("{name}={text}: it should be {wanted}"))?;
    }
    Ok(())
}

impl fmt::Display for RedisStreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "redis://{}?stream={}", self.settings.server, self.settings.keys.join("&stream="))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::super::server::RedisServer;
    use super::super::settings::{LostEntries, StreamStart};
    use super::*;

    #[test]
    fn a_url_sets_what_it_names_and_leaves_the_rest() {
        let text = "redis://me@h:7/2?stream=b&stream=a%26c&json=data&start=5-1&lost-entries=accept&until-end=true\
                    &idle-after=1s&max-out-of-orderness=2s&patience=3s&password-env=P";
        assert!(RedisStreamUrl::looks_like(text));
        let url: RedisStreamUrl = text.parse().unwrap();
        let Settings { server, keys, start, lost_entries, until_end, .. } = &url.settings;
        let wanted = RedisServer::new("h").port(7).database(2).user("me").password_variable("P");
        assert_eq!((server, keys), (&wanted, &vec!["a&c".to_owned(), "b".to_owned()]));
        assert_eq!((*start, *lost_entries), (StreamStart::After("5-1".parse().unwrap()), LostEntries::Accept));
        let times = [url.settings.idle_after, url.settings.max_out_of_orderness, url.settings.patience];
        assert_eq!((*until_end, times.map(|time| Duration::as_secs(&time))), (true, [1, 2, 3]));
        assert_eq!(
            (url.json.as_deref(), url.to_string().as_str()),
            (Some("data"), "redis://h:7/2?stream=a&c&stream=b")
        );
        let url: RedisStreamUrl = "redis://h?stream=s".parse().unwrap();
        assert_eq!((url.settings.start, url.settings.until_end, url.json), (StreamStart::Earliest, false, None));
        assert!(!RedisStreamUrl::looks_like("redis://h?key=stream=s"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, reason) in [
            ("redis://h?json=data", "names no stream"),
            ("redis://h?stream=s&start=now", "start=now: it should be earliest, latest, or the id of an entry"),
            ("redis://h?stream=s&lost-entries=ignore", "it should be refuse or accept"),
            ("redis://h?stream=s&until-end=yes", "it should be true or false"),
            ("redis://h?stream=s&idle-after=soon", "it should be a time as 1h"),
            ("redis://h?stream=s&group=g", "no option is called \"group\" (there are: stream, json,"),
            ("redis://u:secret@h?stream=s", "a password does not belong in a URL"),
        ] {
            let error = text.parse::<RedisStreamUrl>().unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains("?stream=readings"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
