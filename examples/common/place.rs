//! Sources and destinations of records: a file or folder, or a Kafka topic.
//!
//! ```text
//! kafka://host:port/topic?start=latest&group=fraud&idle-after=5s&discovery=5s&max-drift=1m       read
//! kafka://host:port/topic?delivery=at-least-once&transaction-timeout=1m&prefix=…&lost-marker=…   written
//! ```
//! Options with a dot in their name (`security.protocol=SASL_SSL`) are properties of librdkafka.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tidemill::kafka::{self, Delivery, KafkaUrl, LostMarker, Start, Topics};
use tidemill::prelude::*;

/// A path or a topic.
#[derive(Clone, Debug)]
pub enum Place {
    Path(PathBuf),
    Kafka(KafkaUrl),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if KafkaUrl::looks_like(text) {
            return text.parse().map(Self::Kafka).map_err(|e: kafka::KafkaUrlError| e.to_string());
        }
        match text.split_once("://") {
            Some((scheme, _)) => Err(format!("\"{scheme}://\" is not known: give a path, or kafka://host:port/topic")),
            None => Ok(Self::Path(text.into())),
        }
    }
}

/// The input of a job.
pub enum Input {
    /// No input was named, so it is simulated.
    Simulated,
    Files(Vec<PathBuf>),
    Topic(KafkaUrl),
}

impl Input {
    pub fn of(places: &[Place]) -> Result<Self, JobError> {
        match places {
            [] => Ok(Self::Simulated),
            [Place::Kafka(url)] => Ok(Self::Topic(url.clone())),
            places => {
                let path = |place: &Place| match place {
                    Place::Path(path) => Ok(path.clone()),
                    Place::Kafka(url) => {
                        Err(JobError::Invalid(format!("--input: {url} is read alone, without files or other topics")))
                    }
                };
                places.iter().map(path).collect::<Result<_, _>>().map(Self::Files)
            }
        }
    }
}

fn invalid(error: impl ToString) -> JobError {
    JobError::Invalid(error.to_string())
}

fn duration(url: &KafkaUrl, option: &str) -> Result<Option<Duration>, JobError> {
    let parse = |text| humantime::parse_duration(text).map_err(|e| invalid(format!("{url}: {option}={text}: {e}")));
    url.option(option).map(parse).transpose()
}

/// Returns a source of JSON messages with the options of the URL.
pub fn topic_source<L: DeserializeOwned + 'static, T: Data>(
    url: &KafkaUrl,
    convert: impl Fn(L) -> T + Send + Sync + 'static,
    event_time: impl Fn(&T) -> EventTime + Send + Sync + 'static,
) -> Result<KafkaSource<T>, JobError> {
    url.only(&["start", "group", "idle-after", "discovery", "max-drift"]).map_err(invalid)?;
    let line = kafka::json::<L>();
    let decode = move |message: kafka::Incoming<'_>| kafka::Decode::decode(&line, message).map(&convert);
    let mut source = KafkaSource::new(url.connection.clone(), Topics::named(&url.topic), decode, event_time);
    if let Some(start) = url.option("start") {
        source = source.start(start.parse::<Start>().map_err(|e| invalid(format!("{url}: {e}")))?);
    }
    if let Some(group) = url.option("group") {
        source = source.group(group);
    }
    if let Some(time) = duration(url, "idle-after")? {
        source = source.idle_after(time);
    }
    if let Some(drift) = duration(url, "max-drift")? {
        source = source.max_drift(drift);
    }
    if let Some(interval) = duration(url, "discovery")? {
        source = source.discovery_interval(interval);
    }
    Ok(source)
}

/// The options of a topic to which the job writes.
struct Written<'a> {
    url: &'a KafkaUrl,
    delivery: Delivery,
    timeout: Option<Duration>,
    lost_marker: LostMarker,
}

/// Returns the value of a settings enum with the name that the URL gives for an option.
fn named<T: DeserializeOwned>(url: &KafkaUrl, option: &str, default: T) -> Result<T, JobError> {
    let Some(text) = url.option(option) else { return Ok(default) };
    serde_json::from_value(text.into()).map_err(|e| invalid(format!("{url}: {option}: {e}")))
}

impl<'a> Written<'a> {
    fn of(url: &'a KafkaUrl) -> Result<Self, JobError> {
        url.only(&["delivery", "transaction-timeout", "prefix", "lost-marker"]).map_err(invalid)?;
        Ok(Self {
            url,
            delivery: named(url, "delivery", Delivery::ExactlyOnce)?,
            timeout: duration(url, "transaction-timeout")?,
            lost_marker: named(url, "lost-marker", LostMarker::Refuse)?,
        })
    }

    fn apply<T: Data>(&self, sink: KafkaSink<T>) -> KafkaSink<T> {
        let mut sink = sink.lost_marker(self.lost_marker);
        if let Some(timeout) = self.timeout {
            sink = sink.transaction_timeout(timeout);
        }
        match self.url.option("prefix") {
            Some(prefix) => sink.transactional_prefix(prefix),
            None => sink,
        }
    }
}

/// Writes a stream to a folder, to a topic under `key`, or nowhere.
pub fn write<D: Data>(
    stream: Stream<'_, D>,
    name: &str,
    place: Option<&Place>,
    key: impl Fn(&D) -> String + Send + Sync + 'static,
) -> Result<(), JobError> {
    match place {
        None => stream.sink(name, &NullSink::default()),
        Some(Place::Path(folder)) => stream.sink(name, &FileSink::json_lines(folder)),
        Some(Place::Kafka(url)) => {
            let written = Written::of(url)?;
            let key = move |record: &D| key(record).into_bytes();
            let sink = KafkaSink::json(url.connection.clone(), &url.topic, written.delivery, key);
            stream.sink(name, &written.apply(sink))
        }
    }
}

/// Writes dead letters. Those from a topic have topic, partition and offset in their headers.
pub fn write_dead_letters(stream: Stream<'_, DeadLetter>, place: Option<&Place>) -> Result<(), JobError> {
    match place {
        Some(Place::Kafka(url)) => {
            let written = Written::of(url)?;
            let sink = KafkaSink::dead_letters(url.connection.clone(), &url.topic, written.delivery);
            stream.sink("dead-letters", &written.apply(sink))
        }
        place => write(stream, "dead-letters", place, |letter| letter.origin.clone()),
    }
}
