//! The Redis sink: keys that are set or appended to, exactly once through any crash; lookups of keys; and streams as a source.
//!
//! ```text
//! sink ─ crate::fields (of the record) ─ key (its template) ─ encode ─ text (values) ─▶ rows: commands, in the token
//!      │                                                           └ feast (Feast's layout) ─┘
//!      └ target: a script moves the marker and executes the commands ─ server (connection) ─ check (what it must be)
//!                                                                     └ error (what a code means)
//! lookup: rows by keys      stream: the source      url: a sink in one text (address: the part of it that streams have, too)
//! ```
//! The outbox (`crate::outbox`) makes it exactly once. `docs/connectors/redis.md` has the guarantees.

mod address;
mod check;
mod encode;
mod error;
mod feast;
mod feast_value;
mod key;
mod lookup;
mod rows;
mod server;
mod sink;
mod stream;
mod target;
mod text;
mod url;
mod value;

pub use encode::RedisWrite;
pub use lookup::{RedisRows, lookup_hashes, lookup_json};
pub use server::RedisServer;
pub use sink::{RedisSink, RedisWriter};
pub use stream::{
    EntryId, LostEntries, RedisStreamReader, RedisStreamSource, RedisStreamUrl, StreamDecoder, StreamEntry,
    StreamStart, stream_fields, stream_json,
};
pub use url::{RedisUrl, RedisUrlError};

pub use crate::outbox::LostMarker;
