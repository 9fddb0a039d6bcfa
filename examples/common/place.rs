//! Sources and destinations of records: a file or folder; with the feature `kafka`, a topic; with `mqtt`, topics to read; with
//! `ingest`, an address that takes requests; with `postgres`, a table to write to; with `redis`, keys to write to; with `webhook`,
//! an HTTP server to send to.

use std::path::PathBuf;
use std::str::FromStr;

#[cfg(feature = "ingest")]
use tidemill::ingest::{IngestUrl, IngestUrlError};
#[cfg(feature = "kafka")]
use tidemill::kafka::KafkaUrl;
#[cfg(feature = "mqtt")]
use tidemill::mqtt::MqttUrl;
#[cfg(feature = "postgres")]
use tidemill::postgres::{PostgresUrl, PostgresUrlError};
use tidemill::prelude::*;
#[cfg(feature = "redis")]
use tidemill::redis::{RedisUrl, RedisUrlError};
#[cfg(feature = "webhook")]
use tidemill::webhook::{WebhookUrl, WebhookUrlError};

#[cfg(feature = "kafka")]
use super::topic;

/// A path, a topic, a table, keys or an HTTP server.
#[derive(Clone, Debug)]
pub enum Place {
    /// A file or folder.
    Path(PathBuf),
    /// A topic.
    #[cfg(feature = "kafka")]
    Kafka(KafkaUrl),
    /// Topics of MQTT, which are only read.
    #[cfg(feature = "mqtt")]
    Mqtt(MqttUrl),
    /// An address that takes requests, which is only read.
    #[cfg(feature = "ingest")]
    Http(IngestUrl),
    /// A table.
    #[cfg(feature = "postgres")]
    Postgres(PostgresUrl),
    /// Keys of Redis.
    #[cfg(feature = "redis")]
    Redis(RedisUrl),
    /// An HTTP server.
    #[cfg(feature = "webhook")]
    Webhook(WebhookUrl),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once("://") {
            None => Ok(Self::Path(text.into())),
            #[cfg(feature = "kafka")]
            Some(("kafka", _)) => {
                text.parse().map(Self::Kafka).map_err(|e: tidemill::kafka::KafkaUrlError| e.to_string())
            }
            #[cfg(not(feature = "kafka"))]
            Some(("kafka", _)) => {
                Err("this program reads and writes no topics: build it with the feature \"kafka\"".into())
            }
            #[cfg(feature = "mqtt")]
            Some(("mqtt" | "mqtts", _)) => {
                text.parse().map(Self::Mqtt).map_err(|e: tidemill::mqtt::MqttUrlError| e.to_string())
            }
            #[cfg(not(feature = "mqtt"))]
            Some(("mqtt" | "mqtts", _)) => Err("this program reads no MQTT: build it with the feature \"mqtt\"".into()),
            #[cfg(feature = "ingest")]
            Some(("http+ingest" | "https+ingest", _)) => {
                text.parse().map(Self::Http).map_err(|e: IngestUrlError| e.to_string())
            }
            #[cfg(not(feature = "ingest"))]
            Some(("http+ingest" | "https+ingest", _)) => {
                Err("this program takes no requests: build it with the feature \"ingest\"".into())
            }
            #[cfg(feature = "postgres")]
            Some(("postgres" | "postgresql", _)) => {
                text.parse().map(Self::Postgres).map_err(|e: PostgresUrlError| e.to_string())
            }
            #[cfg(not(feature = "postgres"))]
            Some(("postgres" | "postgresql", _)) => {
                Err("this program writes no tables: build it with the feature \"postgres\"".into())
            }
            #[cfg(feature = "redis")]
            Some(("redis" | "rediss", _)) => text.parse().map(Self::Redis).map_err(|e: RedisUrlError| e.to_string()),
            #[cfg(not(feature = "redis"))]
            Some(("redis" | "rediss", _)) => {
                Err("this program writes no keys of Redis: build it with the feature \"redis\"".into())
            }
            #[cfg(feature = "webhook")]
            Some(("webhook+https" | "webhook+http", _)) => {
                text.parse().map(Self::Webhook).map_err(|e: WebhookUrlError| e.to_string())
            }
            #[cfg(not(feature = "webhook"))]
            Some(("webhook+https" | "webhook+http", _)) => {
                Err("this program sends to no HTTP server: build it with the feature \"webhook\"".into())
            }
            Some((scheme, _)) => Err(format!(
                "\"{scheme}://\" is not known: give a path, kafka://host:port/topic, mqtt://host:port/topic, http+ingest://host:port/path, postgres://host:port/database?table=NAME, redis://host:port/0?key=NAME, or webhook+https://host/path"
            )),
        }
    }
}

