//! Records that other programs POST, answered with 200 when they are committed.
//!
//! ```text
//! server ─ connection ─ service: access ─ body (limits, gzip, zstd) ─▶ intake: records (decoded), keys ─▶ queue
//!                          ▲                                              │                            take │
//!                          └── answer ◀── commit of the epoch ◀── engine ◀── reader (worker 0) ─ position ◀─┘
//! url: a source in one text      settings · budget (bytes in memory) · answer · bound: leaves
//! ```
//! The first worker of the job listens and reads; the others have nothing to read. A request is handed out as a whole, so it is
//! in one epoch. Invariant: the position of an epoch has the keys of exactly the requests that were handed out until its end.
//! `docs/connectors/ingest.md` has the guarantees.

mod access;
mod answer;
mod body;
mod bound;
mod budget;
mod connection;
mod intake;
mod keys;
mod metrics;
mod position;
mod reader;
mod records;
mod server;
mod service;
mod settings;
mod source;
mod url;

pub use bound::BoundAddress;
pub use reader::HttpReader;
pub use records::{HttpRecord, json, raw};
pub use source::HttpSource;
pub use url::{IngestUrl, IngestUrlError};
