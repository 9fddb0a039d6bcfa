//! Sends spans to a collector: OTLP over HTTP, as protobuf.
//!
//! The crates of OpenTelemetry are not used: `opentelemetry-otlp` needs `prost-derive`, whose features change how
//! RocksDB is compiled, and the queue of its SDK does not say how much it drops.
//! ```text
//! environment.rs  where to, and how     exporter.rs  the thread that sends     encode.rs  its requests     client.rs  one request
//! ```
//! Known limits: traces only, no gRPC, no compression.

mod client;
mod encode;
mod environment;
mod exporter;

pub(crate) use environment::OtlpSettings;
pub(crate) use exporter::Exporter;
