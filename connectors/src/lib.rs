//! Sources and sinks of Tidemill.

// docs.rs, which sets `docsrs` and compiles with nightly, shows the feature that each item needs.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "kinesis")]
mod aws;
mod began;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod each_field;
#[cfg(any(feature = "ingest", feature = "kafka", feature = "kinesis", feature = "mqtt", feature = "redis"))]
mod event_times;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod fields;
pub mod file;
pub mod generator;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod host;
#[cfg(any(feature = "ingest", feature = "kafka", feature = "kinesis", feature = "mqtt", feature = "redis"))]
mod inbox;
#[cfg(feature = "ingest")]
pub mod ingest;
mod json;
#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(feature = "kinesis")]
pub mod kinesis;
mod malformed;
pub mod memory;
#[cfg(feature = "mqtt")]
pub mod mqtt;
#[cfg(any(feature = "kafka", feature = "postgres", feature = "redis", feature = "webhook"))]
mod outbox;
#[cfg(any(feature = "ingest", feature = "postgres", feature = "redis", feature = "webhook"))]
mod password;
mod plain;
mod position;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(any(feature = "kinesis", feature = "postgres", feature = "redis", feature = "webhook"))]
mod retry;
#[cfg(any(feature = "ingest", feature = "webhook"))]
mod signature;
pub mod splits;
#[doc(hidden)] // for benchmarks
pub mod testing;
#[cfg(any(feature = "ingest", feature = "kinesis", feature = "redis", feature = "webhook"))]
mod url_options;
#[cfg(feature = "webhook")]
pub mod webhook;

#[cfg(feature = "postgres")]
pub use self::postgres::PostgresSink;
#[cfg(feature = "redis")]
pub use self::redis::{RedisSink, RedisStreamSource};
pub use file::{FileSink, FileSource, LostFile, ReferenceExt, ReferenceFile, RollSettings};
pub use generator::Generator;
#[cfg(feature = "ingest")]
pub use ingest::HttpSource;
#[cfg(feature = "kafka")]
pub use kafka::{KafkaSink, KafkaSource};
#[cfg(feature = "kinesis")]
pub use kinesis::KinesisSource;
pub use malformed::MaxMalformed;
pub use memory::{CollectSink, NullSink, vec_source};
#[cfg(feature = "mqtt")]
pub use mqtt::MqttSource;
#[cfg(feature = "webhook")]
pub use webhook::WebhookSink;
