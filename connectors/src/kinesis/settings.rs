//! The settings of Kinesis sources, which their builder fills in.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill_engine::{ConnectorError, ErrorKind, EventTime};

use crate::aws::Endpoint;
use crate::malformed::MaxMalformed;

/// The place where a job without a checkpoint begins to read. A restored job continues at the positions in its checkpoint.
/// Shards that come of a split or a merge later are read from their first record, whatever this is.
///
/// In a file: `"trim-horizon"`, `"latest"` or `{"timestamp": "2026-01-31T12:00:00Z"}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Start {
    /// At the oldest record that the stream still has.
    #[default]
    TrimHorizon,
    /// At what arrives from the start of the job on: up to two seconds before it, by the clock of the service.
    Latest,
    /// At the first record that arrived at this time or later.
    Timestamp(EventTime),
}

impl FromStr for Start {
    type Err = String;

    /// Parses `trim-horizon`, `latest`, or a number of milliseconds since the Unix epoch.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "trim-horizon" => Ok(Self::TrimHorizon),
            "latest" => Ok(Self::Latest),
            number => number.parse().map(|ms| Self::Timestamp(EventTime(ms))).map_err(|_| {
                format!("start \"{number}\" is not trim-horizon, latest or a time in ms since the Unix epoch")
            }),
        }
    }
}

/// What happens when records may have expired before they were read: the job was down, or behind, for longer than the stream
/// keeps its records (24 hours, if nothing else is set). The service does not say how many are gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LostRecords {
    /// The job stops, and each start is refused until this is changed.
    #[default]
    Refuse,
    /// The loss is logged and counted, and reading goes on at the oldest record that is there.
    Accept,
}

/// The service allows five reads a second of each shard, of all consumers together.
const POLL: Duration = Duration::from_millis(200);

/// The settings of a [`KinesisSource`](super::KinesisSource).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SourceSettings {
    pub(super) region: String,
    pub(super) stream: String,
    pub(super) endpoint: Result<Endpoint, String>,
    pub(super) start: Start,
    pub(super) lost_records: LostRecords,
    pub(super) poll_interval: Duration,
    pub(super) discovery: Duration,
    pub(super) patience: Duration,
    pub(super) max_queued_bytes: usize,
    pub(super) max_out_of_orderness: Duration,
    pub(super) idle_after: Duration,
    pub(super) max_malformed: MaxMalformed,
    pub(super) lead: Duration,
    pub(super) max_ahead: Option<Duration>,
}

impl SourceSettings {
    pub(super) fn new(region: impl Into<String>, stream: impl Into<String>) -> Self {
        let region = region.into();
        Self {
            endpoint: Ok(Endpoint::of_region("kinesis", &region)),
            region,
            stream: stream.into(),
            start: Start::TrimHorizon,
            lost_records: LostRecords::Refuse,
            poll_interval: POLL,
            discovery: Duration::from_secs(30),
            patience: Duration::from_mins(5),
            max_queued_bytes: 64 << 20,
            max_out_of_orderness: Duration::ZERO,
            idle_after: Duration::from_secs(5),
            max_malformed: MaxMalformed::default(),
            lead: Duration::ZERO,
            max_ahead: None,
        }
    }

    /// Refuses impossible settings before the service is asked.
    pub(super) fn check(&self) -> Result<Endpoint, ConnectorError> {
        let refuse = |why: String| ConnectorError::new(ErrorKind::Invalid, why);
        let Self { region, stream, .. } = self;
        if let Some(why) = wrong_name(region, stream) {
            return Err(refuse(why));
        }
        if self.poll_interval < POLL {
            let interval = self.poll_interval;
            return Err(refuse(format!(
                "poll_interval of {stream} is {interval:?}: Kinesis allows 5 reads a second of each shard, so it is 200 ms or more"
            )));
        }
        if self.discovery < Duration::from_secs(1) {
            let interval = self.discovery;
            return Err(refuse(format!("discovery_interval of {stream} is {interval:?}: it must be 1 s or more")));
        }
        if self.max_queued_bytes == 0 {
            return Err(refuse(format!("max_queued_bytes of {stream} is 0: nothing could be fetched")));
        }
        self.endpoint.clone().map_err(refuse)
    }
}

/// Returns what is wrong with a region or the name of a stream.
pub(super) fn wrong_name(region: &str, stream: &str) -> Option<String> {
    let is_region = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if region.is_empty() || !region.chars().all(is_region) {
        return Some(format!("\"{region}\" is not a region, as eu-west-1 is"));
    }
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if stream.is_empty() || stream.len() > 128 || !stream.chars().all(is_name) {
        return Some(format!(
            "\"{stream}\" is not the name of a stream: 1 to 128 letters, digits, '.', '_' and '-'; an ARN is not one"
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_data_and_text() {
        for (start, json, text) in [
            (Start::TrimHorizon, r#""trim-horizon""#, "trim-horizon"),
            (Start::Latest, r#""latest""#, "latest"),
            (Start::Timestamp(EventTime(12)), r#"{"timestamp":12}"#, "12"),
        ] {
            assert_eq!(serde_json::to_string(&start).unwrap(), json);
            assert_eq!(serde_json::from_str::<Start>(json).unwrap(), start);
            assert_eq!(text.parse(), Ok(start));
        }
        assert!("earliest".parse::<Start>().unwrap_err().contains("trim-horizon"));
    }

    #[test]
    fn settings_that_cannot_work_are_refused_before_the_service_is_asked() {
        let settings = || SourceSettings::new("eu-west-1", "s");
        assert!(settings().check().is_ok());
        for (settings, reason) in [
            (SourceSettings::new("", "s"), "not a region"),
            (SourceSettings::new("eu-west-1", "arn:aws:kinesis:eu-west-1:1:stream/s"), "an ARN is not one"),
            (SourceSettings { poll_interval: Duration::from_millis(199), ..settings() }, "200 ms or more"),
            (SourceSettings { discovery: Duration::ZERO, ..settings() }, "1 s or more"),
            (SourceSettings { max_queued_bytes: 0, ..settings() }, "max_queued_bytes"),
            (SourceSettings { endpoint: Err("no endpoint".to_owned()), ..settings() }, "no endpoint"),
        ] {
            let error = settings.check().unwrap_err();
            assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains(reason), "{error}");
        }
    }
}
