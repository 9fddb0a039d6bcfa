//! The Kafka source and sink. The source reads topics and keeps a watermark per partition; the sink writes to a topic,
//! exactly once through any crash if asked to.
//!
//! ```text
//! source ─ topics (which, discovery) ─ start (from where) ─ partition (watermark, idle, order) ─ payload, avro (registry), protobuf
//! sink ─┬─ direct: at least once                            position (stored in checkpoints)
//!       └─ transactional: a thread ─ session (one producer) ─ marker (what is published)
//!          recovery (at start) ─ token (what a checkpoint stages) ─ outgoing (encoding)
//! leaves: settings, decode, client, identity (which topic a name stands for), url, limits
//! ```
//! `docs/connectors/kafka.md` describes what each mode guarantees and what it cannot guarantee.

#[cfg(feature = "avro")]
mod avro;
mod client;
mod dead_letter;
mod decode;
mod deliveries;
mod direct;
#[cfg(any(feature = "avro", feature = "protobuf"))]
mod frame;
mod identity;
mod limits;
mod marker;
mod outgoing;
mod partition;
mod payload;
mod position;
#[cfg(feature = "protobuf")]
mod protobuf;
mod reader;
mod recovery;
#[cfg(feature = "avro")]
mod registry;
mod session;
mod settings;
mod sink;
mod source;
mod start;
mod token;
mod topics;
mod transactional;
mod url;
mod watch;

#[cfg(feature = "avro")]
pub use avro::avro;
pub use client::Connection;
pub use decode::{Decode, Incoming, NotDecoded};
pub use identity::RecreatedTopic;
pub use outgoing::Outgoing;
pub use payload::{KeyedRow, json, json_key, json_or_deleted, or_deleted, raw, text_key};
#[cfg(feature = "protobuf")]
pub use protobuf::{framed_protobuf, protobuf};
pub use reader::KafkaReader;
#[cfg(feature = "avro")]
pub use registry::SchemaRegistry;
pub use settings::Delivery;
pub use sink::{KafkaSink, KafkaWriter};
pub use source::KafkaSource;
pub use start::Start;
pub use topics::Topics;
pub use url::{KafkaUrl, KafkaUrlError};

pub use crate::outbox::LostMarker;
