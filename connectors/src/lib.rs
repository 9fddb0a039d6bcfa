//! Sources and sinks of Tidemill.

pub mod dealt;
pub mod file;
pub mod generator;
pub mod kafka;
pub mod memory;

pub use file::{FileSink, FileSource, LostFile, ReferenceExt, ReferenceFile};
pub use generator::Generator;
pub use kafka::{KafkaSink, KafkaSource};
pub use memory::{CollectSink, NullSink, vec_source};
