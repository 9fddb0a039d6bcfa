//! Inputs that go on: topics, brokers and streams, as a URL names them.

use std::fmt;
use std::time::Duration;

use serde::de::DeserializeOwned;
#[cfg(feature = "ingest")]
use tidemill::ingest::IngestUrl;
#[cfg(feature = "kafka")]
use tidemill::kafka::KafkaUrl;
#[cfg(feature = "kinesis")]
use tidemill::kinesis::KinesisUrl;
#[cfg(feature = "mqtt")]
use tidemill::mqtt::MqttUrl;
use tidemill::prelude::*;
#[cfg(feature = "redis")]
use tidemill::redis::RedisStreamUrl;

use super::CommonArgs;
#[cfg(any(feature = "ingest", feature = "kinesis", feature = "mqtt", feature = "redis"))]
use super::parsed;
#[cfg(feature = "kafka")]
use super::topic;

/// An input of JSON, or of fields, that goes on.
#[derive(Clone, Debug)]
pub enum Live {
    /// A topic.
    #[cfg(feature = "kafka")]
    Kafka(KafkaUrl),
    /// An address that takes requests.
    #[cfg(feature = "ingest")]
    Http(IngestUrl),
    /// A stream of Kinesis.
    #[cfg(feature = "kinesis")]
    Kinesis(KinesisUrl),
    /// Topics of MQTT.
    #[cfg(feature = "mqtt")]
    Mqtt(MqttUrl),
    /// Streams of Redis.
    #[cfg(feature = "redis")]
    RedisStream(RedisStreamUrl),
}

impl Live {
    /// Returns what a URL names, if it is only read.
    pub fn parse(text: &str) -> Option<Result<Self, String>> {
        #[cfg(feature = "ingest")]
        if text.starts_with("http+ingest://") || text.starts_with("https+ingest://") {
            return Some(parsed(text, Self::Http));
        }
        #[cfg(feature = "kinesis")]
        if text.starts_with("kinesis://") {
            return Some(parsed(text, Self::Kinesis));
        }
        #[cfg(feature = "mqtt")]
        if MqttUrl::looks_like(text) {
            return Some(parsed(text, Self::Mqtt));
        }
        #[cfg(feature = "redis")]
        if RedisStreamUrl::looks_like(text) {
            return Some(parsed(text, Self::RedisStream));
        }
        let _ = text;
        None
    }

    /// Returns itself, if two sources can read the same records. Who acknowledges a message has it to itself.
    pub fn read_twice(&self) -> Result<&Self, JobError> {
        if self.can_be_read_twice() {
            return Ok(self);
        }
        let why =
            "this program reads each line at two times, and a message comes once: of the examples, iot_window takes it";
        Err(JobError::Invalid(format!("--input: {self}: {why}")))
    }

    fn can_be_read_twice(&self) -> bool {
        match *self {
            #[cfg(feature = "kafka")]
            Self::Kafka(_) => true,
            #[cfg(feature = "ingest")]
            Self::Http(_) => false,
            #[cfg(feature = "kinesis")]
            Self::Kinesis(_) => true,
            #[cfg(feature = "mqtt")]
            Self::Mqtt(_) => false,
            #[cfg(feature = "redis")]
            Self::RedisStream(_) => true,
        }
    }

    /// Adds a source that reads it, with the options of its URL and of the command line. Its event times are ahead of those
    /// of other sources by `lead`.
    pub fn source<'s, L: DeserializeOwned + 'static, T: Data>(
        &self,
        flow: &Flow<'s>,
        name: &str,
        common: &CommonArgs,
        lead: Duration,
        convert: impl Fn(L) -> T + Send + Sync + 'static,
        event_time: impl Fn(&T) -> EventTime + Send + Sync + 'static,
    ) -> Result<Stream<'s, T>, JobError> {
        // The option of a URL counts, unless there is the flag.
        let bound = Some(common.max_out_of_orderness).filter(|bound| !bound.is_zero());
        let malformed = common.malformed_limit();
        let _ = (flow, name, bound, malformed, lead, &convert, &event_time);
        match *self {
            #[cfg(feature = "kafka")]
            Self::Kafka(ref url) => {
                let topic = topic::topic_source(url, convert, event_time)?;
                flow.source(name, &common.configure_topic(topic).lead(lead))
            }
            #[cfg(feature = "ingest")]
            Self::Http(ref url) => {
                let json = tidemill::ingest::json::<L>();
                let source = HttpSource::at(url, move |record| json(record).map(&convert));
                let source = source.event_time(event_time).lead(lead);
                // Unless the flag asks for dead letters, the caller is told what is wrong.
                let limit = common.max_malformed.map(MaxMalformed::total);
                let source = limit.into_iter().fold(source, HttpSource::accept_malformed);
                flow.source(name, &bound.into_iter().fold(source, HttpSource::max_out_of_orderness))
            }
            #[cfg(feature = "kinesis")]
            Self::Kinesis(ref url) => {
                let json = tidemill::kinesis::json::<L>();
                let source = KinesisSource::at(url, move |record| json(record).map(&convert));
                let source = source.event_time(event_time).lead(lead).max_malformed(malformed);
                flow.source(name, &bound.into_iter().fold(source, KinesisSource::max_out_of_orderness))
            }
            #[cfg(feature = "mqtt")]
            Self::Mqtt(ref url) => {
                let json = tidemill::mqtt::json::<L>();
                let source = MqttSource::at(url, move |message| json(message).map(&convert));
                let source = source.map_err(|e| JobError::Invalid(e.to_string()))?;
                let source = source.event_time(event_time).lead(lead).max_malformed(malformed);
                flow.source(name, &bound.into_iter().fold(source, MqttSource::max_out_of_orderness))
            }
            #[cfg(feature = "redis")]
            Self::RedisStream(ref url) => {
                let decode = url.decoder::<L>();
                let source = RedisStreamSource::at(url, move |entry| decode(entry).map(&convert));
                let source = source.event_time(event_time).lead(lead).max_malformed(malformed);
                let source = bound.into_iter().fold(source, RedisStreamSource::max_out_of_orderness);
                flow.source(name, &if common.until_end() { source.until_end() } else { source })
            }
        }
    }
}

impl fmt::Display for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = &f;
        match *self {
            #[cfg(feature = "kafka")]
            Self::Kafka(ref url) => url.fmt(f),
            #[cfg(feature = "ingest")]
            Self::Http(ref url) => url.fmt(f),
            #[cfg(feature = "kinesis")]
            Self::Kinesis(ref url) => url.fmt(f),
            #[cfg(feature = "mqtt")]
            Self::Mqtt(ref url) => url.fmt(f),
            #[cfg(feature = "redis")]
            Self::RedisStream(ref url) => url.fmt(f),
        }
    }
}
