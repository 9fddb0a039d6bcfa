//! Sources and sinks of Tidemill.

// docs.rs, which sets `docsrs` and compiles with nightly, shows the feature that each item needs.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod began;
pub mod file;
pub mod generator;
#[cfg(any(feature = "kafka", feature = "mqtt"))]
mod inbox;
mod json;
#[cfg(feature = "kafka")]
pub mod kafka;
mod malformed;
pub mod memory;
#[cfg(feature = "mqtt")]
pub mod mqtt;
#[cfg(any(feature = "kafka", feature = "postgres"))]
mod outbox;
mod plain;
mod position;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod splits;
#[doc(hidden)] // for benchmarks
pub mod testing;

#[cfg(feature = "postgres")]
pub use self::postgres::PostgresSink;
pub use file::{FileSink, FileSource, LostFile, ReferenceExt, ReferenceFile, RollSettings};
pub use generator::Generator;
#[cfg(feature = "kafka")]
pub use kafka::{KafkaSink, KafkaSource};
pub use malformed::MaxMalformed;
pub use memory::{CollectSink, NullSink, vec_source};
#[cfg(feature = "mqtt")]
pub use mqtt::MqttSource;