/// The input of a job.
pub enum Input {
    /// No input was named, so it is simulated.
    Simulated,
    /// Files, in the order in which they were named.
    Files(Vec<PathBuf>),
    /// A topic, which is read alone.
    #[cfg(feature = "kafka")]
    Topic(KafkaUrl),
    /// Topics of MQTT, which are read alone.
    #[cfg(feature = "mqtt")]
    Mqtt(MqttUrl),
    /// Requests to an address, which are read alone.
    #[cfg(feature = "ingest")]
    Http(IngestUrl),
}

impl Input {
    /// Returns the input that these places are.
    ///
    /// # Errors
    /// When a topic is named beside something else.
    pub fn of(places: &[Place]) -> Result<Self, JobError> {
        match places {
            [] => Ok(Self::Simulated),
            #[cfg(feature = "kafka")]
            [Place::Kafka(url)] => Ok(Self::Topic(url.clone())),
            #[cfg(feature = "mqtt")]
            [Place::Mqtt(url)] => Ok(Self::Mqtt(url.clone())),
            #[cfg(feature = "ingest")]
            [Place::Http(url)] => Ok(Self::Http(url.clone())),
            places => {
                let path = |place: &Place| match place {
                    Place::Path(path) => Ok(path.clone()),
                    #[cfg(feature = "kafka")]
                    Place::Kafka(url) => {
                        Err(JobError::Invalid(format!("--input: {url} is read alone, without files or other topics")))
                    }
                    #[cfg(feature = "mqtt")]
                    Place::Mqtt(url) => {
                        Err(JobError::Invalid(format!("--input: {url} is read alone, without files or other topics")))
                    }
                    #[cfg(feature = "ingest")]
                    Place::Http(url) => {
                        Err(JobError::Invalid(format!("--input: {url} is read alone, without files or topics")))
                    }
                    #[cfg(feature = "postgres")]
                    Place::Postgres(url) => {
                        Err(JobError::Invalid(format!("--input: {url} is written to, and cannot be read")))
                    }
                    #[cfg(feature = "redis")]
                    Place::Redis(url) => {
                        Err(JobError::Invalid(format!("--input: {url} is written to, and cannot be read")))
                    }
                    #[cfg(feature = "webhook")]
                    Place::Webhook(url) => {
                        Err(JobError::Invalid(format!("--input: {url} is sent to, and cannot be read")))
                    }
                };
                places.iter().map(path).collect::<Result<_, _>>().map(Self::Files)
            }
        }
    }

    /// Returns whether this is a topic.
    pub fn is_topic(&self) -> bool {
        !matches!(self, Self::Simulated | Self::Files(_))
    }
}

/// Writes a stream to a folder, to a topic under `key`, to a table, to keys of Redis, to an HTTP server, or nowhere.
pub fn write<D: Data>(
    stream: Stream<'_, D>,
    name: &str,
    place: Option<&Place>,
    key: impl Fn(&D) -> String + Send + Sync + 'static,
) -> Result<(), JobError> {
    let _ = &key; // only topics have keys
    match place {
        None => stream.sink(name, &NullSink::default()),
        Some(Place::Path(folder)) => stream.sink(name, &FileSink::json_lines(folder)),
        #[cfg(feature = "kafka")]
        Some(Place::Kafka(url)) => stream.sink(name, &topic::sink(url, key)?),
        #[cfg(feature = "mqtt")]
        Some(Place::Mqtt(url)) => Err(JobError::Invalid(format!("{name}: {url} is only read"))),
        #[cfg(feature = "ingest")]
        Some(Place::Http(url)) => Err(JobError::Invalid(format!("{name}: {url} is only read"))),
        #[cfg(feature = "postgres")]
        Some(Place::Postgres(url)) => stream.sink(name, &PostgresSink::from_url(url)),
        #[cfg(feature = "redis")]
        Some(Place::Redis(url)) => stream.sink(name, &RedisSink::from_url(url)),
        #[cfg(feature = "webhook")]
        Some(Place::Webhook(url)) => stream.sink(name, &WebhookSink::from_url(url)),
    }
}

/// Writes dead letters. Those from a topic have topic, partition and offset in their headers.
pub fn write_dead_letters(stream: Stream<'_, DeadLetter>, place: Option<&Place>) -> Result<(), JobError> {
    match place {
        #[cfg(feature = "kafka")]
        Some(Place::Kafka(url)) => stream.sink("dead-letters", &topic::dead_letter_sink(url)?),
        place => write(stream, "dead-letters", place, |letter| letter.origin.clone()),
    }
}
