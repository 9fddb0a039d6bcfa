//! `kinesis://region/stream?option=value…`: a Kinesis source in one text.

use std::fmt;
use std::str::FromStr;

use tidemill_engine::ErrorKind;

use super::settings::{LostRecords, SourceSettings, wrong_name};
use crate::aws::Endpoint;
use crate::url_options::Options;

/// A stream, and how it is read: `kinesis://region/stream[?option=value&…]`.
///
/// | option | |
/// |---|---|
/// | `start` | where a job without a checkpoint begins: `trim-horizon` (default), `latest`, or a time in ms since the Unix epoch |
/// | `endpoint` | the address of the service, if it is not the region's: `http://127.0.0.1:4567` |
/// | `lost-records` | `refuse` (default) or `accept`: what happens when records have expired unread |
/// | `poll-interval` | time between two reads of a shard; default: `200ms` |
/// | `discovery-interval` | time between two looks for new shards; default: `30s` |
/// | `patience` | for how long the service may be away before the job stops; default: `5m` |
/// | `idle-after` | time after which a shard without new records is idle; default: `5s` |
/// | `max-out-of-orderness` | how far a record may be behind the latest of its shard without being late; default: `0s` |
///
/// Credentials are found as AWS's own programs find them, and never in the URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KinesisUrl(SourceSettings);

/// The error of a text that should be a [`KinesisUrl`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{place}\": {reason}; it should look like kinesis://eu-west-1/stream?start=latest")]
pub struct KinesisUrlError {
    /// The text without its options: someone may have put a secret there.
    place: String,
    reason: String,
}

impl KinesisUrlError {
    /// Returns the kind of the error, which asks the user to correct the text.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

const OPTIONS: [&str; 8] = [
    "start",
    "endpoint",
    "lost-records",
    "poll-interval",
    "discovery-interval",
    "patience",
    "idle-after",
    "max-out-of-orderness",
];

impl KinesisUrl {
    /// Returns whether a text is meant to be such a URL.
    #[must_use]
    pub fn looks_like(text: &str) -> bool {
        text.starts_with(SCHEME)
    }

    pub(super) fn settings(&self) -> &SourceSettings {
        &self.0
    }
}

const SCHEME: &str = "kinesis://";

impl FromStr for KinesisUrl {
    type Err = KinesisUrlError;

    fn from_str(text: &str) -> Result<Self, KinesisUrlError> {
        let (place, options) = text.split_once('?').unwrap_or((text, ""));
        parse(place, options).map(Self).map_err(|reason| {
            // A user may have been given, as in other URLs.
            let place = match place.rsplit_once('@') {
                Some((_, place)) => format!("{SCHEME}{place}"),
                None => place.to_owned(),
            };
            KinesisUrlError { place, reason }
        })
    }
}

fn parse(place: &str, options: &str) -> Result<SourceSettings, String> {
    let place = place.strip_prefix(SCHEME).ok_or("it does not begin with kinesis://")?;
    if place.contains('@') {
        return Err("credentials do not belong in a URL: they come from the environment or from AWS".to_owned());
    }
    let (region, stream) = place.split_once('/').ok_or("it names no stream")?;
    if let Some(why) = wrong_name(region, stream) {
        return Err(why);
    }
    let options = Options::parse(options, &OPTIONS, &[])?;
    let mut settings = SourceSettings::new(region, stream);
    if let Some(start) = options.get("start") {
        settings.start = start.parse()?;
    }
    if let Some(endpoint) = options.get("endpoint") {
        settings.endpoint = Ok(Endpoint::parse(endpoint)?);
    }
    settings.lost_records = match options.get("lost-records") {
        None | Some("refuse") => LostRecords::Refuse,
        Some("accept") => LostRecords::Accept,
        Some(other) => return Err(format!("lost-records={other}: it should be refuse or accept")),
    };
    for (name, time) in [
        ("poll-interval", &mut settings.poll_interval),
        ("discovery-interval", &mut settings.discovery),
        ("patience", &mut settings.patience),
        ("idle-after", &mut settings.idle_after),
        ("max-out-of-orderness", &mut settings.max_out_of_orderness),
    ] {
        *time = options.duration(name)?.unwrap_or(*time);
    }
    Ok(settings)
}

impl fmt::Display for KinesisUrl {
    /// Writes no options.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.0.region, self.0.stream)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidemill_engine::EventTime;

    use super::super::settings::Start;
    use super::*;

    #[test]
    fn all_that_a_url_says_is_set() {
        let text = "kinesis://eu-west-1/my.stream-1?start=1700000000000&endpoint=http://127.0.0.1:4567&lost-records=accept\
                    &poll-interval=1s&discovery-interval=2s&patience=3m&idle-after=4s&max-out-of-orderness=5s";
        let url: KinesisUrl = text.parse().unwrap();
        let wanted = SourceSettings {
            endpoint: Endpoint::parse("http://127.0.0.1:4567"),
            start: Start::Timestamp(EventTime(1_700_000_000_000)),
            lost_records: LostRecords::Accept,
            poll_interval: Duration::from_secs(1),
            discovery: Duration::from_secs(2),
            patience: Duration::from_mins(3),
            idle_after: Duration::from_secs(4),
            max_out_of_orderness: Duration::from_secs(5),
            ..SourceSettings::new("eu-west-1", "my.stream-1")
        };
        assert_eq!(url.settings(), &wanted);
        assert_eq!(url.to_string(), "kinesis://eu-west-1/my.stream-1");
        let url: KinesisUrl = "kinesis://eu-west-1/s".parse().unwrap();
        assert_eq!(url.settings(), &SourceSettings::new("eu-west-1", "s"));
    }

    #[test]
    fn what_is_wrong_is_said_and_secrets_are_not() {
        for (text, reason) in [
            ("kafka://a/b", "does not begin with kinesis://"),
            ("kinesis://eu-west-1", "names no stream"),
            ("kinesis://eu-west-1/", "not the name of a stream"),
            ("kinesis:///s", "not a region"),
            ("kinesis://eu-west-1/a/b", "not the name of a stream"),
            ("kinesis://AKIA:hunter2@eu-west-1/s", "credentials do not belong"),
            ("kinesis://eu-west-1/s?secret=hunter2", "no option is called \"secret\" (there are: start, endpoint"),
            ("kinesis://eu-west-1/s?hunter2", "not name=value"),
            ("kinesis://eu-west-1/s?start=earliest", "trim-horizon"),
            ("kinesis://eu-west-1/s?endpoint=localhost", "http[s]://host[:port]"),
            ("kinesis://eu-west-1/s?lost-records=ignore", "refuse or accept"),
            ("kinesis://eu-west-1/s?idle-after=soon", "a time as"),
            ("kinesis://eu-west-1/s?start=latest&start=latest", "there twice"),
        ] {
            let error = text.parse::<KinesisUrl>().unwrap_err().to_string();
            assert!(error.contains(reason) && !error.contains("hunter2"), "{error}");
        }
    }
}
