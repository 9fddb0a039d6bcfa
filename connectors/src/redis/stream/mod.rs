//! Streams of Redis as a source: each entry once, by its id, through any crash of the job.
//!
//! ```text
//! source ─▶ reader (on the worker: decodes, watermarks) ◀─ pages ─ poller (a thread: reads ahead) ─ ask (commands, answers)
//!    │                                                              └ progress (is anything missing?)
//!    └ position (the last entry of each stream)     leaves: entry (entries, ids, decoders) · settings · url
//! ```

mod ask;
mod entry;
mod poller;
mod position;
mod progress;
mod reader;
mod settings;
mod source;
mod url;

pub use entry::{EntryId, StreamEntry, stream_fields, stream_json};
pub use reader::RedisStreamReader;
pub use settings::{LostEntries, StreamStart};
pub use source::RedisStreamSource;
pub use url::{RedisStreamUrl, StreamDecoder};
