//! Streams of Amazon Kinesis, read once each, through splits and merges.
//!
//! ```text
//! source ─ reader (one per worker) ─ lanes ─┬─ pool: threads that fetch and list ─ api ─ aws
//!             │                             ├─ lineage: which worker reads what   ─ board: what workers tell each other
//!             └─ aggregate: several in one  └─ cursor: where a shard is read on
//! leaves: settings, url, message, position
//! ```
//! `docs/connectors/kinesis.md` describes what is guaranteed, and what the service does not say.

mod aggregate;
mod api;
mod board;
mod cursor;
mod lanes;
mod lineage;
mod message;
mod pool;
mod position;
mod reader;
mod settings;
mod source;
mod url;

pub use message::{KinesisRecord, json, raw};
pub use reader::KinesisReader;
pub use settings::{LostRecords, Start};
pub use source::KinesisSource;
pub use url::{KinesisUrl, KinesisUrlError};
